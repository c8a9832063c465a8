/* io/tokenizer_pattern and _cut: what the rewriting of Oniguruma's patterns means, seen from the
 * parts of a text. */
#include "tokenizers.h"

/* The parts as "a[b]c": matches in brackets. */
static void assert_cuts(const struct dinm_pattern *p, const char *text, const char *wanted)
{
    struct dinm_error err = {0};
    struct dinm_cuts cuts = {0};
    struct dinm_buffer found = {0};

    assert_int_equal(dinm_buffer_append_text(&found, "", NULL), DINM_OK);
    assert_ok(dinm_tokenizer_pattern_cut(p, text, strlen(text), &cuts, &err), &err);
    for (size_t i = 0; i < cuts.n_cuts; i++) {
        const struct dinm_cut c = cuts.cuts[i];

        assert_int_equal(c.begin, i == 0 ? 0 : cuts.cuts[i - 1].end);
        assert_int_equal(dinm_buffer_append_format(&found, NULL, c.match ? "[%.*s]" : "%.*s",
                                                   (int)(c.end - c.begin), text + c.begin),
                         DINM_OK);
    }
    assert_int_equal(cuts.n_cuts == 0 ? 0 : cuts.cuts[cuts.n_cuts - 1].end, strlen(text));
    if (strcmp(found.data, wanted) != 0) {
        fail_msg("\"%s\" in \"%s\": expected \"%s\", found \"%s\"", p->source, text, wanted,
                 found.data);
    }
    dinm_buffer_free(&found);
    dinm_tokenizer_cuts_free(&cuts);
}

static const struct {
    const char *pattern, *text, *wanted;
} meanings[] = {
    {"b", "abcb", "a[b]c[b]"},
    {"x", "abc", "abc"},
    {"b", "", ""},
    /* White_Space has NEL and NBSP, but neither U+180E nor the separators 1C to 1F. */
    {"\\s", "a\xC2\x85\xC2\xA0\xE1\xA0\x8E\x1C\x1F", "a[\xC2\x85][\xC2\xA0]\xE1\xA0\x8E\x1C\x1F"},
    {"\\S+", "\xE1\xA0\x8E\x1C b", "[\xE1\xA0\x8E\x1C] [b]"},
    {"[^\\s]+", "\xE2\x80\xA8\xE3\x80\x80z\xE2\x80\x8B", "\xE2\x80\xA8\xE3\x80\x80[z\xE2\x80\x8B]"},
    {"[\\S]+", "a b", "[a] [b]"},
    /* Words have combining marks, connectors, decimal numbers and those of Latin-1. */
    {"\\w+",
     "e\xCC\x81_\xE2\x80\xBF"
     "9-\xC2\xBD \xE2\x85\x93",
     "[e\xCC\x81_\xE2\x80\xBF"
     "9]-[\xC2\xBD] \xE2\x85\x93"},
    {"[[:word:]]+", "a\xC2\xBD_", "[a]\xC2\xBD[_]"},
    {"[[:punct:]x]+", "a+x_\xC2\xA7", "a[+x_\xC2\xA7]"},
    {"[^[:alpha:][:digit:]]", "a1-\xE2\x85\xA0", "a1[-]\xE2\x85\xA0"},
    {"\\W", "a-b", "a[-]b"},
    {"[\\w-]+", "a-b c", "[a-b] [c]"},
    {"\\bfoo\\b", "foo foot xfoo foo\xCC\x88 foo", "[foo] foot xfoo foo\xCC\x88 [foo]"},
    {"a\\Bb", "ab", "[ab]"},
    {"\\d+", "1\xD9\xA3\xC2\xB2", "[1\xD9\xA3]\xC2\xB2"},
    {"[^\\d]", "1a", "1[a]"},
    {"\\D", "1a", "1[a]"},
    {"\\h+", "0fG", "[0f]G"},
    {"[\\h_]+", "a_g", "[a_]g"},
    {"\\v", "\n\x0B", "\n[\x0B]"},
    {"\\u00e9|\\x41|\\x{1F600}",
     "\xC3\xA9"
     "A\xF0\x9F\x98\x80",
     "[\xC3\xA9][A][\xF0\x9F\x98\x80]"},
    /* A script is the characters that belong to it, not all that are used with it. */
    {"\\p{Han}+", "\xE4\xB8\xAD\xE3\x80\x81", "[\xE4\xB8\xAD]\xE3\x80\x81"},
    {"\\p{^L}", "a1", "a[1]"},
    {"\\P{Lu}", "aB", "[a]B"},
    {"\\p{Alphabetic}",
     "\xE2\x85\xA0"
     "1",
     "[\xE2\x85\xA0]1"},
    /* Quantifiers. */
    {"a{,2}b", "aaab", "a[aab]"},
    {"a{2}", "aaa", "[aa]a"},
    {"a{1,2}?", "aa", "[a][a]"},
    {"a{b", "a{b", "[a{b]"},
    {"a++b", "aab", "[aab]"},
    {"(?>a+)", "aab", "[aa]b"},
    /* Lines. */
    {"^.", "ab\ncd\n", "[a]b\n[c]d\n"},
    {".$", "ab\ncd", "a[b]\nc[d]"},
    {"\\A.", "ab\ncd", "[a]b\ncd"},
    {".\\z", "ab\ncd", "ab\nc[d]"},
    {"d\\Z", "d\nd\n", "d\n[d]\n"},
    {".+", "a\rb\nc", "[a\rb]\n[c]"},
    /* Case. */
    {"(?i:s)t", "St sT \xC5\xBFt", "[St] sT [\xC5\xBFt]"},
    {"(?i)st(?-i)x", "STx STX", "[STx] STX"},
    /* Looking around sees only this text. */
    {"(?<=a)b", "ab b", "a[b] b"},
    {"(?<!a)b", "ab b", "ab [b]"},
    {"a(?!b)", "ab a", "ab [a]"},
    /* An empty match counts, but not directly behind another one. */
    {"(?=[A-Z])", "aBcD", "a[]Bc[]D"},
    {"b*", "abc", "[]a[b]c[]"},
    {"b*",
     "\xC3\xA9"
     "b",
     "[]\xC3\xA9[b]"},
    {"\\[\\]\\\\\\-[\\]\\[a-c]", "[]\\-b", "[[]\\-b]"},
    {"\\\xC3\xA9", "\xC3\xA9", "[\xC3\xA9]"},
};

