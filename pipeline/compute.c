/* model.compute, from the setting to the slice. */
#include "pipeline/compute.h"

#include <stdlib.h>
#include <string.h>
#include "io/log.h"

int dinm_compute_find(const struct dinm_bf16_way **way, enum dinm_compute compute,
                      struct dinm_error *err)
{
    *way = NULL;
    return compute == DINM_COMPUTE_BF16 ? dinm_bf16_find(way, getenv("DINM_BF16"), err) : DINM_OK;
}

int dinm_compute_agree_all(const struct dinm_grid *grid, const struct dinm_bf16_way *way,
                           struct dinm_error *err)
{
    int status = DINM_OK;
    const char *name = way != NULL ? way->name : "f32";
    struct dinm_buffer first = {0};
    TRY(dinm_agree_all(grid, dinm_buffer_append_text(&first, name, err), err));
    TRY(dinm_grid_broadcast_all(grid, &first, err));
    if (first.n_bytes != strlen(name) || memcmp(first.data, name, first.n_bytes) != 0) {
        status = dinm_fail(err, DINM_FAILED,
                           "model.compute is bf16, which rank %d's processor computes by %s and "
                           "rank 0's by %.*s: results would depend on which did what; use nodes of "
                           "one kind, or model.compute=f32",
                           grid->rank, name, (int)first.n_bytes, (const char *)first.data);
    }
    TRY(dinm_agree_all(grid, status, err));
out:
    dinm_buffer_free(&first);
    return status;
}

int dinm_compute_use(struct dinm_slice *slice, const struct dinm_bf16_way *way, bool speaks,
                     struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_others = 0;
    if (way == NULL) {
        return DINM_OK;
    }
    TRY(dinm_slice_use_bf16(slice, way, &n_others, err));
    if (speaks && n_others > 0) {
        dinm_log(DINM_LOG_NOTICE,
                 "model.compute is bf16, but %zu matrices of %s are stored otherwise: products "
                 "with them stay in float32",
                 n_others, slice->checkpoint.folder);
    }
out:
    return status;
}

size_t dinm_compute_bytes(const struct dinm_bf16_way *way, const struct dinm_config *config,
                          size_t last)
{
    const size_t sides[] = {config->d_model, config->d_ff, config->n_heads * config->d_head,
                            last == config->n_layers ? config->n_vocab : 0};
    size_t longest = 0;
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        longest = sides[i] > longest ? sides[i] : longest;
    }
    return way != NULL ? dinm_bf16_bytes(longest) : 0;
}
