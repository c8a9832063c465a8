/* Which of a classifier's labels mean unsafe, and the probability of it. */
#include <math.h>
#include "support.h"
#include "pipeline/judge_labels.h"

/* The labels of a config.json with that text. */
static int read_labels(struct dinm_judge_labels *labels, const char *json, size_t n_labels,
                       struct dinm_error *err)
{
    char *folder = new_folder();
    char *path = write_text(folder, "config.json", json);
    const int status = dinm_judge_labels_read(labels, path, n_labels, err);
    free(path);
    remove_folder(folder);
    return status;
}

/* "01 0": one digit for each label, 1 for unsafe. NULL: refused with DINM_USAGE and `part`. */
static void check_choice(const char *json, size_t n_labels, const char *wanted,
                         const char *expected, const char *part)
{
    struct dinm_error err = {0};
    struct dinm_judge_labels labels = {0};
    assert_ok(read_labels(&labels, json, n_labels, &err), &err);
    const int status = dinm_judge_labels_choose(&labels, wanted, "folder", &err);
    if (expected == NULL) {
        assert_failed(status, DINM_USAGE, &err, part);
        expected = "0000000000"; /* nothing is half chosen */
    } else {
        assert_ok(status, &err);
    }
    for (size_t i = 0; i < n_labels; i++) {
        if (labels.unsafe[i] != (expected[i] == '1')) {
            fail_msg("%s with \"%s\": label %zu is wrong", json, wanted, i);
        }
    }
    dinm_judge_labels_free(&labels);
    dinm_judge_labels_free(&labels);
}

#define TWO(a, b) "{\"id2label\": {\"0\": \"" a "\", \"1\": \"" b "\"}}"
#define THREE(a, b, c) "{\"id2label\": {\"0\": \"" a "\", \"1\": \"" b "\", \"2\": \"" c "\"}}"
#define MULTI(a, b)                                                                                \
    "{\"problem_type\": \"multi_label_classification\", \"id2label\": {\"0\": \"" a                \
    "\", \"1\": \"" b "\"}}"

static void names_tell(void **state)
{
    (void)state;
    static const char ask[] = "set judge.unsafe_label";
    check_choice("{}", 2, "", "01", NULL);
    check_choice(TWO("LABEL_0", "LABEL_1"), 2, "", "01", NULL);
    check_choice(TWO("safe", "unsafe"), 2, "", "01", NULL);
    check_choice(TWO("Unsafe", "SAFE"), 2, "", "10", NULL);
    check_choice(TWO("NOT_TOXIC", "toxic"), 2, "", "01", NULL);
    check_choice(TWO("hate", "non-hate"), 2, "", "10", NULL);
    check_choice(TWO("spicy", "neutral"), 2, "", "10", NULL); /* the other one of two */
    check_choice(TWO("offensive", "fine words"), 2, "", "10", NULL);
    check_choice(TWO("plus", "minus"), 2, "", NULL, ask);
    check_choice(TWO("LABEL_1", "LABEL_0"), 2, "", NULL, ask); /* names that mislead */
    check_choice(TWO("toxic", "unsafe"), 2, "", NULL, ask);    /* nothing would be safe */
    check_choice(TWO("safe", "neutral"), 2, "", NULL, ask);
    check_choice(THREE("safe", "toxic", "threat"), 3, "", "011", NULL);
    check_choice(THREE("safe", "toxic", "spam"), 3, "", NULL, "2 \"spam\"; set judge");
    check_choice("{}", 3, "", NULL, "0 \"LABEL_0\", 1 \"LABEL_1\", 2 \"LABEL_2\"; set judge");
    check_choice("{}", 1, "", "1", NULL);
    check_choice("{\"id2label\": {\"0\": \"toxicity\"}}", 1, "", "1", NULL);
    check_choice("{\"id2label\": {\"0\": \"safe\"}}", 1, "", NULL, ask);
    check_choice(MULTI("toxic", "insult"), 2, "", "11", NULL);
}

