/* Opening the judge. */
#include "pipeline/judge_model.h"

#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "io/mem.h"
#include "pipeline/cut.h"

/* As the paper's classifier is used (METHOD section 1). */
enum { MOST_TOKENS = 512 };

/* Special tokens behind a text's own tokens: counted once on a letter. */
static int count_behind(struct dinm_judge_model *m, const char *folder, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_ids bare = {0}, whole = {0};
    const struct dinm_encode_options special = {.special = true};
    TRY(dinm_tokenizer_encode(m->tokenizer, "a", 1, (struct dinm_encode_options){0}, &bare, err));
    TRY(dinm_tokenizer_encode(m->tokenizer, "a", 1, special, &whole, err));
    size_t before = 0;
    while (before + bare.n_ids < whole.n_ids &&
           memcmp(whole.ids + before, bare.ids, bare.n_ids * sizeof *bare.ids) != 0) {
        before++;
    }
    m->n_behind = whole.n_ids - bare.n_ids - before;
    if (m->n_most <= before + m->n_behind) {
        TRY(dinm_fail(err, DINM_FAILED,
                      "%s: the classifier takes %zu tokens, of which none is left beside the %zu "
                      "special ones",
                      folder, m->n_most, before + m->n_behind));
    }
out:
    dinm_ids_free(&bare);
    dinm_ids_free(&whole);
    return status;
}

static void open_stage(struct dinm_judge_model *m, const struct dinm_settings *s, MPI_Comm comm,
                       int number, int n_stages, size_t chunk_bytes)
{
    dinm_stage_close(&m->stage);
    dinm_stage_open(&m->stage, NULL, s, comm, number, n_stages, chunk_bytes);
    m->stage.encoder = m->encoder;
}

int dinm_judge_model_open(struct dinm_judge_model *m, const struct dinm_settings *s,
                          struct dinm_error *err)
{
    int status = DINM_OK;
    const char *folder = s->judge.path;
    char *path = NULL;
    *m = (struct dinm_judge_model){0};
    if (dinm_judge_is_refusal(s)) {
        return DINM_OK;
    }
    TRY(dinm_encoder_open(&m->encoder, folder, 0, 0, err));
    open_stage(m, s, MPI_COMM_NULL, 0, 1, 0);
    TRY(dinm_tokenizer_open(&m->tokenizer, folder, err));
    const struct dinm_encoder_config *c = dinm_encoder_get_config(m->encoder);
    TRY(dinm_tokenizer_fit(m->tokenizer, folder, c->n_vocab, err));
    m->n_most = dinm_encoder_max_tokens(c);
    m->n_most = m->n_most < MOST_TOKENS ? m->n_most : MOST_TOKENS;
    TRY(count_behind(m, folder, err));
    path = dinm_path_join(folder, "config.json", err);
    TRY(path ? DINM_OK : DINM_FAILED);
    TRY(dinm_judge_labels_read(&m->labels, path, c->n_labels, err));
    TRY(dinm_judge_labels_choose(&m->labels, s->judge.unsafe_label, folder, err));
out:
    free(path);
    return status;
}

int dinm_judge_model_n_stages(const struct dinm_judge_model *m, int n_stages)
{
    const size_t n_layers = m->encoder == NULL ? 1 : dinm_encoder_get_config(m->encoder)->n_layers;
    int n = n_stages;
    while (n > 1 && ((size_t)n > n_layers || n_stages % n != 0)) {
        n--;
    }
    return n;
}

int dinm_judge_model_cut(struct dinm_judge_model *m, const struct dinm_settings *s, MPI_Comm comm,
                         int number, int n_stages, size_t chunk_bytes, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_encoder *part = NULL;
    size_t *first = dinm_alloc((size_t)n_stages + 1, sizeof *first, "the cut of the judge", err);
    TRY(first ? DINM_OK : DINM_FAILED);
    TRY(dinm_cut_equally(first, dinm_encoder_get_config(m->encoder)->n_layers, (size_t)n_stages,
                         err));
    TRY(dinm_encoder_open(&part, s->judge.path, first[number], first[number + 1], err));
    dinm_encoder_close(m->encoder);
    m->encoder = part;
    open_stage(m, s, comm, number, n_stages, chunk_bytes);
out:
    free(first);
    return status;
}

void dinm_judge_model_close(struct dinm_judge_model *m)
{
    dinm_stage_close(&m->stage);
    dinm_encoder_close(m->encoder);
    dinm_tokenizer_close(m->tokenizer);
    dinm_judge_labels_free(&m->labels);
    *m = (struct dinm_judge_model){0};
}

int dinm_judge_model_describe(const struct dinm_judge_model *m, const struct dinm_settings *s,
                              struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    if (m->encoder == NULL) {
        return dinm_buffer_append_text(
            out, "refusal by phrases: a response that refuses is safe, any other unsafe", err);
    }
    TRY(dinm_buffer_append_format(out, err, "%s: labels ", s->judge.path));
    TRY(dinm_judge_labels_describe(&m->labels, out, err));
out:
    return status;
}
