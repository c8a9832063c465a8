/* Word tokens after the Penn Treebank conventions, as NLTK's word_tokenize has them: the text is
 * cut into sentences, each sentence is rewritten so that blanks stand between its tokens.
 *
 * NLTK cuts sentences with a model trained on newspapers (Punkt). Here a plain rule does it: a
 * sentence ends at '?', '!' or '.' (and what closes behind it) before white space, unless the '.'
 * belongs to an abbreviation, to a single letter, to a word with another '.' in it, or to an
 * ellipsis before a small letter. It matters only for whether a '.' is a token of its own. */
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"
#include "pipeline/metrics_rewrite.h"
#include "pipeline/metrics_words.h"

struct dinm_words {
    struct dinm_rewriter rewriter; /* owns */
    struct dinm_buffer tokens;     /* owns: NUL-ended words one after another */
    const char **words;            /* owns */
    size_t capacity, n_words;
};

/* In this order. Quotes that open a word become ``, those that close one ''. */
static const struct dinm_rewrite_rule rules[] = {
    /* opening quotes */
    {"\xc2\xab|\xe2\x80\x9c|\xe2\x80\x98|\xe2\x80\x9e|`+", " $0 "},
    {"^\"", "``"},
    {"``", " `` "},
    {"([ (\\[{<])(?:\"|'')", "$1 `` "},
    {"(?i)'(?!re|ve|ll|[mtsdn])(\\w)\\b", "' $1"},
    /* the sentence's last full stop, commas, signs */
    {"([^.])\\.((?:[\\])}>\"' ]|\xc2\xbb|\xe2\x80\x9d|\xe2\x80\x99)*)\\s*$", "$1 . $2 "},
    {"([:,])(\\D)", " $1 $2"},
    {"[:,]$", " $0 "},
    {"\\.{2,}", " $0 "},
    {"[;@#\\$%&]", " $0 "},
    {"[?!]", " $0 "},
    {"\\*", " $0 "},
    {"[\\]\\[(){}<>]", " $0 "},
    {"--", " -- "},
    /* closing quotes and clitics look for a blank behind them */
    {"\\A|\\z", " "},
    {"\xc2\xbb|\xe2\x80\x9d|\xe2\x80\x99", " $0 "},
    {"''", " '' "},
    {"\"", " '' "},
    {"([^' ])('[sSmMdD]|') ", "$1 $2 "},
    {"([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ", "$1 $2 "},
    /* words grown together */
    {"(?i)\\b(can)(not)\\b", " $1 $2 "},
    {"(?i)\\b(d)('ye)\\b", " $1 $2 "},
    {"(?i)\\b(gim)(me)\\b", " $1 $2 "},
    {"(?i)\\b(gon)(na)\\b", " $1 $2 "},
    {"(?i)\\b(got)(ta)\\b", " $1 $2 "},
    {"(?i)\\b(lem)(me)\\b", " $1 $2 "},
    {"(?i)\\b(more)('n)\\b", " $1 $2 "},
    {"(?i)\\b(wan)(na)(?=\\s)", " $1 $2 "},
    {"(?i) ('t)(is|was)\\b", " $1 $2 "},
    /* one blank between tokens */
    {"[\\s\\x1c-\\x1f]+", " "},
};

static const char *const abbreviations[] = {
    "mr",  "mrs",  "ms",  "dr",  "prof", "st",  "vs",  "etc", "inc", "ltd", "co",   "corp", "jr",
    "sr",  "dept", "fig", "vol", "no",   "al",  "cf",  "jan", "feb", "mar", "apr",  "aug",  "sept",
    "oct", "nov",  "dec", "gen", "col",  "rep", "sen", "gov", "lt",  "sgt", "capt", "rev",  "hon"};

