/* Scores, result files and page with the first, second, ... allocation or system call failing. */
#include "faults.h"
#include "pipeline/html.h"
#include "tests/unit/results_example.h"

static int write_all(void *context, struct dinm_error *err)
{
    struct example *e = context;
    struct dinm_buffer table = {0};
    int status = DINM_OK;
    TRY(dinm_results_score(&e->results, err));
    TRY(dinm_results_write(&e->results, e->folder, err));
    TRY(dinm_html_write(&e->results, e->folder, err));
    TRY(dinm_results_print(&e->results, &table, err));
out:
    dinm_buffer_free(&table);
    return status;
}

static int score_answer(void *context, struct dinm_error *err)
{
    const char *const answers[] = {"Rome", "Paris"};
    bool right = false;
    (void)context;
    return dinm_kqa_right("The answer is Paris", answers, 2, &right, err);
}

static void each_allocation(void **state)
{
    (void)state;
    struct example e;
    struct dinm_error err = {0};
    fault_cjson();
    assert_ok(example_open(&e, &err), &err);
    fail_each_allocation(write_all, &e);
    fail_each_allocation(score_answer, NULL);
    example_close(&e);
}

/* A file is there whole or not at all, and no draft stays behind. */
static void each_system_call(void **state)
{
    (void)state;
    struct example e;
    struct dinm_error err = {0};
    assert_ok(example_open(&e, &err), &err);
    /* open, write, fsync, close, rename, and the folder's open, fsync, close, whose failure alone
     * does no harm */
    bool hit = true;
    for (size_t nth = 1; hit; nth++) {
        struct dinm_error failure = {0};
        fault_set(FAULT_SYSTEM, nth);
        int status = write_all(&e, &failure);
        hit = fault_end();
        if (hit && nth % 8 != 0) {
            assert_failed(status, DINM_FAILED, &failure, e.folder);
        } else {
            assert_ok(status, &failure);
        }
        assert_true(count_names(e.folder) <= 5);
        assert_true(hit == (nth <= 5 * 8));
    }
    assert_int_equal(count_names(e.folder), 5);
    example_close(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation),
        cmocka_unit_test(each_system_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
