/* Allocation with checked sizes, and the one growable byte buffer. */
#ifndef DINM_IO_MEM_H
#define DINM_IO_MEM_H

#include <stddef.h>
#include "io/status.h"

/* Zeroed memory for n items of `size` bytes, aligned to 64 bytes; `what` names it in the error
 * sentence. n = 0 gives a valid pointer. NULL and *err on overflow or lack of memory. free() it. */
void *dinm_alloc(size_t n, size_t size, const char *what, struct dinm_error *err);

/* A copy of n_bytes of text with a NUL behind them. */
char *dinm_copy_text(const char *text, size_t n_bytes, struct dinm_error *err);

/* Grows *items (capacity *capacity, of `size` bytes each) to hold at least n items. The new part
 * is zeroed. Growth is geometric. On failure everything is unchanged. *items must be a `void *`
 * of the caller's, not a cast pointer to something else. */
int dinm_grow(void **items, size_t *capacity, size_t n, size_t size, const char *what,
              struct dinm_error *err);

/* Bytes that grow. Zero-initialise; free with dinm_buffer_free. `data` has a NUL behind n_bytes
 * once anything was appended, and is NULL before. */
struct dinm_buffer {
    char *data; /* owns */
    size_t n_bytes;
    size_t capacity;
};

/* Room for n_bytes more and a NUL, so that appending them cannot fail. */
int dinm_buffer_reserve(struct dinm_buffer *b, size_t n_bytes, struct dinm_error *err);
int dinm_buffer_append(struct dinm_buffer *b, const void *bytes, size_t n_bytes,
                       struct dinm_error *err);
int dinm_buffer_append_text(struct dinm_buffer *b, const char *text, struct dinm_error *err);
int dinm_buffer_append_format(struct dinm_buffer *b, struct dinm_error *err, const char *format,
                              ...) __attribute__((format(printf, 3, 4)));
void dinm_buffer_free(struct dinm_buffer *b);

#endif
