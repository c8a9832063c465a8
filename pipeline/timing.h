/* timing.json: where the time and memory of a run went. The only result file that differs between
 * runs. */
#ifndef DINM_PIPELINE_TIMING_H
#define DINM_PIPELINE_TIMING_H

#include "pipeline/job.h"
#include "pipeline/outcomes.h"

/* Collective. Writes OUT/timing.json on rank 0: per phase wall time, per rank busy time, host and
 * peak memory; generated tokens and their rate; prompt tokens read, and copied from prompts that
 * begin alike; the machine. Cost: one gather, one reduction. */
int dinm_timing_write_all(const struct dinm_job *job, const struct dinm_outcomes *outcomes,
                          struct dinm_error *err);

#endif
