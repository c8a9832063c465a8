/* A saved edit: a safetensors file with one tensor, named as the matrix it belongs to
 * (model.layers.N.mlp.down_proj.weight), that holds the difference to it. Local. */
#ifndef DINM_PIPELINE_DELTA_H
#define DINM_PIPELINE_DELTA_H

#include <stddef.h>
#include "io/safetensors.h"
#include "model/linear.h"

struct dinm_delta {
    struct dinm_safetensors file;     /* owns */
    const struct dinm_tensor *tensor; /* borrows from file: [d_model][d_ff] */
    size_t layer;                     /* N, from 0 */
};
int dinm_delta_open(struct dinm_delta *delta, const char *path, struct dinm_error *err);
void dinm_delta_close(struct dinm_delta *delta);

/* y: [n_out][n_in] float32 = w + delta, allocated. NULL and *err if the shapes differ; `path`
 * names the delta's file. */
float *dinm_delta_add(const struct dinm_delta *delta, const char *path, const struct dinm_matrix *w,
                      struct dinm_error *err);

#endif
