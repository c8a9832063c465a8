/* Which units of a phase are done together, and in what order they are handed out. Every rank works
 * this out for itself from the same numbers, so that handing out is one addition to a counter.
 * Local.
 *
 * Units are of unequal cost. Where they are done one after the other, the dearest go first and a
 * batch is a share of what is left: large while there is much, small towards the end, so that
 * nobody waits long for the last. Where units that are done together share a cost (answers: the
 * weights are read once for all of them), all batches are made as alike as can be, a whole number
 * for each worker. */
#ifndef DINM_PIPELINE_DEAL_H
#define DINM_PIPELINE_DEAL_H

#include <stdbool.h>
#include <stddef.h>
#include "io/status.h"

struct dinm_deal_unit {
    size_t number;
    size_t n_more; /* units with the numbers behind it that go with it, places and costs included */
    size_t n_places; /* what it takes of a batch's room */
    double cost;
};

struct dinm_deal {
    size_t *units; /* owns: [n_units], batch after batch; ascending within one */
    size_t
        *first; /* owns: [n_batches + 1]: batch i is units[first[i]] .. units[first[i + 1] - 1] */
    size_t n_units, n_batches;
};

/* Deals to n_workers; a batch has at most `most` places, or one unit that has more. Sorts units:
 * [n_units]. */
int dinm_deal_make(struct dinm_deal *deal, struct dinm_deal_unit *units, size_t n_units,
                   size_t most, size_t n_workers, bool together, struct dinm_error *err);
/* Safe on a zeroed deal, and twice. */
void dinm_deal_free(struct dinm_deal *deal);

#endif
