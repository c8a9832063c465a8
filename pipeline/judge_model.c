/* Opening the judge. */
#include "pipeline/judge_model.h"

#include <stdlib.h>
#include <string.h>
#include "io/file.h"

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

void dinm_judge_model_close(struct dinm_judge_model *m)
{
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
