/* Products with weight matrices, cut so that a row's bits are its own.
 *
 * BLAS promises nothing about the order in which it sums: it picks kernels by the shape of the
 * call, so the same row can come out differently in a call of 3 rows and in one of 300. Here every
 * call has one of a few shapes that depend on the matrix alone: TILE rows (the last tile is padded
 * with zeros), PANEL columns, DEPTH terms. Eight rows is the largest tile whose rows every OpenBLAS
 * kernel tried (Nehalem to Cooper Lake, Zen) treats alike. With these sizes it also takes
 * OpenBLAS's way for small matrices, which does not copy W: on a 2048 x 5632 float32 matrix 11.6
 * GF/s for one row and 100 for 16, where one sgemm has 5.1 and 66, and 143 of its 196 for 512. */
#include "model/linear.h"

#include <cblas.h>
#include <omp.h>
#include <stdbool.h>
#include <string.h>
#include "model/threads.h"

enum {
    TILE = 8,       /* rows of x in one product */
    PANEL = 128,    /* columns of y */
    DEPTH = 512,    /* terms of the sum */
    GROUP = 256,    /* rows that share one widened block of W: a multiple of TILE */
    COPY_ROWS = 32, /* from here on a float32 block is copied too: strided reads cost more */
};

/* y = x B (+ y), B = W^T (forward) or W (gradient of the input); the other way round for a matrix
 * stored by input. */
struct product {
    float *y;                    /* [n_rows][n_cols] */
    const float *x;              /* [n_rows][n_sum] */
    const struct dinm_matrix *w; /* stored [n_cols][n_sum] if transposed, else [n_sum][n_cols] */
    const float *bias;           /* [n_cols] or NULL */
    size_t n_rows, n_cols, n_sum;
    bool transposed;
    bool add; /* to what is in y */
};

/* One thread's buffers. */
struct room {
    _Alignas(64) float block[PANEL * DEPTH]; /* a block of W, widened */
    _Alignas(64) float x[TILE * DEPTH];      /* the last rows of x, padded */
    _Alignas(64) float y[TILE * PANEL];
};

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t stride_of(const struct dinm_matrix *w)
{
    const size_t length = w->by_input ? w->n_out : w->n_in;

    return w->stride > 0 ? w->stride : length;
}

/* Rows [row, row + n_rows) x columns [col, col + n_cols) of W as float32; *ld: its row length.
 * Borrows from W itself where that is cheaper. */
static const float *load_block(struct room *room, const struct dinm_matrix *w, size_t row,
                               size_t n_rows, size_t col, size_t n_cols, bool copy, size_t *ld)
{
    const size_t bytes = dinm_dtype_size(w->dtype), stride = stride_of(w);
    const unsigned char *from = (const unsigned char *)w->data + (row * stride + col) * bytes;

    if (w->dtype == DINM_F32 && !copy) {
        *ld = stride;
        return (const float *)(const void *)from;
    }
    for (size_t i = 0; i < n_rows; i++) {
        dinm_widen(room->block + i * n_cols, from + i * stride * bytes, w->dtype, n_cols);
    }
    *ld = n_cols;
    return room->block;
}

/* Y (+)= X B of one tile. Sizes are below 2^31 (checked where shapes are read). */
static void multiply_tile(float *y, size_t ld_y, const float *x, size_t ld_x, const float *block,
                          size_t ld_block, bool transposed, size_t n_cols, size_t n_sum, bool add)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, transposed ? CblasTrans : CblasNoTrans, TILE,
                (int)n_cols, (int)n_sum, 1.0f, x, (int)ld_x, block, (int)ld_block,
                add ? 1.0f : 0.0f, y, (int)ld_y);
}

/* Moves n_rows rows of n floats between arrays of row lengths ld_to and ld_from. */
static void copy_rows(float *to, size_t ld_to, const float *from, size_t ld_from, size_t n_rows,
                      size_t n)
{
    for (size_t r = 0; r < n_rows; r++) {
        memcpy(to + r * ld_to, from + r * ld_from, n * sizeof *to);
    }
}

