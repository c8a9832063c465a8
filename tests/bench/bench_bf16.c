/* How fast products in bf16 are, next to oneDNN alone.
 *
 *   bench_bf16 [n_threads [way]]
 *
 * oneDNN alone: its matmul on the whole product with all threads, rows already in bf16, whatever
 * bits it likes. Ours: from float32 rows to float32 results, rounding included. Every figure is the
 * median of turns that alternate, since other programs disturb neighbouring turns alike. Matrices
 * are of the shapes of a model of 110 million parameters (768 x 12) and of TinyLlama (2048 x 22);
 * each turn goes through a set of them that no cache holds. The last line of a model weighs the
 * shapes as a layer has them. */
#include <dnnl.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "bench.h"
#include "model/linear_bf16.h"
#include "model/random.h"

enum { N_TURNS = 7, POOL_MIB = 256, MOST_ROWS = 512, MOST_SIDE = 5632, N_SHAPES = 4 };

struct shape {
    size_t n_out, n_in, n_in_layer; /* so many of a layer's matrices */
};
static const struct shape models[][N_SHAPES] = {
    {{768, 768, 4}, {2048, 768, 2}, {768, 2048, 1}, {0, 0, 0}},
    {{2048, 2048, 2}, {256, 2048, 2}, {5632, 2048, 2}, {2048, 5632, 1}},
};
static const char *const model_names[] = {"768 x 12", "2048 x 22"};

struct bench {
    float *x, *y;
    uint16_t *x16, *pool;
    int n_threads;
    struct dinm_bf16 *bf16;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
};

static void check(dnnl_status_t failure)
{
    if (failure != dnnl_success) {
        fprintf(stderr, "bench_bf16: oneDNN failed with status %d\n", (int)failure);
        exit(1);
    }
}

/* A whole product of oneDNN's: y = x W^T, or dx = dy W. */
struct alone {
    dnnl_primitive_t primitive;
    dnnl_memory_t x, w, y;
};

static struct alone alone_new(struct bench *b, size_t n_rows, size_t n_cols, size_t n_sum,
                              bool transposed)
{
    const dnnl_dim_t m = (dnnl_dim_t)n_rows, n = (dnnl_dim_t)n_cols, k = (dnnl_dim_t)n_sum;
    const dnnl_dims_t x_dims = {m, k}, w_dims = {k, n}, y_dims = {m, n};
    dnnl_memory_desc_t x, w, y;
    dnnl_matmul_desc_t matmul;
    dnnl_primitive_desc_t description;
    struct alone a;

    check(dnnl_memory_desc_init_by_tag(&x, 2, x_dims, dnnl_bf16, dnnl_ab));
    check(dnnl_memory_desc_init_by_tag(&w, 2, w_dims, dnnl_bf16, transposed ? dnnl_ba : dnnl_ab));
    check(dnnl_memory_desc_init_by_tag(&y, 2, y_dims, dnnl_f32, dnnl_ab));
    check(dnnl_matmul_desc_init(&matmul, &x, &w, NULL, &y));
    check(dnnl_primitive_desc_create(&description, &matmul, NULL, b->engine, NULL));
    check(dnnl_primitive_create(&a.primitive, description));
    dnnl_primitive_desc_destroy(description);
    check(dnnl_memory_create(&a.x, &x, b->engine, b->x16));
    check(dnnl_memory_create(&a.w, &w, b->engine, b->pool));
    check(dnnl_memory_create(&a.y, &y, b->engine, b->y));
    return a;
}

static void alone_run(struct bench *b, struct alone *a, uint16_t *w)
{
    const dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, a->x}, {DNNL_ARG_WEIGHTS, a->w}, {DNNL_ARG_DST, a->y}};

    check(dnnl_memory_set_data_handle(a->w, w));
    check(dnnl_primitive_execute(a->primitive, b->stream, 3, args));
}

static void alone_free(struct alone *a)
{
    dnnl_memory_destroy(a->x);
    dnnl_memory_destroy(a->w);
    dnnl_memory_destroy(a->y);
    dnnl_primitive_destroy(a->primitive);
}

