/* Unit tests of pipeline/cut.h, held against a search through all cuts. */
#include <math.h>
#include "numbers.h"
#include "faults.h"
#include "pipeline/cut.h"

enum { N_MOST = 9 };

static double dearest(const size_t *first, const double *costs, size_t n_stages)
{
    double most = 0.0;

    for (size_t s = 0; s < n_stages; s++) {
        double sum = 0.0;

        for (size_t i = first[s]; i < first[s + 1]; i++) {
            sum += costs[i];
        }
        most = fmax(most, sum);
    }
    return most;
}

/* The cheapest dearest stage among all cuts of costs[begin, n) into n_stages. */
static double best_of_all(const double *costs, size_t begin, size_t n, size_t n_stages)
{
    double best = HUGE_VAL, sum = 0.0;

    if (n_stages == 1) {
        for (size_t i = begin; i < n; i++) {
            sum += costs[i];
        }
        return sum;
    }
    for (size_t end = begin + 1; end + n_stages - 1 <= n; end++) {
        sum += costs[end - 1];
        best = fmin(best, fmax(sum, best_of_all(costs, end, n, n_stages - 1)));
    }
    return best;
}

static void check_bounds(const size_t *first, size_t n, size_t n_stages)
{
    assert_int_equal(first[0], 0);
    assert_int_equal(first[n_stages], n);
    for (size_t s = 0; s < n_stages; s++) {
        assert_true(first[s] < first[s + 1]);
    }
}

/* Whole numbers, so that sums are exact in any order. */
static void every_cut_is_a_best_one(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        size_t n = 1 + pick(seed, 0, N_MOST);
        double costs[N_MOST];

        for (size_t i = 0; i < n; i++) {
            costs[i] = (double)pick(seed, 1 + i, seed % 3 == 0 ? 3 : 40);
        }
        for (size_t n_stages = 1; n_stages <= n; n_stages++) {
            size_t first[N_MOST + 1];
            struct dinm_error err = {0};

            assert_ok(dinm_cut_evenly(first, costs, n, n_stages, &err), &err);
            check_bounds(first, n, n_stages);
            assert_true(dearest(first, costs, n_stages) == best_of_all(costs, 0, n, n_stages));
        }
    }
}

static void fewer_layers_than_stages_is_refused(void **state)
{
    const double costs[3] = {1.0, 1.0, 1.0};
    size_t first[5] = {9, 9, 9, 9, 9};
    struct dinm_error err = {0};

    (void)state;
    assert_failed(dinm_cut_evenly(first, costs, 3, 4, &err), DINM_USAGE, &err, "only 3 layers");
    assert_int_equal(first[0], 9);
}

/* A vocabulary that costs as much as layers do takes layers from the last stage. */
static void the_head_counts_for_the_last_stage(void **state)
{
    struct dinm_config c = {.n_layers = 8,
                            .d_model = 16,
                            .n_heads = 2,
                            .n_kv_heads = 1,
                            .d_head = 8,
                            .d_ff = 32,
                            .n_vocab = 10};
    const size_t layer = 2 * 16 * (16 + 8) + 3 * 16 * 32;
    size_t first[9];
    struct dinm_error err = {0};

    (void)state;
    assert_ok(dinm_cut_layers(first, &c, 2, &err), &err);
    assert_int_equal(first[1], 4);
    c.n_vocab = 4 * layer / 16; /* as dear as four layers */
    assert_ok(dinm_cut_layers(first, &c, 2, &err), &err);
    assert_int_equal(first[1], 6);
    c.n_vocab = 100 * layer;
    for (size_t n_stages = 2; n_stages <= 8; n_stages++) {
        assert_ok(dinm_cut_layers(first, &c, n_stages, &err), &err);
        check_bounds(first, 8, n_stages);
        assert_int_equal(first[n_stages - 1], 7); /* it has one layer and the head */
    }
    assert_failed(dinm_cut_layers(first, &c, 9, &err), DINM_USAGE, &err, "run.stages is 9");
}

static int cut(void *context, struct dinm_error *err)
{
    size_t first[4];

    return dinm_cut_layers(first, context, 3, err);
}

static void memory_may_run_out(void **state)
{
    struct dinm_config c = {.n_layers = 5, .d_model = 4, .d_ff = 4};

    (void)state;
    fail_each_allocation(cut, &c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_is_a_best_one),
        cmocka_unit_test(fewer_layers_than_stages_is_refused),
        cmocka_unit_test(the_head_counts_for_the_last_stage),
        cmocka_unit_test(memory_may_run_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
