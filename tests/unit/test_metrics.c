/* Words, fluency, repetition, short answers and intervals against values worked out by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "pipeline/metrics.h"
#include "pipeline/metrics_words.h"

/* cmocka's own comparison rounds to float32. */
#define assert_near(a, b, within) assert_true(fabs((a) - (b)) <= (within))

static int open_words(void **state)
{
    struct dinm_error err = {0};
    struct dinm_words *w = NULL;
    int status = dinm_words_open(&w, &err);
    *state = w;
    return status;
}

static int close_words(void **state)
{
    dinm_words_close(*state);
    return 0;
}

/* expected: the words, each followed by '|'. */
static void expect_words(struct dinm_words *w, const char *text, const char *expected)
{
    char joined[1024] = "";
    const char *const *words = NULL;
    size_t n = 0;
    struct dinm_error err = {0};
    assert_int_equal(dinm_words_split(w, text, &words, &n, &err), DINM_OK);
    for (size_t i = 0; i < n; i++) {
        strcat(joined, words[i]);
        strcat(joined, "|");
    }
    assert_string_equal(joined, expected);
}

static void words_and_signs(void **state)
{
    struct dinm_words *w = *state;
    expect_words(w, "", "");
    expect_words(w, " \n\t ", "");
    expect_words(w, "one", "one|");
    expect_words(w, "Good muffins cost $3.88 (about 3,36 euros), sir; 100% sure: yes!",
                 "Good|muffins|cost|$|3.88|(|about|3,36|euros|)|,|sir|;|100|%|sure|:|yes|!|");
    expect_words(w, "a--b ... c*d <x> [y] {z} #1 @me & you.",
                 "a|--|b|...|c|*|d|<|x|>|[|y|]|{|z|}|#|1|@|me|&|you|.|");
    expect_words(w, "at 12:30, or a:b,c", "at|12:30|,|or|a|:|b|,|c|");
    expect_words(w, "the end,", "the|end|,|");
    expect_words(w, "the end.  \n", "the|end|.|");
    expect_words(w, "(the end.)", "(|the|end|.|)|");
    expect_words(w, "the end.\xe2\x80\x9d", "the|end|.|\xe2\x80\x9d|");
}

static void quotes(void **state)
{
    struct dinm_words *w = *state;
    expect_words(w, "\"Hello\", he said.", "``|Hello|''|,|he|said|.|");
    expect_words(w, "He said \"no\" (\"never\").", "He|said|``|no|''|(|``|never|''|)|.|");
    expect_words(w, "\n\n\"Hello\"", "''|Hello|''|");
    expect_words(w, "\xe2\x80\x9cyes\xe2\x80\x9d \xc2\xabno\xc2\xbb",
                 "\xe2\x80\x9c|yes|\xe2\x80\x9d|\xc2\xab|no|\xc2\xbb|");
    expect_words(w, "``x'' 'a b' ", "``|x|''|'|a|b|'|");
}

static void clitics(void **state)
{
    struct dinm_words *w = *state;
    expect_words(w, "I'm sure they've said he'd go, she'll not, it's Tom's, DON'T",
                 "I|'m|sure|they|'ve|said|he|'d|go|,|she|'ll|not|,|it|'s|Tom|'s|,|DO|N'T|");
    expect_words(w, "I can't and won't. ", "I|ca|n't|and|wo|n't|.|");
    expect_words(w, "the boys' toys", "the|boys|'|toys|");
    expect_words(w, "I cannot, gonna, wanna go, gimme, lemme, gotta",
                 "I|can|not|,|gon|na|,|wan|na|go|,|gim|me|,|lem|me|,|got|ta|");
    expect_words(w, "'Tis so, 'twas, d'ye, more'n", "'T|is|so|,|'t|was|,|d|'ye|,|more|'n|");
    expect_words(w, "Wannabe cannoneer", "Wannabe|cannoneer|");
}

