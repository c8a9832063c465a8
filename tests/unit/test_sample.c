/* model/sample: the choice, its frequencies, and that it depends on its coordinates alone. */
#include "numbers.h"
#include "model/sample.h"

enum { N = 8, N_DRAWS = 40000 };
/* Probabilities 0.4, 0.2, 0.2, 0.1, 0.05, 0.05, 0 and 0, in a mixed order. */
static const double probabilities[N] = {0.05, 0.2, 0.0, 0.4, 0.2, 0.1, 0.0, 0.05};

static void fill_logits(float logits[N])
{
    for (size_t i = 0; i < N; i++) {
        logits[i] = probabilities[i] > 0.0 ? (float)log(probabilities[i]) + 3.0f : -INFINITY;
    }
}

static void test_greedy(void **state)
{
    const struct dinm_sampler greedy = {.temperature = 0.0, .top_p = 1.0};
    const float ties[5] = {1.0f, 7.0f, 3.0f, 7.0f, 7.0f}, holes[3] = {NAN, -1.0f, -2.0f};

    (void)state;
    assert_int_equal(dinm_sample(ties, &greedy, 0, 0, NULL, 5), 1);
    assert_int_equal(dinm_sample(ties, &greedy, 9, 9, NULL, 1), 0);
    assert_int_equal(dinm_sample(holes, &greedy, 0, 0, NULL, 3), 0);
}

/* Draws many times; each id's frequency must be within 5 deviations of `expected`. */
static void check_frequencies(const struct dinm_sampler *s, const double expected[N])
{
    float logits[N], room[N];
    size_t counts[N] = {0};

    fill_logits(logits);
    for (uint64_t i = 0; i < N_DRAWS; i++) {
        const int32_t id = dinm_sample(logits, s, i % 7, i / 7, room, N);

        assert_in_range(id, 0, N - 1);
        counts[id]++;
    }
    for (size_t i = 0; i < N; i++) {
        const double deviation = sqrt(N_DRAWS * expected[i] * (1.0 - expected[i]));

        assert_near((double)counts[i], N_DRAWS * expected[i], 5.0 * deviation);
    }
}

static void test_frequencies(void **state)
{
    const double all[N] = {0.05, 0.2, 0.0, 0.4, 0.2, 0.1, 0.0, 0.05};
    const double two[N] = {0.0, 1.0 / 3.0, 0.0, 2.0 / 3.0, 0.0, 0.0, 0.0, 0.0};
    const double four[N] = {0.0, 2.0 / 9.0, 0.0, 4.0 / 9.0, 2.0 / 9.0, 1.0 / 9.0, 0.0, 0.0};
    const double first[N] = {0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0};
    /* squares of `all`, which sum to 0.255 */
    const double cold[N] = {0.0025 / 0.255, 0.04 / 0.255, 0.0, 0.16 / 0.255,
                            0.04 / 0.255,   0.01 / 0.255, 0.0, 0.0025 / 0.255};

    (void)state;
    check_frequencies(&(struct dinm_sampler){1.0, 1.0, 0, 1}, all);
    check_frequencies(&(struct dinm_sampler){1.0, 1.0, 100, 2}, all);
    check_frequencies(&(struct dinm_sampler){0.5, 1.0, 0, 3}, cold);
    check_frequencies(&(struct dinm_sampler){1.0, 1.0, 2, 4}, two); /* of equals the lower id */
    check_frequencies(&(struct dinm_sampler){1.0, 0.55, 0, 5}, two);
    check_frequencies(&(struct dinm_sampler){1.0, 0.85, 0, 6}, four);
    check_frequencies(&(struct dinm_sampler){1.0, 1e-9, 0, 7}, first);
    check_frequencies(&(struct dinm_sampler){1.0, 1.0, 1, 8}, first);
    /* top_p is a share of what top_k left: 0.6 of (0.4, 0.2) needs one, 0.7 needs both. */
    check_frequencies(&(struct dinm_sampler){1.0, 0.6, 2, 9}, first);
    check_frequencies(&(struct dinm_sampler){1.0, 0.7, 2, 10}, two);
}

/* The same coordinates give the same token; another seed, stream or position another sequence. */
static void test_coordinates(void **state)
{
    enum { LENGTH = 200 };
    float *logits = normals(1000, 1.0, 1), *room = zeros(1000);
    const struct dinm_sampler a = {1.0, 0.9, 0, 1}, b = {1.0, 0.9, 0, 2};
    int32_t first[LENGTH];
    size_t n_equal[3] = {0};

    (void)state;
    for (uint64_t i = 0; i < LENGTH; i++) {
        first[i] = dinm_sample(logits, &a, 5, i, room, 1000);
    }
    for (uint64_t i = LENGTH; i-- > 0;) {
        assert_int_equal(dinm_sample(logits, &a, 5, i, room, 1000), first[i]);
        n_equal[0] += dinm_sample(logits, &b, 5, i, room, 1000) == first[i];
        n_equal[1] += dinm_sample(logits, &a, 6, i, room, 1000) == first[i];
        n_equal[2] += dinm_sample(logits, &a, 5, i + 1, room, 1000) == first[i];
    }
    for (size_t i = 0; i < 3; i++) {
        assert_true(n_equal[i] < LENGTH / 4);
    }
    free(logits);
    free(room);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_frequencies),
        cmocka_unit_test(test_coordinates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
