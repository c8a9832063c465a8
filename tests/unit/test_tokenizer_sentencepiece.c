/* io/tokenizer_sentencepiece and _convert: models made here, as the tokenizers they become. */
#include "tokenizers.h"
#include "io/tokenizer_older.h"

static void put_varint(struct dinm_buffer *b, uint64_t value)
{
    do {
        const char byte = (char)((value & 0x7F) | (value > 0x7F ? 0x80 : 0));

        assert_int_equal(dinm_buffer_append(b, &byte, 1, NULL), DINM_OK);
        value >>= 7;
    } while (value > 0);
}

static void put_number(struct dinm_buffer *b, unsigned field, uint64_t value)
{
    put_varint(b, field << 3);
    put_varint(b, value);
}

static void put_bytes(struct dinm_buffer *b, unsigned field, const void *bytes, size_t n_bytes)
{
    put_varint(b, field << 3 | 2);
    put_varint(b, n_bytes);
    assert_int_equal(dinm_buffer_append(b, bytes, n_bytes, NULL), DINM_OK);
}

static void put_piece(struct dinm_buffer *b, const char *text, float score, unsigned type)
{
    struct dinm_buffer piece = {0};

    put_bytes(&piece, 1, text, strlen(text));
    put_varint(&piece, 2 << 3 | 5);
    assert_int_equal(dinm_buffer_append(&piece, &score, 4, NULL), DINM_OK);
    if (type != 1) {
        put_number(&piece, 3, type);
    }
    put_bytes(b, 1, piece.data, piece.n_bytes);
    dinm_buffer_free(&piece);
}

#define MARK "\xE2\x96\x81"

/* A BPE model: 0 to 2 special, 3 <0x0A>, 4 user-defined, then letters and what they join to. */
static void put_model(struct dinm_buffer *b, unsigned type, const char *map)
{
    static const char *const pieces[] = {MARK, "a",       "b",   "c",  "ab",
                                         "bc", MARK "ab", "abc", "<s", ">"};
    struct dinm_buffer part = {0};

    put_piece(b, "<unk>", 0, 2);
    put_piece(b, "<s>", 0, 3);
    put_piece(b, "</s>", 0, 3);
    put_piece(b, "<0x0A>", 0, 6);
    put_piece(b, "bcb", 0, 4);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        put_piece(b, pieces[i], -(float)i, 1);
    }
    put_number(&part, 3, type);
    put_number(&part, 35, 1);
    put_number(&part, 200, 7);
    put_bytes(b, 2, part.data, part.n_bytes);
    part.n_bytes = 0;
    put_bytes(&part, 2, map, strlen(map));
    put_number(&part, 3, 1);
    put_bytes(b, 3, part.data, part.n_bytes);
    dinm_buffer_free(&part);
}

static struct dinm_tokenizer *open_model(const char *config)
{
    struct dinm_error err = {0};
    struct dinm_buffer b = {0};
    struct dinm_tokenizer *t = NULL;
    char *folder = new_folder();
    char *path = dinm_path_join(folder, "tokenizer.model", NULL);

    put_model(&b, 2, "");
    assert_ok(dinm_file_write(path, b.data, b.n_bytes, &err), &err);
    free(write_text(folder, "tokenizer_config.json", config));
    assert_ok(dinm_tokenizer_open(&t, folder, &err), &err);
    remove_folder(folder);
    free(path);
    dinm_buffer_free(&b);
    return t;
}