static void setting_tells(void **state)
{
    (void)state;
    check_choice(TWO("plus", "minus"), 2, "minus", "01", NULL);
    check_choice(TWO("plus", "minus"), 2, "0", "10", NULL);
    check_choice(TWO("1", "0"), 2, "0", "01", NULL); /* a name goes before a number */
    check_choice(TWO("safe", "unsafe"), 2, "safe", "10", NULL);
    check_choice(THREE("a", "b", "c"), 3, "c, 0", "101", NULL);
    check_choice(THREE("a, b", "b", "c"), 3, "a, b", "100", NULL);
    check_choice(TWO("a", "b"), 2, "A", NULL, "names another one");
    check_choice(TWO("a", "b"), 2, "2", NULL, "0 \"a\", 1 \"b\"; judge.unsafe_label names");
    check_choice(TWO("a", "b"), 2, "01", NULL, "names another one");
    check_choice(TWO("a", "b"), 2, "a,", NULL, "names another one");
    check_choice(TWO("a", "b"), 2, "0,1", NULL, "names all of them");
    check_choice(MULTI("a", "b"), 2, "0,1", "11", NULL);
}

static double probability(const char *json, size_t n_labels, const char *wanted,
                          const float *logits)
{
    struct dinm_error err = {0};
    struct dinm_judge_labels labels = {0};
    assert_ok(read_labels(&labels, json, n_labels, &err), &err);
    assert_ok(dinm_judge_labels_choose(&labels, wanted, "folder", &err), &err);
    const double p = dinm_judge_labels_unsafe(&labels, logits);
    dinm_judge_labels_free(&labels);
    return p;
}

static void probability_of_unsafe(void **state)
{
    (void)state;
    const float logits[] = {0.5f, 1.25f, -2.0f};
    const double e[] = {exp(0.5), exp(1.25), exp(-2.0)};
    const double sum = e[0] + e[1] + e[2];
    assert_true(fabs(probability("{}", 2, "", logits) - e[1] / (e[0] + e[1])) < 1e-14);
    assert_true(fabs(probability("{}", 3, "1", logits) - e[1] / sum) < 1e-14);
    assert_true(fabs(probability("{}", 3, "0,2", logits) - (e[0] + e[2]) / sum) < 1e-14);
    /* one label alone: a sigmoid; labels that may hold together: the largest of theirs */
    assert_true(fabs(probability("{}", 1, "", logits) - 1 / (1 + exp(-0.5))) < 1e-14);
    assert_true(fabs(probability(MULTI("a", "b"), 2, "0", logits) - 1 / (1 + exp(-0.5))) < 1e-14);
    assert_true(fabs(probability(MULTI("a", "b"), 2, "0,1", logits) - 1 / (1 + exp(-1.25))) <
                1e-14);
    const float far[] = {1000.0f, -1000.0f};
    assert_true(probability("{}", 2, "0", far) == 1.0);
    assert_true(probability("{}", 2, "1", far) == 0.0);
    assert_true(probability(MULTI("a", "b"), 2, "1", far) == 0.0);
    const float bad[] = {1.0f, NAN};
    assert_true(isnan(probability("{}", 2, "", bad)));
    assert_true(isnan(probability(MULTI("a", "b"), 2, "0", bad)));
}

static void bad_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *part;
    } cases[] = {
        {"{\"problem_type\": \"regression\"}", "problem_type is \"regression\""},
        {"{\"problem_type\": 1}", "problem_type"},
        {"{\"id2label\": [\"a\", \"b\"]}", "id2label"},
        {"{\"id2label\": {\"0\": \"a\", \"2\": \"b\"}}", "id2label: key '1'"},
        {"{\"id2label\": {\"0\": \"a\", \"1\": 1}}", "id2label: key '1'"},
        {"{", "config.json"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dinm_error err = {0};
        struct dinm_judge_labels labels = {0};
        assert_failed(read_labels(&labels, cases[i].json, 2, &err), DINM_FAILED, &err,
                      cases[i].part);
        dinm_judge_labels_free(&labels);
    }
}

static void describes_the_choice(void **state)
{
    (void)state;
    struct dinm_error err = {0};
    struct dinm_buffer text = {0};
    struct dinm_judge_labels labels = {0};
    assert_ok(read_labels(&labels, THREE("safe", "toxic", "threat"), 3, &err), &err);
    assert_ok(dinm_judge_labels_choose(&labels, "", "folder", &err), &err);
    assert_ok(dinm_judge_labels_describe(&labels, &text, &err), &err);
    assert_string_equal(text.data, "0 \"safe\", 1 \"toxic\", 2 \"threat\"; unsafe: 1 \"toxic\", "
                                   "2 \"threat\"");
    dinm_buffer_free(&text);
    dinm_judge_labels_free(&labels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_tell),
        cmocka_unit_test(setting_tells),
        cmocka_unit_test(probability_of_unsafe),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(describes_the_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
