/* The settings as a whole: job files, printing, digest, the check on combinations, lack of memory.
 */
#include "faults.h"
#include "io/json.h"
#include "pipeline/settings_table.h"

static void start(struct dinm_settings *s, enum dinm_profile profile)
{
    struct dinm_error err = {0};
    assert_int_equal(dinm_settings_init(s, profile, &err), DINM_OK);
}

static int apply(struct dinm_settings *s, const char *json, const char *base,
                 struct dinm_error *err)
{
    cJSON *tree = NULL;
    assert_int_equal(dinm_json_parse("test", json, strlen(json), &tree, err), DINM_OK);
    int status = dinm_settings_apply_tree(s, tree, "job.json", base, err);
    cJSON_Delete(tree);
    return status;
}

static void job_file_is_applied(void **state)
{
    (void)state;
    struct dinm_settings s;
    struct dinm_error err = {0};
    start(&s, DINM_PROFILE_PAPER);
    assert_int_equal(
        apply(&s,
              "{\"profile\": \"paper\", \"train\": {\"x\": 1}, \"origins\": {}, \"sweep\": 1,"
              " \"model\": {\"path\": \"m/llama\"}, \"judge\": {\"path\": \"refusal\"},"
              " \"cases\": {\"path\": \"/c.json\", \"ids\": null},"
              " \"edit\": {\"lr\": 1e-3, \"save\": true}, \"run\": null}",
              "/base", &err),
        DINM_OK);
    assert_string_equal(s.model.path, "/base/m/llama");
    assert_string_equal(s.judge.path, "refusal");
    assert_string_equal(s.cases.path, "/c.json");
    assert_true(s.edit.lr == 1e-3);
    assert_true(s.edit.save);
    for (size_t r = 0; r < dinm_settings_n_rows; r++) {
        const char *key = dinm_settings_table[r].key;
        bool set = strcmp(key, "model.path") == 0 || strcmp(key, "judge.path") == 0 ||
                   strcmp(key, "cases.path") == 0 || strcmp(key, "edit.lr") == 0 ||
                   strcmp(key, "edit.save") == 0 || strcmp(key, "profile") == 0;
        assert_int_equal(s.origins[r], set ? DINM_FROM_JOB : DINM_FROM_DEFAULT);
    }
    dinm_settings_free(&s);
}

static void assert_job_refused(const char *json, const char *sentence)
{
    struct dinm_settings s;
    struct dinm_error err = {0};
    start(&s, DINM_PROFILE_PAPER);
    assert_int_equal(apply(&s, json, "/base", &err), DINM_USAGE);
    assert_string_equal(err.text, sentence);
    dinm_settings_free(&s);
}

static void wrong_job_files_are_refused(void **state)
{
    (void)state;
    assert_job_refused("[]", "job.json: expected an object, found an array");
    assert_job_refused("{\"edit\": 5}", "job.json: edit: expected an object, found the number 5");
    assert_job_refused("{\"edit\": {\"stpes\": 5}}",
                       "job.json: there is no setting \"edit.stpes\"; the nearest is "
                       "\"edit.steps\"");
    assert_job_refused("{\"edit\": {\"lr\": \"high\"}}",
                       "job.json: edit.lr: expected a number from 0 to 1000, found \"high\"");
    assert_job_refused("{\"edits\": {\"lr\": 1}}",
                       "job.json: there is no setting \"edits.lr\"; the nearest is \"edit.lr\"");
    assert_job_refused("{\"edit.lr\": 1}",
                       "job.json: write \"edit\": {\"lr\": ...} instead of \"edit.lr\"");
    assert_job_refused("{\"jugde\": {}}",
                       "job.json: there is no setting \"jugde\"; the nearest is \"judge\"");
    assert_job_refused("{\"profiel\": 1}",
                       "job.json: there is no setting \"profiel\"; the nearest is \"profile\"");
}

static void printed_settings_read_back(void **state)
{
    (void)state;
    struct dinm_settings s, again;
    struct dinm_error err = {0};
    struct dinm_buffer text = {0}, second = {0};
    start(&s, DINM_PROFILE_EASYEDIT);
    start(&again, DINM_PROFILE_EASYEDIT);
    assert_int_equal(dinm_settings_apply_text(&s, "edit.lr", "0.1", &err), DINM_OK);
    assert_int_equal(dinm_settings_apply_text(&s, "prompt.template", "chatml", &err), DINM_OK);
    assert_int_equal(dinm_settings_apply_text(&s, "locate.layers", "[2]", &err), DINM_OK);
    assert_int_equal(dinm_settings_print(&s, true, true, &text, &err), DINM_OK);
    assert_non_null(strstr(text.data, "\"edit.lr\": \"command\""));
    assert_non_null(strstr(text.data, "\"edit.labels\": \"profile\""));
    assert_non_null(strstr(text.data, "\"edit.steps\": \"default\""));
    assert_int_equal(apply(&again, text.data, NULL, &err), DINM_OK);
    text.n_bytes = 0;
    assert_int_equal(dinm_settings_print(&s, false, true, &text, &err), DINM_OK);
    assert_int_equal(dinm_settings_print(&again, false, true, &second, &err), DINM_OK);
    assert_string_equal(text.data, second.data);
    dinm_buffer_free(&text);
    dinm_buffer_free(&second);
    dinm_settings_free(&s);
    dinm_settings_free(&again);
}

