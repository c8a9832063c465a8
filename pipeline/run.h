/* The whole job, phase by phase: locate, vanilla, edit, judge, report. */
#ifndef DINM_PIPELINE_RUN_H
#define DINM_PIPELINE_RUN_H

#include <mpi.h>
#include "io/status.h"
#include "pipeline/args.h"
#include "pipeline/digests.h"
#include "pipeline/journal.h"
#include "pipeline/settings.h"

/* What a run is told, and what it tells, as one of several of the same start. */
struct dinm_run_part {
    double start_s; /* dinm_now_s() from which run.max_time_s counts; 0: the run's own start */
    struct dinm_digest_memory *memory; /* borrows: rank 0's, of files read before; may be NULL */
    /* Borrows: output folder of a finished run whose results of the phase are this one's, too. */
    const char *donors[DINM_N_PHASES];
    bool reported; /* told: its result files were written, also if cases failed */
};

/* Collective over comm. Runs the phases asked for, or goes on where an earlier run stopped, and
 * writes the output folder. part: NULL if it is alone. Every rank returns the same status and
 * sentence. */
int dinm_run_all(MPI_Comm comm, const struct dinm_settings *settings,
                 const struct dinm_run_options *options, struct dinm_run_part *part,
                 struct dinm_error *err);

/* Local. Makes the result files of the output folder `out` again from its journal. */
int dinm_report_rebuild(const char *out, struct dinm_error *err);

#endif
