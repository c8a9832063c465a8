/* Sweeps: keys and values of job file and command line, combinations in their order, who may use
 * whose results, all faults at once. */
#define _XOPEN_SOURCE 700 /* realpath */
#include "faults.h"
#include "pipeline/sweep_share.h"

#define INPUTS                                                                                     \
    "\"model\": {\"path\": \"m\"}, \"judge\": {\"path\": \"j\"}, \"cases\": {\"path\": \"c\"}"

static char *write_job(const char *folder, const char *job)
{
    struct dinm_error err = {0};
    char *path = dinm_path_join(folder, "job.json", &err);
    assert_non_null(path);
    assert_ok(dinm_file_write(path, job, strlen(job), &err), &err);
    return path;
}

/* words: NULL-terminated, behind the job file. */
static int open_sweep(struct dinm_sweep *sweep, const char *job, char *const *words,
                      struct dinm_error *err)
{
    char *folder = new_folder(), *path = write_job(folder, job);
    char *argv[16] = {"dinm_pipeline", path};
    int argc = 2;
    struct dinm_args args = {0};
    while (words != NULL && *words != NULL) {
        argv[argc++] = *words++;
    }
    int status = dinm_args_parse(&args, argc, argv, err);
    if (status >= 0) {
        status = dinm_sweep_open(sweep, &args, err);
    }
    dinm_args_free(&args);
    free(path);
    remove_folder(folder);
    return status;
}

static void assert_described(const struct dinm_sweep *sweep, size_t i, const char *expected)
{
    struct dinm_error err = {0};
    struct dinm_buffer text = {0};
    assert_ok(dinm_sweep_describe(sweep, i, &text, &err), &err);
    assert_string_equal(text.data, expected);
    dinm_buffer_free(&text);
}

static enum dinm_origin origin_of(const struct dinm_settings *s, const char *key)
{
    return s->origins[dinm_settings_find(key) - dinm_settings_table];
}

static void last_key_is_fastest(void **state)
{
    (void)state;
    struct dinm_sweep sweep;
    struct dinm_error err = {0};
    assert_ok(
        open_sweep(&sweep,
                   "{" INPUTS ", \"edit\": {\"lr\": 7}, \"run\": {\"out\": \"/o\"}, \"sweep\": "
                   "{\"edit.lr\": [5e-4, 1E-3], \"edit.method\": [\"dinm\", \"ft_l\", \"none\"]}}",
                   NULL, &err),
        &err);
    assert_int_equal(sweep.faults.n, 0);
    assert_int_equal(sweep.n_keys, 2);
    assert_int_equal(sweep.n_runs, 6);
    assert_string_equal(sweep.out, "/o");
    for (size_t i = 0; i < 6; i++) {
        static const enum dinm_method methods[] = {DINM_METHOD_DINM, DINM_METHOD_FT_L,
                                                   DINM_METHOD_NONE};
        const struct dinm_settings *s = &sweep.runs[i];
        char out[32];
        snprintf(out, sizeof out, "/o/sweep/%03zu", i);
        assert_true(s->edit.lr == (i < 3 ? 5e-4 : 1e-3));
        assert_int_equal(s->edit.method, methods[i % 3]);
        assert_string_equal(s->run.out, out);
        assert_int_equal(origin_of(s, "edit.lr"), DINM_FROM_SWEEP);
        assert_int_equal(origin_of(s, "run.out"), DINM_FROM_SWEEP);
        assert_int_equal(origin_of(s, "edit.steps"), DINM_FROM_DEFAULT);
        assert_int_equal(origin_of(s, "model.path"), DINM_FROM_JOB);
        assert_int_equal(dinm_sweep_choice(&sweep, i, 0), i / 3);
        assert_int_equal(dinm_sweep_choice(&sweep, i, 1), i % 3);
    }
    assert_described(&sweep, 4, "edit.lr=0.001, edit.method=\"ft_l\"");
    dinm_sweep_close(&sweep);
    dinm_sweep_close(&sweep);
}

static void without_a_sweep_it_is_one_run(void **state)
{
    (void)state;
    static const char *const jobs[] = {"{" INPUTS "}", "{" INPUTS ", \"sweep\": {}}",
                                       "{" INPUTS ", \"sweep\": null}"};
    for (size_t i = 0; i < sizeof jobs / sizeof jobs[0]; i++) {
        struct dinm_sweep sweep;
        struct dinm_error err = {0};
        char *words[] = {"--out", "/o", NULL};
        assert_ok(open_sweep(&sweep, jobs[i], words, &err), &err);
        assert_int_equal(sweep.n_keys, 0);
        assert_int_equal(sweep.n_runs, 1);
        assert_string_equal(sweep.runs[0].run.out, "/o");
        dinm_sweep_close(&sweep);
    }
}

