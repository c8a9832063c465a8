/* io/tokenizer: small tokenizers of our own, every setting of added tokens and templates, and what
 * must be refused by name. */
#include "tokenizers.h"

#define HELLO_PIECES ",\"he\":256,\"ll\":257,\"hell\":258,\"\\u0120w\":259,\"lo\":260"
#define HELLO_MERGES "\"h e\",\"l l\",\"he ll\",[\"\\u0120\",\"w\"],\"l o\""

static struct dinm_tokenizer *hello(const char *model, const char *rest)
{
    char *json = byte_level_json(HELLO_PIECES, HELLO_MERGES, model, rest);
    struct dinm_tokenizer *t = parse_tokenizer(json);

    free(json);
    return t;
}

static void merges_go_by_rank(void **state)
{
    struct dinm_tokenizer *t = hello("", BYTE_LEVEL_PARTS);

    (void)state;
    assert_ids(t, "", PLAIN, "");
    assert_ids(t, "hello", PLAIN, "258 111");
    assert_ids(t, "lo", PLAIN, "260");
    assert_ids(t, "llo", PLAIN, "257 111");
    assert_ids(t, "lll", PLAIN, "257 108");
    assert_ids(t, "hello w h", PLAIN, "258 111 259 32 104");
    assert_ids(t, "\xC3\xA9\n", PLAIN, "195 169 10");
    dinm_tokenizer_close(t);
}

static void whole_words_can_come_first(void **state)
{
    struct dinm_tokenizer *t;
    char *json = byte_level_json(",\"abc\":256,\"ab\":257", "\"a b\"", ",\"ignore_merges\":true",
                                 BYTE_LEVEL_PARTS);

    (void)state;
    t = parse_tokenizer(json);
    assert_ids(t, "abc", PLAIN, "256");
    assert_ids(t, "abcd", PLAIN, "257 99 100");
    dinm_tokenizer_close(t);
    free(json);
}

static void every_byte_comes_back(void **state)
{
    struct dinm_tokenizer *t = hello("", BYTE_LEVEL_PARTS);
    uint32_t seed = 1;
    char text[64];

    (void)state;
    for (uint32_t c = 0; c <= 0x10FFFF; c += c < 0x3000 ? 1 : 97) {
        const size_t n = c >= 0xD800 && c < 0xE000 ? 0 : dinm_utf8_put(text, c);

        assert_comes_back(t, text, n, text, n);
    }
    for (int round = 0; round < 2000; round++) {
        struct dinm_buffer wanted = {0};
        const size_t n_bytes = (size_t)round % sizeof text;

        for (size_t i = 0; i < n_bytes; i++) {
            seed = seed * 1664525u + 1013904223u;
            text[i] = (char)(seed >> 24);
        }
        assert_int_equal(dinm_tokenizer_text_repair(&wanted, text, n_bytes, NULL), DINM_OK);
        assert_comes_back(t, text, n_bytes, wanted.data, wanted.n_bytes);
        dinm_buffer_free(&wanted);
    }
    dinm_tokenizer_close(t);
}

static void broken_bytes_are_replaced(void **state)
{
    static const int32_t half[] = {104, 195, 104};
    static const int32_t cut[] = {240, 159, 152};
    struct dinm_tokenizer *t = hello("", BYTE_LEVEL_PARTS);

    (void)state;
    assert_comes_back(t, "a\xC3z\xF0\x9F\x98", 6, "a\xEF\xBF\xBDz\xEF\xBF\xBD", 8);
    assert_decodes(t, half, 3, false, "h\xEF\xBF\xBDh", 5);
    assert_decodes(t, cut, 3, false, "\xEF\xBF\xBD", 3);
    assert_decodes(t, NULL, 0, false, "", 0);
    dinm_tokenizer_close(t);
}

static void a_blank_can_be_put_in_front(void **state)
{
    struct dinm_tokenizer *t =
        hello("", "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
                  "\"use_regex\":false}");

    (void)state;
    assert_ids(t, "w w", PLAIN, "259 259");
    assert_ids(t, " w", PLAIN, "259");
    assert_ids(t, "", PLAIN, "");
    dinm_tokenizer_close(t);
}

