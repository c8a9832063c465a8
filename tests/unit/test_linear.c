/* model/linear: against float64 loops, and bit for bit against every row on its own. */
#include "rows_alone.h"
#include <float.h>
#include <omp.h>

enum { N_ROWS = 200 };

static const enum dinm_dtype dtypes[] = {DINM_F32, DINM_F16, DINM_BF16};
static const struct {
    size_t n_out, n_in;
} shapes[] = {{1, 1},     {3, 5},     {8, 8},     {16, 40}, {64, 172}, {172, 64},   {128, 512},
              {129, 513}, {256, 256}, {300, 100}, {640, 1}, {1, 700},  {512, 1000}, {1024, 1024}};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

/* n terms summed in any order differ from the true sum by at most about n roundings of the sum of
 * their sizes. */
static double bound(size_t n, double sizes)
{
    return (double)(n + 2) * (double)FLT_EPSILON * sizes;
}

static void check_forward(const struct dinm_matrix *w, const float *wide, size_t n_rows)
{
    float *x = normals(n_rows * w->n_in, 1.0, 11), *bias = normals(w->n_out, 1.0, 12);
    float *y = zeros(n_rows * w->n_out);

    for (size_t i = 0; i < n_rows * w->n_out; i++) {
        y[i] = NAN; /* what was there must not matter */
    }
    dinm_linear(y, x, w, bias, n_rows);
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t o = 0; o < w->n_out; o++) {
            double sum = (double)bias[o], sizes = fabs(sum);

            for (size_t i = 0; i < w->n_in; i++) {
                const double term = (double)x[r * w->n_in + i] * (double)wide[o * w->n_in + i];

                sum += term;
                sizes += fabs(term);
            }
            assert_near((double)y[r * w->n_out + o], sum, bound(w->n_in, sizes));
        }
    }
    free(x);
    free(bias);
    free(y);
}

static void check_backward_input(const struct dinm_matrix *w, const float *wide, size_t n_rows,
                                 int add)
{
    float *dy = normals(n_rows * w->n_out, 1.0, 13), *before = normals(n_rows * w->n_in, 1.0, 14);
    float *dx = copy_of(before, n_rows * w->n_in);

    dinm_linear_backward_input(dx, dy, w, n_rows, add);
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t i = 0; i < w->n_in; i++) {
            double sum = add ? (double)before[r * w->n_in + i] : 0.0, sizes = fabs(sum);

            for (size_t o = 0; o < w->n_out; o++) {
                const double term = (double)dy[r * w->n_out + o] * (double)wide[o * w->n_in + i];

                sum += term;
                sizes += fabs(term);
            }
            assert_near((double)dx[r * w->n_in + i], sum, bound(w->n_out, sizes));
        }
    }
    free(dy);
    free(before);
    free(dx);
}

static void test_values(void **state)
{
    (void)state;
    for (size_t s = 0; s < N_SHAPES; s++) {
        for (size_t t = 0; t < 3; t++) {
            float *wide = NULL;
            struct dinm_matrix w =
                random_matrix(&wide, dtypes[t], shapes[s].n_out, shapes[s].n_in, s);
            const size_t n_rows = w.n_out * w.n_in > 100000 ? 9 : 45;

            check_forward(&w, wide, n_rows);
            check_backward_input(&w, wide, n_rows, 0);
            check_backward_input(&w, wide, n_rows, 1);
            free_matrix(&w);
            free(wide);
        }
    }
}

/* Every count of rows from 1 to N_ROWS (of 16-bit matrices, where a block of W is widened the same
 * way for all, fewer of the high ones), taken at random from a pool, in a random order, gives each
 * row the bits that it has alone. */
static void check_bits(const struct dinm_matrix *w, bool backward)
{
    struct rows_alone a = rows_alone_new(w, backward, N_ROWS);

    for (int n_threads = 1; n_threads <= 2; n_threads++) {
        dinm_linear_set_threads(n_threads);
        for (size_t n = 1; n <= N_ROWS; n += w->dtype != DINM_F32 && n > 40 ? 13 : 1) {
            rows_alone_check(&a, n);
        }
    }
    rows_alone_free(&a);
}

static void test_bits(void **state)
{
    (void)state;
    for (size_t s = 0; s < N_SHAPES; s++) {
        for (size_t t = 0; t < 3; t++) {
            float *wide = NULL;
            struct dinm_matrix w =
                random_matrix(&wide, dtypes[t], shapes[s].n_out, shapes[s].n_in, s);

            check_bits(&w, false);
            check_bits(&w, true);
            free_matrix(&w);
            free(wide);
        }
    }
}

