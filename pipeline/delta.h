/* A saved edit: a safetensors file with one tensor, named and laid out as the matrix that it belongs
 * to (model.layers.N.mlp.down_proj.weight, in GPT-2 transformer.h.N.mlp.c_proj.weight), that holds
 * the difference to it. Local. */
#ifndef DINM_PIPELINE_DELTA_H
#define DINM_PIPELINE_DELTA_H

#include <stddef.h>
#include "io/safetensors.h"
#include "model/weights.h"

struct dinm_delta {
    struct dinm_safetensors file;     /* owns */
    const struct dinm_tensor *tensor; /* borrows from file: as stored, see weights.h */
    size_t layer;                     /* N, from 0 */
};
int dinm_delta_open(struct dinm_delta *delta, const char *path, struct dinm_error *err);
void dinm_delta_close(struct dinm_delta *delta);

/* y: float32 = w + delta, stored like w, allocated. NULL and *err if the shapes differ; `path` names
 * the delta's file. */
float *dinm_delta_add(const struct dinm_delta *delta, const char *path, const struct dinm_matrix *w,
                      struct dinm_error *err);

#endif
