/* One shared counter that hands out work in order: MPI one-sided, in memory of rank 0.
 *
 * While all ranks are on one node the counter lies in memory that they share and is changed with
 * the processor's own atomics: a take waits for nobody, whatever rank 0 does. Over several nodes it
 * depends on the network: with remote atomics (InfiniBand, OmniPath through UCX) it is the same;
 * over plain TCP a take from another node is answered when rank 0 next calls MPI, that is when it
 * has done the units in its hands. */
#ifndef DINM_PIPELINE_QUEUE_H
#define DINM_PIPELINE_QUEUE_H

#include <stdatomic.h>
#include "pipeline/grid.h"

struct dinm_queue {
    MPI_Win window;               /* owns */
    _Atomic int64_t *shared;      /* borrows from the window; NULL over several nodes */
    const struct dinm_grid *grid; /* borrows */
};
/* Collective over grid->world. The counters start at 0. Cost: one window, two barriers. */
int dinm_queue_open_all(struct dinm_queue *q, const struct dinm_grid *grid, struct dinm_error *err);
/* Collective. Safe on a zeroed queue, and twice. */
void dinm_queue_close_all(struct dinm_queue *q);

/* Local. Takes the next `n` numbers: *first is the first of them. */
int dinm_queue_take(struct dinm_queue *q, int64_t n, int64_t *first, struct dinm_error *err);
/* Local. From now on every take returns numbers of at least DINM_QUEUE_END: nobody starts more. */
int dinm_queue_end(struct dinm_queue *q, struct dinm_error *err);
#define DINM_QUEUE_END ((int64_t)1 << 44)

/* Local. Tells rank 0 that this rank has finished n more. */
int dinm_queue_count(struct dinm_queue *q, int64_t n, struct dinm_error *err);
/* Local. Tells rank 0 that this rank takes no more. Once per rank. */
int dinm_queue_leave(struct dinm_queue *q, struct dinm_error *err);
/* Local. What was counted so far, and how many ranks have left. Cheap on rank 0. */
int dinm_queue_look(struct dinm_queue *q, int64_t *n_done, int *n_left, struct dinm_error *err);

#endif
