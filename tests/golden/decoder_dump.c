/* Runs the decoder for tests/golden/decoder.py and writes raw float32 (greedy: int32) numbers.
 *
 *   decoder_dump forward FOLDER OUT IDS             logits [n][n_vocab], states [n_layers+1][n][d]
 *   decoder_dump greedy FOLDER OUT IDS N            N ids, one token at a time behind a cache
 *   decoder_dump edit FOLDER OUT LAYER STEPS IDS N_TARGET IDS N_CONSTRAINT
 *                       delta [d_model][d_ff], losses [STEPS][3], first gradient [d_model][d_ff]
 * IDS are numbers joined by commas. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"
#include "model/adam.h"
#include "model/loss.h"
#include "model/sample.h"
#include "model/slice.h"

static float *floats(size_t n, struct dinm_error *err)
{
    return dinm_alloc(n, sizeof(float), "numbers", err);
}

static int write_out(const char *path, const void *numbers, size_t n, const char *mode,
                     struct dinm_error *err)
{
    FILE *f = fopen(path, mode);
    const size_t written = f != NULL ? fwrite(numbers, 4, n, f) : 0;

    if (f == NULL || fclose(f) != 0 || written != n) {
        return dinm_fail_errno(err, errno, "cannot write", path);
    }
    return DINM_OK;
}

/* A text read through the model. */
struct text {
    int32_t *ids; /* owns: [n] */
    size_t n;
    struct dinm_sequence sequence;
    struct dinm_rows rows;
};

static int text_parse(struct text *t, const char *words, struct dinm_error *err)
{
    t->ids = dinm_alloc(strlen(words) + 1, sizeof *t->ids, "ids", err);
    if (t->ids == NULL) {
        return DINM_FAILED;
    }
    for (char *end = NULL; *words != '\0'; words = *end == ',' ? end + 1 : end) {
        t->ids[t->n++] = (int32_t)strtol(words, &end, 10);
        if (end == words) {
            return dinm_fail(err, DINM_USAGE, "expected ids joined by commas, found \"%s\"", words);
        }
    }
    t->sequence = (struct dinm_sequence){.n_rows = t->n};
    t->rows = (struct dinm_rows){.sequences = &t->sequence, .n_sequences = 1, .n_rows = t->n};
    return DINM_OK;
}

static int dump_forward(const struct dinm_slice *m, const char *out, char **words,
                        struct dinm_error *err)
{
    const struct dinm_config *c = &m->config;
    struct text t = {0};
    struct dinm_workspace *ws = NULL;
    float *x = NULL, *states = NULL, *logits = NULL, *normed = NULL;
    float **taps = NULL;
    int status = DINM_OK;

    TRY(text_parse(&t, words[0], err));
    const size_t plane = t.n * c->d_model;

    x = floats(plane, err);
    normed = floats(plane, err);
    logits = floats(t.n * c->n_vocab, err);
    states = floats((c->n_layers + 1) * plane, err);
    taps = dinm_alloc(c->n_layers, sizeof *taps, "taps", err);
    TRY(x && normed && logits && states && taps ? DINM_OK : DINM_FAILED);
    for (size_t l = 0; l < c->n_layers; l++) {
        taps[l] = states + (l + 1) * plane;
    }
    TRY(dinm_workspace_reserve(&ws, c, &t.rows, err));
    dinm_slice_embed(m, x, t.ids, &t.rows);
    memcpy(states, x, plane * sizeof *x);
    dinm_slice_forward(m, x, &t.rows, 0, c->n_layers, NULL, &(struct dinm_taps){.resid_post = taps},
                       ws);
    dinm_slice_head(m, logits, normed, x, NULL, t.n);
    memcpy(states + c->n_layers * plane, normed, plane * sizeof *x);
    TRY(write_out(out, logits, t.n * c->n_vocab, "wb", err));
    TRY(write_out(out, states, (c->n_layers + 1) * plane, "ab", err));
out:
    dinm_workspace_free(ws);
    free(t.ids);
    free(x);
    free(normed);
    free(logits);
    free(states);
    free(taps);
    return status;
}

