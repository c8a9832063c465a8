/* Keys and values of one sequence. */
#include "model/kv.h"

#include <stdlib.h>
#include <string.h>
#include "io/mem.h"

int dinm_kv_init(struct dinm_kv *kv, const struct dinm_config *config, size_t n_layers,
                 size_t capacity, struct dinm_error *err)
{
    const size_t d_kv = config->n_kv_heads * config->d_head;
    int status = DINM_OK;

    *kv = (struct dinm_kv){.capacity = capacity,
                           .n_layers = n_layers,
                           .n_heads = config->n_kv_heads,
                           .d_head = config->d_head};
    if (capacity > SIZE_MAX / (n_layers * d_kv + 1)) {
        return dinm_fail(err, DINM_FAILED, "cannot keep the keys of %zu tokens: too many",
                         capacity);
    }
    kv->k = dinm_alloc(n_layers * capacity * d_kv, sizeof *kv->k, "keys of a sequence", err);
    kv->v = dinm_alloc(n_layers * capacity * d_kv, sizeof *kv->v, "values of a sequence", err);
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

size_t dinm_kv_at(const struct dinm_kv *kv, size_t layer)
{
    return layer * kv->n_heads * kv->capacity * kv->d_head;
}

void dinm_kv_put(struct dinm_kv *kv, size_t layer, const float *k, const float *v, size_t n)
{
    const size_t d = kv->d_head;

    for (size_t h = 0; h < kv->n_heads; h++) {
        const size_t to = dinm_kv_at(kv, layer) + (h * kv->capacity + kv->n_tokens) * d;

        for (size_t i = 0; i < n; i++) {
            const size_t from = (i * kv->n_heads + h) * d;

            memcpy(kv->k + to + i * d, k + from, d * sizeof *k);
            memcpy(kv->v + to + i * d, v + from, d * sizeof *v);
        }
    }
}

void dinm_kv_copy(struct dinm_kv *kv, size_t layer, const struct dinm_kv *from)
{
    const size_t n_bytes = kv->n_tokens * kv->d_head * sizeof *kv->k;

    for (size_t h = 0; h < kv->n_heads; h++) {
        const size_t a = dinm_kv_at(kv, layer) + h * kv->capacity * kv->d_head;
        const size_t b = dinm_kv_at(from, layer) + h * from->capacity * from->d_head;

        memcpy(kv->k + a, from->k + b, n_bytes);
        memcpy(kv->v + a, from->v + b, n_bytes);
    }
}
