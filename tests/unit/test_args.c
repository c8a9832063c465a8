/* The command line: every option of every command, wrong usage, precedence, the demo's job file. */
#include "faults.h"
#include "io/json.h"
#include "pipeline/args_table.h"
#include "pipeline/journal.h"
#include "pipeline/nearest.h"

enum { MOST_WORDS = 32 };

/* Splits a line at blanks; argv[0] is the program. The words live in `line`. */
static int split(char *line, char **argv)
{
    int argc = 1;
    argv[0] = "dinm_pipeline";
    for (char *word = strtok(line, " "); word != NULL; word = strtok(NULL, " ")) {
        assert_true(argc < MOST_WORDS);
        argv[argc++] = word;
    }
    return argc;
}

struct line {
    char text[512];
    char *argv[MOST_WORDS];
    struct dinm_args args;
    struct dinm_error err;
};

static int parse(struct line *l, const char *text)
{
    *l = (struct line){0};
    assert_true(strlen(text) < sizeof l->text);
    strcpy(l->text, text);
    int argc = split(l->text, l->argv);
    return dinm_args_parse(&l->args, argc, l->argv, &l->err);
}

/* A run's settings from the command line and the job file that it names. */
static int settings_of(const struct dinm_args *args, struct dinm_settings *s,
                       struct dinm_error *err)
{
    struct dinm_job_file file;
    int status = dinm_args_open_job(args, &file, err);
    *s = (struct dinm_settings){0};
    if (status >= 0) {
        status = dinm_args_resolve(args, &file, NULL, 0, s, err);
    }
    dinm_args_close_job(&file);
    return status;
}

static void words_are_understood(void **state)
{
    (void)state;
    struct line l;
    assert_ok(parse(&l, "job.json --model m --set a=b --model=n --fresh"), &l.err);
    assert_int_equal(l.args.command, DINM_COMMAND_RUN);
    assert_int_equal(l.args.n_operands, 1);
    assert_string_equal(l.args.operands[0], "job.json");
    assert_int_equal(l.args.n_given, 4);
    assert_string_equal(dinm_args_value(&l.args, "--model"), "n");
    assert_true(dinm_args_has(&l.args, "--fresh"));
    assert_false(dinm_args_has(&l.args, "--quiet"));
    assert_null(dinm_args_value(&l.args, "--out"));
    dinm_args_free(&l.args);
    dinm_args_free(&l.args);
    assert_ok(parse(&l, "inspect -"), &l.err);
    assert_string_equal(l.args.operands[0], "-");
    dinm_args_free(&l.args);
    assert_ok(parse(&l, ""), &l.err);
    assert_int_equal(l.args.n_operands, 0);
    dinm_args_free(&l.args);
    assert_int_equal(parse(&l, "-- --odd"), DINM_OK);
    assert_string_equal(l.args.operands[0], "--odd");
    dinm_args_free(&l.args);
}

/* Each option of the table is accepted by its commands and refused by the others. */
static void options_belong_to_commands(void **state)
{
    (void)state;
    static const char *const operands[DINM_N_COMMANDS] = {"",         "train j",     "generate",
                                                          "tokenize", "logits",      "inspect p",
                                                          "report o", "compare a b", "export o"};
    for (size_t i = 0; i < dinm_n_options; i++) {
        const struct dinm_option *option = &dinm_options[i];
        assert_true(strlen(option->name) <= DINM_NEAREST_LONGEST);
        for (int c = 0; c < DINM_N_COMMANDS; c++) {
            struct line l;
            char text[128];
            unsigned with = 0;
            for (size_t k = 0; k < dinm_n_options; k++) {
                with |=
                    strcmp(dinm_options[k].name, option->name) == 0 ? dinm_options[k].commands : 0;
            }
            snprintf(text, sizeof text, "%s %s%s", operands[c], option->name,
                     option->value != NULL ? " v" : "");
            int status = parse(&l, text);
            assert_int_equal(status, with >> c & 1u ? DINM_OK : DINM_USAGE);
            if (status == DINM_OK) {
                assert_int_equal(l.args.command, c);
                assert_true(dinm_args_has(&l.args, option->name));
            }
            dinm_args_free(&l.args);
        }
    }
}

