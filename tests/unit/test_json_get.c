/* io/json getters: the right value, or a sentence with place, key, expected and found. */
#include "support.h"
#include "io/json.h"

static const char text[] =
    "{\"three\": 3, \"Three\": 33, \"half\": 0.5, \"word\": \"w\", \"yes\": true, \"no\": false,"
    " \"nothing\": null, \"list\": [1], \"map\": {\"k\": 1}, \"minus\": -7, \"one\": 1.0,"
    " \"safe\": 9007199254740991, \"unsafe\": 9007199254740992, \"next\": 9007199254740993,"
    " \"huge\": 1e300, \"long\": \"0123456789012345678901234567890123456789x\"}";

static cJSON *tree;
static struct dinm_json j = {NULL, "job.json"};

static int parse_text(void **state)
{
    (void)state;
    j.object = NULL;
    if (dinm_json_parse("text", text, strlen(text), &tree, NULL) == DINM_OK) {
        j.object = tree;
    }
    return j.object != NULL ? 0 : -1;
}

static int free_tree(void **state)
{
    (void)state;
    cJSON_Delete(tree);
    return 0;
}

static void find_minds_the_case(void **state)
{
    (void)state;
    assert_int_equal(dinm_json_find(tree, "three")->valueint, 3);
    assert_int_equal(dinm_json_find(tree, "Three")->valueint, 33);
    assert_null(dinm_json_find(tree, "THREE"));
    assert_null(dinm_json_find(tree, "nothing"));
    assert_null(dinm_json_find(NULL, "three"));
    assert_null(dinm_json_find(dinm_json_find(tree, "list"), "three"));
}

static void values_come_out(void **state)
{
    struct dinm_error err = {0};
    const cJSON *item = NULL;
    const char *word = NULL;
    double number = 0.0;
    int64_t integer = 0;
    bool flag = false;

    (void)state;
    assert_ok(dinm_json_get_int(j, "three", 3, 3, &integer, &err), &err);
    assert_int_equal(integer, 3);
    assert_ok(dinm_json_get_int(j, "minus", -7, 0, &integer, &err), &err);
    assert_int_equal(integer, -7);
    assert_ok(dinm_json_get_int(j, "one", 0, INT64_MAX, &integer, &err), &err);
    assert_int_equal(integer, 1);
    assert_ok(dinm_json_get_int(j, "safe", INT64_MIN, INT64_MAX, &integer, &err), &err);
    assert_int_equal(integer, 9007199254740991);
    assert_ok(dinm_json_get_number(j, "half", &number, &err), &err);
    assert_true(number == 0.5);
    assert_ok(dinm_json_get_text(j, "word", &word, &err), &err);
    assert_string_equal(word, "w");
    assert_ok(dinm_json_get_bool_or(j, "yes", &flag, &err), &err);
    assert_true(flag);
    assert_ok(dinm_json_get_bool_or(j, "no", &flag, &err), &err);
    assert_false(flag);
    assert_ok(dinm_json_get_object(j, "map", &item, &err), &err);
    assert_true(cJSON_IsObject(item));
    assert_ok(dinm_json_get_array(j, "list", &item, &err), &err);
    assert_true(cJSON_IsArray(item));
}

static void defaults_stay(void **state)
{
    static const char *const absent[] = {"absent", "nothing", "THREE"};
    struct dinm_error err = {0};

    (void)state;
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        const char *word = "default";
        double number = 1.5;
        int64_t integer = 15;
        bool flag = true;

        assert_ok(dinm_json_get_int_or(j, absent[i], 0, 1, &integer, &err), &err);
        assert_ok(dinm_json_get_number_or(j, absent[i], &number, &err), &err);
        assert_ok(dinm_json_get_text_or(j, absent[i], &word, &err), &err);
        assert_ok(dinm_json_get_bool_or(j, absent[i], &flag, &err), &err);
        assert_true(integer == 15 && number == 1.5 && flag);
        assert_string_equal(word, "default");
    }
}

static void expect_int_refused(const char *key, int64_t low, int64_t high, const char *sentence)
{
    struct dinm_error err = {0};
    int64_t out = 42;

    assert_failed(dinm_json_get_int(j, key, low, high, &out, &err), DINM_FAILED, &err, sentence);
    assert_int_equal(out, 42);
    err = (struct dinm_error){0};
    if (dinm_json_find(tree, key) != NULL) {
        assert_failed(dinm_json_get_int_or(j, key, low, high, &out, &err), DINM_FAILED, &err,
                      sentence);
        assert_int_equal(out, 42);
    }
}

