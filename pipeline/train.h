/* Training a model on JSON lines, data-parallel: `dinm_pipeline train JOB.json`. */
#ifndef DINM_PIPELINE_TRAIN_H
#define DINM_PIPELINE_TRAIN_H

#include <mpi.h>
#include "io/mem.h"
#include "io/status.h"

/* Collective over comm. Does the job of the file's "train" object (keys: train_settings.c) and
 * leaves in its folder `out` a checkpoint that the pipeline loads (config.json, model.safetensors,
 * tokenizer files), train.json and loss.csv. All of these are the same, bit for bit, for every
 * number of ranks and threads.
 * Cost: each rank holds the weights and the tokenised data; per step every rank but the first of
 * its parts' tree sends one gradient, and the new weights are broadcast. */
int dinm_train_all(MPI_Comm comm, const char *job_path, struct dinm_error *err);

/* Local. The keys of "train" in words, for --help. */
int dinm_train_describe(struct dinm_buffer *out, struct dinm_error *err);

#endif