#define ADDED(text, id, flags) "{\"content\":\"" text "\",\"id\":" #id flags "}"
#define ADDED_TOKENS                                                                                                   \
    "\"added_tokens\":[" ADDED("<s>", 261, ",\"special\":true") "," ADDED("</s>", 262, ",\"special\":true") "," ADDED( \
        "<m>", 263,                                                                                                    \
        ",\"special\":true,\"lstrip\":"                                                                                \
        "true,\"rstrip\":true") "," ADDED("xy", 264,                                                                   \
                                          "") "," ADDED("xyz", 265,                                                    \
                                                        "") "," ADDED("one", 266,                                      \
                                                                      ",\"single_word\":true") "]"                     \
                                                                                               ","

static void special_tokens_need_control(void **state)
{
    static const int32_t ids[] = {261, 104, 262, 264};
    struct dinm_tokenizer *t = hello("", ADDED_TOKENS BYTE_LEVEL_PARTS);

    (void)state;
    assert_ids(t, "<s>h", PLAIN, "60 115 62 104");
    assert_ids(t, "<s>h</s>", CONTROL, "261 104 262");
    assert_ids(t, "<s><s", CONTROL, "261 60 115");
    assert_ids(t, "h \t<m>\n w", CONTROL, "104 263 119");
    assert_ids(t, "h \t<m>", PLAIN, "104 32 9 60 109 62");
    assert_ids(t, "<m> <m>", CONTROL, "263 263");
    assert_int_equal(dinm_tokenizer_n_vocab(t), 267);
    assert_int_equal(dinm_tokenizer_id(t, "<m>"), 263);
    assert_int_equal(dinm_tokenizer_id(t, "he"), 256);
    assert_int_equal(dinm_tokenizer_id(t, "hel"), -1);
    assert_int_equal(dinm_tokenizer_id(t, ""), -1);
    assert_decodes(t, ids, 4, true, "hxy", 3);
    assert_decodes(t, ids, 4, false, "<s>h</s>xy", 10);
    dinm_tokenizer_close(t);
}

static void other_added_tokens_are_always_found(void **state)
{
    struct dinm_tokenizer *t = hello("", ADDED_TOKENS BYTE_LEVEL_PARTS);

    (void)state;
    assert_ids(t, "axyb", PLAIN, "97 264 98");
    assert_ids(t, "xyzxy", PLAIN, "265 264");
    assert_ids(t, "one", PLAIN, "266");
    assert_ids(t, "-one-", PLAIN, "45 266 45");
    assert_ids(t, "ones", PLAIN, "111 110 101 115");
    assert_ids(t, "\xC3\xA9one", PLAIN, "195 169 111 110 101");
    assert_ids(t, "one\xCC\x88", PLAIN, "111 110 101 204 136");
    dinm_tokenizer_close(t);
}

static void added_tokens_do_not_overlap(void **state)
{
    struct dinm_tokenizer *t =
        hello("", "\"added_tokens\":[" ADDED("oo", 261, "") "," ADDED(
                      "Hi", 262, "") "],\"normalizer"
                                     "\":{\"type\":\"Lowercase\"}," BYTE_LEVEL_PARTS);

    (void)state;
    assert_ids(t, "ooo", PLAIN, "261 111");
    /* Those that are normalized are looked for as what the normalizer makes of them. */
    assert_ids(t, "xhi HI", PLAIN, "120 262 32 262");
    dinm_tokenizer_close(t);
}

/* A special token that merges could spell is not reached by them without control. */
static void no_merge_makes_a_special_token(void **state)
{
    char *json = byte_level_json(
        ",\"<s\":256,\"<s>\":257", "\"< s\",\"<s >\"", ",\"ignore_merges\":true",
        "\"added_tokens\":[" ADDED(
            "<s>", 257,
            ",\"special\":true") "],"
                                 "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"use_regex\":false,"
                                 "\"add_prefix_space\":false}");
    struct dinm_tokenizer *t = parse_tokenizer(json);

    (void)state;
    assert_ids(t, "<s>", PLAIN, "256 62");
    assert_ids(t, "<s>", CONTROL, "257");
    dinm_tokenizer_close(t);
    free(json);
}

/* A token that only added_tokens knows is no piece for the model to spell with; blanks that one
 * token swallows are still there for the next; and a text whose own beginning was normalised away
 * does not stand first. Ids as tokenizers 0.23 gives them. */
