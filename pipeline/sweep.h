/* A job whose settings are a grid: every combination of the swept values is a run of its own under
 * OUT/sweep/NNN, one after the other on all ranks. A job without a sweep is one run and no key. */
#ifndef DINM_PIPELINE_SWEEP_H
#define DINM_PIPELINE_SWEEP_H

#include <mpi.h>
#include "pipeline/args.h"
#include "pipeline/faults.h"
#include "pipeline/settings_table.h"

enum { DINM_SWEEP_MOST_RUNS = 10000 };

/* One setting and the values it takes. */
struct dinm_sweep_key {
    const struct dinm_setting *row;
    cJSON *list; /* owns: the values as they were given */
    char **said; /* owns: [n] the values as JSON, in one spelling */
    size_t n;
    const char *where; /* borrows from the sweep: begins sentences on it */
    const char *base;  /* borrows from the sweep: the folder of relative paths */
};

struct dinm_sweep {
    struct dinm_sweep_key *keys; /* owns: [n_keys] in the order of the job file */
    size_t n_keys;
    struct dinm_settings *runs; /* owns: [n_runs], the last key's value changing fastest */
    size_t n_runs;
    char *out;                     /* owns: the job's output folder */
    struct dinm_faults faults;     /* owns: all that is wrong with it */
    struct dinm_buffer job_where;  /* owns: "job.json: sweep: " */
    char *job_base, *command_base; /* owns: folders of the job file, and of the command line */
};

/* Local. Reads job file and command line. What is wrong with a sweep is listed in its faults, and
 * is no failure here; then there are no runs. Close also after failure. */
int dinm_sweep_open(struct dinm_sweep *sweep, const struct dinm_args *args, struct dinm_error *err);
void dinm_sweep_close(struct dinm_sweep *sweep);

void dinm_sweep_key_free(struct dinm_sweep_key *key);
/* Local. Its part for the keys and their values. */
int dinm_sweep_read_keys(struct dinm_sweep *sweep, const struct dinm_args *args,
                         const struct dinm_job_file *file, struct dinm_error *err);

/* The place of run i's value in its list. */
size_t dinm_sweep_choice(const struct dinm_sweep *sweep, size_t i, size_t key);
/* The lowest run with i's values of the keys for which `decides` is true, which has the first value
 * of all others. */
size_t dinm_sweep_leader(const struct dinm_sweep *sweep, size_t i,
                         bool (*decides)(const struct dinm_setting *row));
/* Appends "edit.lr=0.001, edit.steps=5". */
int dinm_sweep_describe(const struct dinm_sweep *sweep, size_t i, struct dinm_buffer *out,
                        struct dinm_error *err);

/* Collective over comm. Runs what is not finished yet, keeps OUT/sweep.md, .csv, .json and .html up
 * to date, and prints the table at the end. A combination that fails does not keep others from
 * being run; the failure in the end names it. */
int dinm_sweep_run_all(MPI_Comm comm, const struct dinm_sweep *sweep,
                       const struct dinm_run_options *options, struct dinm_error *err);

#endif
