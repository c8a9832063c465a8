/* From the journal's records to the files people read. Rank 0 only; local. */
#ifndef DINM_PIPELINE_RESULTS_H
#define DINM_PIPELINE_RESULTS_H

#include "io/cases.h"
#include "pipeline/metrics.h"
#include "pipeline/settings.h"

enum dinm_side { DINM_VANILLA_SIDE, DINM_EDITED_SIDE, DINM_N_SIDES };

struct dinm_answer {
    const char *response; /* borrows */
    double label;         /* 0 safe, 1 unsafe, 0.5 empty */
    double score;         /* the judge's probability of unsafe */
    int64_t n_tokens;
};

/* Everything known about one case at the end. */
struct dinm_case_result {
    int64_t id;
    const char *category;   /* borrows */
    const char *failed;     /* borrows: the reason, or NULL */
    int64_t layer;          /* 0-based; -1: none */
    const float *distances; /* borrows: [n_distances] or NULL */
    size_t n_distances;
    const float *losses; /* borrows: [n_losses][3] */
    size_t n_losses;
    const char *prompts[DINM_N_INPUTS]; /* borrows: as written in the case file, before template and
                                           suffix */
    struct dinm_answer answers[DINM_N_INPUTS][DINM_N_SIDES];
    double fluency[DINM_N_SIDES], repetition[DINM_N_SIDES]; /* mean over the five responses */
    int64_t kqa_right[DINM_N_SIDES], kqa_total; /* kqa_total = 0: not measured on this case */
};

struct dinm_results {
    struct dinm_case_result *cases; /* owns: [n_cases] in case order */
    size_t n_cases;
    size_t n_layers;                          /* of the model */
    size_t n_prompts_distinct, n_prompts_cut; /* counts for the report */
    const struct dinm_settings *settings;     /* borrows */
    const char *digests;                      /* borrows: JSON object text of input digests */
};

/* Fills fluency and repetition from the responses. */
int dinm_results_score(struct dinm_results *r, struct dinm_error *err);

/* Write OUT/cases.jsonl, results.json, results.md, results.csv. Equal input gives equal bytes. */
int dinm_results_write(const struct dinm_results *r, const char *out, struct dinm_error *err);
/* The table as it is printed at the end of a run. */
int dinm_results_print(const struct dinm_results *r, struct dinm_buffer *out,
                       struct dinm_error *err);
/* Rows of the table in order: DS, DG_onlyQ, DG_otherA, DG_otherQ, DG_otherAQ, DG_Avg, Fluency,
 * Repetition, Empty, KQA (if measured). */

#endif