static void cases_found_by_comparison(void **state)
{
    struct dinm_tokenizer *t = hello(
        "", "\"added_tokens\":[" ADDED("\xE2\x98\xBA", 261, ",\"single_word\":true") "," ADDED(
                "  ", 262, "") "," ADDED("yy", 263, ",\"rstrip\":true") "],"
                                                                        "\"pre_tokenizer\":null");

    (void)state;
    assert_ids(t, "a\xE2\x98\xBA", PLAIN, "97");
    assert_ids(t, "a \xE2\x98\xBA", PLAIN, "97 261");
    assert_ids(t, "yy    a", PLAIN, "263 262 262 97");
    assert_ids(t, "a    a", PLAIN, "97 262 262 97");
    dinm_tokenizer_close(t);
    t = hello("", "\"normalizer\":{\"type\":\"Strip\"},\"pre_tokenizer\":{\"type\":\"Metaspace\","
                  "\"replacement\":\"h\",\"prepend_scheme\":\"first\"}");
    assert_ids(t, "a", PLAIN, "104 97");
    assert_ids(t, " a", PLAIN, "97");
    dinm_tokenizer_close(t);
}

#define TEMPLATE(single)                                                                           \
    "{\"type\":\"TemplateProcessing\",\"single\":[" single "],\"pair\":[],\"special_tokens\":{"    \
    "\"B\":{\"id\":\"B\",\"ids\":[261],\"tokens\":[\"<s>\"]},"                                     \
    "\"E\":{\"id\":\"E\",\"ids\":[262,104],\"tokens\":[\"</s>\",\"h\"]}}}"
#define TOKEN(name) "{\"SpecialToken\":{\"id\":\"" name "\",\"type_id\":0}}"
#define TEXT "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}"
#define ROBERTA "{\"type\":\"RobertaProcessing\",\"cls\":[\"<s>\",261],\"sep\":[\"</s>\",262]}"

static void templates_put_ids_around(void **state)
{
    static const struct {
        const char *template, *ids;
    } cases[] = {
        {TEMPLATE(TOKEN("B") "," TEXT), "261 104"},
        {TEMPLATE(TOKEN("B") "," TEXT "," TOKEN("E")), "261 104 262 104"},
        {TEMPLATE(TEXT), "104"},
        {ROBERTA, "261 104 262"},
        {"{\"type\":\"ByteLevel\"}", "104"},
        {"{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"}," ROBERTA
         "," TEMPLATE(TOKEN("B") "," TEXT "," TOKEN("E")) ",{\"type\":\"ByteLevel\"}]}",
         "261 261 104 262 262 104"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dinm_buffer rest = {0};
        struct dinm_tokenizer *t;

        assert_int_equal(dinm_buffer_append_format(&rest, NULL, "%s\"post_processor\":%s,%s",
                                                   ADDED_TOKENS, cases[i].template,
                                                   BYTE_LEVEL_PARTS),
                         DINM_OK);
        t = hello("", rest.data);
        assert_ids(t, "h", SPECIAL, cases[i].ids);
        assert_ids(t, "h", PLAIN, "104");
        dinm_tokenizer_close(t);
        dinm_buffer_free(&rest);
    }
}

