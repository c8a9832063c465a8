/* model/kernel: the order of the sums as the header gives it, and the same bits from every variant
 * that this processor can run. */
#include "numbers.h"
#include "model/kernel.h"

enum { MAX_ROWS = 13, MAX_COLS = 80, MAX_SUM = 2100, GAP = 3 };

static const size_t n_cols[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 80};
static const size_t n_sums[] = {1,   2,    15,   16,   17,   255,  256,
                                257, 1023, 1024, 1025, 1039, 1040, 2100};
static const enum dinm_dtype dtypes[] = {DINM_F32, DINM_F16, DINM_BF16};
enum { N_COLS = sizeof n_cols / sizeof *n_cols, N_SUMS = sizeof n_sums / sizeof *n_sums };

/* What all products are of. */
struct numbers {
    float *x, *y, *wide; /* x: [MAX_ROWS][MAX_SUM + GAP]; y: [MAX_ROWS][MAX_COLS + GAP] */
    void *w[3];          /* by dtype: [MAX_COLS * (MAX_SUM + GAP)] and room to spare */
};

static void fill(struct numbers *n)
{
    const size_t n_w = (MAX_COLS + GAP) * (MAX_SUM + GAP);

    n->x = normals(MAX_ROWS * (MAX_SUM + GAP), 1.0, 1);
    n->y = normals(MAX_ROWS * (MAX_COLS + GAP), 1.0, 2);
    n->wide = zeros(n_w);
    for (size_t t = 0; t < 3; t++) {
        float *values = normals(n_w, 1.0, 3 + t);

        /* The smallest numbers and both zeros, too. */
        for (size_t i = 0; i < n_w; i += 37) {
            values[i] = i % 2 == 0 ? -0.0f : 1e-39f;
        }
        n->w[t] = items(n_w, sizeof(float));
        dinm_narrow(n->w[t], dtypes[t], values, n_w);
        free(values);
    }
    for (size_t i = 0; i < MAX_ROWS * (MAX_SUM + GAP); i += 41) {
        n->x[i] = i % 2 == 0 ? -1e-38f : -0.0f;
    }
}

static void release(struct numbers *n)
{
    free(n->x);
    free(n->y);
    free(n->wide);
    for (size_t t = 0; t < 3; t++) {
        free(n->w[t]);
    }
}

static struct dinm_kernel_product product_of(const struct numbers *n, float *y, size_t t,
                                             size_t rows, size_t cols, size_t sum, bool axpy)
{
    return (struct dinm_kernel_product){.y = y,
                                        .x = n->x,
                                        .w = n->w[t],
                                        .dtype = dtypes[t],
                                        .ld_y = cols + GAP,
                                        .ld_x = sum + GAP,
                                        .ld_w = (axpy ? cols : sum) + GAP,
                                        .n_rows = rows,
                                        .n_cols = cols,
                                        .n_sum = sum,
                                        .add = (rows + cols + sum) % 2 == 0,
                                        .streams = rows < 4};
}

/* (a + c) + (b + d) of each four, then of the four sums. */
static float add_lanes(const float *lanes)
{
    float four[4];

    for (size_t i = 0; i < 4; i++) {
        four[i] = (lanes[4 * i] + lanes[4 * i + 2]) + (lanes[4 * i + 1] + lanes[4 * i + 3]);
    }
    return (four[0] + four[2]) + (four[1] + four[3]);
}

/* One element by the words of kernel.h. x, w: [n] float32. */
static float dot_by_words(float before, bool add, const float *x, const float *w, size_t n)
{
    const size_t whole = n - n % 16;
    float y = before;

    for (size_t k = 0; k < n;) {
        const size_t end = k >= whole ? n : k + 1024 < whole ? k + 1024 : whole;
        float lanes[16] = {0};

        for (size_t i = k; i < (end + 15) / 16 * 16; i++) {
            lanes[i % 16] = fmaf(i < end ? x[i] : 0.0f, i < end ? w[i] : 0.0f, lanes[i % 16]);
        }
        y = add || k > 0 ? y + add_lanes(lanes) : add_lanes(lanes);
        k = end;
    }
    return y;
}

static float axpy_by_words(float before, bool add, const float *x, const float *w, size_t step,
                           size_t n)
{
    float y = before;

    for (size_t k = 0; k < n; k += 256) {
        float sum = 0.0f;

        for (size_t i = k; i < n && i < k + 256; i++) {
            sum = fmaf(x[i], w[i * step], sum);
        }
        y = add || k > 0 ? y + sum : sum;
    }
    return y;
}

