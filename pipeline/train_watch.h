/* What the person sees of a training, and loss.csv. Rank 0; local. */
#ifndef DINM_PIPELINE_TRAIN_WATCH_H
#define DINM_PIPELINE_TRAIN_WATCH_H

#include "pipeline/train_private.h"

/* One step as it was. */
struct dinm_train_step {
    int64_t step; /* first: 1 */
    size_t n_tokens;
    double lr, norm, loss;
};
struct dinm_train_watch {
    double start_s, last_s;    /* of the first step; of the last printed line */
    size_t n_tokens, n_steps;  /* since the last line */
    double loss;               /* sum over these steps */
    double held_out;           /* last known, NAN: none yet */
    struct dinm_buffer losses; /* owns: loss.csv so far */
};
/* Prints what is about to be trained. */
int dinm_train_watch_begin(struct dinm_train_watch *w, const struct dinm_train_settings *s,
                           const struct dinm_train_model *m, const struct dinm_train_data *data,
                           const struct dinm_train_data *held_out, const struct dinm_grid *grid,
                           struct dinm_error *err);
/* Adds the step to loss.csv and prints a line when it is time. held_out: NULL if not measured
 * after this step. */
int dinm_train_watch_note(struct dinm_train_watch *w, const struct dinm_train_settings *s,
                          const struct dinm_train_step *step,
                          const struct dinm_train_score *held_out, struct dinm_error *err);
void dinm_train_watch_free(struct dinm_train_watch *w);

#endif