/* Stored in 16 bits or widened by hand: the same product. */
static void test_dtype_is_exact(void **state)
{
    enum { ROWS = 21, OUT = 200, IN = 600 };
    float *x = normals(ROWS * IN, 1.0, 31), *y16 = zeros(ROWS * OUT), *y32 = zeros(ROWS * OUT);

    (void)state;
    for (size_t t = 1; t < 3; t++) {
        float *wide = NULL;
        struct dinm_matrix w = random_matrix(&wide, dtypes[t], OUT, IN, 30 + t);
        const struct dinm_matrix w32 = {.data = wide, .dtype = DINM_F32, .n_out = OUT, .n_in = IN};

        dinm_linear(y16, x, &w, NULL, ROWS);
        dinm_linear(y32, x, &w32, NULL, ROWS);
        assert_same_bits(y16, y32, ROWS * OUT);
        free_matrix(&w);
        free(wide);
    }
    free(x);
    free(y16);
    free(y32);
}

static void check_backward_weight(size_t n_rows, size_t n_out, size_t n_in)
{
    float *dy = normals(n_rows * n_out, 1.0, 41), *x = normals(n_rows * n_in, 1.0, 42);
    float *before = normals(n_out * n_in, 1.0, 43), *dw1 = copy_of(before, n_out * n_in);
    float *dw2 = copy_of(before, n_out * n_in), *db = normals(n_out, 1.0, 44);
    float *db_before = copy_of(db, n_out);

    dinm_linear_set_threads(1);
    dinm_linear_backward_weight(dw1, dy, x, n_rows, n_out, n_in);
    dinm_linear_backward_bias(db, dy, n_rows, n_out);
    dinm_linear_set_threads(2);
    dinm_linear_backward_weight(dw2, dy, x, n_rows, n_out, n_in);
    assert_same_bits(dw1, dw2, n_out * n_in);
    for (size_t o = 0; o < n_out; o++) {
        double column = (double)db_before[o], column_sizes = fabs(column);

        for (size_t r = 0; r < n_rows; r++) {
            column += (double)dy[r * n_out + o];
            column_sizes += fabs((double)dy[r * n_out + o]);
        }
        assert_near((double)db[o], column, bound(n_rows, column_sizes));
        for (size_t i = 0; i < n_in; i++) {
            double sum = (double)before[o * n_in + i], sizes = fabs(sum);

            for (size_t r = 0; r < n_rows; r++) {
                const double term = (double)dy[r * n_out + o] * (double)x[r * n_in + i];

                sum += term;
                sizes += fabs(term);
            }
            assert_near((double)dw1[o * n_in + i], sum, bound(n_rows, sizes));
        }
    }
    free(dy);
    free(x);
    free(before);
    free(dw1);
    free(dw2);
    free(db);
    free(db_before);
}

static void test_backward_weight(void **state)
{
    (void)state;
    check_backward_weight(1, 3, 5);
    check_backward_weight(7, 64, 172);
    check_backward_weight(40, 129, 513);
    check_backward_weight(700, 20, 30);
}

/* Small products take one thread, and leave the number as it was. */
static void test_threads(void **state)
{
    float *wide = NULL, *x = normals(N_ROWS * 256, 1.0, 51), *y = zeros(N_ROWS * 256);

    (void)state;
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        for (size_t n = 8; n <= 256; n *= 32) {
            struct dinm_matrix w = random_matrix(&wide, DINM_F32, n, n, 1);

            dinm_linear_set_threads(n_threads);
            dinm_linear(y, x, &w, NULL, N_ROWS);
            assert_int_equal(omp_get_max_threads(), n_threads);
            free_matrix(&w);
            free(wide);
        }
    }
    dinm_linear_set_threads(0);
    assert_int_equal(omp_get_max_threads(), 1);
    free(x);
    free(y);
}

static void test_no_rows(void **state)
{
    float *wide = NULL, y = 7.0f;
    struct dinm_matrix w = random_matrix(&wide, DINM_F32, 8, 8, 1);

    (void)state;
    dinm_linear(&y, NULL, &w, NULL, 0);
    dinm_linear_backward_input(&y, NULL, &w, 0, 0);
    dinm_linear_backward_weight(&y, NULL, NULL, 0, 8, 8);
    assert_true(y == 7.0f);
    free_matrix(&w);
    free(wide);
}

/* The same products from a matrix stored by input, alone or as the middle third of a wider one, as
 * from its plain form. */
