/* A run of consecutive decoder layers. */
#include "model/slice.h"

#include <stdlib.h>
#include <string.h>
#include "io/mem.h"
#include "model/block.h"
#include "model/linear_bf16.h"
#include "model/norm.h"

int dinm_slice_open(struct dinm_slice *slice, const char *folder, size_t first, size_t last,
                    struct dinm_error *err)
{
    int status = DINM_OK;

    *slice = (struct dinm_slice){0};
    TRY(dinm_config_load(&slice->config, folder, err));
    TRY(dinm_checkpoint_open(&slice->checkpoint, folder, err));
    TRY(dinm_weights_bind(&slice->weights, &slice->config, &slice->checkpoint, first,
                          last > 0 ? last : slice->config.n_layers, err));
out:
    if (status < 0) {
        dinm_slice_close(slice);
    }
    return status;
}

void dinm_slice_close(struct dinm_slice *slice)
{
    if (slice == NULL) {
        return;
    }
    dinm_bf16_close(slice->bf16);
    dinm_weights_free(&slice->weights);
    dinm_checkpoint_close(&slice->checkpoint);
    *slice = (struct dinm_slice){0};
}

int dinm_slice_use_bf16(struct dinm_slice *slice, const struct dinm_bf16_way *way, size_t *n_others,
                        struct dinm_error *err)
{
    enum { OF_A_LAYER = 7 };
    struct dinm_weights *w = &slice->weights;
    const size_t n_layers = w->last - w->first;
    struct dinm_matrix **all =
        dinm_alloc(OF_A_LAYER * n_layers + 1, sizeof *all, "the model's matrices", err);
    size_t n = 0;
    int status = DINM_OK;

    TRY(all != NULL ? DINM_OK : DINM_FAILED);
    for (size_t l = 0; l < n_layers; l++) {
        struct dinm_layer_weights *layer = &w->layers[l];
        struct dinm_matrix *const own[OF_A_LAYER] = {
            &layer->q, &layer->k, &layer->v, &layer->o, &layer->gate, &layer->up, &layer->down};

        memcpy(all + n, own, sizeof own);
        n += OF_A_LAYER;
    }
    all[n++] = &w->head;
    *n_others = 0;
    for (size_t i = 0; i < n; i++) {
        *n_others += all[i]->data != NULL && all[i]->dtype != DINM_BF16;
    }
    TRY(dinm_bf16_open(&slice->bf16, way, all, n, err));
out:
    free(all);
    return status;
}

enum dinm_dtype dinm_slice_kv_dtype(const struct dinm_slice *slice)
{
    const struct dinm_weights *w = &slice->weights;
    const bool rounded =
        slice->bf16 != NULL && w->last > w->first && w->layers[0].k.dtype == DINM_BF16;

    return rounded ? DINM_BF16 : DINM_F32;
}

/* Row `index` of a table: [..][n_in], widened. */
static void take_row(float *to, const struct dinm_matrix *table, size_t index)
{
    const size_t row_bytes = table->n_in * dinm_dtype_size(table->dtype);

    dinm_widen(to, (const unsigned char *)table->data + index * row_bytes, table->dtype,
               table->n_in);
}

/* x: [d_model] += the row of the positions' table. */
static void add_position(float *x, const struct dinm_matrix *table, size_t position)
{
    enum { AT_ONCE = 256 };
    const size_t size = dinm_dtype_size(table->dtype);
    const unsigned char *from = (const unsigned char *)table->data + position * table->n_in * size;
    float room[AT_ONCE];

    for (size_t i = 0; i < table->n_in; i += AT_ONCE) {
        const size_t n = table->n_in - i < AT_ONCE ? table->n_in - i : AT_ONCE;

        dinm_widen(room, from + i * size, table->dtype, n);
        for (size_t j = 0; j < n; j++) {
            x[i + j] += room[j];
        }
    }
}

void dinm_slice_embed(const struct dinm_slice *slice, float *x, const int32_t *ids,
                      const struct dinm_rows *rows)
{
    const struct dinm_weights *w = &slice->weights;
    const size_t d = slice->config.d_model;

    for (size_t i = 0; i < rows->n_sequences; i++) {
        const struct dinm_sequence *s = &rows->sequences[i];
        const size_t n_held = s->kv != NULL ? s->kv->n_tokens : 0;

        for (size_t r = 0; r < s->n_rows; r++, x += d) {
            take_row(x, &w->embed, (size_t)*ids++);
            if (slice->config.learned_positions) {
                add_position(x, &w->positions, n_held + r);
            }
        }
    }
}

