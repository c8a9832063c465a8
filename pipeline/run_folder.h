/* The output folder of a run, from its side. Private to run.c. Collective. */
#ifndef DINM_PIPELINE_RUN_FOLDER_H
#define DINM_PIPELINE_RUN_FOLDER_H

#include <stdbool.h>
#include "pipeline/job.h"

/* Opens the job's journal. A sweep's folder, if the run is alone, that of another job, or one in
 * use is refused before anything is written. fresh: what an earlier run has done is forgotten. */
int dinm_run_folder_take_all(struct dinm_job *job, bool alone, bool fresh, struct dinm_error *err);
/* Removes what killed runs left half-written, and writes OUT/job.json: the settings with each
 * value's origin. */
int dinm_run_folder_begin_all(struct dinm_job *job, struct dinm_error *err);

#endif
