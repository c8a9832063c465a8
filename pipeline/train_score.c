/* The loss on held-out records, the same for every number of ranks. */
#include "pipeline/train_private.h"

#include <string.h>
#include <stdlib.h>

/* Local. Appends the scores of chunks [first, end) of n_each records. */
static int score_chunks(struct dinm_buffer *scores, const struct dinm_train_settings *s,
                        struct dinm_train_model *m, const struct dinm_train_data *data,
                        size_t n_each, size_t first, size_t end, struct dinm_error *err)
{
    int status = DINM_FAILED;
    struct dinm_train_pack pack = {0};
    size_t *indices = dinm_alloc(n_each, sizeof *indices, "held-out records", err);
    if (indices == NULL) {
        goto out;
    }
    status = DINM_OK;
    for (size_t chunk = first; chunk < end; chunk++) {
        struct dinm_train_score score = {0};
        size_t n = 0;
        for (size_t i = chunk * n_each; n < n_each && i < data->n_records; i++) {
            indices[n++] = i;
        }
        TRY(dinm_train_pack_fill(&pack, data, indices, n, err));
        TRY(s->objective->learn(m, &score, NULL, 1.0, &pack, err));
        TRY(dinm_buffer_append(scores, &score, sizeof score, err));
    }
out:
    dinm_train_pack_free(&pack);
    free(indices);
    return status;
}

int dinm_train_score_all(const struct dinm_grid *grid, const struct dinm_train_settings *s,
                         struct dinm_train_model *m, const struct dinm_train_data *data,
                         struct dinm_train_score *score, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer mine = {0};
    struct dinm_buffer everyone = {0};
    struct dinm_train_score sum = {0};
    const size_t rank = (size_t)grid->rank;
    const size_t size = (size_t)grid->size;
    const size_t n_each = (size_t)((s->batch - 1) / s->parts + 1);
    const size_t n_chunks = (data->n_records + n_each - 1) / n_each;
    /* Blocks of chunks in rank order: gathered, they are in chunk order. */
    TRY(dinm_agree_all(grid,
                       score_chunks(&mine, s, m, data, n_each, n_chunks * rank / size,
                                    n_chunks * (rank + 1) / size, err),
                       err));
    TRY(dinm_grid_gather_all(grid, &mine, &everyone, err));
    for (size_t i = 0; i < n_chunks; i++) {
        struct dinm_train_score one;
        memcpy(&one, everyone.data + i * sizeof one, sizeof one);
        sum.loss += one.loss;
        sum.n_units += one.n_units;
        sum.n_right += one.n_right;
    }
    *score = sum;
out:
    dinm_buffer_free(&mine);
    dinm_buffer_free(&everyone);
    return status;
}
