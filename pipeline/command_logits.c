/* logits: everything the model computes for one prompt, for checking against other programs. */
#include <stdlib.h>
#include <string.h>
#include "io/archive.h"
#include "pipeline/command_model.h"
#include "pipeline/commands.h"

/* hidden: [n_layers + 1][n_tokens][d_model]: the embeddings, then after each layer; the last after
 * the final norm. logits: [n_tokens][n_vocab]. */
static int run_model(const struct dinm_prompted *p, float *hidden, float *logits,
                     struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_config *c = &p->slice.config;
    size_t n = p->prompt.n_ids, plane = n * c->d_model;
    struct dinm_workspace *ws = NULL;
    struct dinm_sequence sequence = {.n_rows = n, .edit = p->down != NULL ? &p->edit : NULL};
    struct dinm_rows rows = {.sequences = &sequence, .n_sequences = 1, .n_rows = n};
    float *x = dinm_alloc(plane, sizeof *x, "hidden states", err);
    float **after = dinm_alloc(c->n_layers, sizeof(float *), "hidden states", err);
    TRY(x != NULL && after != NULL ? DINM_OK : DINM_FAILED);
    for (size_t l = 0; l < c->n_layers; l++) {
        after[l] = hidden + (l + 1) * plane;
    }
    struct dinm_taps taps = {.resid_post = after, .mid_layer = c->n_layers};
    TRY(dinm_workspace_reserve(&ws, c, &rows, err));
    dinm_slice_embed(&p->slice, x, p->prompt.ids, &rows);
    memcpy(hidden, x, plane * sizeof *x);
    dinm_slice_forward(&p->slice, x, &rows, 0, c->n_layers, NULL, &taps, ws);
    dinm_slice_head(&p->slice, logits, hidden + c->n_layers * plane, x, NULL, n);
out:
    dinm_workspace_free(ws);
    free(after);
    free(x);
    return status;
}

int dinm_command_logits(const struct dinm_args *args, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *path = NULL;
    struct dinm_prompted p = {0};
    float *hidden = NULL, *logits = NULL;
    TRY(dinm_args_need(args, "--out", &path, err));
    TRY(dinm_prompted_open(&p, args, err));
    const struct dinm_config *c = &p.slice.config;
    size_t n = p.prompt.n_ids;
    if (n > c->n_positions) {
        TRY(dinm_fail(err, DINM_FAILED, "the prompt has %zu tokens, the model %zu positions", n,
                      c->n_positions));
    }
    hidden = dinm_alloc((c->n_layers + 1) * n, c->d_model * sizeof *hidden, "hidden states", err);
    logits = dinm_alloc(n, c->n_vocab * sizeof *logits, "logits", err);
    TRY(hidden != NULL && logits != NULL ? DINM_OK : DINM_FAILED);
    TRY(run_model(&p, hidden, logits, err));
    TRY(dinm_archive_write_logits(path, logits, hidden, p.prompt.ids, n, c->n_vocab, c->n_layers,
                                  c->d_model, err));
out:
    free(logits);
    free(hidden);
    dinm_prompted_close(&p);
    return status;
}
