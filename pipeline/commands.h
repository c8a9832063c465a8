/* The commands beside a run, one file each: command_*.c. */
#ifndef DINM_PIPELINE_COMMANDS_H
#define DINM_PIPELINE_COMMANDS_H

#include <mpi.h>
#include "io/status.h"
#include "pipeline/args.h"

/* Local: one process does it, without MPI. */
typedef int dinm_command_function(const struct dinm_args *args, struct dinm_error *err);
dinm_command_function dinm_command_generate;
dinm_command_function dinm_command_tokenize;
dinm_command_function dinm_command_logits;
dinm_command_function dinm_command_inspect;
dinm_command_function dinm_command_compare;
dinm_command_function dinm_command_export;

/* The function of a command that one process does; NULL if all ranks do it together. */
dinm_command_function *dinm_command_local(enum dinm_command command);

/* Collective over comm: a run, train. Every rank returns the same status. */
int dinm_command_all(const struct dinm_args *args, MPI_Comm comm, struct dinm_error *err);

#endif