/* Every element of y, and the gaps between its rows as they were. */
static void check_by_words(const struct numbers *n, const struct dinm_kernel_product *p, bool axpy)
{
    for (size_t r = 0; r < p->n_rows; r++) {
        const float *x = p->x + r * p->ld_x;

        for (size_t c = 0; c < p->ld_y; c++) {
            const size_t at = r * p->ld_y + c;
            float y = n->y[at];

            if (c < p->n_cols) {
                y = axpy ? axpy_by_words(y, p->add, x, n->wide + c, p->ld_w, p->n_sum)
                         : dot_by_words(y, p->add, x, n->wide + c * p->ld_w, p->n_sum);
            }
            assert_same_bits(&p->y[at], &y, 1);
        }
    }
}

/* The plain variant does what the header says; few shapes, since this is slow. */
static void test_order(void **state)
{
    const struct dinm_kernel *plain = NULL;
    struct numbers n = {0};

    (void)state;
    fill(&n);
    for (size_t i = 0; dinm_kernel_at(i) != NULL; i++) {
        plain = dinm_kernel_at(i);
    }
    assert_string_equal(plain->name, "plain");
    for (size_t i = 0; i < 3 * N_SUMS; i++) {
        for (size_t axpy = 0; axpy < 2; axpy++) {
            const size_t cols = n_cols[(5 * i + 3) % N_COLS];
            float *y = copy_of(n.y, MAX_ROWS * (MAX_COLS + GAP));
            const struct dinm_kernel_product p =
                product_of(&n, y, i % 3, 1 + i % 3, cols, n_sums[i / 3], axpy == 1);

            dinm_widen(n.wide, p.w, p.dtype, (MAX_COLS + GAP) * (MAX_SUM + GAP));
            (axpy == 1 ? plain->axpy : plain->dot)(&p);
            check_by_words(&n, &p, axpy == 1);
            free(y);
        }
    }
    release(&n);
}

/* Every other variant of this processor, every number of rows, against plain. */
static void test_variants(void **state)
{
    const size_t n_y = MAX_ROWS * (MAX_COLS + GAP);
    struct numbers n = {0};
    size_t n_kernels = 0;

    (void)state;
    fill(&n);
    while (dinm_kernel_at(n_kernels) != NULL) {
        n_kernels++;
    }
    for (size_t i = 0; i < N_COLS * N_SUMS; i++) {
        for (size_t j = 0; j < 6; j++) {
            const size_t t = j % 3, rows = 1 + (i + 5 * j) % MAX_ROWS;
            const bool axpy = j >= 3;
            float *expected = copy_of(n.y, n_y);
            struct dinm_kernel_product p =
                product_of(&n, expected, t, rows, n_cols[i % N_COLS], n_sums[i / N_COLS], axpy);
            const struct dinm_kernel *plain = dinm_kernel_at(n_kernels - 1);

            (axpy ? plain->axpy : plain->dot)(&p);
            for (size_t k = 0; k + 1 < n_kernels; k++) {
                const struct dinm_kernel *kernel = dinm_kernel_at(k);

                p.y = copy_of(n.y, n_y);
                (axpy ? kernel->axpy : kernel->dot)(&p);
                assert_same_bits(p.y, expected, n_y);
                free(p.y);
            }
            free(expected);
        }
    }
    release(&n);
}

static void test_widen(void **state)
{
    enum { ALL = 1 << 16 };
    uint16_t *half = items(ALL, sizeof *half);
    float *expected = zeros(ALL), *ours = zeros(ALL);

    (void)state;
    for (size_t i = 0; i < ALL; i++) {
        half[i] = (uint16_t)i;
    }
    for (size_t k = 0; dinm_kernel_at(k) != NULL; k++) {
        for (size_t t = 1; t < 3; t++) {
            for (size_t n = ALL - 17; n <= ALL; n++) {
                dinm_widen(expected, half, dtypes[t], n);
                dinm_kernel_at(k)->widen(ours, half, dtypes[t], n);
                for (size_t i = 0; i < n; i++) {
                    /* Signalling numbers may come out quiet. */
                    assert_true(isnan(expected[i]) ? isnan(ours[i])
                                                   : memcmp(&expected[i], &ours[i], 4) == 0);
                }
            }
        }
    }
    free(half);
    free(expected);
    free(ours);
}

/* Numbers of every size, both signs, and those at the ends. */
static void fill_arguments(float *x, size_t n)
{
    static const float special[] = {0.0f,   -0.0f,   INFINITY, -INFINITY, 88.8f,    -104.5f,
                                    1e-38f, -1e-40f, 0.9999f,  -88.0f,    1.0f / 3, 3.9f};

    for (size_t i = 0; i < n; i++) {
        x[i] = i % 29 == 0 ? special[i / 29 % (sizeof special / sizeof *special)]
                           : x[i] * (float)(i % 11);
    }
}

