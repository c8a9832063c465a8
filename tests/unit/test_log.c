/* io/log: one line per call, tagged with the rank, cut to nothing by the level. */
#include "support.h"
#include "io/log.h"

/* What `say` writes to stderr; free it. */
static char *capture(void (*say)(void))
{
    struct dinm_buffer text = {0};
    FILE *file = tmpfile();
    const int saved = dup(STDERR_FILENO);
    char part[512];
    size_t n;

    assert_non_null(file);
    assert_true(saved >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    say();
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    rewind(file);
    assert_int_equal(dinm_buffer_append(&text, NULL, 0, NULL), DINM_OK);
    while ((n = fread(part, 1, sizeof part, file)) > 0) {
        assert_int_equal(dinm_buffer_append(&text, part, n, NULL), DINM_OK);
    }
    fclose(file);
    return text.data;
}

static void say_three(void)
{
    dinm_log(DINM_LOG_ERROR, "bad %d", 1);
    dinm_log(DINM_LOG_NOTICE, "note");
    dinm_log(DINM_LOG_DEBUG, "detail\nin two lines");
}

static void say_long(void)
{
    char text[5000];

    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    dinm_log(DINM_LOG_ERROR, "%s", text);
}

static void expect(void (*say)(void), const char *wanted)
{
    char *found = capture(say);

    assert_string_equal(found, wanted);
    free(found);
}

static void level_decides(void **state)
{
    (void)state;
    expect(say_three, "bad 1\nnote\n");
    dinm_log_set_level(DINM_LOG_ERROR);
    expect(say_three, "bad 1\n");
    dinm_log_set_level(DINM_LOG_DEBUG);
    expect(say_three, "bad 1\nnote\ndetail?in two lines\n");
    dinm_log_set_level(DINM_LOG_NOTICE);
}

static void rank_is_shown_unless_0(void **state)
{
    (void)state;
    dinm_log_set_rank(12);
    expect(say_three, "[rank 12] bad 1\n[rank 12] note\n");
    dinm_log_set_rank(0);
}

static void long_line_is_whole(void **state)
{
    char *found = capture(say_long);

    (void)state;
    assert_int_equal(strlen(found), 5000);
    assert_int_equal(strspn(found, "x"), 4999);
    assert_int_equal(found[4999], '\n');
    free(found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(level_decides),
        cmocka_unit_test(rank_is_shown_unless_0),
        cmocka_unit_test(long_line_is_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
