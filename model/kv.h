/* Keys (already rotated) and values of one sequence, for a slice of layers. */
#ifndef DINM_MODEL_KV_H
#define DINM_MODEL_KV_H

#include <stddef.h>
#include "io/status.h"
#include "model/config.h"

struct dinm_kv {
    float *k, *v;    /* owns: [n_layers of the slice][capacity][n_kv_heads * d_head] */
    size_t n_tokens; /* positions held */
    size_t capacity; /* positions that fit */
    size_t n_layers, d_kv;
};

/* Room for `capacity` positions in each of n_layers. */
int dinm_kv_init(struct dinm_kv *kv, const struct dinm_config *config, size_t n_layers,
                 size_t capacity, struct dinm_error *err);
void dinm_kv_free(struct dinm_kv *kv);

#endif
