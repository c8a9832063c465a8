/* What phases vanilla and edit left in the journal, read back for judging and reporting, and the
 * distinct responses among it. Local; the same on every rank. */
#ifndef DINM_PIPELINE_OUTCOMES_H
#define DINM_PIPELINE_OUTCOMES_H

#include <cjson/cJSON.h>
#include "io/cases.h"
#include "pipeline/job.h"

struct dinm_response {
    const char *text; /* borrows from the trees */
    int64_t n_tokens, n_cut;
};

struct dinm_edited {
    const char *failed; /* borrows: the reason, or NULL; the rest is empty then */
    int64_t layer;
    float *losses; /* owns: [n_losses][3] */
    size_t n_losses;
    struct dinm_response answers[DINM_N_INPUTS];
    int64_t kqa_right; /* -1: not asked */
};

struct dinm_outcomes {
    struct dinm_response *vanilla; /* owns: [n_prompts] */
    struct dinm_edited *edited;    /* owns: [n_cases] */
    size_t n_prompts, n_cases;
    cJSON **trees; /* owns: [n_prompts + n_cases], the texts' storage */
    /* Distinct responses that are judged: those to the five inputs, not to general questions. */
    const char **texts; /* owns the pointers: [n_texts] */
    size_t n_texts;
    size_t *of_answer; /* owns: [n_cases][DINM_N_INPUTS][2 sides] index into texts */
};

/* Both phases must be complete. */
int dinm_outcomes_open(struct dinm_outcomes *o, const struct dinm_job *job, struct dinm_error *err);
void dinm_outcomes_close(struct dinm_outcomes *o);

#endif
