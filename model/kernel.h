/* Products of a few rows with a block of a weight matrix, and functions of many numbers: one set
 * per instruction set, all with the same bits.
 *
 * The order of every sum is fixed here, not by the machine. Private to model/ and its tests, but
 * for the choice of the variant.
 *
 * dot (the weights of one output element lie side by side): the terms are cut into blocks of DEPTH;
 * those that fill no LANES at the end are a block of their own, padded with zeros. In a block, lane
 * l takes the terms l, l + LANES, ... by fused multiply-add; then the lanes are added: in each four
 * (a + c) + (b + d), and the four sums again so. Block sums are added to y in their order.
 * axpy (the weights of one input element lie side by side): the terms of an element are summed one
 * after the other by fused multiply-add; after RUN terms the sum is added to y.
 * exp, erf, tanh are SLEEF's, whose results do not depend on the instruction set (as long as it has
 * fused multiply-add; plain on a processor without may differ in the last place). */
#ifndef DINM_MODEL_KERNEL_H
#define DINM_MODEL_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include "io/dtype.h"
#include "io/status.h"

enum {
    DINM_KERNEL_LANES = 16,
    DINM_KERNEL_DEPTH = 1024, /* a multiple of LANES */
    DINM_KERNEL_RUN = 256,    /* divides DEPTH */
};

/* Stored rows that will be read after this product, for the processor to fetch meanwhile. */
struct dinm_kernel_next {
    const void *data;               /* borrows; never read */
    size_t n_rows, n_bytes, stride; /* of a row, in bytes, and from one to the next */
};

/* y (+)= x w^T or x w. Borrows everything for the call. */
struct dinm_kernel_product {
    float *y;              /* [n_rows][n_cols], rows ld_y apart */
    const float *x;        /* [n_rows][n_sum], rows ld_x apart */
    const void *w;         /* dot: [n_cols][n_sum]; axpy: [n_sum][n_cols]; rows ld_w apart */
    enum dinm_dtype dtype; /* of w: F32, F16 or BF16 */
    size_t ld_y, ld_x, ld_w;
    size_t n_rows, n_cols, n_sum;
    bool add;     /* to what is in y; otherwise it is overwritten */
    bool streams; /* w comes from memory, once: ask for it early */
    struct dinm_kernel_next next;
};

struct dinm_kernel {
    const char *name; /* avx512, avx2, neon, plain */
    void (*dot)(const struct dinm_kernel_product *p);
    void (*axpy)(const struct dinm_kernel_product *p);
    /* to: [n] float32, from: [n] dtype. Exact. */
    void (*widen)(float *to, const void *from, enum dinm_dtype dtype, size_t n);
    /* y: [n] = f(x), x: [n], off by at most one unit in the last place. y may be x. */
    void (*exp)(float *y, const float *x, size_t n);
    void (*erf)(float *y, const float *x, size_t n);
    void (*tanh)(float *y, const float *x, size_t n);
    /* p: [n], n > 0, from scores to exp(score - the largest). Returns their sum: lane l takes the
     * elements l, l + LANES, ...; then the lanes are added as above. */
    float (*weigh)(float *p, size_t n);
};

/* The i-th of those this processor can run, fastest first; NULL past the last, which is plain. */
const struct dinm_kernel *dinm_kernel_at(size_t i);
/* The one in use: the fastest, or what dinm_kernel_choose named. */
const struct dinm_kernel *dinm_kernel(void);
/* Fails if the processor cannot run the named one. Not while a product runs. */
int dinm_kernel_choose(const char *name, struct dinm_error *err);

#endif