/* Columns [col, col + PANEL) of y for rows [first, last). */
static void multiply_panel(const struct product *p, struct room *room, size_t first, size_t last,
                           size_t col)
{
    const size_t n_cols = min(PANEL, p->n_cols - col);
    const size_t n_tail = (last - first) % TILE, tail = last - n_tail;
    const bool copy = last - first >= COPY_ROWS;

    if (n_tail > 0) {
        memset(room->x, 0, sizeof room->x);
        memset(room->y, 0, sizeof room->y);
        if (p->add) {
            copy_rows(room->y, PANEL, p->y + tail * p->n_cols + col, p->n_cols, n_tail, n_cols);
        }
    }
    for (size_t k = 0; k < p->n_sum; k += DEPTH) {
        const size_t n_sum = min(DEPTH, p->n_sum - k);
        const bool add = p->add || k > 0;
        size_t ld = 0;
        const float *block = p->transposed
                                 ? load_block(room, p->w, col, n_cols, k, n_sum, copy, &ld)
                                 : load_block(room, p->w, k, n_sum, col, n_cols, copy, &ld);

        for (size_t r = first; r < tail; r += TILE) {
            multiply_tile(p->y + r * p->n_cols + col, p->n_cols, p->x + r * p->n_sum + k, p->n_sum,
                          block, ld, p->transposed, n_cols, n_sum, add);
        }
        if (n_tail > 0) {
            copy_rows(room->x, DEPTH, p->x + tail * p->n_sum + k, p->n_sum, n_tail, n_sum);
            multiply_tile(room->y, PANEL, room->x, DEPTH, block, ld, p->transposed, n_cols, n_sum,
                          add);
        }
    }
    copy_rows(p->y + tail * p->n_cols + col, p->n_cols, room->y, PANEL, n_tail, n_cols);
    for (size_t r = first; p->bias != NULL && r < last; r++) {
        float *y = p->y + r * p->n_cols + col;

        for (size_t j = 0; j < n_cols; j++) {
            y[j] += p->bias[col + j];
        }
    }
}

static void multiply(const struct product *p)
{
    const size_t n_panels = (p->n_cols + PANEL - 1) / PANEL;
    const size_t n_tasks = n_panels * ((p->n_rows + GROUP - 1) / GROUP);
    const size_t n_padded = (p->n_rows + TILE - 1) / TILE * TILE;
    const int n_threads = dinm_threads_begin(n_tasks, n_padded * p->n_cols * p->n_sum);

#pragma omp parallel
    {
        struct room room;

#pragma omp for schedule(dynamic)
        for (size_t task = 0; task < n_tasks; task++) {
            const size_t first = task / n_panels * GROUP;

            multiply_panel(p, &room, first, min(first + GROUP, p->n_rows), task % n_panels * PANEL);
        }
    }
    dinm_threads_end(n_threads);
}

void dinm_linear(float *y, const float *x, const struct dinm_matrix *w, const float *bias,
                 size_t n_rows)
{
    /* Y = X W^T + b */
    multiply(&(struct product){.y = y,
                               .x = x,
                               .w = w,
                               .bias = bias,
                               .n_rows = n_rows,
                               .n_cols = w->n_out,
                               .n_sum = w->n_in,
                               .transposed = !w->by_input});
}

void dinm_linear_backward_input(float *dx, const float *dy, const struct dinm_matrix *w,
                                size_t n_rows, int add)
{
    /* dX = dY W */
    multiply(&(struct product){.y = dx,
                               .x = dy,
                               .w = w,
                               .n_rows = n_rows,
                               .n_cols = w->n_in,
                               .n_sum = w->n_out,
                               .transposed = w->by_input,
                               .add = add != 0});
}

void dinm_linear_backward_weight(float *dw, const float *dy, const float *x, size_t n_rows,
                                 size_t n_out, size_t n_in)
{
    enum { OUT = 128, IN = 512, ROWS = 512 };
    const size_t n_across = (n_in + IN - 1) / IN;
    const size_t n_tasks = n_across * ((n_out + OUT - 1) / OUT);
    const int n_threads = dinm_threads_begin(n_tasks, n_rows * n_out * n_in);

#pragma omp parallel for schedule(dynamic)
    for (size_t task = 0; task < n_tasks; task++) {
        const size_t o = task / n_across * OUT, i = task % n_across * IN;

        for (size_t r = 0; r < n_rows; r += ROWS) {
            /* dW += dY^T X */
            cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)min(OUT, n_out - o),
                        (int)min(IN, n_in - i), (int)min(ROWS, n_rows - r), 1.0f,
                        dy + r * n_out + o, (int)n_out, x + r * n_in + i, (int)n_in, 1.0f,
                        dw + o * n_in + i, (int)n_in);
        }
    }
    dinm_threads_end(n_threads);
}

void dinm_linear_backward_bias(float *db, const float *dy, size_t n_rows, size_t n_out)
{
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t j = 0; j < n_out; j++) {
            db[j] += dy[r * n_out + j];
        }
    }
}

void dinm_linear_set_threads(int n_threads)
{
    /* OpenBLAS's OpenMP build sets OpenMP's count as well, so ours comes second. Within our
     * parallel regions it runs on the calling thread alone. */
    openblas_set_num_threads(1);
    omp_set_num_threads(n_threads > 1 ? n_threads : 1);
}
