/* An edit in the making (arXiv 2403.14472, section 4, equations 7 to 10), as the stages hold it.
 *
 * Only W_V of layer l changes, so everything below its product is read once: the owner, the stage
 * of layer l, keeps the residual before it is added and its input h_down. Each step then costs one
 * product, the layers above and the head on the rows that carry a loss, forward and backward. Both
 * texts are read together. Private to the stage. */
#ifndef DINM_PIPELINE_STAGE_EDIT_H
#define DINM_PIPELINE_STAGE_EDIT_H

#include "pipeline/stage_private.h"

/* What only the last stage has. R: picked rows of both texts. */
struct dinm_part_loss {
    size_t *picks;   /* owns: [R] rows within the item */
    int32_t *labels; /* owns: [R of the first text] */
    size_t n[2];     /* picked rows of each text */
    float *logits;   /* owns: [R][n_vocab] */
    float *dlogits;  /* owns: [R][n_vocab] */
    float *base;     /* owns: [R of the second text][n_vocab]: log-probabilities before the edit */
    float *normed;   /* owns: [R][d_model] */
};

/* What only the owner has. */
struct dinm_part_owner {
    struct dinm_matrix down; /* the edited matrix; borrows w */
    float *w;                /* owns: float32, stored as the checkpoint stores it */
    float *grad, *m, *v;     /* owns: like w */
    float *resid_mid;        /* owns: [n_rows][d_model] */
    float *h_down;           /* owns: [n_rows][d_ff] */
    float *losses;           /* owns: [n_losses][3] total, edit, constraint before each step */
    size_t n_losses;
    bool is_owner;
};

/* One stage's share of one edit. */
struct dinm_part {
    struct dinm_part *next;
    struct dinm_item *model; /* owns: texts, picks and labels, without rows */
    struct dinm_sequence sequences[2];
    size_t n_rows, n_back;  /* of both texts; those whose gradient is wanted */
    size_t first, last;     /* layers run at every step; their activations are kept */
    struct dinm_tape *tape; /* owns */
    struct dinm_part_loss loss;
    struct dinm_part_owner owner;
};

/* The rows of both texts, or of those that are run backward. */
struct dinm_rows dinm_part_rows(const struct dinm_part *part, bool backward);

/* Last stage: losses into item->values; the rows of *item are the head's input. Makes *back, with
 * the gradient of these rows; without rows if this was the last step (the loss is below
 * edit.stop_loss, or not finite). */
int dinm_part_take_loss(struct dinm_stage *stage, struct dinm_part *part,
                        const struct dinm_item *item, struct dinm_item **back,
                        struct dinm_error *err);
int dinm_part_open_loss(struct dinm_stage *stage, struct dinm_part *part, struct dinm_error *err);
void dinm_part_close_loss(struct dinm_part_loss *loss);

/* Owner: reads both texts up to its product; x: [n_rows][d_model] enters its first layer. */
int dinm_part_open_owner(struct dinm_stage *stage, struct dinm_part *part, float *x,
                         struct dinm_error *err);
void dinm_part_close_owner(struct dinm_part_owner *owner);
/* Owner: y: [n_rows][d_model] = resid_mid + h_down W'^T */
void dinm_part_apply(const struct dinm_stage *stage, const struct dinm_part *part, float *y);
/* Owner: one optimiser step; dy: [n_back][d_model] is the gradient behind the product. */
void dinm_part_learn(const struct dinm_stage *stage, struct dinm_part *part, const float *dy,
                     int64_t step);
/* Owner: whether losses and matrix are finite numbers. */
int dinm_part_check(const struct dinm_part *part, struct dinm_error *err);
/* Owner: saves the matrix's delta where edit.save asks for it. */
int dinm_part_save(const struct dinm_stage *stage, const struct dinm_part *part,
                   struct dinm_error *err);

#endif
