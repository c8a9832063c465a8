/* Products in bf16 with AMX (Intel, Architecture Instruction Set Extensions, "TDPBF16PS").
 *
 * A tile instruction takes 16 rows of 32 terms, row by row, and 16 columns of 32 terms, pair by
 * pair. Rows of W that lie side by side in memory are tiles of the first kind as they are, and x is
 * packed into the second: nothing of W is copied, so one row costs little more than reading W once.
 * A matrix that is stored the other way is brought into pairs, a few steps of terms at a time. */
#define _DEFAULT_SOURCE /* syscall */
#include "model/linear_bf16.h"

#include <cpuid.h>
#include <immintrin.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    SIDE = DINM_BF16_BLOCK,
    STEP = DINM_BF16_STEP,
    TILE = SIDE * STEP,   /* elements of a tile of bf16, 1 KiB */
    ROW_BYTES = 2 * STEP, /* of a tile */
    COLS = 2 * SIDE,      /* of a panel */
    ROWS = 2 * SIDE,      /* that meet a panel at once: four tiles of sums */
    COPY_STEPS = 16,      /* of a panel are copied at once; they stay in the nearest cache */
    SUMS = SIDE * SIDE,   /* floats of a tile */
    GROUPS = DINM_BF16_ROWS / ROWS,
};

/* Tiles 0 to 3: sums of panel half w and row block x in tile 2 w + x. 4, 5: the panel's halves; 6,
 * 7: the blocks of x. */
struct panel {
    const uint16_t *half[2]; /* the tiles of the first step */
    size_t row_bytes;        /* from one row of a tile to the next */
    size_t step;             /* elements from a tile to that of the next step */
};

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t n_steps_of(const struct dinm_product *p)
{
    return (p->n_sum + STEP - 1) / STEP;
}

