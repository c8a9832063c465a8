/* One shared counter that hands out work in order.
 *
 * While all ranks are on one node it lies in memory that they share and is changed with the
 * processor's own atomics: a take waits for nobody, whatever rank 0 does. Over several nodes rank 0
 * keeps it and answers messages: from a thread of its own, at once, if MPI was initialised with
 * MPI_THREAD_MULTIPLE; otherwise only when it calls a function of the queue, which it does between
 * its own units: then the others wait up to one unit for each take.
 *
 * MPI's one-sided operations would be the obvious way, but with Open MPI 4.1 over plain TCP a
 * window either cannot be made at all (osc/rdma) or is answered only while rank 0 is in MPI
 * (osc/pt2pt). */
#ifndef DINM_PIPELINE_QUEUE_H
#define DINM_PIPELINE_QUEUE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include "pipeline/grid.h"

/* Must stay where it is while it is open. */
struct dinm_queue {
    const struct dinm_grid *grid; /* borrows */
    _Atomic int64_t *cells;       /* borrows from the window, or owns on rank 0; NULL elsewhere */
    bool apart;                   /* over several nodes: the following three are used */
    MPI_Comm talk;                /* owns: for questions and answers only */
    pthread_t server;             /* owns: answers on rank 0 if has_server */
    bool has_server;
    atomic_bool closing;
    MPI_Win window; /* owns: on one node */
};
/* Collective over grid->world. The counters start at 0. Cost: one window or communicator. */
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
/* Local. What was counted so far, and how many ranks have left. For rank 0, which must call it
 * until all have left: without a server thread it is here that their questions are answered. */
int dinm_queue_look(struct dinm_queue *q, int64_t *n_done, int *n_left, struct dinm_error *err);

#endif