static int dump_greedy(const struct dinm_slice *m, const char *out, char **words,
                       struct dinm_error *err)
{
    const struct dinm_config *c = &m->config;
    const size_t n_new = (size_t)strtoul(words[1], NULL, 10);
    const struct dinm_sampler sampler = {.temperature = 0.0};
    struct text t = {0};
    struct dinm_kv kv = {0};
    struct dinm_workspace *ws = NULL;
    float *x = NULL, *logits = NULL, *normed = NULL;
    int32_t *answer = NULL;
    int status = DINM_OK;

    TRY(text_parse(&t, words[0], err));
    x = floats(t.n * c->d_model, err);
    normed = floats(c->d_model, err);
    logits = floats(c->n_vocab, err);
    answer = dinm_alloc(n_new, sizeof *answer, "ids", err);
    TRY(x && normed && logits && answer ? DINM_OK : DINM_FAILED);
    TRY(dinm_kv_init(&kv, c, DINM_F32, c->n_layers, t.n + n_new, err));
    t.sequence.kv = &kv;
    for (size_t i = 0; i < n_new; i++) {
        const size_t last = t.rows.n_rows - 1;

        TRY(dinm_workspace_reserve(&ws, c, &t.rows, err));
        dinm_slice_embed(m, x, i == 0 ? t.ids : &answer[i - 1], &t.rows);
        dinm_slice_forward(m, x, &t.rows, 0, c->n_layers, NULL, NULL, ws);
        kv.n_tokens += t.rows.n_rows;
        dinm_slice_head(m, logits, normed, x, &last, 1);
        answer[i] = dinm_sample(logits, &sampler, 0, i, NULL, c->n_vocab);
        t.sequence.n_rows = t.rows.n_rows = 1;
    }
    TRY(write_out(out, answer, n_new, "wb", err));
out:
    dinm_workspace_free(ws);
    dinm_kv_free(&kv);
    free(t.ids);
    free(x);
    free(normed);
    free(logits);
    free(answer);
    return status;
}

/* One text of an edit: read once below the edited product, then again and again above it. */
struct strand {
    struct text text;
    size_t n_targets;
    size_t *picks;      /* owns: [n_targets], the rows that predict the last n_targets ids */
    float *mid, *h, *x; /* own: [n][d_model], [n][d_ff], [n][d_model] */
    float *dx, *normed; /* own: [n][d_model] */
    float *logits, *dlogits, *base; /* own: [n_targets][n_vocab] */
    struct dinm_tape *tape;         /* owns */
};

struct edit {
    const struct dinm_slice *m;
    size_t layer, n_steps, n_weights;
    struct dinm_matrix down;                               /* borrows w */
    float *w, *w0, *grad, *first_grad, *moment1, *moment2; /* own: [d_model][d_ff] */
    float *losses;                                         /* owns: [n_steps][3] */
    struct strand target, constraint;
    struct dinm_workspace *ws; /* owns */
};