static void integers_are_integers(void **state)
{
    (void)state;
    expect_int_refused(
        "three", 4, 9,
        "job.json: key 'three': expected an integer from 4 to 9, found the number 3");
    expect_int_refused("three", -9, 2, "found the number 3");
    expect_int_refused("half", 0, INT64_MAX, "of at least 0 and below 2^53, found the number 0.5");
    expect_int_refused("word", 0, 1, "found the string \"w\"");
    expect_int_refused("absent", 0, 1, "found nothing");
    expect_int_refused("nothing", 0, 1, "found nothing");
    expect_int_refused("yes", 0, 1, "found true");
    /* 2^53 may have been 2^53 + 1 in the file. */
    expect_int_refused("unsafe", INT64_MIN, INT64_MAX,
                       "below 2^53 in size, found the number 900719");
    expect_int_refused("next", INT64_MIN, INT64_MAX, "below 2^53");
    expect_int_refused("huge", INT64_MIN, INT64_MAX, "found the number 1e+300");
}

static void wrong_types_are_named(void **state)
{
    struct dinm_error err[8] = {{0}};
    const cJSON *item = NULL;
    const char *word = "kept";
    double number = 1.5;
    bool flag = true;

    (void)state;
    assert_failed(dinm_json_get_number(j, "word", &number, &err[0]), DINM_FAILED, &err[0],
                  "key 'word': expected a number, found the string");
    assert_failed(dinm_json_get_number_or(j, "yes", &number, &err[1]), DINM_FAILED, &err[1],
                  "key 'yes': expected a number, found true");
    assert_failed(dinm_json_get_text(j, "three", &word, &err[2]), DINM_FAILED, &err[2],
                  "expected a string, found the number 3");
    assert_failed(dinm_json_get_text_or(j, "list", &word, &err[3]), DINM_FAILED, &err[3],
                  "expected a string, found an array");
    assert_failed(dinm_json_get_bool_or(j, "three", &flag, &err[4]), DINM_FAILED, &err[4],
                  "expected true or false, found the number 3");
    assert_failed(dinm_json_get_object(j, "list", &item, &err[5]), DINM_FAILED, &err[5],
                  "expected an object, found an array");
    assert_failed(dinm_json_get_array(j, "map", &item, &err[6]), DINM_FAILED, &err[6],
                  "expected an array, found an object");
    assert_failed(dinm_json_get_text(j, "nothing", &word, &err[7]), DINM_FAILED, &err[7],
                  "expected a string, found nothing");
    assert_true(number == 1.5 && flag && item == NULL);
    assert_string_equal(word, "kept");
}

/* Asking something that is no object for a member is never fine, default or not. */
static void no_object_has_no_members(void **state)
{
    const struct dinm_json list = {dinm_json_find(tree, "list"), "here"};
    const struct dinm_json none = {NULL, "there"};
    struct dinm_error err[4] = {{0}};
    const char *word = NULL;
    int64_t integer = 0;
    bool flag = false;

    (void)state;
    assert_failed(dinm_json_get_int_or(list, "k", 0, 1, &integer, &err[0]), DINM_FAILED, &err[0],
                  "here: expected an object with the key 'k', found an array");
    assert_failed(dinm_json_get_text_or(none, "k", &word, &err[1]), DINM_FAILED, &err[1],
                  "there: expected an object with the key 'k', found nothing");
    assert_failed(dinm_json_get_bool_or(none, "k", &flag, &err[2]), DINM_FAILED, &err[2],
                  "expected an object");
    assert_failed(dinm_json_get_text(list, "k", &word, &err[3]), DINM_FAILED, &err[3],
                  "expected an object");
}

static void values_are_described(void **state)
{
    static const char *const rows[][2] = {{"three", "the number 3"},
                                          {"half", "the number 0.5"},
                                          {"word", "the string \"w\""},
                                          {"yes", "true"},
                                          {"no", "false"},
                                          {"list", "an array"},
                                          {"map", "an object"},
                                          {"absent", "nothing"},
                                          {"long", "a string of 41 bytes"}};
    char room[64];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_string_equal(dinm_json_describe(dinm_json_find(tree, rows[i][0]), room), rows[i][1]);
    }
    assert_string_equal(dinm_json_describe(cJSON_GetObjectItemCaseSensitive(tree, "nothing"), room),
                        "null");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(find_minds_the_case),   cmocka_unit_test(values_come_out),
        cmocka_unit_test(defaults_stay),         cmocka_unit_test(integers_are_integers),
        cmocka_unit_test(wrong_types_are_named), cmocka_unit_test(no_object_has_no_members),
        cmocka_unit_test(values_are_described),
    };

    return cmocka_run_group_tests(tests, parse_text, free_tree);
}