/* Within one unit in the last place of float64, and the same bits from every variant, wherever in
 * an array a number stands. */
static void test_functions(void **state)
{
    enum { N = 700 };
    float *x = normals(N, 2.0, 9), *y = zeros(N), *expected = zeros(N);

    (void)state;
    fill_arguments(x, N);
    for (size_t f = 0; f < 3; f++) {
        double (*const exact)(double) = f == 0 ? exp : f == 1 ? erf : tanh;

        for (size_t k = 0; dinm_kernel_at(k) != NULL; k++) {
            const struct dinm_kernel *kernel = dinm_kernel_at(k);
            void (*const function)(float *, const float *, size_t) = f == 0   ? kernel->exp
                                                                     : f == 1 ? kernel->erf
                                                                              : kernel->tanh;

            for (size_t n = N - 40; n <= N; n++) {
                memcpy(y, x, N * sizeof *y);
                function(y, y, n);
                assert_same_bits(y + n, x + n, N - n);
                memcpy(expected, k == 0 && n == N - 40 ? y : expected, (N - 40) * sizeof *y);
                assert_same_bits(y, expected, N - 40);
            }
            for (size_t i = 0; i < N; i++) {
                const double value = exact((double)x[i]);

                if (!isfinite((float)value)) {
                    assert_true(y[i] == (float)value);
                } else {
                    assert_near((double)y[i], value, 1.3e-7 * fabs(value) + 1.5e-45);
                }
            }
        }
    }
    free(x);
    free(y);
    free(expected);
}

/* By the words of kernel.h, with each variant's own exp; the same sums from all. */
static void test_weigh(void **state)
{
    enum { MOST = 70 };
    float *scores = normals(MOST, 5.0, 10), *p = zeros(MOST), *expected = zeros(MOST);

    (void)state;
    for (size_t n = 1; n <= MOST; n++) {
        float largest = scores[0], lanes[16] = {0};

        for (size_t i = 0; i < n; i++) {
            largest = scores[i] > largest ? scores[i] : largest;
        }
        for (size_t i = 0; i < n; i++) {
            expected[i] = scores[i] - largest;
        }
        dinm_kernel()->exp(expected, expected, n);
        for (size_t i = 0; i < n; i++) {
            lanes[i % 16] += expected[i];
        }
        const float sum = add_lanes(lanes);
        for (size_t k = 0; dinm_kernel_at(k) != NULL; k++) {
            memcpy(p, scores, n * sizeof *p);
            const float ours = dinm_kernel_at(k)->weigh(p, n);
            assert_same_bits(&ours, &sum, 1);
            assert_same_bits(p, expected, n);
        }
    }
    free(scores);
    free(p);
    free(expected);
}

static void test_choose(void **state)
{
    struct dinm_error err = {0};

    (void)state;
    assert_ptr_equal(dinm_kernel(), dinm_kernel_at(0));
    assert_int_equal(dinm_kernel_choose("plain", &err), 0);
    assert_string_equal(dinm_kernel()->name, "plain");
    assert_int_equal(dinm_kernel_choose("mmx", &err), DINM_USAGE);
    assert_non_null(strstr(err.text, "\"mmx\""));
    assert_string_equal(dinm_kernel()->name, "plain");
    assert_int_equal(dinm_kernel_choose(dinm_kernel_at(0)->name, NULL), 0);
    assert_ptr_equal(dinm_kernel(), dinm_kernel_at(0));
}

/* Whole products, cut for caches and threads, give the same bits with every variant. */
static void test_products(void **state)
{
    enum { ROWS = 150, OUT = 203, IN = 1100 };
    float *wide = NULL, *x = normals(ROWS * IN, 1.0, 7), *y[2] = {zeros(ROWS * OUT), NULL};
    struct dinm_matrix w = random_matrix(&wide, DINM_BF16, OUT, IN, 8);

    (void)state;
    y[1] = zeros(ROWS * OUT);
    dinm_linear(y[0], x, &w, NULL, ROWS);
    for (size_t k = 0; dinm_kernel_at(k) != NULL; k++) {
        assert_int_equal(dinm_kernel_choose(dinm_kernel_at(k)->name, NULL), 0);
        dinm_linear(y[1], x, &w, NULL, ROWS);
        assert_same_bits(y[1], y[0], ROWS * OUT);
    }
    assert_int_equal(dinm_kernel_choose(dinm_kernel_at(0)->name, NULL), 0);
    free_matrix(&w);
    free(wide);
    free(x);
    free(y[0]);
    free(y[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),    cmocka_unit_test(test_variants),
        cmocka_unit_test(test_widen),    cmocka_unit_test(test_choose),
        cmocka_unit_test(test_products), cmocka_unit_test(test_functions),
        cmocka_unit_test(test_weigh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
