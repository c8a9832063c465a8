/* Fluency and repetition: the n-grams of a text's words, counted. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"
#include "pipeline/metrics_words.h"

enum { MAX_N = 4 };

/* The n-gram that begins at a word: its words' numbers, the unused ones 0. */
struct ngram {
    size_t words[MAX_N];
};

struct numbered {
    const char *word; /* borrows */
    size_t position;
};

static int compare_words(const void *a, const void *b)
{
    return strcmp(((const struct numbered *)a)->word, ((const struct numbered *)b)->word);
}

static int compare_ngrams(const void *a, const void *b)
{
    const struct ngram *x = a, *y = b;
    for (int i = 0; i < MAX_N; i++) {
        if (x->words[i] != y->words[i]) {
            return x->words[i] < y->words[i] ? -1 : 1;
        }
    }
    return 0;
}

/* ids: [n] the rank of each word among the different words, from 1. */
static int number_words(size_t *ids, const char *const *words, size_t n, struct dinm_error *err)
{
    struct numbered *sorted = dinm_alloc(n, sizeof *sorted, "the words of a response", err);
    if (!sorted) {
        return DINM_FAILED;
    }
    for (size_t i = 0; i < n; i++) {
        sorted[i] = (struct numbered){words[i], i};
    }
    qsort(sorted, n, sizeof *sorted, compare_words);
    for (size_t i = 0, id = 0; i < n; i++) {
        id += i == 0 || strcmp(sorted[i - 1].word, sorted[i].word) != 0;
        ids[sorted[i].position] = id;
    }
    free(sorted);
    return DINM_OK;
}

/* grams: [*n_grams] of `order` words each, sorted; owned by the caller. */
static int sort_ngrams(struct ngram **grams, size_t *n_grams, struct dinm_words *w,
                       const char *text, size_t order, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *const *words = NULL;
    size_t n = 0, *ids = NULL;
    *grams = NULL;
    *n_grams = 0;
    TRY(dinm_words_split(w, text, &words, &n, err));
    if (n < order) {
        goto out;
    }
    ids = dinm_alloc(n, sizeof *ids, "the words of a response", err);
    *grams = dinm_alloc(n - order + 1, sizeof **grams, "the n-grams of a response", err);
    TRY(ids && *grams ? DINM_OK : DINM_FAILED);
    TRY(number_words(ids, words, n, err));
    *n_grams = n - order + 1;
    for (size_t i = 0; i < *n_grams; i++) {
        memcpy((*grams)[i].words, ids + i, order * sizeof *ids);
    }
    qsort(*grams, *n_grams, sizeof **grams, compare_ngrams);
out:
    free(ids);
    return status;
}

/* H = - sum over different n-grams of p log2 p, p = count / n. Sorted order fixes the sum. */
static int entropy(struct dinm_words *w, const char *text, size_t order, double *bits,
                   struct dinm_error *err)
{
    struct ngram *grams = NULL;
    size_t n = 0;
    double sum = 0;
    int status = sort_ngrams(&grams, &n, w, text, order, err);
    for (size_t i = 0, count = 0; status == DINM_OK && i < n; i++) {
        count++;
        if (i + 1 == n || compare_ngrams(&grams[i], &grams[i + 1]) != 0) {
            double p = (double)count / (double)n;
            sum += p < 1 ? -p * log2(p) : 0;
            count = 0;
        }
    }
    *bits = sum;
    free(grams);
    return status;
}

int dinm_fluency(struct dinm_words *w, const char *text, double *fluency, struct dinm_error *err)
{
    int status = DINM_OK;
    double h2 = 0, h3 = 0;
    *fluency = 0;
    TRY(entropy(w, text, 2, &h2, err));
    TRY(entropy(w, text, 3, &h3, err));
    *fluency = (2.0 / 3.0 * h2 + 4.0 / 3.0 * h3) / 2.0;
out:
    return status;
}

int dinm_repetition(struct dinm_words *w, const char *text, double *share, struct dinm_error *err)
{
    struct ngram *grams = NULL;
    size_t n = 0, n_again = 0;
    int status = sort_ngrams(&grams, &n, w, text, 4, err);
    for (size_t i = 1; i < n; i++) {
        n_again += compare_ngrams(&grams[i - 1], &grams[i]) == 0;
    }
    *share = n ? (double)n_again / (double)n : 0;
    free(grams);
    return status;
}

bool dinm_is_empty(const char *text)
{
    /* Unicode's White_Space beyond ASCII, as UTF-8; U+2000 to U+200A is e2 80 80 to e2 80 8a */
    static const char *const white[] = {"\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80",
                                        "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaf",
                                        "\xe2\x81\x9f", "\xe3\x80\x80"};
    while (*text) {
        size_t step = *text == ' ' || (*text >= '\t' && *text <= '\r');
        if (strncmp(text, "\xe2\x80", 2) == 0 && (unsigned char)text[2] >= 0x80 &&
            (unsigned char)text[2] <= 0x8a) {
            step = 3;
        }
        for (size_t i = 0; step == 0 && i < sizeof white / sizeof white[0]; i++) {
            size_t n = strlen(white[i]);
            step = strncmp(text, white[i], n) == 0 ? n : 0;
        }
        if (step == 0) {
            return false;
        }
        text += step;
    }
    return true;
}