static void assert_refused(const char *text, const char *sentence)
{
    struct line l;
    assert_int_equal(parse(&l, text), DINM_USAGE);
    assert_string_equal(l.err.text, sentence);
    assert_null(l.args.operands);
    dinm_args_free(&l.args);
}

static void wrong_words_are_refused(void **state)
{
    (void)state;
    assert_refused("--modle x", "there is no option \"--modle\"; the nearest is \"--model\"");
    assert_refused("-x", "there is no option \"-x\"; the nearest is \"--out\"");
    assert_refused("--modle=x", "there is no option \"--modle\"; the nearest is \"--model\"");
    assert_refused("generate --maxnew 3",
                   "generate: there is no option \"--maxnew\"; the nearest is \"--max-new\"");
    assert_refused("a.json --model", "--model needs a value: --model DIR");
    assert_refused("--fresh=yes", "--fresh takes no value, found \"yes\"");
    assert_refused("a.json b.json", "expected one job file, found \"b.json\" too");
    assert_refused("generate x", "generate takes options only, found \"x\"");
    assert_refused("compare a", "compare needs OUT_A OUT_B");
    assert_refused("compare a b c", "expected OUT_A OUT_B, found \"c\" too");
    assert_refused("train", "train needs JOB.json");
}

static void numbers_are_checked(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",  "x", "0", "11", "1x", "1.5", "99999999999999999999",
                                        "+3"};
    struct line l;
    int64_t n = 5;
    assert_ok(parse(&l, "generate"), &l.err);
    assert_ok(dinm_args_int(&l.args, "--max-new", 1, 10, &n, &l.err), &l.err);
    assert_int_equal(n, 5);
    dinm_args_free(&l.args);
    assert_ok(parse(&l, "generate --max-new 7"), &l.err);
    assert_ok(dinm_args_int(&l.args, "--max-new", 1, 10, &n, &l.err), &l.err);
    assert_int_equal(n, 7);
    dinm_args_free(&l.args);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char text[64], sentence[128];
        snprintf(text, sizeof text, "generate --max-new=%s", wrong[i]);
        snprintf(sentence, sizeof sentence,
                 "--max-new: expected a whole number from 1 to 10, found \"%s\"", wrong[i]);
        assert_ok(parse(&l, text), &l.err);
        assert_failed(dinm_args_int(&l.args, "--max-new", 1, 10, &n, &l.err), DINM_USAGE, &l.err,
                      sentence);
        assert_int_equal(n, 7);
        dinm_args_free(&l.args);
    }
}

static void needed_options_are_named(void **state)
{
    (void)state;
    struct line l;
    const char *value = NULL;
    assert_ok(parse(&l, "logits --out f.h5"), &l.err);
    assert_ok(dinm_args_need(&l.args, "--out", &value, &l.err), &l.err);
    assert_string_equal(value, "f.h5");
    assert_failed(dinm_args_need(&l.args, "--model", &value, &l.err), DINM_USAGE, &l.err,
                  "logits needs --model DIR");
    dinm_args_free(&l.args);
}