static void sentences(void **state)
{
    struct dinm_words *w = *state;
    expect_words(w, "One two. Three? Four! five.", "One|two|.|Three|?|Four|!|five|.|");
    expect_words(w, "Dr. Who met Mr. X. at 5 p.m. in the U.S. and left.",
                 "Dr.|Who|met|Mr.|X.|at|5|p.m.|in|the|U.S.|and|left|.|");
    expect_words(w, "He said \"go.\" Then (he left.) Now",
                 "He|said|``|go|.|''|Then|(|he|left|.|)|Now|");
    expect_words(w, "Wait... what. Wait... What. Go", "Wait|...|what|.|Wait|...|What|.|Go|");
    expect_words(w, "1. Do\n2. Not\n", "1|.|Do|2|.|Not|");
    expect_words(w, "a.b c.d", "a.b|c.d|");
    /* the second sentence's first quote opens it */
    expect_words(w, "Yes.\n\"No\"", "Yes|.|``|No|''|");
}

static void beyond_ascii(void **state)
{
    struct dinm_words *w = *state;
    expect_words(w,
                 "caf\xc3\xa9\xc2\xa0"
                 "bar \xe6\x97\xa5\xe6\x9c\xac",
                 "caf\xc3\xa9|bar|\xe6\x97\xa5\xe6\x9c\xac|");
    expect_words(w, "bad \xff\xc3 byte", "bad|\xef\xbf\xbd\xef\xbf\xbd|byte|");
}

static double fluency(struct dinm_words *w, const char *text)
{
    double value = NAN;
    assert_int_equal(dinm_fluency(w, text, &value, NULL), DINM_OK);
    return value;
}

static double repetition(struct dinm_words *w, const char *text)
{
    double value = NAN;
    assert_int_equal(dinm_repetition(w, text, &value, NULL), DINM_OK);
    return value;
}

static void n_gram_entropy(void **state)
{
    struct dinm_words *w = *state;
    assert_true(fluency(w, "") == 0 && fluency(w, " \n") == 0 && fluency(w, "one") == 0);
    /* one bigram: no uncertainty; two bigrams and one trigram: (2/3 * 1 + 4/3 * 0) / 2 */
    assert_true(fluency(w, "one two") == 0);
    assert_near(fluency(w, "a b c"), 1.0 / 3.0, 1e-15);
    /* bigrams ab 3, ba 2; trigrams aba 2, bab 2 */
    double h2 = -(0.6 * log2(0.6) + 0.4 * log2(0.4));
    assert_near(fluency(w, "a b a b a b"), (2.0 / 3.0 * h2 + 4.0 / 3.0) / 2, 1e-15);
    /* 17 different words: 16 bigrams, 15 trigrams */
    assert_near(fluency(w, "a b c d e f g h i j k l m n o p q"),
                (2.0 / 3.0 * 4 + 4.0 / 3.0 * log2(15)) / 2, 1e-14);
    assert_true(fluency(w, "x x x x x x x x") == 0);
    /* case counts, and a sign is a word */
    assert_true(fluency(w, "X x X.") > fluency(w, "x x x."));
}

static void repeated_four_grams(void **state)
{
    struct dinm_words *w = *state;
    assert_true(repetition(w, "") == 0 && repetition(w, "a a a") == 0);
    assert_true(repetition(w, "a a a a") == 0);
    assert_near(repetition(w, "a b a b a b"), 1.0 / 3.0, 1e-15);
    assert_near(repetition(w, "z z z z z z z z z z z z z"), 0.9, 1e-15);
    assert_true(repetition(w, "a b c d e f g h") == 0);
}

static void empty_texts(void **state)
{
    (void)state;
    assert_true(dinm_is_empty("") && dinm_is_empty(" \t\r\n\v\f"));
    assert_true(dinm_is_empty("\xc2\xa0\xe2\x80\x83\xe3\x80\x80 \xe2\x80\xa8"));
    assert_false(dinm_is_empty("  .") || dinm_is_empty("\xe2\x80\x8b") || dinm_is_empty("0"));
    assert_false(dinm_is_empty("\xe2\x80") || dinm_is_empty("\xc2"));
}

