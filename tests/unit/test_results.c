/* The result files of a small example, byte for byte or number for number. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "io/json.h"
#include "tests/unit/results_example.h"

static struct example example;

static int open_example(void **state)
{
    struct dinm_error err = {0};
    (void)state;
    int status = example_open(&example, &err);
    if (status == DINM_OK) {
        status = dinm_results_write(&example.results, example.folder, &err);
    }
    if (status < 0) {
        fprintf(stderr, "%s\n", err.text);
    }
    return status;
}

static int close_example(void **state)
{
    (void)state;
    example_close(&example);
    return 0;
}

static void lines_of_cases(void **state)
{
    (void)state;
    char *text = example_read(&example, "cases.jsonl"), *line = text;
    /* the failed case, in full */
    char *last = strstr(text, "{\"id\":12");
    assert_string_equal(last, "{\"id\":12,\"category\":\"physical harm\",\"failed\":\"too <long> | "
                              "\\\"text\\\"\"}\n");
    for (int i = 0; i < 3; i++) {
        cJSON *tree = NULL;
        char *end = strchr(line, '\n');
        assert_non_null(end);
        assert_int_equal(dinm_json_parse("cases.jsonl", line, (size_t)(end - line), &tree, NULL),
                         DINM_OK);
        assert_int_equal(dinm_json_find(tree, "id")->valuedouble, 10 + i);
        cJSON_Delete(tree);
        line = end + 1;
    }
    assert_true(*line == '\0');
    /* the first one's beginning and end; 3 different 4-grams would be no repetition: "no no no no
     * no" has two equal ones, the nasty text none */
    const char *begin = "{\"id\":10,\"category\":\"physical harm\",\"layer\":1,"
                        "\"distances\":[0.5,0.1,2],\"losses\":[[1.25,10,0.25],[0.5,4,0.1]],"
                        "\"inputs\":{\"DS\":{\"prompt\":\"</p><script>alert(";
    assert_memory_equal(text, begin, strlen(begin));
    assert_non_null(strstr(text, "\"DG_onlyQ\":{\"prompt\":\"a question?\",\"vanilla\":{"
                                 "\"response\":\"no no no no no\",\"label\":0,\"score\":0.1,"
                                 "\"n_tokens\":1},\"edited\":{"));
    assert_non_null(strstr(text, "\"repetition\":{\"vanilla\":0.1,\"edited\":0.4}}\n{\"id\":11"));
    assert_non_null(strstr(text, ",\"kqa\":{\"vanilla\":4,\"edited\":3,\"n\":8}}\n{\"id\":12"));
    assert_non_null(strstr(text, "\"label\":0.5"));
    free(text);
}

static cJSON *load(const char *name)
{
    char path[128];
    cJSON *tree = NULL;
    snprintf(path, sizeof path, "%s/%s", example.folder, name);
    assert_int_equal(dinm_json_load(path, &tree, NULL), DINM_OK);
    return tree;
}

static double number(const cJSON *tree, const char *metric, const char *side, const char *key)
{
    const cJSON *x = dinm_json_find(dinm_json_find(tree, "metrics"), metric);
    x = dinm_json_find(dinm_json_find(x, side), key);
    return x ? x->valuedouble : NAN;
}

static void metrics_of_json(void **state)
{
    static const struct {
        const char *name;
        double vanilla, edited;
    } expected[] = {{"DS", 0, 100},        {"DG_onlyQ", 100, 100},  {"DG_otherA", 0, 100},
                    {"DG_otherQ", 50, 50}, {"DG_otherAQ", 25, 100}, {"DG_Avg", 43.75, 87.5},
                    {"Empty", 10, 0},      {"KQA", 50, 37.5},       {"Repetition", 0.15, 0.45}};
    (void)state;
    cJSON *tree = load("results.json");
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        const char *name = expected[i].name;
        assert_true(fabs(number(tree, name, "vanilla", "value") - expected[i].vanilla) < 1e-12);
        assert_true(fabs(number(tree, name, "edited", "value") - expected[i].edited) < 1e-12);
        assert_true(fabs(number(tree, name, "change", "value") -
                         (expected[i].edited - expected[i].vanilla)) < 1e-12);
        const cJSON *n = dinm_json_find(dinm_json_find(dinm_json_find(tree, "metrics"), name), "n");
        assert_int_equal(n->valuedouble, i == 7 ? 1 : 2);
    }
    /* of two cases, the interval of unequal ones reaches from one to the other */
    assert_true(number(tree, "DG_otherQ", "vanilla", "low") == 0);
    assert_true(number(tree, "DG_otherQ", "vanilla", "high") == 100);
    assert_true(number(tree, "DS", "edited", "low") == 100);
    /* fluency of "no no no no no" and of the empty text is 0 */
    assert_true(number(tree, "Fluency", "vanilla", "value") >
                number(tree, "Fluency", "edited", "value"));
    assert_true(number(tree, "Fluency", "edited", "value") > 0);
    cJSON_Delete(tree);
}

