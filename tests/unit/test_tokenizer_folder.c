/* io/tokenizer_special, _folder, _older, _convert, _sentencepiece: model folders, and which of
 * their files decides what. */
#include "tokenizers.h"

struct file {
    const char *name, *text;
};

static void write_files(const char *folder, const struct file *files)
{
    for (size_t i = 0; files[i].name != NULL; i++) {
        free(write_text(folder, files[i].name, files[i].text));
    }
}

static struct dinm_tokenizer *open_files(const struct file *files)
{
    struct dinm_error err = {0};
    struct dinm_tokenizer *t = NULL;
    char *folder = new_folder();

    write_files(folder, files);
    assert_ok(dinm_tokenizer_open(&t, folder, &err), &err);
    remove_folder(folder);
    return t;
}

static void refuse_files(const struct file *files, const char *part)
{
    struct dinm_error err = {0};
    struct dinm_tokenizer *t = NULL;
    char *folder = new_folder();

    write_files(folder, files);
    assert_failed(dinm_tokenizer_open(&t, folder, &err), DINM_FAILED, &err, part);
    assert_null(t);
    remove_folder(folder);
}

#define TOKENIZER                                                                                  \
    "{\"added_tokens\":[{\"id\":3,\"content\":\"<s>\",\"special\":true}],\"post_processor\":"      \
    "{\"type\":\"RobertaProcessing\",\"cls\":[\"<s>\",3],\"sep\":[\"</s>\",4]},"                   \
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"                       \
    "\"model\":{\"vocab\":{\"\\u0120\":0,\"a\":1,\"<unk>\":2,\"<s>\":3,\"</s>\":4,\"<pad>\":5},"   \
    "\"merges\":[]}}"
#define CONFIG "tokenizer_config.json"
#define MAP "special_tokens_map.json"

