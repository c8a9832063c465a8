/* model/activation: against float64, gradients against differences in float64. */
#include "numbers.h"
#include "model/activation.h"

enum { N = 40001 }; /* enough for several threads */

static double silu(double x)
{
    return x / (1.0 + exp(-x));
}

static double gelu(double x)
{
    return 0.5 * x * (1.0 + erf(x / sqrt(2.0)));
}

static double gelu_new(double x)
{
    return 0.5 * x * (1.0 + tanh(sqrt(2.0 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
}

static double slope(double (*f)(double), double x)
{
    const double step = 1e-5;

    return (f(x + step) - f(x - step)) / (2.0 * step);
}

/* From -20 to 20 in even steps, where everything bends and saturates. */
static float *ramp(void)
{
    float *x = zeros(N);

    for (size_t i = 0; i < N; i++) {
        x[i] = (float)((double)i / 1000.0 - 20.0);
    }
    return x;
}

static void test_swiglu(void **state)
{
    float *gate = ramp(), *up = normals(N, 1.0, 1), *dy = normals(N, 1.0, 2), *y = zeros(N);
    float *dgate = zeros(N), *dup = zeros(N), *in_place = copy_of(dy, N);

    (void)state;
    dinm_linear_set_threads(2);
    dinm_swiglu(y, gate, up, N);
    dinm_swiglu_backward(dgate, dup, dy, gate, up, N);
    dinm_swiglu_backward(in_place, dup, in_place, gate, up, N);
    assert_same_bits(in_place, dgate, N);
    for (size_t i = 0; i < N; i++) {
        const double g = (double)gate[i], u = (double)up[i], d = (double)dy[i];

        assert_near((double)y[i], silu(g) * u, 1e-6 * (fabs(silu(g) * u) + 1e-3));
        assert_near((double)dgate[i], d * u * slope(silu, g), 2e-6 * (fabs(d * u) + 1e-3));
        assert_near((double)dup[i], d * silu(g), 1e-6 * (fabs(d * silu(g)) + 1e-3));
    }
    dinm_swiglu(gate, gate, up, N);
    assert_same_bits(gate, y, N);
    free(gate);
    free(up);
    free(dy);
    free(y);
    free(dgate);
    free(dup);
    free(in_place);
}

static void test_gelu(void **state)
{
    float *x = ramp(), *dy = normals(N, 1.0, 2), *y = zeros(N), *dx = zeros(N);

    (void)state;
    dinm_gelu(y, x, N);
    dinm_gelu_backward(dx, dy, x, N);
    for (size_t i = 0; i < N; i++) {
        const double d = (double)dy[i];

        assert_near((double)y[i], gelu((double)x[i]), 3e-7 * (1.0 + fabs((double)x[i])));
        assert_near((double)dx[i], d * slope(gelu, (double)x[i]), 1e-6 * fabs(d));
    }
    dinm_gelu_backward(dy, dy, x, N);
    assert_same_bits(dy, dx, N);
    dinm_gelu(x, x, N);
    assert_same_bits(x, y, N);
    free(x);
    free(dy);
    free(y);
    free(dx);
}

/* Huge and infinite inputs saturate; NaN stays NaN. */
static void test_extremes(void **state)
{
    const float gate[] = {1e30f, -1e30f, INFINITY, NAN}, up[] = {1.0f, 1.0f, 1.0f, 1.0f};
    float y[4];

    (void)state;
    dinm_swiglu(y, gate, up, 4);
    assert_true(y[0] == 1e30f && y[1] == 0.0f && isinf(y[2]) && isnan(y[3]));
    dinm_gelu(y, gate, 4);
    assert_true(y[0] == 1e30f && y[1] == 0.0f && isinf(y[2]) && isnan(y[3]));
}

static void test_gelu_new(void **state)
{
    float *x = ramp(), *dy = normals(N, 1.0, 4), *y = zeros(N), *dx = zeros(N);
    float *in_place = copy_of(dy, N);

    (void)state;
    dinm_linear_set_threads(2);
    dinm_gelu_new(y, x, N);
    dinm_gelu_new_backward(dx, dy, x, N);
    dinm_gelu_new_backward(in_place, in_place, x, N);
    assert_same_bits(in_place, dx, N);
    for (size_t i = 0; i < N; i++) {
        const double d = (double)dy[i], at = (double)x[i];

        assert_near((double)y[i], gelu_new(at), 1e-6 * (fabs(at) + 1e-3));
        assert_near((double)dx[i], d * slope(gelu_new, at), 3e-6 * (fabs(d) + 1e-3));
    }
    dinm_gelu_new(x, x, N);
    assert_same_bits(x, y, N);
    free(x);
    free(dy);
    free(y);
    free(dx);
    free(in_place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_gelu),
        cmocka_unit_test(test_gelu_new),
        cmocka_unit_test(test_extremes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
