/* Allocation with checked sizes, and the one growable byte buffer. */
#include "io/mem.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

static int no_memory(size_t n, size_t size, const char *what, struct dinm_error *err)
{
    return dinm_fail(err, DINM_FAILED, "not enough memory for %s: %zu items of %zu bytes", what, n,
                     size);
}

void *dinm_alloc(size_t n, size_t size, const char *what, struct dinm_error *err)
{
    void *items = NULL;

    /* aligned_alloc wants whole multiples of the alignment; no items still get a block. */
    if (size == 0 || n <= (PTRDIFF_MAX - ALIGNMENT) / size) {
        const size_t n_bytes = n * size;
        const size_t room = (n_bytes / ALIGNMENT + (n_bytes % ALIGNMENT != 0)) * ALIGNMENT;

        items = aligned_alloc(ALIGNMENT, room > 0 ? room : ALIGNMENT);
        if (items != NULL) {
            return memset(items, 0, room > 0 ? room : ALIGNMENT);
        }
    }
    no_memory(n, size, what, err);
    return NULL;
}

char *dinm_copy_text(const char *text, size_t n_bytes, struct dinm_error *err)
{
    char *copy = n_bytes < PTRDIFF_MAX ? malloc(n_bytes + 1) : NULL;

    if (copy == NULL) {
        no_memory(n_bytes, 1, "a text", err);
        return NULL;
    }
    if (n_bytes > 0) {
        memcpy(copy, text, n_bytes);
    }
    copy[n_bytes] = '\0';
    return copy;
}

int dinm_grow(void **items, size_t *capacity, size_t n, size_t size, const char *what,
              struct dinm_error *err)
{
    const size_t limit = size > 0 ? PTRDIFF_MAX / size : PTRDIFF_MAX;
    size_t room = *capacity > limit / 2 ? limit : 2 * *capacity;
    void *grown;

    if (n <= *capacity) {
        return DINM_OK;
    }
    if (n > limit) {
        return no_memory(n, size, what, err);
    }
    room = room < n ? n : room;
    room = room < 16 && limit >= 16 ? 16 : room;
    grown = realloc(*items, size > 0 ? room * size : 1);
    if (grown == NULL) {
        return no_memory(room, size, what, err);
    }
    memset((char *)grown + *capacity * size, 0, (room - *capacity) * size);
    *items = grown;
    *capacity = room;
    return DINM_OK;
}

int dinm_buffer_reserve(struct dinm_buffer *b, size_t n_bytes, struct dinm_error *err)
{
    const size_t needed = b->n_bytes + n_bytes + 1;
    size_t room = b->capacity > PTRDIFF_MAX / 2 ? PTRDIFF_MAX : 2 * b->capacity;
    char *grown;

    if (n_bytes >= PTRDIFF_MAX - b->n_bytes) {
        return no_memory(n_bytes, 1, "a text", err);
    }
    if (needed <= b->capacity) {
        return DINM_OK;
    }
    room = room < needed ? needed : room;
    room = room < 64 ? 64 : room;
    grown = realloc(b->data, room);
    if (grown == NULL) {
        return no_memory(room, 1, "a text", err);
    }
    grown[b->n_bytes] = '\0';
    b->data = grown;
    b->capacity = room;
    return DINM_OK;
}

int dinm_buffer_append(struct dinm_buffer *b, const void *bytes, size_t n_bytes,
                       struct dinm_error *err)
{
    const int status = dinm_buffer_reserve(b, n_bytes, err);

    if (status < 0) {
        return status;
    }
    if (n_bytes > 0) {
        memcpy(b->data + b->n_bytes, bytes, n_bytes);
    }
    b->n_bytes += n_bytes;
    b->data[b->n_bytes] = '\0';
    return DINM_OK;
}

int dinm_buffer_append_text(struct dinm_buffer *b, const char *text, struct dinm_error *err)
{
    return dinm_buffer_append(b, text, strlen(text), err);
}

int dinm_buffer_append_format(struct dinm_buffer *b, struct dinm_error *err, const char *format,
                              ...)
{
    int status = DINM_OK;
    int length;
    va_list arguments;
    va_list again;

    va_start(arguments, format);
    va_copy(again, arguments);
    length = vsnprintf(NULL, 0, format, arguments);
    if (length < 0) {
        status = dinm_fail(err, DINM_FAILED, "a text could not be formatted as '%s'", format);
    } else {
        status = dinm_buffer_reserve(b, (size_t)length, err);
    }
    if (status == DINM_OK) {
        vsnprintf(b->data + b->n_bytes, (size_t)length + 1, format, again);
        b->n_bytes += (size_t)length;
    }
    va_end(again);
    va_end(arguments);
    return status;
}

void dinm_buffer_free(struct dinm_buffer *b)
{
    if (b != NULL) {
        free(b->data);
        *b = (struct dinm_buffer){0};
    }
}
