/* model/adam: against the published update in float64, and against numbers worked out by hand. */
#include "numbers.h"
#include "model/adam.h"

enum { N = 20000, N_STEPS = 12 };

/* One weight in float64, and how far a float32 program may be from it. */
struct weight {
    double w, m, v, limit;
};

/* Kingma and Ba 2015, algorithm 1, with decay as PyTorch adds it. float32 rounds the weight up to
 * three times; an error of the gradient's sum moves the weight by lr times its share of sqrt(v). */
static void reference_step(struct weight *x, double g, const struct dinm_adam *a, int64_t step)
{
    const double epsilon = 1.2e-7, decay = a->weight_decay * x->w;
    const double sizes = fabs(g) + fabs(decay);

    if (a->decoupled) {
        x->w -= a->lr * decay;
    } else {
        g += decay;
    }
    x->m = a->beta1 * x->m + (1.0 - a->beta1) * g;
    x->v = a->beta2 * x->v + (1.0 - a->beta2) * g * g;
    const double m_hat = x->m / (1.0 - pow(a->beta1, (double)step));
    const double v_hat = x->v / (1.0 - pow(a->beta2, (double)step));

    x->w -= a->lr * m_hat / (sqrt(v_hat) + a->eps);
    x->limit += epsilon * (2.0 * fabs(x->w) + 4.0 * a->lr * (1.0 + sizes / (sqrt(v_hat) + a->eps)));
}

static void check_adam(bool decoupled, double weight_decay)
{
    const struct dinm_adam a = {.lr = 5e-4,
                                .beta1 = 0.9,
                                .beta2 = 0.999,
                                .eps = 1e-8,
                                .weight_decay = weight_decay,
                                .decoupled = decoupled};
    float *w = normals(N, 0.02, 1), *m = zeros(N), *v = zeros(N), *one = copy_of(w, N);
    float *m1 = zeros(N), *v1 = zeros(N);
    struct weight *expected = items(N, sizeof *expected);

    for (size_t i = 0; i < N; i++) {
        expected[i].w = (double)w[i];
    }
    for (int64_t step = 1; step <= N_STEPS; step++) {
        float *g = normals(N, 1e-3, 10 + (uint64_t)step);

        dinm_linear_set_threads(2);
        dinm_adam_step(w, m, v, g, &a, step, N);
        dinm_linear_set_threads(1);
        dinm_adam_step(one, m1, v1, g, &a, step, N);
        for (size_t i = 0; i < N; i++) {
            reference_step(&expected[i], (double)g[i], &a, step);
        }
        free(g);
    }
    assert_same_bits(w, one, N);
    for (size_t i = 0; i < N; i++) {
        assert_near((double)w[i], expected[i].w, expected[i].limit);
    }
    free(w);
    free(m);
    free(v);
    free(one);
    free(m1);
    free(v1);
    free(expected);
}

static void test_adam(void **state)
{
    (void)state;
    check_adam(false, 0.0);
    check_adam(false, 0.01);
    check_adam(true, 0.0);
    check_adam(true, 0.01);
}

/* The first step moves every weight by lr against the sign of its gradient, whatever its size. */
static void test_first_step(void **state)
{
    const struct dinm_adam a = {.lr = 0.25, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    float w[3] = {1.0f, 1.0f, 1.0f}, m[3] = {0}, v[3] = {0};
    const float g[3] = {1e-3f, -1e3f, 0.0f};

    (void)state;
    dinm_adam_step(w, m, v, g, &a, 1, 3);
    assert_near((double)w[0], 0.75, 1e-5);
    assert_near((double)w[1], 1.25, 1e-5);
    assert_true(w[2] == 1.0f);
    assert_near((double)m[1], -100.0, 1e-4);
    assert_near((double)v[1], 1000.0, 1e-2);
}

static void test_sgd(void **state)
{
    float w[2] = {1.0f, -2.0f};
    const float g[2] = {0.5f, 0.25f};

    (void)state;
    dinm_sgd_step(w, g, 0.5, 0.125, 2);
    assert_true(w[0] == 1.0f - 0.5f * (0.5f + 0.125f));
    assert_true(w[1] == -2.0f - 0.5f * (0.25f - 0.25f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adam),
        cmocka_unit_test(test_first_step),
        cmocka_unit_test(test_sgd),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
