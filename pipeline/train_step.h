/* The state of a training, and one step of it. Private to train*.c. */
#ifndef DINM_PIPELINE_TRAIN_STEP_H
#define DINM_PIPELINE_TRAIN_STEP_H

#include "pipeline/train_private.h"
#include "pipeline/train_watch.h"

struct dinm_trainer {
    struct dinm_train_place place;
    struct dinm_train_settings settings;
    struct dinm_tokenizer *tokenizer; /* owns */
    struct dinm_train_model model;
    struct dinm_train_data data, held_out;
    struct dinm_train_order order;
    struct dinm_train_pack pack;
    struct dinm_train_tree tree;
    size_t *batch; /* owns: [settings.batch], records of this step */
    double scale;  /* 1 / units of the batch */
    /* Roots alone: */
    float *moments; /* owns: [2][n_params], Adam's m and v */
    struct dinm_train_step now;
    /* Rank 0 alone: */
    struct dinm_train_watch watch;
    int status; /* of what rank 0 did between steps; goes out with the next one */
};

/* For the tree: the part's gradient, with the other stages of the group. context: a trainer. */
int dinm_train_compute_part(void *context, size_t part, float *grad, struct dinm_train_score *score,
                            int *worst, struct dinm_error *err);

/* Collective. One step: the same weights in every group before and after.
 * Cost: each rank but the root of its stage sends one gradient of its layers; the stages' new
 * weights are broadcast. */
int dinm_train_step_all(struct dinm_trainer *t, int64_t step, struct dinm_error *err);

/* Collective. The first stage's shared weights reach the copy on the last of its group. */
int dinm_train_share_ends_all(struct dinm_trainer *t, struct dinm_error *err);

#endif
