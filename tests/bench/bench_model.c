/* How fast a model's layers run, next to what the machine allows for the same products.
 *
 *   bench_model FOLDER [n_threads [prefill|decode|backward]...]
 *
 * Every figure is the median of turns that alternate with what it is compared to, since other
 * programs disturb neighbouring turns alike. Prefill and backward are compared to cblas_sgemm on
 * float32 matrices of the same shapes, none of which is in a cache; decoding to reading the same
 * weights once with nothing else to do, and to multiplying and adding registers. */
#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"
#include "model/kernel.h"
#include "model/linear.h"
#include "model/random.h"
#include "model/slice.h"

enum { N_TURNS = 7, N_PROMPT = 512, N_EDIT = 320, N_CONTEXT = 256, MOST_SEQUENCES = 40 };

struct bench {
    struct dinm_slice slice;
    struct dinm_workspace *ws;
    struct dinm_tape *tape;
    struct dinm_kv kvs[MOST_SEQUENCES];
    int32_t *ids;            /* [N_PROMPT], random */
    float *x, *dx, *logits;  /* [N_PROMPT][d_model], twice; [MOST_SEQUENCES][n_vocab] */
    float *wide, *from, *to; /* float32 matrices one after another, activations for sgemm */
    size_t n_wide, at;       /* floats in wide, of which the next product takes those at */
    int n_threads;
    double sum; /* of what was computed, so that nothing is left out */
};

/* --- what the machine allows --- */

/* Y = X W^T of [n_rows][n_in] and the next float32 matrix; backward: dX = dY W. */
static void sgemm(struct bench *b, size_t n_rows, size_t n_out, size_t n_in, bool backward)
{
    const int rows = (int)n_rows, out = (int)n_out, in = (int)n_in;

    b->at = b->at + n_out * n_in > b->n_wide ? 0 : b->at;
    if (backward) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, in, out, 1.0f, b->from, out,
                    b->wide + b->at, in, 0.0f, b->to, in);
    } else {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, out, in, 1.0f, b->from, in,
                    b->wide + b->at, in, 0.0f, b->to, out);
    }
    b->at += n_out * n_in;
}

/* Seconds of all products of n_layers layers for n_rows rows. */
static double products_s(struct bench *b, size_t n_layers, size_t n_rows, bool backward)
{
    const struct dinm_config *c = &b->slice.config;
    const size_t d = c->d_model, d_q = c->n_heads * c->d_head, d_kv = c->n_kv_heads * c->d_head;

    openblas_set_num_threads(b->n_threads);
    const double start = now_s();
    for (size_t i = 0; i < n_layers; i++) {
        sgemm(b, n_rows, d_q, d, backward);
        sgemm(b, n_rows, d_kv, d, backward);
        sgemm(b, n_rows, d_kv, d, backward);
        sgemm(b, n_rows, d, d_q, backward);
        for (size_t k = c->mlp == DINM_MLP_SWIGLU ? 0 : 1; k < 2; k++) {
            sgemm(b, n_rows, c->d_ff, d, backward);
        }
        sgemm(b, n_rows, d, c->d_ff, backward);
    }
    const double s = now_s() - start;
    dinm_linear_set_threads(b->n_threads);
    return s;
}

/* Multiplications and additions that products_s does. */
static double n_operations(const struct dinm_config *c, size_t n_layers, size_t n_rows)
{
    const size_t d = c->d_model, d_q = c->n_heads * c->d_head, d_kv = c->n_kv_heads * c->d_head;
    const size_t n_ff = c->mlp == DINM_MLP_SWIGLU ? 3 : 2;

    return 2.0 * (double)n_rows * (double)n_layers *
           (double)(2 * d * d_q + 2 * d * d_kv + n_ff * d * c->d_ff);
}

/* Seconds in which all weights that a token needs are read, and their bytes. Each thread reads a
 * few streams at once and asks for what follows, as products do. */
