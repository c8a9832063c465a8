/* For tests: a tiny judge in a folder of its own. */
#ifndef DINM_TESTS_JUDGE_FILES_H
#define DINM_TESTS_JUDGE_FILES_H

#include "model/encoder.h"
#include "pipeline/judge.h"
#include "support.h"

/* Positions for 8 tokens: <s>, six of the text, </s>. %d: layers. */
static const char config_json[] =
    "{\"model_type\": \"roberta\", \"num_hidden_layers\": %d, \"hidden_size\": 8,"
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
    char *folder; /* owns */
    struct dinm_settings settings;
};

static inline void write_tokenizer(const struct files *f, const char *post_processor)
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

static inline void make_files(struct files *f, int n_layers)
{
    struct dinm_error err = {0};
    struct dinm_encoder_config config = {0};
    f->folder = new_folder();
    struct dinm_buffer config_text = {0};
    assert_ok(dinm_buffer_append_format(&config_text, &err, config_json, n_layers), &err);
    free(write_text(f->folder, "config.json", config_text.data));
    dinm_buffer_free(&config_text);
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

static inline void remove_files(struct files *f)
{
    dinm_settings_free(&f->settings);
    remove_folder(f->folder);
}

#endif
