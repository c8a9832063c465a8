/* Requests that begin with the same tokens, found by sorting; with the same edit, and with others.
 * Local. */
#ifndef DINM_PIPELINE_PREFIX_H
#define DINM_PIPELINE_PREFIX_H

#include <stddef.h>
#include "pipeline/decode.h"

/* A request and its place among those that begin like it. */
struct dinm_prefix {
    const struct dinm_request *request; /* borrows */
    struct dinm_ids *answer;            /* borrows: where its answer goes */
    size_t n_shared; /* first tokens that it has in common with the one before; not its last */
    size_t n_kept;   /* first tokens that one behind it with another edit may enter late with */
};

/* First tokens that two prompts have in common. */
size_t dinm_prefix_n_equal(const struct dinm_request *a, const struct dinm_request *b);
/* The layer whose product the request's edit replaces; n_layers: none. */
size_t dinm_prefix_layer(const struct dinm_request *request, size_t n_layers);

/* Sorts places: [n] by edit and then by tokens, and finds n_shared. The longest beginning that a
 * request has in common with any before it is then the one it has in common with its neighbour, so
 * that reading n_ids - n_shared tokens of each reads every beginning once. A prompt's last token is
 * always read: the answer begins with its row. Cost: n log n comparisons. */
void dinm_prefix_find(struct dinm_prefix *places, size_t n);

/* places: [n] as dinm_prefix_find leaves them, of a model of n_layers. Below *entry_layer all that
 * are edited there or above, or not at all, are the same model: where they begin alike, the layers
 * below it need to read that once for all of them. It is one of the edited layers, that which saves
 * most; n_layers: nothing to save. Fewer rows of one than `least` save nothing. Finds n_kept. Cost:
 * as many comparisons as places for each edit, and for each place those up to the first that has
 * another edit. */
int dinm_prefix_find_entry(struct dinm_prefix *places, size_t n, size_t n_layers, size_t least,
                           size_t *entry_layer, struct dinm_error *err);

#endif