static double reading_s(struct bench *b, double *n_bytes)
{
    enum { STREAMS = 4, WORDS = 16, AHEAD = 4096 };
    const struct dinm_map *map = &b->slice.checkpoint.files[0].map;
    const struct dinm_config *c = &b->slice.config;
    const size_t head = c->n_vocab * c->d_model * dinm_dtype_size(b->slice.weights.head.dtype);
    const size_t n_lines = (map->n_bytes - (c->tied ? 0 : head)) / 64;
    const size_t n_parts = (size_t)b->n_threads * 16, n = n_lines / (n_parts * STREAMS);
    const uint32_t *words = (const uint32_t *)(const void *)map->data;
    uint32_t sum = 0;
    const double start = now_s();

#pragma omp parallel for reduction(+ : sum) schedule(dynamic)
    for (size_t part = 0; part < n_parts; part++) {
        const uint32_t *from = words + part * STREAMS * n * WORDS;
        uint32_t lanes[WORDS] = {0};

        for (size_t i = 0; i < n; i++) {
            for (size_t s = 0; s < STREAMS; s++) {
                const uint32_t *line = from + (s * n + i) * WORDS;

                __builtin_prefetch((const char *)line + AHEAD);
                for (size_t l = 0; l < WORDS; l++) {
                    lanes[l] += line[l];
                }
            }
        }
        for (size_t l = 0; l < WORDS; l++) {
            sum += lanes[l];
        }
    }
    b->sum += (double)(sum & 1);
    *n_bytes = (double)(n * n_parts * STREAMS) * 64.0;
    return now_s() - start;
}

/* Float32 operations per second of threads that do nothing but multiply and add registers. */
static double multiply_add_rate(struct bench *b)
{
    enum { N = 1 << 20, CHAINS = 12, LANES = 16 };
    double sum = 0.0;
    const double start = now_s();

#pragma omp parallel reduction(+ : sum)
    {
        float chains[CHAINS][LANES] = {{0}};

        for (size_t i = 0; i < N; i++) {
#pragma GCC unroll 12
            for (size_t c = 0; c < CHAINS; c++) {
#pragma GCC unroll 1
                for (size_t l = 0; l < LANES; l++) {
                    chains[c][l] = fmaf(chains[c][l], 0.999f, 1.0f);
                }
            }
        }
        for (size_t c = 0; c < CHAINS; c++) {
            sum += (double)chains[c][c % LANES];
        }
    }
    b->sum += sum;
    return 2.0 * N * CHAINS * LANES * b->n_threads / (now_s() - start);
}

/* --- what we do --- */

static void reserve(struct bench *b, const struct dinm_rows *rows)
{
    struct dinm_error err = {0};

    stop_if(dinm_workspace_reserve(&b->ws, &b->slice.config, rows, &err) < 0, err.text);
}

static double prefill_s(struct bench *b)
{
    struct dinm_kv *kv = &b->kvs[0];
    const struct dinm_sequence s = {.n_rows = N_PROMPT, .kv = kv};
    const struct dinm_rows rows = {&s, 1, N_PROMPT};
    const size_t last = N_PROMPT - 1;

    reserve(b, &rows);
    const double start = now_s();
    kv->n_tokens = 0;
    dinm_slice_embed(&b->slice, b->x, b->ids, &rows);
    dinm_slice_forward(&b->slice, b->x, &rows, 0, b->slice.config.n_layers, NULL, NULL, b->ws);
    dinm_slice_head(&b->slice, b->logits, b->dx, b->x, &last, 1);
    b->sum += (double)b->logits[0];
    return now_s() - start;
}

/* One token for each of n sequences. */
static double decode_s(struct bench *b, size_t n)
{
    struct dinm_sequence s[MOST_SEQUENCES];
    const struct dinm_rows rows = {s, n, n};

    for (size_t i = 0; i < n; i++) {
        s[i] = (struct dinm_sequence){.n_rows = 1, .kv = &b->kvs[i]};
        b->kvs[i].n_tokens = N_CONTEXT;
    }
    reserve(b, &rows);
    const double start = now_s();
    dinm_slice_embed(&b->slice, b->x, b->ids, &rows);
    dinm_slice_forward(&b->slice, b->x, &rows, 0, b->slice.config.n_layers, NULL, NULL, b->ws);
    dinm_slice_head(&b->slice, b->logits, b->dx, b->x, NULL, n);
    b->sum += (double)b->logits[0];
    return now_s() - start;
}

