/* Digest of bytes that come in pieces: the same number as dinm_digest of all of them at once. */
#ifndef DINM_IO_DIGEST_H
#define DINM_IO_DIGEST_H

#include <stddef.h>
#include <stdint.h>
#include "io/status.h"

struct dinm_digester; /* opaque */

/* NULL and *err on lack of memory. */
struct dinm_digester *dinm_digester_open(uint64_t seed, struct dinm_error *err);
void dinm_digester_add(struct dinm_digester *d, const void *bytes, size_t n_bytes);
uint64_t dinm_digester_value(const struct dinm_digester *d);
void dinm_digester_close(struct dinm_digester *d);

#endif
