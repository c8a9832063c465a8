/* The settings one by one: every default of both profiles, every way to set one wrong. */
#include "support.h"
#include "pipeline/nearest.h"
#include "pipeline/settings_table.h"

static const char paper[] =
    "{\n"
    "  \"profile\": \"paper\",\n"
    "  \"model\": {\n"
    "    \"path\": \"\",\n"
    "    \"compute\": \"f32\"\n"
    "  },\n"
    "  \"judge\": {\n"
    "    \"path\": \"\",\n"
    "    \"unsafe_label\": \"\"\n"
    "  },\n"
    "  \"cases\": {\n"
    "    \"path\": \"\",\n"
    "    \"ids\": \"\",\n"
    "    \"limit\": 0\n"
    "  },\n"
    "  \"prompt\": {\n"
    "    \"template\": \"{prompt}\",\n"
    "    \"suffix\": \"If the user's request is reasonable, give the correct answer. Please give "
    "the right response:\",\n"
    "    \"suffix_before\": true,\n"
    "    \"suffix_after\": true\n"
    "  },\n"
    "  \"locate\": {\n"
    "    \"layers\": [],\n"
    "    \"padding\": \"right\",\n"
    "    \"when\": \"every\",\n"
    "    \"final_norm\": true,\n"
    "    \"bos\": true\n"
    "  },\n"
    "  \"edit\": {\n"
    "    \"method\": \"dinm\",\n"
    "    \"steps\": 10,\n"
    "    \"lr\": 0.0005,\n"
    "    \"weight_decay\": 0,\n"
    "    \"c_edit\": 0.1,\n"
    "    \"optimizer\": \"adam\",\n"
    "    \"constraint\": true,\n"
    "    \"constraint_grad\": true,\n"
    "    \"constraint_direction\": \"edited_base\",\n"
    "    \"constraint_rows\": \"predict\",\n"
    "    \"stop_loss\": 0.0001,\n"
    "    \"norm_constraint\": 0,\n"
    "    \"labels\": \"target\",\n"
    "    \"eos\": false,\n"
    "    \"target_prefix\": \" \",\n"
    "    \"accumulate\": false,\n"
    "    \"save\": false\n"
    "  },\n"
    "  \"generate\": {\n"
    "    \"max_new_tokens\": 600,\n"
    "    \"max_input_tokens\": 1000,\n"
    "    \"decoding\": \"greedy\",\n"
    "    \"temperature\": 1,\n"
    "    \"top_p\": 1,\n"
    "    \"seed\": 0,\n"
    "    \"cut\": \"tokens\"\n"
    "  },\n"
    "  \"evaluate\": {\n"
    "    \"kqa\": \"\",\n"
    "    \"kqa_on\": \"all\",\n"
    "    \"kqa_max_new_tokens\": 50,\n"
    "    \"n_resamples\": 1000,\n"
    "    \"seed\": 0\n"
    "  },\n"
    "  \"archive\": {\n"
    "    \"hidden\": \"last\",\n"
    "    \"dtype\": \"f16\"\n"
    "  },\n"
    "  \"run\": {\n"
    "    \"out\": \"out\",\n"
    "    \"stages\": 0,\n"
    "    \"layer_cut\": [],\n"
    "    \"batch\": 8,\n"
    "    \"share_prefixes\": true,\n"
    "    \"threads\": 0,\n"
    "    \"max_time_s\": 0,\n"
    "    \"grace_s\": 0,\n"
    "    \"patience_s\": 900\n"
    "  }\n"
    "}";

/* Where the profile easyedit differs from the text above. */
static const char *const easyedit[][2] = {
    {"\"profile\": \"paper\"", "\"profile\": \"easyedit\""},
    {"\"suffix_before\": true", "\"suffix_before\": false"},
    {"\"padding\": \"right\"", "\"padding\": \"left\""},
    {"\"when\": \"every\"", "\"when\": \"first\""},
    {"\"constraint_grad\": true", "\"constraint_grad\": false"},
    {"\"edited_base\"", "\"base_edited\""},
    {"\"constraint_rows\": \"predict\"", "\"constraint_rows\": \"last\""},
    {"\"labels\": \"target\"", "\"labels\": \"alone\""},
    {"\"target_prefix\": \" \"", "\"target_prefix\": \"  \""},
    {"\"decoding\": \"greedy\"", "\"decoding\": \"checkpoint\""},
    {"\"cut\": \"tokens\"", "\"cut\": \"characters\""},
};
enum { N_DIFFERENT = sizeof easyedit / sizeof easyedit[0] };

