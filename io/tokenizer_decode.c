/* Ids to text: the pieces pass through the decoders as a list, as in the reference, since some
 * look at a piece's place in it. */
#include "io/tokenizer_internal.h"
#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

static int read_metaspace(struct dinm_decoder *d, struct dinm_json j, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *mark = "\xE2\x96\x81";
    const char *scheme = NULL;

    d->kind = DINM_DECODE_METASPACE;
    d->prefix = true;
    TRY(dinm_json_get_text_or(j, "replacement", &mark, err));
    TRY(dinm_json_get_bool_or(j, "add_prefix_space", &d->prefix, err));
    TRY(dinm_json_get_text_or(j, "prepend_scheme", &scheme, err));
    d->prefix = scheme == NULL ? d->prefix : strcmp(scheme, "never") != 0;
    TRY(dinm_tokenizer_pattern_literal(&d->pattern, j.where, mark, err));
    TRY(dinm_tokenizer_copy(&d->text, " ", err));
out:
    return status;
}

static int read_one(struct dinm_decoder *d, struct dinm_json j, const char *type,
                    struct dinm_error *err)
{
    int status = DINM_OK;
    const char *content = NULL;

    if (strcmp(type, "Metaspace") == 0) {
        return read_metaspace(d, j, err);
    }
    if (strcmp(type, "ByteLevel") == 0) {
        d->kind = DINM_DECODE_BYTES;
    } else if (strcmp(type, "ByteFallback") == 0) {
        d->kind = DINM_DECODE_BYTE_FALLBACK;
    } else if (strcmp(type, "Fuse") == 0) {
        d->kind = DINM_DECODE_FUSE;
    } else if (strcmp(type, "Replace") == 0) {
        d->kind = DINM_DECODE_REPLACE;
        TRY(dinm_tokenizer_pattern_read(&d->pattern, j, err));
        TRY(dinm_json_get_text(j, "content", &content, err));
        TRY(dinm_tokenizer_copy(&d->text, content, err));
        if (d->pattern.code != NULL && strchr(content, '$') != NULL) {
            return dinm_fail(err, DINM_FAILED,
                             "%s: Replace with the content \"%.100s\": a $ behind"
                             " a Regex is not supported",
                             j.where, content);
        }
    } else if (strcmp(type, "Strip") == 0) {
        d->kind = DINM_DECODE_STRIP;
        TRY(dinm_json_get_text(j, "content", &content, err));
        TRY(dinm_json_get_int(j, "start", 0, INT32_MAX, &d->start, err));
        TRY(dinm_json_get_int(j, "stop", 0, INT32_MAX, &d->stop, err));
        TRY(dinm_tokenizer_copy(&d->text, content, err));
    } else {
        return dinm_fail(err, DINM_FAILED, "%s: the decoder %.100s is not supported", j.where,
                         type);
    }
out:
    return status;
}

int dinm_tokenizer_decoder_read(struct dinm_tokenizer *t, const char *where, const cJSON *object,
                                struct dinm_error *err)
{
    const struct dinm_json j = {.object = object, .where = where};
    int status = DINM_OK;
    const char *type = NULL;
    const cJSON *list = NULL;
    const cJSON *item = NULL;
    void *decoders = t->decoders;

    TRY(dinm_tokenizer_type(object, where, "decoder", &type, err));
    t->has_decoder = true;
    if (strcmp(type, "Sequence") == 0) {
        TRY(dinm_json_get_array(j, "decoders", &list, err));
        cJSON_ArrayForEach(item, list)
        {
            TRY(dinm_tokenizer_decoder_read(t, where, item, err));
        }
        return DINM_OK;
    }
    status = dinm_grow(&decoders, &t->decoder_capacity, t->n_decoders + 1, sizeof *t->decoders,
                       "the decoders", err);
    t->decoders = decoders;
    TRY(status);
    TRY(read_one(t->decoders + t->n_decoders++, j, type, err));
out:
    return status;
}

void dinm_tokenizer_decoder_free(struct dinm_decoder *d)
{
    dinm_tokenizer_pattern_free(&d->pattern);
    free(d->text);
    *d = (struct dinm_decoder){0};
}

/* ---- running ---- */

/* The text that was appended to out since `at` becomes its next piece. */
static int end_piece(struct dinm_words *out, size_t at, struct dinm_error *err)
{
    return dinm_tokenizer_words_add(
        out, (struct dinm_word){.at = at, .n_bytes = out->text.n_bytes - at, .id = -1}, err);
}