/* Seconds of one product, ours and oneDNN's, into s[0] and s[1]. */
static void compare(struct bench *b, const struct dinm_bf16_way *way, const struct shape *shape,
                    size_t n_rows, bool backward, double s[2])
{
    const size_t n = shape->n_out * shape->n_in;
    const size_t n_pool = ((size_t)POOL_MIB << 20) / (n * sizeof *b->pool);
    const size_t n_matrices = n_rows < 64 ? n_pool : n_pool < 8 ? n_pool : 8;
    struct alone alone = backward ? alone_new(b, n_rows, shape->n_in, shape->n_out, false)
                                  : alone_new(b, n_rows, shape->n_out, shape->n_in, true);
    double ours[N_TURNS], theirs[N_TURNS];
    struct dinm_matrix w = {
        .data = b->pool, .dtype = DINM_BF16, .n_out = shape->n_out, .n_in = shape->n_in};
    struct dinm_matrix *const matrices[] = {&w};
    struct dinm_error err = {0};

    if (dinm_bf16_open(&b->bf16, way, matrices, 1, &err) < 0) {
        fprintf(stderr, "bench_bf16: %s\n", err.text);
        exit(1);
    }
    for (size_t i = 0; i < N_TURNS; i++) {
        double start = now_s();

        for (size_t k = 0; k < n_matrices; k++) {
            w.data = b->pool + k * n;
            if (backward) {
                dinm_linear_backward_input(b->y, b->x, &w, n_rows, 0);
            } else {
                dinm_linear(b->y, b->x, &w, NULL, n_rows);
            }
        }
        ours[i] = (now_s() - start) / (double)n_matrices;
        start = now_s();
        for (size_t k = 0; k < n_matrices; k++) {
            alone_run(b, &alone, b->pool + k * n);
        }
        theirs[i] = (now_s() - start) / (double)n_matrices;
    }
    s[0] = median(ours, N_TURNS);
    s[1] = median(theirs, N_TURNS);
    alone_free(&alone);
    dinm_bf16_close(b->bf16);
}

static void print(size_t n_rows, bool backward, size_t n, const double s[2])
{
    const double flops = 2e-9 * (double)n_rows * (double)n, bytes = 2e-9 * (double)n;

    printf("%-8s %4zu rows: %7.1f GFLOP/s, oneDNN alone %7.1f, ratio %5.2f; %5.1f GB/s\n",
           backward ? "backward" : "forward", n_rows, flops / s[0], flops / s[1], s[1] / s[0],
           bytes / s[0]);
    fflush(stdout);
}

static void compare_model(struct bench *b, const struct dinm_bf16_way *way, size_t model,
                          size_t n_rows, bool backward)
{
    double layer[2] = {0.0, 0.0};
    size_t n = 0;

    for (size_t i = 0; i < N_SHAPES && models[model][i].n_out > 0; i++) {
        const struct shape *shape = &models[model][i];
        double s[2];

        compare(b, way, shape, n_rows, backward, s);
        printf("%4zu x %-4zu ", shape->n_out, shape->n_in);
        print(n_rows, backward, shape->n_out * shape->n_in, s);
        n += shape->n_in_layer * shape->n_out * shape->n_in;
        layer[0] += (double)shape->n_in_layer * s[0];
        layer[1] += (double)shape->n_in_layer * s[1];
    }
    printf("%-11s ", model_names[model]);
    print(n_rows, backward, n, layer);
}

int main(int argc, char **argv)
{
    static const size_t rows[] = {1, 5, 16, MOST_ROWS};
    struct bench b = {.n_threads = argc > 1 ? atoi(argv[1]) : omp_get_num_procs()};
    const struct dinm_bf16_way *way = NULL;
    struct dinm_error err = {0};
    const size_t n_x = (size_t)MOST_ROWS * MOST_SIDE, n_pool = (size_t)POOL_MIB << 19;

    if (dinm_bf16_find(&way, argc > 2 ? argv[2] : NULL, &err) < 0) {
        fprintf(stderr, "bench_bf16: %s\n", err.text);
        return 1;
    }
    b.x = room(n_x, sizeof *b.x);
    b.y = room(n_x, sizeof *b.y);
    b.x16 = room(n_x, sizeof *b.x16);
    b.pool = room(n_pool, sizeof *b.pool);
    for (size_t i = 0; i < n_x; i++) {
        b.x[i] = (float)dinm_random_uniform(1, 1, i) - 0.5f;
    }
    dinm_narrow(b.x16, DINM_BF16, b.x, n_x);
    for (size_t i = 0; i < n_pool; i++) {
        b.pool[i] = b.x16[i * 7 % n_x];
    }
    dinm_linear_set_threads(b.n_threads);
    check(dnnl_engine_create(&b.engine, dnnl_cpu, 0));
    check(dnnl_stream_create(&b.stream, b.engine, dnnl_stream_default_flags));
    printf("%s, %d threads\n", way->name, b.n_threads);
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            compare_model(&b, way, m, rows[i], false);
        }
        compare_model(&b, way, m, 320, true);
    }
    dnnl_stream_destroy(b.stream);
    dnnl_engine_destroy(b.engine);
    free(b.x);
    free(b.y);
    free(b.x16);
    free(b.pool);
    return 0;
}
