/* The one place that knows which bytes are well-formed UTF-8 (Unicode 15, table 3-7). */
#ifndef DINM_IO_UTF8_H
#define DINM_IO_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at `text` (1 to 4), n_bytes >= 1 of which may be read. If none begins
 * there, *valid is false and the result is the length of the longest beginning of a character, at
 * least 1: what one U+FFFD should stand for. */
size_t dinm_utf8_step(const char *text, size_t n_bytes, bool *valid);

/* Writes the character (at most 0x10FFFF) and returns its number of bytes. */
size_t dinm_utf8_put(char out[4], uint32_t character);

/* Makes a line of the NUL-ended text, in place: control characters and bytes that are not UTF-8
 * become '?'; an unfinished character at the end is cut off. */
void dinm_utf8_make_line(char *text);

#endif
