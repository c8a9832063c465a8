/* Journal records back to structures. */
#include "pipeline/outcomes.h"

#include <math.h>
#include <stdlib.h>
#include "io/json.h"
#include "io/mem.h"
#include "pipeline/distinct.h"
#include "pipeline/record.h"

static const char where[] = "the journal's record";

static int read_response(struct dinm_response *r, const cJSON *tree, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_json j = {tree, where};
    TRY(dinm_json_get_text(j, "response", &r->text, err));
    TRY(dinm_json_get_int(j, "n_tokens", 0, INT32_MAX, &r->n_tokens, err));
    TRY(dinm_json_get_int(j, "cut", 0, INT64_C(1) << 53, &r->n_cut, err));
out:
    return status;
}

/* Steps that did not give a finite number were written as null. */
static int read_losses(struct dinm_edited *e, const cJSON *losses, struct dinm_error *err)
{
    e->n_losses = (size_t)cJSON_GetArraySize(losses);
    e->losses = dinm_alloc(3 * e->n_losses, sizeof *e->losses, "losses", err);
    if (!e->losses) {
        return DINM_FAILED;
    }
    float *next = e->losses;
    for (const cJSON *step = losses->child; step; step = step->next) {
        if (!cJSON_IsArray(step) || cJSON_GetArraySize(step) != 3) {
            return dinm_fail(err, DINM_FAILED, "%s: key 'losses': expected three numbers a step",
                             where);
        }
        for (const cJSON *value = step->child; value; value = value->next) {
            *next++ = cJSON_IsNumber(value) ? (float)value->valuedouble : NAN;
        }
    }
    return DINM_OK;
}

static int read_edited(struct dinm_edited *e, const cJSON *tree, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_json j = {tree, where};
    const cJSON *losses = NULL;
    const cJSON *answers = NULL;
    *e = (struct dinm_edited){.failed = dinm_record_failure(tree), .layer = -1, .kqa_right = -1};
    if (e->failed) {
        return DINM_OK;
    }
    TRY(dinm_json_get_int(j, "layer", 0, INT32_MAX, &e->layer, err));
    TRY(dinm_json_get_array(j, "losses", &losses, err));
    TRY(read_losses(e, losses, err));
    TRY(dinm_json_get_array(j, "answers", &answers, err));
    const cJSON *answer = answers->child;
    for (size_t i = 0; i < DINM_N_INPUTS; i++) {
        TRY(answer ? DINM_OK : dinm_fail(err, DINM_FAILED, "%s lacks answer %zu", where, i));
        TRY(read_response(&e->answers[i], answer, err));
        answer = answer->next;
    }
    TRY(dinm_json_get_int_or(j, "kqa_right", 0, INT32_MAX, &e->kqa_right, err));
out:
    return status;
}

/* The text of one answer; failed cases count as nothing on both sides. */
static const char *answer_text(const struct dinm_outcomes *o, const struct dinm_job *job,
                               size_t case_index, size_t input, size_t side)
{
    const struct dinm_edited *e = &o->edited[case_index];
    if (e->failed) {
        return "";
    }
    if (side == 1) {
        return e->answers[input].text;
    }
    return o->vanilla[job->prompts.of_input[case_index * DINM_N_INPUTS + input]].text;
}

static int find_distinct(struct dinm_outcomes *o, const struct dinm_job *job,
                         struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n = o->n_cases * DINM_N_INPUTS * 2;
    size_t *first = dinm_alloc(n, sizeof *first, "the responses", err);
    const char **all = dinm_alloc(n, sizeof *all, "the responses", err);
    o->of_answer = dinm_alloc(n, sizeof *o->of_answer, "the responses", err);
    TRY(first && all && o->of_answer ? DINM_OK : DINM_FAILED);
    for (size_t i = 0; i < n; i++) {
        all[i] = answer_text(o, job, i / (DINM_N_INPUTS * 2), i / 2 % DINM_N_INPUTS, i % 2);
    }
    TRY(dinm_distinct(all, n, o->of_answer, first, &o->n_texts, err));
    o->texts = dinm_alloc(o->n_texts, sizeof *o->texts, "the responses", err);
    TRY(o->texts ? DINM_OK : DINM_FAILED);
    for (size_t i = 0; i < o->n_texts; i++) {
        o->texts[i] = all[first[i]];
    }
out:
    free(first);
    free(all);
    return status;
}

int dinm_outcomes_open(struct dinm_outcomes *o, const struct dinm_job *job, struct dinm_error *err)
{
    int status = DINM_OK;
    *o = (struct dinm_outcomes){.n_prompts = job->prompts.n_prompts, .n_cases = job->cases.n_cases};
    o->vanilla = dinm_alloc(o->n_prompts, sizeof *o->vanilla, "the vanilla answers", err);
    o->edited = dinm_alloc(o->n_cases, sizeof *o->edited, "the edited answers", err);
    o->trees = dinm_alloc(o->n_prompts + o->n_cases, sizeof(cJSON *), "the answers", err);
    TRY(o->vanilla && o->edited && o->trees ? DINM_OK : DINM_FAILED);
    for (size_t i = 0; i < o->n_prompts; i++) {
        TRY(dinm_record_parse(&job->records[DINM_VANILLA], i, &o->trees[i], err));
        TRY(read_response(&o->vanilla[i], o->trees[i], err));
    }
    for (size_t i = 0; i < o->n_cases; i++) {
        cJSON **tree = &o->trees[o->n_prompts + i];
        TRY(dinm_record_parse(&job->records[DINM_EDIT], i, tree, err));
        TRY(read_edited(&o->edited[i], *tree, err));
    }
    TRY(find_distinct(o, job, err));
out:
    if (status < 0) {
        dinm_outcomes_close(o);
    }
    return status;
}

void dinm_outcomes_close(struct dinm_outcomes *o)
{
    for (size_t i = 0; o->trees && i < o->n_prompts + o->n_cases; i++) {
        cJSON_Delete(o->trees[i]);
    }
    for (size_t i = 0; o->edited && i < o->n_cases; i++) {
        free(o->edited[i].losses);
    }
    free(o->trees);
    free(o->vanilla);
    free(o->edited);
    free(o->texts);
    free(o->of_answer);
    *o = (struct dinm_outcomes){0};
}
