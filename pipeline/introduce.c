/* Notices at the start of a run. */
#include "pipeline/introduce.h"

#include "io/log.h"
#include "io/mem.h"

/* Which labels are unsafe decides every result, so it is said. */
static void introduce_judge(const struct dinm_job *job)
{
    struct dinm_error ignored = {0};
    struct dinm_buffer words = {0};
    if (dinm_judge_model_describe(&job->judge, job->settings, &words, &ignored) >= 0) {
        dinm_log(DINM_LOG_NOTICE, "judge: %s", words.data);
    }
    dinm_buffer_free(&words);
}

static const char *plural(size_t n)
{
    return n == 1 ? "" : "s";
}

int dinm_introduce(const struct dinm_job *job, const struct dinm_plan *plan, bool judges,
                   struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_config *c = &job->slice.config;
    struct dinm_buffer cut = {0};
    dinm_log(DINM_LOG_NOTICE,
             "%s: %zu layers of width %zu; %zu case%s, %zu distinct prompts of %zu; %d rank%s x "
             "%d thread%s",
             job->settings->model.path, c->n_layers, c->d_model, job->cases.n_cases,
             plural(job->cases.n_cases), job->prompts.n_prompts, job->prompts.n_used,
             job->grid.size, plural((size_t)job->grid.size), job->grid.n_threads,
             plural((size_t)job->grid.n_threads));
    if (plan->n_stages > 1) {
        TRY(dinm_plan_print_cut(plan, &cut, err));
        dinm_log(DINM_LOG_NOTICE, "%zu group%s x %zu stages of %s layers (%s)", plan->n_groups,
                 plural(plan->n_groups), plan->n_stages, cut.data, plan->reason.data);
    }
    if (plan->lack.status < 0) {
        dinm_log(DINM_LOG_NOTICE, "this may not fit: %s", plan->lack.text);
    }
    if (judges) {
        introduce_judge(job);
    }
out:
    dinm_buffer_free(&cut);
    return status;
}
