/* Products with weight matrices: y = x W^T + b and its gradients.
 *
 * Weights stay in their stored dtype; activations and sums are float32; products are so, too,
 * unless the matrix says otherwise (model/linear_bf16.h). A row of y depends on its own row of x
 * alone, bit for bit: neither the number of rows, nor the row's place among them, nor the number of
 * threads changes it, since the kernels (model/kernel.h) fix the order of every sum. */
#ifndef DINM_MODEL_LINEAR_H
#define DINM_MODEL_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include "io/dtype.h"

/* A weight matrix as stored, row-major: [n_out][n_in], or [n_in][n_out] if by_input (GPT-2's Conv1D
 * layout). A part of a wider matrix has rows that lie further apart than they are long. */
struct dinm_matrix {
    const void *data; /* borrows */
    enum dinm_dtype dtype;
    size_t n_out, n_in;
    bool by_input;
    size_t stride;          /* elements from one stored row to the next; 0: the rows touch */
    struct dinm_bf16 *bf16; /* borrows; NULL: products in float32. Without effect on other dtypes */
};

/* y: [n_rows][n_out] float32, x: [n_rows][n_in] float32, bias: [n_out] or NULL. y must not overlap
 * x. */
void dinm_linear(float *y, const float *x, const struct dinm_matrix *w, const float *bias,
                 size_t n_rows);

/* One product as for dinm_linear. */
struct dinm_linear_call {
    float *y;
    const float *x;
    const struct dinm_matrix *w;
    const float *bias;
    size_t n_rows;
};

/* Products that do not need each other's results; threads go from one to the next without waiting.
 * No y overlaps another's x or y. */
void dinm_linear_each(const struct dinm_linear_call *calls, size_t n_calls);

/* dx: [n_rows][n_in] (+)= dy W, dy: [n_rows][n_out]. add != 0 accumulates. */
void dinm_linear_backward_input(float *dx, const float *dy, const struct dinm_matrix *w,
                                size_t n_rows, int add);

/* dw: [n_out][n_in] += dy^T x; rows are summed in their order. */
void dinm_linear_backward_weight(float *dw, const float *dy, const float *x, size_t n_rows,
                                 size_t n_out, size_t n_in);

/* db: [n_out] += column sums of dy: [n_rows][n_out]. */
void dinm_linear_backward_bias(float *db, const float *dy, size_t n_rows, size_t n_out);

/* Threads that products may use (OpenMP), at least 1. BLAS itself is kept single-threaded. */
void dinm_linear_set_threads(int n_threads);

#endif