/* A piece that consists of characters for bytes becomes those bytes, any other stays. */
static int append_bytes(struct dinm_buffer *out, const char *piece, size_t n_bytes,
                        struct dinm_error *err)
{
    const size_t before = out->n_bytes;
    int status = DINM_OK;

    TRY(dinm_buffer_reserve(out, n_bytes, err));
    for (size_t at = 0; at < n_bytes;) {
        uint32_t c;
        int byte;

        at += dinm_tokenizer_text_char(piece + at, &c);
        byte = dinm_tokenizer_char_to_byte(c);
        if (byte < 0) {
            out->n_bytes = before;
            return dinm_buffer_append(out, piece, n_bytes, err);
        }
        out->data[out->n_bytes++] = (char)byte;
    }
out:
    return status;
}

/* All pieces become one: first raw bytes in in->text, then valid text in out. */
static int decode_bytes(struct dinm_words *in, struct dinm_words *out, struct dinm_error *err)
{
    struct dinm_buffer raw = {0};
    int status = DINM_OK;

    for (size_t i = 0; i < in->n_words; i++) {
        TRY(append_bytes(&raw, in->text.data + in->words[i].at, in->words[i].n_bytes, err));
    }
    TRY(dinm_tokenizer_text_repair(&out->text, raw.data, raw.n_bytes, err));
    TRY(end_piece(out, 0, err));
out:
    dinm_buffer_free(&raw);
    return status;
}

/* Every match becomes the decoder's text. */
static int decode_replace(const struct dinm_decoder *d, const char *piece, size_t n_bytes,
                          bool vanish, struct dinm_words *out, struct dinm_cuts *cuts,
                          struct dinm_error *err)
{
    const size_t at = out->text.n_bytes;
    int status = DINM_OK;

    TRY(dinm_tokenizer_pattern_cut(&d->pattern, piece, n_bytes, cuts, err));
    for (size_t i = 0; i < cuts->n_cuts; i++) {
        const struct dinm_cut *c = cuts->cuts + i;

        if (!c->match) {
            TRY(dinm_buffer_append(&out->text, piece + c->begin, c->end - c->begin, err));
        } else if (!vanish) {
            TRY(dinm_buffer_append_text(&out->text, d->text, err));
        }
    }
    TRY(end_piece(out, at, err));
out:
    return status;
}

static int decode_strip(const struct dinm_decoder *d, const char *piece, size_t n_bytes,
                        struct dinm_words *out, struct dinm_error *err)
{
    const size_t at = out->text.n_bytes;
    const size_t n = strlen(d->text);
    int status = DINM_OK;

    for (int64_t i = 0; n > 0 && i < d->start && n_bytes >= n && memcmp(piece, d->text, n) == 0;
         i++) {
        piece += n;
        n_bytes -= n;
    }
    for (int64_t i = 0;
         n > 0 && i < d->stop && n_bytes >= n && memcmp(piece + n_bytes - n, d->text, n) == 0;
         i++) {
        n_bytes -= n;
    }
    TRY(dinm_buffer_append(&out->text, piece, n_bytes, err));
    TRY(end_piece(out, at, err));
out:
    return status;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that <0xNN> stands for, -1 if the piece is nothing such. */
static int fallback_byte(const char *piece, size_t n_bytes)
{
    if (n_bytes != 6 || memcmp(piece, "<0x", 3) != 0 || piece[5] != '>' ||
        hex_value(piece[3]) < 0 || hex_value(piece[4]) < 0) {
        return -1;
    }
    return 16 * hex_value(piece[3]) + hex_value(piece[4]);
}

/* A run of byte pieces is one piece of text, or as many U+FFFD as it has bytes. */
static int end_run(struct dinm_buffer *run, struct dinm_words *out, struct dinm_error *err)
{
    const size_t at = out->text.n_bytes;
    const size_t n_bytes = run->n_bytes;
    int status = DINM_OK;

    if (n_bytes == 0) {
        return DINM_OK;
    }
    TRY(dinm_tokenizer_text_repair(&out->text, run->data, n_bytes, err));
    if (out->text.n_bytes - at != n_bytes || memcmp(out->text.data + at, run->data, n_bytes) != 0) {
        out->text.n_bytes = at;
        for (size_t i = 0; i < n_bytes; i++) {
            TRY(dinm_tokenizer_text_put(&out->text, 0xFFFD, err));
        }
    }
    run->n_bytes = 0;
    TRY(end_piece(out, at, err));
out:
    return status;
}

static int decode_fallback(const struct dinm_words *in, struct dinm_words *out,
                           struct dinm_error *err)
{
    struct dinm_buffer run = {0};
    int status = DINM_OK;