static bool right(const char *response, const char *answer)
{
    const char *const answers[] = {"nowhere to be found", answer};
    bool value = false;
    struct dinm_error err = {0};
    assert_int_equal(dinm_kqa_right(response, answers, 2, &value, &err), DINM_OK);
    return value;
}

static void short_answers(void **state)
{
    (void)state;
    assert_true(right("The answer is Paris.", "paris"));
    assert_true(right("\n \nThe answer is THE Eiffel-Tower, in Paris", "Eiffel Tower") == false);
    assert_true(right("\n \nThe answer is THE Eiffel-Tower, in Paris", "eiffeltower"));
    assert_false(right("The answer is London, not Paris", "Paris"));
    assert_false(right("London. Paris", "Paris"));
    assert_false(right("London\nParis", "Paris"));
    assert_false(right("London\nThe answer is Paris", "Paris"));
    assert_true(right("x marks it", "The x"));
    assert_true(right("Not Paris, the answer is not it: the answer is  big   Ben", "Big Ben"));
    assert_true(right("Q: Rome? A: Paris", "paris") && !right("Q: Rome? A: Paris", "rome"));
    assert_true(right("A: x Answer: y", "y") && !right("A: x Answer: y", "x"));
    assert_true(right("a cat sat on an anthill", "The cat sat on anthill"));
    assert_true(right("\xc3\x89mile Zola", "\xc3\xa9mile zola!"));
    assert_false(right("anything at all", "The"));
    assert_false(right("", "x") || right("   ", "x"));
    bool value = true;
    assert_int_equal(dinm_kqa_right("x", NULL, 0, &value, NULL), DINM_OK);
    assert_false(value);
}

static struct dinm_estimate estimate(const double *x, size_t n, size_t n_resamples, uint64_t seed)
{
    struct dinm_estimate e = {0};
    assert_int_equal(dinm_bootstrap(&e, x, n, n_resamples, seed, NULL), DINM_OK);
    return e;
}

static void bootstrap(void **state)
{
    (void)state;
    const double x[] = {100, 0, 0, 50, 100, 100, 0};
    struct dinm_estimate e = estimate(x, 7, 1000, 42);
    assert_true(e.value == 50);
    /* from another implementation of the same numbers, in Python */
    assert_true(e.low == 14.285714285714286 && e.high == 85.71428571428571);
    e = estimate(x, 7, 7, 42);
    assert_near(e.low, 10.357142857142858, 1e-12);
    assert_near(e.high, 57.142857142857146, 1e-12);
    e = estimate(x, 1, 10, 1);
    assert_true(e.value == 100 && e.low == 100 && e.high == 100);
    e = estimate(x, 0, 10, 1);
    assert_true(isnan(e.value) && isnan(e.low) && isnan(e.high));
    e = estimate(x, 7, 0, 1);
    assert_true(e.value == 50 && isnan(e.low) && isnan(e.high));
}

/* For many values the interval is the normal one: mean +- 1.96 sigma / sqrt(n). */
static void bootstrap_is_normal(void **state)
{
    (void)state;
    enum { N = 2000 };
    double x[N], sum = 0, squares = 0;
    for (int i = 0; i < N; i++) {
        x[i] = sin(i * 1.7) + cos(i * 0.3);
        sum += x[i];
        squares += x[i] * x[i];
    }
    double half = 1.96 * sqrt((squares / N - sum / N * sum / N) / N);
    struct dinm_estimate e = estimate(x, N, 4000, 7);
    assert_near(e.value, sum / N, 1e-15);
    assert_near(e.high - e.value, half, 0.06 * half);
    assert_near(e.value - e.low, half, 0.06 * half);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_and_signs),
        cmocka_unit_test(quotes),
        cmocka_unit_test(clitics),
        cmocka_unit_test(sentences),
        cmocka_unit_test(beyond_ascii),
        cmocka_unit_test(n_gram_entropy),
        cmocka_unit_test(repeated_four_grams),
        cmocka_unit_test(empty_texts),
        cmocka_unit_test(short_answers),
        cmocka_unit_test(bootstrap),
        cmocka_unit_test(bootstrap_is_normal),
    };
    return cmocka_run_group_tests(tests, open_words, close_words);
}
