/* Cutting a text at the matches of a pattern. */
#include "io/tokenizer_internal.h"
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

static int add_cut(struct dinm_cuts *c, size_t begin, size_t end, bool match,
                   struct dinm_error *err)
{
    int status = DINM_OK;
    void *cuts = c->cuts;

    if (c->n_cuts == c->capacity) {
        status = dinm_grow(&cuts, &c->capacity, c->n_cuts + 1, sizeof *c->cuts,
                           "the parts of a text", err);
        c->cuts = cuts;
    }
    if (status == DINM_OK) {
        c->cuts[c->n_cuts++] = (struct dinm_cut){.begin = begin, .end = end, .match = match};
    }
    return status;
}

/* The next match at or after `from`. The just-in-time code may run out of its small stack: then
 * the interpreter, which lives on the heap, takes over. */
static int find_match(const struct dinm_pattern *p, const char *text, size_t n_bytes, size_t from,
                      struct dinm_cuts *c, bool *found, struct dinm_error *err)
{
    PCRE2_UCHAR message[256] = {0};
    int n =
        pcre2_match(p->code, (PCRE2_SPTR)text, n_bytes, from, PCRE2_NO_UTF_CHECK, c->room, NULL);

    if (n == PCRE2_ERROR_JIT_STACKLIMIT) {
        n = pcre2_match(p->code, (PCRE2_SPTR)text, n_bytes, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                        c->room, NULL);
    }
    *found = n >= 0;
    if (n < 0 && n != PCRE2_ERROR_NOMATCH) {
        pcre2_get_error_message(n, message, sizeof message);
        return dinm_fail(err, DINM_FAILED,
                         "the tokenizer's pattern \"%.200s\" gives up on a text "
                         "of %zu bytes: %s",
                         p->source, n_bytes, (const char *)message);
    }
    return DINM_OK;
}

/* An empty match counts, but not directly behind another match. */
static int cut_at_matches(const struct dinm_pattern *p, const char *text, size_t n_bytes,
                          struct dinm_cuts *c, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t done = 0;
    bool any = false;

    if (c->room == NULL) {
        c->room = pcre2_match_data_create(1, NULL);
        if (c->room == NULL) {
            return dinm_fail(err, DINM_FAILED, "not enough memory for matching a pattern");
        }
    }
    for (size_t from = 0; from <= n_bytes;) {
        const size_t *span;
        bool found;
        uint32_t unused;

        TRY(find_match(p, text, n_bytes, from, c, &found, err));
        if (!found) {
            break;
        }
        span = pcre2_get_ovector_pointer(c->room);
        if (span[0] == span[1] && any && span[0] == done) {
            from += from < n_bytes ? dinm_tokenizer_text_char(text + from, &unused) : 1;
            continue;
        }
        if (done < span[0]) {
            TRY(add_cut(c, done, span[0], false, err));
        }
        TRY(add_cut(c, span[0], span[1], true, err));
        done = from = span[1];
        any = true;
    }
    if (done < n_bytes) {
        TRY(add_cut(c, done, n_bytes, false, err));
    }
out:
    return status;
}

static const char *find_text(const char *text, size_t n_bytes, const char *what, size_t n_what)
{
    while (n_bytes >= n_what) {
        const char *at = memchr(text, what[0], n_bytes - n_what + 1);

        if (at == NULL || memcmp(at, what, n_what) == 0) {
            return at;
        }
        n_bytes -= (size_t)(at + 1 - text);
        text = at + 1;
    }
    return NULL;
}

static int cut_at_literal(const struct dinm_pattern *p, const char *text, size_t n_bytes,
                          struct dinm_cuts *c, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t done = 0;

    for (;;) {
        const char *at = find_text(text + done, n_bytes - done, p->source, p->n_source);
        const size_t begin = at == NULL ? n_bytes : (size_t)(at - text);

        if (done < begin) {
            TRY(add_cut(c, done, begin, false, err));
        }
        if (at == NULL) {
            break;
        }
        TRY(add_cut(c, begin, begin + p->n_source, true, err));
        done = begin + p->n_source;
    }
out:
    return status;
}

int dinm_tokenizer_pattern_cut(const struct dinm_pattern *p, const char *text, size_t n_bytes,
                               struct dinm_cuts *c, struct dinm_error *err)
{
    c->n_cuts = 0;
    if (n_bytes == 0) {
        return DINM_OK;
    }
    if (p->source == NULL) {
        return add_cut(c, 0, n_bytes, false, err);
    }
    return p->code == NULL ? cut_at_literal(p, text, n_bytes, c, err)
                           : cut_at_matches(p, text, n_bytes, c, err);
}

void dinm_tokenizer_cuts_free(struct dinm_cuts *c)
{
    free(c->cuts);
    pcre2_match_data_free(c->room);
    *c = (struct dinm_cuts){0};
}
