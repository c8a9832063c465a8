/* io/status: one sentence, the first one wins, and no byte of it can hurt a terminal. */
#include "support.h"
#include <errno.h>

static void first_failure_wins(void **state)
{
    struct dinm_error err = {0};

    (void)state;
    assert_int_equal(dinm_fail(&err, DINM_FAILED, "first %d", 1), DINM_FAILED);
    assert_int_equal(dinm_fail(&err, DINM_USAGE, "second"), DINM_USAGE);
    assert_int_equal(err.status, DINM_FAILED);
    assert_string_equal(err.text, "first 1");
    assert_int_equal(dinm_fail(NULL, DINM_STOPPED, "nobody listens"), DINM_STOPPED);
}

static void control_characters_are_shown(void **state)
{
    struct dinm_error err = {0};

    (void)state;
    /* U+009B in UTF-8 and as a lone byte both start a terminal's escape sequence. */
    dinm_fail(&err, DINM_FAILED, "%s",
              "a\nb\x1b[2J\x7f"
              "c\xC2\x9B"
              "d\x9B"
              "e\xC3\xA9");
    assert_string_equal(err.text, "a?b?[2J?c?d?e\xC3\xA9");
}

static void long_sentence_ends_at_a_character(void **state)
{
    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        struct dinm_error err = {0};
        char text[2048] = "";

        for (size_t i = 0; i < shift; i++) {
            strcat(text, "x");
        }
        while (strlen(text) < 1500) {
            strcat(text, "\xF0\x9F\x98\x80");
        }
        dinm_fail(&err, DINM_FAILED, "%s", text);
        assert_int_equal(strlen(err.text), shift + (sizeof err.text - 1 - shift) / 4 * 4);
        assert_memory_equal(err.text, text, strlen(err.text));
    }
}

static void system_error_names_call_and_path(void **state)
{
    struct dinm_error err = {0};

    (void)state;
    assert_int_equal(dinm_fail_errno(&err, ENOENT, "cannot open", "/a/b"), DINM_FAILED);
    assert_string_equal(err.text, "cannot open /a/b: No such file or directory");
}

static int third_step_fails(int *steps)
{
    int status;

    TRY(DINM_OK);
    ++*steps;
    TRY(DINM_STOPPED);
    ++*steps;
out:
    return status;
}

static void try_leaves_through_out(void **state)
{
    int steps = 0;

    (void)state;
    assert_int_equal(third_step_fails(&steps), DINM_STOPPED);
    assert_int_equal(steps, 1);
    assert_true(DINM_USAGE < DINM_FAILED && DINM_FAILED < DINM_STOPPED && DINM_STOPPED < DINM_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_failure_wins),
        cmocka_unit_test(control_characters_are_shown),
        cmocka_unit_test(long_sentence_ends_at_a_character),
        cmocka_unit_test(system_error_names_call_and_path),
        cmocka_unit_test(try_leaves_through_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