/* Each must be refused, with a sentence that names what is not understood. */
static void unknown_parts_are_refused_by_name(void **state)
{
    static const struct {
        const char *model, *rest, *part;
    } cases[] = {
        {",\"dropout\":0.1", BYTE_LEVEL_PARTS, "dropout"},
        {",\"end_of_word_suffix\":\"</w>\"", BYTE_LEVEL_PARTS, "end_of_word_suffix"},
        {",\"continuing_subword_prefix\":\"##\"", BYTE_LEVEL_PARTS, "continuing_subword_prefix"},
        {"", "\"normalizer\":{\"type\":\"Precompiled\"}", "normalizer Precompiled"},
        {"", "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Nmt\"}]}", "Nmt"},
        {"", "\"normalizer\":{}", "\"type\""},
        {"", "\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}", "UnicodeScripts"},
        {"",
         "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},"
         "\"behavior\":\"Sideways\"}",
         "Sideways"},
        {"",
         "\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"\"},"
         "\"behavior\":\"Isolated\"}",
         "empty pattern"},
        {"", "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"prepend_scheme\":\"last\"}", "last"},
        {"", "\"post_processor\":{\"type\":\"X\"}", "post-processor X"},
        {"", ADDED_TOKENS "\"post_processor\":" TEMPLATE(TOKEN("B")), "lacks the text"},
        {"", "\"post_processor\":" TEMPLATE(TEXT "," TEXT), "once"},
        {"", "\"post_processor\":" TEMPLATE(TOKEN("C") "," TEXT), "\"C\""},
        {"", "\"post_processor\":" TEMPLATE(TOKEN("B") "," TEXT), "261"},
        {"", "\"decoder\":{\"type\":\"CTC\"}", "decoder CTC"},
        {"", "\"added_tokens\":[" ADDED("a", 7, "") "]", "\"a\" has the id 7"},
        {"", "\"added_tokens\":[" ADDED("new", 300, "") "]", "261"},
        {"", "\"added_tokens\":[3]", "added_tokens"},
        {",\"vocab\":3", BYTE_LEVEL_PARTS, "vocab"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *json = byte_level_json(HELLO_PIECES, HELLO_MERGES, cases[i].model, cases[i].rest);

        refuse_tokenizer(json, cases[i].part);
        free(json);
    }
}

static void bad_models_are_refused(void **state)
{
    static const struct {
        const char *json, *part;
    } cases[] = {
        {"{}", "model"},
        {"[]", "model"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", "Unigram"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", "WordPiece"},
        {"{\"model\":{\"type\":\"BPE\",\"merges\":[]}}", "vocab"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0}}}", "merges"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0.5},\"merges\":[]}}", "0.5"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}", "\"a\""},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":99999999},\"merges\":[]}}", "\"a\""},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", "\"b\""},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}", "merge 0"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}", "merge 0"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[7]}}", "merge 0"},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", "\"b\""},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}}", "\"aa\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        refuse_tokenizer(cases[i].json, cases[i].part);
    }
}

static void foreign_ids_stand_for_nothing(void **state)
{
    static const int32_t ids[][1] = {{-1}, {261}, {INT32_MAX}, {INT32_MIN}};
    static const int32_t hole[] = {1};
    struct dinm_buffer text = {0};
    struct dinm_tokenizer *t = hello("", BYTE_LEVEL_PARTS);

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct dinm_error err = {0};

        text.n_bytes = 0;
        assert_int_equal(dinm_buffer_append_text(&text, "before", NULL), DINM_OK);
        assert_ok(dinm_tokenizer_decode(t, ids[i], 1, false, &text, &err), &err);
        assert_string_equal(text.data, "before");
    }
    dinm_tokenizer_close(t);
    dinm_tokenizer_close(NULL);
    t = parse_tokenizer("{\"model\":{\"vocab\":{\"a\":0,\"c\":2},\"merges\":[]}}");
    text.n_bytes = 0;
    assert_int_equal(dinm_tokenizer_decode(t, hole, 1, false, &text, NULL), DINM_OK);
    assert_int_equal(text.n_bytes, 0);
    assert_int_equal(dinm_tokenizer_n_vocab(t), 3);
    dinm_tokenizer_close(t);
    dinm_buffer_free(&text);
}

/* No beginning of a tokenizer.json is one. */
static void truncated_files_are_refused(void **state)
{
    char *json = byte_level_json(HELLO_PIECES, HELLO_MERGES, "",
                                 ADDED_TOKENS "\"post_processor\":" ROBERTA "," BYTE_LEVEL_PARTS);

    (void)state;
    for (size_t n = 0; n < strlen(json); n++) {
        struct dinm_error err = {0};
        struct dinm_tokenizer *t = NULL;

        assert_int_equal(dinm_tokenizer_parse(&t, "test", json, n, &err), DINM_FAILED);
        assert_null(t);
    }
    dinm_tokenizer_close(parse_tokenizer(json));
    free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merges_go_by_rank),
        cmocka_unit_test(whole_words_can_come_first),
        cmocka_unit_test(every_byte_comes_back),
        cmocka_unit_test(broken_bytes_are_replaced),
        cmocka_unit_test(a_blank_can_be_put_in_front),
        cmocka_unit_test(special_tokens_need_control),
        cmocka_unit_test(other_added_tokens_are_always_found),
        cmocka_unit_test(added_tokens_do_not_overlap),
        cmocka_unit_test(no_merge_makes_a_special_token),
        cmocka_unit_test(cases_found_by_comparison),
        cmocka_unit_test(templates_put_ids_around),
        cmocka_unit_test(unknown_parts_are_refused_by_name),
        cmocka_unit_test(bad_models_are_refused),
        cmocka_unit_test(foreign_ids_stand_for_nothing),
        cmocka_unit_test(truncated_files_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
