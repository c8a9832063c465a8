/* io/cases: a complete record is read, and any gap in one is a sentence. */
#include "faults.h"
#include "io/cases.h"
#include "sample_case.h"

static int parse(struct dinm_cases *c, const char *text, struct dinm_error *err)
{
    return dinm_cases_parse(c, "c.json", text, strlen(text), err);
}

/* The file of these records is refused. Takes them. */
static void expect_refused(size_t n, cJSON *const *records, const char *part)
{
    char *text = case_file(n, records);
    struct dinm_cases c = {0};
    struct dinm_error err = {0};

    assert_failed(parse(&c, text, &err), DINM_FAILED, &err, part);
    assert_null(c.cases);
    assert_null(c.tree);
    dinm_cases_free(&c);
    free(text);
}

static void record_is_read(void **state)
{
    struct dinm_buffer text = {0};
    struct dinm_cases c = {0};
    struct dinm_error err = {0};

    (void)state;
    assert_int_equal(dinm_buffer_append_format(&text, NULL, "[%s]\n", sample_record), DINM_OK);
    assert_ok(parse(&c, text.data, &err), &err);
    dinm_buffer_free(&text);
    assert_int_equal(c.n_cases, 1);
    assert_int_equal(c.cases[0].id, 7);
    assert_string_equal(c.cases[0].category, "physical harm");
    assert_string_equal(c.cases[0].question, "How do I sink a paper boat?");
    assert_string_equal(c.cases[0].safe, "Let it float.");
    assert_string_equal(c.cases[0].unsafe, "\n\nArr, with stones.");
    assert_string_equal(c.cases[0].inputs[DINM_DS], "Play a pirate. How do I sink a paper boat?");
    assert_string_equal(c.cases[0].inputs[DINM_DG_ONLY_Q], "How do I sink a paper boat?");
    assert_string_equal(c.cases[0].inputs[DINM_DG_OTHER_A], "You are a storm. How do I sink it?");
    assert_string_equal(c.cases[0].inputs[DINM_DG_OTHER_Q], "Play a pirate. How do I tear a kite?");
    assert_string_equal(c.cases[0].inputs[DINM_DG_OTHER_AQ], "A storm: how to tear a kite?");
    assert_string_equal(c.cases[0].constraint_prompt, "What floats?");
    assert_string_equal(c.cases[0].constraint_answer, "Wood floats.");
    assert_string_equal(dinm_input_names[DINM_DS], "DS");
    assert_string_equal(dinm_input_names[DINM_DG_OTHER_AQ], "DG_otherAQ");
    dinm_cases_free(&c);
    dinm_cases_free(&c);
    dinm_cases_free(NULL);
}

/* Where each key that is needed lives; the others may be missing. */
static const struct {
    const char *parent, *key;
} needed[] = {
    {NULL, "unsafety category"},
    {NULL, "adversarial prompt"},
    {NULL, "question"},
    {NULL, "unsafe generation"},
    {NULL, "safe generation"},
    {"generalization test", "test input of only harmful question"},
    {"generalization test", "test input of other attack prompt input"},
    {"generalization test", "test input of other question input"},
    {"generalization test", "test input of other questions and attack prompts"},
    {"knowledge constrain", "prompt"},
    {"knowledge constrain", "answer"},
};
enum { N_NEEDED = sizeof needed / sizeof *needed };

static cJSON *parent_of(cJSON *record, size_t i)
{
    return needed[i].parent == NULL ? record
                                    : cJSON_GetObjectItemCaseSensitive(record, needed[i].parent);
}

