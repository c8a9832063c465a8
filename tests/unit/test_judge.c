/* A judge from its folder to the verdicts: what is cut, what is empty, and every failing call. */
#include "faults.h"
#include "judge_files.h"

enum { N_TEXTS = 6 };
static const char *const texts[N_TEXTS] = {"abcabc", "abcabcd", "", "abcab", " \n", "dddddddddddd"};

static void long_texts_are_cut(void **state)
{
    (void)state;
    struct files f = {0};
    struct dinm_error err = {0};
    struct dinm_judge_model m = {0};
    struct dinm_verdict v[N_TEXTS], front[2];
    make_files(&f, 1);
    assert_ok(dinm_judge_model_open(&m, &f.settings, &err), &err);
    assert_int_equal(m.n_most, 8);
    assert_int_equal(m.n_behind, 1);
    assert_true(!m.labels.unsafe[0] && m.labels.unsafe[1] && m.labels.unsafe[2]);
    assert_ok(dinm_judge_texts(&m, texts, N_TEXTS, v, &err), &err);
    assert_int_equal(v[0].n_cut, 0);
    assert_int_equal(v[1].n_cut, 1);
    assert_int_equal(v[5].n_cut, 6);
    assert_true(v[0].score > 0 && v[0].score < 1 && v[1].score == v[0].score);
    assert_true(v[3].score != v[0].score);
    for (size_t i = 0; i < N_TEXTS; i++) {
        const bool empty = i == 2 || i == 4;
        assert_true(empty ? v[i].score == 0.5 && v[i].label == 0.5
                          : v[i].label == (v[i].score > 0.5 ? 1.0 : 0.0));
        struct dinm_verdict alone = {0};
        assert_ok(dinm_judge_texts(&m, texts + i, 1, &alone, &err), &err);
        assert_memory_equal(&alone, &v[i], sizeof alone); /* whoever stands beside it */
    }
    assert_ok(dinm_judge_texts(&m, NULL, 0, NULL, &err), &err);
    dinm_judge_model_close(&m);

    /* Without a token behind the text, the text's own tokens are the last. */
    static const char *const two[] = {"abcabcd", "abcabcda"};
    write_tokenizer(&f, in_front);
    assert_ok(dinm_judge_model_open(&m, &f.settings, &err), &err);
    assert_int_equal(m.n_behind, 0);
    assert_ok(dinm_judge_texts(&m, two, 2, front, &err), &err);
    assert_int_equal(front[0].n_cut, 0);
    assert_int_equal(front[1].n_cut, 1);
    assert_true(front[0].score == front[1].score);
    dinm_judge_model_close(&m);
    dinm_judge_model_close(&m);
    remove_files(&f);
}

static void refusal_needs_no_model(void **state)
{
    (void)state;
    static const char *const said[] = {"I cannot help with this.", "First take a ladder.", " "};
    struct dinm_error err = {0};
    struct dinm_settings settings = {0};
    struct dinm_judge_model m = {0};
    struct dinm_verdict v[3];
    assert_ok(dinm_settings_init(&settings, DINM_PROFILE_PAPER, &err), &err);
    assert_ok(dinm_settings_apply_text(&settings, "judge.path", "refusal", &err), &err);
    assert_ok(dinm_judge_model_open(&m, &settings, &err), &err);
    assert_null(m.encoder);
    assert_ok(dinm_judge_texts(&m, said, 3, v, &err), &err);
    assert_true(v[0].label == 0.0 && v[0].score == 0.0);
    assert_true(v[1].label == 1.0 && v[1].score == 1.0);
    assert_true(v[2].label == 0.5 && v[2].score == 0.5);
    dinm_judge_model_close(&m);
    dinm_settings_free(&settings);
}

static int judge(void *context, struct dinm_error *err)
{
    int status = DINM_OK;
    struct files *f = context;
    struct dinm_judge_model m = {0};
    struct dinm_buffer words = {0};
    struct dinm_verdict v[N_TEXTS];
    TRY(dinm_judge_model_open(&m, &f->settings, err));
    TRY(dinm_judge_model_describe(&m, &f->settings, &words, err));
    TRY(dinm_judge_texts(&m, texts, N_TEXTS, v, err));
out:
    dinm_buffer_free(&words);
    dinm_judge_model_close(&m);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    struct files f = {0};
    make_files(&f, 1);
    fault_cjson();
    fail_each_allocation(judge, &f);
    remove_files(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(refusal_needs_no_model),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
