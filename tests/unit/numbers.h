/* What the tests of model/ share: arrays of random numbers, comparisons, directions. */
#ifndef DINM_TESTS_NUMBERS_H
#define DINM_TESTS_NUMBERS_H

#include <math.h>
#include "support.h"
#include "io/dtype.h"
#include "model/linear.h"
#include "model/random.h"

static inline void *items(size_t n, size_t size)
{
    void *p = dinm_alloc(n, size, "test", NULL);

    assert_non_null(p);
    return p;
}

/* n floats, all 0. */
static inline float *zeros(size_t n)
{
    return items(n, sizeof(float));
}

/* n normal numbers of that deviation. */
static inline float *normals(size_t n, double deviation, uint64_t seed)
{
    float *x = zeros(n);

    for (size_t i = 0; i < n; i++) {
        x[i] = (float)(deviation * dinm_random_normal(seed, 1, i));
    }
    return x;
}

static inline float *copy_of(const float *x, size_t n)
{
    float *y = zeros(n);

    memcpy(y, x, n * sizeof *y);
    return y;
}

/* A whole number below `end`, by seed and index. */
static inline size_t pick(uint64_t seed, uint64_t index, size_t end)
{
    return (size_t)(dinm_random_uniform(seed, 2, index) * (double)end);
}

/* A matrix with random entries in dtype; its values as float32 go to *wide. Frees with free. */
static inline struct dinm_matrix random_matrix(float **wide, enum dinm_dtype dtype, size_t n_out,
                                               size_t n_in, uint64_t seed)
{
    const size_t n = n_out * n_in;
    void *data = items(n, dinm_dtype_size(dtype));

    *wide = normals(n, 1.0, seed);
    dinm_narrow(data, dtype, *wide, n);
    dinm_widen(*wide, data, dtype, n);
    return (struct dinm_matrix){.data = data, .dtype = dtype, .n_out = n_out, .n_in = n_in};
}

static inline void free_matrix(struct dinm_matrix *m)
{
    free((void *)(uintptr_t)m->data);
    m->data = NULL;
}

/* |ours - expected| <= limit, and both are numbers. */
static inline void assert_near(double ours, double expected, double limit)
{
    if (!(fabs(ours - expected) <= limit)) {
        fail_msg("expected %.9g within %.2g, found %.9g", expected, limit, ours);
    }
}

/* The same bits in n floats. */
static inline void assert_same_bits(const float *a, const float *b, size_t n)
{
    if (memcmp(a, b, n * sizeof *a) != 0) {
        size_t i = 0;

        while (memcmp(a + i, b + i, sizeof *a) == 0) {
            i++;
        }
        fail_msg("bits differ at %zu of %zu: %.9g and %.9g", i, n, (double)a[i], (double)b[i]);
    }
}

static inline double dot(const float *a, const float *b, size_t n)
{
    double sum = 0.0;

    for (size_t i = 0; i < n; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

#endif
