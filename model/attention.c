/* Attention of one sequence, forward.
 *
 * The rows of all heads that share a key head are cut into tiles of TILE queries, the keys into
 * blocks of BLOCK that begin at multiples of BLOCK, whatever the number of rows or keys; tile and
 * last block are padded with zeros. So each BLAS call has one shape and a row has the same bits in
 * a prompt, in a piece of it, and alone behind a cache. Keys that a row does not see enter its sum
 * with the weight 0. */
#include "model/attention.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <string.h>
#include "model/attention_reach.h"
#include "model/threads.h"

enum {
    TILE = 8,   /* as in linear.c: no kernel's bits depend on the place within the tile */
    BLOCK = 64, /* keys */
    CHUNK = 16, /* tiles that share the padded last block */
};

/* One thread's scratch. */
struct room {
    float *q, *out;  /* [TILE][d_head] */
    float *k, *v;    /* [BLOCK][d_head]: the last block, padded */
    float *p;        /* [TILE][n_padded]: scores, then probabilities */
    size_t n_padded; /* keys in whole blocks */
};

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static size_t room_floats(const struct dinm_attention *a)
{
    return round_up(2 * (TILE + BLOCK) * a->d_head + TILE * round_up(a->n_keys, BLOCK), 16);
}

size_t dinm_attention_scratch(const struct dinm_attention *a)
{
    const size_t forward = room_floats(a), backward = dinm_attention_backward_room(a);

    return (size_t)omp_get_max_threads() * (forward > backward ? forward : backward);
}

static struct room make_room(const struct dinm_attention *a, float *scratch)
{
    float *from = scratch + (size_t)omp_get_thread_num() * room_floats(a);

    return (struct room){
        .q = from,
        .out = from + TILE * a->d_head,
        .k = from + 2 * TILE * a->d_head,
        .v = from + (2 * TILE + BLOCK) * a->d_head,
        .p = from + 2 * (TILE + BLOCK) * a->d_head,
        .n_padded = round_up(a->n_keys, BLOCK),
    };
}

/* The keys behind the last whole block, filled up with zeros. */
static void load_tail(float *tail, const float *keys, const struct dinm_attention *a)
{
    const size_t whole = a->n_keys / BLOCK * BLOCK, n = a->n_keys - whole;
    const size_t stride = a->n_kv_heads * a->d_head;

    for (size_t j = 0; j < n; j++) {
        memcpy(tail + j * a->d_head, keys + (whole + j) * stride, a->d_head * sizeof *tail);
    }
    memset(tail + n * a->d_head, 0, (BLOCK - n) * a->d_head * sizeof *tail);
}

/* exp(score - largest) for the keys in reach, 0 for the rest of [first, last). Returns what turns
 * them into probabilities: 1 / their sum. */
static float weigh(float *p, struct dinm_reach reach, size_t first, size_t last)
{
    float largest = -INFINITY;
    double sum = 0.0;

    for (size_t j = first; j < reach.first; j++) {
        p[j] = 0.0f;
    }
    for (size_t j = reach.last; j < last; j++) {
        p[j] = 0.0f;
    }
    for (size_t j = reach.first; j < reach.last; j++) {
        p[j] = reach.uniform ? 0.0f : p[j];
        largest = p[j] > largest ? p[j] : largest;
    }
    for (size_t j = reach.first; j < reach.last; j++) {
        p[j] = expf(p[j] - largest);
        sum += (double)p[j];
    }
    return (float)(1.0 / sum);
}

/* Queries [first, first + n) of the group of key head `head`; query t is row t / n_group of
 * head * n_group + t % n_group. k and v begin at the key head's first element. */
static void attend_tile(float *out, const float *q, const float *k, const float *v,
                        const struct dinm_attention *a, size_t head, size_t first, size_t n,
                        const struct room *room)
{
    const size_t d = a->d_head, n_group = a->n_heads / a->n_kv_heads;
    const size_t stride = a->n_kv_heads * d, whole = a->n_keys / BLOCK * BLOCK;
    const int n_padded = (int)room->n_padded;
    size_t from = a->n_keys, to = 0; /* blocks that some row of the tile needs */
    float scale[TILE];

    memset(room->q, 0, TILE * d * sizeof *room->q);
    for (size_t t = 0; t < n; t++) {
        const size_t row = (first + t) / n_group, h = head * n_group + (first + t) % n_group;
        const struct dinm_reach reach = dinm_attention_reach(a, row);

        memcpy(room->q + t * d, q + (row * a->n_heads + h) * d, d * sizeof *q);
        from = reach.first < from ? reach.first : from;
        to = reach.last > to ? reach.last : to;
    }
    from = from / BLOCK * BLOCK;
    to = round_up(to, BLOCK);
    for (size_t b = from; b < to; b += BLOCK) {
        /* S = Q K^T / sqrt(d_head) */
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, TILE, BLOCK, (int)d,
                    1.0f / sqrtf((float)d), room->q, (int)d, b < whole ? k + b * stride : room->k,
                    b < whole ? (int)stride : (int)d, 0.0f, room->p + b, n_padded);
    }
    for (size_t t = 0; t < n; t++) {
        scale[t] = weigh(room->p + t * room->n_padded,
                         dinm_attention_reach(a, (first + t) / n_group), from, to);
    }
    for (size_t t = n; t < TILE; t++) {
        memset(room->p + t * room->n_padded + from, 0, (to - from) * sizeof *room->p);
    }
    for (size_t b = from; b < to; b += BLOCK) {
        /* O = P V */
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, TILE, (int)d, BLOCK, 1.0f,
                    room->p + b, n_padded, b < whole ? v + b * stride : room->v,
                    b < whole ? (int)stride : (int)d, b > from ? 1.0f : 0.0f, room->out, (int)d);
    }
    for (size_t t = 0; t < n; t++) {
        const size_t row = (first + t) / n_group, h = head * n_group + (first + t) % n_group;

        for (size_t i = 0; i < d; i++) {
            /* + 0: a sum of nothing but zeros has no sign that depends on how many there were */
            out[(row * a->n_heads + h) * d + i] = room->out[t * d + i] * scale[t] + 0.0f;
        }
    }
}

void dinm_attention_forward(float *out, const float *q, const float *k, const float *v,
                            const struct dinm_attention *a, float *scratch)
{
    const size_t n_queries = a->n_rows * (a->n_heads / a->n_kv_heads);
    const size_t n_chunks = (n_queries + CHUNK * TILE - 1) / (CHUNK * TILE);
    const size_t n_tasks = n_chunks * a->n_kv_heads;
    const int n_threads = dinm_threads_begin(n_tasks, 2 * round_up(n_queries, TILE) * a->n_keys *
                                                          a->n_kv_heads * a->d_head);

#pragma omp parallel for schedule(dynamic)
    for (size_t task = 0; task < n_tasks; task++) {
        const struct room room = make_room(a, scratch);
        const size_t head = task / n_chunks, start = task % n_chunks * CHUNK * TILE;
        const float *keys = k + head * a->d_head, *values = v + head * a->d_head;

        load_tail(room.k, keys, a);
        load_tail(room.v, values, a);
        for (size_t i = start; i < start + CHUNK * TILE && i < n_queries; i += TILE) {
            attend_tile(out, q, keys, values, a, head, i,
                        n_queries - i < TILE ? n_queries - i : TILE, &room);
        }
    }
    dinm_threads_end(n_threads);
}
