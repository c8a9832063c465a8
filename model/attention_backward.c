/* Attention of one sequence, backward. Each key head is one task: its part of dk and dv is summed
 * over the rows in their order, by one thread. */
#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <string.h>
#include "model/attention.h"
#include "model/attention_reach.h"
#include "model/kernel.h"
#include "model/threads.h"

enum { TILE = 64 }; /* queries in one product */

struct room {
    float *q, *dq, *dout; /* [TILE][d_head] */
    float *p, *dp;        /* [TILE][n_keys] */
};

struct dinm_reach dinm_attention_reach(const struct dinm_attention *a, size_t row)
{
    const size_t own = a->n_keys - a->n_rows + row + 1;
    const size_t last = a->causal && own < a->key_last ? own : a->key_last;
    const size_t start = a->causal && a->window > 0 && own > a->window ? own - a->window : 0;
    const size_t first = start > a->key_first ? start : a->key_first;

    if (last <= first) {
        return (struct dinm_reach){0, a->n_keys, true};
    }
    return (struct dinm_reach){first, last, false};
}

size_t dinm_attention_backward_room(const struct dinm_attention *a)
{
    return TILE * (3 * a->d_head + 2 * a->n_keys);
}

static struct room make_room(const struct dinm_attention *a, float *scratch)
{
    float *from = scratch + (size_t)omp_get_thread_num() * dinm_attention_backward_room(a);

    return (struct room){
        .q = from,
        .dq = from + TILE * a->d_head,
        .dout = from + 2 * TILE * a->d_head,
        .p = from + 3 * TILE * a->d_head,
        .dp = from + TILE * (3 * a->d_head + a->n_keys),
    };
}

/* Scores to probabilities over the reach, 0 elsewhere. */
static void softmax(float *p, struct dinm_reach reach, size_t n_keys)
{
    const size_t n = reach.last - reach.first;
    float *seen = p + reach.first;

    memset(p, 0, reach.first * sizeof *p);
    memset(seen + n, 0, (n_keys - reach.last) * sizeof *p);
    if (reach.uniform) {
        memset(seen, 0, n * sizeof *p);
    }
    const float scale = 1.0f / dinm_kernel()->weigh(seen, n);
    for (size_t j = 0; j < n; j++) {
        seen[j] *= scale;
    }
}

/* dS = P (dP - sum(P dP)) in place of dP; a uniform row does not look at its scores. */
static void softmax_backward(float *dp, const float *p, bool uniform, size_t n_keys)
{
    float dot;

    dinm_kernel()->dot(&(struct dinm_kernel_product){.y = &dot,
                                                     .x = p,
                                                     .w = dp,
                                                     .dtype = DINM_F32,
                                                     .ld_y = 1,
                                                     .ld_x = n_keys,
                                                     .ld_w = n_keys,
                                                     .n_rows = 1,
                                                     .n_cols = 1,
                                                     .n_sum = n_keys});
    for (size_t j = 0; j < n_keys; j++) {
        dp[j] = uniform ? 0.0f : p[j] * (dp[j] - dot);
    }
}

/* C (+)= scale * A B of n_rows x n_cols over n_sum terms, all row-major. */
static void multiply(float *c, size_t ld_c, const float *a, size_t ld_a, CBLAS_TRANSPOSE turn_a,
                     const float *b, size_t ld_b, CBLAS_TRANSPOSE turn_b, size_t n_rows,
                     size_t n_cols, size_t n_sum, float scale, float keep)
{
    cblas_sgemm(CblasRowMajor, turn_a, turn_b, (int)n_rows, (int)n_cols, (int)n_sum, scale, a,
                (int)ld_a, b, (int)ld_b, keep, c, (int)ld_c);
}

/* Adds queries [first, first + n) of key head `head` (numbered as in attention.c). */
static void tile_backward(float *dq, float *dk, float *dv, const float *dout, const float *q,
                          const float *k, const float *v, const struct dinm_attention *a,
                          size_t head, size_t first, size_t n, const struct room *room)
{
    const size_t d = a->d_head, n_group = a->n_heads / a->n_kv_heads;
    const size_t stride = a->n_kv_heads * d;
    size_t n_keys = 0; /* that some row of the tile sees */
    const float scale = 1.0f / sqrtf((float)d);

    for (size_t t = 0; t < n; t++) {
        const size_t row = (first + t) / n_group, h = head * n_group + (first + t) % n_group;

        memcpy(room->q + t * d, q + (row * a->n_heads + h) * d, d * sizeof *q);
        memcpy(room->dout + t * d, dout + (row * a->n_heads + h) * d, d * sizeof *q);
        const size_t last = dinm_attention_reach(a, row).last;

        n_keys = last > n_keys ? last : n_keys;
    }
    /* P = softmax(Q K^T / sqrt(d_head)),  dP = dO V^T */
    multiply(room->p, n_keys, room->q, d, CblasNoTrans, k, stride, CblasTrans, n, n_keys, d, scale,
             0.0f);
    multiply(room->dp, n_keys, room->dout, d, CblasNoTrans, v, stride, CblasTrans, n, n_keys, d,
             1.0f, 0.0f);
    for (size_t t = 0; t < n; t++) {
        const struct dinm_reach reach = dinm_attention_reach(a, (first + t) / n_group);

        softmax(room->p + t * n_keys, reach, n_keys);
        softmax_backward(room->dp + t * n_keys, room->p + t * n_keys, reach.uniform, n_keys);
    }
    /* dV += P^T dO,  dK += dS^T Q / sqrt(d_head),  dQ = dS K / sqrt(d_head) */
    multiply(dv, stride, room->p, n_keys, CblasTrans, room->dout, d, CblasNoTrans, n_keys, d, n,
             1.0f, 1.0f);
    multiply(dk, stride, room->dp, n_keys, CblasTrans, room->q, d, CblasNoTrans, n_keys, d, n,
             scale, 1.0f);
    multiply(room->dq, d, room->dp, n_keys, CblasNoTrans, k, stride, CblasNoTrans, n, d, n_keys,
             scale, 0.0f);
    for (size_t t = 0; t < n; t++) {
        const size_t row = (first + t) / n_group, h = head * n_group + (first + t) % n_group;

        memcpy(dq + (row * a->n_heads + h) * d, room->dq + t * d, d * sizeof *q);
    }
}

void dinm_attention_backward(float *dq, float *dk, float *dv, const float *dout, const float *q,
                             const float *k, const float *v, const struct dinm_attention *a,
                             float *scratch)
{
    const size_t n_queries = a->n_rows * (a->n_heads / a->n_kv_heads);
    const int n_threads =
        dinm_threads_begin(a->n_kv_heads, 5 * a->n_rows * a->n_heads * a->n_keys * a->d_head);

#pragma omp parallel for schedule(dynamic)
    for (size_t head = 0; head < a->n_kv_heads; head++) {
        const struct room room = make_room(a, scratch);
        const size_t at = head * a->d_head;

        for (size_t i = 0; i < n_queries; i += TILE) {
            tile_backward(dq, dk + at, dv + at, dout, q, k + at, v + at, a, head, i,
                          n_queries - i < TILE ? n_queries - i : TILE, &room);
        }
    }
    dinm_threads_end(n_threads);
}