static void run_settings_can_be_left_out(void **state)
{
    (void)state;
    struct dinm_settings s;
    struct dinm_error err = {0};
    struct dinm_buffer text = {0};
    cJSON *tree = NULL;
    start(&s, DINM_PROFILE_PAPER);
    assert_int_equal(dinm_settings_print(&s, true, false, &text, &err), DINM_OK);
    assert_null(strstr(text.data, "run"));
    assert_non_null(strstr(text.data, "\"archive.dtype\": \"default\""));
    assert_int_equal(dinm_json_parse("print", text.data, text.n_bytes, &tree, &err), DINM_OK);
    cJSON_Delete(tree);
    dinm_buffer_free(&text);
    dinm_settings_free(&s);
}

static uint64_t digest(const struct dinm_settings *s)
{
    uint64_t d = 0;
    struct dinm_error err = {0};
    assert_int_equal(dinm_settings_digest(s, &d, &err), DINM_OK);
    return d;
}

/* Every setting that decides results changes the digest; paths and run.* do not. */
static void digest_follows_the_results(void **state)
{
    (void)state;
    static const char *const other[][2] = {
        {"true", "false"},        {"false", "true"},   {"[]", "[1]"},
        {"{prompt}", "chatml"},   {"dinm", "none"},    {"adam", "sgd"},
        {"right", "left"},        {"every", "first"},  {"edited_base", "base_edited"},
        {"predict", "last"},      {"target", "alone"}, {"greedy", "sample"},
        {"tokens", "characters"}, {"all", "none"},     {"last", "mean"},
        {"f16", "f32"},           {"0", "0.25"},       {"1", "0.5"},
        {"f32", "bf16"},
    };
    struct dinm_settings s;
    struct dinm_error err = {0};
    for (size_t r = 0; r < dinm_settings_n_rows; r++) {
        const struct dinm_setting *row = &dinm_settings_table[r];
        if (strcmp(row->key, "profile") == 0) {
            continue; /* acts through others */
        }
        const char *value = row->kind == DINM_KIND_NUMBER ? "0.25" : "17";
        for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
            bool whole = row->kind == DINM_KIND_INT;
            value = !whole && strcmp(row->paper, other[i][0]) == 0 ? other[i][1] : value;
        }
        start(&s, DINM_PROFILE_PAPER);
        uint64_t before = digest(&s);
        assert_int_equal(dinm_settings_apply_text(&s, row->key, value, &err), DINM_OK);
        bool free_of_it = row->kind == DINM_KIND_PATH || strncmp(row->key, "run.", 4) == 0;
        if (free_of_it != (digest(&s) == before)) {
            fail_msg("%s = %s", row->key, value);
        }
        dinm_settings_free(&s);
    }
}

static void assert_check(const char *key, const char *value, const char *sentence)
{
    struct dinm_settings s;
    struct dinm_error err = {0};
    start(&s, DINM_PROFILE_PAPER);
    assert_int_equal(dinm_settings_apply_text(&s, "model.path", "/m", &err), DINM_OK);
    assert_int_equal(dinm_settings_apply_text(&s, "judge.path", "/j", &err), DINM_OK);
    assert_int_equal(dinm_settings_apply_text(&s, "cases.path", "/c", &err), DINM_OK);
    assert_int_equal(dinm_settings_check(&s, &err), DINM_OK);
    assert_int_equal(dinm_settings_apply_text(&s, key, value, &err), DINM_OK);
    assert_int_equal(dinm_settings_check(&s, &err), sentence != NULL ? DINM_USAGE : DINM_OK);
    assert_string_equal(err.text, sentence != NULL ? sentence : "");
    dinm_settings_free(&s);
}

