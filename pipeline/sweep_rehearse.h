/* --dry-run of a sweep. Private to pipeline/sweep*. */
#ifndef DINM_PIPELINE_SWEEP_REHEARSE_H
#define DINM_PIPELINE_SWEEP_REHEARSE_H

#include "pipeline/sweep_share.h"

/* Collective over comm. Prints the first combination's plan, the number of combinations and their
 * time in all; fails if one of them does not fit. shares: [n_runs] */
int dinm_sweep_rehearse_all(MPI_Comm comm, const struct dinm_sweep *sweep,
                            struct dinm_sweep_share *shares, int rank, struct dinm_error *err);

#endif