/* bos, eos, pad and the ids of "a" from the files beside TOKENIZER. */
static void special_tokens_come_from_the_right_file(void **state)
{
    static const struct {
        const char *config, *map, *model;
        int bos, eos, pad;
        const char *ids;
    } cases[] = {
        {"{}", "{}", "{}", -1, -1, -1, "3 1 4"},
        {"{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\",\"lstrip\":false},"
         "\"pad_token\":null}",
         "{}", "{}", 3, 4, -1, "3 1 4"},
        /* The map wins, null included, ... */
        {"{\"bos_token\":\"a\",\"pad_token\":\"a\"}",
         "{\"bos_token\":{\"content\":\"<s>\"},\"pad_token\":null}", "{}", 3, -1, -1, "3 1 4"},
        /* ... unless the newer file has the table of added tokens. */
        {"{\"bos_token\":\"</s>\",\"added_tokens_decoder\":{\"3\":{\"content\":\"<s>\","
         "\"special\":true}}}",
         "{\"bos_token\":\"<s>\"}", "{}", 4, -1, -1, "3 1 4"},
        /* Classes have defaults; some build their own template. */
        {"{}", "{}", "{\"model_type\":\"roberta\"}", 3, 4, 5, "3 1 4"},
        {"{\"tokenizer_class\":\"RobertaTokenizerFast\",\"pad_token\":null}", "{}",
         "{\"model_type\":\"llama\"}", 3, 4, -1, "3 1 4"},
        {"{\"tokenizer_class\":\"LlamaTokenizer\"}", "{}", "{}", 3, 4, -1, "3 1"},
        {"{\"add_bos_token\":false,\"add_eos_token\":true}", "{}", "{\"model_type\":\"mistral\"}",
         3, 4, -1, "1 4"},
        {"{\"tokenizer_class\":\"PreTrainedTokenizerFast\",\"add_bos_token\":false}", "{}",
         "{\"model_type\":\"llama\"}", -1, -1, -1, "3 1 4"},
        {"{\"tokenizer_class\":\"LlamaTokenizerX\"}", "{}", "{}", -1, -1, -1, "3 1 4"},
        /* A special token that nobody knows yet gets the next id. */
        {"{\"pad_token\":\"[PAD]\"}", "{}", "{}", -1, -1, 6, "3 1 4"},
        {"{\"add_prefix_space\":true}", "{}", "{}", -1, -1, -1, "3 0 1 4"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct file files[] = {{"tokenizer.json", TOKENIZER},
                                     {CONFIG, cases[i].config},
                                     {MAP, cases[i].map},
                                     {"config.json", cases[i].model},
                                     {NULL, NULL}};
        struct dinm_tokenizer *t = open_files(files);

        assert_int_equal(dinm_tokenizer_bos(t), cases[i].bos);
        assert_int_equal(dinm_tokenizer_eos(t), cases[i].eos);
        assert_int_equal(dinm_tokenizer_pad(t), cases[i].pad);
        assert_ids(t, "a", SPECIAL, cases[i].ids);
        dinm_tokenizer_close(t);
    }
}

static void named_special_tokens_are_special(void **state)
{
    static const struct file files[] = {
        {"tokenizer.json", TOKENIZER},
        {CONFIG, "{\"eos_token\":\"</s>\",\"mask_token\":{\"content\":\"[M]\",\"lstrip\":true},"
                 "\"additional_special_tokens\":[\"[X]\",{\"content\":\"<pad>\"}]}"},
        {NULL, NULL}};
    static const int32_t ids[] = {1, 4, 6, 7, 5, 2};
    struct dinm_tokenizer *t = open_files(files);

    (void)state;
    assert_ids(t, "a</s>a  [M][X]<pad>", CONTROL, "1 4 1 6 7 5");
    assert_ids(t, "</s>", PLAIN, "");
    assert_decodes(t, ids, 6, true, "a <unk>", 7);
    dinm_tokenizer_close(t);
}

/* The table of added tokens changes how a token is stripped, not what text it is looked for in. */
static void flags_of_the_newer_table_count(void **state)
{
    static const struct file files[] = {
        {"tokenizer.json",
         "{\"added_tokens\":[{\"id\":1,\"content\":\"<s>\",\"special\":true}],\"normalizer\":"
         "{\"type\":\"Prepend\",\"prepend\":\"_\"},"
         "\"model\":{\"vocab\":{\"a\":0,\"<s>\":1,\" \":2},\"merges\":[]}}"},
        {CONFIG, "{\"added_tokens_decoder\":{\"1\":{\"content\":\"<s>\",\"special\":true,"
                 "\"normalized\":true,\"lstrip\":true}}}"},
        {NULL, NULL}};
    struct dinm_tokenizer *t = open_files(files);

    (void)state;
    assert_ids(t, "a  <s> a", CONTROL, "0 1 2 0");
    dinm_tokenizer_close(t);
}

static void broken_side_files_are_refused(void **state)
{
    static const struct {
        const char *name, *text, *part;
    } cases[] = {
        {CONFIG, "[]", "tokenizer_config.json"},
        {CONFIG, "{\"bos_token\":7}", "bos_token"},
        {CONFIG, "{\"bos_token\":{}}", "content"},
        {CONFIG, "{\"additional_special_tokens\":[1]}", "additional_special_tokens"},
        {CONFIG, "{\"added_tokens_decoder\":{\"9\":{\"content\":\"<s>\"}}}", "\"<s>\" the id 9"},
        {CONFIG, "{\"tokenizer_class\":\"LlamaTokenizer\",\"bos_token\":null}", "add_bos_token"},
        {CONFIG, "{\"add_prefix_space\":\"no\"}", "add_prefix_space"},
        {MAP, "{", "special_tokens_map.json"},
        {"config.json", "nothing", "config.json"},
        {"tokenizer.json", "{}", "tokenizer.json"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct file files[] = {
            {"tokenizer.json", TOKENIZER}, {cases[i].name, cases[i].text}, {NULL, NULL}};

        refuse_files(files, cases[i].part);
    }
}

/* ---- vocab.json and merges.txt ---- */

#define VOCAB                                                                                      \
    {                                                                                              \
        "vocab.json", "{\"<s>\":0,\"<pad>\":1,\"</s>\":2,\"<unk>\":3,\"a\":4,\"b\":5,\"ab\":6,"    \
                      "\"\\u0120\":7,\"<mask>\":8,\"<|endoftext|>\":9}"                            \
    }
#define MERGES                                                                                     \
    {                                                                                              \
        "merges.txt", "#version: 0.2\na b\r\n"                                                     \
    }

static void vocab_and_merges(void **state)
{
    static const struct file roberta[] = {VOCAB,
                                          MERGES,
                                          {"config.json", "{\"model_type\":\"roberta\"}"},
                                          {"added_tokens.json", "{\"[B]\":11,\"[A]\":10}"},
                                          {NULL, NULL}};
    static const struct file gpt2[] = {
        VOCAB, MERGES, {CONFIG, "{\"tokenizer_class\":\"GPT2Tokenizer\"}"}, {NULL, NULL}};
    static const int32_t ids[] = {0, 6, 7, 5, 2};
    struct dinm_tokenizer *t = open_files(roberta);

    (void)state;
    assert_ids(t, "ab b", SPECIAL, "0 6 7 5 2");
    assert_ids(t, "[A]b [B] <mask>", CONTROL, "10 5 7 11 8");
    assert_ids(t, "[A]b", PLAIN, "10 5");
    assert_int_equal(dinm_tokenizer_pad(t), 1);
    assert_int_equal(dinm_tokenizer_n_vocab(t), 12);
    assert_decodes(t, ids, 5, true, "ab b", 4);
    dinm_tokenizer_close(t);
    t = open_files(gpt2);
    assert_ids(t, "ab b", SPECIAL, "6 7 5");
    assert_int_equal(dinm_tokenizer_eos(t), 9);
    dinm_tokenizer_close(t);
}

static void incomplete_folders_are_refused(void **state)
{
    static const struct file nothing[] = {{NULL, NULL}};
    static const struct file half[] = {VOCAB, {NULL, NULL}};
    static const struct file classless[] = {VOCAB, MERGES, {NULL, NULL}};
    static const struct file qwen[] = {
        VOCAB, MERGES, {"config.json", "{\"model_type\":\"qwen2\"}"}, {NULL, NULL}};
    static const struct file bos[] = {
        VOCAB,
        MERGES,
        {CONFIG, "{\"tokenizer_class\":\"GPT2Tokenizer\",\"add_bos_token\":true}"},
        {NULL, NULL}};
    static const struct file merges[] = {
        VOCAB, {"merges.txt", "a c\n"}, {"config.json", "{\"model_type\":\"gpt2\"}"}, {NULL, NULL}};
    static const struct file bytes[] = {VOCAB,
                                        {"merges.txt", "a \xFF\n"},
                                        {"config.json", "{\"model_type\":\"gpt2\"}"},
                                        {NULL, NULL}};
    static const struct file added[] = {VOCAB,
                                        MERGES,
                                        {"config.json", "{\"model_type\":\"gpt2\"}"},
                                        {"added_tokens.json", "{\"x\":\"y\"}"},
                                        {NULL, NULL}};

    (void)state;
    refuse_files(nothing, "has no tokenizer.json");
    refuse_files(half, "merges.txt");
    refuse_files(classless, "GPT2Tokenizer or RobertaTokenizer");
    refuse_files(qwen, "GPT2Tokenizer or RobertaTokenizer");
    refuse_files(bos, "add_bos_token");
    refuse_files(merges, "\"c\"");
    refuse_files(bytes, "UTF-8");
    refuse_files(added, "added_tokens.json");
}

/* As transformers' clean_up_tokenization does it, replacement by replacement. */
static void texts_are_cleaned_on_request(void **state)
{
    static const char json[] =
        "{\"decoder\":null,\"model\":{\"vocab\":{\"do\":0,\"n't\":1,\"stop\":2,\"!\":3,"
        "\"?\":4,\"it\":5,\"'s\":6,\"'\":7,\",\":8,\".\":9,\"'ve\":10},\"merges\":[]}}";
    static const int32_t ids[] = {0, 1, 2, 3, 4, 5, 6, 7, 5, 8, 9, 9, 10};
    static const struct {
        const char *config, *text;
    } cases[] = {
        {"{\"clean_up_tokenization_spaces\": true}", "before .don't stop!? it's'it,..'ve"},
        {"{\"clean_up_tokenization_spaces\": false}",
         "before .do n't stop ! ? it 's ' it , . . 've"},
        {"{}", "before .do n't stop ! ? it 's ' it , . . 've"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct file files[] = {
            {"tokenizer.json", json}, {CONFIG, cases[i].config}, {NULL, NULL}};
        struct dinm_tokenizer *t = open_files(files);
        struct dinm_buffer text = {0};
        struct dinm_error err = {0};

        /* What was there before stays as it is. */
        assert_ok(dinm_buffer_append_text(&text, "before .", &err), &err);
        assert_ok(dinm_tokenizer_decode(t, ids, sizeof ids / sizeof *ids, false, &text, &err),
                  &err);
        assert_string_equal(text.data, cases[i].text);
        dinm_buffer_free(&text);
        dinm_tokenizer_close(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_cleaned_on_request),
        cmocka_unit_test(special_tokens_come_from_the_right_file),
        cmocka_unit_test(named_special_tokens_are_special),
        cmocka_unit_test(flags_of_the_newer_table_count),
        cmocka_unit_test(broken_side_files_are_refused),
        cmocka_unit_test(vocab_and_merges),
        cmocka_unit_test(incomplete_folders_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
