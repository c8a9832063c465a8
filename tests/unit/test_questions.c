/* io/questions: questions with at least one answer each. */
#include "faults.h"
#include "io/cases.h"

static const char good[] = "[{\"question\":\"What floats?\",\"answers\":[\"wood\",\"cork\"]},"
                           "{\"question\":\"What sinks?\",\"answers\":[\"iron\"],\"id\":1}]";

static void questions_are_read(void **state)
{
    struct dinm_questions q = {0};
    struct dinm_error err = {0};

    (void)state;
    assert_ok(dinm_questions_parse(&q, "q.json", good, strlen(good), &err), &err);
    assert_int_equal(q.n_questions, 2);
    assert_string_equal(q.questions[0].question, "What floats?");
    assert_int_equal(q.questions[0].n_answers, 2);
    assert_string_equal(q.questions[0].answers[1], "cork");
    assert_string_equal(q.questions[1].question, "What sinks?");
    assert_int_equal(q.questions[1].n_answers, 1);
    assert_string_equal(q.questions[1].answers[0], "iron");
    dinm_questions_free(&q);
    dinm_questions_free(&q);
    dinm_questions_free(NULL);
}

static void gaps_are_refused(void **state)
{
    static const char *const rows[][2] = {
        {"{}", "expected an array of questions, found an object"},
        {"[]", "expected an array of questions, found an empty one"},
        {"[3]", "record 1: expected an object with the key 'question'"},
        {"[{\"answers\":[\"a\"]}]", "record 1: key 'question': expected a string, found nothing"},
        {"[{\"question\":\"q\"}]", "key 'answers': expected an array, found nothing"},
        {"[{\"question\":\"q\",\"answers\":\"a\"}]", "expected an array, found the string"},
        {"[{\"question\":\"q\",\"answers\":{\"a\":\"b\"}}]", "expected an array, found an object"},
        {"[{\"question\":\"\",\"answers\":[\"a\"]}]", "must not be empty"},
        {"[{\"question\":\"q\",\"answers\":[]}]", "must not be empty"},
        {"[{\"question\":\"q\",\"answers\":[\"a\"]},{\"question\":\"q\",\"answers\":[\"a\",\"\"]}]",
         "record 2: 'answers' must hold strings that are not empty"},
        {"[{\"question\":\"q\",\"answers\":[\"a\",1]}]", "found the number 1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dinm_questions q = {0};
        struct dinm_error err = {0};

        assert_failed(dinm_questions_parse(&q, "q.json", rows[i][0], strlen(rows[i][0]), &err),
                      DINM_FAILED, &err, rows[i][1]);
        assert_null(q.questions);
        assert_null(q.tree);
    }
}

static int load(void *context, struct dinm_error *err)
{
    struct dinm_questions q = {0};
    const int status = dinm_questions_load(&q, context, err);

    assert_int_equal(q.n_questions, status == DINM_OK ? 2 : 0);
    dinm_questions_free(&q);
    return status;
}

static void lack_of_memory_is_an_error(void **state)
{
    char *folder = new_folder();
    char *path = write_text(folder, "q.json", good);

    (void)state;
    fault_cjson();
    fail_each_allocation(load, path);
    free(path);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions_are_read),
        cmocka_unit_test(gaps_are_refused),
        cmocka_unit_test(lack_of_memory_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
