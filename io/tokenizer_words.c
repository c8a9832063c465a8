/* Words on their way to the model, and the splitters that cut them. */
#include "io/tokenizer_internal.h"
#include <stdlib.h>
#include <string.h>

/* ---- byte-level text ---- */

/* Printable bytes of Latin-1 stand for themselves, the others for U+0100 and on, in order. */
static bool is_printable(uint32_t byte)
{
    return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xFF && byte != 0xAD);
}

uint32_t dinm_tokenizer_byte_to_char(unsigned char byte)
{
    if (is_printable(byte)) {
        return byte;
    }
    if (byte <= 0x20) {
        return 0x100u + byte;
    }
    return byte == 0xAD ? 0x143u : 0x121u + byte - 0x7Fu;
}

int dinm_tokenizer_char_to_byte(uint32_t c)
{
    if (c < 0x100) {
        return is_printable(c) ? (int)c : -1;
    }
    if (c <= 0x120) {
        return (int)(c - 0x100);
    }
    if (c <= 0x142) {
        return (int)(c - 0x121 + 0x7F);
    }
    return c == 0x143 ? 0xAD : -1;
}

static int append_as_chars(struct dinm_buffer *out, const char *bytes, size_t n_bytes,
                           struct dinm_error *err)
{
    int status = DINM_OK;

    TRY(dinm_buffer_reserve(out, 2 * n_bytes, err));
    for (size_t i = 0; i < n_bytes; i++) {
        const uint32_t c = dinm_tokenizer_byte_to_char((unsigned char)bytes[i]);

        if (c < 0x80) {
            out->data[out->n_bytes++] = (char)c;
        } else {
            out->data[out->n_bytes++] = (char)(0xC0 | c >> 6);
            out->data[out->n_bytes++] = (char)(0x80 | (c & 0x3F));
        }
    }
    out->data[out->n_bytes] = '\0';
out:
    return status;
}

/* ---- words ---- */

int dinm_tokenizer_words_add(struct dinm_words *w, struct dinm_word word, struct dinm_error *err)
{
    int status = DINM_OK;
    void *words = w->words;

    if (w->n_words == w->capacity) {
        status = dinm_grow(&words, &w->capacity, w->n_words + 1, sizeof *w->words,
                           "the words of a text", err);
        w->words = words;
    }
    if (status == DINM_OK) {
        w->words[w->n_words++] = word;
    }
    return status;
}

void dinm_tokenizer_words_free(struct dinm_words *w)
{
    dinm_buffer_free(&w->text);
    free(w->words);
    *w = (struct dinm_words){0};
}

/* ---- running a splitter ---- */

/* Whether a part is joined to the one before it. A match is a delimiter; a merged one goes with a
 * neighbour that is none. */
static bool joins(enum dinm_behavior behavior, bool match, bool match_before)
{
    switch (behavior) {
    case DINM_SPLIT_MERGED_WITH_PREVIOUS:
        return match && !match_before;
    case DINM_SPLIT_MERGED_WITH_NEXT:
        return !match && match_before;
    case DINM_SPLIT_CONTIGUOUS:
        return match == match_before;
    case DINM_SPLIT_REMOVED:
    case DINM_SPLIT_ISOLATED:
        break;
    }
    return false;
}

/* Cuts a text and leaves in c the parts that are to be words. */
static int cut(const struct dinm_splitter *s, const char *text, size_t n_bytes, struct dinm_cuts *c,
               struct dinm_error *err)
{
    const int status = dinm_tokenizer_pattern_cut(&s->pattern, text, n_bytes, c, err);
    bool before = false;
    size_t n = 0;

    for (size_t i = 0; status == DINM_OK && i < c->n_cuts; i++) {
        const struct dinm_cut part = c->cuts[i];
        const bool match = part.match != s->invert;

        if (n > 0 && joins(s->behavior, match, before)) {
            c->cuts[n - 1].end = part.end;
        } else if (!match || s->behavior != DINM_SPLIT_REMOVED) {
            c->cuts[n++] = part;
        }
        before = match;
    }
    c->n_cuts = status == DINM_OK ? n : 0;
    return status;
}

/* The parts become words of the same text, which begins at `at`. */
static int add_parts(struct dinm_words *out, size_t at, bool first, const struct dinm_cuts *c,
                     struct dinm_error *err)
{
    int status = DINM_OK;

