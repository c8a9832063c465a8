/* Encoding and checking of journal records; the layout is in the header. */
#include "pipeline/journal_record.h"

#include <string.h>
#include "io/file.h"

static const char magic[4] = {'D', 'J', 'R', '1'};

static void put_number(char *to, uint64_t value, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) {
        to[i] = (char)(unsigned char)(value >> (8 * i));
    }
}

static uint64_t get_number(const char *from, size_t n_bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n_bytes; i++) {
        value |= (uint64_t)(unsigned char)from[i] << (8 * i);
    }
    return value;
}

enum dinm_journal_record_state dinm_journal_record_next(const char *bytes, size_t n_bytes,
                                                        size_t *at,
                                                        struct dinm_journal_record *record)
{
    size_t left = n_bytes - *at;
    if (left == 0) {
        return DINM_JOURNAL_RECORD_NONE;
    }
    const char *head = bytes + *at;
    if (left < DINM_JOURNAL_RECORD_HEAD_BYTES) {
        size_t n_magic = left < sizeof magic ? left : sizeof magic;
        return memcmp(head, magic, n_magic) == 0 ? DINM_JOURNAL_RECORD_TORN
                                                 : DINM_JOURNAL_RECORD_BAD;
    }
    uint64_t head_digest = get_number(head + 24, 8);
    if (memcmp(head, magic, sizeof magic) != 0 || dinm_digest(head, 24, 0) != head_digest) {
        return DINM_JOURNAL_RECORD_BAD;
    }
    left -= DINM_JOURNAL_RECORD_HEAD_BYTES;
    uint64_t n_payload = get_number(head + 16, 8);
    if (left < DINM_JOURNAL_RECORD_TAIL_BYTES ||
        n_payload > left - DINM_JOURNAL_RECORD_TAIL_BYTES) {
        return DINM_JOURNAL_RECORD_TORN;
    }
    const char *payload = head + DINM_JOURNAL_RECORD_HEAD_BYTES;
    if (dinm_digest(payload, (size_t)n_payload, head_digest) !=
        get_number(payload + n_payload, 8)) {
        /* After a power failure the last bytes may be missing though the length counts them. */
        return n_payload == left - DINM_JOURNAL_RECORD_TAIL_BYTES ? DINM_JOURNAL_RECORD_TORN
                                                                  : DINM_JOURNAL_RECORD_BAD;
    }
    *record = (struct dinm_journal_record){.phase = (uint32_t)get_number(head + 4, 4),
                                           .unit = get_number(head + 8, 8),
                                           .payload = payload,
                                           .n_bytes = (size_t)n_payload};
    *at += DINM_JOURNAL_RECORD_HEAD_BYTES + (size_t)n_payload + DINM_JOURNAL_RECORD_TAIL_BYTES;
    return DINM_JOURNAL_RECORD_GOOD;
}

int dinm_journal_record_append(struct dinm_buffer *b, uint32_t phase, uint64_t unit,
                               const char *payload, size_t n_bytes, struct dinm_error *err)
{
    int status = DINM_OK;
    char head[DINM_JOURNAL_RECORD_HEAD_BYTES], tail[DINM_JOURNAL_RECORD_TAIL_BYTES];
    size_t before = b->n_bytes;
    memcpy(head, magic, sizeof magic);
    put_number(head + 4, phase, 4);
    put_number(head + 8, unit, 8);
    put_number(head + 16, n_bytes, 8);
    uint64_t head_digest = dinm_digest(head, 24, 0);
    put_number(head + 24, head_digest, 8);
    put_number(tail, dinm_digest(payload, n_bytes, head_digest), 8);
    TRY(dinm_buffer_append(b, head, sizeof head, err));
    TRY(dinm_buffer_append(b, payload, n_bytes, err));
    TRY(dinm_buffer_append(b, tail, sizeof tail, err));
out:
    if (status < 0) {
        b->n_bytes = before;
    }
    return status;
}