/* The last n_layers forward with a tape, then back to their input. */
static void both_s(struct bench *b, size_t n_layers, double *forward_s, double *backward_s)
{
    const struct dinm_config *c = &b->slice.config;
    const struct dinm_sequence s = {.n_rows = N_EDIT};
    const struct dinm_rows rows = {&s, 1, N_EDIT};
    const size_t first = c->n_layers - n_layers;
    struct dinm_error err = {0};

    reserve(b, &rows);
    stop_if(dinm_tape_reserve(&b->tape, c, first, c->n_layers, N_EDIT, &err) < 0, err.text);
    dinm_slice_embed(&b->slice, b->x, b->ids, &rows);
    memcpy(b->dx, b->x, N_EDIT * c->d_model * sizeof *b->x);
    const double start = now_s();
    dinm_slice_forward(&b->slice, b->x, &rows, first, c->n_layers, b->tape, NULL, b->ws);
    const double middle = now_s();
    dinm_slice_backward(&b->slice, b->dx, &rows, first, c->n_layers, b->tape, NULL, b->ws);
    *backward_s = now_s() - middle;
    *forward_s = middle - start;
    b->sum += (double)b->dx[0];
}

/* --- side by side --- */

static void compare_prefill(struct bench *b)
{
    const struct dinm_config *c = &b->slice.config;
    double ours[N_TURNS], theirs[N_TURNS];
    const double n = n_operations(c, c->n_layers, N_PROMPT);

    prefill_s(b);
    for (size_t i = 0; i < N_TURNS; i++) {
        ours[i] = prefill_s(b);
        theirs[i] = products_s(b, c->n_layers, N_PROMPT, false);
    }
    const double s = median(ours, N_TURNS), blas_s = median(theirs, N_TURNS);
    printf("prefill %d: %.1f tok/s, %.1f GFLOP/s in products; sgemm alone %.1f GFLOP/s, "
           "ratio %.2f\n",
           N_PROMPT, N_PROMPT / s, 1e-9 * n / s, 1e-9 * n / blas_s, blas_s / s);
}

static void compare_decode(struct bench *b)
{
    static const size_t counts[] = {1, 5, 16, 40};
    const struct dinm_config *c = &b->slice.config;
    const double per_row =
        n_operations(c, c->n_layers, 1) + 2.0 * (double)(c->n_vocab * c->d_model);

    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        double ours[N_TURNS], reading[N_TURNS], adding[N_TURNS], n_bytes = 0.0;
        const size_t n = counts[k];

        decode_s(b, n);
        for (size_t i = 0; i < N_TURNS; i++) {
            ours[i] = decode_s(b, n);
            reading[i] = reading_s(b, &n_bytes);
            adding[i] = multiply_add_rate(b);
        }
        const double s = median(ours, N_TURNS), rate = (double)n * per_row / s;
        const double read_s = median(reading, N_TURNS), most = median(adding, N_TURNS);
        printf("decode %2zu: %.1f tok/s; %.1f GB/s of weights, reading alone %.1f, ratio %.2f; "
               "%.1f GFLOP/s, multiply-add %.1f, ratio %.2f\n",
               n, (double)n / s, 1e-9 * n_bytes / s, 1e-9 * n_bytes / read_s, read_s / s,
               1e-9 * rate, 1e-9 * most, rate / most);
        fflush(stdout);
    }
}