static bool runs_here(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    unsigned a = 0, b = 0, c = 0, d = 0;

    if (!__builtin_cpu_supports("avx512bw") || !__get_cpuid_count(7, 0, &a, &b, &c, &d) ||
        (d & 1U << 22) == 0 || (d & 1U << 24) == 0 || !__get_cpuid_count(7, 1, &a, &b, &c, &d) ||
        (a & 1U << 5) == 0) {
        return false;
    }
    /* The kernel makes room for the tiles of a process that asks. */
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

static int open_nothing(void **state, const struct dinm_matrix *const *matrices, size_t n,
                        int n_threads, struct dinm_error *err)
{
    (void)matrices;
    (void)n;
    (void)n_threads;
    (void)err;
    *state = NULL;
    return DINM_OK;
}

static void close_nothing(void *state)
{
    (void)state;
}

/* The first n bits. */
static uint32_t first_bits(size_t n)
{
    return n >= 32 ? UINT32_MAX : (UINT32_C(1) << n) - 1;
}

/* Turns 16 rows of 16 words into columns. */
static inline void turn(__m512i r[SIDE])
{
    __m512i t[SIDE];

    for (size_t i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    for (size_t i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (size_t i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (size_t i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    }
}

/* x: [block][step] tiles; of pairs for W's rows as they lie, else of rows. */
static void pack(uint16_t *x, const struct dinm_product *p, size_t first)
{
    const size_t n_steps = n_steps_of(p), n_rows = min(SIDE, p->n_rows - first);

    x += first / SIDE * n_steps * TILE;
    for (size_t k = 0; k < p->n_sum; k += STEP, x += TILE) {
        const uint32_t terms = first_bits(p->n_sum - k);
        __m512i rows[SIDE];

        for (size_t i = 0; i < SIDE; i++) {
            const float *from = p->x + (first + min(i, n_rows - 1)) * p->n_sum + k;
            const __m512 low = _mm512_maskz_loadu_ps((__mmask16)terms, from);
            const __m512 high = _mm512_maskz_loadu_ps((__mmask16)(terms >> 16), from + SIDE);

            rows[i] = i < n_rows ? (__m512i)_mm512_cvtne2ps_pbh(high, low) : _mm512_setzero_si512();
        }
        if (p->transposed) {
            turn(rows);
        }
        for (size_t i = 0; i < SIDE; i++) {
            _mm512_store_si512(x + i * STEP, rows[i]);
        }
    }
}

static const uint16_t *element(const struct dinm_product *p, size_t row, size_t col)
{
    const struct dinm_matrix *w = p->w;
    const size_t length = w->by_input ? w->n_out : w->n_in;

    return (const uint16_t *)w->data + row * (w->stride > 0 ? w->stride : length) + col;
}

/* Steps [k, k + n) of the panel at column c of a matrix stored [n_cols][n_sum], what is missing
 * filled up with zeros. */
static void copy_rows(uint16_t *to, const struct dinm_product *p, size_t c, size_t k, size_t n)
{
    for (size_t i = 0; i < COLS; i++) {
        for (size_t s = 0; s < n; s++) {
            const size_t term = (k + s) * STEP;
            const __mmask32 terms = c + i < p->n_cols ? first_bits(p->n_sum - term) : 0;
            const uint16_t *from = element(p, min(c + i, p->n_cols - 1), term);

            _mm512_store_si512(to + (i / SIDE * COPY_STEPS + s) * TILE + i % SIDE * STEP,
                               _mm512_maskz_loadu_epi16(terms, from));
        }
    }
}

/* The same of one stored [n_sum][n_cols]: two rows' terms side by side. */
static void copy_pairs(uint16_t *to, const struct dinm_product *p, size_t c, size_t k, size_t n)
{
    static const uint16_t low[STEP] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,
                                       37, 6,  38, 7,  39, 8,  40, 9,  41, 10, 42,
                                       11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
    const __m512i to_low = _mm512_loadu_si512(low);
    const __m512i to_high = _mm512_add_epi16(to_low, _mm512_set1_epi16(SIDE));
    const __mmask32 cols = first_bits(p->n_cols - c);

    for (size_t i = 0; i < n * SIDE; i++) {
        const size_t term = k * STEP + 2 * i;
        const __m512i a = _mm512_maskz_loadu_epi16(term < p->n_sum ? cols : 0,
                                                   element(p, min(term, p->n_sum - 1), c));
        const __m512i b = _mm512_maskz_loadu_epi16(term + 1 < p->n_sum ? cols : 0,
                                                   element(p, min(term + 1, p->n_sum - 1), c));

        _mm512_store_si512(to + i * STEP, _mm512_permutex2var_epi16(a, to_low, b));
        _mm512_store_si512(to + COPY_STEPS * TILE + i * STEP,
                           _mm512_permutex2var_epi16(a, to_high, b));
    }
}

static inline void load_sums(float sums[4][SUMS], bool more)
{
    if (!more) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        return;
    }
    _tile_loadd(0, sums[0], SIDE * sizeof(float));
    _tile_loadd(1, sums[1], SIDE * sizeof(float));
    _tile_loadd(2, sums[2], SIDE * sizeof(float));
    _tile_loadd(3, sums[3], SIDE * sizeof(float));
}

/* Adds n steps' terms to the sums of a panel and two blocks of x, or to those of one. */
static void add_terms(float sums[4][SUMS], const uint16_t *const x[2], const struct panel *w,
                      size_t n, bool one, bool transposed)
{
    for (size_t s = 0; s < n; s++) {
        _tile_loadd(4, w->half[0] + s * w->step, w->row_bytes);
        _tile_loadd(6, x[0] + s * TILE, ROW_BYTES);
        _tile_loadd(5, w->half[1] + s * w->step, w->row_bytes);
        if (!one) {
            _tile_loadd(7, x[1] + s * TILE, ROW_BYTES);
        }
        if (transposed) {
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(2, 5, 6);
        } else {
            _tile_dpbf16ps(0, 6, 4);
            _tile_dpbf16ps(2, 6, 5);
        }
        if (one) {
            continue;
        }
        if (transposed) {
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(3, 5, 7);
        } else {
            _tile_dpbf16ps(1, 7, 4);
            _tile_dpbf16ps(3, 7, 5);
        }
    }
    _tile_stored(0, sums[0], SIDE * sizeof(float));
    _tile_stored(1, sums[1], SIDE * sizeof(float));
    _tile_stored(2, sums[2], SIDE * sizeof(float));
    _tile_stored(3, sums[3], SIDE * sizeof(float));
}

/* Sums into y: rows from r on, columns from c on, as far as they go. */
static void put(const struct dinm_product *p, float sums[4][SUMS], size_t r, size_t c)
{
    for (size_t t = 0; t < 4; t++) {
        const size_t row = r + t % 2 * SIDE, col = c + t / 2 * SIDE;
        const size_t n_rows = row < p->n_rows ? min(SIDE, p->n_rows - row) : 0;
        const __mmask16 cols = col < p->n_cols ? (__mmask16)first_bits(p->n_cols - col) : 0;
        __m512i rows[SIDE];

        if (n_rows == 0 || cols == 0) {
            continue;
        }
        for (size_t i = 0; i < SIDE; i++) {
            rows[i] = _mm512_load_si512(sums[t] + i * SIDE);
        }
        if (p->transposed) {
            turn(rows);
        }
        for (size_t i = 0; i < n_rows; i++) {
            float *y = p->y + (row + i) * p->n_cols + col;
            __m512 sum = _mm512_castsi512_ps(rows[i]);

            if (p->add) {
                sum = _mm512_add_ps(_mm512_maskz_loadu_ps(cols, y), sum);
            }
            if (p->bias != NULL) {
                sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(cols, p->bias + col));
            }
            _mm512_mask_storeu_ps(y, cols, sum);
        }
    }
}

/* One panel with all rows. */
static void multiply_panel(const uint16_t *x, const struct dinm_product *p, size_t c)
{
    _Alignas(64) uint16_t copy[2 * COPY_STEPS * TILE];
    _Alignas(64) float sums[GROUPS][4][SUMS];
    const size_t n_steps = n_steps_of(p), n_whole = p->n_sum / STEP;
    const bool in_place = p->transposed && c + COLS <= p->n_cols;
    size_t n;

    for (size_t k = 0; k < n_steps; k += n) {
        struct panel w = {
            .half = {copy, copy + COPY_STEPS * TILE}, .row_bytes = ROW_BYTES, .step = TILE};

        if (in_place && k < n_whole) {
            n = n_whole - k;
            w = (struct panel){.half = {element(p, c, k * STEP), element(p, c + SIDE, k * STEP)},
                               .step = STEP};
            w.row_bytes = (size_t)(element(p, 1, 0) - element(p, 0, 0)) * sizeof *copy;
        } else {
            n = min(COPY_STEPS, n_steps - k);
            (p->transposed ? copy_rows : copy_pairs)(copy, p, c, k, n);
        }
        for (size_t r = 0; r < p->n_rows; r += ROWS) {
            const uint16_t *block = x + (r / SIDE * n_steps + k) * TILE;
            const uint16_t *const blocks[] = {block, block + n_steps * TILE};

            load_sums(sums[r / ROWS], k > 0);
            add_terms(sums[r / ROWS], blocks, &w, n, p->n_rows - r <= SIDE, p->transposed);
            if (k + n == n_steps) {
                put(p, sums[r / ROWS], r, c);
            }
        }
    }
}

static void multiply(void *state, const uint16_t *x, const struct dinm_product *p, size_t col,
                     size_t end)
{
    /* Palette 1: eight tiles of 16 rows of 64 bytes. */
    struct {
        uint8_t palette, first_row, unused[14];
        uint16_t row_bytes[16];
        uint8_t n_rows[16];
    } shape = {.palette = 1};

    (void)state;
    for (size_t t = 0; t < 8; t++) {
        shape.row_bytes[t] = ROW_BYTES;
        shape.n_rows[t] = SIDE;
    }
    _tile_loadconfig(&shape);
    for (size_t c = col; c < end; c += COLS) {
        multiply_panel(x, p, c);
    }
    _tile_release();
}

const struct dinm_bf16_way dinm_bf16_amx = {
    .name = "amx",
    .n_cols = COLS,
    .runs_here = runs_here,
    .open = open_nothing,
    .close = close_nothing,
    .pack = pack,
    .multiply = multiply,
};
