/* Keys and values of one sequence. */
#include "model/kv.h"

#include <stdlib.h>
#include "io/mem.h"

int dinm_kv_init(struct dinm_kv *kv, const struct dinm_config *config, size_t n_layers,
                 size_t capacity, struct dinm_error *err)
{
    const size_t d_kv = config->n_kv_heads * config->d_head;
    int status = DINM_OK;

    *kv = (struct dinm_kv){.capacity = capacity, .n_layers = n_layers, .d_kv = d_kv};
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