static int strand_open(struct strand *s, struct edit *e, char **words, struct dinm_error *err)
{
    const struct dinm_config *c = &e->m->config;
    int status = DINM_OK;

    TRY(text_parse(&s->text, words[0], err));
    s->n_targets = (size_t)strtoul(words[1], NULL, 10);
    const size_t n = s->text.n, n_logits = s->n_targets * c->n_vocab;

    s->picks = dinm_alloc(s->n_targets, sizeof *s->picks, "rows", err);
    s->mid = floats(n * c->d_model, err);
    s->h = floats(n * c->d_ff, err);
    s->x = floats(n * c->d_model, err);
    s->dx = floats(n * c->d_model, err);
    s->normed = floats(n * c->d_model, err);
    s->logits = floats(n_logits, err);
    s->dlogits = floats(n_logits, err);
    s->base = floats(n_logits, err);
    TRY(s->picks && s->mid && s->h && s->x && s->dx && s->normed && s->logits && s->dlogits &&
                s->base
            ? DINM_OK
            : DINM_FAILED);
    for (size_t i = 0; i < s->n_targets; i++) {
        s->picks[i] = n - s->n_targets + i - 1;
    }
    TRY(dinm_tape_reserve(&s->tape, c, e->layer + 1, c->n_layers, n, err));
    TRY(dinm_workspace_reserve(&e->ws, c, &s->text.rows, err));
    dinm_slice_embed(e->m, s->x, s->text.ids, &s->text.rows);
    dinm_slice_forward(
        e->m, s->x, &s->text.rows, 0, e->layer + 1, NULL,
        &(struct dinm_taps){.mid_layer = e->layer, .resid_mid = s->mid, .h_down = s->h}, e->ws);
out:
    return status;
}

static void strand_close(struct strand *s)
{
    dinm_tape_free(s->tape);
    free(s->text.ids);
    free(s->picks);
    free(s->mid);
    free(s->h);
    free(s->x);
    free(s->dx);
    free(s->normed);
    free(s->logits);
    free(s->dlogits);
    free(s->base);
}

static void strand_forward(struct strand *s, struct edit *e)
{
    const struct dinm_config *c = &e->m->config;

    /* y = mid + h W^T + b */
    dinm_linear(s->x, s->h, &e->down, e->m->weights.layers[e->layer].down_bias, s->text.n);
    for (size_t i = 0; i < s->text.n * c->d_model; i++) {
        s->x[i] += s->mid[i];
    }
    dinm_slice_forward(e->m, s->x, &s->text.rows, e->layer + 1, c->n_layers, s->tape, NULL, e->ws);
    dinm_slice_head(e->m, s->logits, s->normed, s->x, s->picks, s->n_targets);
}

static void strand_backward(struct strand *s, struct edit *e)
{
    const struct dinm_config *c = &e->m->config;

    memset(s->dx, 0, s->text.n * c->d_model * sizeof *s->dx);
    dinm_slice_head_backward(e->m, s->dx, s->dlogits, s->x, s->picks, s->n_targets, s->normed,
                             NULL);
    dinm_slice_backward(e->m, s->dx, &s->text.rows, e->layer + 1, c->n_layers, s->tape, NULL,
                        e->ws);
    /* dW += dY^T h, stored as W is */
    if (e->down.by_input) {
        dinm_linear_backward_weight(e->grad, s->h, s->dx, s->text.n, c->d_ff, c->d_model);
    } else {
        dinm_linear_backward_weight(e->grad, s->dx, s->h, s->text.n, c->d_model, c->d_ff);
    }
}

static int edit_open(struct edit *e, char **words, struct dinm_error *err)
{
    const struct dinm_config *c = &e->m->config;
    int status = DINM_OK;

    e->layer = (size_t)strtoul(words[0], NULL, 10);
    e->n_steps = (size_t)strtoul(words[1], NULL, 10);
    e->n_weights = c->d_model * c->d_ff;
    e->w = floats(e->n_weights, err);
    e->w0 = floats(e->n_weights, err);
    e->grad = floats(e->n_weights, err);
    e->first_grad = floats(e->n_weights, err);
    e->moment1 = floats(e->n_weights, err);
    e->moment2 = floats(e->n_weights, err);
    e->losses = floats(3 * e->n_steps, err);
    TRY(e->w && e->w0 && e->grad && e->first_grad && e->moment1 && e->moment2 && e->losses
            ? DINM_OK
            : DINM_FAILED);
    const struct dinm_matrix *own = &e->m->weights.layers[e->layer].down;

    dinm_widen(e->w, own->data, own->dtype, e->n_weights);
    memcpy(e->w0, e->w, e->n_weights * sizeof *e->w);
    e->down = *own;
    e->down.data = e->w;
    e->down.dtype = DINM_F32;
    TRY(strand_open(&e->target, e, words + 2, err));
    TRY(strand_open(&e->constraint, e, words + 4, err));
    strand_forward(&e->constraint, e);
    dinm_log_softmax(e->constraint.base, e->constraint.logits, e->constraint.n_targets, c->n_vocab);
out:
    return status;
}

