/* Messages between the stages of one group. Sending never waits; a message to oneself is put in a
 * queue, so that one stage is the serial program. Items that fit no MPI count travel in pieces.
 *
 * What cannot be told by an item (no memory for a message, MPI's own failures) breaks the ring:
 * from then on every call fails with that reason, and dinm_ring_end_all tells it to all stages. */
#ifndef DINM_PIPELINE_RING_H
#define DINM_PIPELINE_RING_H

#include <mpi.h>
#include "pipeline/item.h"

enum { DINM_RING_TAG_ENDED = 2 }; /* ring_end.c; the items' tags are ring.c's */

struct dinm_ring {
    MPI_Comm comm; /* borrows: the group; rank = stage. Not used by a single stage */
    int stage, n_stages;
    size_t chunk_bytes;             /* most bytes of one message */
    struct dinm_item *first, *last; /* owns: items to be worked on */
    struct dinm_item *finished;     /* owns: results, for the driver */
    struct dinm_item *finished_last;
    struct dinm_sending *sending; /* owns: messages under way */
    struct dinm_item *arriving;   /* owns: the one being received */
    MPI_Request *requests;        /* owns: its pieces */
    size_t n_requests, request_capacity;
    struct dinm_error failure; /* why the ring is broken: what still arrives is dropped */
    int n_ended;               /* other stages that have ended their work */
    uint64_t n_sent, n_sent_bytes;
};

/* Local. comm is the group's and must outlive the ring; MPI_COMM_NULL for a ring of one. */
void dinm_ring_open(struct dinm_ring *ring, MPI_Comm comm, int stage, int n_stages,
                    size_t chunk_bytes);
/* Local. Waits for its own messages to be taken. Safe on a zeroed ring, and twice. */
void dinm_ring_close(struct dinm_ring *ring);

/* Local. Takes item. */
int dinm_ring_send(struct dinm_ring *ring, int to, struct dinm_item *item, struct dinm_error *err);
/* Local. Moves messages on; to be called now and then during long work. */
int dinm_ring_progress(struct dinm_ring *ring, struct dinm_error *err);
/* Local. Waits for the next item: results first, then work in order of arrival. The caller owns
 * it. */
int dinm_ring_next(struct dinm_ring *ring, struct dinm_item **item, struct dinm_error *err);

/* Local. An item was lost: nobody can wait for it any more. Breaks the ring for that reason, unless
 * it is broken; returns the ring's failure. */
int dinm_ring_break(struct dinm_ring *ring, int status, const struct dinm_error *why,
                    struct dinm_error *err);

/* How many messages an item of n_bytes is; the bytes of message i, and where it begins. */
size_t dinm_ring_n_pieces(const struct dinm_ring *ring, size_t n_bytes);
size_t dinm_ring_piece(const struct dinm_ring *ring, size_t n_bytes, size_t i, size_t *begin);

/* Collective over comm. A stage's work is over, well or not: `status` with its sentence in err.
 * Waits until this is so for all stages, whose failure the others learn from it while they work,
 * and until all messages are taken. Cost: one small message between any two stages, a barrier. */
int dinm_ring_end_all(struct dinm_ring *ring, int status, struct dinm_error *err);

#endif
