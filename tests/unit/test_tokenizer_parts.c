/* io/tokenizer_normalize, _split, _words, _decode: each component alone, from its JSON. */
#include "tokenizers.h"

#define MARK "\xE2\x96\x81"

static cJSON *parse(const char *json)
{
    struct dinm_error err = {0};
    cJSON *tree = NULL;

    assert_ok(dinm_json_parse("test", json, strlen(json), &tree, &err), &err);
    return tree;
}

/* ---- normalizers ---- */

static void assert_normalizes(const char *json, const char *text, const char *wanted)
{
    struct dinm_error err = {0};
    struct dinm_tokenizer *t = dinm_alloc(1, sizeof *t, "a test", &err);
    struct dinm_buffer in = {0};
    struct dinm_buffer spare = {0};
    struct dinm_cuts cuts = {0};
    cJSON *tree = parse(json);

    assert_non_null(t);
    assert_ok(dinm_tokenizer_normalizer_read(t, "test", tree, &err), &err);
    assert_ok(dinm_buffer_append_text(&in, text, &err), &err);
    assert_ok(dinm_tokenizer_normalize(t, &in, &spare, &cuts, NULL, &err), &err);
    if (strcmp(in.data, wanted) != 0) {
        fail_msg("%s of \"%s\": expected \"%s\", found \"%s\"", json, text, wanted, in.data);
    }
    cJSON_Delete(tree);
    dinm_buffer_free(&in);
    dinm_buffer_free(&spare);
    dinm_tokenizer_cuts_free(&cuts);
    dinm_tokenizer_close(t);
}

