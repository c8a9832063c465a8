/* Keys and values of one sequence. */
#include "model/kv.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"

int dinm_kv_init(struct dinm_kv *kv, const struct dinm_config *config, enum dinm_dtype dtype,
                 size_t n_layers, size_t capacity, struct dinm_error *err)
{
    const size_t d_kv = config->n_kv_heads * config->d_head, size = dinm_dtype_size(dtype);
    int status = DINM_OK;

    *kv = (struct dinm_kv){.dtype = dtype,
                           .capacity = capacity,
                           .n_layers = n_layers,
                           .n_heads = config->n_kv_heads,
                           .d_head = config->d_head};
    if (capacity > SIZE_MAX / (n_layers * d_kv + 1)) {
        return dinm_fail(err, DINM_FAILED, "cannot keep the keys of %zu tokens: too many",
                         capacity);
    }
    kv->k = dinm_alloc(n_layers * capacity * d_kv, size, "keys of a sequence", err);
    kv->v = dinm_alloc(n_layers * capacity * d_kv, size, "values of a sequence", err);
    TRY(kv->k && kv->v ? DINM_OK : DINM_FAILED);
out:
    if (status < 0) {
        dinm_kv_free(kv);
    }
    return status;
}

void dinm_kv_free(struct dinm_kv *kv)
{
    if (kv == NULL) {
        return;
    }
    free(kv->k);
    free(kv->v);
    *kv = (struct dinm_kv){0};
}

/* Bytes before a head's position in k and in v. */
static size_t position_at(const struct dinm_kv *kv, size_t layer, size_t head, size_t position)
{
    const size_t row = (layer * kv->n_heads + head) * kv->capacity + position;

    return row * kv->d_head * dinm_dtype_size(kv->dtype);
}

size_t dinm_kv_at(const struct dinm_kv *kv, size_t layer)
{
    return position_at(kv, layer, 0, 0);
}

/* One half of dinm_kv_put. */
static void put(const struct dinm_kv *kv, unsigned char *to, size_t layer, const float *from,
                size_t n)
{
    for (size_t h = 0; h < kv->n_heads; h++) {
        for (size_t i = 0; i < n; i++) {
            dinm_narrow(to + position_at(kv, layer, h, kv->n_tokens + i), kv->dtype,
                        from + (i * kv->n_heads + h) * kv->d_head, kv->d_head);
        }
    }
}

void dinm_kv_put(struct dinm_kv *kv, size_t layer, const float *k, const float *v, size_t n)
{
    put(kv, kv->k, layer, k, n);
    put(kv, kv->v, layer, v, n);
}

void dinm_kv_copy(struct dinm_kv *kv, size_t layer, const struct dinm_kv *from, size_t n)
{
    const size_t n_bytes = n * kv->d_head * dinm_dtype_size(kv->dtype);

    for (size_t h = 0; h < kv->n_heads; h++) {
        const size_t a = position_at(kv, layer, h, 0), b = position_at(from, layer, h, 0);

        memcpy((unsigned char *)kv->k + a, (const unsigned char *)from->k + b, n_bytes);
        memcpy((unsigned char *)kv->v + a, (const unsigned char *)from->v + b, n_bytes);
    }
}
