/* The whole job, phase by phase: locate, vanilla, edit, judge, report. */
#ifndef DINM_PIPELINE_RUN_H
#define DINM_PIPELINE_RUN_H

#include <mpi.h>
#include "io/status.h"
#include "pipeline/args.h"
#include "pipeline/settings.h"

/* Collective over comm. Runs the phases asked for, or goes on where an earlier run stopped, and
 * writes the output folder. Every rank returns the same status and sentence. */
int dinm_run_all(MPI_Comm comm, const struct dinm_settings *settings,
                 const struct dinm_run_options *options, struct dinm_error *err);

/* Local. Makes the result files of the output folder `out` again from its journal. */
int dinm_report_rebuild(const char *out, struct dinm_error *err);

#endif