    for (size_t i = 0; i < in->n_words; i++) {
        const char *piece = in->text.data + in->words[i].at;
        const int byte = fallback_byte(piece, in->words[i].n_bytes);
        const char one = (char)byte;
        size_t at;

        if (byte >= 0) {
            TRY(dinm_buffer_append(&run, &one, 1, err));
            continue;
        }
        TRY(end_run(&run, out, err));
        at = out->text.n_bytes;
        TRY(dinm_buffer_append(&out->text, piece, in->words[i].n_bytes, err));
        TRY(end_piece(out, at, err));
    }
    TRY(end_run(&run, out, err));
out:
    dinm_buffer_free(&run);
    return status;
}

static int decode_fuse(const struct dinm_words *in, struct dinm_words *out, struct dinm_error *err)
{
    int status = DINM_OK;

    for (size_t i = 0; i < in->n_words; i++) {
        TRY(dinm_buffer_append(&out->text, in->text.data + in->words[i].at, in->words[i].n_bytes,
                               err));
    }
    TRY(end_piece(out, 0, err));
out:
    return status;
}

static int decode_step(const struct dinm_decoder *d, struct dinm_words *in, struct dinm_words *out,
                       struct dinm_cuts *cuts, struct dinm_error *err)
{
    int status = DINM_OK;

    out->n_words = 0;
    out->text.n_bytes = 0;
    TRY(dinm_buffer_reserve(&out->text, 0, err));
    if (d->kind == DINM_DECODE_BYTES) {
        return decode_bytes(in, out, err);
    }
    if (d->kind == DINM_DECODE_BYTE_FALLBACK) {
        return decode_fallback(in, out, err);
    }
    if (d->kind == DINM_DECODE_FUSE) {
        return decode_fuse(in, out, err);
    }
    for (size_t i = 0; i < in->n_words; i++) {
        const char *piece = in->text.data + in->words[i].at;
        const size_t n_bytes = in->words[i].n_bytes;

        if (d->kind == DINM_DECODE_STRIP) {
            TRY(decode_strip(d, piece, n_bytes, out, err));
        } else {
            TRY(decode_replace(d, piece, n_bytes, d->prefix && i == 0, out, cuts, err));
        }
    }
out:
    return status;
}

/* The pieces of the ids, special ones left out if asked. */
static int list_pieces(const struct dinm_tokenizer *t, const int32_t *ids, size_t n_ids,
                       bool skip_special, struct dinm_words *out, struct dinm_error *err)
{
    int status = DINM_OK;

    TRY(dinm_buffer_reserve(&out->text, 0, err));
    for (size_t i = 0; i < n_ids; i++) {
        const bool inside = ids[i] >= 0 && (size_t)ids[i] < t->vocab.n_ids;
        const struct dinm_piece *p = t->vocab.pieces + (inside ? ids[i] : 0);
        const size_t at = out->text.n_bytes;

        /* An embedding may have more rows than there are tokens; such ids stand for nothing. */
        if (!inside || !p->known || (skip_special && p->special)) {
            continue;
        }
        TRY(dinm_buffer_append(&out->text, dinm_tokenizer_vocab_text(&t->vocab, ids[i]), p->n_bytes,
                               err));
        TRY(end_piece(out, at, err));
    }
out:
    return status;
}

int dinm_tokenizer_decode(const struct dinm_tokenizer *t, const int32_t *ids, size_t n_ids,
                          bool skip_special, struct dinm_buffer *out, struct dinm_error *err)
{
    struct dinm_words now = {0};
    struct dinm_words next = {0};
    struct dinm_cuts cuts = {0};
    const size_t before = out->n_bytes;
    int status;

    TRY(list_pieces(t, ids, n_ids, skip_special, &now, err));
    for (size_t i = 0; i < t->n_decoders; i++) {
        const struct dinm_words swap = now;

        TRY(decode_step(t->decoders + i, &now, &next, &cuts, err));
        now = next;
        next = swap;
    }
    for (size_t i = 0; i < now.n_words; i++) {
        if (i > 0 && !t->has_decoder) {
            TRY(dinm_buffer_append(out, " ", 1, err));
        }
        TRY(dinm_buffer_append(out, now.text.data + now.words[i].at, now.words[i].n_bytes, err));
    }
    if (t->cleans) {
        dinm_tokenizer_clean(out, before);
    }
out:
    if (status < 0 && out->data != NULL) {
        out->n_bytes = before;
        out->data[before] = '\0';
    }
    dinm_tokenizer_words_free(&now);
    dinm_tokenizer_words_free(&next);
    dinm_tokenizer_cuts_free(&cuts);
    return status;
}