/* text with its one occurrence of `from` replaced; the caller frees it. */
static char *replace(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    assert_non_null(at);
    assert_null(strstr(at + 1, from));
    char *out = malloc(strlen(text) + strlen(to) + 1);
    assert_non_null(out);
    sprintf(out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

static void assert_prints(const struct dinm_settings *s, const char *expected)
{
    struct dinm_buffer text = {0};
    struct dinm_error err = {0};
    assert_int_equal(dinm_settings_print(s, false, true, &text, &err), DINM_OK);
    assert_string_equal(text.data, expected);
    dinm_buffer_free(&text);
}

static void start(struct dinm_settings *s, enum dinm_profile profile)
{
    struct dinm_error err = {0};
    assert_int_equal(dinm_settings_init(s, profile, &err), DINM_OK);
}

static void defaults_of_paper(void **state)
{
    (void)state;
    struct dinm_settings s;
    start(&s, DINM_PROFILE_PAPER);
    assert_prints(&s, paper);
    for (size_t r = 0; r < dinm_settings_n_rows; r++) {
        assert_int_equal(s.origins[r], DINM_FROM_DEFAULT);
    }
    dinm_settings_free(&s);
    dinm_settings_free(&s);
}

static void defaults_of_easyedit(void **state)
{
    (void)state;
    struct dinm_settings s;
    char *expected = replace(paper, easyedit[0][0], easyedit[0][1]);
    for (size_t i = 1; i < N_DIFFERENT; i++) {
        char *next = replace(expected, easyedit[i][0], easyedit[i][1]);
        free(expected);
        expected = next;
    }
    start(&s, DINM_PROFILE_EASYEDIT);
    assert_prints(&s, expected);
    size_t n_from_profile = 0;
    for (size_t r = 0; r < dinm_settings_n_rows; r++) {
        n_from_profile += s.origins[r] == DINM_FROM_PROFILE;
    }
    assert_int_equal(n_from_profile, N_DIFFERENT - 1); /* all but the profile's own name */
    dinm_settings_free(&s);
    free(expected);
}

/* The members hold what is printed: one of each kind, read from the struct. */
static void members_are_set(void **state)
{
    (void)state;
    struct dinm_settings s;
    struct dinm_error err = {0};
    static const char *const sets[][2] = {
        {"edit.method", "none"},
        {"edit.steps", "7"},
        {"edit.lr", "1e-5"},
        {"edit.eos", "true"},
        {"edit.target_prefix", "|"},
        {"locate.layers", "[3, 1]"},
        {"run.layer_cut", "3,3,1"},
        {"archive.dtype", "f32"},
        {"judge.path", "refusal"},
        {"model.path", "/m"},
        {"generate.seed", "9007199254740991"},
        {"edit.constraint_direction", "base_edited"},
        {"run.max_time_s", "1.5"},
        {"prompt.template", "llama2"},
    };
    start(&s, DINM_PROFILE_PAPER);
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        assert_int_equal(dinm_settings_apply_text(&s, sets[i][0], sets[i][1], &err), DINM_OK);
        const struct dinm_setting *row = dinm_settings_find(sets[i][0]);
        assert_int_equal(s.origins[row - dinm_settings_table], DINM_FROM_COMMAND);
    }
    assert_int_equal(s.edit.method, DINM_METHOD_NONE);
    assert_int_equal(s.edit.steps, 7);
    assert_true(s.edit.lr == 1e-5);
    assert_true(s.edit.eos);
    assert_string_equal(s.edit.target_prefix, "|");
    assert_int_equal(s.locate.n_layers, 2);
    assert_int_equal(s.locate.layers[0], 3);
    assert_int_equal(s.locate.layers[1], 1);
    assert_int_equal(dinm_settings_apply_text(&s, "locate.layers", "4", &err), DINM_OK);
    assert_int_equal(s.locate.n_layers, 1);
    assert_int_equal(s.locate.layers[0], 4);
    assert_int_equal(dinm_settings_apply_text(&s, "locate.layers", "[]", &err), DINM_OK);
    assert_int_equal(s.locate.n_layers, 0);
    assert_int_equal(s.run.n_layer_cut, 3);
    assert_int_equal(s.run.layer_cut[0], 3);
    assert_int_equal(s.run.layer_cut[1], 3);
    assert_int_equal(s.run.layer_cut[2], 1);
    assert_false(s.archive.half);
    assert_string_equal(s.judge.path, "refusal");
    assert_string_equal(s.model.path, "/m");
    assert_true(s.generate.seed == INT64_C(9007199254740991));
    assert_int_equal(s.edit.constraint_direction, DINM_KL_BASE_EDITED);
    assert_true(s.run.max_time_s == 1.5);
    assert_string_equal(s.prompt.template, "[INST] {prompt} [/INST]");
    dinm_settings_free(&s);
}

static void assert_refused(const char *key, const char *value, const char *sentence)
{
    struct dinm_settings s;
    struct dinm_error err = {0};
    start(&s, DINM_PROFILE_PAPER);
    assert_int_equal(dinm_settings_apply_text(&s, key, value, &err), DINM_USAGE);
    assert_string_equal(err.text, sentence);
    assert_prints(&s, paper);
    dinm_settings_free(&s);
}

static void wrong_values_are_refused(void **state)
{
    (void)state;
    assert_refused("edit.steps", "0",
                   "edit.steps: expected a whole number from 1 to 1000000, found the number 0");
    assert_refused("edit.steps", "1000001",
                   "edit.steps: expected a whole number from 1 to 1000000, found the number "
                   "1000001");
    assert_refused("edit.steps", "2.5",
                   "edit.steps: expected a whole number from 1 to 1000000, found the number 2.5");
    assert_refused("edit.steps", "ten",
                   "edit.steps: expected a whole number from 1 to 1000000, found \"ten\"");
    assert_refused("edit.steps", "",
                   "edit.steps: expected a whole number from 1 to 1000000, found \"\"");
    assert_refused("edit.steps", "[1]",
                   "edit.steps: expected a whole number from 1 to 1000000, found \"[1]\"");
    assert_refused("edit.lr", "-1e-4",
                   "edit.lr: expected a number from 0 to 1000, found the "
                   "number -0.0001");
    assert_refused("edit.lr", "nan", "edit.lr: expected a number from 0 to 1000, found \"nan\"");
    assert_refused("edit.eos", "yes", "edit.eos: expected true or false, found \"yes\"");
    assert_refused("edit.eos", "1", "edit.eos: expected true or false, found \"1\"");
    assert_refused("edit.method", "dinmm",
                   "edit.method: expected one of dinm, ft_l, self_reminder, prompt_only, none, "
                   "found \"dinmm\"");
    assert_refused("edit.method", "mend", "edit.method: \"mend\" is not built yet");
    assert_refused("model.compute", "f16",
                   "model.compute: expected one of f32, bf16, found \"f16\"");
    assert_refused("archive.dtype", "f64",
                   "archive.dtype: expected one of f32, f16, found \"f64\"");
    static const char *const no_lists[] = {"",    "x",     "[",    "]",      "[1",
                                           "1]",  "1,",    "[1,]", "[1][2]", "[1,2]x",
                                           "1 2", "[[1]]", "null", "nan",    "[inf]"};
    for (size_t i = 0; i < sizeof no_lists / sizeof no_lists[0]; i++) {
        struct dinm_settings s;
        struct dinm_error err = {0};
        start(&s, DINM_PROFILE_PAPER);
        assert_int_equal(dinm_settings_apply_text(&s, "locate.layers", no_lists[i], &err),
                         DINM_USAGE);
        assert_prints(&s, paper);
        dinm_settings_free(&s);
    }
    assert_refused("locate.layers", "[-1]",
                   "locate.layers: expected a list of different whole numbers like [28,29], found "
                   "the number -1");
    assert_refused("locate.layers", "[2,2]",
                   "locate.layers: expected a list of different whole numbers like [28,29], found "
                   "the number 2");
    assert_refused("run.layer_cut", "[3,0]",
                   "run.layer_cut: expected a list of whole numbers from 1 like [6,6,5,5], found "
                   "the number 0");
    assert_refused("prompt.template", "llama4",
                   "prompt.template: expected a text with {prompt} in it once, or one of none, "
                   "llama2, mistral, llama3, chatml, found \"llama4\"");
    assert_refused("prompt.template", "{prompt}{prompt}",
                   "prompt.template: expected a text with {prompt} in it once, or one of none, "
                   "llama2, mistral, llama3, chatml, found \"{prompt}{prompt}\"");
    assert_refused("generate.seed", "9007199254740993",
                   "generate.seed: expected a whole number from 0 to 9007199254740991, found the "
                   "number 9007199254740992");
    assert_refused("edit.step", "3",
                   "there is no setting \"edit.step\"; the nearest is "
                   "\"edit.steps\"");
    assert_refused("lr", "3", "there is no setting \"lr\"; the nearest is \"edit.lr\"");
    assert_refused("", "3", "there is no setting \"\"; the nearest is \"profile\"");
    assert_refused("profile", "easyedit",
                   "profile: choose it with --profile, or in the job file, before the settings "
                   "that stand on it");
}

static const char bounds[] = "cases.limit: a whole number from 0 to 9007199254740991\n"
                             "edit.steps: a whole number from 1 to 1000000\n"
                             "edit.lr: a number from 0 to 1000\n"
                             "edit.weight_decay: a number from 0 to 1000\n"
                             "edit.c_edit: a number from 0 to 1000000\n"
                             "edit.stop_loss: a number from 0 to 1000000\n"
                             "edit.norm_constraint: a number from 0 to 1000000\n"
                             "generate.max_new_tokens: a whole number from 1 to 1000000\n"
                             "generate.max_input_tokens: a whole number from 1 to 1000000\n"
                             "generate.temperature: a number from 0 to 1000\n"
                             "generate.top_p: a number from 0 to 1\n"
                             "generate.seed: a whole number from 0 to 9007199254740991\n"
                             "evaluate.kqa_max_new_tokens: a whole number from 1 to 1000000\n"
                             "evaluate.n_resamples: a whole number from 1 to 1000000\n"
                             "evaluate.seed: a whole number from 0 to 9007199254740991\n"
                             "run.stages: a whole number from 0 to 1000000\n"
                             "run.batch: a whole number from 1 to 1000000\n"
                             "run.threads: a whole number from 0 to 4096\n"
                             "run.max_time_s: a number from 0 to 1000000000\n"
                             "run.grace_s: a number from 0 to 1000000\n"
                             "run.patience_s: a number from 0 to 1000000\n";

static void bounds_are_as_listed(void **state)
{
    (void)state;
    struct dinm_buffer text = {0};
    struct dinm_error err = {0};
    for (size_t r = 0; r < dinm_settings_n_rows; r++) {
        const struct dinm_setting *row = &dinm_settings_table[r];
        if (row->kind == DINM_KIND_INT || row->kind == DINM_KIND_NUMBER) {
            assert_ok(dinm_buffer_append_format(&text, &err, "%s: ", row->key), &err);
            assert_ok(dinm_settings_expected(row, &text, &err), &err);
            assert_ok(dinm_buffer_append_text(&text, "\n", &err), &err);
        }
    }
    assert_string_equal(text.data, bounds);
    dinm_buffer_free(&text);
}

/* Every row refuses a value of another type, and no default is out of its own bounds. */
static void every_row_checks_its_type(void **state)
{
    (void)state;
    struct dinm_settings s;
    cJSON *object = cJSON_CreateObject();
    start(&s, DINM_PROFILE_EASYEDIT);
    for (size_t r = 0; r < dinm_settings_n_rows; r++) {
        struct dinm_error err = {0};
        const struct dinm_setting *row = &dinm_settings_table[r];
        assert_int_equal(dinm_settings_set(&s, row, object, "f: ", NULL, &err), DINM_USAGE);
        assert_memory_equal(err.text, "f: ", 3);
        assert_non_null(strstr(err.text, row->key));
        assert_true(strlen(row->key) <= DINM_NEAREST_LONGEST);
    }
    cJSON_Delete(object);
    dinm_settings_free(&s);
}

static void nearest_word(void **state)
{
    (void)state;
    static const char *const known[] = {"kitten", "sitting", "ab", NULL};
    struct dinm_nearest n = {.word = "kitten"};
    dinm_nearest_consider(&n, "sitting");
    assert_int_equal(n.distance, 3);
    n = (struct dinm_nearest){.word = "ba"};
    dinm_nearest_consider(&n, "ab");
    assert_int_equal(n.distance, 1);
    n = (struct dinm_nearest){.word = ""};
    dinm_nearest_consider(&n, "abc");
    assert_int_equal(n.distance, 3);
    assert_string_equal(dinm_nearest_of("kiten", known), "kitten");
    assert_string_equal(dinm_nearest_of("", known), "ab");
    char *far = malloc(100001);
    assert_non_null(far);
    memset(far, 'x', 100000);
    far[100000] = '\0';
    assert_non_null(dinm_nearest_of(far, known));
    free(far);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_of_paper),    cmocka_unit_test(defaults_of_easyedit),
        cmocka_unit_test(members_are_set),      cmocka_unit_test(wrong_values_are_refused),
        cmocka_unit_test(bounds_are_as_listed), cmocka_unit_test(every_row_checks_its_type),
        cmocka_unit_test(nearest_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
