/* Words of a text as NLTK's word_tokenize finds them. Private to pipeline/metrics*, for tests. */
#ifndef DINM_PIPELINE_METRICS_WORDS_H
#define DINM_PIPELINE_METRICS_WORDS_H

#include "pipeline/metrics.h"

/* *words: [*n_words] NUL-ended, borrowed from w until the next call. */
int dinm_words_split(struct dinm_words *w, const char *text, const char *const **words,
                     size_t *n_words, struct dinm_error *err);

#endif