static void run_options_are_read(void **state)
{
    (void)state;
    static const char *const wrong[] = {"locate,", ",", "locate,locat", "locates", "edit judge"};
    struct line l;
    struct dinm_run_options options;
    assert_ok(parse(&l, ""), &l.err);
    assert_ok(dinm_args_run_options(&l.args, &options, &l.err), &l.err);
    assert_int_equal(options.phases, (1u << DINM_N_PHASES) - 1);
    assert_false(options.fresh || options.dry_run || options.quiet);
    dinm_args_free(&l.args);
    assert_ok(parse(&l, "--phases edit,locate --fresh --dry-run --quiet"), &l.err);
    assert_ok(dinm_args_run_options(&l.args, &options, &l.err), &l.err);
    assert_int_equal(options.phases, 1u << DINM_LOCATE | 1u << DINM_EDIT);
    assert_true(options.fresh && options.dry_run && options.quiet);
    dinm_args_free(&l.args);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char *argv[] = {"dinm_pipeline", "--phases", (char *)(uintptr_t)wrong[i]};
        struct dinm_error err = {0};
        assert_ok(dinm_args_parse(&l.args, 3, argv, &err), &err);
        assert_failed(dinm_args_run_options(&l.args, &options, &err), DINM_USAGE, &err, "--phases");
        dinm_args_free(&l.args);
    }
}

/* Writes a job file and resolves the line with "JOB" replaced by its path. */
static int resolve(struct dinm_settings *s, const char *job, const char *text,
                   struct dinm_error *err)
{
    struct line l;
    char words[400];
    char *folder = new_folder();
    char *path = write_text(folder, "job.json", job);
    snprintf(words, sizeof words, "%s %s", path, text);
    assert_ok(parse(&l, words), &l.err);
    int status = settings_of(&l.args, s, err);
    dinm_args_free(&l.args);
    free(path);
    remove_folder(folder);
    return status;
}

static enum dinm_origin origin(const struct dinm_settings *s, const char *key)
{
    struct dinm_buffer text = {0};
    struct dinm_error err = {0};
    cJSON *tree = NULL;
    static const char *const names[] = {"default", "profile", "job", "command"};
    assert_ok(dinm_settings_print(s, true, true, &text, &err), &err);
    assert_ok(dinm_json_parse("print", text.data, text.n_bytes, &tree, &err), &err);
    const cJSON *found = dinm_json_find(dinm_json_find(tree, "origins"), key);
    int i = 0;
    while (strcmp(names[i], found->valuestring) != 0) {
        i++;
    }
    cJSON_Delete(tree);
    dinm_buffer_free(&text);
    return (enum dinm_origin)i;
}

#define INPUTS                                                                                     \
    "\"model\": {\"path\": \"m\"}, \"judge\": {\"path\": \"j\"}, \"cases\": {\"path\": \"c\"}"

static void command_beats_job_beats_profile(void **state)
{
    (void)state;
    struct dinm_settings s;
    struct dinm_error err = {0};
    assert_ok(resolve(&s,
                      "{" INPUTS ", \"profile\": \"easyedit\", \"edit\": {\"steps\": 3, \"lr\": 1, "
                      "\"labels\": \"target\"}}",
                      "--set edit.lr=2 --limit 9 --set edit.lr=4 --case-ids 1,2", &err),
              &err);
    assert_int_equal(s.profile, DINM_PROFILE_EASYEDIT);
    assert_int_equal(origin(&s, "profile"), DINM_FROM_JOB);
    assert_int_equal(s.edit.constraint_rows, DINM_ROWS_LAST);
    assert_int_equal(origin(&s, "edit.constraint_rows"), DINM_FROM_PROFILE);
    assert_int_equal(s.edit.labels, DINM_LABELS_TARGET);
    assert_int_equal(origin(&s, "edit.labels"), DINM_FROM_JOB);
    assert_int_equal(s.edit.steps, 3);
    assert_true(s.edit.lr == 4);
    assert_int_equal(origin(&s, "edit.lr"), DINM_FROM_COMMAND);
    assert_int_equal(s.cases.limit, 9);
    assert_string_equal(s.cases.ids, "1,2");
    assert_int_equal(origin(&s, "edit.c_edit"), DINM_FROM_DEFAULT);
    dinm_settings_free(&s);
}

