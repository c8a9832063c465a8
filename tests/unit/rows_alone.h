/* Whether a row of a product has the bits that it has alone, whatever rows are beside it. */
#ifndef DINM_TESTS_ROWS_ALONE_H
#define DINM_TESTS_ROWS_ALONE_H

#include "numbers.h"
#include "model/linear.h"

enum { N_POOL = 200 };

/* A pool of rows and what each gives alone, on one thread; room for products of up to n_most. */
struct rows_alone {
    const struct dinm_matrix *w;
    bool backward;
    size_t d_x, d_y;
    float *pool, *bias, *alone, *before; /* [N_POOL][d_x]; [n_out]; [N_POOL][d_y], twice */
    float *x, *y;                        /* [n_most][d_x], [n_most][d_y] */
};

/* y = x W^T + bias, or y += x W when backward. */
static inline void product(float *y, const float *x, const struct dinm_matrix *w, const float *bias,
                           size_t n_rows, bool backward)
{
    if (backward) {
        dinm_linear_backward_input(y, x, w, n_rows, 1);
    } else {
        dinm_linear(y, x, w, bias, n_rows);
    }
}

static inline struct rows_alone rows_alone_new(const struct dinm_matrix *w, bool backward,
                                               size_t n_most)
{
    struct rows_alone a = {.w = w,
                           .backward = backward,
                           .d_x = backward ? w->n_out : w->n_in,
                           .d_y = backward ? w->n_in : w->n_out};

    a.pool = normals(N_POOL * a.d_x, 1.0, 21);
    a.bias = normals(w->n_out, 1.0, 22);
    a.alone = normals(N_POOL * a.d_y, 1.0, 23);
    a.before = copy_of(a.alone, N_POOL * a.d_y);
    a.x = zeros(n_most * a.d_x);
    a.y = zeros(n_most * a.d_y);
    dinm_linear_set_threads(1);
    for (size_t r = 0; r < N_POOL; r++) {
        product(a.alone + r * a.d_y, a.pool + r * a.d_x, w, a.bias, 1, backward);
    }
    return a;
}

static inline void rows_alone_free(struct rows_alone *a)
{
    free(a->pool);
    free(a->bias);
    free(a->alone);
    free(a->before);
    free(a->x);
    free(a->y);
}

/* n rows of the pool, at random and in a random order, with as many threads as are set. */
static inline void rows_alone_check(const struct rows_alone *a, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const size_t row = pick((uint64_t)n, i, N_POOL);

        memcpy(a->x + i * a->d_x, a->pool + row * a->d_x, a->d_x * sizeof *a->x);
        memcpy(a->y + i * a->d_y, a->before + row * a->d_y, a->d_y * sizeof *a->y);
    }
    product(a->y, a->x, a->w, a->bias, n, a->backward);
    for (size_t i = 0; i < n; i++) {
        assert_same_bits(a->y + i * a->d_y, a->alone + pick((uint64_t)n, i, N_POOL) * a->d_y,
                         a->d_y);
    }
}

#endif
