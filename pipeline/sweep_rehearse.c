/* The plans of all combinations one after the other, what they share counted once. */
#include "pipeline/sweep_rehearse.h"

#include <stdio.h>
#include <string.h>
#include "pipeline/rehearse.h"

/* The phase whose results a moment's work ends in. */
static enum dinm_phase phase_of(int moment)
{
    static const enum dinm_phase phases[DINM_N_MOMENTS] = {[DINM_AT_LOCATE] = DINM_LOCATE,
                                                           [DINM_AT_VANILLA] = DINM_VANILLA,
                                                           [DINM_AT_EDIT] = DINM_EDIT,
                                                           [DINM_AT_ANSWER] = DINM_EDIT,
                                                           [DINM_AT_JUDGE] = DINM_JUDGE};
    return phases[moment];
}

int dinm_sweep_rehearse_all(MPI_Comm comm, const struct dinm_sweep *sweep,
                            struct dinm_sweep_share *shares, int rank, struct dinm_error *err)
{
    int status = DINM_OK;
    char room[32];
    double time_s = 0.0;
    size_t n_shared[DINM_N_PHASES] = {0};
    struct dinm_rehearsal r = {0};
    for (size_t i = 0; i < sweep->n_runs; i++) {
        struct dinm_error failure = {0};
        const char *before = i > 0 ? sweep->runs[i - 1].model.path : "";
        if (strcmp(before, sweep->runs[i].model.path) != 0) {
            memset(r.rates, 0, sizeof r.rates); /* products of another shape */
        }
        r.silent = i > 0;
        if (dinm_rehearse_all(comm, &sweep->runs[i], &r, &failure) < 0) {
            TRY(dinm_fail(err, failure.status, "combination %03zu: %s", i, failure.text));
        }
        shares[i].is_finished = true;
        for (int at = 0; at < DINM_N_MOMENTS; at++) {
            const enum dinm_phase phase = phase_of(at);
            const bool shared =
                (int)phase < DINM_SWEEP_N_SHARED && dinm_sweep_donor(shares, i, phase) < i;
            time_s += shared ? 0.0 : r.time_s[at];
            n_shared[phase] += shared;
        }
    }
    if (rank == 0) {
        printf("\n%zu combinations; that was 000. Of the others %zu share the phase locate of an "
               "earlier one, %zu vanilla, %zu edit.\nEstimated time of all: %s\n",
               sweep->n_runs, n_shared[DINM_LOCATE], n_shared[DINM_VANILLA],
               n_shared[DINM_EDIT] / 2, dinm_plan_say_time(room, time_s));
        fflush(stdout);
    }
out:
    return status;
}