static void command_chooses_the_profile(void **state)
{
    (void)state;
    static const char *const lines[] = {"--profile easyedit", "--set profile=easyedit",
                                        "--profile paper --profile easyedit"};
    for (size_t i = 0; i < 3; i++) {
        struct dinm_settings s;
        struct dinm_error err = {0};
        assert_ok(resolve(&s, "{" INPUTS ", \"profile\": \"paper\"}", lines[i], &err), &err);
        assert_int_equal(s.profile, DINM_PROFILE_EASYEDIT);
        assert_int_equal(origin(&s, "profile"), DINM_FROM_COMMAND);
        assert_int_equal(s.locate.when, DINM_LOCATE_FIRST);
        dinm_settings_free(&s);
    }
}

static void assert_not_resolved(const char *job, const char *text, int wanted, const char *part)
{
    struct dinm_settings s;
    struct dinm_error err = {0};
    assert_failed(resolve(&s, job, text, &err), wanted, &err, part);
    dinm_settings_free(&s);
}

static void wrong_settings_are_refused(void **state)
{
    (void)state;
    assert_not_resolved("{", "", DINM_FAILED, "job.json");
    assert_not_resolved("{}", "", DINM_USAGE, "no language model is given");
    assert_not_resolved("{\"profile\": \"papre\"}", "", DINM_USAGE,
                        "job.json: profile: expected one of paper, easyedit, found \"papre\"");
    assert_not_resolved("{\"profile\": 3}", "--profile paper", DINM_USAGE, "found the number 3");
    assert_not_resolved("{" INPUTS "}", "--set edit.lr", DINM_USAGE,
                        "--set: expected KEY=VALUE, found \"edit.lr\"");
    assert_not_resolved("{", "--set edit.rl=1", DINM_USAGE, /* before the file is looked at */
                        "there is no setting \"edit.rl\"; the nearest is \"edit.lr\"");
    assert_not_resolved("{" INPUTS "}", "--batch x", DINM_USAGE, "run.batch: expected");
    struct line l;
    struct dinm_settings s;
    assert_ok(parse(&l, "tokenise"), &l.err);
    assert_failed(settings_of(&l.args, &s, &l.err), DINM_USAGE, &l.err,
                  "no command \"tokenise\"; the nearest command is \"tokenize\"");
    dinm_args_free(&l.args);
    assert_ok(parse(&l, "--quiet train"), &l.err);
    assert_failed(settings_of(&l.args, &s, &l.err), DINM_USAGE, &l.err,
                  "\"train\" must be the first word");
    dinm_args_free(&l.args);
    assert_ok(parse(&l, "/no/such/job.json"), &l.err);
    assert_failed(settings_of(&l.args, &s, &l.err), DINM_FAILED, &l.err, "/no/such/job.json");
    dinm_args_free(&l.args);
}

/* Without a job file the demo's is used, from $DINM_DATA first, unless inputs are given. */
static void demo_is_found(void **state)
{
    (void)state;
    struct line l;
    struct dinm_settings s;
    char *folder = new_folder();
    char *demo = dinm_path_join(folder, "demo", NULL);
    assert_ok(dinm_folder_make(demo, &l.err), &l.err);
    char *path = write_text(demo, "job.json", "{" INPUTS ", \"edit\": {\"steps\": 77}}");
    assert_int_equal(setenv("DINM_DATA", folder, 1), 0);
    assert_ok(parse(&l, "--judge /jj"), &l.err);
    assert_ok(settings_of(&l.args, &s, &l.err), &l.err);
    assert_int_equal(s.edit.steps, 77);
    assert_string_equal(s.judge.path, "/jj");
    assert_int_equal(strncmp(s.model.path, "/", 1), 0);
    assert_string_equal(s.model.path + strlen(s.model.path) - 7, "/demo/m");
    assert_string_equal(s.run.out, "out");
    dinm_settings_free(&s);
    dinm_args_free(&l.args);
    static const char *const given[] = {"--model /m", "--cases /c", "--set model.path=/m",
                                        "--set cases.path=/c"};
    for (size_t i = 0; i < 4; i++) {
        assert_ok(parse(&l, given[i]), &l.err);
        assert_failed(settings_of(&l.args, &s, &l.err), DINM_USAGE, &l.err, "is given: set ");
        dinm_settings_free(&s);
        dinm_args_free(&l.args);
    }
    unsetenv("DINM_DATA");
    free(path);
    free(demo);
    remove_folder(folder);
}

