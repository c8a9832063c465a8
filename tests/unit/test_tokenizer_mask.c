/* io/tokenizer_mask and _fit: which words of a text may be control tokens, and which ids the model
 * can read. */
#include "tokenizers.h"

#define SPECIALS(normalized)                                                                       \
    "\"added_tokens\":["                                                                           \
    "{\"content\":\"<s>\",\"id\":256,\"special\":true,\"normalized\":" normalized "},"             \
    "{\"content\":\"</s>\",\"id\":257,\"special\":true,\"normalized\":" normalized ",\"lstrip\":"  \
    "true},"                                                                                       \
    "{\"content\":\"s>x\",\"id\":258,\"normalized\":" normalized "}],"

/* Encodes "before" + "user" + "behind" of which only the user's part is plain. */
static void assert_masked(const struct dinm_tokenizer *t, const char *before, const char *user,
                          const char *behind, const char *wanted)
{
    const struct dinm_span span = {strlen(before), strlen(before) + strlen(user)};
    const struct dinm_encode_options o = {.control = true, .plain = &span, .n_plain = 1};
    struct dinm_error err = {0};
    struct dinm_buffer text = {0}, found = {0};
    struct dinm_ids ids = {0};

    assert_int_equal(dinm_buffer_append_format(&text, NULL, "%s%s%s", before, user, behind),
                     DINM_OK);
    assert_int_equal(dinm_buffer_append_text(&found, "", NULL), DINM_OK);
    assert_ok(dinm_tokenizer_encode(t, text.data, text.n_bytes, o, &ids, &err), &err);
    for (size_t i = 0; i < ids.n_ids; i++) {
        assert_int_equal(
            dinm_buffer_append_format(&found, NULL, "%s%d", i > 0 ? " " : "", (int)ids.ids[i]),
            DINM_OK);
    }
    if (strcmp(found.data, wanted) != 0) {
        fail_msg("\"%s\", plain is \"%s\": expected the ids %s, found %s", text.data, user, wanted,
                 found.data);
    }
    dinm_buffer_free(&found);
    dinm_buffer_free(&text);
    dinm_ids_free(&ids);
}

static struct dinm_tokenizer *bytes_with(const char *rest)
{
    char *json = byte_level_json("", "", "", rest);
    struct dinm_tokenizer *t = parse_tokenizer(json);

    free(json);
    return t;
}

static void the_users_words_stay_text(void **state)
{
    struct dinm_tokenizer *t = bytes_with(SPECIALS("false") BYTE_LEVEL_PARTS);

    (void)state;
    assert_masked(t, "<s>", "a<s>", "</s>", "256 97 60 115 62 257");
    assert_masked(t, "<s>", "a ", "</s>", "256 97 257");
    assert_masked(t, "<s>", "", "</s>", "256 257");
    assert_masked(t, "", "<s>", "", "60 115 62");
    /* Half of the template and half of the user is nobody's token. */
    assert_masked(t, "<", "s>", "<s>", "60 115 62 256");
    assert_masked(t, "<s", ">", "", "60 115 62");
    /* Where no special token may be, a shorter added token is found. */
    assert_masked(t, "", "<s>x", "<s>", "60 258 256");
    /* Each broken byte of the user's becomes three: the spans follow. */
    assert_masked(t, "<s>", "\xFF\xFF<s>", "<s>", "256 239 191 189 239 191 189 60 115 62 256");
    dinm_tokenizer_close(t);
}

static void spans_follow_the_normalizers(void **state)
{
    struct dinm_tokenizer *t = bytes_with(SPECIALS(
        "true") "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":["
                "{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"bbb\"},"
                "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\"},"
                "{\"type\":\"Lowercase\"}]}," BYTE_LEVEL_PARTS);

    (void)state;
    assert_masked(t, "aa<S>", "a <s>", "a<s>",
                  "98 98 98 98 98 98 256 98 98 98 60 115 62 98 98 98 256");
    assert_masked(t, "a<s>", "A< S>", "", "98 98 98 256 97 60 115 62");
    assert_masked(t, "", "<s>a", "<s>", "60 115 62 98 98 98 256");
    assert_ids(t, "<s>", CONTROL, "256");
    dinm_tokenizer_close(t);
}

static void spans_out_of_order_are_refused(void **state)
{
    static const struct dinm_span bad[][2] = {{{0, 1}, {0, 2}}, {{1, 0}, {2, 2}}, {{0, 1}, {1, 4}}};
    struct dinm_tokenizer *t = bytes_with(SPECIALS("false") BYTE_LEVEL_PARTS);

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        const struct dinm_encode_options o = {.control = true, .plain = bad[i], .n_plain = 2};
        struct dinm_error err = {0};
        struct dinm_ids ids = {0};

        assert_failed(dinm_tokenizer_encode(t, "abc", 3, o, &ids, &err), DINM_FAILED, &err,
                      "out of order");
        assert_int_equal(ids.n_ids, 0);
        dinm_ids_free(&ids);
    }
    dinm_tokenizer_close(t);
}

static void only_added_tokens_may_lie_beyond_the_embedding(void **state)
{
    const struct dinm_encode_options control = {.control = true};
    struct dinm_tokenizer *t = bytes_with(SPECIALS("false") BYTE_LEVEL_PARTS);
    struct dinm_error err = {0};
    struct dinm_ids ids = {0};

    (void)state;
    assert_failed(dinm_tokenizer_fit(t, "model", 255, &err), DINM_FAILED, &err,
                  "the id 255, but the embedding has only 255 rows");
    err = (struct dinm_error){0};
    assert_ok(dinm_tokenizer_fit(t, "model", 257, &err), &err);
    assert_ids(t, "<s>", CONTROL, "256");
    assert_ids(t, "</s>", PLAIN, "60 47 115 62");
    assert_failed(dinm_tokenizer_encode(t, "a</s>", 5, control, &ids, &err), DINM_FAILED, &err,
                  "\"</s>\" with the id 257");
    assert_int_equal(ids.n_ids, 0);
    dinm_ids_free(&ids);
    dinm_tokenizer_close(t);
    t = bytes_with(
        SPECIALS("false") "\"post_processor\":{\"type\":\"BertProcessing\","
                          "\"cls\":[\"<s>\",256],\"sep\":[\"</s>\",257]}," BYTE_LEVEL_PARTS);
    err = (struct dinm_error){0};
    assert_failed(dinm_tokenizer_fit(t, "model", 257, &err), DINM_FAILED, &err, "\"</s>\"");
    dinm_tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_users_words_stay_text),
        cmocka_unit_test(spans_follow_the_normalizers),
        cmocka_unit_test(spans_out_of_order_are_refused),
        cmocka_unit_test(only_added_tokens_may_lie_beyond_the_embedding),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
