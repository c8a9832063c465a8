/* model/loss: against float64 loops; gradients against differences of the float64 loss. */
#include "numbers.h"
#include "model/linear.h"
#include "model/loss.h"

/* More than two of the blocks that a row is cut into, and some. */
enum { N_ROWS = 6, N_VOCAB = 2501, N = N_ROWS * N_VOCAB };
static const double scale = 0.37;

/* log softmax of one row in float64. */
static void reference_log_softmax(double *y, const double *x)
{
    double largest = -INFINITY, sum = 0.0;

    for (size_t i = 0; i < N_VOCAB; i++) {
        largest = fmax(largest, x[i]);
    }
    for (size_t i = 0; i < N_VOCAB; i++) {
        sum += exp(x[i] - largest);
    }
    for (size_t i = 0; i < N_VOCAB; i++) {
        y[i] = x[i] - largest - log(sum);
    }
}

enum kind { NLL, KL_EDITED_BASE, KL_BASE_EDITED };

/* The loss in float64 of logits moved by step * along. */
static double reference(const float *logits, const float *along, double step, enum kind kind,
                        const int32_t *targets, const float *base)
{
    double loss = 0.0, x[N_VOCAB], p[N_VOCAB];

    for (size_t r = 0; r < N_ROWS; r++) {
        for (size_t i = 0; i < N_VOCAB; i++) {
            x[i] = (double)logits[r * N_VOCAB + i] + step * (double)along[r * N_VOCAB + i];
        }
        reference_log_softmax(p, x);
        for (size_t i = 0; kind != NLL && i < N_VOCAB; i++) {
            const double q = (double)base[r * N_VOCAB + i];

            loss += kind == KL_EDITED_BASE ? exp(p[i]) * (p[i] - q) : exp(q) * (q - p[i]);
        }
        if (kind == NLL) {
            loss -= p[targets[r]];
        }
    }
    return loss;
}

static double ours(float *dlogits, const float *logits, enum kind kind, const int32_t *targets,
                   const float *base)
{
    if (kind == NLL) {
        return dinm_loss_nll(dlogits, logits, targets, scale, N_ROWS, N_VOCAB);
    }
    return dinm_loss_kl(dlogits, logits, base,
                        kind == KL_EDITED_BASE ? DINM_KL_EDITED_BASE : DINM_KL_BASE_EDITED, scale,
                        N_ROWS, N_VOCAB);
}

/* Logits of a usual model, but for one row of huge ones. */
static float *make_logits(uint64_t seed)
{
    float *x = normals(N, 3.0, seed);

    for (size_t i = 0; i < N_VOCAB; i++) {
        x[i] = x[i] * 10.0f + 1e4f;
    }
    return x;
}

static void test_log_softmax(void **state)
{
    float *x = make_logits(1), *y = zeros(N);
    double wide[N_VOCAB], expected[N_VOCAB];

    (void)state;
    dinm_log_softmax(y, x, N_ROWS, N_VOCAB);
    for (size_t r = 0; r < N_ROWS; r++) {
        for (size_t i = 0; i < N_VOCAB; i++) {
            wide[i] = (double)x[r * N_VOCAB + i];
        }
        reference_log_softmax(expected, wide);
        for (size_t i = 0; i < N_VOCAB; i++) {
            assert_near((double)y[r * N_VOCAB + i], expected[i], 2e-7 * (1.0 + fabs(expected[i])));
        }
    }
    dinm_log_softmax(x, x, N_ROWS, N_VOCAB);
    assert_same_bits(x, y, N);
    free(x);
    free(y);
}

static void test_losses(void **state)
{
    float *x = make_logits(1), *base = make_logits(2), *g = zeros(N), *still = zeros(N);
    const int32_t targets[N_ROWS] = {0, N_VOCAB - 1, 1024, 1031, 7, 1500};
    const double step = 1e-5;

    (void)state;
    dinm_log_softmax(base, base, N_ROWS, N_VOCAB);
    for (int k = NLL; k <= KL_BASE_EDITED; k++) {
        const enum kind kind = (enum kind)k;
        const double expected = reference(x, still, 0.0, kind, targets, base);

        assert_near(ours(g, x, kind, targets, base), expected, 1e-6 * fabs(expected));
        assert_near(ours(NULL, x, kind, targets, base), expected, 1e-6 * fabs(expected));
        for (uint64_t seed = 10; seed < 20; seed++) {
            float *along = seed == 10 ? copy_of(g, N) : normals(N, 1.0, seed);
            const double size = sqrt(dot(g, g, N) * dot(along, along, N));
            const double slope = (reference(x, along, step, kind, targets, base) -
                                  reference(x, along, -step, kind, targets, base)) /
                                 (2.0 * step);

            /* float32 gradients err by roundings of their own size; the differences by 1e-16 of
             * the loss over the step. */
            assert_near(dot(g, along, N), scale * slope, 1e-6 * size + 1e-10 * fabs(expected));
            free(along);
        }
    }
    ours(g, x, NLL, targets, base);
    ours(x, x, NLL, targets, base); /* in place */
    assert_same_bits(x, g, N);
    free(x);
    free(base);
    free(g);
    free(still);
}

/* A model that did not change: no divergence at all, and no gradient. */
static void test_kl_of_itself(void **state)
{
    float *x = make_logits(1), *base = zeros(N), *g = normals(N, 1.0, 2);

    (void)state;
    dinm_log_softmax(base, x, N_ROWS, N_VOCAB);
    assert_true(ours(g, x, KL_EDITED_BASE, NULL, base) == 0.0);
    for (size_t i = 0; i < N; i++) {
        assert_true(g[i] == 0.0f);
    }
    assert_true(ours(g, x, KL_BASE_EDITED, NULL, base) == 0.0);
    for (size_t i = 0; i < N; i++) {
        assert_true(g[i] == 0.0f);
    }
    free(x);
    free(base);
    free(g);
}

/* More rows than are held at once, with any number of threads: each has the gradient that it has
 * alone, and the losses are added in their order. */
static void test_many_rows(void **state)
{
    enum { MANY = 600, FEW = 301 };
    float *x = normals(MANY * FEW, 3.0, 4), *base = normals(MANY * FEW, 3.0, 5);
    float *g = zeros(MANY * FEW), *alone = zeros(FEW);
    int32_t targets[MANY];

    (void)state;
    dinm_log_softmax(base, base, MANY, FEW);
    for (size_t r = 0; r < MANY; r++) {
        targets[r] = (int32_t)pick(FEW, r, 6);
    }
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        dinm_linear_set_threads(n_threads);
        for (int kl = 0; kl < 2; kl++) {
            double sum = 0.0;
            const double all = kl ? dinm_loss_kl(g, x, base, DINM_KL_EDITED_BASE, scale, MANY, FEW)
                                  : dinm_loss_nll(g, x, targets, scale, MANY, FEW);

            for (size_t r = 0; r < MANY; r++) {
                const float *row = x + r * FEW, *of_base = base + r * FEW;

                sum += kl ? dinm_loss_kl(alone, row, of_base, DINM_KL_EDITED_BASE, scale, 1, FEW)
                          : dinm_loss_nll(alone, row, targets + r, scale, 1, FEW);
                assert_same_bits(g + r * FEW, alone, FEW);
            }
            assert_true(all == sum);
        }
    }
    free(x);
    free(base);
    free(g);
    free(alone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_softmax),
        cmocka_unit_test(test_losses),
        cmocka_unit_test(test_kl_of_itself),
        cmocka_unit_test(test_many_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
