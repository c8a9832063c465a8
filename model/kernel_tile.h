/* The body of every variant of model/kernel: included once by each kernel_<name>.c, which defines
 *
 *   VEC, WIDTH              a vector of WIDTH float32; WIDTH divides DINM_KERNEL_LANES
 *   DOT_ROWS, DOT_COLS      the largest dot tile (rows: 1, 3 or 6)
 *   AXPY_ROWS, AXPY_VECS    the largest axpy tile (rows: 1, 3 or 6), in vectors of columns
 *   vec_zero, vec_all, vec_fma, vec_add, vec_load, vec_store, load_f32, load_f16, load_bf16
 *   prefetch(p)             soon needed; p may lie past the end of its array
 *   prefetch_far(p)         needed later
 *   add_lanes(sums, lanes)  sums: [DOT_COLS], lanes: VEC [DOT_COLS][PARTS]
 *   vec_max, vec_exp, vec_erf, vec_tanh, for kernel_functions.h
 *   NAME, KERNEL            its name as a string and as the external object
 *
 * A tile's sums stay in registers: all loops over rows, columns and parts have constant bounds and
 * are unrolled. How rows and columns are cut into tiles changes no bit. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define TYPE_f32 float
#define TYPE_f16 uint16_t
#define TYPE_bf16 uint16_t

/* Some tiles side by side: w points at the first column; the terms lie in one block. */
struct tile {
    float *y;
    const float *x;
    const void *w;
    size_t ld_y, ld_x, ld_w, n_cols, n_sum;
    size_t ahead; /* elements of w between what is read and what is asked for */
    bool add;
    const unsigned char *next; /* dot: also asked for, tile by tile, n_next rows; see ask_next */
    size_t n_next, next_bytes, next_stride;
};

/* Asks for a tile's share of what is needed next: next_bytes of each of n_next rows. */
static inline void ask_next(const struct tile *t, size_t number)
{
    for (size_t i = 0; i < t->n_next; i++) {
        for (size_t b = 0; b < t->next_bytes; b += 64) {
            prefetch_far(t->next + i * t->next_stride + number * t->next_bytes + b);
        }
    }
}

static inline void put(float *y, const float *sums, const struct tile *t)
{
    if (t->n_cols < DOT_COLS) {
        y[0] = t->add ? y[0] + sums[0] : sums[0];
    } else if (t->add) {
        for (size_t c = 0; c < DOT_COLS; c++) {
            y[c] += sums[c];
        }
    } else {
        for (size_t c = 0; c < DOT_COLS; c++) {
            y[c] = sums[c];
        }
    }
}

/* y[r][c] (+)= sum over k of x[r][k] w[c][k], tiles of DOT_COLS columns or one column, whole steps
 * of LANES terms. The columns after these are asked for ahead of their turn. */