static void test_layouts(void **state)
{
    enum { OUT = 150, IN = 600, ROWS = 21, WIDE = 3 * OUT };
    float *x = normals(ROWS * IN, 1.0, 31), *dy = normals(ROWS * OUT, 1.0, 32);
    float *bias = normals(OUT, 1.0, 33), *y[2], *dx[2];

    (void)state;
    for (size_t t = 0; t < 3; t++) {
        float *wide = NULL, *turned = zeros(IN * WIDE);
        struct dinm_matrix plain = random_matrix(&wide, dtypes[t], OUT, IN, 34), by_input = plain;
        unsigned char *stored = items(IN * WIDE, sizeof(float));

        by_input.by_input = true;
        for (size_t n_parts = 1; n_parts <= 3; n_parts += 2) {
            const size_t stride = n_parts * OUT, first = n_parts > 1 ? OUT : 0;

            for (size_t o = 0; o < OUT; o++) {
                for (size_t k = 0; k < IN; k++) {
                    turned[k * stride + first + o] = wide[o * IN + k];
                }
            }
            dinm_narrow(stored, dtypes[t], turned, IN * stride);
            by_input.data = stored + first * dinm_dtype_size(dtypes[t]);
            by_input.stride = n_parts > 1 ? stride : 0;
            for (size_t i = 0; i < 2; i++) {
                const struct dinm_matrix *w = i == 0 ? &plain : &by_input;

                y[i] = zeros(ROWS * OUT);
                dx[i] = copy_of(x, ROWS * IN);
                dinm_linear(y[i], x, w, bias, ROWS);
                dinm_linear_backward_input(dx[i], dy, w, ROWS, 1);
            }
            for (size_t i = 0; i < ROWS * OUT; i++) {
                assert_near((double)y[1][i], (double)y[0][i], 2e-4);
            }
            for (size_t i = 0; i < ROWS * IN; i++) {
                assert_near((double)dx[1][i], (double)dx[0][i], 2e-4);
            }
            /* A row alone, bit for bit. */
            for (size_t r = 0; r < ROWS; r++) {
                float alone[OUT];

                dinm_linear(alone, x + r * IN, &by_input, bias, 1);
                assert_same_bits(alone, y[1] + r * OUT, OUT);
            }
            for (size_t i = 0; i < 2; i++) {
                free(y[i]);
                free(dx[i]);
            }
        }
        free(stored);
        free(turned);
        free(wide);
        free_matrix(&plain);
    }
    free(x);
    free(dy);
    free(bias);
}

/* Any number of products at once, of every shape, dtype and number of rows: each as alone. */
static void test_each(void **state)
{
    enum { N = 20, MOST = 1024 };
    struct dinm_matrix w[N];
    struct dinm_linear_call calls[N];
    float *wides[N], *x = normals(N_ROWS * MOST, 1.0, 61), *bias = normals(MOST, 1.0, 62);

    (void)state;
    for (size_t i = 0; i < N; i++) {
        const size_t s = i % N_SHAPES, n_rows = i % 7 == 6 ? 0 : 1 + pick(N_ROWS, i, 63);

        w[i] = random_matrix(&wides[i], dtypes[i % 3], shapes[s].n_out, shapes[s].n_in, 64 + i);
        calls[i] = (struct dinm_linear_call){zeros(n_rows * w[i].n_out + 1), x, &w[i],
                                             i % 2 == 0 ? bias : NULL, n_rows};
    }
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        for (size_t n = 0; n <= N; n++) {
            dinm_linear_set_threads(n_threads);
            dinm_linear_each(calls, n);
            for (size_t i = 0; i < N; i++) {
                const size_t n_y = calls[i].n_rows * w[i].n_out;
                float *alone = zeros(n_y + 1);

                if (i < n) {
                    dinm_linear(alone, x, &w[i], calls[i].bias, calls[i].n_rows);
                }
                assert_same_bits(calls[i].y, alone, n_y + 1);
                memset(calls[i].y, 0, n_y * sizeof *alone);
                free(alone);
            }
        }
    }
    for (size_t i = 0; i < N; i++) {
        free(calls[i].y);
        free(wides[i]);
        free_matrix(&w[i]);
    }
    free(x);
    free(bias);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),         cmocka_unit_test(test_bits),
        cmocka_unit_test(test_dtype_is_exact), cmocka_unit_test(test_backward_weight),
        cmocka_unit_test(test_no_rows),        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_layouts),        cmocka_unit_test(test_each),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
