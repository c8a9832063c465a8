/* How fast the products with weight matrices are, next to what the machine allows.
 *
 *   bench_linear [n_threads [n_out n_in]]
 *
 * Every figure is the median of turns that alternate with what it is compared to, since other
 * programs disturb neighbouring turns alike. With many rows that is cblas_sgemm on float32 weights
 * of the same shape; with few, reading a set of matrices larger than any cache once. Weights are
 * random, activations too. */
#include <cblas.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "bench.h"
#include "model/kernel.h"
#include "model/linear.h"
#include "model/random.h"

enum { N_TURNS = 9, POOL_MIB = 768, MAX_ROWS = 512 };

/* What one turn works on. */
struct bench {
    float *x, *y;          /* [MAX_ROWS][n_out or n_in, the larger] */
    unsigned char *stored; /* n_matrices matrices of dtype */
    float *wide;           /* one matrix, float32 */
    size_t n_out, n_in, n_matrices;
    enum dinm_dtype dtype;
    int n_threads;
    uint64_t sum; /* what was read, so that reading is not left out */
};

enum work { FORWARD, BACKWARD, SGEMM, SGEMM_BACKWARD, READ };

/* With one thread the time the processor gave us: then others' turns do not count. */
static double spent_s(const struct bench *b)
{
    struct timespec t;

    if (b->n_threads > 1) {
        return now_s();
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void read_all(struct bench *b)
{
    const size_t n = b->n_matrices * b->n_out * b->n_in * dinm_dtype_size(b->dtype) / 64;
    const uint64_t *words = (const uint64_t *)(const void *)b->stored;
    uint64_t sum = 0;

#pragma omp parallel for reduction(+ : sum) schedule(static)
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < 8; k++) {
            sum += words[8 * i + k];
        }
    }
    b->sum += sum;
}

/* Seconds of one product (READ: of all matrices). Ours goes through all matrices if n_rows is
 * small, so that each comes from memory. */
static double turn(struct bench *b, enum work work, size_t n_rows)
{
    const size_t bytes = b->n_out * b->n_in * dinm_dtype_size(b->dtype);
    const double start = spent_s(b);

    if (work == READ) {
        read_all(b);
        return (spent_s(b) - start) / (double)b->n_matrices;
    }
    if (work == SGEMM || work == SGEMM_BACKWARD) {
        const int rows = (int)n_rows, out = (int)b->n_out, in = (int)b->n_in;

        openblas_set_num_threads(b->n_threads);
        if (work == SGEMM) {
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, out, in, 1.0f, b->x, in,
                        b->wide, in, 0.0f, b->y, out);
        } else {
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, in, out, 1.0f, b->x, out,
                        b->wide, in, 0.0f, b->y, in);
        }
        dinm_linear_set_threads(b->n_threads);
        return spent_s(b) - start;
    }
    for (size_t i = 0; i < (n_rows < 8 ? b->n_matrices : 1); i++) {
        const struct dinm_matrix w = {
            .data = b->stored + i * bytes, .dtype = b->dtype, .n_out = b->n_out, .n_in = b->n_in};

        if (work == FORWARD) {
            dinm_linear(b->y, b->x, &w, NULL, n_rows);
        } else {
            dinm_linear_backward_input(b->y, b->x, &w, n_rows, 0);
        }
    }
    return (spent_s(b) - start) / (double)(n_rows < 8 ? b->n_matrices : 1);
}

/* One line: `work` with n_rows rows next to sgemm and to reading the matrix. */
static void compare(struct bench *b, enum work work, size_t n_rows)
{
    const enum work blas = work == FORWARD ? SGEMM : SGEMM_BACKWARD;
    const double flops = 2.0 * (double)n_rows * (double)b->n_out * (double)b->n_in;
    const double bytes = (double)(b->n_out * b->n_in * dinm_dtype_size(b->dtype));
    double ours[N_TURNS], theirs[N_TURNS], reading[N_TURNS];

    for (size_t i = 0; i < N_TURNS; i++) {
        ours[i] = turn(b, work, n_rows);
        theirs[i] = turn(b, blas, n_rows);
        reading[i] = n_rows < 8 ? turn(b, READ, n_rows) : 0.0;
    }
    const double s = median(ours, N_TURNS), blas_s = median(theirs, N_TURNS),
                 read_s = median(reading, N_TURNS);

    printf("%-8s %-4s %4zu rows: %7.1f GFLOP/s, sgemm f32 %7.1f, ratio %5.2f",
           work == FORWARD ? "forward" : "backward", dinm_dtype_name(b->dtype), n_rows,
           1e-9 * flops / s, 1e-9 * flops / blas_s, blas_s / s);
    if (n_rows < 8) {
        printf("; %5.1f GB/s, reading %5.1f, ratio %5.2f", 1e-9 * bytes / s, 1e-9 * bytes / read_s,
               read_s / s);
    }
    printf("\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const size_t rows[] = {1, 5, 16, 40, 128, 512};
    struct bench b = {.n_threads = argc > 1 ? atoi(argv[1]) : omp_get_num_procs(),
                      .n_out = argc > 3 ? strtoul(argv[2], NULL, 10) : 2048,
                      .n_in = argc > 3 ? strtoul(argv[3], NULL, 10) : 5632};
    const size_t n = b.n_out * b.n_in, longest = b.n_out > b.n_in ? b.n_out : b.n_in;

    b.x = room(MAX_ROWS * longest, sizeof *b.x);
    b.y = room(MAX_ROWS * longest, sizeof *b.y);
    b.wide = room(n, sizeof *b.wide);
    b.stored = room((size_t)POOL_MIB << 20, 1);
    for (size_t i = 0; i < MAX_ROWS * longest; i++) {
        b.x[i] = (float)dinm_random_uniform(1, 1, i) - 0.5f;
    }
    for (size_t i = 0; i < n; i++) {
        b.wide[i] = (float)dinm_random_uniform(2, 1, i) - 0.5f;
    }
    dinm_linear_set_threads(b.n_threads);
    printf("%s, %d threads, %zu x %zu\n", dinm_kernel()->name, b.n_threads, b.n_out, b.n_in);
    for (enum dinm_dtype t = DINM_F32; t <= DINM_BF16; t++) {
        const size_t bytes = n * dinm_dtype_size(t);

        b.dtype = t;
        b.n_matrices = ((size_t)POOL_MIB << 20) / bytes;
        for (size_t i = 0; i < b.n_matrices; i++) {
            dinm_narrow(b.stored + i * bytes, t, b.wide, n);
        }
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            compare(&b, FORWARD, rows[i]);
        }
        compare(&b, BACKWARD, 40);
        compare(&b, BACKWARD, 320);
    }
    free(b.x);
    free(b.y);
    free(b.wide);
    free(b.stored);
    return b.sum == 1 ? 1 : 0;
}
