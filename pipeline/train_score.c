/* The loss on held-out records, the same for every number of ranks. */
#include "pipeline/train_private.h"

#include <string.h>
#include <stdlib.h>

/* Records [first, first + n) of the data. */
static int fill_pack(struct dinm_train_pack *pack, const struct dinm_train_data *data, size_t first,
                     size_t n, struct dinm_error *err)
{
    size_t *indices = dinm_alloc(n, sizeof *indices, "held-out records", err);
    if (indices == NULL) {
        return DINM_FAILED;
    }
    for (size_t i = 0; i < n; i++) {
        indices[i] = first + i;
    }
    const int status = dinm_train_pack_fill(pack, data, indices, n, err);
    free(indices);
    return status;
}

/* Collective over the group. Appends the scores of chunks [first, end) of n_each records, on the
 * last stage. Every stage goes through all chunks, whatever fails. */
static int score_chunks_all(struct dinm_buffer *scores, const struct dinm_train_settings *s,
                            struct dinm_train_model *m, const struct dinm_train_data *data,
                            size_t n_each, size_t first, size_t end, struct dinm_error *err)
{
    int own = DINM_OK, worst = DINM_OK;
    struct dinm_train_pack pack = {0};
    const struct dinm_train_lesson lesson = {.pack = &pack, .scale = 1.0};
    for (size_t chunk = first; chunk < end; chunk++) {
        struct dinm_train_score score;
        const size_t from = chunk * n_each;
        const size_t n_left = data->n_records - from;
        int status =
            worst < 0 ? own : fill_pack(&pack, data, from, n_left < n_each ? n_left : n_each, err);
        status = dinm_train_learn_all(m, s->objective, &lesson, &score, status, &worst, err);
        if (worst == DINM_OK && status == DINM_OK && m->group->rank == m->group->size - 1) {
            status = dinm_buffer_append(scores, &score, sizeof score, err);
        }
        own = status < own ? status : own;
        worst = own < worst ? own : worst;
    }
    dinm_train_pack_free(&pack);
    return own;
}

int dinm_train_score_all(const struct dinm_train_place *place, const struct dinm_train_settings *s,
                         struct dinm_train_model *m, const struct dinm_train_data *data,
                         struct dinm_train_score *score, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer mine = {0};
    struct dinm_buffer everyone = {0};
    struct dinm_train_score sum = {0};
    const struct dinm_grid *grid = &place->grid;
    const size_t group = (size_t)grid->group;
    const size_t n_groups = (size_t)grid->n_groups;
    const size_t n_each = (size_t)((s->batch - 1) / s->parts + 1);
    const size_t n_chunks = (data->n_records + n_each - 1) / n_each;
    /* Blocks of chunks in the order of groups, which is that of the last stages' ranks: gathered,
     * they are in chunk order. */
    TRY(dinm_agree_all(grid,
                       score_chunks_all(&mine, s, m, data, n_each, n_chunks * group / n_groups,
                                        n_chunks * (group + 1) / n_groups, err),
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
