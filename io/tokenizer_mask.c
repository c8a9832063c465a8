/* Where a text may hold control tokens: the spans that the caller calls plain, followed through
 * everything that happens to the text before the last search for added tokens. */
#include "io/tokenizer_internal.h"
#include <stdlib.h>

bool dinm_tokenizer_mask_allows(const struct dinm_mask *m, size_t begin, size_t end)
{
    bool allows = m->control;

    for (size_t i = 0; allows && i < m->n_spans; i++) {
        allows = end <= m->spans[i].begin || begin >= m->spans[i].end;
    }
    return allows;
}

static int make_room(struct dinm_mask *m, size_t n_spans, struct dinm_error *err)
{
    void *spans = m->spans;
    const int status =
        dinm_grow(&spans, &m->capacity, n_spans, sizeof *m->spans, "the spans of a text", err);

    m->spans = spans;
    m->n_spans = 0;
    return status;
}

int dinm_tokenizer_mask_clean(struct dinm_mask *m, const struct dinm_encode_options *options,
                              const char *text, size_t n_bytes, struct dinm_buffer *clean,
                              struct dinm_error *err)
{
    int status = DINM_OK;
    size_t at = 0;

    m->control = options->control;
    TRY(make_room(m, options->n_plain, err));
    for (size_t i = 0; i < options->n_plain; i++) {
        const struct dinm_span s = options->plain[i];
        struct dinm_span cleaned;

        if (s.begin < at || s.end < s.begin || s.end > n_bytes) {
            return dinm_fail(err, DINM_FAILED,
                             "the plain span %zu to %zu of a text of %zu bytes is out of order",
                             s.begin, s.end, n_bytes);
        }
        TRY(dinm_tokenizer_text_repair(clean, text + at, s.begin - at, err));
        cleaned.begin = clean->n_bytes;
        TRY(dinm_tokenizer_text_repair(clean, text + s.begin, s.end - s.begin, err));
        cleaned.end = clean->n_bytes;
        if (cleaned.begin < cleaned.end) {
            m->spans[m->n_spans++] = cleaned;
        }
        at = s.end;
    }
    TRY(dinm_tokenizer_text_repair(clean, text + at, n_bytes - at, err));
out:
    return status;
}

/* How many bytes two texts share at their beginning, or at their end. */
static size_t shared_bytes(const struct dinm_buffer *a, const struct dinm_buffer *b, bool at_end)
{
    const size_t n = a->n_bytes < b->n_bytes ? a->n_bytes : b->n_bytes;
    size_t i = 0;

    while (i < n && (at_end ? a->data[a->n_bytes - 1 - i] == b->data[b->n_bytes - 1 - i]
                            : a->data[i] == b->data[i])) {
        i++;
    }
    return i;
}

/* What lies before (or behind) a span is normalised by itself; as far as that agrees with the
 * whole, it is what the caller put there. */
static int measure(const struct dinm_tokenizer *t, const char *text, size_t n_bytes,
                   const struct dinm_buffer *whole, bool at_end, size_t *n_shared,
                   struct dinm_error *err)
{
    struct dinm_buffer part = {0}, spare = {0};
    struct dinm_cuts cuts = {0};
    int status = DINM_OK;

    TRY(dinm_buffer_append(&part, text, n_bytes, err));
    TRY(dinm_tokenizer_normalize(t, &part, &spare, &cuts, NULL, err));
    *n_shared = shared_bytes(&part, whole, at_end);
out:
    dinm_buffer_free(&part);
    dinm_buffer_free(&spare);
    dinm_tokenizer_cuts_free(&cuts);
    return status;
}

int dinm_tokenizer_mask_normalized(const struct dinm_tokenizer *t, const struct dinm_mask *clean,
                                   const char *text, struct dinm_stretch stretch,
                                   const struct dinm_buffer *whole, struct dinm_mask *m,
                                   struct dinm_error *err)
{
    int status = DINM_OK;

    m->control = clean->control;
    TRY(make_room(m, clean->n_spans, err));
    for (size_t i = 0; m->control && i < clean->n_spans; i++) {
        const struct dinm_span s = clean->spans[i];
        size_t n_before = 0;
        size_t n_behind = 0;

        if (s.end <= stretch.begin || s.begin >= stretch.end) {
            continue;
        }
        if (s.begin > stretch.begin) {
            TRY(measure(t, text + stretch.begin, s.begin - stretch.begin, whole, false, &n_before,
                        err));
        }
        if (s.end < stretch.end) {
            TRY(measure(t, text + s.end, stretch.end - s.end, whole, true, &n_behind, err));
        }
        if (n_before + n_behind < whole->n_bytes) {
            m->spans[m->n_spans++] =
                (struct dinm_span){.begin = n_before, .end = whole->n_bytes - n_behind};
        }
    }
out:
    return status;
}

void dinm_tokenizer_mask_free(struct dinm_mask *m)
{
    free(m->spans);
    *m = (struct dinm_mask){0};
}
