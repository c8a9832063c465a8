/* tokenizer.model: a SentencePiece model of type BPE, in protocol-buffer wire format.
 * https://github.com/google/sentencepiece (sentencepiece_model.proto) */
#include "io/tokenizer_older.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Numbers of the fields that are read. */
enum { MODEL_PIECES = 1, MODEL_TRAINER = 2, MODEL_NORMALIZER = 3 };
enum { PIECE_TEXT = 1, PIECE_SCORE = 2, PIECE_TYPE = 3 };
enum { TRAINER_MODEL_TYPE = 3, TRAINER_BYTE_FALLBACK = 35 };
enum { NORMALIZER_CHARACTER_MAP = 2, NORMALIZER_PREFIX = 3 };
enum { TYPE_UNIGRAM = 1, TYPE_BPE = 2 };

/* ---- wire format ---- */

struct wire {
    const char *path; /* borrows: for errors */
    const unsigned char *at, *end;
};
struct field {
    uint64_t number, value; /* value: of a varint, or the bits of a fixed-size number */
    unsigned kind;          /* 0 varint, 1 eight bytes, 2 bytes, 5 four bytes */
    struct wire bytes;      /* kind 2 */
};

static int broken(const struct wire *w, struct dinm_error *err)
{
    return dinm_fail(err, DINM_FAILED, "%s: not a SentencePiece model: broken or cut off", w->path);
}

static int read_varint(struct wire *w, uint64_t *value, struct dinm_error *err)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && w->at < w->end; shift += 7) {
        const unsigned char byte = *w->at++;

        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            return DINM_OK;
        }
    }
    return broken(w, err);
}

/* The next field. */
static int read_field(struct wire *w, struct field *f, struct dinm_error *err)
{
    uint64_t key = 0;
    uint64_t n_bytes = 0;
    int status = DINM_OK;

    TRY(read_varint(w, &key, err));
    *f = (struct field){.number = key >> 3, .kind = (unsigned)(key & 7)};
    switch (f->kind) {
    case 0:
        TRY(read_varint(w, &f->value, err));
        return DINM_OK;
    case 1:
        n_bytes = 8;
        break;
    case 2:
        TRY(read_varint(w, &n_bytes, err));
        break;
    case 5:
        n_bytes = 4;
        break;
    default:
        return broken(w, err);
    }
    if (n_bytes > (uint64_t)(w->end - w->at)) {
        return broken(w, err);
    }
    f->bytes = (struct wire){.path = w->path, .at = w->at, .end = w->at + n_bytes};
    for (uint64_t i = 0; f->kind != 2 && i < n_bytes; i++) {
        f->value |= (uint64_t)w->at[i] << (8 * i);
    }
    w->at += n_bytes;
out:
    return status;
}

/* ---- the model ---- */

static int read_piece(struct dinm_spm *m, struct wire w, struct dinm_error *err)
{
    struct dinm_spm_piece piece = {.type = DINM_SPM_NORMAL};
    struct dinm_buffer text = {0};
    const size_t id = m->vocab.n_ids;
    void *pieces = m->pieces;
    struct field f;
    int status = DINM_OK;

    while (w.at < w.end) {
        TRY(read_field(&w, &f, err));
        if (f.number == PIECE_TEXT && f.kind == 2) {
            text.n_bytes = 0;
            TRY(dinm_buffer_append(&text, f.bytes.at, (size_t)(f.bytes.end - f.bytes.at), err));
        } else if (f.number == PIECE_SCORE && f.kind == 5) {
            const uint32_t bits = (uint32_t)f.value;

            memcpy(&piece.score, &bits, sizeof bits);
        } else if (f.number == PIECE_TYPE && f.kind == 0) {
            piece.type = f.value <= DINM_SPM_LAST ? (int)f.value : 0;
        }
    }
    if (text.n_bytes == 0 || !dinm_tokenizer_text_is_valid(text.data, text.n_bytes) ||
        isnan(piece.score) || piece.type == 0) {
        status = dinm_fail(err, DINM_FAILED,
                           "%s: piece %zu is not a piece of UTF-8 text with a "
                           "score and a known type",
                           m->path, id);
        goto out;
    }
    TRY(dinm_tokenizer_vocab_add(&m->vocab, m->path, (int64_t)id, text.data, text.n_bytes, err));
    status = dinm_grow(&pieces, &m->capacity, id + 1, sizeof *m->pieces, "the pieces", err);
    m->pieces = pieces;
    TRY(status);
    m->pieces[id] = piece;
out:
    dinm_buffer_free(&text);
    return status;
}

static int read_settings(struct dinm_spm *m, uint64_t part, struct wire w, struct dinm_error *err)
{
    struct field f;
    int status = DINM_OK;

    while (w.at < w.end) {
        TRY(read_field(&w, &f, err));
        if (part == MODEL_TRAINER && f.number == TRAINER_MODEL_TYPE) {
            m->type = f.value;
        } else if (part == MODEL_TRAINER && f.number == TRAINER_BYTE_FALLBACK) {
            m->byte_fallback = f.value != 0;
        } else if (part == MODEL_NORMALIZER && f.number == NORMALIZER_CHARACTER_MAP) {
            m->character_map = f.bytes.at < f.bytes.end;
        } else if (part == MODEL_NORMALIZER && f.number == NORMALIZER_PREFIX) {
            m->prefix = f.value != 0;
        }
    }
out:
    return status;
}

int dinm_tokenizer_sentencepiece_parse(struct dinm_spm *m, const char *name, const void *bytes,
                                       size_t n_bytes, struct dinm_error *err)
{
    struct wire w = {.path = name, .at = bytes};
    struct field f;
    int status = DINM_OK;

    w.end = w.at + n_bytes;
    m->path = name;
    m->type = TYPE_UNIGRAM;
    m->prefix = true;
    while (w.at < w.end) {
        TRY(read_field(&w, &f, err));
        if (f.number == MODEL_PIECES && f.kind == 2) {
            TRY(read_piece(m, f.bytes, err));
        } else if ((f.number == MODEL_TRAINER || f.number == MODEL_NORMALIZER) && f.kind == 2) {
            TRY(read_settings(m, f.number, f.bytes, err));
        }
    }
    if (m->vocab.n_ids == 0) {
        return broken(&w, err);
    }
    if (m->type != TYPE_BPE) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: a SentencePiece model of type %llu is not supported"
                         ", only 2 (BPE)",
                         m->path, (unsigned long long)m->type);
    }
    if (m->character_map) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: a SentencePiece normalizer with a character map is "
                         "not supported",
                         m->path);
    }
out:
    return status;
}

void dinm_tokenizer_sentencepiece_free(struct dinm_spm *m)
{
    free(m->pieces);
    dinm_tokenizer_vocab_free(&m->vocab);
    *m = (struct dinm_spm){0};
}
