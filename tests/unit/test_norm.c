/* model/norm: against float64 loops; gradients against differences of the float64 loss. */
#include "numbers.h"
#include "model/norm.h"

enum { N_ROWS = 9, D = 100 };
static const float eps = 1e-5f;

enum kind { RMS, LAYER };

/* One row in float64 from float64 numbers. */
static void reference_row(double *y, const double *x, const double *gain, const double *bias,
                          enum kind kind)
{
    double mean = 0.0, squares = 0.0;

    for (size_t i = 0; kind == LAYER && i < D; i++) {
        mean += x[i] / D;
    }
    for (size_t i = 0; i < D; i++) {
        squares += (x[i] - mean) * (x[i] - mean);
    }
    for (size_t i = 0; i < D; i++) {
        y[i] = (x[i] - mean) / sqrt(squares / D + (double)eps) * gain[i] +
               (kind == LAYER ? bias[i] : 0.0);
    }
}

static void forward(float *y, const float *x, const float *gain, const float *bias, enum kind kind,
                    size_t n_rows)
{
    if (kind == RMS) {
        dinm_rmsnorm(y, x, gain, eps, n_rows, D);
    } else {
        dinm_layernorm(y, x, gain, bias, eps, n_rows, D);
    }
}

/* x: rows of very different sizes, the last one all but zero, where eps counts. */
static float *rows_of_many_sizes(void)
{
    float *x = normals(N_ROWS * D, 1.0, 1);

    for (size_t i = 0; i < N_ROWS * D; i++) {
        x[i] = x[i] * powf(10.0f, (float)(i / D) - 3.0f) + (i / D == 2 ? 40.0f : 0.0f);
    }
    for (size_t i = (N_ROWS - 1) * D; i < N_ROWS * D; i++) {
        x[i] *= 1e-8f;
    }
    return x;
}

static void check_values(enum kind kind)
{
    float *x = rows_of_many_sizes(), *gain = normals(D, 1.0, 2), *bias = normals(D, 1.0, 3);
    float *y = zeros(N_ROWS * D), *alone = zeros(D);
    double wide[3][D], expected[D];

    forward(y, x, gain, bias, kind, N_ROWS);
    for (size_t r = 0; r < N_ROWS; r++) {
        for (size_t i = 0; i < D; i++) {
            wide[0][i] = (double)x[r * D + i];
            wide[1][i] = (double)gain[i];
            wide[2][i] = (double)bias[i];
        }
        reference_row(expected, wide[0], wide[1], wide[2], kind);
        for (size_t i = 0; i < D; i++) {
            assert_near((double)y[r * D + i], expected[i], 1e-6 * (1.0 + fabs(expected[i])));
        }
        forward(alone, x + r * D, gain, bias, kind, 1);
        assert_same_bits(y + r * D, alone, D);
    }
    forward(x, x, gain, bias, kind, N_ROWS); /* in place */
    assert_same_bits(x, y, N_ROWS * D);
    free(x);
    free(gain);
    free(bias);
    free(y);
    free(alone);
}

static void test_values(void **state)
{
    (void)state;
    check_values(RMS);
    check_values(LAYER);
}

/* Many rows are shared among threads; the bits do not tell. */
static void test_threads(void **state)
{
    enum { MANY = 400 };
    float *x = normals(MANY * D, 1.0, 1), *gain = normals(D, 1.0, 2), *bias = normals(D, 1.0, 3);
    float *one = zeros(MANY * D), *two = zeros(MANY * D);

    (void)state;
    for (int kind = RMS; kind <= LAYER; kind++) {
        dinm_linear_set_threads(1);
        forward(one, x, gain, bias, (enum kind)kind, MANY);
        dinm_linear_set_threads(2);
        forward(two, x, gain, bias, (enum kind)kind, MANY);
        assert_same_bits(one, two, MANY * D);
    }
    free(x);
    free(gain);
    free(bias);
    free(one);
    free(two);
}

/* x, gain and bias in a row: [N_ROWS][D], [D], [D]. */
enum { N_ALL = (N_ROWS + 2) * D };

/* sum(y dy) in float64 with everything moved by step * along. */
static double loss_at(const float *all, const float *dy, const float *along, double step,
                      enum kind kind)
{
    double moved[N_ALL], y[D], loss = 0.0;

    for (size_t i = 0; i < N_ALL; i++) {
        moved[i] = (double)all[i] + step * (double)along[i];
    }
    for (size_t r = 0; r < N_ROWS; r++) {
        reference_row(y, moved + r * D, moved + N_ROWS * D, moved + (N_ROWS + 1) * D, kind);
        for (size_t i = 0; i < D; i++) {
            loss += y[i] * (double)dy[r * D + i];
        }
    }
    return loss;
}

static void check_gradients(enum kind kind)
{
    float *all = normals(N_ALL, 1.0, 4), *dy = normals(N_ROWS * D, 1.0, 5);
    float *before = normals(N_ALL, 1.0, 6), *g = copy_of(before, N_ALL), *only_dx = zeros(N_ALL);
    const float *x = all, *gain = all + N_ROWS * D;
    float *dgain = g + N_ROWS * D, *dbias = g + (N_ROWS + 1) * D;
    const double step = 1e-5;

    memcpy(only_dx, before, N_ALL * sizeof *before);
    if (kind == RMS) {
        dinm_rmsnorm_backward(g, dgain, dy, x, gain, eps, N_ROWS, D);
        dinm_rmsnorm_backward(only_dx, NULL, dy, x, gain, eps, N_ROWS, D);
    } else {
        dinm_layernorm_backward(g, dgain, dbias, dy, x, gain, eps, N_ROWS, D);
        dinm_layernorm_backward(only_dx, NULL, NULL, dy, x, gain, eps, N_ROWS, D);
    }
    assert_same_bits(only_dx, g, N_ROWS * D);
    assert_same_bits(only_dx + N_ROWS * D, before + N_ROWS * D, 2 * D);
    for (size_t i = 0; i < N_ALL; i++) {
        g[i] -= before[i]; /* gradients are added to what was there */
    }
    for (uint64_t seed = 20; seed < 30; seed++) {
        float *along = seed == 20 ? copy_of(g, N_ALL) : normals(N_ALL, 1.0, seed);
        const double size = sqrt(dot(g, g, N_ALL) * dot(along, along, N_ALL));
        const double slope =
            (loss_at(all, dy, along, step, kind) - loss_at(all, dy, along, -step, kind)) /
            (2.0 * step);

        /* Each gradient errs by a rounding of itself and of `before`, of size 1 like it. */
        assert_near(dot(g, along, N_ALL), slope, 1e-6 * size);
        free(along);
    }
    free(all);
    free(dy);
    free(before);
    free(g);
    free(only_dx);
}

static void test_gradients(void **state)
{
    (void)state;
    check_gradients(RMS);
    check_gradients(LAYER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_gradients),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
