/* The parts of the command inspect: each appends what it finds in words. Local. */
#ifndef DINM_PIPELINE_INSPECT_H
#define DINM_PIPELINE_INSPECT_H

#include "io/mem.h"
#include "io/status.h"

/* A language model's or a classifier's folder. */
int dinm_inspect_model(const char *folder, struct dinm_buffer *out, struct dinm_error *err);
/* The folder of a finished, stopped or running job. */
int dinm_inspect_output(const char *folder, struct dinm_buffer *out, struct dinm_error *err);
/* The folder of a sweep. */
int dinm_inspect_sweep(const char *folder, struct dinm_buffer *out, struct dinm_error *err);
/* An archive, also a damaged one: a child process reads it. */
int dinm_inspect_archive(const char *path, struct dinm_buffer *out, struct dinm_error *err);
/* The tensors of a safetensors file. */
int dinm_inspect_tensors(const char *path, struct dinm_buffer *out, struct dinm_error *err);

#endif
