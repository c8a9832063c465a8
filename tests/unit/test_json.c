/* io/json reading: what JSON is, what it is not, and what we refuse although it is. */
#include "faults.h"
#include "io/file.h"
#include "io/json.h"
#include <time.h>

static const char suite[] = DINM_SOURCE_DIR "/../shared/data/json/JSONTestSuite/test_parsing";

static int parse(const char *text, cJSON **tree, struct dinm_error *err)
{
    return dinm_json_parse("here", text, strlen(text), tree, err);
}

static void expect_refused(const char *text, const char *part)
{
    struct dinm_error err = {0};
    cJSON *tree = NULL;

    assert_failed(parse(text, &tree, &err), DINM_FAILED, &err, part);
    assert_null(tree);
}

static cJSON *expect_tree(const char *text)
{
    struct dinm_error err = {0};
    cJSON *tree = NULL;

    assert_ok(parse(text, &tree, &err), &err);
    assert_non_null(tree);
    return tree;
}

/* Valid JSON that we refuse on purpose: names that appear twice, a NUL in a name. */
static bool is_refused_on_purpose(const char *name)
{
    return strcmp(name, "y_object_duplicated_key.json") == 0 ||
           strcmp(name, "y_object_duplicated_key_and_value.json") == 0 ||
           strcmp(name, "y_object_escaped_null_in_key.json") == 0;
}

/* Where the suite leaves the choice we take numbers that lose digits or vanish, and 500 levels;
 * we refuse infinite numbers, lone surrogates, what is not UTF-8, and a byte-order mark. */