static bool is_white(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* word: [n] without its full stop. */
static bool is_abbreviation(const char *word, size_t n)
{
    while (n > 0 && strchr("\"'([{*", word[0])) {
        word++;
        n--;
    }
    bool is_letter = n == 1 && lower(word[0]) >= 'a' && lower(word[0]) <= 'z';
    if (is_letter || memchr(word, '.', n)) {
        return true;
    }
    for (size_t i = 0; i < sizeof abbreviations / sizeof abbreviations[0]; i++) {
        size_t same = 0;
        while (same < n && abbreviations[i][same] == lower(word[same])) {
            same++;
        }
        if (same == n && abbreviations[i][n] == '\0') {
            return true;
        }
    }
    return false;
}

/* Bytes of word without the quotes and brackets that close at its end. */
static size_t without_closers(const char *word, size_t n)
{
    static const char *const closers[] = {
        "\"", "'", ")", "]", "}", ">", "*", "\xc2\xbb", "\xe2\x80\x9d", "\xe2\x80\x99"};
    for (size_t i = 0; i < sizeof closers / sizeof closers[0]; i++) {
        size_t length = strlen(closers[i]);
        if (n > length && memcmp(word + n - length, closers[i], length) == 0) {
            n -= length;
            i = (size_t)-1; /* from the first again */
        }
    }
    return n;
}

/* word: [n] between white space, `next` begins the word behind it. */
static bool ends_sentence(const char *word, size_t n, const char *next)
{
    n = without_closers(word, n);
    if (n == 0 || !strchr(".?!", word[n - 1])) {
        return false;
    }
    if (word[n - 1] != '.') {
        return true;
    }
    if (n > 1 && word[n - 2] == '.') {
        return lower(next[0]) == next[0] ? !(next[0] >= 'a' && next[0] <= 'z') : true;
    }
    return !is_abbreviation(word, n - 1);
}

/* Bytes of the first sentence of text. */
static size_t sentence_length(const char *text, size_t n_bytes)
{
    size_t i = 0;
    while (i < n_bytes) {
        while (i < n_bytes && is_white(text[i])) {
            i++;
        }
        size_t begin = i;
        while (i < n_bytes && !is_white(text[i])) {
            i++;
        }
        size_t end = i, next = i;
        while (next < n_bytes && is_white(text[next])) {
            next++;
        }
        if (next < n_bytes && ends_sentence(text + begin, end - begin, text + next)) {
            return end;
        }
    }
    return n_bytes;
}

int dinm_words_open(struct dinm_words **out, struct dinm_error *err)
{
    struct dinm_words *w = dinm_alloc(1, sizeof *w, "the word rules", err);
    *out = NULL;
    if (!w) {
        return DINM_FAILED;
    }
    int status = dinm_rewriter_open(&w->rewriter, rules, sizeof rules / sizeof rules[0], err);
    if (status < 0) {
        free(w);
        return status;
    }
    *out = w;
    return DINM_OK;
}

void dinm_words_close(struct dinm_words *w)
{
    if (w) {
        dinm_rewriter_close(&w->rewriter);
        dinm_buffer_free(&w->tokens);
        free(w->words);
        free(w);
    }
}

/* Appends the words of one sentence to w->tokens. */
static int split_sentence(struct dinm_words *w, const char *text, size_t n_bytes,
                          struct dinm_error *err)
{
    int status = DINM_OK;
    const char *spaced = NULL;
    size_t n = 0;
    TRY(dinm_rewriter_apply(&w->rewriter, text, n_bytes, &spaced, &n, err));
    for (size_t i = 0; i < n;) {
        size_t begin = i;
        while (i < n && !is_white(spaced[i])) {
            i++;
        }
        if (i > begin) {
            TRY(dinm_buffer_append(&w->tokens, spaced + begin, i - begin, err));
            TRY(dinm_buffer_append(&w->tokens, "", 1, err));
            w->n_words++;
        }
        i += i < n;
    }
out:
    return status;
}

int dinm_words_split(struct dinm_words *w, const char *text, const char *const **words,
                     size_t *n_words, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_bytes = strlen(text);
    *words = NULL;
    *n_words = 0;
    w->tokens.n_bytes = 0;
    w->n_words = 0;
    while (n_bytes > 0) {
        size_t n = sentence_length(text, n_bytes);
        TRY(split_sentence(w, text, n, err));
        text += n;
        n_bytes -= n;
        /* as in NLTK, only the first sentence keeps the white space in front of it */
        while (n_bytes > 0 && is_white(text[0])) {
            text++;
            n_bytes--;
        }
    }
    TRY(dinm_grow((void **)&w->words, &w->capacity, w->n_words + 1, sizeof *w->words, "the words",
                  err));
    const char *word = w->tokens.data;
    for (size_t i = 0; i < w->n_words; i++) {
        w->words[i] = word;
        word += strlen(word) + 1;
    }
    *words = w->words;
    *n_words = w->n_words;
out:
    return status;
}