#define DOT_TILE(type, rows)                                                                       \
    static void dot_##type##_##rows(const struct tile *t)                                          \
    {                                                                                              \
        const size_t n_sum = t->n_sum, ld_x = t->ld_x, ld_w = t->ld_w, ahead = t->ahead;           \
        const TYPE_##type *w = t->w;                                                               \
        float *y = t->y;                                                                           \
                                                                                                   \
        for (size_t first = 0; first < t->n_cols; first += DOT_COLS) {                             \
            VEC sum[rows][DOT_COLS][PARTS];                                                        \
                                                                                                   \
            ask_next(t, first / DOT_COLS);                                                         \
            for (size_t r = 0; r < rows; r++) {                                                    \
                prefetch(y + r * t->ld_y);                                                         \
                for (size_t c = 0; c < DOT_COLS; c++) {                                            \
                    for (size_t p = 0; p < PARTS; p++) {                                           \
                        sum[r][c][p] = vec_zero();                                                 \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
            for (size_t k = 0; k < n_sum; k += LANES) {                                            \
                for (size_t c = 0; c < DOT_COLS; c++) {                                            \
                    prefetch(w + c * ld_w + k + ahead);                                            \
                }                                                                                  \
                for (size_t p = 0; p < PARTS; p++) {                                               \
                    VEC b[DOT_COLS];                                                               \
                                                                                                   \
                    for (size_t c = 0; c < DOT_COLS; c++) {                                        \
                        b[c] = load_##type(w + c * ld_w + k + p * WIDTH);                          \
                    }                                                                              \
                    for (size_t r = 0; r < rows; r++) {                                            \
                        const VEC a = vec_load(t->x + r * ld_x + k + p * WIDTH);                   \
                                                                                                   \
                        for (size_t c = 0; c < DOT_COLS; c++) {                                    \
                            sum[r][c][p] = vec_fma(a, b[c], sum[r][c][p]);                         \
                        }                                                                          \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
            for (size_t r = 0; r < rows; r++) {                                                    \
                float sums[DOT_COLS];                                                              \
                                                                                                   \
                add_lanes(sums, sum[r]);                                                           \
                put(y + r * t->ld_y, sums, t);                                                     \
            }                                                                                      \
            w += DOT_COLS * ld_w;                                                                  \
            y += DOT_COLS;                                                                         \
        }                                                                                          \
    }

/* y[r][c] (+)= sum over k of x[r][k] w[k][c], vecs * WIDTH columns. */
#define AXPY_TILE(type, rows, size, vecs)                                                          \
    static void size##_##type##_##rows(const struct tile *t)                                       \
    {                                                                                              \
        const TYPE_##type *w = t->w;                                                               \
        VEC sum[rows][vecs];                                                                       \
                                                                                                   \
        for (size_t r = 0; r < rows; r++) {                                                        \
            for (size_t v = 0; v < vecs; v++) {                                                    \
                sum[r][v] = vec_zero();                                                            \
                prefetch(t->y + r * t->ld_y + v * WIDTH);                                          \
            }                                                                                      \
        }                                                                                          \
        for (size_t k = 0; k < t->n_sum; k++, w += t->ld_w) {                                      \
            VEC b[vecs];                                                                           \
                                                                                                   \
            for (size_t v = 0; v < vecs; v++) {                                                    \
                b[v] = load_##type(w + v * WIDTH);                                                 \
                prefetch(w + t->ahead + v * WIDTH);                                                \
            }                                                                                      \
            for (size_t r = 0; r < rows; r++) {                                                    \
                const VEC a = vec_all(t->x[r * t->ld_x + k]);                                      \
                                                                                                   \
                for (size_t v = 0; v < vecs; v++) {                                                \
                    sum[r][v] = vec_fma(a, b[v], sum[r][v]);                                       \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
        for (size_t r = 0; r < rows; r++) {                                                        \
            for (size_t v = 0; v < vecs; v++) {                                                    \
                float *y = t->y + r * t->ld_y + v * WIDTH;                                         \
                                                                                                   \
                vec_store(y, t->add ? vec_add(vec_load(y), sum[r][v]) : sum[r][v]);                \
            }                                                                                      \
        }                                                                                          \
    }

#define WIDE_TILE(type, rows) AXPY_TILE(type, rows, wide, AXPY_VECS)
#define SLIM_TILE(type, rows) AXPY_TILE(type, rows, slim, 1)

/* Every number of rows up to the largest tile's; every dtype. */
#define UP_TO_1(make, type) make(type, 1)
#define UP_TO_3(make, type) UP_TO_1(make, type) make(type, 2) make(type, 3)
#define UP_TO_6(make, type) UP_TO_3(make, type) make(type, 4) make(type, 5) make(type, 6)
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define DOT_ALL(make, type) JOIN(UP_TO_, DOT_ROWS)(make, type)
#define AXPY_ALL(make, type) JOIN(UP_TO_, AXPY_ROWS)(make, type)
#define NAME_DOT(type, rows) dot_##type##_##rows,
#define NAME_WIDE(type, rows) wide_##type##_##rows,
#define NAME_SLIM(type, rows) slim_##type##_##rows,

DOT_ALL(DOT_TILE, f32)
DOT_ALL(DOT_TILE, f16)
DOT_ALL(DOT_TILE, bf16)
AXPY_ALL(WIDE_TILE, f32)
AXPY_ALL(WIDE_TILE, f16)
AXPY_ALL(WIDE_TILE, bf16)
AXPY_ALL(SLIM_TILE, f32)
AXPY_ALL(SLIM_TILE, f16)
AXPY_ALL(SLIM_TILE, bf16)

/* By dtype and number of rows - 1. */
static void (*const dot_tiles[][DOT_ROWS])(const struct tile *) = {
    [DINM_F32] = {DOT_ALL(NAME_DOT, f32)},
    [DINM_F16] = {DOT_ALL(NAME_DOT, f16)},
    [DINM_BF16] = {DOT_ALL(NAME_DOT, bf16)},
};
static void (*const wide_tiles[][AXPY_ROWS])(const struct tile *) = {
    [DINM_F32] = {AXPY_ALL(NAME_WIDE, f32)},
    [DINM_F16] = {AXPY_ALL(NAME_WIDE, f16)},
    [DINM_BF16] = {AXPY_ALL(NAME_WIDE, bf16)},
};
static void (*const slim_tiles[][AXPY_ROWS])(const struct tile *) = {
    [DINM_F32] = {AXPY_ALL(NAME_SLIM, f32)},
    [DINM_F16] = {AXPY_ALL(NAME_SLIM, f16)},
    [DINM_BF16] = {AXPY_ALL(NAME_SLIM, bf16)},
};

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void widen(float *to, const void *from, enum dinm_dtype dtype, size_t n)
{
    const uint16_t *half = from;
    size_t i = 0;

    for (; dtype == DINM_F16 && i + WIDTH <= n; i += WIDTH) {
        vec_store(to + i, load_f16(half + i));
    }
    for (; dtype == DINM_BF16 && i + WIDTH <= n; i += WIDTH) {
        vec_store(to + i, load_bf16(half + i));
    }
    dinm_widen(to + i, (const unsigned char *)from + i * dinm_dtype_size(dtype), dtype, n - i);
}

/* The part of a product at row r, column c and term k, as a tile. */
static struct tile tile_at(const struct dinm_kernel_product *p, size_t r, size_t c, size_t k,
                           size_t w_at)
{
    return (struct tile){.y = p->y + r * p->ld_y + c,
                         .x = p->x + r * p->ld_x + k,
                         .w = (const unsigned char *)p->w + w_at * dinm_dtype_size(p->dtype),
                         .ld_y = p->ld_y,
                         .ld_x = p->ld_x,
                         .ld_w = p->ld_w,
                         .add = p->add || k > 0};
}

/* The last terms of a tile, fewer than LANES: a block of their own, padded with zeros. */
static void dot_rest(struct tile t, enum dinm_dtype dtype, size_t n_rows)
{
    const size_t n = t.n_sum;
    float x[DOT_ROWS][LANES] = {{0}}, w[DOT_COLS][LANES] = {{0}};

    for (size_t r = 0; r < n_rows; r++) {
        memcpy(x[r], t.x + r * t.ld_x, n * sizeof x[r][0]);
    }
    for (size_t c = 0; c < t.n_cols; c++) {
        const size_t bytes = dinm_dtype_size(dtype);

        dinm_widen(w[c], (const unsigned char *)t.w + c * t.ld_w * bytes, dtype, n);
    }
    t.x = x[0];
    t.w = w[0];
    t.ld_x = t.ld_w = t.n_sum = LANES;
    dot_tiles[DINM_F32][n_rows - 1](&t);
}

/* All terms of n_cols columns, a multiple of DOT_COLS or one; one column alone stands for the
 * others of its tile as well. */
static void dot_columns(const struct dinm_kernel_product *p, size_t r, size_t c, size_t n_cols)
{
    const size_t whole = p->n_sum / LANES * LANES, n_rows = min(DOT_ROWS, p->n_rows - r);
    const struct dinm_kernel_next *next = &p->next;

    for (size_t k = 0; k < whole; k += DINM_KERNEL_DEPTH) {
        struct tile t = tile_at(p, r, c, k, c * p->ld_w + k);

        t.n_cols = n_cols;
        t.ld_w = n_cols < DOT_COLS ? 0 : p->ld_w;
        t.n_sum = min(DINM_KERNEL_DEPTH, whole - k);
        t.ahead = p->streams ? DOT_COLS * p->ld_w : 8 * LANES;
        if (next->n_rows > 0) {
            const size_t from = r * next->n_rows / p->n_rows;

            t.next = (const unsigned char *)next->data + from * next->stride;
            t.n_next = min(next->n_rows, (r + DOT_ROWS) * next->n_rows / p->n_rows) - from;
            t.next_bytes = (next->n_bytes * DOT_COLS + p->n_cols - 1) / p->n_cols;
            t.next_stride = next->stride;
        }
        dot_tiles[p->dtype][n_rows - 1](&t);
    }
    for (size_t i = 0; i < n_cols && whole < p->n_sum; i += DOT_COLS) {
        struct tile t = tile_at(p, r, c + i, whole, (c + i) * p->ld_w + whole);

        t.n_cols = min(DOT_COLS, n_cols - i);
        t.n_sum = p->n_sum - whole;
        dot_rest(t, p->dtype, n_rows);
    }
}

/* What comes from memory is read once, tile by tile, for all rows; of what is near, each few rows
 * take all columns' blocks, since that saves the tiles' beginnings. */
static void dot(const struct dinm_kernel_product *p)
{
    const size_t whole = p->n_cols / DOT_COLS * DOT_COLS;
    const size_t width = p->streams ? DOT_COLS : whole;

    for (size_t c = 0; c < whole; c += width) {
        for (size_t r = 0; r < p->n_rows; r += DOT_ROWS) {
            dot_columns(p, r, c, width);
        }
    }
    for (size_t c = whole; c < p->n_cols; c++) {
        for (size_t r = 0; r < p->n_rows; r += DOT_ROWS) {
            dot_columns(p, r, c, 1);
        }
    }
}

/* Columns that fill no vector, one element at a time, in the same order. */
static void axpy_rest(const struct tile *t, enum dinm_dtype dtype, size_t n_rows, size_t n_cols)
{
    const size_t bytes = dinm_dtype_size(dtype);

    for (size_t r = 0; r < n_rows; r++) {
        float sum[WIDTH] = {0}, w[WIDTH];

        for (size_t k = 0; k < t->n_sum; k++) {
            dinm_widen(w, (const unsigned char *)t->w + k * t->ld_w * bytes, dtype, n_cols);
            for (size_t c = 0; c < n_cols; c++) {
                sum[c] = fmaf(t->x[r * t->ld_x + k], w[c], sum[c]);
            }
        }
        for (size_t c = 0; c < n_cols; c++) {
            float *y = t->y + r * t->ld_y + c;

            *y = t->add ? *y + sum[c] : sum[c];
        }
    }
}

static void axpy(const struct dinm_kernel_product *p)
{
    enum { WIDE = AXPY_VECS * WIDTH };

    for (size_t r = 0; r < p->n_rows; r += AXPY_ROWS) {
        const size_t n_rows = min(AXPY_ROWS, p->n_rows - r);
        size_t n_cols;

        for (size_t c = 0; c < p->n_cols; c += n_cols) {
            const size_t left = p->n_cols - c;

            n_cols = left >= WIDE ? WIDE : min(WIDTH, left);
            for (size_t k = 0; k < p->n_sum; k += DINM_KERNEL_RUN) {
                struct tile t = tile_at(p, r, c, k, k * p->ld_w + c);

                t.n_sum = min(DINM_KERNEL_RUN, p->n_sum - k);
                t.ahead = 8 * p->ld_w;
                if (n_cols == WIDE) {
                    wide_tiles[p->dtype][n_rows - 1](&t);
                } else if (n_cols == WIDTH) {
                    slim_tiles[p->dtype][n_rows - 1](&t);
                } else {
                    axpy_rest(&t, p->dtype, n_rows, n_cols);
                }
            }
        }
    }
}

#include "model/kernel_functions.h"

const struct dinm_kernel KERNEL = {.name = NAME,
                                   .dot = dot,
                                   .axpy = axpy,
                                   .widen = widen,
                                   .exp = all_exp,
                                   .erf = all_erf,
                                   .tanh = all_tanh,
                                   .weigh = weigh};
