/* report.html: every tag closed, nothing fetched, no text of a case becomes markup. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "pipeline/html.h"
#include "tests/unit/results_example.h"

/* Follows all tags of the page: each must be one that the report uses, closed in order, without
 * anything that runs or loads. Returns the number of tags. */
static size_t check_tags(const char *page)
{
    char stack[64][16];
    size_t depth = 0, n = 0;
    for (const char *at = page; (at = strchr(at, '<')) != NULL;) {
        const char *end = strchr(at, '>');
        char name[16] = "", tag[2048] = "";
        assert_non_null(end);
        assert_true((size_t)(end - at) < sizeof tag);
        memcpy(tag, at + 1, (size_t)(end - at - 1));
        assert_null(strstr(tag, "http:"));
        assert_null(strstr(tag, "https:"));
        assert_null(strstr(tag, "src="));
        assert_null(strstr(tag, " on"));
        bool closing = tag[0] == '/';
        sscanf(tag + closing, "%15[a-z0-9!]", name);
        assert_true(strcmp(name, "script") != 0 && name[0] != '\0');
        bool lone = tag[strlen(tag) - 1] == '/' || !strcmp(name, "meta") || name[0] == '!';
        if (closing) {
            assert_true(depth > 0);
            assert_string_equal(stack[depth - 1], name);
            depth--;
        } else if (!lone) {
            assert_true(depth < 64);
            strcpy(stack[depth++], name);
        }
        at = end;
        n++;
    }
    assert_int_equal(depth, 0);
    return n;
}

static size_t count(const char *page, const char *part)
{
    size_t n = 0;
    for (; (page = strstr(page, part)) != NULL; page++) {
        n++;
    }
    return n;
}

static char *write_page(struct example *e)
{
    struct dinm_error err = {0};
    int status = dinm_html_write(&e->results, e->folder, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(status, DINM_OK);
    return example_read(e, "report.html");
}

static void page_of_example(void **state)
{
    (void)state;
    struct example e;
    assert_int_equal(example_open(&e, NULL), DINM_OK);
    char *page = write_page(&e);
    assert_true(check_tags(page) > 300);
    /* 7 answers, 2 prompts, one category in two places, one of them with a title */
    assert_int_equal(count(page, "&lt;/p&gt;&lt;script&gt;alert(&quot;1 &amp; 2&quot;)"),
                     7 + 2 + 3);
    assert_int_equal(count(page, "&#39;q&#39; | `c` *b* \xef\xbf\xbd\xef\xbf\xbd\n"), 7 + 2 + 3);
    assert_int_equal(count(page, "<script"), 0);
    assert_int_equal(count(page, "<details id=\"case-"), 3);
    assert_int_equal(count(page, "too &lt;long&gt; | &quot;text&quot;"), 1);
    assert_int_equal(count(page, ". Judged by the classifier a&lt;b|c.</p>"), 1);
    assert_int_equal(count(page, "<title>&lt;tiny&gt; - dinm_pipeline</title>"), 1);
    assert_int_equal(count(page, "edit.lr"), 1);
    assert_int_equal(count(page, "nan"), 0);
    assert_int_equal(count(page, "inf"), 0);
    free(page);
    example_close(&e);
}

static void page_without_numbers(void **state)
{
    (void)state;
    struct example e;
    assert_int_equal(example_open(&e, NULL), DINM_OK);
    e.results.cases = &e.cases[2];
    e.results.n_cases = 1;
    char *page = write_page(&e);
    check_tags(page);
    assert_int_equal(count(page, "nan"), 0);
    free(page);
    e.results.n_cases = 0;
    page = write_page(&e);
    check_tags(page);
    free(page);
    example_close(&e);
}

static void equal_input_gives_equal_bytes(void **state)
{
    (void)state;
    struct example a, b;
    assert_int_equal(example_open(&a, NULL), DINM_OK);
    assert_int_equal(example_open(&b, NULL), DINM_OK);
    char *x = write_page(&a), *y = write_page(&b);
    assert_string_equal(x, y);
    free(x);
    free(y);
    example_close(&a);
    example_close(&b);
}

static void no_such_folder(void **state)
{
    (void)state;
    struct example e;
    struct dinm_error err = {0};
    assert_int_equal(example_open(&e, NULL), DINM_OK);
    assert_int_equal(dinm_html_write(&e.results, "/no/such/folder", &err), DINM_FAILED);
    assert_non_null(strstr(err.text, "/no/such/folder/report.html"));
    example_close(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(page_of_example),
        cmocka_unit_test(page_without_numbers),
        cmocka_unit_test(equal_input_gives_equal_bytes),
        cmocka_unit_test(no_such_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
