/* Products in bf16: both factors rounded to bf16 (x to nearest, ties to even), sums in float32,
 * straight from the stored bf16 weights. For matrices that are stored so; products with others stay
 * in float32 (model/kernel.h). Private to model/ and its tests, but for the choice of the way.
 *
 * There are two ways; their bits differ, and each keeps the promise of linear.h:
 * amx: our own, on processors with AMX. Terms are taken in steps of 32, from the first on: the even
 *   ones are summed one after the other by fused multiply-add, so are the odd ones, and both sums
 *   are added to each other and then to the element's. Denormals count as zero.
 * onednn: oneDNN's matmul, where the build has it, on processors with AVX-512. It picks its code by
 *   the shape, so rows are cut into a few fixed numbers of them and columns into fixed panels.
 *   That a row has the same bits among any of these numbers is looked at when a model is opened:
 *   oneDNN promises no such thing. (With AMX it would not hold for more than 1024 terms.) */
#ifndef DINM_MODEL_LINEAR_BF16_H
#define DINM_MODEL_LINEAR_BF16_H

#include <stdint.h>
#include "io/status.h"
#include "model/linear.h"

/* y = x B (+ y) + bias, B = W^T (forward) or W (gradient of the input); the other way round for a
 * matrix stored by input. Borrows everything for the call. */
struct dinm_product {
    float *y;                    /* [n_rows][n_cols] */
    const float *x;              /* [n_rows][n_sum] */
    const struct dinm_matrix *w; /* stored [n_cols][n_sum] if transposed, else [n_sum][n_cols] */
    const float *bias;           /* [n_cols] or NULL */
    size_t n_rows, n_cols, n_sum;
    bool transposed;
    bool add; /* to what is in y */
};

enum {
    DINM_BF16_BLOCK = 16, /* rows of x that are packed together */
    DINM_BF16_STEP = 32,  /* their terms are filled up with zeros to a multiple of this */
    DINM_BF16_ROWS = 512, /* most rows that are packed at once */
};

/* One way. x: the packed rows, [n_rows up to whole blocks][n_sum up to whole steps]. */
struct dinm_bf16_way {
    const char *name;
    size_t n_cols; /* of a panel; the last one of a product may be narrower */
    bool (*runs_here)(void);
    /* Whatever the products with these matrices need, for threads up to n_threads. */
    int (*open)(void **state, const struct dinm_matrix *const *matrices, size_t n, int n_threads,
                struct dinm_error *err);
    void (*close)(void *state);
    /* Packs the block of rows that begins at row `first` of p->x. */
    void (*pack)(uint16_t *x, const struct dinm_product *p, size_t first);
    /* The columns [col, end), whole panels but for the last. Called by any thread. */
    void (*multiply)(void *state, const uint16_t *x, const struct dinm_product *p, size_t col,
                     size_t end);
};

/* The i-th way that this build knows and this processor can go, fastest first; NULL past the last.
 */
const struct dinm_bf16_way *dinm_bf16_at(size_t i);
/* The named way, or the fastest if name is NULL. Fails with what is missing. */
int dinm_bf16_find(const struct dinm_bf16_way **way, const char *name, struct dinm_error *err);

/* What products in bf16 with a set of matrices need: code, and room for packed rows. Used by one
 * product at a time. */
struct dinm_bf16 {
    const struct dinm_bf16_way *way;
    void *state; /* owns: the way's */
    uint16_t *x; /* owns: packed rows */
    int n_threads;
};
/* For as many threads as are set now; later products use no more. matrices: [n], of which those
 * that are not stored in bf16 are passed over. Sets *bf16 in each of the others; they borrow it. */
int dinm_bf16_open(struct dinm_bf16 **bf16, const struct dinm_bf16_way *way,
                   struct dinm_matrix *const *matrices, size_t n, struct dinm_error *err);
void dinm_bf16_close(struct dinm_bf16 *bf16);
/* Bytes of the packed rows for matrices none of whose sides is longer than n. */
size_t dinm_bf16_bytes(size_t n);

/* p->w->bf16 is set and p->w stored in bf16. */
void dinm_bf16_multiply(const struct dinm_product *p);

/* For the ways. Most rows that are packed at once for such a product, a multiple of 64. */
size_t dinm_bf16_most_rows(size_t n_sum, bool transposed);

/* Those that may exist in a build. */
extern const struct dinm_bf16_way dinm_bf16_amx;    /* x86-64 */
extern const struct dinm_bf16_way dinm_bf16_onednn; /* with oneDNN */

#endif
