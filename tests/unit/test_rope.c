/* model/rope: against float64 rotations, and its gradient against its inverse. */
#include "numbers.h"
#include "model/rope.h"

enum { N_ROWS = 7, N_HEADS = 3, D_HEAD = 12, N = N_ROWS * N_HEADS * D_HEAD };
static const size_t positions[N_ROWS] = {0, 1, 2, 30, 1000, 4095, 131071};
static const double theta = 500000.0;

static void test_values(void **state)
{
    float *x = normals(N, 1.0, 1), *y = copy_of(x, N), table[N_ROWS * D_HEAD];
    const size_t half = D_HEAD / 2;

    (void)state;
    dinm_rope_table(table, positions, theta, N_ROWS, D_HEAD);
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

    (void)state;
    dinm_rope_table(table, positions, theta, N_ROWS, D_HEAD);
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

    (void)state;
    for (size_t r = 0; r < MANY; r++) {
        many[r] = pick(1, r, 4096);
    }
    dinm_linear_set_threads(2);
    dinm_rope_table(table, many, theta, MANY, D_HEAD);
    for (size_t r = 0; r < MANY; r++) {
        dinm_rope_table(alone, &many[r], theta, 1, D_HEAD);
        assert_same_bits(table + r * D_HEAD, alone, D_HEAD);
    }
    free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_gradient),
        cmocka_unit_test(test_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
