/* Attention, forward.
 *
 * The rows of all heads that share a key head are cut into tiles of TILE queries; a tile's scores
 * of all keys that it sees are held at once, and no more of them. The order of every sum is the
 * kernels' own: a score is a dot of d_head terms, an output an axpy over the keys, cut where the
 * key's number is a multiple of RUN. So a row has the same bits in a prompt, in a piece of it, and
 * alone behind a cache; keys of the tile that it does not see enter its sum with the weight 0. */
#include "model/attention.h"

#include <math.h>
#include <omp.h>
#include <string.h>
#include "model/attention_reach.h"
#include "model/kernel.h"
#include "model/threads.h"

enum {
    TILE = 6,   /* queries that the fastest kernel takes at once */
    CHUNK = 16, /* tiles of a task */
    RUN = DINM_KERNEL_RUN,
};

/* One thread's scratch. */
struct room {
    float *q, *out; /* [TILE][d_head] */
    float *p;       /* [TILE][n_keys]: scores, then exponentials, of the keys that the tile sees */
};

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t room_floats(const struct dinm_attention *a)
{
    return (TILE * (2 * a->d_head + a->n_keys) + 15) / 16 * 16;
}

size_t dinm_attention_scratch(const struct dinm_attention *a)
{
    const size_t forward = room_floats(a), backward = dinm_attention_backward_room(a);

    return (size_t)omp_get_max_threads() * (forward > backward ? forward : backward);
}

/* exp(score - largest) for the keys in reach, 0 for the others of the tile: p[j] is of key from +
 * j. Returns what turns them into probabilities: 1 / their sum. */
static float weigh(float *p, struct dinm_reach reach, size_t from, size_t to)
{
    const size_t first = reach.first - from, n = reach.last - reach.first;

    memset(p, 0, first * sizeof *p);
    memset(p + first + n, 0, (to - reach.last) * sizeof *p);
    if (reach.uniform) {
        memset(p + first, 0, n * sizeof *p);
    }
    return 1.0f / dinm_kernel()->weigh(p + first, n);
}

static const void *element(const struct dinm_attention_call *call, const void *of, size_t i)
{
    return (const unsigned char *)of + i * dinm_dtype_size(call->kv_dtype);
}

/* Queries [first, first + n) of the group of key head `head`; query t is row t / n_group of
 * head * n_group + t % n_group. */
static void attend_tile(const struct dinm_attention_call *call, size_t head, size_t first, size_t n,
                        const struct room *room)
{
    const struct dinm_attention *a = &call->shape;
    const struct dinm_kernel *kernel = dinm_kernel();
    const size_t d = a->d_head, n_group = a->n_heads / a->n_kv_heads;
    const size_t stride = call->key_stride, begin = head * call->head_stride;
    const float shrink = 1.0f / sqrtf((float)d);
    size_t from = a->n_keys, to = 0; /* keys that some row of the tile sees */
    float scale[TILE];

    for (size_t t = 0; t < n; t++) {
        const size_t row = (first + t) / n_group, h = head * n_group + (first + t) % n_group;
        const struct dinm_reach reach = dinm_attention_reach(a, row);
        const float *q = call->q + (row * a->n_heads + h) * d;

        for (size_t i = 0; i < d; i++) {
            room->q[t * d + i] = q[i] * shrink;
        }
        from = reach.first < from ? reach.first : from;
        to = reach.last > to ? reach.last : to;
    }
    struct dinm_kernel_product part = {.y = room->p,
                                       .x = room->q,
                                       .w = element(call, call->k, from * stride + begin),
                                       .dtype = call->kv_dtype,
                                       .ld_y = to - from,
                                       .ld_x = d,
                                       .ld_w = stride,
                                       .n_rows = n,
                                       .n_cols = to - from,
                                       .n_sum = d};
    kernel->dot(&part); /* S = Q K^T / sqrt(d_head) */
    for (size_t t = 0; t < n; t++) {
        scale[t] = weigh(room->p + t * (to - from), dinm_attention_reach(a, (first + t) / n_group),
                         from, to);
    }
    part.y = room->out;
    part.ld_y = part.n_cols = d;
    part.ld_x = to - from;
    for (size_t k = from, end; k < to; k = end) {
        end = min(to, (k / RUN + 1) * RUN);
        part.x = room->p + (k - from);
        part.w = element(call, call->v, k * stride + begin);
        part.n_sum = end - k;
        part.add = k > from;
        kernel->axpy(&part); /* O = P V */
    }
    for (size_t t = 0; t < n; t++) {
        const size_t row = (first + t) / n_group, h = head * n_group + (first + t) % n_group;

        for (size_t i = 0; i < d; i++) {
            /* + 0: a sum of nothing but zeros has no sign that depends on how many there were */
            call->out[(row * a->n_heads + h) * d + i] = room->out[t * d + i] * scale[t] + 0.0f;
        }
    }
}

/* Queries of a call per key head. */
static size_t n_queries(const struct dinm_attention *a)
{
    return a->n_rows * (a->n_heads / a->n_kv_heads);
}

void dinm_attention_forward(const struct dinm_attention_call *calls, size_t n_calls, float *scratch)
{
    const size_t n_heads = n_calls > 0 ? calls[0].shape.n_kv_heads : 0;
    size_t most = 0, n_room = 0, n_products = 0;

    for (size_t i = 0; i < n_calls; i++) {
        const struct dinm_attention *a = &calls[i].shape;
        const size_t n = n_queries(a);

        most = n > most ? n : most;
        n_room = room_floats(a) > n_room ? room_floats(a) : n_room;
        n_products += 2 * n * a->n_keys * a->n_kv_heads * a->d_head;
    }
    const size_t n_chunks = (most + CHUNK * TILE - 1) / (CHUNK * TILE);
    const size_t n_tasks = n_chunks * n_heads * n_calls;
    const int n_threads = dinm_threads_begin(n_tasks, n_products);

#pragma omp parallel for schedule(dynamic)
    for (size_t task = 0; task < n_tasks; task++) {
        const struct dinm_attention_call *call = &calls[task / n_chunks / n_heads];
        const size_t head = task / n_chunks % n_heads, d = call->shape.d_head;
        const size_t start = task % n_chunks * CHUNK * TILE, n = n_queries(&call->shape);
        float *from = scratch + (size_t)omp_get_thread_num() * n_room;
        const struct room room = {.q = from, .out = from + TILE * d, .p = from + 2 * TILE * d};

        for (size_t i = start; i < start + CHUNK * TILE && i < n; i += TILE) {
            attend_tile(call, head, i, min(TILE, n - i), &room);
        }
    }
    dinm_threads_end(n_threads);
}