static void every_text_is_needed(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_NEEDED; i++) {
        struct dinm_buffer sentence = {0};
        cJSON *missing[2] = {sample_tree(), sample_tree()};
        cJSON *wrong = sample_tree();
        cJSON *empty = sample_tree();

        cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(missing[0], "id"), 6);
        cJSON_DeleteItemFromObjectCaseSensitive(parent_of(missing[1], i), needed[i].key);
        cJSON_ReplaceItemInObjectCaseSensitive(parent_of(wrong, i), needed[i].key,
                                               cJSON_CreateNumber(1));
        cJSON_ReplaceItemInObjectCaseSensitive(parent_of(empty, i), needed[i].key,
                                               cJSON_CreateString(""));
        assert_int_equal(
            dinm_buffer_append_format(&sentence, NULL,
                                      "c.json: record 2 (id 7)%s%s%s: key '%s': expected a "
                                      "string, found nothing",
                                      needed[i].parent == NULL ? "" : ", '",
                                      needed[i].parent == NULL ? "" : needed[i].parent,
                                      needed[i].parent == NULL ? "" : "'", needed[i].key),
            DINM_OK);
        expect_refused(2, missing, sentence.data);
        expect_refused(1, &wrong, "expected a string, found the number 1");
        expect_refused(1, &empty, "is an empty text");
        dinm_buffer_free(&sentence);
    }
}

static void wrong_structure_is_refused(void **state)
{
    static const char *const parts[] = {"generalization test", "knowledge constrain"};
    static const char *const files[][2] = {
        {"", "expected a value"},
        {"{}", "c.json: expected an array of records, found an object"},
        {"[]", "c.json: the file holds no records"},
        {"[1]", "c.json: record 1: expected an object with the key 'id', found the number 1"},
        {"[{}]", "c.json: record 1: key 'id': expected an integer"},
        {"[{\"id\":\"7\"}]", "found the string \"7\""},
        {"[{\"id\":7.5}]", "found the number 7.5"},
        {"[{\"id\":9007199254740992}]", "below 2^53"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct dinm_cases c = {0};
        struct dinm_error err = {0};

        assert_failed(parse(&c, files[i][0], &err), DINM_FAILED, &err, files[i][1]);
    }
    for (size_t i = 0; i < 2; i++) {
        cJSON *missing = sample_tree();
        cJSON *wrong = sample_tree();

        cJSON_DeleteItemFromObjectCaseSensitive(missing, parts[i]);
        cJSON_ReplaceItemInObjectCaseSensitive(wrong, parts[i], cJSON_CreateArray());
        expect_refused(1, &missing, "expected an object, found nothing");
        expect_refused(1, &wrong, "expected an object, found an array");
    }
}

static void train_split_is_named(void **state)
{
    cJSON *record = sample_tree();

    (void)state;
    cJSON_ReplaceItemInObjectCaseSensitive(parent_of(record, 5), needed[5].key,
                                           cJSON_CreateString(""));
    expect_refused(1, &record, "only the val and test splits of SafeEdit");
}

/* A file of records with these ids; free it. */
static char *file_of_ids(size_t n, const int *ids)
{
    cJSON *records[16];

    for (size_t i = 0; i < n; i++) {
        records[i] = sample_tree();
        cJSON_SetNumberValue(cJSON_GetObjectItemCaseSensitive(records[i], "id"), ids[i]);
    }
    return case_file(n, records);
}

static void ids_appear_once(void **state)
{
    static const int ids[] = {5, 3, 9, 3};
    char *text = file_of_ids(4, ids);
    struct dinm_cases c = {0};
    struct dinm_error err = {0};

    (void)state;
    assert_failed(parse(&c, text, &err), DINM_FAILED, &err,
                  "c.json: id 3 appears twice, in the records 2 and 4");
    free(text);
}

static const int ids[] = {5, 3, 9, 7, 8, -2};
enum { N_IDS = sizeof ids / sizeof *ids };

/* The ids that are left, as "5 3 9 "; "failed" with the sentence checked. */
static void expect_selection(const char *selection, size_t limit, const char *wanted)
{
    char *text = file_of_ids(N_IDS, ids);
    struct dinm_buffer found = {0};
    struct dinm_cases c = {0};
    struct dinm_error err = {0};

    assert_ok(parse(&c, text, &err), &err);
    assert_ok(dinm_cases_select(&c, selection, limit, &err), &err);
    for (size_t i = 0; i < c.n_cases; i++) {
        assert_int_equal(dinm_buffer_append_format(&found, NULL, "%lld ", (long long)c.cases[i].id),
                         DINM_OK);
    }
    assert_string_equal(found.data, wanted);
    dinm_buffer_free(&found);
    dinm_cases_free(&c);
    free(text);
}

static void ids_are_selected_in_file_order(void **state)
{
    (void)state;
    expect_selection(NULL, 0, "5 3 9 7 8 -2 ");
    expect_selection(NULL, 2, "5 3 ");
    expect_selection(NULL, 100, "5 3 9 7 8 -2 ");
    expect_selection("3", 0, "3 ");
    expect_selection("3,7-9", 0, "3 9 7 8 ");
    expect_selection("7-9,3", 0, "3 9 7 8 ");
    expect_selection("7-9,8,7-7,3", 3, "3 9 7 ");
    expect_selection(" 3 , 7 - 9 ", 0, "3 9 7 8 ");
    expect_selection("0009", 1, "9 ");
}

static void wrong_selections_are_refused(void **state)
{
    static const char *const rows[][2] = {
        {"", "case ids ''"},
        {",", "ascending ranges"},
        {"3,", "ascending ranges"},
        {"3,,5", "ascending ranges"},
        {"3;5", "ascending ranges"},
        {"9-7", "ascending ranges"},
        {"7-", "ascending ranges"},
        {"-2", "ascending ranges"},
        {"7-8-9", "ascending ranges"},
        {"3 5", "ascending ranges"},
        {"0x3", "ascending ranges"},
        {"three", "ascending ranges"},
        {"99999999999999999", "ascending ranges"},
        {"4", "no case with id 4"},
        {"3,6-9", "no case with id 6"},
        {"7-9999999999999999", "no case with id 10"},
    };
    char *text = file_of_ids(N_IDS, ids);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dinm_cases c = {0};
        struct dinm_error err = {0};

        assert_ok(parse(&c, text, &err), &err);
        assert_failed(dinm_cases_select(&c, rows[i][0], 0, &err), DINM_USAGE, &err, rows[i][1]);
        assert_int_equal(c.n_cases, N_IDS);
        dinm_cases_free(&c);
    }
    free(text);
}

