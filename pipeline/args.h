/* The command line: which command, its operands and options. Local; reads no files except for
 * dinm_args_open_job. */
#ifndef DINM_PIPELINE_ARGS_H
#define DINM_PIPELINE_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "io/mem.h"
#include "io/status.h"
#include "pipeline/settings.h"

enum dinm_command {
    DINM_COMMAND_RUN, /* no word: dinm_pipeline [JOB.json] */
    DINM_COMMAND_TRAIN,
    DINM_COMMAND_GENERATE,
    DINM_COMMAND_TOKENIZE,
    DINM_COMMAND_LOGITS,
    DINM_COMMAND_INSPECT,
    DINM_COMMAND_REPORT,
    DINM_COMMAND_COMPARE,
    DINM_COMMAND_EXPORT,
    DINM_N_COMMANDS
};

/* How a job is run; none of it changes a result. */
struct dinm_run_options {
    unsigned phases; /* bit 1 << phase of enum dinm_phase for each phase to run */
    bool fresh;      /* start over: forget what an earlier run did */
    bool dry_run;    /* check everything, say what would be done, do nothing */
    bool quiet;      /* no progress lines */
};

/* One option as given. */
struct dinm_given {
    const struct dinm_option *option; /* borrows: a row of args_table.h */
    const char *value;                /* borrows from argv; NULL for a switch */
};

struct dinm_args {
    enum dinm_command command;
    const char **operands; /* owns the list; the texts are argv's */
    size_t n_operands;
    struct dinm_given *given; /* owns: [n_given], in the order of the command line */
    size_t n_given;
};

/* Borrows argv until dinm_args_free. Unknown options and words too many are DINM_USAGE. With
 * --help or --version what follows is not looked at, and operands may be missing. */
int dinm_args_parse(struct dinm_args *args, int argc, char *const *argv, struct dinm_error *err);
void dinm_args_free(struct dinm_args *args);

/* `name` with its dashes: "--fresh". */
bool dinm_args_has(const struct dinm_args *args, const char *name);
/* The last value given; NULL if none. */
const char *dinm_args_value(const struct dinm_args *args, const char *name);
/* The same, but DINM_USAGE if it was not given. */
int dinm_args_need(const struct dinm_args *args, const char *name, const char **value,
                   struct dinm_error *err);
/* Leaves *out if the option was not given. */
int dinm_args_int(const struct dinm_args *args, const char *name, int64_t low, int64_t high,
                  int64_t *out, struct dinm_error *err);

int dinm_args_run_options(const struct dinm_args *args, struct dinm_run_options *options,
                          struct dinm_error *err);

/* The job file that the command line names; without --model and --cases too, the bundled demo's. */
struct dinm_job_file {
    const char *path; /* borrows from args or demo; NULL: none */
    char *demo;       /* owns */
    char *base;       /* owns: its folder */
    cJSON *tree;      /* owns */
};
/* Checks the words of the command line, then reads the file. Close also after failure. */
int dinm_args_open_job(const struct dinm_args *args, struct dinm_job_file *file,
                       struct dinm_error *err);
void dinm_args_close_job(struct dinm_job_file *file);

/* The value of one setting that stands above job file and command line. */
struct dinm_setting;
struct dinm_pick {
    const struct dinm_setting *row;
    const cJSON *value; /* borrows */
    const char *where;  /* borrows: begins the sentence on a wrong value */
    const char *base;   /* borrows: the folder of relative paths */
};
/* Resolves a run's settings: profile, then job file, then command line, then picks; then checks
 * them. Free also after failure. */
int dinm_args_resolve(const struct dinm_args *args, const struct dinm_job_file *file,
                      const struct dinm_pick *picks, size_t n_picks, struct dinm_settings *s,
                      struct dinm_error *err);
/* Whether the word behind --set is about a sweep: "sweep.edit.lr=[...]". */
bool dinm_args_is_sweep(const char *set);

/* Appends what --help prints for the command (with --help=settings: all settings), and --version.
 */
int dinm_args_help(const struct dinm_args *args, struct dinm_buffer *out, struct dinm_error *err);
int dinm_args_version(struct dinm_buffer *out, struct dinm_error *err);

#endif
