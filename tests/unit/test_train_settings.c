/* The training job's keys: defaults, bounds, sentences, and each allocation failing. */
#include "faults.h"
#include "pipeline/train.h"
#include "pipeline/train_private.h"

static const char least[] =
    "{\"train\": {\"objective\": \"lm\", \"data\": \"d.jsonl\", \"config\": \"sub/config.json\","
    "\"tokenizer\": \"/tok\", \"out\": \"out\", \"steps\": 95}}";

static void test_defaults(void **state)
{
    (void)state;
    struct dinm_error err = {0};
    struct dinm_train_settings s;
    struct dinm_buffer expected = {0};
    char *folder = new_folder();
    char *path = write_text(folder, "job.json", least);
    assert_ok(dinm_train_settings_load(&s, path, &err), &err);
    assert_ok(dinm_buffer_append_format(&expected, &err, "%s/d.jsonl", folder), &err);
    assert_string_equal(s.data, expected.data);
    assert_string_equal(s.tokenizer, "/tok");
    assert_ptr_equal(s.objective, &dinm_train_lm);
    assert_null(s.held_out);
    assert_null(s.init);
    assert_true(s.steps == 95 && s.batch == 32 && s.parts == 8 && s.warmup == 0 && s.seed == 0);
    assert_true(s.max_tokens == 0 && s.every == 50 && s.save_every == 0 && s.threads == 0);
    assert_int_equal(s.held_out_every, 10);
    assert_true(s.lr == 1e-3 && s.min_lr == 0.0 && s.weight_decay == 0.0 && s.clip == 1.0);
    assert_true(s.beta1 == 0.9 && s.beta2 == 0.999 && s.eps == 1e-8);
    assert_int_equal(s.dtype, DINM_F32);
    dinm_train_settings_free(&s);
    dinm_train_settings_free(&s);
    dinm_buffer_free(&expected);
    free(path);
    remove_folder(folder);
}

static void test_all_keys(void **state)
{
    (void)state;
    static const char given[] =
        "{\"train\": {\"objective\": \"classify\", \"data\": \"d\", \"held_out\": \"h\", \"init\":"
        "\"i\", \"out\": \"o\", \"steps\": 7, \"batch\": 6, \"parts\": 3, \"lr\": 0.5, \"min_lr\":"
        "0.25, \"warmup\": 2, \"weight_decay\": 0.125, \"clip\": 2, \"beta1\": 0.75, \"beta2\":"
        "0.5, \"eps\": 0.0625, \"seed\": 9, \"max_tokens\": 11, \"dtype\": \"bf16\", \"every\": 4,"
        "\"held_out_every\": 5, \"save_every\": 6, \"threads\": 2}}";
    static const char printed[] =
        "{\n    \"objective\": \"classify\",\n    \"data\": \"d\",\n    \"held_out\": \"h\",\n"
        "    \"config\": null,\n    \"init\": \"i\",\n    \"tokenizer\": null,\n"
        "    \"out\": \"o\",\n    \"steps\": 7,\n    \"batch\": 6,\n    \"parts\": 3,\n"
        "    \"lr\": 0.5,\n    \"min_lr\": 0.25,\n    \"warmup\": 2,\n"
        "    \"weight_decay\": 0.125,\n    \"clip\": 2,\n    \"beta1\": 0.75,\n"
        "    \"beta2\": 0.5,\n    \"eps\": 0.0625,\n    \"seed\": 9,\n    \"max_tokens\": 11,\n"
        "    \"dtype\": \"bf16\",\n    \"every\": 4,\n    \"held_out_every\": 5,\n"
        "    \"save_every\": 6\n  }";
    struct dinm_error err = {0};
    struct dinm_train_settings s;
    struct dinm_buffer text = {0};
    char *folder = new_folder();
    char *path = write_text(folder, "job.json", given);
    assert_ok(dinm_train_settings_load(&s, path, &err), &err);
    assert_ok(dinm_train_settings_print(&s, &text, &err), &err);
    assert_string_equal(text.data, printed);
    assert_string_equal(s.tokenizer, s.init);
    assert_int_equal(s.threads, 2);
    dinm_train_settings_free(&s);
    dinm_buffer_free(&text);
    free(path);
    remove_folder(folder);
}