static void edit_close(struct edit *e)
{
    strand_close(&e->target);
    strand_close(&e->constraint);
    dinm_workspace_free(e->ws);
    free(e->w);
    free(e->w0);
    free(e->grad);
    free(e->first_grad);
    free(e->moment1);
    free(e->moment2);
    free(e->losses);
}

/* L = 0.1 mean(-log P(target)) + mean KL(edited || base), Adam. */
static void edit_step(struct edit *e, size_t step)
{
    const struct dinm_adam adam = {.lr = 5e-4, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    const double c_edit = 0.1;
    struct strand *t = &e->target, *k = &e->constraint;
    const size_t n_vocab = e->m->config.n_vocab;
    const double n = (double)t->n_targets, m = (double)k->n_targets;

    memset(e->grad, 0, e->n_weights * sizeof *e->grad);
    strand_forward(t, e);
    const double nll = dinm_loss_nll(t->dlogits, t->logits, t->text.ids + t->picks[0] + 1,
                                     c_edit / n, t->n_targets, n_vocab) /
                       n;

    strand_backward(t, e);
    strand_forward(k, e);
    const double kl = dinm_loss_kl(k->dlogits, k->logits, k->base, DINM_KL_EDITED_BASE, 1.0 / m,
                                   k->n_targets, n_vocab) /
                      m;

    strand_backward(k, e);
    if (step == 0) {
        memcpy(e->first_grad, e->grad, e->n_weights * sizeof *e->grad);
    }
    e->losses[3 * step] = (float)(c_edit * nll + kl);
    e->losses[3 * step + 1] = (float)nll;
    e->losses[3 * step + 2] = (float)kl;
    dinm_adam_step(e->w, e->moment1, e->moment2, e->grad, &adam, (int64_t)step + 1, e->n_weights);
}

static int dump_edit(const struct dinm_slice *m, const char *out, char **words,
                     struct dinm_error *err)
{
    struct edit e = {.m = m};
    int status = DINM_OK;

    TRY(edit_open(&e, words, err));
    for (size_t step = 0; step < e.n_steps; step++) {
        edit_step(&e, step);
    }
    for (size_t i = 0; i < e.n_weights; i++) {
        e.w[i] -= e.w0[i];
    }
    TRY(write_out(out, e.w, e.n_weights, "wb", err));
    TRY(write_out(out, e.losses, 3 * e.n_steps, "ab", err));
    TRY(write_out(out, e.first_grad, e.n_weights, "ab", err));
out:
    edit_close(&e);
    return status;
}

int main(int n_words, char **words)
{
    static const struct {
        const char *name;
        int n_words;
        int (*run)(const struct dinm_slice *m, const char *out, char **words,
                   struct dinm_error *err);
    } modes[] = {{"forward", 1, dump_forward}, {"greedy", 2, dump_greedy}, {"edit", 6, dump_edit}};
    struct dinm_error err = {0};
    struct dinm_slice m = {0};
    int status = DINM_USAGE;

    dinm_linear_set_threads(2);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (n_words == 4 + modes[i].n_words && strcmp(words[1], modes[i].name) == 0) {
            TRY(dinm_slice_open(&m, words[2], 0, 0, &err));
            TRY(modes[i].run(&m, words[3], words + 4, &err));
        }
    }
out:
    dinm_slice_close(&m);
    if (status < 0) {
        fprintf(stderr, "decoder_dump: %s\n", err.text[0] ? err.text : "wrong arguments");
    }
    return status < 0;
}