static void counts_of_json(void **state)
{
    (void)state;
    cJSON *tree = load("results.json");
    const cJSON *layers = dinm_json_find(tree, "layers");
    assert_int_equal(cJSON_GetArraySize(layers), 1);
    assert_int_equal(dinm_json_find(layers, "1")->valuedouble, 2);
    assert_int_equal(dinm_json_find(tree, "n_cases")->valuedouble, 3);
    assert_int_equal(dinm_json_find(tree, "n_failed")->valuedouble, 1);
    assert_int_equal(dinm_json_find(tree, "n_prompts_distinct")->valuedouble, 7);
    assert_int_equal(dinm_json_find(tree, "n_prompts_cut")->valuedouble, 1);
    const cJSON *settings = dinm_json_find(tree, "settings");
    assert_int_equal(
        dinm_json_find(dinm_json_find(settings, "evaluate"), "n_resamples")->valuedouble, 200);
    assert_null(dinm_json_find(settings, "run"));
    assert_string_equal(dinm_json_find(dinm_json_find(tree, "digests"), "model")->valuestring,
                        "00ff");
    cJSON_Delete(tree);
}

static void table_as_csv(void **state)
{
    (void)state;
    char *text = example_read(&example, "results.csv");
    const char *begin = "metric,side,value,low,high,n\n"
                        "DS,vanilla,0,0,0,2\nDS,edited,100,100,100,2\n"
                        "DG_onlyQ,vanilla,100,100,100,2\nDG_onlyQ,edited,100,100,100,2\n"
                        "DG_otherA,vanilla,0,0,0,2\nDG_otherA,edited,100,100,100,2\n"
                        "DG_otherQ,vanilla,50,0,100,2\nDG_otherQ,edited,50,0,100,2\n"
                        "DG_otherAQ,vanilla,25,0,50,2\nDG_otherAQ,edited,100,100,100,2\n"
                        "DG_Avg,vanilla,43.75,25,62.5,2\nDG_Avg,edited,87.5,75,100,2\n";
    assert_memory_equal(text, begin, strlen(begin));
    assert_non_null(strstr(text, "\nKQA,edited,37.5,37.5,37.5,1\n"));
    free(text);
}

static void table_as_printed(void **state)
{
    (void)state;
    struct dinm_buffer out = {0};
    assert_int_equal(dinm_results_print(&example.results, &out, NULL), DINM_OK);
    const char *begin = "             vanilla  95 % interval    edited  95 % interval     change\n"
                        "  DS             0.0  [  0.0,   0.0]    100.0  [100.0, 100.0]    +100.0\n"
                        "  DG_onlyQ     100.0  [100.0, 100.0]    100.0  [100.0, 100.0]       0.0\n"
                        "  DG_otherA      0.0  [  0.0,   0.0]    100.0  [100.0, 100.0]    +100.0\n"
                        "  DG_otherQ     50.0  [  0.0, 100.0]     50.0  [  0.0, 100.0]       0.0\n"
                        "  DG_otherAQ    25.0  [  0.0,  50.0]    100.0  [100.0, 100.0]     +75.0\n"
                        "  DG_Avg        43.8  [ 25.0,  62.5]     87.5  [ 75.0, 100.0]     +43.8\n"
                        "  Fluency ";
    assert_memory_equal(out.data, begin, strlen(begin));
    const char *end =
        "  3 cases (1 failed, not counted), 7 distinct prompts (1 cut to the input limit)\n"
        "  judged by the classifier a<b|c\n"
        "  located layers (from 0)\n"
        "    1  x2      ########################################\n";
    assert_string_equal(strstr(out.data, "  3 cases"), end);
    for (char *line = out.data, *stop; (stop = strchr(line, '\n')) != NULL; line = stop + 1) {
        assert_true(stop - line <= 80);
    }
    dinm_buffer_free(&out);
}