static void normalizers(void **state)
{
    static const char *const cases[][3] = {
        {"{\"type\":\"Prepend\",\"prepend\":\"_\"}", "a", "_a"},
        {"{\"type\":\"Prepend\",\"prepend\":\"_\"}", "", ""},
        {"{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"__\"}", " a  b",
         "__a____b"},
        {"{\"type\":\"Replace\",\"pattern\":{\"String\":\".\"},\"content\":\"\"}", "a.b.", "ab"},
        {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\s+\"},\"content\":\" \"}", "a \t\nb",
         "a b"},
        {"{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":\"$1\"}", "a", "$1"},
        {"{\"type\":\"NFC\"}", "e\xCC\x81 \xEF\xAC\x81", "\xC3\xA9 \xEF\xAC\x81"},
        {"{\"type\":\"NFD\"}", "\xC3\xA9", "e\xCC\x81"},
        {"{\"type\":\"NFKC\"}", "e\xCC\x81\xEF\xAC\x81\xC2\xB2",
         "\xC3\xA9"
         "fi2"},
        {"{\"type\":\"NFKD\"}", "\xC3\xA9\xE2\x84\xA2", "e\xCC\x81TM"},
        {"{\"type\":\"Lowercase\"}", "A\xC3\x89\xC4\xB0\xCE\xA3z", "a\xC3\xA9i\xCC\x87\xCF\x83z"},
        {"{\"type\":\"Strip\"}", " \xC2\xA0 a b\xE3\x80\x80\n", "a b"},
        {"{\"type\":\"Strip\",\"strip_left\":false,\"strip_right\":true}", " a ", " a"},
        {"{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":false}", " a ", "a "},
        {"{\"type\":\"Strip\"}", "  ", ""},
        {"{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Strip\"},{\"type\":\"Prepend\","
         "\"prepend\":\"A\"},{\"type\":\"Lowercase\"}]}",
         " B ", "ab"},
        {"{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Strip\"},{\"type\":\"Prepend\","
         "\"prepend\":\"A\"}]}",
         "  ", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_normalizes(cases[i][0], cases[i][1], cases[i][2]);
    }
}

/* ---- splitters ---- */

/* The words, joined by bars; the text is the first stretch, and a second one follows an added
 * token (shown as #). */
static void assert_splits(const char *json, const char *text, const char *wanted)
{
    struct dinm_error err = {0};
    struct dinm_tokenizer *t = dinm_alloc(1, sizeof *t, "a test", &err);
    struct dinm_words now = {0};
    struct dinm_words next = {0};
    struct dinm_cuts cuts = {0};
    struct dinm_buffer found = {0};
    cJSON *tree = parse(json);
    const char *second = strchr(text, '#');
    const size_t n_first = second == NULL ? strlen(text) : (size_t)(second - text);

    assert_non_null(t);
    assert_ok(dinm_tokenizer_splitter_read(t, "test", tree, &err), &err);
    assert_ok(dinm_buffer_append_text(&now.text, text, &err), &err);
    if (n_first > 0) {
        assert_ok(dinm_tokenizer_words_add(
                      &now, (struct dinm_word){.n_bytes = n_first, .id = -1, .first = true}, &err),
                  &err);
    }
    if (second != NULL) {
        assert_ok(dinm_tokenizer_words_add(&now, (struct dinm_word){.id = 7}, &err), &err);
        assert_ok(
            dinm_tokenizer_words_add(
                &now,
                (struct dinm_word){.at = n_first + 1, .n_bytes = strlen(second + 1), .id = -1},
                &err),
            &err);
    }
    for (size_t i = 0; i < t->n_splitters; i++) {
        assert_ok(dinm_tokenizer_split(t->splitters + i, &now, &next, &cuts, &err), &err);
    }
    assert_ok(dinm_buffer_append_text(&found, "", &err), &err);
    for (size_t i = 0; i < now.n_words; i++) {
        const struct dinm_word w = now.words[i];

        assert_ok(dinm_buffer_append_text(&found, i > 0 ? "|" : "", &err), &err);
        assert_ok(w.id >= 0 ? dinm_buffer_append_text(&found, "#", &err)
                            : dinm_buffer_append(&found, now.text.data + w.at, w.n_bytes, &err),
                  &err);
    }
    if (strcmp(found.data, wanted) != 0) {
        fail_msg("%s of \"%s\": expected \"%s\", found \"%s\"", json, text, wanted, found.data);
    }
    cJSON_Delete(tree);
    dinm_buffer_free(&found);
    dinm_tokenizer_words_free(&now);
    dinm_tokenizer_words_free(&next);
    dinm_tokenizer_cuts_free(&cuts);
    dinm_tokenizer_close(t);
}

#define SPLIT(pattern, behavior, invert)                                                           \
    "{\"type\":\"Split\",\"pattern\":" pattern ",\"behavior\":\"" behavior "\",\"invert\":" invert \
    "}"
#define DASH "{\"String\":\"-\"}"
#define META(keys) "{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\"" keys "}"

static const char *const splits[][3] = {
    {SPLIT(DASH, "Isolated", "false"), "a-b--c", "a|-|b|-|-|c"},
    {SPLIT(DASH, "Removed", "false"), "-a-b--c-", "a|b|c"},
    {SPLIT(DASH, "Contiguous", "false"), "-a-b--c", "-|a|-|b|--|c"},
    {SPLIT(DASH, "MergedWithPrevious", "false"), "-a-b--c-", "-|a-|b-|-|c-"},
    {SPLIT(DASH, "MergedWithNext", "false"), "-a-b--c-", "-a|-b|-|-c|-"},
    {SPLIT(DASH, "Removed", "true"), "a-b--c", "-|-|-"},
    {SPLIT(DASH, "Contiguous", "true"), "ab-b--c", "ab|-|b|--|c"},
    {SPLIT("{\"Regex\":\"\\\\w+|[^\\\\w\\\\s]+\"}", "MergedWithPrevious", "true"), "How are you?",
     "How |are |you|?"},
    {SPLIT("{\"Regex\":\"\\\\w+|[^\\\\w\\\\s]+\"}", "MergedWithNext", "true"), "How are you?",
     "How| are| you|?"},
    {SPLIT("{\"Regex\":\"(?=[A-Z])\"}", "Isolated", "false"), "aBcD", "a|Bc|D"},
    {SPLIT(DASH, "Isolated", "false"), "a#-b", "a|#|-|b"},
    {"{\"type\":\"Digits\",\"individual_digits\":true}", "a12b\xC2\xBD", "a|1|2|b|\xC2\xBD"},
    {"{\"type\":\"Digits\",\"individual_digits\":false}", "a12b3", "a|12|b|3"},
    {"{\"type\":\"Whitespace\"}", "Hey, man\xCC\x88!?  x", "Hey|,|man\xCC\x88|!?|x"},
    {"{\"type\":\"WhitespaceSplit\"}",
     "a, \xE3\x80\x80"
     "b\x1C"
     "c",
     "a,|b\x1C"
     "c"},
    {"{\"type\":\"Punctuation\"}", "a,b$`\xC2\xBF", "a|,|b|$|`|\xC2\xBF"},
    {"{\"type\":\"Punctuation\",\"behavior\":\"Removed\"}", "a,b", "a|b"},
    {META(""), "a b  c#d", MARK "a|" MARK "b|" MARK "|" MARK "c|#|" MARK "d"},
    {META(",\"prepend_scheme\":\"first\""), "a b#d", MARK "a|" MARK "b|#|d"},
    {META(",\"prepend_scheme\":\"never\""), "a b", "a|" MARK "b"},
    {META(",\"prepend_scheme\":\"first\",\"split\":false"), "a b#d e",
     MARK "a" MARK "b|#|d" MARK "e"},
    {META(",\"add_prefix_space\":false"), "a b", "a|" MARK "b"},
    {META(",\"add_prefix_space\":true,\"prepend_scheme\":\"always\""), " a", MARK "a"},
    {META(""), MARK "a", MARK "a"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":false}", "I'm  15 ok!\n \xC2\xA0x\xE1\xA0\x8E",
     "I|'m|\xC4\xA0|\xC4\xA0"
     "15|\xC4\xA0ok|!|\xC4\x8A\xC4\xA0|\xC3\x82\xC5\x82|x|"
     "\xC3\xA1\xC5\x82\xC4\xB0"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":true}", "a#b",
     "\xC4\xA0"
     "a|#|\xC4\xA0"
     "b"},
    {"{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":false}", " a b",
     "\xC4\xA0"
     "a\xC4\xA0"
     "b"},
    {"{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT(
         DASH, "Removed", "false") ",{\"type\":"
                                   "\"Digits\",\"individual_digits\":true},{\"type\":"
                                   "\"ByteLevel\",\"add_prefix_space\":"
                                   "false,\"use_regex\":false}]}",
     "a12-b c",
     "a|1|2|b\xC4\xA0"
     "c"},
    {META(""), "", ""},
    {"{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT(DASH, "Removed", "false") "," META(
         ",\"prepend_scheme\":\"first\"") "]}",
     "a-b", MARK "a|b"},
};