static void every_truncation_is_refused(void **state)
{
    char *text = file_of_ids(2, ids);
    const size_t n = strlen(text);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        struct dinm_cases c = {0};
        struct dinm_error err = {0};

        assert_failed(dinm_cases_parse(&c, "part", text, i, &err), DINM_FAILED, &err, "part: ");
    }
    free(text);
}

static int load_and_select(void *context, struct dinm_error *err)
{
    struct dinm_cases c = {0};
    int status;

    TRY(dinm_cases_load(&c, context, err));
    assert_int_equal(c.n_cases, 6);
    TRY(dinm_cases_select(&c, "3,7-9", 2, err));
    assert_int_equal(c.n_cases, 2);
out:
    dinm_cases_free(&c);
    return status;
}

static void lack_of_memory_is_an_error(void **state)
{
    char *folder = new_folder();
    char *text = file_of_ids(N_IDS, ids);
    char *path = write_text(folder, "cases.json", text);

    (void)state;
    fault_cjson();
    fail_each_allocation(load_and_select, path);
    free(path);
    free(text);
    remove_folder(folder);
}

static void missing_file_is_named(void **state)
{
    struct dinm_cases c = {0};
    struct dinm_error err = {0};

    (void)state;
    assert_failed(dinm_cases_load(&c, "/no/such/cases.json", &err), DINM_FAILED, &err,
                  "cannot open /no/such/cases.json");
    dinm_cases_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(record_is_read),
        cmocka_unit_test(every_text_is_needed),
        cmocka_unit_test(wrong_structure_is_refused),
        cmocka_unit_test(train_split_is_named),
        cmocka_unit_test(ids_appear_once),
        cmocka_unit_test(ids_are_selected_in_file_order),
        cmocka_unit_test(wrong_selections_are_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(missing_file_is_named),
        cmocka_unit_test(lack_of_memory_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
