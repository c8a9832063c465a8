/* A text passed through an ordered list of pattern rules (PCRE2, Unicode). Private to
 * pipeline/metrics*. */
#ifndef DINM_PIPELINE_METRICS_REWRITE_H
#define DINM_PIPELINE_METRICS_REWRITE_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stddef.h>
#include "io/status.h"

/* Every match is replaced; $0, $1, ... stand for the match and its groups. */
struct dinm_rewrite_rule {
    const char *pattern, *replacement;
};

struct dinm_rewriter {
    const struct dinm_rewrite_rule *rules; /* borrows: [n_rules], static */
    pcre2_code **codes;                    /* owns: [n_rules] */
    size_t n_rules;
    pcre2_match_data *match; /* owns */
    char *text, *next;       /* own: the text between two rules */
    size_t text_capacity, next_capacity;
};

int dinm_rewriter_open(struct dinm_rewriter *w, const struct dinm_rewrite_rule *rules,
                       size_t n_rules, struct dinm_error *err);
void dinm_rewriter_close(struct dinm_rewriter *w);

/* *out: [*n_out] and a NUL, borrowed from w until the next call. Bytes that are not UTF-8 count as
 * U+FFFD. */
int dinm_rewriter_apply(struct dinm_rewriter *w, const char *text, size_t n_bytes, const char **out,
                        size_t *n_out, struct dinm_error *err);

#endif