static void patterns_mean_what_oniguruma_means(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++) {
        struct dinm_error err = {0};
        struct dinm_pattern p = {0};

        assert_ok(dinm_tokenizer_pattern_compile(&p, "test", meanings[i].pattern, &err), &err);
        assert_cuts(&p, meanings[i].text, meanings[i].wanted);
        dinm_tokenizer_pattern_free(&p);
    }
}

static void literals_are_found_as_they_are(void **state)
{
    static const char *const cases[][3] = {
        {".", "a.b", "a[.]b"},
        {"aa", "aaaaa", "[aa][aa]a"},
        {"ab", "aab", "a[ab]"},
        {"abc", "ab", "ab"},
        {"a", "", ""},
        {"\xC3\xA9", "e\xC3\xA9", "e[\xC3\xA9]"},
        {"ab", "abab", "[ab][ab]"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dinm_error err = {0};
        struct dinm_pattern p = {0};

        assert_ok(dinm_tokenizer_pattern_literal(&p, "test", cases[i][0], &err), &err);
        assert_cuts(&p, cases[i][1], cases[i][2]);
        dinm_tokenizer_pattern_free(&p);
    }
}

static void what_cannot_be_rewritten_is_refused(void **state)
{
    static const char *const patterns[][2] = {
        {"[a[bc]]", "class within a class"},
        {"[a-z&&[^b]]", "class within a class"},
        {"[[:^alpha:]]", "class within a class"},
        {"a(?i)b|c", "unusual kind"},
        {"[]a]", "begins with ]"},
        {"[a", "without end"},
        {"[\\W]", "escape in a class"},
        {"[\\b]", "escape in a class"},
        {"a{1,2}+", "{n,m}+"},
        {"a{2}?", "{n}?"},
        {"(?m:a)", "group"},
        {"(?x)a", "group"},
        {"(?<name>a)", "group"},
        {"(?#b)", "group"},
        {"(*ANY)a", "group"},
        {"(a)\\1", "\\1"},
        {"\\Ka", "\\K"},
        {"\\Ra", "\\R"},
        {"\\X", "\\X"},
        {"\\Q.\\E", "\\Q"},
        {"\\pL", "braces"},
        {"\\p{", "braces"},
        {"\\p{}", "braces"},
        {"\\x80", "\\x"},
        {"\\u12", "\\u"},
        {"a\\", "\\"},
        {"\\p{NoSuchThing}", "not understood"},
        {"(", "not understood"},
        {"a**", "not understood"},
        {"", "empty"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        struct dinm_error err = {0};
        struct dinm_pattern p = {0};
        const int status = dinm_tokenizer_pattern_compile(&p, "test", patterns[i][0], &err);

        if (status == DINM_OK) {
            fail_msg("the pattern \"%s\" was accepted", patterns[i][0]);
        }
        assert_failed(status, DINM_FAILED, &err, patterns[i][1]);
        dinm_tokenizer_pattern_free(&p);
        dinm_tokenizer_pattern_free(&p);
    }
}

/* Llama 3's and Qwen 2's words. */
static void published_patterns_are_read(void **state)
{
    static const char pattern[] =
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
        "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    struct dinm_error err = {0};
    struct dinm_pattern p = {0};

    (void)state;
    assert_ok(dinm_tokenizer_pattern_compile(&p, "test", pattern, &err), &err);
    assert_cuts(&p, "It'S 12345, so\n\n  what?!\n  ",
                "[It]['S][ ][123][45][,][ so][\n\n][ ][ what][?!\n][  ]");
    dinm_tokenizer_pattern_free(&p);
}

/* A text that needs more stack than the just-in-time code has; and a pattern that would take
 * for ever gives up with a sentence. */
static void deep_matches_end(void **state)
{
    enum { N = 1 << 20 };
    struct dinm_error err = {0};
    struct dinm_pattern deep = {0};
    struct dinm_pattern slow = {0};
    struct dinm_cuts cuts = {0};
    char *text = malloc(N + 1);

    (void)state;
    assert_non_null(text);
    memset(text, 'a', N);
    text[N] = '\0';
    assert_ok(dinm_tokenizer_pattern_compile(&deep, "test", "(?:a|b)+c|a", &err), &err);
    assert_ok(dinm_tokenizer_pattern_cut(&deep, text, 6000, &cuts, &err), &err);
    assert_int_equal(cuts.n_cuts, 6000);
    assert_ok(dinm_tokenizer_pattern_compile(&slow, "test", "(?:a+)+b", &err), &err);
    assert_failed(dinm_tokenizer_pattern_cut(&slow, text, N, &cuts, &err), DINM_FAILED, &err,
                  "gives up");
    dinm_tokenizer_cuts_free(&cuts);
    dinm_tokenizer_pattern_free(&deep);
    dinm_tokenizer_pattern_free(&slow);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_mean_what_oniguruma_means),
        cmocka_unit_test(literals_are_found_as_they_are),
        cmocka_unit_test(what_cannot_be_rewritten_is_refused),
        cmocka_unit_test(published_patterns_are_read),
        cmocka_unit_test(deep_matches_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