static void sentencepiece_models(void **state)
{
    static const int32_t ids[] = {1, 11, 7, 5, 6, 3, 2};
    struct dinm_tokenizer *t = open_model("{\"tokenizer_class\":\"LlamaTokenizer\"}");

    (void)state;
    assert_int_equal(dinm_tokenizer_bos(t), 1);
    assert_int_equal(dinm_tokenizer_eos(t), 2);
    assert_int_equal(dinm_tokenizer_n_vocab(t), 15);
    assert_ids(t, "ab a", SPECIAL, "1 11 5 6");
    assert_ids(t, "abc\n", PLAIN, "11 8 3");
    assert_ids(t, "bc", PLAIN, "5 10");
    assert_ids(t, "babcbb", PLAIN, "5 7 6 4 5 7"); /* the user-defined piece, then a new mark */
    assert_ids(t, "<s>", PLAIN, "5 0 14");
    /* a + bc comes before ab + c, and nothing joins to <s>. */
    assert_true(dinm_tokenizer_merges_find(&t->bpe, 6, 10)->rank <
                dinm_tokenizer_merges_find(&t->bpe, 9, 8)->rank);
    assert_int_equal(dinm_tokenizer_merges_find(&t->bpe, 13, 14)->rank, DINM_NO_RANK);
    assert_ids(t, "a<s>b", CONTROL, "5 6 1 5 7");
    assert_decodes(t, ids, 7, true, "abb a\n", 6);
    dinm_tokenizer_close(t);
    t = open_model("{\"tokenizer_class\":\"LlamaTokenizer\",\"legacy\":false}");
    assert_ids(t, "a<s>b ab", CONTROL, "5 6 1 7 11");
    dinm_tokenizer_close(t);
    t = open_model("{\"add_prefix_space\":false}");
    assert_ids(t, "ab ab", SPECIAL, "9 11");
    dinm_tokenizer_close(t);
}

static void refuse_model(const void *bytes, size_t n_bytes, const char *part)
{
    struct dinm_error err = {0};
    struct dinm_spm m = {0};

    assert_failed(dinm_tokenizer_sentencepiece_parse(&m, "m.model", bytes, n_bytes, &err),
                  DINM_FAILED, &err, part);
    dinm_tokenizer_sentencepiece_free(&m);
    dinm_tokenizer_sentencepiece_free(&m);
}

static void other_sentencepiece_models_are_refused(void **state)
{
    static const char *const pieces[] = {"", "\xFF", "a"};
    struct dinm_buffer b = {0};

    (void)state;
    put_model(&b, 1, "");
    refuse_model(b.data, b.n_bytes, "type 1");
    b.n_bytes = 0;
    put_model(&b, 2, "map");
    refuse_model(b.data, b.n_bytes, "character map");
    b.n_bytes = 0;
    put_model(&b, 2, "");
    put_piece(&b, "ab", 0, 1);
    refuse_model(b.data, b.n_bytes, "\"ab\" has the ids");
    for (size_t i = 0; i < 3; i++) {
        b.n_bytes = 0;
        put_piece(&b, pieces[i], 0, i == 2 ? 77 : 1);
        refuse_model(b.data, b.n_bytes, "piece 0");
    }
    refuse_model("", 0, "m.model");
    refuse_model("\x0A\x7F", 2, "broken");
    refuse_model("\x0B", 1, "broken");
    refuse_model("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 11, "broken");
    dinm_buffer_free(&b);
}

/* A model that ends anywhere is read without reading behind its end. */
static void truncated_models_do_no_harm(void **state)
{
    struct dinm_buffer b = {0};

    (void)state;
    put_model(&b, 2, "");
    for (size_t n = 0; n < b.n_bytes; n++) {
        struct dinm_error err = {0};
        struct dinm_spm m = {0};
        char *copy = malloc(n + 1); /* behind it, a sanitizer watches */
        int status;

        assert_non_null(copy);
        memcpy(copy, b.data, n);
        status = dinm_tokenizer_sentencepiece_parse(&m, "m.model", copy, n, &err);
        assert_true(status == DINM_FAILED || m.vocab.n_ids == 15);
        dinm_tokenizer_sentencepiece_free(&m);
        free(copy);
    }
    dinm_buffer_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentencepiece_models),
        cmocka_unit_test(other_sentencepiece_models_are_refused),
        cmocka_unit_test(truncated_models_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
