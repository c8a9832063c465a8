/* The tables behind args.h, for the args*.c files and their tests only. */
#ifndef DINM_PIPELINE_ARGS_TABLE_H
#define DINM_PIPELINE_ARGS_TABLE_H

#include <stddef.h>
#include "pipeline/args.h"

struct dinm_option {
    const char *name;    /* "--model" */
    const char *value;   /* what stands for its value in the help; NULL: a switch */
    const char *setting; /* the key that it sets; NULL: none */
    unsigned commands;   /* bit 1 << command for each command that has it */
    const char *meaning;
};
extern const struct dinm_option dinm_options[];
extern const size_t dinm_n_options;

struct dinm_command_row {
    const char *name;     /* "" for a run */
    const char *operands; /* for the help: "OUT_A OUT_B" */
    size_t least, most;   /* number of operands */
    const char *summary;  /* one line for the list of commands */
    const char *details;  /* sentences for its own help */
};
extern const struct dinm_command_row dinm_command_rows[DINM_N_COMMANDS];

/* The command of that name, or DINM_COMMAND_RUN. */
enum dinm_command dinm_command_find(const char *name);

#endif
