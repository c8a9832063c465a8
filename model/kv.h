/* Keys (already rotated) and values of one sequence, for a slice of layers. */
#ifndef DINM_MODEL_KV_H
#define DINM_MODEL_KV_H

#include <stddef.h>
#include "io/dtype.h"
#include "io/status.h"
#include "model/config.h"

struct dinm_kv {
    /* owns: [n_layers of the slice][n_kv_heads][capacity][d_head]; a head's positions lie side by
     * side, as attention reads them */
    void *k, *v;
    enum dinm_dtype dtype; /* of their numbers: F32, or BF16, to which they are rounded */
    size_t n_tokens;       /* positions held */
    size_t capacity;       /* positions that fit */
    size_t n_layers, n_heads, d_head; /* of keys */
};

/* Room for `capacity` positions in each of n_layers. */
int dinm_kv_init(struct dinm_kv *kv, const struct dinm_config *config, enum dinm_dtype dtype,
                 size_t n_layers, size_t capacity, struct dinm_error *err);
void dinm_kv_free(struct dinm_kv *kv);

/* Bytes before layer `layer` of the slice in k and in v. */
size_t dinm_kv_at(const struct dinm_kv *kv, size_t layer);
/* Puts float32 k, v: [n][n_kv_heads][d_head] behind the layer's n_tokens positions. */
void dinm_kv_put(struct dinm_kv *kv, size_t layer, const float *k, const float *v, size_t n);
/* The layer's first n positions become those of `from`, which has the same dtype. */
void dinm_kv_copy(struct dinm_kv *kv, size_t layer, const struct dinm_kv *from, size_t n);

#endif