static bool is_accepted_by_choice(const char *name)
{
    static const char *const accepted[] = {
        "i_number_double_huge_neg_exp.json",   "i_number_real_underflow.json",
        "i_number_too_big_neg_int.json",       "i_number_too_big_pos_int.json",
        "i_number_very_big_negative_int.json", "i_structure_500_nested_arrays.json"};

    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        if (strcmp(name, accepted[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Counts the files of a kind, y or n, that are JSON. */
static void count_any(const char *path, char kind, size_t n_taken[2])
{
    struct dinm_buffer text = {0};
    struct dinm_error err = {0};
    cJSON *tree = NULL;

    assert_ok(dinm_file_read(path, &text, &err), &err);
    if (dinm_json_parse_any(path, text.data, text.n_bytes, &tree, &err) == DINM_OK) {
        n_taken[0] += kind == 'y';
        n_taken[1] += kind == 'n';
    }
    cJSON_Delete(tree);
    dinm_buffer_free(&text);
}

static void public_suite(void **state)
{
    DIR *dir = opendir(suite);
    struct dirent *entry;
    size_t n = 0, n_taken[2] = {0};

    (void)state;
    if (dir == NULL) {
        print_message("SKIPPED: %s is not there\n", suite);
        skip();
    }
    while ((entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        const bool wanted = (name[0] == 'y' && !is_refused_on_purpose(name)) ||
                            (name[0] == 'i' && is_accepted_by_choice(name));
        struct dinm_error err = {0};
        cJSON *tree = NULL;
        char *path;
        int status;

        if (strlen(name) < 2 || name[1] != '_') {
            continue;
        }
        path = dinm_path_join(suite, name, &err);
        status = dinm_json_load(path, &tree, &err);
        if ((status == DINM_OK) != wanted) {
            fail_msg("%s: status %d: %s", name, status, err.text);
        }
        assert_true(status == DINM_OK || strstr(err.text, path) != NULL);
        cJSON_Delete(tree);
        count_any(path, name[0], n_taken);
        free(path);
        n++;
    }
    closedir(dir);
    assert_true(n > 300);
    print_message("of the suite's files %zu y_ and %zu n_ are taken as JSON\n", n_taken[0],
                  n_taken[1]);
    assert_int_equal(n_taken[0], 95);
    assert_int_equal(n_taken[1], 0);
}

/* What is JSON, but could be taken for something else. */
static void any_names_on_request(void **state)
{
    static const char twice[] = "{\"a\": 1, \"a\": [2]}", nul[] = "{\"a\\u0000b\": 1}";
    struct dinm_error err = {0};
    cJSON *tree = NULL;

    (void)state;
    assert_failed(dinm_json_parse("here", twice, strlen(twice), &tree, &err), DINM_FAILED, &err,
                  "the name 'a' appears a second time");
    err = (struct dinm_error){0};
    assert_failed(dinm_json_parse("here", nul, strlen(nul), &tree, &err), DINM_FAILED, &err,
                  "a name contains the character");
    err = (struct dinm_error){0};
    assert_ok(dinm_json_parse_any("here", twice, strlen(twice), &tree, &err), &err);
    assert_int_equal(cJSON_GetArraySize(tree), 2);
    assert_true(tree->child->valuedouble == 1.0 && cJSON_IsArray(tree->child->next));
    cJSON_Delete(tree);
    assert_ok(dinm_json_parse_any("here", nul, strlen(nul), &tree, &err), &err);
    assert_string_equal(tree->child->string, "a\xEF\xBF\xBD"
                                             "b");
    cJSON_Delete(tree);
}

static void refusals_say_where(void **state)
{
    static const char *const rows[][2] = {
        {"", "here: line 1, column 1: expected a value, found the end of the text"},
        {"[1,\n  2,\n  x]", "line 3, column 3: expected a value, found x"},
        {"\"\xC3\xA9\xF0\x9F\x98\x80\" x", "line 1, column 6"},
        {"{\"a\" 1}", "expected a colon behind the name, found 1"},
        {"{\"a\":1 \"b\":2}", "expected a comma or }"},
        {"[1 2]", "expected a comma or ], found 2"},
        {"{a:1}", "expected a name in quotes"},
        {"[1] []", "expected nothing behind the value, found ["},
        {"01", "a number begins with a needless zero"},
        {"-", "expected a digit"},
        {"1.", "expected a digit"},
        {"1e+", "expected a digit"},
        {"1e400", "the number is too large for a double"},
        {"-1e400", "the number is too large for a double"},
        {"\"\\x\"", "behind a backslash"},
        {"\"\\u12g4\"", "four hexadecimal digits, found g"},
        {"\"\\ud800\"", "half of a surrogate pair"},
        {"\"\\udc00\"", "half of a surrogate pair"},
        {"\"\\ud800\\ud800\"", "half of a surrogate pair"},
        {"\"\xED\xA0\x80\"", "not valid UTF-8"},
        {"\"\xC0\x80\"", "not valid UTF-8"},
        {"\"a\nb\"", "control characters"},
        {"\"abc", "the closing quote"},
        {"\"abc\\", "behind a backslash, found the end"},
        {"\xEF\xBB\xBF{}", "byte-order mark"},
        {"{\"a\\u0000b\":1}", "a name contains the character"},
        {"nul", "expected a value"},
        {"trUe", "expected a value"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        expect_refused(rows[i][0], rows[i][1]);
    }
}

static void names_appear_once_per_object(void **state)
{
    static const char *const refused[] = {"{\"a\":1,\"a\":1}", "{\"a\":1,\"b\":2,\"\\u0061\":3}",
                                          "[{\"x\":{\"\":1,\"\":2}}]", "{\"\\/\":1,\"/\":2}",
                                          "{\"\xF0\x9F\x98\x80\":1,\"\\ud83d\\ude00\":2}"};
    static const char *const accepted[] = {"{\"a\":{\"a\":{\"a\":1}},\"A\":2}",
                                           "[{\"a\":1},{\"a\":1}]",
                                           "{\"a\":{\"b\":1},\"b\":{\"a\":2}}", "{\"\":1,\" \":2}"};

    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        expect_refused(refused[i], "appears a second time");
    }
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        cJSON_Delete(expect_tree(accepted[i]));
    }
    /* The first name that repeats is the one reported. */
    expect_refused("{\"a\":1,\"b\":2,\n\"b\":3,\n\"a\":4}", "line 2, column 1: the name 'b'");
}

/* 200,000 names: quadratic work would take minutes, above all in cJSON's own lookup. */
static void many_names_are_fast(void **state)
{
    struct dinm_buffer text = {0};
    struct dinm_error err = {0};
    cJSON *tree = NULL;
    const clock_t start = clock();

    (void)state;
    assert_int_equal(dinm_buffer_append_text(&text, "{\"first\":0", NULL), DINM_OK);
    for (int i = 0; i < 200000; i++) {
        assert_int_equal(dinm_buffer_append_format(&text, NULL, ",\"name%d\":%d", i, i), DINM_OK);
    }
    assert_int_equal(dinm_buffer_append_text(&text, "}", NULL), DINM_OK);
    assert_ok(dinm_json_parse("names", text.data, text.n_bytes, &tree, &err), &err);
    assert_int_equal(cJSON_GetArraySize(tree), 200001);
    cJSON_Delete(tree);
    tree = NULL;
    text.n_bytes--;
    assert_int_equal(dinm_buffer_append_text(&text, ",\"name77777\":0}", NULL), DINM_OK);
    assert_failed(dinm_json_parse("names", text.data, text.n_bytes, &tree, &err), DINM_FAILED, &err,
                  "'name77777' appears a second time");
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 20.0);
    dinm_buffer_free(&text);
}

static void nesting_stops_at_512(void **state)
{
    char text[2 * 513 + 1];

    (void)state;
    for (size_t depth = 512; depth <= 513; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        text[2 * depth] = '\0';
        if (depth == 512) {
            cJSON_Delete(expect_tree(text));
        } else {
            expect_refused(text, "column 513: values are nested more than 512 deep");
        }
    }
}

static void expect_number(const char *text, double wanted)
{
    cJSON *tree = expect_tree(text);

    assert_true(cJSON_IsNumber(tree));
    assert_memory_equal(&tree->valuedouble, &wanted, sizeof wanted);
    cJSON_Delete(tree);
}

static void numbers_are_exact(void **state)
{
    (void)state;
    expect_number("0", 0.0);
    expect_number("-0", -0.0);
    expect_number("-0.0", -0.0);
    expect_number("123456789012345", 123456789012345.0);
    expect_number("-99999999999999", -99999999999999.0);
    expect_number("9007199254740991", 9007199254740991.0);
    expect_number("18446744073709551615", 18446744073709551615.0);
    expect_number("1.7976931348623157e308", 1.7976931348623157e308);
    expect_number("5e-324", 0x1p-1074);
    expect_number("1e-400", 0.0);
    expect_number("0.1", 0.1);
    expect_number("1E+2", 100.0);
    /* cJSON alone would stop behind the 63rd character. */
    expect_number("0.00000000000000000000000000000000000000000000000000000000000000000000012345",
                  12345e-74);
    expect_number("1000000000000000000000000000000000000000000000000000000000000000000000", 1e69);
}

static void texts_are_unescaped(void **state)
{
    static const char *const rows[][2] = {
        {"\"\"", ""},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"a\\u00e9\\u20AC\\ud83d\\ude00z\"", "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z"},
        {"\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"},
        {"\"a\\u0000b\"", "a\xEF\xBF\xBD"
                          "b"},
        {"\"\\udbff\\udfff\"", "\xF4\x8F\xBF\xBF"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cJSON *tree = expect_tree(rows[i][0]);

        assert_string_equal(tree->valuestring, rows[i][1]);
        cJSON_Delete(tree);
    }
}

static const char sample[] =
    " {\"text\": \"h\\u00e9\\n\", \"list\": [1, -2.5e3, true, false, null, \"\", {}, []],"
    " \"inner\": {\"deep\": [[{\"x\": \"\xF0\x9F\x98\x80\"}]], \"\": 0}}\t\r\n";

static void tree_has_the_right_shape(void **state)
{
    cJSON *tree = expect_tree(sample);
    const cJSON *list = dinm_json_find(tree, "list");
    const cJSON *inner = dinm_json_find(tree, "inner");

    (void)state;
    assert_string_equal(dinm_json_find(tree, "text")->valuestring, "h\xC3\xA9\n");
    assert_int_equal(cJSON_GetArraySize(list), 8);
    assert_true(cJSON_GetArrayItem(list, 1)->valuedouble == -2500.0);
    assert_true(cJSON_IsTrue(cJSON_GetArrayItem(list, 2)));
    assert_true(cJSON_IsFalse(cJSON_GetArrayItem(list, 3)));
    assert_true(cJSON_IsNull(cJSON_GetArrayItem(list, 4)));
    assert_true(cJSON_IsObject(cJSON_GetArrayItem(list, 6)));
    assert_true(cJSON_IsArray(cJSON_GetArrayItem(list, 7)));
    assert_non_null(dinm_json_find(inner, ""));
    assert_int_equal(cJSON_GetArraySize(inner), 2);
    cJSON_Delete(tree);
}

/* No beginning of an object is JSON. Each is in a block of its own size for the sanitizer. */
static void every_truncation_is_refused(void **state)
{
    (void)state;
    for (size_t n = 0; n < strlen(sample) - 3; n++) {
        struct dinm_error err = {0};
        cJSON *tree = NULL;
        char *part = malloc(n > 0 ? n : 1);

        memcpy(part, sample, n);
        assert_failed(dinm_json_parse("part", part, n, &tree, &err), DINM_FAILED, &err, "part: ");
        assert_null(tree);
        free(part);
    }
}

static int parse_sample(void *context, struct dinm_error *err)
{
    cJSON *tree = NULL;
    const int status = parse(context, &tree, err);

    assert_true((tree != NULL) == (status == DINM_OK));
    cJSON_Delete(tree);
    return status;
}

static void lack_of_memory_is_an_error(void **state)
{
    char text[] =
        "{\"a\":[1,\"b\\n\",{\"c\":null,\"d\":true}],\"e\":0.123456789012345678,\"f\":{}}";

    (void)state;
    fault_cjson();
    fail_each_allocation(parse_sample, text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(public_suite),
        cmocka_unit_test(any_names_on_request),
        cmocka_unit_test(refusals_say_where),
        cmocka_unit_test(names_appear_once_per_object),
        cmocka_unit_test(many_names_are_fast),
        cmocka_unit_test(nesting_stops_at_512),
        cmocka_unit_test(numbers_are_exact),
        cmocka_unit_test(texts_are_unescaped),
        cmocka_unit_test(tree_has_the_right_shape),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(lack_of_memory_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
