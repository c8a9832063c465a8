/* Pattern rules, one after the other, on a text. */
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"
#include "io/utf8.h"
#include "pipeline/metrics_rewrite.h"

static int fail(struct dinm_error *err, int code, const char *pattern)
{
    PCRE2_UCHAR reason[160] = "unknown error";
    pcre2_get_error_message(code, reason, sizeof reason);
    return dinm_fail(err, DINM_FAILED, "the pattern \"%s\" of the metrics: %s", pattern,
                     (const char *)reason);
}

int dinm_rewriter_open(struct dinm_rewriter *w, const struct dinm_rewrite_rule *rules,
                       size_t n_rules, struct dinm_error *err)
{
    *w = (struct dinm_rewriter){.rules = rules};
    w->codes = dinm_alloc(n_rules, sizeof(pcre2_code *), "the rules of a metric", err);
    if (!w->codes) {
        return DINM_FAILED;
    }
    w->n_rules = n_rules;
    for (size_t i = 0; i < n_rules; i++) {
        int code = 0;
        PCRE2_SIZE at = 0;
        w->codes[i] = pcre2_compile((PCRE2_SPTR)rules[i].pattern, PCRE2_ZERO_TERMINATED,
                                    PCRE2_UTF | PCRE2_UCP, &code, &at, NULL);
        if (!w->codes[i]) {
            int status = fail(err, code, rules[i].pattern);
            dinm_rewriter_close(w);
            return status;
        }
        /* where there is no JIT compiler the interpreter does the same */
        pcre2_jit_compile(w->codes[i], PCRE2_JIT_COMPLETE);
    }
    w->match = pcre2_match_data_create(16, NULL);
    if (!w->match) {
        dinm_rewriter_close(w);
        return dinm_fail(err, DINM_FAILED, "not enough memory for the rules of a metric");
    }
    return DINM_OK;
}

void dinm_rewriter_close(struct dinm_rewriter *w)
{
    for (size_t i = 0; i < w->n_rules; i++) {
        pcre2_code_free(w->codes[i]);
    }
    pcre2_match_data_free(w->match);
    free(w->codes);
    free(w->text);
    free(w->next);
    *w = (struct dinm_rewriter){0};
}

/* w->text becomes a well-formed copy. */
static int take_text(struct dinm_rewriter *w, const char *text, size_t n_bytes, size_t *n_out,
                     struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n = 0;
    TRY(dinm_grow((void **)&w->text, &w->text_capacity, 3 * n_bytes + 1, 1, "a text", err));
    for (size_t i = 0; i < n_bytes;) {
        bool valid = false;
        size_t step = dinm_utf8_step(text + i, n_bytes - i, &valid);
        if (valid) {
            memcpy(w->text + n, text + i, step);
            n += step;
        } else {
            n += dinm_utf8_put(w->text + n, 0xFFFD);
        }
        i += step;
    }
    w->text[n] = '\0';
    *n_out = n;
out:
    return status;
}

/* w->text = w->text with every match of rule i replaced. */
static int apply_rule(struct dinm_rewriter *w, size_t i, size_t *n_bytes, struct dinm_error *err)
{
    const uint32_t options = PCRE2_SUBSTITUTE_GLOBAL | PCRE2_SUBSTITUTE_EXTENDED |
                             PCRE2_SUBSTITUTE_OVERFLOW_LENGTH | PCRE2_NO_UTF_CHECK;
    int status = DINM_OK, code = PCRE2_ERROR_NOMEMORY;
    PCRE2_SIZE n_out = *n_bytes + *n_bytes / 2 + 16;
    while (code == PCRE2_ERROR_NOMEMORY) {
        TRY(dinm_grow((void **)&w->next, &w->next_capacity, n_out, 1, "a text", err));
        n_out = w->next_capacity;
        code = pcre2_substitute(w->codes[i], (PCRE2_SPTR)w->text, *n_bytes, 0, options, w->match,
                                NULL, (PCRE2_SPTR)w->rules[i].replacement, PCRE2_ZERO_TERMINATED,
                                (PCRE2_UCHAR *)w->next, &n_out);
    }
    if (code < 0) {
        TRY(fail(err, code, w->rules[i].pattern));
    }
    char *text = w->text;
    size_t capacity = w->text_capacity;
    w->text = w->next;
    w->text_capacity = w->next_capacity;
    w->next = text;
    w->next_capacity = capacity;
    *n_bytes = n_out;
out:
    return status;
}

int dinm_rewriter_apply(struct dinm_rewriter *w, const char *text, size_t n_bytes, const char **out,
                        size_t *n_out, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n = 0;
    *out = "";
    *n_out = 0;
    TRY(take_text(w, text, n_bytes, &n, err));
    for (size_t i = 0; i < w->n_rules; i++) {
        TRY(apply_rule(w, i, &n, err));
    }
    *out = w->text;
    *n_out = n;
out:
    return status;
}
