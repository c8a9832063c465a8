/* How long the texts are: every rank encodes its share, the sums are everyone's. */
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"
#include "pipeline/edit.h"
#include "pipeline/plan.h"

static int64_t prompt_length(const struct dinm_job *job, const char *text, size_t max_new,
                             struct dinm_ids *ids, int *status, struct dinm_error *err)
{
    size_t limit = dinm_prompt_limit(job->settings, job->slice.config.n_positions, max_new);
    ids->n_ids = 0;
    if (*status >= 0) {
        *status = dinm_prompt_encode(job->tokenizer, job->settings, text, strlen(text), ids, err);
    }
    return *status < 0 ? 0 : (int64_t)(ids->n_ids < limit ? ids->n_ids : limit);
}

static int count_edited(const struct dinm_job *job, const struct dinm_case *c, int64_t *lengths,
                        struct dinm_ids *ids, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer text = {0};
    for (size_t i = 0; i < DINM_N_INPUTS; i++) {
        text.n_bytes = 0;
        TRY(dinm_prompt_text_edited(job->settings, c->inputs[i], &text, err));
        lengths[i] = prompt_length(job, text.data, (size_t)job->settings->generate.max_new_tokens,
                                   ids, &status, err);
        TRY(status);
    }
out:
    dinm_buffer_free(&text);
    return status;
}

/* A case whose texts cannot be built fails by itself when its turn comes: it counts nothing. */
static void count_targets(const struct dinm_job *job, const struct dinm_case *c, int64_t *lengths)
{
    const struct dinm_settings *s = job->settings;
    size_t n_positions = job->slice.config.n_positions;
    bool constrained = s->edit.method == DINM_METHOD_DINM && s->edit.constraint;
    struct dinm_target edit = {0}, constraint = {0};
    if (dinm_edit_is_wanted(s) &&
        dinm_target_edit(&edit, job->tokenizer, s, c, n_positions, NULL) == DINM_OK &&
        dinm_target_constraint(&constraint, job->tokenizer, s, c, n_positions, NULL) == DINM_OK) {
        lengths[DINM_EDIT_ROWS] = (int64_t)edit.ids.n_ids;
        lengths[DINM_EDIT_PICKS] = (int64_t)edit.n_rows;
        lengths[DINM_CONSTRAINT_ROWS] = constrained ? (int64_t)constraint.ids.n_ids : 0;
        lengths[DINM_CONSTRAINT_PICKS] = constrained ? (int64_t)constraint.n_rows : 0;
    }
    dinm_target_free(&edit);
    dinm_target_free(&constraint);
}

static int count_own(struct dinm_plan *plan, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_job *job = plan->job;
    size_t rank = (size_t)job->grid.rank, size = (size_t)job->grid.size;
    struct dinm_plan_lengths *l = &plan->lengths;
    struct dinm_ids ids = {0};
    for (size_t i = rank; i < job->prompts.n_prompts; i += size) {
        const struct dinm_prompt *p = &job->prompts.prompts[i];
        l->prompts[i] = prompt_length(job, p->text, p->max_new, &ids, &status, err);
        TRY(status);
    }
    for (size_t i = rank; i < job->cases.n_cases; i += size) {
        const struct dinm_case *c = &job->cases.cases[i];
        TRY(count_edited(job, c, l->edited + i * DINM_N_INPUTS, &ids, err));
        count_targets(job, c, l->targets + i * DINM_N_TARGET_LENGTHS);
    }
out:
    dinm_ids_free(&ids);
    return status;
}

static int open_lengths(struct dinm_plan *plan, struct dinm_error *err)
{
    struct dinm_plan_lengths *l = &plan->lengths;
    size_t n_cases = plan->job->cases.n_cases, n_prompts = plan->job->prompts.n_prompts;
    l->n_all = n_prompts + n_cases * (DINM_N_INPUTS + DINM_N_TARGET_LENGTHS);
    l->all = dinm_alloc(l->n_all, sizeof *l->all, "the plan", err);
    if (l->all == NULL) {
        return DINM_FAILED;
    }
    l->prompts = l->all;
    l->edited = l->prompts + n_prompts;
    l->targets = l->edited + n_cases * DINM_N_INPUTS;
    return DINM_OK;
}

int dinm_plan_count_all(struct dinm_plan *plan, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_grid *grid = &plan->job->grid;
    struct dinm_plan_lengths *l = &plan->lengths;
    TRY(dinm_agree_all(grid, open_lengths(plan, err), err));
    TRY(dinm_agree_all(grid, count_own(plan, err), err));
    for (size_t at = 0; at < l->n_all;) {
        int n = l->n_all - at < INT32_MAX / 16 ? (int)(l->n_all - at) : INT32_MAX / 16;
        TRY(dinm_grid_check(
            MPI_Allreduce(MPI_IN_PLACE, l->all + at, n, MPI_INT64_T, MPI_SUM, grid->world),
            "MPI_Allreduce", err));
        at += (size_t)n;
    }
out:
    return status;
}
