/* Joins locate, vanilla, edit and judge case by case, in case order. */
#include "pipeline/report.h"

#include <stdio.h>
#include <stdlib.h>
#include "io/json.h"
#include "io/mem.h"
#include "pipeline/html.h"
#include "pipeline/judge.h"
#include "pipeline/metrics.h"
#include "pipeline/record.h"
#include "pipeline/results.h"
#include "pipeline/timing.h"

/* distances: [n_layers] of one case from its locate record; zeros where the case failed. */
static int read_distances(float *distances, size_t n_layers, const struct dinm_records *located,
                          size_t case_index, struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *tree = NULL;
    size_t l = 0;
    TRY(dinm_record_parse(located, case_index, &tree, err));
    const cJSON *items = dinm_json_find(tree, "distances");
    for (const cJSON *item = items ? items->child : NULL; item && l < n_layers; item = item->next) {
        distances[l++] = (float)item->valuedouble;
    }
out:
    cJSON_Delete(tree);
    return status;
}

static int read_answer(struct dinm_answer *answer, const struct dinm_response *response,
                       const struct dinm_records *judged, size_t unit, struct dinm_error *err)
{
    answer->response = response->text;
    answer->n_tokens = response->n_tokens;
    return dinm_judge_read(judged, unit, &answer->label, &answer->score, err);
}

static int join_answers(struct dinm_case_result *r, const struct dinm_job *job,
                        const struct dinm_outcomes *o, size_t i, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_records *judged = &job->records[DINM_JUDGE];
    for (size_t input = 0; input < DINM_N_INPUTS; input++) {
        size_t at = i * DINM_N_INPUTS + input;
        const struct dinm_response *vanilla = &o->vanilla[job->prompts.of_input[at]];
        r->prompts[input] = job->cases.cases[i].inputs[input];
        TRY(read_answer(&r->answers[input][DINM_VANILLA_SIDE], vanilla, judged,
                        o->of_answer[2 * at], err));
        TRY(read_answer(&r->answers[input][DINM_EDITED_SIDE], &o->edited[i].answers[input], judged,
                        o->of_answer[2 * at + 1], err));
    }
out:
    return status;
}

/* General questions the unedited model answers right. */
static int count_right_before(const struct dinm_job *job, const struct dinm_outcomes *o,
                              int64_t *n_right, struct dinm_error *err)
{
    int status = DINM_OK;
    *n_right = 0;
    for (size_t q = 0; q < job->questions.n_questions; q++) {
        const struct dinm_question *question = &job->questions.questions[q];
        bool right = false;
        TRY(dinm_kqa_right(o->vanilla[job->prompts.of_question[q]].text, question->answers,
                           question->n_answers, &right, err));
        *n_right += right;
    }
out:
    return status;
}

static int join_cases(struct dinm_results *r, float *distances, const struct dinm_job *job,
                      const struct dinm_outcomes *o, struct dinm_error *err)
{
    int status = DINM_OK;
    int64_t n_right_before = 0;
    TRY(count_right_before(job, o, &n_right_before, err));
    for (size_t i = 0; i < r->n_cases; i++) {
        const struct dinm_edited *e = &o->edited[i];
        struct dinm_case_result *c = &r->cases[i];
        float *own = distances + i * r->n_layers;
        *c = (struct dinm_case_result){.id = job->cases.cases[i].id,
                                       .category = job->cases.cases[i].category,
                                       .failed = e->failed,
                                       .layer = e->layer,
                                       .distances = own,
                                       .n_distances = r->n_layers,
                                       .losses = e->losses,
                                       .n_losses = e->n_losses};
        if (e->failed) {
            continue;
        }
        TRY(read_distances(own, r->n_layers, &job->records[DINM_LOCATE], i, err));
        TRY(join_answers(c, job, o, i, err));
        if (e->kqa_right >= 0) {
            c->kqa_total = (int64_t)job->questions.n_questions;
            c->kqa_right[DINM_VANILLA_SIDE] = n_right_before;
            c->kqa_right[DINM_EDITED_SIDE] = e->kqa_right;
        }
    }
out:
    return status;
}

/* Vanilla prompts that were longer than the limit. */
static size_t count_cut(const struct dinm_outcomes *o)
{
    size_t n = 0;
    for (size_t i = 0; i < o->n_prompts; i++) {
        n += o->vanilla[i].n_cut > 0;
    }
    return n;
}

int dinm_report_write(const struct dinm_job *job, const struct dinm_outcomes *o, bool quiet,
                      struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer digests = {0};
    struct dinm_buffer table = {0};
    struct dinm_results r = {.n_cases = o->n_cases,
                             .n_layers = job->n_layers,
                             .n_prompts_distinct = o->n_prompts,
                             .n_prompts_cut = count_cut(o),
                             .settings = job->settings};
    float *distances = dinm_alloc(r.n_cases * r.n_layers, sizeof *distances, "distances", err);
    r.cases = dinm_alloc(r.n_cases, sizeof *r.cases, "results", err);
    TRY(distances && r.cases ? DINM_OK : DINM_FAILED);
    TRY(dinm_digests_print(&job->digests, &digests, err));
    r.digests = digests.data;
    TRY(join_cases(&r, distances, job, o, err));
    TRY(dinm_results_score(&r, err));
    TRY(dinm_results_write(&r, job->settings->run.out, err));
    TRY(dinm_html_write(&r, job->settings->run.out, err));
    if (!quiet) {
        TRY(dinm_results_print(&r, &table, err));
        fputs(table.data, stdout);
        fflush(stdout);
    }
out:
    free(distances);
    free(r.cases);
    dinm_buffer_free(&digests);
    dinm_buffer_free(&table);
    return status;
}

int dinm_report_all(const struct dinm_job *job, const struct dinm_outcomes *outcomes, bool quiet,
                    size_t *n_failed, struct dinm_error *err)
{
    int status = DINM_OK;
    *n_failed = 0;
    for (size_t i = 0; i < outcomes->n_cases; i++) {
        *n_failed += outcomes->edited[i].failed != NULL;
    }
    if (job->grid.rank == 0) {
        status = dinm_report_write(job, outcomes, quiet, err);
    }
    TRY(dinm_agree_all(&job->grid, status, err));
    TRY(dinm_timing_write_all(job, outcomes, err));
out:
    return status;
}
