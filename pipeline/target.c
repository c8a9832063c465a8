/* The two texts of an edit and which of their rows count (METHOD sections 2 and 5). */
#include "pipeline/edit.h"

#include <stdlib.h>
#include <string.h>
#include "io/mem.h"
#include "pipeline/prompts.h"

void dinm_target_free(struct dinm_target *t)
{
    dinm_ids_free(&t->ids);
    free(t->rows);
    free(t->labels);
    *t = (struct dinm_target){0};
}

/* What stays of a target that could not be made. */
static void empty(struct dinm_target *t)
{
    bool unfit = t->unfit;
    dinm_target_free(t);
    t->unfit = unfit;
}

/* Joint text before + between + after and how many tokens `before` has by itself. */
static int encode_joint(struct dinm_ids *joint, size_t *n_before,
                        const struct dinm_tokenizer *tokenizer, const struct dinm_settings *s,
                        const char *before, const char *between, const char *after,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer text = {0};
    struct dinm_ids alone = {0};
    TRY(dinm_prompt_encode(tokenizer, s, before, strlen(before), &alone, err));
    TRY(dinm_buffer_append_text(&text, before, err));
    TRY(dinm_buffer_append_text(&text, between, err));
    TRY(dinm_buffer_append_text(&text, after, err));
    TRY(dinm_prompt_encode(tokenizer, s, text.data, strlen(before), joint, err));
    *n_before = alone.n_ids;
out:
    dinm_ids_free(&alone);
    dinm_buffer_free(&text);
    return status;
}

/* Rows first .. first + n - 1; labels are left to the caller. */
static int take_rows(struct dinm_target *t, size_t first, size_t n, struct dinm_error *err)
{
    t->rows = dinm_alloc(n, sizeof *t->rows, "the label rows", err);
    t->labels = dinm_alloc(n, sizeof *t->labels, "the label rows", err);
    if (!t->rows || !t->labels) {
        return DINM_FAILED;
    }
    for (size_t i = 0; i < n; i++) {
        t->rows[i] = first + i;
    }
    t->n_rows = n;
    return DINM_OK;
}

static int no_room(struct dinm_target *t, const struct dinm_case *c, const char *what,
                   struct dinm_error *err)
{
    t->unfit = true;
    return dinm_fail(err, DINM_FAILED,
                     "case %lld: no token of its %s is left to learn from; the text is empty or "
                     "longer than the model's positions",
                     (long long)c->id, what);
}

/* Labels are the tokens of the joint text behind the prompt's own. */
static int label_joint_tokens(struct dinm_target *t, size_t n_prompt, const struct dinm_case *c,
                              const char *what, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t first = n_prompt > t->n_cut + 1 ? n_prompt - t->n_cut : 1;
    TRY(first < t->ids.n_ids ? DINM_OK : no_room(t, c, what, err));
    TRY(take_rows(t, first - 1, t->ids.n_ids - first, err));
    memcpy(t->labels, t->ids.ids + first, t->n_rows * sizeof *t->labels);
out:
    return status;
}

/* Labels are the tokens of the target by itself, its BOS included, aligned to the text's end. */
static int label_alone_tokens(struct dinm_target *t, const struct dinm_tokenizer *tokenizer,
                              const struct dinm_settings *s, const struct dinm_case *c, int32_t eos,
                              struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_ids alone = {0};
    TRY(dinm_prompt_encode(tokenizer, s, c->safe, 0, &alone, err));
    if (s->edit.eos) {
        TRY(dinm_ids_append(&alone, &eos, 1, err));
    }
    TRY(alone.n_ids > 0 && t->ids.n_ids > 1 ? DINM_OK : no_room(t, c, "safe generation", err));
    size_t n_rows = t->ids.n_ids - 1;
    size_t n = alone.n_ids < n_rows ? alone.n_ids : n_rows;
    TRY(take_rows(t, n_rows - n, n, err));
    memcpy(t->labels, alone.ids + (alone.n_ids - n), n * sizeof *t->labels);
out:
    dinm_ids_free(&alone);
    return status;
}

int dinm_target_edit(struct dinm_target *t, const struct dinm_tokenizer *tokenizer,
                     const struct dinm_settings *s, const struct dinm_case *c, size_t n_positions,
                     struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer prompt = {0};
    size_t n_prompt = 0;
    int32_t eos = dinm_tokenizer_eos(tokenizer);
    *t = (struct dinm_target){0};
    if (s->edit.eos && eos < 0) {
        TRY(dinm_fail(err, DINM_FAILED,
                      "edit.eos: expected a tokenizer with an end-of-text token, found none"));
    }
    TRY(dinm_prompt_text_edited(s, c->inputs[DINM_DS], &prompt, err));
    TRY(encode_joint(&t->ids, &n_prompt, tokenizer, s, prompt.data, s->edit.target_prefix, c->safe,
                     err));
    if (s->edit.eos) {
        TRY(dinm_ids_append(&t->ids, &eos, 1, err));
    }
    t->n_cut = dinm_prompt_cut(&t->ids, n_positions, dinm_tokenizer_bos(tokenizer));
    if (s->edit.labels == DINM_LABELS_ALONE) {
        TRY(label_alone_tokens(t, tokenizer, s, c, eos, err));
    } else {
        TRY(label_joint_tokens(t, n_prompt, c, "safe generation", err));
    }
out:
    dinm_buffer_free(&prompt);
    if (status < 0) {
        empty(t);
    }
    return status;
}

int dinm_target_constraint(struct dinm_target *t, const struct dinm_tokenizer *tokenizer,
                           const struct dinm_settings *s, const struct dinm_case *c,
                           size_t n_positions, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer prompt = {0};
    struct dinm_ids answer = {0};
    size_t n_prompt = 0;
    *t = (struct dinm_target){0};
    TRY(dinm_prompt_text_edited(s, c->constraint_prompt, &prompt, err));
    TRY(encode_joint(&t->ids, &n_prompt, tokenizer, s, prompt.data, " ", c->constraint_answer,
                     err));
    t->n_cut = dinm_prompt_cut(&t->ids, n_positions, dinm_tokenizer_bos(tokenizer));
    if (s->edit.constraint_rows == DINM_ROWS_LAST) {
        TRY(dinm_prompt_encode(tokenizer, s, c->constraint_answer, 0, &answer, err));
        size_t n = answer.n_ids < t->ids.n_ids ? answer.n_ids : t->ids.n_ids;
        TRY(n > 0 ? DINM_OK : no_room(t, c, "constraint answer", err));
        TRY(take_rows(t, t->ids.n_ids - n, n, err));
    } else {
        TRY(label_joint_tokens(t, n_prompt, c, "constraint answer", err));
    }
out:
    dinm_buffer_free(&prompt);
    dinm_ids_free(&answer);
    if (status < 0) {
        empty(t);
    }
    return status;
}