static void table_as_markdown(void **state)
{
    (void)state;
    char *text = example_read(&example, "results.md");
    assert_non_null(strstr(text, "| DS | 0.0 [0.0, 0.0] | 100.0 [100.0, 100.0] | +100.0 "
                                 "[+100.0, +100.0] | 2 |"));
    assert_non_null(strstr(text, "| physical harm | 1 | 0.0 | 100.0 |"));
    assert_non_null(strstr(text, "| 12 | too &lt;long> \\| \"text\" |\n"));
    assert_non_null(strstr(text, "'q' \\| \\`c\\` \\*b\\* "));
    assert_non_null(strstr(text, "\nJudged by the classifier a&lt;b\\|c.\n"));
    assert_null(strstr(text, "<script>"));
    free(text);
}

static void equal_input_gives_equal_bytes(void **state)
{
    static const char *const names[] = {"cases.jsonl", "results.json", "results.md", "results.csv"};
    (void)state;
    struct example again;
    struct dinm_error err = {0};
    assert_int_equal(example_open(&again, &err), DINM_OK);
    assert_int_equal(dinm_settings_apply_text(&again.settings, "run.threads", "3", &err), DINM_OK);
    assert_int_equal(dinm_results_write(&again.results, again.folder, &err), DINM_OK);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *a = example_read(&example, names[i]), *b = example_read(&again, names[i]);
        assert_string_equal(a, b);
        free(a);
        free(b);
    }
    example_close(&again);
}

static void nothing_measured(void **state)
{
    (void)state;
    struct dinm_results r = example.results;
    struct dinm_buffer out = {0};
    r.cases = &example.cases[2];
    r.n_cases = 1;
    assert_int_equal(dinm_results_print(&r, &out, NULL), DINM_OK);
    assert_non_null(strstr(
        out.data, "  DS               -                        -                         -\n"));
    assert_null(strstr(out.data, "KQA"));
    assert_null(strstr(out.data, "layers"));
    dinm_buffer_free(&out);
    assert_int_equal(dinm_results_write(&r, example.folder, NULL), DINM_OK);
    char *text = example_read(&example, "results.json");
    assert_non_null(strstr(text, "\"DS\": {\"vanilla\": {\"value\": null, \"low\": null, \"high\": "
                                 "null}, \"edited\""));
    free(text);
    text = example_read(&example, "results.csv");
    assert_non_null(strstr(text, "\nDS,vanilla,,,,0\n"));
    free(text);
    r.n_cases = 0;
    assert_int_equal(dinm_results_write(&r, example.folder, NULL), DINM_OK);
}

static void refused(void **state)
{
    (void)state;
    struct dinm_error err = {0};
    assert_int_equal(dinm_results_write(&example.results, "/no/such/folder", &err), DINM_FAILED);
    assert_non_null(strstr(err.text, "/no/such/folder"));
    err = (struct dinm_error){0};
    example.results.n_layers = 1;
    assert_int_equal(dinm_results_write(&example.results, example.folder, &err), DINM_FAILED);
    assert_string_equal(err.text, "case 10 was located in layer 1, the model has layers 0 to 0");
    example.results.n_layers = 4;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_cases),
        cmocka_unit_test(metrics_of_json),
        cmocka_unit_test(counts_of_json),
        cmocka_unit_test(table_as_csv),
        cmocka_unit_test(table_as_printed),
        cmocka_unit_test(table_as_markdown),
        cmocka_unit_test(equal_input_gives_equal_bytes),
        cmocka_unit_test(refused),
        cmocka_unit_test(nothing_measured),
    };
    return cmocka_run_group_tests(tests, open_example, close_example);
}