static void splitters(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        assert_splits(splits[i][0], splits[i][1], splits[i][2]);
    }
}

static void bytes_and_characters_are_one_to_one(void **state)
{
    bool seen[0x200] = {false};

    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        const uint32_t c = dinm_tokenizer_byte_to_char((unsigned char)byte);

        assert_in_range(c, 0x21, 0x143);
        assert_false(seen[c]);
        seen[c] = true;
        assert_int_equal(dinm_tokenizer_char_to_byte(c), byte);
    }
    for (uint32_t c = 0; c < 0x300; c++) {
        assert_int_equal(dinm_tokenizer_char_to_byte(c) >= 0, c < 0x200 && seen[c]);
    }
    assert_int_equal(dinm_tokenizer_byte_to_char(' '), 0x120);
    assert_int_equal(dinm_tokenizer_byte_to_char('\n'), 0x10A);
}

/* ---- decoders ---- */

/* A tokenizer whose pieces are those of a list, with ids in order. */
static void assert_joins(const char *json, const char *pieces, const char *wanted)
{
    struct dinm_error err = {0};
    struct dinm_buffer text = {0};
    cJSON *list = parse(pieces);
    struct dinm_tokenizer *t;
    const cJSON *item;
    int32_t ids[16];
    size_t n = 0;

    assert_ok(dinm_buffer_append_text(&text, "{\"model\":{\"type\":\"BPE\",\"vocab\":{", &err),
              &err);
    cJSON_ArrayForEach(item, list)
    {
        assert_true(n < 16);
        assert_ok(dinm_buffer_append_text(&text, n > 0 ? "," : "", &err), &err);
        assert_ok(dinm_json_put_text(&text, item->valuestring, strlen(item->valuestring), &err),
                  &err);
        assert_ok(dinm_buffer_append_format(&text, &err, ":%zu", n), &err);
        ids[n] = (int32_t)n;
        n++;
    }
    assert_ok(dinm_buffer_append_format(&text, &err, "},\"merges\":[]},\"decoder\":%s}", json),
              &err);
    t = parse_tokenizer(text.data);
    assert_decodes(t, ids, n, false, wanted, strlen(wanted));
    dinm_tokenizer_close(t);
    dinm_buffer_free(&text);
    cJSON_Delete(list);
}

