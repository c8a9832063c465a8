/* model/rope: against float64 rotations, and its gradient against its inverse. */
#include "numbers.h"
#include "model/rope.h"

enum { N_ROWS = 7, N_HEADS = 3, D_HEAD = 12, N = N_ROWS * N_HEADS * D_HEAD };
static const size_t positions[N_ROWS] = {0, 1, 2, 30, 1000, 4095, 131071};
static const double theta = 500000.0, pi = 3.14159265358979323846;

static const double *plain_rates(double *rates)
{
    dinm_rope_rates(rates, theta, &(struct dinm_rope_scaling){0}, D_HEAD);
    return rates;
}

static void test_values(void **state)
{
    float *x = normals(N, 1.0, 1), *y = copy_of(x, N), table[N_ROWS * D_HEAD];
    double rates[D_HEAD / 2];
    const size_t half = D_HEAD / 2;

    (void)state;
    dinm_rope_table(table, positions, plain_rates(rates), N_ROWS, D_HEAD);
    dinm_rope(y, table, 1, N_ROWS, N_HEADS, D_HEAD);
    for (size_t r = 0; r < N_ROWS; r++) {
        for (size_t h = 0; h < N_HEADS; h++) {
            for (size_t i = 0; i < half; i++) {
                const size_t at = (r * N_HEADS + h) * D_HEAD + i;
                const double angle =
                    (double)positions[r] / pow(theta, (double)(2 * i) / (double)D_HEAD);
                const double low = (double)x[at], high = (double)x[at + half];

                assert_near((double)y[at], low * cos(angle) - high * sin(angle), 1e-6);
                assert_near((double)y[at + half], high * cos(angle) + low * sin(angle), 1e-6);
            }
        }
    }
    /* Position 0 is not turned at all. */
    assert_same_bits(y, x, N_HEADS * D_HEAD);
    free(x);
    free(y);
}

/* The rotation is orthogonal: dy . rope(x) = rope^-1(dy) . x. */
static void test_gradient(void **state)
{
    float *x = normals(N, 1.0, 1), *dy = normals(N, 1.0, 2), *y = copy_of(x, N);
    float *dx = copy_of(dy, N), table[N_ROWS * D_HEAD];
    double rates[D_HEAD / 2];

    (void)state;
    dinm_rope_table(table, positions, plain_rates(rates), N_ROWS, D_HEAD);
    dinm_rope(y, table, 1, N_ROWS, N_HEADS, D_HEAD);
    dinm_rope(dx, table, -1, N_ROWS, N_HEADS, D_HEAD);
    assert_near(dot(dy, y, N), dot(dx, x, N), 1e-5);
    dinm_rope(y, table, -1, N_ROWS, N_HEADS, D_HEAD);
    for (size_t i = 0; i < N; i++) {
        assert_near((double)y[i], (double)x[i], 1e-6);
    }
    free(x);
    free(y);
    free(dy);
    free(dx);
}

/* A row's rotation is its position's alone, however many rows there are. */
static void test_rows(void **state)
{
    enum { MANY = 700 };
    size_t many[MANY];
    float *table = zeros(MANY * D_HEAD), alone[D_HEAD];
    double rates[D_HEAD / 2];

    (void)state;
    for (size_t r = 0; r < MANY; r++) {
        many[r] = pick(1, r, 4096);
    }
    dinm_linear_set_threads(2);
    dinm_rope_table(table, many, plain_rates(rates), MANY, D_HEAD);
    for (size_t r = 0; r < MANY; r++) {
        dinm_rope_table(alone, &many[r], rates, 1, D_HEAD);
        assert_same_bits(table + r * D_HEAD, alone, D_HEAD);
    }
    free(table);
}

/* The rates of Llama 3.1, by the rule as its authors wrote it: in wave lengths. */
static void test_scaled_rates(void **state)
{
    enum { D = 128 };
    const struct dinm_rope_scaling linear = {.kind = DINM_ROPE_LINEAR, .factor = 4.0};
    const struct dinm_rope_scaling llama3 = {.kind = DINM_ROPE_LLAMA3,
                                             .factor = 8.0,
                                             .low_freq_factor = 1.0,
                                             .high_freq_factor = 4.0,
                                             .n_positions = 8192.0};
    double plain[D / 2], rates[D / 2];
    size_t n_kept = 0, n_slowed = 0, n_between = 0;

    (void)state;
    dinm_rope_rates(plain, theta, &(struct dinm_rope_scaling){0}, D);
    dinm_rope_rates(rates, theta, &linear, D);
    for (size_t i = 0; i < D / 2; i++) {
        assert_near(plain[i], pow(theta, -2.0 * (double)i / D), 1e-15);
        assert_near(rates[i], plain[i] / 4.0, 1e-15);
    }
    dinm_rope_rates(rates, theta, &llama3, D);
    for (size_t i = 0; i < D / 2; i++) {
        const double wave = 2.0 * pi / plain[i];
        double expected = plain[i];

        if (wave > 8192.0) {
            expected = plain[i] / 8.0;
            n_slowed++;
        } else if (wave >= 2048.0) {
            const double smooth = (8192.0 / wave - 1.0) / (4.0 - 1.0);

            expected = (1.0 - smooth) * plain[i] / 8.0 + smooth * plain[i];
            n_between++;
        } else {
            n_kept++;
        }
        assert_near(rates[i], expected, 1e-14);
    }
    assert_true(n_kept > 0 && n_slowed > 0 && n_between > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_gradient),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_scaled_rates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