/* The help of each command names each of its options, and fits a terminal. */
static void help_is_complete(void **state)
{
    (void)state;
    for (int c = 0; c < DINM_N_COMMANDS; c++) {
        struct line l;
        struct dinm_buffer text = {0};
        char words[64];
        snprintf(words, sizeof words, "%s --help --nonsense", dinm_command_rows[c].name);
        assert_ok(parse(&l, words), &l.err);
        assert_ok(dinm_args_help(&l.args, &text, &l.err), &l.err);
        for (size_t i = 0; i < dinm_n_options; i++) {
            if (dinm_options[i].commands >> c & 1u) {
                assert_non_null(strstr(text.data, dinm_options[i].name));
                assert_non_null(strstr(text.data, dinm_options[i].meaning));
            }
        }
        for (char *line = strtok(text.data, "\n"); line != NULL; line = strtok(NULL, "\n")) {
            assert_true(strlen(line) <= 90);
        }
        dinm_buffer_free(&text);
        dinm_args_free(&l.args);
    }
}

static void help_has_topics(void **state)
{
    (void)state;
    struct line l;
    struct dinm_buffer text = {0};
    assert_ok(parse(&l, "--help=settings"), &l.err);
    assert_ok(dinm_args_help(&l.args, &text, &l.err), &l.err);
    assert_non_null(strstr(text.data, "edit.norm_constraint\n"));
    dinm_args_free(&l.args);
    assert_ok(parse(&l, "--help=me"), &l.err);
    assert_failed(dinm_args_help(&l.args, &text, &l.err), DINM_USAGE, &l.err, "\"me\"");
    dinm_args_free(&l.args);
    text.n_bytes = 0;
    assert_ok(dinm_args_version(&text, &l.err), &l.err);
    assert_int_equal(strncmp(text.data, "dinm_pipeline ", 14), 0);
    dinm_buffer_free(&text);
}

static int use_line(void *context, struct dinm_error *err)
{
    char *argv[] = {"dinm_pipeline", context, "--set", "edit.lr=1", "--model", "m"};
    struct dinm_args args = {0};
    struct dinm_settings s = {0};
    struct dinm_buffer text = {0};
    int status = DINM_OK;
    TRY(dinm_args_parse(&args, sizeof argv / sizeof argv[0], argv, err));
    TRY(settings_of(&args, &s, err));
    TRY(dinm_args_help(&args, &text, err));
out:
    dinm_buffer_free(&text);
    dinm_settings_free(&s);
    dinm_args_free(&args);
    return status;
}

static void lack_of_memory_is_said(void **state)
{
    (void)state;
    char *folder = new_folder();
    char *path = write_text(folder, "job.json", "{" INPUTS ", \"profile\": \"easyedit\"}");
    fault_cjson();
    fail_each_allocation(use_line, path);
    cJSON_InitHooks(NULL);
    free(path);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_understood),
        cmocka_unit_test(options_belong_to_commands),
        cmocka_unit_test(wrong_words_are_refused),
        cmocka_unit_test(numbers_are_checked),
        cmocka_unit_test(needed_options_are_named),
        cmocka_unit_test(run_options_are_read),
        cmocka_unit_test(command_beats_job_beats_profile),
        cmocka_unit_test(command_chooses_the_profile),
        cmocka_unit_test(wrong_settings_are_refused),
        cmocka_unit_test(demo_is_found),
        cmocka_unit_test(help_is_complete),
        cmocka_unit_test(help_has_topics),
        cmocka_unit_test(lack_of_memory_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