/* The command line's list replaces the job file's, in its place; its paths are taken from here. */
static void command_line_overrides(void **state)
{
    (void)state;
    struct dinm_sweep sweep;
    struct dinm_error err = {0};
    char *here = realpath(".", NULL), *expected = dinm_path_join(here, "a", &err);
    char *words[] = {"--set", "sweep.model.path=[\"a\", \"/b\"]",
                     "--set", "sweep.edit.steps=[3]",
                     "--set", "sweep.edit.lr=[1]",
                     NULL};
    assert_ok(open_sweep(&sweep,
                         "{" INPUTS ", \"sweep\": {\"edit.lr\": [2, 3], \"cases.path\": [\"x\"]}}",
                         words, &err),
              &err);
    assert_int_equal(sweep.faults.n, 0);
    assert_int_equal(sweep.n_keys, 4);
    assert_string_equal(sweep.keys[0].row->key, "edit.lr");
    assert_string_equal(sweep.keys[1].row->key, "cases.path");
    assert_string_equal(sweep.keys[2].row->key, "model.path");
    assert_int_equal(sweep.n_runs, 2);
    assert_true(sweep.runs[0].edit.lr == 1);
    assert_int_equal(sweep.runs[0].edit.steps, 3);
    assert_string_equal(sweep.runs[0].model.path, expected);
    assert_string_equal(sweep.runs[1].model.path, "/b");
    assert_true(sweep.runs[0].cases.path[0] == '/' &&
                strstr(sweep.runs[0].cases.path, here) != sweep.runs[0].cases.path);
    dinm_sweep_close(&sweep);
    free(expected);
    free(here);
}

/* A swept profile brings its column of defaults, but not over what is set. */
static void profiles_are_swept(void **state)
{
    (void)state;
    struct dinm_sweep sweep;
    struct dinm_error err = {0};
    assert_ok(open_sweep(&sweep,
                         "{" INPUTS ", \"profile\": \"paper\", \"locate\": {\"when\": \"every\"}, "
                         "\"sweep\": {\"profile\": [\"easyedit\", \"paper\"]}}",
                         NULL, &err),
              &err);
    assert_int_equal(sweep.n_runs, 2);
    assert_int_equal(sweep.runs[0].profile, DINM_PROFILE_EASYEDIT);
    assert_int_equal(sweep.runs[0].locate.padding, DINM_PAD_LEFT);
    assert_int_equal(sweep.runs[0].locate.when, DINM_LOCATE_EVERY);
    assert_int_equal(sweep.runs[1].profile, DINM_PROFILE_PAPER);
    assert_int_equal(sweep.runs[1].locate.padding, DINM_PAD_RIGHT);
    dinm_sweep_close(&sweep);
}

/* All sentences, one a line. */
static void assert_faults(const char *sweep_text, char *const *words, const char *expected)
{
    struct dinm_sweep sweep;
    struct dinm_error err = {0};
    struct dinm_buffer job = {0}, lines = {0};
    assert_ok(dinm_buffer_append_format(&job, &err, "{" INPUTS ", \"sweep\": %s}", sweep_text),
              &err);
    assert_ok(open_sweep(&sweep, job.data, words, &err), &err);
    /* the job file's folder has another name every time */
    const char *text = sweep.faults.lines.data != NULL ? sweep.faults.lines.data : "";
    for (const char *end; *text != '\0'; text = end + 1) {
        end = strchr(text, '\n');
        const char *name = strstr(text, "/job.json: ");
        const char *from = name != NULL && name < end ? name + 1 : text;
        assert_ok(dinm_buffer_append(&lines, from, (size_t)(end + 1 - from), &err), &err);
    }
    assert_string_equal(lines.data != NULL ? lines.data : "", expected);
    assert_int_equal(sweep.faults.status, DINM_USAGE);
    dinm_buffer_free(&lines);
    dinm_buffer_free(&job);
    dinm_sweep_close(&sweep);
}

