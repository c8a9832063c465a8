/* Numbering of equal texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "pipeline/distinct.h"

static void keeps_order_of_first_use(void **state)
{
    (void)state;
    const char *texts[] = {"b", "a", "b", "", "a", "c", ""};
    size_t number[7], first[7], n_distinct = 0;
    struct dinm_error err = {0};
    assert_int_equal(dinm_distinct(texts, 7, number, first, &n_distinct, &err), DINM_OK);
    const size_t numbers[] = {0, 1, 0, 2, 1, 3, 2};
    const size_t firsts[] = {0, 1, 3, 5};
    assert_int_equal(n_distinct, 4);
    assert_memory_equal(number, numbers, sizeof numbers);
    assert_memory_equal(first, firsts, sizeof firsts);
}

static void takes_nothing(void **state)
{
    (void)state;
    size_t n_distinct = 9;
    struct dinm_error err = {0};
    assert_int_equal(dinm_distinct(NULL, 0, NULL, NULL, &n_distinct, &err), DINM_OK);
    assert_int_equal(n_distinct, 0);
}

/* Many texts, few distinct: each text is numbered like its first occurrence. */
static void agrees_with_pairwise_comparison(void **state)
{
    (void)state;
    static const char *const words[] = {"x", "xy", "xyz", "y", "X"};
    enum { N = 500 };
    const char *texts[N];
    size_t number[N], first[N], n_distinct = 0;
    uint32_t seed = 7;
    struct dinm_error err = {0};
    for (size_t i = 0; i < N; i++) {
        seed = seed * 1664525U + 1013904223U;
        texts[i] = words[(seed >> 16) % 5];
    }
    assert_int_equal(dinm_distinct(texts, N, number, first, &n_distinct, &err), DINM_OK);
    assert_int_equal(n_distinct, 5);
    for (size_t i = 0; i < N; i++) {
        size_t j = 0;
        while (texts[j] != texts[i]) {
            j++;
        }
        assert_int_equal(number[i], number[j]);
        assert_int_equal(first[number[i]], j);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order_of_first_use),
        cmocka_unit_test(takes_nothing),
        cmocka_unit_test(agrees_with_pairwise_comparison),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
