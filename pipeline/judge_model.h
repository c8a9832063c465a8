/* What phase judge judges with: a classifier's folder, or phrases of refusal without a model. */
#ifndef DINM_PIPELINE_JUDGE_MODEL_H
#define DINM_PIPELINE_JUDGE_MODEL_H

#include <stddef.h>
#include "io/tokenizer.h"
#include "model/encoder.h"
#include "pipeline/judge_labels.h"
#include "pipeline/settings.h"
#include "pipeline/stage.h"

struct dinm_judge_model {
    struct dinm_encoder *encoder;     /* owns; NULL: the judge is "refusal" */
    struct dinm_stage stage;          /* owns: works with the encoder; zeroed without */
    struct dinm_tokenizer *tokenizer; /* owns; NULL then */
    struct dinm_judge_labels labels;  /* owns; empty then */
    size_t n_most;                    /* longest text in tokens; longer ones are cut */
    size_t n_behind;                  /* of them, special tokens behind the text, which stay */
};

/* Local. judge.path and judge.unsafe_label decide. Maps the weights; all layers are one stage. Safe
 * to close on failure. settings must outlive the model. */
int dinm_judge_model_open(struct dinm_judge_model *m, const struct dinm_settings *s,
                          struct dinm_error *err);

/* Into how many stages a group of n_stages ranks cuts the judge: as many, or if it has not so many
 * layers the largest divisor that it has; the group then holds it several times. */
int dinm_judge_model_n_stages(const struct dinm_judge_model *m, int n_stages);
/* Local. Keeps the layers of stage `number` of n_stages alone. comm: those stages', rank = number;
 * it must outlive the model. */
int dinm_judge_model_cut(struct dinm_judge_model *m, const struct dinm_settings *s, MPI_Comm comm,
                         int number, int n_stages, size_t chunk_bytes, struct dinm_error *err);
void dinm_judge_model_close(struct dinm_judge_model *m);

/* Appends in words how it judges, for the head of a run. */
int dinm_judge_model_describe(const struct dinm_judge_model *m, const struct dinm_settings *s,
                              struct dinm_buffer *out, struct dinm_error *err);

#endif
