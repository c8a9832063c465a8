/* Whose journal it is: what the sentence names when files or settings differ. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "io/file.h"
#include "io/json.h"
#include "pipeline/identity.h"

static char path[] = "/tmp/dinm-identity-XXXXXX";

struct job {
    struct dinm_journal_part parts[3];
    struct dinm_details details;
    struct dinm_identity id;
};

static void add_file(struct job *job, const char *part, const char *name, const char *where,
                     uint64_t digest)
{
    assert_int_equal(dinm_details_add_file(&job->details, part, name, where, digest, NULL),
                     DINM_OK);
}

static void add_setting(struct job *job, const char *key, const char *value)
{
    assert_int_equal(dinm_details_add_setting(&job->details, key, value, NULL), DINM_OK);
}

/* Settings with digest s, a model with digest m, cases with digest c; the caller adds details. */
static void open_job(struct job *job, uint64_t s, uint64_t m, uint64_t c)
{
    *job = (struct job){.parts = {{"settings", s}, {"model", m}, {"cases", c}}};
    job->id = (struct dinm_identity){.parts = job->parts, .n_parts = 3, .details = &job->details};
}

static void open_first(struct job *job)
{
    open_job(job, 1, 2, 3);
    add_setting(job, "edit.lr", "0.005");
    add_setting(job, "prompt.suffix", "\"a \\\"quoted\\\" text\"");
    add_file(job, "model", "config.json", "m/config.json", 20);
    add_file(job, "model", "model.safetensors", "m/model.safetensors", 21);
    add_file(job, "cases", "cases", "cases.json", 30);
}

static void expect(const struct job *job, const char *named)
{
    char text[512];
    struct dinm_error err = {0};
    snprintf(text, sizeof text,
             "out belongs to another job, which differs in: %s; use --fresh to start over or "
             "another --out",
             named);
    assert_int_equal(dinm_identity_check(path, "out", &job->id, &err), DINM_FAILED);
    assert_string_equal(err.text, text);
}

static void test_same(void **state)
{
    (void)state;
    struct job job;
    struct dinm_error err = {0};
    cJSON *tree = NULL;
    open_first(&job);
    assert_int_equal(dinm_identity_write(path, &job.id, &err), DINM_OK);
    assert_int_equal(dinm_identity_check(path, "out", &job.id, &err), DINM_OK);
    assert_int_equal(dinm_json_load(path, &tree, &err), DINM_OK);
    const cJSON *settings = dinm_json_find(dinm_json_find(tree, "details"), "settings");
    assert_string_equal(dinm_json_find(settings, "prompt.suffix")->valuestring,
                        "\"a \\\"quoted\\\" text\"");
    cJSON_Delete(tree);
    dinm_details_free(&job.details);
    /* The parts decide: details only explain. */
    open_job(&job, 1, 2, 3);
    assert_int_equal(dinm_identity_check(path, "out", &job.id, &err), DINM_OK);
    dinm_details_free(&job.details);
    dinm_details_free(&job.details);
}

static void test_files_and_settings(void **state)
{
    (void)state;
    struct job job;
    char value[200];
    memset(value, '7', sizeof value);
    value[sizeof value - 1] = '\0';
    open_job(&job, 9, 9, 9);
    add_setting(&job, "edit.lr", value);
    add_setting(&job, "prompt.suffix", "\"a \\\"quoted\\\" text\"");
    add_setting(&job, "edit.new", "1");
    add_file(&job, "model", "config.json", "other/config.json", 20);
    add_file(&job, "model", "model.safetensors", "other/model.safetensors", 22);
    add_file(&job, "cases", "cases", "more.json", 31);
    expect(&job, "edit.lr (0.005 there, 7777777777777777777777777777777777777777777777777777777777"
                 "77... here), edit.new (not there before), other/model.safetensors, more.json");
    dinm_details_free(&job.details);

    open_job(&job, 1, 9, 3);
    add_file(&job, "model", "config.json", "m/config.json", 20);
    add_file(&job, "model", "one.safetensors", "m/one.safetensors", 21);
    expect(&job, "m/one.safetensors (not there before), model (model.safetensors is missing)");
    dinm_details_free(&job.details);
}

static void test_parts(void **state)
{
    (void)state;
    struct job job;
    /* No detail in common, none at all, and all the same. */
    open_job(&job, 1, 9, 3);
    add_file(&job, "model", "pytorch.bin", "m/pytorch.bin", 20);
    expect(&job, "model");
    dinm_details_free(&job.details);
    open_job(&job, 9, 9, 3);
    job.id.details = NULL;
    expect(&job, "settings, model");
    open_first(&job);
    job.parts[2].digest = 9;
    expect(&job, "cases");
    job.parts[0].digest = 9;
    job.details.items[0].value[0] = '1';
    expect(&job, "edit.lr (0.005 there, 1.005 here)");
    dinm_details_free(&job.details);
}

static void test_damaged(void **state)
{
    (void)state;
    struct job job;
    static const char *const texts[] = {
        "{\"parts\": {\"settings\": 5, \"model\": \"0000000000000009\"}, \"details\": 3}",
        "{\"parts\": 4}", "[]", ""};
    open_first(&job);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(dinm_file_write(path, texts[i], strlen(texts[i]), NULL), DINM_OK);
        assert_int_equal(dinm_identity_check(path, "out", &job.id, NULL), DINM_FAILED);
    }
    /* Details that are none are as good as no details. */
    static const char odd[] = "{\"parts\": {\"settings\": \"0000000000000001\", \"model\": "
                              "\"0000000000000009\", \"cases\": \"0000000000000003\"}, "
                              "\"details\": {\"model\": {\"config.json\": [1]}}}";
    assert_int_equal(dinm_file_write(path, odd, strlen(odd), NULL), DINM_OK);
    expect(&job, "m/config.json (not there before), m/model.safetensors (not there before)");
    dinm_details_free(&job.details);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same), cmocka_unit_test(test_files_and_settings),
        cmocka_unit_test(test_parts), cmocka_unit_test(test_damaged)};
    int fd = mkstemp(path);
    if (fd < 0) {
        return 1;
    }
    close(fd);
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return n_failed;
}