static void whole_is_checked(void **state)
{
    (void)state;
    assert_check("model.path", "",
                 "no language model is given: set model.path in the job file or "
                 "use --model DIR");
    assert_check("judge.path", "",
                 "no safety classifier is given: set judge.path in the job file "
                 "or use --judge DIR");
    assert_check("cases.path", "",
                 "no case file is given: set cases.path in the job file or use "
                 "--cases FILE");
    assert_check("run.out", "",
                 "no output folder is given: set run.out in the job file or use --out DIR");
    assert_check("generate.temperature", "0.5",
                 "generate.temperature needs generate.decoding sample, which is not set");
    assert_check("generate.top_p", "0.5",
                 "generate.top_p needs generate.decoding sample, which is not set");
    assert_check("generate.top_p", "1", NULL);
    assert_check("edit.method", "none", NULL);
    assert_check("edit.save", "true", NULL);
    assert_check("edit.accumulate", "true", "edit.accumulate is not built yet");
    assert_check("judge.path", "refusal", NULL);
}

static void edits_cannot_be_saved_without_a_method(void **state)
{
    (void)state;
    static const char *const sets[][2] = {{"model.path", "/m"},
                                          {"judge.path", "/j"},
                                          {"cases.path", "/c"},
                                          {"edit.method", "prompt_only"},
                                          {"edit.save", "true"}};
    struct dinm_settings s;
    struct dinm_error err = {0};
    start(&s, DINM_PROFILE_PAPER);
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        assert_int_equal(dinm_settings_apply_text(&s, sets[i][0], sets[i][1], &err), DINM_OK);
    }
    assert_int_equal(dinm_settings_check(&s, &err), DINM_USAGE);
    assert_string_equal(err.text,
                        "edit.save needs a method that changes weights (edit.method dinm or ft_l)");
    dinm_settings_free(&s);
}

/* A path of the command line is taken from the current folder. */
static void paths_become_absolute(void **state)
{
    (void)state;
    struct dinm_settings s;
    struct dinm_error err = {0};
    char here[4096], expected[4200];
    assert_non_null(getcwd(here, sizeof here));
    start(&s, DINM_PROFILE_PAPER);
    assert_int_equal(dinm_settings_apply_text(&s, "model.path", "m", &err), DINM_OK);
    snprintf(expected, sizeof expected, "%s/m", here);
    assert_string_equal(s.model.path, expected);
    dinm_settings_free(&s);
}

static void description_names_every_setting(void **state)
{
    (void)state;
    struct dinm_buffer text = {0};
    struct dinm_error err = {0};
    assert_int_equal(dinm_settings_describe(&text, &err), DINM_OK);
    const char *at = text.data;
    for (size_t r = 0; r < dinm_settings_n_rows; r++) {
        at = strstr(at, dinm_settings_table[r].key);
        assert_non_null(at);
        assert_non_null(strstr(at, dinm_settings_table[r].meaning));
    }
    assert_non_null(strstr(text.data, "default right, profile easyedit: left\n"));
    dinm_buffer_free(&text);
}

/* Everything that can run out of memory. */
static int use_settings(void *context, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_settings s = {0};
    struct dinm_buffer text = {0};
    uint64_t d = 0;
    const cJSON *tree = context;
    TRY(dinm_settings_init(&s, DINM_PROFILE_EASYEDIT, err));
    TRY(dinm_settings_apply_tree(&s, tree, "job.json", "/base", err));
    TRY(dinm_settings_apply_text(&s, "locate.layers", "[1,2]", err));
    TRY(dinm_settings_apply_text(&s, "model.path", "/m", err));
    TRY(dinm_settings_check(&s, err));
    TRY(dinm_settings_print(&s, true, true, &text, err));
    TRY(dinm_settings_describe(&text, err));
    TRY(dinm_settings_digest(&s, &d, err));
out:
    dinm_buffer_free(&text);
    dinm_settings_free(&s);
    return status;
}

static void lack_of_memory_is_said(void **state)
{
    (void)state;
    static const char json[] =
        "{\"profile\": \"easyedit\", \"model\": {\"path\": \"m\"}, \"judge\": "
        "{\"path\": \"j\"}, \"cases\": {\"path\": \"c\"},"
        " \"locate\": {\"layers\": [3]}, \"edit\": {\"target_prefix\": \"\"}}";
    struct dinm_error err = {0};
    cJSON *tree = NULL;
    fault_cjson();
    assert_int_equal(dinm_json_parse("test", json, strlen(json), &tree, &err), DINM_OK);
    fail_each_allocation(use_settings, tree);
    cJSON_Delete(tree);
    cJSON_InitHooks(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(job_file_is_applied),
        cmocka_unit_test(wrong_job_files_are_refused),
        cmocka_unit_test(printed_settings_read_back),
        cmocka_unit_test(run_settings_can_be_left_out),
        cmocka_unit_test(digest_follows_the_results),
        cmocka_unit_test(whole_is_checked),
        cmocka_unit_test(edits_cannot_be_saved_without_a_method),
        cmocka_unit_test(paths_become_absolute),
        cmocka_unit_test(description_names_every_setting),
        cmocka_unit_test(lack_of_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
