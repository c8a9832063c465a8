/* The journal's unit of writing, in bytes. Local; knows no files and no MPI.
 *
 *   at  0  magic "DJR1"         at 24  digest of bytes 0 to 23
 *   at  4  phase, 32 bits       at 32  payload
 *   at  8  unit, 64 bits        behind it: digest of the payload, seeded with the one before
 *   at 16  payload bytes, 64 bits
 *
 * Numbers are little-endian, digests are xxHash64. The head has a digest of its own, so that a
 * damaged length is told from a file that ends too early. */
#ifndef DINM_PIPELINE_JOURNAL_RECORD_H
#define DINM_PIPELINE_JOURNAL_RECORD_H

#include <stddef.h>
#include <stdint.h>
#include "io/mem.h"

#define DINM_JOURNAL_RECORD_HEAD_BYTES 32
#define DINM_JOURNAL_RECORD_TAIL_BYTES 8

struct dinm_journal_record {
    uint32_t phase;
    uint64_t unit;
    const char *payload; /* borrows from the bytes read; no NUL behind it */
    size_t n_bytes;
};

enum dinm_journal_record_state {
    DINM_JOURNAL_RECORD_GOOD,
    DINM_JOURNAL_RECORD_NONE, /* the bytes end here */
    DINM_JOURNAL_RECORD_TORN, /* the last record was not written to its end */
    DINM_JOURNAL_RECORD_BAD   /* these bytes were changed after they were written, or never were a
                                 record */
};

/* Reads the record at *at. Moves *at behind it if it is good, and leaves it otherwise. */
enum dinm_journal_record_state dinm_journal_record_next(const char *bytes, size_t n_bytes,
                                                        size_t *at,
                                                        struct dinm_journal_record *record);

/* Appends a record to b; on failure b is as before. */
int dinm_journal_record_append(struct dinm_buffer *b, uint32_t phase, uint64_t unit,
                               const char *payload, size_t n_bytes, struct dinm_error *err);

#endif
