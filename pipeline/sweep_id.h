/* What a sweep is, so that a number means the same combination for ever. Private to
 * pipeline/sweep*. Local. */
#ifndef DINM_PIPELINE_SWEEP_ID_H
#define DINM_PIPELINE_SWEEP_ID_H

#include "pipeline/digests.h"
#include "pipeline/sweep.h"

/* digests: [n_runs] of the files of each run. Every file is read once. */
int dinm_sweep_read_files(const struct dinm_sweep *sweep, struct dinm_digests *digests,
                          struct dinm_digest_memory *memory, struct dinm_error *err);

/* Writes OUT/sweep/id.json, or compares with it if it is there and not `fresh`: another sweep is
 * refused naming what differs. */
int dinm_sweep_identify(const struct dinm_sweep *sweep, const struct dinm_digests *digests,
                        bool fresh, struct dinm_error *err);

#endif
