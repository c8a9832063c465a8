/* The DINM edit of one case (arXiv 2403.14472, section 4, equations 7 to 10).
 *
 * Only W_V of layer l changes, so everything below its product is computed once: the residual
 * before it is added and its input h_down. Each step then costs one product, the layers above and
 * the head on the rows that carry a loss, forward and backward. Local; knows no files. */
#ifndef DINM_PIPELINE_EDIT_H
#define DINM_PIPELINE_EDIT_H

#include <stddef.h>
#include "io/cases.h"
#include "io/tokenizer.h"
#include "model/slice.h"
#include "pipeline/settings.h"

/* A text and the rows of it that carry a loss: row rows[i] predicts labels[i]. */
struct dinm_target {
    struct dinm_ids ids;
    size_t *rows;    /* owns: [n_rows] */
    int32_t *labels; /* owns: [n_rows]; the constraint text does not use them */
    size_t n_rows;
    size_t n_cut; /* tokens dropped on the left because the text was too long */
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

struct dinm_edit_outcome {
    struct dinm_edit edit; /* edit.down borrows `down` */
    float *down;           /* owns: [d_model][d_ff] float32, the edited matrix */
    float *losses;         /* owns: [n_losses][3]: total, edit, constraint before each step */
    size_t n_losses;
    const char *failed; /* static text: why the edit is useless (not finite); NULL if fine */
};
void dinm_edit_outcome_free(struct dinm_edit_outcome *o);

/* Edits W_V of `layer` for that case. Methods without an edit leave down NULL. */
int dinm_edit_make(struct dinm_edit_outcome *o, const struct dinm_slice *slice,
                   const struct dinm_settings *s, const struct dinm_target *edit,
                   const struct dinm_target *constraint, size_t layer, struct dinm_error *err);

#endif
