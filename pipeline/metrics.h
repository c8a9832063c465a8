/* What is computed from texts and labels. Local; knows no files. */
#ifndef DINM_PIPELINE_METRICS_H
#define DINM_PIPELINE_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "io/cases.h"
#include "io/status.h"

/* The word tokens that fluency and repetition count, as NLTK's word_tokenize (Treebank rules;
 * sentence ends by a plain rule instead of a trained model). Opaque: holds compiled patterns. */
struct dinm_words;
int dinm_words_open(struct dinm_words **out, struct dinm_error *err);
void dinm_words_close(struct dinm_words *w);

/* METHOD: mean over n in {2, 3} of w_n H_n, w_2 = 2/3, w_3 = 4/3, H_n the Shannon entropy in bits
 * of the n-gram distribution. An empty text gives 0. */
int dinm_fluency(struct dinm_words *w, const char *text, double *fluency, struct dinm_error *err);
/* Share of 4-grams of words that occurred before in the text; 0 with fewer than 4 words. */
int dinm_repetition(struct dinm_words *w, const char *text, double *share, struct dinm_error *err);

/* No character but white space. */
bool dinm_is_empty(const char *text);

/* TriviaQA-style scoring: first line, lower-cased, behind "answer is" / "a:" / "answer:", cut at
 * the first newline, comma or full stop, punctuation, articles and extra blanks removed; right if
 * it contains a reference answer normalised the same way. */
int dinm_kqa_right(const char *response, const char *const *answers, size_t n_answers, bool *right,
                   struct dinm_error *err);

/* A mean of n values with its 95 % interval. */
struct dinm_estimate {
    double value, low, high;
    size_t n;
};
/* Mean of x: [n] and its percentile-bootstrap interval over n_resamples resamples of the cases (0:
 * the interval is NaN), random numbers from `seed` alone. Sums in index order. n = 0 gives NaN. */
int dinm_bootstrap(struct dinm_estimate *e, const double *x, size_t n, size_t n_resamples,
                   uint64_t seed, struct dinm_error *err);

#endif