static void all_faults_are_said(void **state)
{
    (void)state;
    char *set[] = {"--set",         "edit.lr=1", "--set",
                   "sweep.edit.lr", "--set",     "sweep.edit.eos=[true",
                   "--limit",       "3",         NULL};
    assert_faults("[1]", NULL, "job.json: sweep: expected an object, found an array\n");
    assert_faults(
        "{\"edit.lr\": [1, \"x\", 1e0], \"edits.lr\": [2], \"run.batch\": [1, 2],"
        " \"edit.steps\": [], \"edit.save\": true, \"locate.layers\": [[1], [1, 1], 4]}",
        NULL,
        "job.json: sweep: there is no setting \"edits.lr\"; the nearest is \"edit.lr\"\n"
        "job.json: sweep: run.batch cannot be swept: it says how a job is run and changes "
        "no result\n"
        "job.json: sweep: edit.lr: expected a number from 0 to 1000, found \"x\"\n"
        "job.json: sweep: edit.lr: 1 stands there twice\n"
        "job.json: sweep: edit.steps: expected a list of values, found an empty list\n"
        "job.json: sweep: edit.save: expected a list of values, found true\n"
        "job.json: sweep: locate.layers: expected a list of different whole numbers like "
        "[28,29], found the number 1\n"
        "job.json: sweep: locate.layers: expected a list of different whole numbers like "
        "[28,29], found the number 4\n");
    assert_faults(
        "{\"edit.lr\": [1], \"cases.limit\": [1, null]}", set,
        "--set: expected KEY=VALUE, found \"sweep.edit.lr\"\n"
        "--set sweep: edit.eos: expected a list like [5e-4, 1e-3] or [\"a\", \"b\"], found "
        "\"[true\"\n"
        "edit.lr is swept, and cannot be set by --set as well\n"
        "cases.limit is swept, and cannot be set by --limit as well\n"
        "job.json: sweep: cases.limit: expected a whole number from 0 to "
        "9007199254740991, found null\n");
    /* The same contradiction in several combinations: the first of them is named. */
    assert_faults("{\"edit.method\": [\"dinm\", \"none\"], \"edit.save\": [true, false],"
                  " \"edit.lr\": [1, 2], \"edit.accumulate\": [false, true]}",
                  NULL,
                  "combination 001 (edit.method=\"dinm\", edit.save=true, edit.lr=1, "
                  "edit.accumulate=true): edit.accumulate is not built yet\n"
                  "combination 008 (edit.method=\"none\", edit.save=true, edit.lr=1, "
                  "edit.accumulate=false): edit.save needs a method that changes weights "
                  "(edit.method dinm or ft_l)\n");
}

static bool is_path(const struct dinm_setting *row)
{
    return row->kind == DINM_KIND_PATH;
}

static void results_are_shared(void **state)
{
    (void)state;
    struct dinm_sweep sweep;
    struct dinm_error err = {0};
    struct dinm_sweep_share shares[8] = {0};
    /* 0: /j right, 1: /j left, 2: /k right, 3: /k left; 4 to 7 the same with more tokens */
    assert_ok(
        open_sweep(&sweep,
                   "{" INPUTS ", \"sweep\": {\"generate.max_new_tokens\": [5, 6],"
                   " \"judge.path\": [\"/j\", \"/k\"], \"locate.padding\": [\"right\", \"left\"]}}",
                   NULL, &err),
        &err);
    assert_int_equal(sweep.n_runs, 8);
    assert_ok(dinm_sweep_share_open(shares, &sweep, &err), &err);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(dinm_sweep_donor(shares, i, DINM_LOCATE), i); /* none is finished */
        assert_int_equal(dinm_sweep_leader(&sweep, i, is_path), i & 2);
    }
    for (size_t i = 0; i < 8; i++) {
        shares[i].is_finished = i != 1;
    }
    static const size_t locate[8] = {0, 1, 0, 3, 0, 3, 0, 3}, vanilla[8] = {0, 0, 0, 0, 4, 4, 4, 4};
    static const size_t edit[8] = {0, 1, 0, 3, 4, 5, 4, 5};
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(dinm_sweep_donor(shares, i, DINM_LOCATE), locate[i]);
        assert_int_equal(dinm_sweep_donor(shares, i, DINM_VANILLA), vanilla[i]);
        assert_int_equal(dinm_sweep_donor(shares, i, DINM_EDIT), edit[i]);
        shares[i].saves_edits = true;
        assert_int_equal(dinm_sweep_donor(shares, i, DINM_EDIT), i);
    }
    dinm_sweep_close(&sweep);
}

static int open_and_close(void *context, struct dinm_error *err)
{
    struct dinm_args *args = context;
    struct dinm_sweep sweep;
    int status = dinm_sweep_open(&sweep, args, err);
    if (status >= 0 && sweep.faults.n > 0) { /* memory that lacked while a value was tried */
        status = dinm_faults_end(&sweep.faults, "parts", false, err);
    }
    dinm_sweep_close(&sweep);
    return status;
}

static void lack_of_memory_is_said(void **state)
{
    (void)state;
    struct dinm_args args = {0};
    struct dinm_error err = {0};
    char *folder = new_folder();
    char *path = write_job(folder, "{" INPUTS ", \"sweep\": {\"edit.lr\": [1, 2], \"profile\": "
                                   "[\"paper\", \"easyedit\"]}}");
    char *argv[] = {"dinm_pipeline", path};
    assert_ok(dinm_args_parse(&args, 2, argv, &err), &err);
    fault_cjson();
    fail_each_allocation(open_and_close, &args);
    cJSON_InitHooks(NULL);
    dinm_args_free(&args);
    free(path);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_key_is_fastest),    cmocka_unit_test(without_a_sweep_it_is_one_run),
        cmocka_unit_test(command_line_overrides), cmocka_unit_test(profiles_are_swept),
        cmocka_unit_test(all_faults_are_said),    cmocka_unit_test(results_are_shared),
        cmocka_unit_test(lack_of_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
