/* What an edit learns from (arXiv 2403.14472, section 4): the texts, the rows that carry a loss,
 * and how they are handed to the stages (stage_edit.h does the edit). */
#ifndef DINM_PIPELINE_EDIT_H
#define DINM_PIPELINE_EDIT_H

#include <stdbool.h>
#include <stddef.h>
#include "io/cases.h"
#include "io/tokenizer.h"
#include "pipeline/settings.h"
#include "pipeline/stage.h"

/* A text and the rows of it that carry a loss: row rows[i] predicts labels[i]. */
struct dinm_target {
    struct dinm_ids ids;
    size_t *rows;    /* owns: [n_rows] */
    int32_t *labels; /* owns: [n_rows]; the constraint text does not use them */
    size_t n_rows;
    size_t n_cut; /* tokens dropped on the left because the text was too long */
    bool unfit;   /* it failed since the case's own texts leave nothing to learn from */
};
void dinm_target_free(struct dinm_target *t);

/* "X S" + target_prefix + Y_safe, with edit.labels and edit.eos. */
int dinm_target_edit(struct dinm_target *t, const struct dinm_tokenizer *tokenizer,
                     const struct dinm_settings *s, const struct dinm_case *c, size_t n_positions,
                     struct dinm_error *err);
/* "q_cons S" + " " + answer, with edit.constraint_rows. */
int dinm_target_constraint(struct dinm_target *t, const struct dinm_tokenizer *tokenizer,
                           const struct dinm_settings *s, const struct dinm_case *c,
                           size_t n_positions, struct dinm_error *err);

/* Driver. Starts the edit of `layer` on its way under the number `task` (above 0), by which its
 * matrix is used afterwards; place: the number in the delta's file name. An item of kind EDIT comes
 * back: item->error says why the edit failed (item->own_failure: by its own numbers); otherwise
 * item->step losses are its values, [total, edit, constraint] before each step. */
int dinm_edit_ask(struct dinm_stage *stage, const struct dinm_target *edit,
                  const struct dinm_target *constraint, size_t layer, uint64_t task, uint64_t place,
                  struct dinm_error *err);
/* False for methods that change no weights. */
bool dinm_edit_is_wanted(const struct dinm_settings *s);

#endif
