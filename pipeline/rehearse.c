/* Inputs and plan of a job, without its layers. */
#include "pipeline/rehearse.h"

#include <stdio.h>

/* Rank 0 prints. */
static int print_all(const struct dinm_plan *plan, const struct dinm_grid *grid,
                     struct dinm_error *err)
{
    struct dinm_buffer text = {0};
    int status = grid->rank == 0 ? dinm_plan_print(plan, &text, err) : DINM_OK;
    if (status >= 0 && grid->rank == 0) {
        fputs(text.data, stdout);
        fflush(stdout);
    }
    dinm_buffer_free(&text);
    return dinm_agree_all(grid, status, err);
}

int dinm_rehearse_all(MPI_Comm comm, const struct dinm_settings *settings,
                      struct dinm_rehearsal *rehearsal, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_job job = {0};
    struct dinm_plan plan = {0};
    struct dinm_faults faults = {0};
    TRY(dinm_job_open_all(&job, comm, settings, &faults, err));
    status = dinm_faults_end(&faults, "inputs", job.grid.rank == 0, err);
    TRY(dinm_agree_all(&job.grid, status, err));
    TRY(dinm_plan_make_all(&plan, &job, err));
    TRY(dinm_plan_measure_all(&plan, rehearsal->rates, err));
    for (int at = 0; at < DINM_N_MOMENTS; at++) {
        rehearsal->time_s[at] = plan.work[at].time_s;
    }
    if (!rehearsal->silent) {
        TRY(print_all(&plan, &job.grid, err));
    }
    if (plan.lack.status < 0) {
        TRY(dinm_fail(err, DINM_FAILED, "it does not fit: %s", plan.lack.text));
    }
out:
    dinm_faults_free(&faults);
    dinm_plan_free(&plan);
    dinm_job_close_all(&job);
    return status;
}