static void decoders(void **state)
{
    static const char *const cases[][3] = {
        {"null", "[\"a\",\"b\"]", "a b"},
        {"{\"type\":\"Fuse\"}", "[\"a\",\"b\"]", "ab"},
        {"{\"type\":\"Sequence\",\"decoders\":[]}", "[\"a\",\"b\"]", "ab"},
        {"{\"type\":\"ByteLevel\"}",
         "[\"\\u0120a\",\"\\u00c3\",\"\\u00a9\",\"\\u00c3x\",\"<\\u4e2d>\"]",
         " a\xC3\xA9\xEF\xBF\xBDx<\xE4\xB8\xAD>"},
        {"{\"type\":\"ByteFallback\"}",
         "[\"<0xE4>\",\"<0xB8>\",\"<0xad>\",\"a\",\"<0xe4>\",\"<0xB9>\",\"<0xG0>\",\"<0x41>\"]",
         "\xE4\xB8\xAD"
         "a\xEF\xBF\xBD\xEF\xBF\xBD<0xG0>A"},
        {"{\"type\":\"Replace\",\"pattern\":{\"String\":\"_\"},\"content\":\" \"}",
         "[\"_a_\",\"__\"]", " a   "},
        {"{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"_+\"},\"content\":\"\"}",
         "[\"_a__b\",\"__\"]", "ab"},
        {"{\"type\":\"Strip\",\"content\":\"H\",\"start\":1,\"stop\":0}", "[\"Hey\",\"HHH\",\"H\"]",
         "eyHH"},
        {"{\"type\":\"Strip\",\"content\":\"y\",\"start\":0,\"stop\":2}", "[\"Hey\",\"yyy\"]",
         "Hey"},
        {"{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\",\"add_prefix_space\":true}",
         "[\"\\u2581\\u2581Hey\",\"\\u2581you\"]", "Hey you"},
        {"{\"type\":\"Metaspace\",\"replacement\":\"\\u2581\",\"prepend_scheme\":\"never\"}",
         "[\"\\u2581Hey\",\"\\u2581you\"]", " Hey you"},
        {"{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":"
         "\"\\u2581\"},\"content\":\" "
         "\"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":"
         "\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}",
         "[\"\\u2581\\u2581a\",\"<0x0A>\",\"\\u2581b\"]", " a\n b"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_joins(cases[i][0], cases[i][1], cases[i][2]);
    }
}

/* ---- text ---- */

static void white_space_has_25_characters(void **state)
{
    size_t n = 0;

    (void)state;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        n += dinm_tokenizer_text_is_space(c);
    }
    assert_int_equal(n, 25);
    assert_false(dinm_tokenizer_text_is_space(0x1C));
    assert_false(dinm_tokenizer_text_is_space(0x180E));
    assert_false(dinm_tokenizer_text_is_space(0x200B));
}

static void characters_are_read_back(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        struct dinm_buffer b = {0};
        uint32_t found = 0;

        c = c == 0xD800 ? 0xE000 : c;
        if (c % 37 != 0 && c > 0x3000) {
            continue;
        }
        assert_int_equal(dinm_tokenizer_text_put(&b, c, NULL), DINM_OK);
        assert_int_equal(dinm_tokenizer_text_char(b.data, &found), b.n_bytes);
        assert_int_equal(found, c);
        assert_int_equal(dinm_tokenizer_text_last(b.data, b.n_bytes), b.n_bytes);
        dinm_buffer_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(normalizers),
        cmocka_unit_test(splitters),
        cmocka_unit_test(bytes_and_characters_are_one_to_one),
        cmocka_unit_test(decoders),
        cmocka_unit_test(white_space_has_25_characters),
        cmocka_unit_test(characters_are_read_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