static void compare_backward(struct bench *b)
{
    const size_t n_layers = b->slice.config.n_layers;

    for (size_t k = 2; k <= n_layers; k = k == n_layers || 4 * k < n_layers ? 4 * k : n_layers) {
        double forward[N_TURNS], backward[N_TURNS], blas[N_TURNS];

        both_s(b, k, &forward[0], &backward[0]);
        for (size_t i = 0; i < N_TURNS; i++) {
            both_s(b, k, &forward[i], &backward[i]);
            blas[i] = products_s(b, k, N_EDIT, true);
        }
        const double f = median(forward, N_TURNS), r = median(backward, N_TURNS),
                     s = median(blas, N_TURNS);
        printf("%zu layers, %d tokens: forward %.3f s, backward %.3f s, ratio %.2f; sgemm alone "
               "%.3f s backward, ratio %.2f\n",
               k, N_EDIT, f, r, r / f, s, s / r);
    }
}

static void set_up(struct bench *b, const char *folder)
{
    struct dinm_error err = {0};

    stop_if(dinm_slice_open(&b->slice, folder, 0, 0, &err) < 0, err.text);
    const struct dinm_config *c = &b->slice.config;
    const size_t d_q = c->n_heads * c->d_head, most = c->d_ff > d_q ? c->d_ff : d_q;
    for (size_t i = 0; i < MOST_SEQUENCES; i++) {
        const size_t capacity = i == 0 ? N_PROMPT : N_CONTEXT + 1;
        stop_if(dinm_kv_init(&b->kvs[i], c, DINM_F32, c->n_layers, capacity, &err) < 0, err.text);
    }
    b->n_wide = (size_t)1 << 27; /* 512 MiB */
    stop_if(b->n_wide < c->d_model * most, "its matrices are too large");
    b->wide = room(b->n_wide, sizeof(float));
    b->from = room(N_PROMPT * most, sizeof(float));
    b->to = room(N_PROMPT * most, sizeof(float));
    b->x = room(N_PROMPT * c->d_model, sizeof(float));
    b->dx = room(N_PROMPT * c->d_model, sizeof(float));
    b->logits = room(MOST_SEQUENCES * c->n_vocab, sizeof(float));
    b->ids = malloc(N_PROMPT * sizeof *b->ids);
    stop_if(b->ids == NULL, "no memory");
    for (size_t i = 0; i < b->n_wide; i++) {
        b->wide[i] = (float)(i * 2654435761U % 1024) / 1024.0f - 0.5f;
    }
    for (size_t i = 0; i < N_PROMPT * most; i++) {
        b->from[i] = (float)dinm_random_uniform(1, 1, i) - 0.5f;
    }
    for (size_t i = 0; i < N_PROMPT; i++) {
        b->ids[i] = (int32_t)(dinm_random_uniform(2, 1, i) * (double)c->n_vocab);
    }
}

static void tear_down(struct bench *b)
{
    dinm_tape_free(b->tape);
    dinm_workspace_free(b->ws);
    for (size_t i = 0; i < MOST_SEQUENCES; i++) {
        dinm_kv_free(&b->kvs[i]);
    }
    dinm_slice_close(&b->slice);
    free(b->wide);
    free(b->from);
    free(b->to);
    free(b->x);
    free(b->dx);
    free(b->logits);
    free(b->ids);
}

static bool wanted(int argc, char **argv, const char *part)
{
    bool found = argc <= 3;

    for (int i = 3; i < argc; i++) {
        found = found || strcmp(argv[i], part) == 0;
    }
    return found;
}

int main(int argc, char **argv)
{
    struct bench b = {.n_threads = argc > 2 ? atoi(argv[2]) : omp_get_num_procs()};

    stop_if(argc < 2, "usage: bench_model FOLDER [n_threads [prefill|decode|backward]...]");
    dinm_linear_set_threads(b.n_threads);
    set_up(&b, argv[1]);
    printf("%s: %zu layers of width %zu, %s, %d threads\n", argv[1], b.slice.config.n_layers,
           b.slice.config.d_model, dinm_kernel()->name, b.n_threads);
    if (wanted(argc, argv, "prefill")) {
        compare_prefill(&b);
    }
    if (wanted(argc, argv, "backward")) {
        compare_backward(&b);
    }
    if (wanted(argc, argv, "decode")) {
        compare_decode(&b);
    }
    tear_down(&b);
    return isnan(b.sum) ? 1 : 0;
}
