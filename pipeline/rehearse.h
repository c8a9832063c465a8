/* --dry-run: everything is checked, nothing is done. */
#ifndef DINM_PIPELINE_REHEARSE_H
#define DINM_PIPELINE_REHEARSE_H

#include <mpi.h>
#include <stdbool.h>
#include "pipeline/plan.h"

struct dinm_rehearsal {
    bool silent;                   /* the plan is not printed */
    double rates[3];               /* this rank's, as in dinm_plan_measure_all; begin zeroed */
    double time_s[DINM_N_MOMENTS]; /* estimated; the same on every rank */
};

/* Collective over comm. Says everything wrong with the inputs at once, or what the job will take
 * and whether that is there. */
int dinm_rehearse_all(MPI_Comm comm, const struct dinm_settings *settings,
                      struct dinm_rehearsal *rehearsal, struct dinm_error *err);

#endif