static void check_refused(const char *folder, const char *from, const char *to, int status,
                          const char *part)
{
    struct dinm_error err = {0};
    struct dinm_train_settings s;
    struct dinm_buffer text = {0};
    const char *at = strstr(least, from);
    assert_non_null(at);
    assert_ok(dinm_buffer_append(&text, least, (size_t)(at - least), &err), &err);
    assert_ok(dinm_buffer_append_text(&text, to, &err), &err);
    assert_ok(dinm_buffer_append_text(&text, at + strlen(from), &err), &err);
    char *path = write_text(folder, "job.json", text.data);
    assert_failed(dinm_train_settings_load(&s, path, &err), status, &err, part);
    assert_non_null(strstr(err.text, "job.json"));
    dinm_train_settings_free(&s);
    dinm_buffer_free(&text);
    free(path);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *part;
    } cases[] = {
        {"{\"train\"", "{\"model\": 1, \"train\"", "unknown key model beside \"train\""},
        {"}}", "}, \"judge\": 1}", "unknown key judge beside \"train\""},
        {"\"train\"", "\"trian\"", "train"},
        {"\"steps\"", "\"stpes\"", "unknown key stpes; did you mean steps?"},
        {"\"lm\"", "\"sft\"", "objective is \"sft\"; it must be \"lm\" or \"classify\""},
        {"\"lm\"", "3", "objective"},
        {"\"data\": \"d.jsonl\",", "", "data"},
        {"\"d.jsonl\"", "\"\"", "data is an empty text"},
        {"\"d.jsonl\"", "7", "data"},
        {"\"out\": \"out\",", "", "out"},
        {", \"steps\": 95", "", "steps"},
        {"95", "0", "steps"},
        {"95", "9.5", "steps"},
        {"95", "95, \"lr\": -1", "lr must lie between 0 and 1000, found -1"},
        {"95", "95, \"lr\": \"a\"", "lr"},
        {"95", "95, \"beta2\": 1", "beta2 must lie between 0"},
        {"95", "95, \"dtype\": \"f8\"", "dtype is \"f8\""},
        {"95", "95, \"init\": \"m\"", "not both"},
        {"\"config\": \"sub/config.json\",", "", "give either config"},
        {"\"tokenizer\": \"/tok\",", "", "tokenizer is missing"},
        {"95", "95, \"parts\": 33", "parts is 33, more than the batch's 32 sequences"},
        {"95", "95, \"min_lr\": 0.5", "min_lr 0.5 is larger than lr 0.001"},
        {"95", "95, \"warmup\": 96", "warmup 96 is longer than all 95 steps"},
    };
    char *folder = new_folder();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_refused(folder, cases[i].from, cases[i].to, DINM_USAGE, cases[i].part);
    }
    check_refused(folder, "}}", "}", DINM_FAILED, "line 1");
    check_refused(folder, least, "[]", DINM_USAGE, "expected an object");
    remove_folder(folder);
}

static void test_description(void **state)
{
    (void)state;
    struct dinm_error err = {0};
    struct dinm_buffer text = {0};
    assert_ok(dinm_train_describe(&text, &err), &err);
    assert_non_null(strstr(text.data, "  steps           steps of the optimiser (required)\n"));
    assert_non_null(
        strstr(text.data, "  lr              learning rate after the warm-up (0.001)\n"));
    assert_non_null(strstr(text.data, "  held_out        the same, measured but not learned\n"));
    dinm_buffer_free(&text);
}

static int load(void *context, struct dinm_error *err)
{
    struct dinm_train_settings s;
    struct dinm_buffer text = {0};
    int status = dinm_train_settings_load(&s, context, err);
    if (status == DINM_OK) {
        status = dinm_train_settings_print(&s, &text, err);
    }
    dinm_buffer_free(&text);
    dinm_train_settings_free(&s);
    return status;
}

static void test_allocations(void **state)
{
    (void)state;
    char *folder = new_folder();
    char *path = write_text(folder, "job.json", least);
    fault_cjson();
    fail_each_allocation(load, path);
    free(path);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),    cmocka_unit_test(test_all_keys),
        cmocka_unit_test(test_refusals),    cmocka_unit_test(test_description),
        cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