    for (size_t i = 0; i < c->n_cuts; i++) {
        const struct dinm_cut part = c->cuts[i];

        if (part.begin < part.end) {
            TRY(dinm_tokenizer_words_add(out,
                                         (struct dinm_word){.at = at + part.begin,
                                                            .n_bytes = part.end - part.begin,
                                                            .id = -1,
                                                            .first = first && part.begin == 0},
                                         err));
        }
    }
out:
    return status;
}

/* Blanks become marks, perhaps with one more in front. */
static int split_metaspace(const struct dinm_splitter *s, const struct dinm_words *now,
                           struct dinm_word word, struct dinm_words *next, struct dinm_cuts *c,
                           struct dinm_error *err)
{
    const size_t n_mark = strlen(s->mark);
    const size_t begin = next->text.n_bytes;
    const char *text = now->text.data + word.at;
    const bool marked =
        text[0] == ' ' || (word.n_bytes >= n_mark && memcmp(text, s->mark, n_mark) == 0);
    int status = DINM_OK;

    if (!marked &&
        (s->prefix == DINM_PREFIX_ALWAYS || (s->prefix == DINM_PREFIX_FIRST && word.first))) {
        TRY(dinm_buffer_append(&next->text, s->mark, n_mark, err));
    }
    for (size_t i = 0; i < word.n_bytes;) {
        const char *blank = memchr(text + i, ' ', word.n_bytes - i);
        const size_t end = blank == NULL ? word.n_bytes : (size_t)(blank - text);

        TRY(dinm_buffer_append(&next->text, text + i, end - i, err));
        if (blank != NULL) {
            TRY(dinm_buffer_append(&next->text, s->mark, n_mark, err));
        }
        i = end + 1;
    }
    TRY(cut(s, next->text.data + begin, next->text.n_bytes - begin, c, err));
    TRY(add_parts(next, begin, word.first, c, err));
out:
    return status;
}

/* Words of bytes, perhaps with a blank in front, become words of the characters for those bytes. */
static int split_bytes(const struct dinm_splitter *s, struct dinm_words *now, struct dinm_word word,
                       struct dinm_words *next, struct dinm_cuts *c, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *text;

    if (s->prefix == DINM_PREFIX_ALWAYS && now->text.data[word.at] != ' ') {
        const size_t at = now->text.n_bytes;

        TRY(dinm_buffer_reserve(&now->text, 1 + word.n_bytes, err));
        TRY(dinm_buffer_append(&now->text, " ", 1, err));
        TRY(dinm_buffer_append(&now->text, now->text.data + word.at, word.n_bytes, err));
        word.at = at;
        word.n_bytes++;
    }
    text = now->text.data + word.at;
    TRY(cut(s, text, word.n_bytes, c, err));
    for (size_t i = 0; i < c->n_cuts; i++) {
        const struct dinm_cut part = c->cuts[i];
        const size_t at = next->text.n_bytes;

        if (part.begin == part.end) {
            continue;
        }
        TRY(append_as_chars(&next->text, text + part.begin, part.end - part.begin, err));
        TRY(dinm_tokenizer_words_add(next,
                                     (struct dinm_word){.at = at,
                                                        .n_bytes = next->text.n_bytes - at,
                                                        .id = -1,
                                                        .first = word.first && part.begin == 0},
                                     err));
    }
out:
    return status;
}

int dinm_tokenizer_split(const struct dinm_splitter *s, struct dinm_words *now,
                         struct dinm_words *next, struct dinm_cuts *c, struct dinm_error *err)
{
    struct dinm_words swap;
    int status = DINM_OK;

    next->n_words = 0;
    next->text.n_bytes = 0;
    for (size_t i = 0; i < now->n_words; i++) {
        const struct dinm_word word = now->words[i];

        if (word.id >= 0) {
            TRY(dinm_tokenizer_words_add(next, word, err));
        } else if (s->kind == DINM_SPLITTER_METASPACE) {
            TRY(split_metaspace(s, now, word, next, c, err));
        } else if (s->kind == DINM_SPLITTER_BYTES) {
            TRY(split_bytes(s, now, word, next, c, err));
        } else {
            TRY(cut(s, now->text.data + word.at, word.n_bytes, c, err));
            TRY(add_parts(next, word.at, word.first, c, err));
        }
    }
    if (s->kind == DINM_SPLITTER_PATTERN) {
        const struct dinm_buffer text = now->text; /* the words of next point into it */

        now->text = next->text;
        next->text = text;
    }
    swap = *now;
    *now = *next;
    *next = swap;
out:
    return status;
}
