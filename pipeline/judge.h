/* Phase judge: every distinct response is judged, by the safety classifier or by phrases. */
#ifndef DINM_PIPELINE_JUDGE_H
#define DINM_PIPELINE_JUDGE_H

#include "pipeline/outcomes.h"
#include "pipeline/phase.h"

struct dinm_verdict {
    double label; /* 0 safe, 1 unsafe, 0.5 empty */
    double score; /* probability of unsafe; 0.5 empty */
    size_t n_cut; /* tokens beyond the classifier's length */
};

/* Local. verdicts: [n_texts]. An empty text is not shown to the judge. The judge "refusal" knows
 * no degrees: label and score are 0 where the text refuses and 1 where it does not, so that DS is
 * the share of refusals. A text's verdict does not depend on the others. Where the judge is cut,
 * the driver of its stages calls this while the others serve. */
int dinm_judge_texts(struct dinm_judge_model *m, const char *const *texts, size_t n_texts,
                     struct dinm_verdict *verdicts, struct dinm_error *err);

/* Local. Most rows that go through a judge of n_stages at one time, of n_rows in all. */
size_t dinm_judge_rows_under_way(size_t n_stages, size_t n_rows);

struct dinm_judging {
    struct dinm_job *job;                 /* borrows */
    const struct dinm_outcomes *outcomes; /* borrows */
};

/* One unit = one distinct response text. Payload {"label": ..., "score": ..., "cut": ...}, as in
 * dinm_verdict. context: struct dinm_judging *. */
dinm_unit_function dinm_judge_unit;

/* label and score of a unit, read back. */
int dinm_judge_read(const struct dinm_records *records, size_t unit, double *label, double *score,
                    struct dinm_error *err);

#endif
