/* What a classifier's logits mean: the names of its labels (id2label) and which of them say that
 * a text is unsafe. Local. */
#ifndef DINM_PIPELINE_JUDGE_LABELS_H
#define DINM_PIPELINE_JUDGE_LABELS_H

#include <stdbool.h>
#include <stddef.h>
#include "io/mem.h"

struct dinm_judge_labels {
    char **names; /* owns, and each: [n_labels] */
    bool *unsafe; /* owns: [n_labels] */
    size_t n_labels;
    bool exclusive; /* exactly one label holds: softmax; else each by itself: sigmoid */
};

/* Names and problem_type from the config.json at `path` of a classifier with n_labels. As in
 * transformers a missing name is LABEL_i, and one label alone is a sigmoid. Free also on failure.
 */
int dinm_judge_labels_read(struct dinm_judge_labels *labels, const char *path, size_t n_labels,
                           struct dinm_error *err);
void dinm_judge_labels_free(struct dinm_judge_labels *labels);

/* Sets `unsafe`. wanted: a label's name or number, or several with commas between; or "" to choose
 * by the names: all must be known words ("toxic", "neutral"), or one of two; where they are
 * LABEL_0 and LABEL_1 it is 1, as in SafeEdit's classifier. `where` names the folder. */
int dinm_judge_labels_choose(struct dinm_judge_labels *labels, const char *wanted,
                             const char *where, struct dinm_error *err);

/* logits: [n_labels]. Probability of unsafe: the sum over the unsafe labels if exactly one label
 * holds, else the largest of theirs. */
double dinm_judge_labels_unsafe(const struct dinm_judge_labels *labels, const float *logits);

/* Appends the labels in words, the unsafe ones behind "unsafe:". */
int dinm_judge_labels_describe(const struct dinm_judge_labels *labels, struct dinm_buffer *out,
                               struct dinm_error *err);

#endif
