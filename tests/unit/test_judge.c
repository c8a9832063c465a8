/* A judge from its folder to the verdicts: what is cut, what is empty, and every failing call. */
#include "faults.h"
#include "model/encoder.h"
#include "pipeline/judge.h"

/* Positions for 8 tokens: <s>, six of the text, </s>. */
static const char config_json[] =
    "{\"model_type\": \"roberta\", \"num_hidden_layers\": 1, \"hidden_size\": 8,"
    "\"num_attention_heads\": 2, \"intermediate_size\": 12, \"vocab_size\": 7, \"pad_token_id\": 4,"
    "\"max_position_embeddings\": 13, \"type_vocab_size\": 1,"
    "\"id2label\": {\"0\": \"safe\", \"1\": \"threat\", \"2\": \"insult\"}}";
/* %s: the post-processor. */
static const char tokenizer_json[] =
    "{\"added_tokens\": [{\"id\": 5, \"content\": \"<s>\", \"special\": true},"
    " {\"id\": 6, \"content\": \"</s>\", \"special\": true}],"
    " \"normalizer\": null, \"pre_tokenizer\": {\"type\": \"ByteLevel\","
    " \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": true},"
    " \"post_processor\": %s, \"decoder\": {\"type\": \"ByteLevel\"},"
    " \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"c\": 2, \"d\": 3, \"e\": 4,"
    " \"<s>\": 5, \"</s>\": 6}, \"merges\": []}}";
static const char both_sides[] =
    "{\"type\": \"RobertaProcessing\", \"sep\": [\"</s>\", 6], \"cls\": [\"<s>\", 5],"
    " \"trim_offsets\": true, \"add_prefix_space\": false}";
static const char in_front[] =
    "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<s>\","
    " \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], \"pair\": [],"
    " \"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [5], \"tokens\": [\"<s>\"]}}}";

struct files {
    char *folder;
    struct dinm_settings settings;
};

static void write_tokenizer(const struct files *f, const char *post_processor)
{
    struct dinm_error err = {0};
    struct dinm_buffer text = {0};
    const char *at = strstr(tokenizer_json, "%s");
    const size_t n = (size_t)(at - tokenizer_json);
    assert_ok(dinm_buffer_append(&text, tokenizer_json, n, &err), &err);
    assert_ok(dinm_buffer_append_text(&text, post_processor, &err), &err);
    assert_ok(dinm_buffer_append_text(&text, at + 2, &err), &err);
    free(write_text(f->folder, "tokenizer.json", text.data));
    dinm_buffer_free(&text);
}

static void make_files(struct files *f)
{
    struct dinm_error err = {0};
    struct dinm_encoder_config config = {0};
    f->folder = new_folder();
    free(write_text(f->folder, "config.json", config_json));
    write_tokenizer(f, both_sides);
    assert_ok(dinm_encoder_config_load(&config, f->folder, &err), &err);
    const size_t n = dinm_encoder_n_params(&config);
    float *flat = dinm_alloc(n, sizeof *flat, "weights", &err);
    assert_non_null(flat);
    dinm_encoder_init_flat(flat, &config, 0, config.n_layers, 1);
    for (size_t i = 0; i < n; i++) {
        flat[i] *= flat[i] == 1.0f ? 1.0f : 20.0f; /* so that texts differ visibly */
    }
    assert_ok(dinm_encoder_write_flat(f->folder, flat, &config, DINM_F32, &err), &err);
    free(flat);
    assert_ok(dinm_settings_init(&f->settings, DINM_PROFILE_PAPER, &err), &err);
    assert_ok(dinm_settings_apply_text(&f->settings, "judge.path", f->folder, &err), &err);
}

static void remove_files(struct files *f)
{
    dinm_settings_free(&f->settings);
    remove_folder(f->folder);
}

enum { N_TEXTS = 6 };
static const char *const texts[N_TEXTS] = {"abcabc", "abcabcd", "", "abcab", " \n", "dddddddddddd"};

static void long_texts_are_cut(void **state)
{
    (void)state;
    struct files f = {0};
    struct dinm_error err = {0};
    struct dinm_judge_model m = {0};
    struct dinm_verdict v[N_TEXTS], front[2];
    make_files(&f);
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
    make_files(&f);
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
