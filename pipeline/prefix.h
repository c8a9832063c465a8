/* Requests that begin with the same tokens, found by sorting. Local. */
#ifndef DINM_PIPELINE_PREFIX_H
#define DINM_PIPELINE_PREFIX_H

#include <stddef.h>
#include "pipeline/decode.h"

/* A request and its place among those that begin like it. */
struct dinm_prefix {
    const struct dinm_request *request; /* borrows */
    struct dinm_ids *answer;            /* borrows: where its answer goes */
    size_t n_shared; /* first tokens that it has in common with the one before; not its last */
};

/* Sorts places: [n] by edit and then by tokens, and finds n_shared. The longest beginning that a
 * request has in common with any before it is then the one it has in common with its neighbour, so
 * that reading n_ids - n_shared tokens of each reads every beginning once. A prompt's last token is
 * always read: the answer begins with its row. Cost: n log n comparisons. */
void dinm_prefix_find(struct dinm_prefix *places, size_t n);

#endif