static struct dinm_block_call call_of(const struct dinm_slice *slice, const struct dinm_rows *rows,
                                      size_t layer, struct dinm_workspace *ws)
{
    const size_t own = layer - slice->weights.first;

    return (struct dinm_block_call){
        .config = &slice->config,
        .w = &slice->weights.layers[own],
        .rows = rows,
        .layer = layer,
        .kv_layer = own,
        .ws = ws,
    };
}

void dinm_slice_forward(const struct dinm_slice *slice, float *x, const struct dinm_rows *rows,
                        size_t first, size_t last, struct dinm_tape *tape,
                        const struct dinm_taps *taps, struct dinm_workspace *ws)
{
    dinm_workspace_locate(ws, &slice->config, rows);
    for (size_t l = first; l < last; l++) {
        const struct dinm_block_call call = call_of(slice, rows, l, ws);

        dinm_block_forward(x, &call, tape != NULL ? &tape->layers[l - tape->first] : &ws->block,
                           taps);
        if (taps != NULL && taps->resid_post != NULL && taps->resid_post[l] != NULL) {
            memcpy(taps->resid_post[l], x, rows->n_rows * slice->config.d_model * sizeof *x);
        }
        if (taps != NULL && taps->after_layer != NULL) {
            taps->after_layer(taps->context, l, x);
        }
    }
}

void dinm_slice_final_norm(const struct dinm_slice *slice, float *y, const float *x, size_t n_rows)
{
    const struct dinm_weights *w = &slice->weights;

    dinm_norm(y, x, w->final_norm, w->final_norm_bias, slice->config.norm_eps, n_rows,
              slice->config.d_model);
}

/* normed: [n][d_model] = final norm of the picked rows. */
static void norm_picks(const struct dinm_slice *slice, float *normed, const float *x,
                       const size_t *picks, size_t n)
{
    const size_t d = slice->config.d_model;

    for (size_t i = 0; i < n; i++) {
        memcpy(normed + i * d, x + (picks != NULL ? picks[i] : i) * d, d * sizeof *x);
    }
    dinm_slice_final_norm(slice, normed, normed, n);
}

void dinm_slice_head(const struct dinm_slice *slice, float *logits, float *normed, const float *x,
                     const size_t *picks, size_t n)
{
    norm_picks(slice, normed, x, picks, n);
    /* logits = norm(x) W_head^T */
    dinm_linear(logits, normed, &slice->weights.head, NULL, n);
}

void dinm_slice_head_backward(const struct dinm_slice *slice, float *dx, const float *dlogits,
                              const float *x, const size_t *picks, size_t n, float *room,
                              struct dinm_grads *grads)
{
    const struct dinm_config *c = &slice->config;
    const size_t d = c->d_model;

    if (grads != NULL) {
        /* dW_head += dlogits^T norm(x) */
        norm_picks(slice, room, x, picks, n);
        dinm_linear_backward_weight(grads->head, dlogits, room, n, c->n_vocab, d);
    }
    /* dnorm = dlogits W_head */
    dinm_linear_backward_input(room, dlogits, &slice->weights.head, n, 0);
    for (size_t i = 0; i < n; i++) {
        const size_t row = picks != NULL ? picks[i] : i;

        dinm_norm_backward(dx + row * d, grads != NULL ? grads->final_norm : NULL, NULL,
                           room + i * d, x + row * d, slice->weights.final_norm,
                           slice->weights.final_norm_bias, c->norm_eps, 1, d);
    }
}

void dinm_slice_backward(const struct dinm_slice *slice, float *dx, const struct dinm_rows *rows,
                         size_t first, size_t last, const struct dinm_tape *tape,
                         struct dinm_grads *grads, struct dinm_workspace *ws)
{
    dinm_workspace_locate(ws, &slice->config, rows);
    for (size_t l = last; l-- > first;) {
        const struct dinm_block_call call = call_of(slice, rows, l, ws);

        dinm_block_backward(dx, &call, &tape->layers[l - tape->first],
                            grads != NULL ? &grads->layers[l - grads->first] : NULL);
    }
}

void dinm_slice_embed_backward(const struct dinm_slice *slice, const float *dx, const int32_t *ids,
                               size_t n_rows, struct dinm_grads *grads)
{
    const size_t d = slice->config.d_model;

    for (size_t r = 0; r < n_rows; r++) {
        for (size_t i = 0; i < d; i++) {
            grads->embed[(size_t)ids[r] * d + i] += dx[r * d + i];
        }
    }
}
