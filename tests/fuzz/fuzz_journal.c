/* Bytes as a journal file: reading goes forward, stays within the bytes, and a record found good is
 * exactly what writing it gives. With a valid digest in front of them the bytes are also read as
 * the body of one record, so that the fuzzer gets past the checks. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "pipeline/journal.h"
#include "pipeline/journal_record.h"

static void require(int holds)
{
    if (!holds) {
        abort();
    }
}

/* Reads all records; returns where the good ones end. */
static size_t read_all(const char *bytes, size_t n_bytes)
{
    size_t at = 0;
    for (;;) {
        struct dinm_journal_record r;
        struct dinm_buffer again = {0};
        size_t before = at;
        if (dinm_journal_record_next(bytes, n_bytes, &at, &r) != DINM_JOURNAL_RECORD_GOOD) {
            require(at == before);
            return at;
        }
        require(at > before && at <= n_bytes);
        require(dinm_journal_record_append(&again, r.phase, r.unit, r.payload, r.n_bytes, NULL) ==
                DINM_OK);
        require(again.n_bytes == at - before);
        require(memcmp(again.data, bytes + before, again.n_bytes) == 0);
        dinm_buffer_free(&again);
    }
}

/* What a phase makes of bytes whose records are good. */
static void look_up(const char *bytes, size_t n_good)
{
    struct dinm_journal j = {.rank = 1, .fd = -1, .lock_fd = -1};
    require(dinm_buffer_append(&j.known, bytes, n_good, NULL) == DINM_OK);
    for (int phase = 0; phase < DINM_N_PHASES; phase++) {
        struct dinm_records records;
        require(dinm_journal_records(&j, (enum dinm_phase)phase, 5, &records, NULL) == DINM_OK);
        size_t n_done = 0;
        for (size_t unit = 0; unit < 5; unit++) {
            n_done += records.payloads[unit] != NULL;
        }
        require(n_done == records.n_done);
        dinm_records_free(&records);
    }
    dinm_buffer_free(&j.known);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    const char *bytes = (const char *)data;
    struct dinm_buffer b = {0};
    look_up(bytes, read_all(bytes, n_bytes));
    /* Each byte chooses phase and unit of a record that holds the bytes behind it. */
    for (size_t i = 0; i < n_bytes && i < 20; i++) {
        require(dinm_journal_record_append(&b, data[i] % 7, data[i] / 7 % 7, bytes + i,
                                           (n_bytes - i) % 9, NULL) == DINM_OK);
    }
    size_t n_written = b.n_bytes;
    require(dinm_buffer_append(&b, bytes, n_bytes, NULL) == DINM_OK);
    size_t n_good = read_all(b.data, b.n_bytes);
    require(n_good >= n_written);
    look_up(b.data, n_good);
    if (n_written > 0) { /* one changed bit ends the reading at or before its record */
        size_t bit = (size_t)data[0] * 2654435761u % (8 * n_written);
        b.data[bit / 8] = (char)(b.data[bit / 8] ^ (1 << bit % 8));
        require(read_all(b.data, b.n_bytes) <= bit / 8);
    }
    dinm_buffer_free(&b);
    return 0;
}
