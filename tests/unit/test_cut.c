/* pipeline/cut: the best cut against every cut there is, and the person's own. */
#include "numbers.h"

#include "pipeline/cut.h"

/* The dearest stage of a cut. */
static double dearest(const size_t *first, const double *costs, size_t n_stages)
{
    double most = 0.0;
    for (size_t s = 0; s < n_stages; s++) {
        double sum = 0.0;
        assert_true(first[s] < first[s + 1]);
        for (size_t i = first[s]; i < first[s + 1]; i++) {
            sum += costs[i];
        }
        most = sum > most ? sum : most;
    }
    return most;
}

/* The least dearest stage over all cuts of costs[at .. n) into n_stages. */
static double best_of(const double *costs, size_t n, size_t n_stages)
{
    double best = 1e300, sum = 0.0;
    if (n_stages == 1) {
        for (size_t i = 0; i < n; i++) {
            sum += costs[i];
        }
        return sum;
    }
    for (size_t i = 1; i + n_stages - 1 <= n; i++) {
        sum += costs[i - 1];
        double rest = best_of(costs + i, n - i, n_stages - 1);
        double most = sum > rest ? sum : rest;
        best = most < best ? most : best;
    }
    return best;
}

static void no_cut_is_better(void **state)
{
    (void)state;
    struct dinm_error err = {0};
    for (uint64_t seed = 0; seed < 200; seed++) {
        double costs[9];
        size_t first[10], n = 1 + seed % 9;
        float *random = normals(9, 1.0, seed);
        for (size_t i = 0; i < n; i++) {
            costs[i] = seed % 3 == 0 ? 1.0 : fabs((double)random[i]) + (i + 1 == n ? 3.0 : 0.0);
        }
        for (size_t n_stages = 1; n_stages <= n; n_stages++) {
            assert_ok(dinm_cut_evenly(first, costs, n, n_stages, &err), &err);
            assert_int_equal(first[0], 0);
            assert_int_equal(first[n_stages], n);
            double best = best_of(costs, n, n_stages);
            assert_true(dearest(first, costs, n_stages) <= best * (1.0 + 1e-9));
        }
        free(random);
    }
}

static void equal_layers_are_cut_equally(void **state)
{
    (void)state;
    struct dinm_error err = {0};
    for (size_t n = 1; n < 20; n++) {
        for (size_t n_stages = 1; n_stages <= n; n_stages++) {
            size_t first[21];
            assert_ok(dinm_cut_equally(first, n, n_stages, &err), &err);
            assert_int_equal(first[0], 0);
            assert_int_equal(first[n_stages], n);
            for (size_t i = 0; i < n_stages; i++) {
                const size_t n_own = first[i + 1] - first[i];
                assert_true(n_own == n / n_stages || n_own == (n + n_stages - 1) / n_stages);
            }
        }
    }
    size_t first[4];
    assert_failed(dinm_cut_equally(first, 2, 3, &err), DINM_USAGE, &err,
                  "stages is 3, but the model has only 2 layers");
}

static void more_stages_than_layers_are_refused(void **state)
{
    (void)state;
    struct dinm_error err = {0};
    const double costs[] = {1.0, 2.0};
    size_t first[4];
    assert_failed(dinm_cut_evenly(first, costs, 2, 3, &err), DINM_USAGE, &err,
                  "stages is 3, but the model has only 2 layers");
}

static void the_given_cut_is_taken_or_refused(void **state)
{
    (void)state;
    struct dinm_error err = {0}, few = {0}, less = {0};
    const int64_t layers[] = {3, 1, 2};
    size_t first[4] = {9, 9, 9, 9};
    assert_ok(dinm_cut_given(first, layers, 3, 6, 3, &err), &err);
    assert_int_equal(first[0], 0);
    assert_int_equal(first[1], 3);
    assert_int_equal(first[2], 4);
    assert_int_equal(first[3], 6);
    assert_failed(dinm_cut_given(first, layers, 2, 4, 3, &few), DINM_USAGE, &few,
                  "expected the layers of each of 3 stages (run.stages), found 2 numbers");
    assert_failed(dinm_cut_given(first, layers, 3, 7, 3, &less), DINM_USAGE, &less,
                  "sum is the model's 7 layers, found a sum of 6");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_cut_is_better),
        cmocka_unit_test(equal_layers_are_cut_equally),
        cmocka_unit_test(more_stages_than_layers_are_refused),
        cmocka_unit_test(the_given_cut_is_taken_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
