/* Non-blocking messages. One message is received at a time, so that the pieces of two large ones
 * from the same stage cannot be mixed up: MPI keeps the order between two ranks. */
#include "pipeline/ring.h"

#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "io/mem.h"
#include "pipeline/grid.h"
#include "pipeline/watchdog.h"

enum { TAG_ITEM, TAG_REST };

/* One item under way. */
struct dinm_sending {
    struct dinm_sending *next;
    struct dinm_item *item; /* owns */
    MPI_Request *requests;  /* owns: [n] */
    size_t n;
};

void dinm_ring_open(struct dinm_ring *ring, MPI_Comm comm, int stage, int n_stages,
                    size_t chunk_bytes)
{
    /* A first piece holds at least the item's own fields. */
    size_t least = sizeof(struct dinm_item), most = INT_MAX;
    size_t chunk = chunk_bytes < least ? least : chunk_bytes;
    *ring = (struct dinm_ring){.comm = comm,
                               .stage = stage,
                               .n_stages = n_stages,
                               .chunk_bytes = chunk < most ? chunk : most};
}

static void free_list(struct dinm_item *first)
{
    while (first != NULL) {
        struct dinm_item *next = first->next;
        free(first);
        first = next;
    }
}

static void sending_free(struct dinm_sending *s)
{
    if (s != NULL) {
        free(s->item);
        free(s->requests);
        free(s);
    }
}

void dinm_ring_close(struct dinm_ring *ring)
{
    while (ring->sending != NULL) {
        struct dinm_sending *s = ring->sending;
        ring->sending = s->next;
        MPI_Waitall((int)s->n, s->requests, MPI_STATUSES_IGNORE);
        sending_free(s);
    }
    free_list(ring->first);
    free_list(ring->finished);
    free(ring->arriving);
    free(ring->requests);
    *ring = (struct dinm_ring){.comm = MPI_COMM_NULL};
}

static void append(struct dinm_item **first, struct dinm_item **last, struct dinm_item *item)
{
    item->next = NULL;
    if (*first == NULL) {
        *first = item;
    } else {
        (*last)->next = item;
    }
    *last = item;
}

static void take_in(struct dinm_ring *ring, struct dinm_item *item)
{
    if (ring->failure.status < 0) {
        free(item);
    } else if (item->finished) {
        append(&ring->finished, &ring->finished_last, item);
    } else {
        append(&ring->first, &ring->last, item);
    }
}

size_t dinm_ring_piece(const struct dinm_ring *ring, size_t n_bytes, size_t i, size_t *begin)
{
    *begin = i * ring->chunk_bytes;
    size_t left = n_bytes - *begin;
    return left < ring->chunk_bytes ? left : ring->chunk_bytes;
}

size_t dinm_ring_n_pieces(const struct dinm_ring *ring, size_t n_bytes)
{
    return n_bytes / ring->chunk_bytes + (n_bytes % ring->chunk_bytes > 0);
}

/* DINM_OK unless the ring is broken. */
static int whole(const struct dinm_ring *ring, struct dinm_error *err)
{
    const struct dinm_error *f = &ring->failure;
    return f->status < 0 ? dinm_fail(err, f->status, "%s", f->text) : DINM_OK;
}

int dinm_ring_break(struct dinm_ring *ring, int status, const struct dinm_error *why,
                    struct dinm_error *err)
{
    dinm_fail(&ring->failure, status, "%s", why->text);
    return whole(ring, err);
}

/* The pieces of s->item; on failure s keeps those that are under way. */
static int send_pieces(struct dinm_ring *ring, int to, struct dinm_sending *s,
                       struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_bytes = (size_t)s->item->n_bytes, n_pieces = dinm_ring_n_pieces(ring, n_bytes);
    for (; s->n < n_pieces; s->n++) {
        size_t begin, n = dinm_ring_piece(ring, n_bytes, s->n, &begin);
        int code = MPI_Isend((unsigned char *)s->item + begin, (int)n, MPI_BYTE, to,
                             s->n == 0 ? TAG_ITEM : TAG_REST, ring->comm, &s->requests[s->n]);
        TRY(dinm_grid_check(code, "MPI_Isend", err));
    }
    ring->n_sent++;
    ring->n_sent_bytes += n_bytes;
out:
    return status;
}

int dinm_ring_send(struct dinm_ring *ring, int to, struct dinm_item *item, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_error why = {0};
    struct dinm_sending *s = NULL;
    TRY(whole(ring, err));
    if (to == ring->stage) {
        take_in(ring, item);
        return DINM_OK;
    }
    s = dinm_alloc(1, sizeof *s, "a message", &why);
    TRY(s != NULL ? DINM_OK : DINM_FAILED);
    s->requests = dinm_alloc(dinm_ring_n_pieces(ring, (size_t)item->n_bytes), sizeof *s->requests,
                             "a message", &why);
    TRY(s->requests != NULL ? DINM_OK : DINM_FAILED);
    s->item = item;
    s->next = ring->sending;
    ring->sending = s;
    TRY(send_pieces(ring, to, s, &why));
out:
    if (status < 0) {
        dinm_ring_break(ring, status, &why, err);
        if (s == NULL || s->item == NULL) {
            sending_free(s);
            free(item);
        }
    }
    return status;
}

/* Lets go of what has been taken. */
static int finish_sending(struct dinm_ring *ring, struct dinm_error *err)
{
    int status = DINM_OK;
    for (struct dinm_sending **at = &ring->sending; *at != NULL;) {
        struct dinm_sending *s = *at;
        int done = 0;
        TRY(dinm_grid_check(MPI_Testall((int)s->n, s->requests, &done, MPI_STATUSES_IGNORE),
                            "MPI_Testall", err));
        if (done) {
            *at = s->next;
            sending_free(s);
        } else {
            at = &s->next;
        }
    }
out:
    return status;
}

/* The first piece of an item is there: makes room for all of it and asks for the rest. */
static int receive_rest(struct dinm_ring *ring, int from, size_t n_first, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_bytes = (size_t)ring->arriving->n_bytes;
    size_t n_pieces = dinm_ring_n_pieces(ring, n_bytes), begin;
    void *requests = ring->requests;
    if (!dinm_item_is_whole(ring->arriving, n_bytes) ||
        n_first != dinm_ring_piece(ring, n_bytes, 0, &begin)) {
        return dinm_fail(err, DINM_FAILED, "a message between two stages is damaged");
    }
    if (n_pieces > 1) {
        struct dinm_item *all = dinm_alloc(n_bytes, 1, "work from other layers", err);
        TRY(all != NULL ? DINM_OK : DINM_FAILED);
        memcpy(all, ring->arriving, n_first);
        free(ring->arriving);
        ring->arriving = all;
    }
    status = dinm_grow(&requests, &ring->request_capacity, n_pieces, sizeof *ring->requests,
                       "a message", err);
    ring->requests = requests;
    TRY(status);
    for (; ring->n_requests + 1 < n_pieces; ring->n_requests++) {
        size_t n = dinm_ring_piece(ring, n_bytes, ring->n_requests + 1, &begin);
        int code = MPI_Irecv((unsigned char *)ring->arriving + begin, (int)n, MPI_BYTE, from,
                             TAG_REST, ring->comm, &ring->requests[ring->n_requests]);
        TRY(dinm_grid_check(code, "MPI_Irecv", err));
    }
out:
    return status;
}

/* Another stage has ended its work, well or not. */
static int receive_end(struct dinm_ring *ring, MPI_Message *message, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_error told = {0};
    ring->n_ended++;
    TRY(dinm_grid_check(MPI_Mrecv(&told, (int)sizeof told, MPI_BYTE, message, MPI_STATUS_IGNORE),
                        "MPI_Mrecv", err));
    TRY(told.status < 0 ? dinm_fail(err, told.status, "%s", told.text) : DINM_OK);
out:
    return status;
}

/* The ring is broken, or there is no memory: the sender is rid of its message all the same. */
static void drop_message(MPI_Message *message, int n)
{
    void *room = malloc((size_t)n);
    MPI_Mrecv(room, room != NULL ? n : 0, MPI_BYTE, message, MPI_STATUS_IGNORE);
    free(room);
}

/* Begins to receive if a message is there; *there: it was. The pieces behind a first one are asked
 * for at once, so that what is found here begins an item. */
static int begin_arrival(struct dinm_ring *ring, int *there, struct dinm_error *err)
{
    int status = DINM_OK, n = 0;
    MPI_Message message;
    MPI_Status from;
    TRY(dinm_grid_check(
        MPI_Improbe(MPI_ANY_SOURCE, MPI_ANY_TAG, ring->comm, there, &message, &from), "MPI_Improbe",
        err));
    if (!*there) {
        return DINM_OK;
    }
    if (from.MPI_TAG == DINM_RING_TAG_ENDED) {
        return receive_end(ring, &message, err);
    }
    MPI_Get_count(&from, MPI_BYTE, &n);
    if (ring->failure.status < 0) {
        drop_message(&message, n);
        return DINM_OK;
    }
    ring->arriving = dinm_alloc((size_t)n, 1, "work from other layers", err);
    if (ring->arriving == NULL) {
        drop_message(&message, n);
        return DINM_FAILED;
    }
    TRY(dinm_grid_check(MPI_Mrecv(ring->arriving, n, MPI_BYTE, &message, MPI_STATUS_IGNORE),
                        "MPI_Mrecv", err));
    TRY(receive_rest(ring, from.MPI_SOURCE, (size_t)n, err));
out:
    return status;
}

/* Takes the arriving item in once all of it is here. *here: it is. */
static int end_arrival(struct dinm_ring *ring, int *here, struct dinm_error *err)
{
    int status = DINM_OK;
    *here = 1;
    if (ring->n_requests > 0) {
        TRY(dinm_grid_check(
            MPI_Testall((int)ring->n_requests, ring->requests, here, MPI_STATUSES_IGNORE),
            "MPI_Testall", err));
    }
    if (*here) {
        struct dinm_item *item = ring->arriving;
        ring->arriving = NULL;
        ring->n_requests = 0;
        take_in(ring, item);
    }
out:
    return status;
}

static int receive(struct dinm_ring *ring, struct dinm_error *err)
{
    int status = DINM_OK;
    for (int more = 1; more;) {
        if (ring->arriving == NULL) {
            TRY(begin_arrival(ring, &more, err));
        }
        if (ring->arriving != NULL) {
            TRY(end_arrival(ring, &more, err));
        }
    }
out:
    return status;
}

int dinm_ring_progress(struct dinm_ring *ring, struct dinm_error *err)
{
    if (ring->n_stages > 1) {
        struct dinm_error *why = &ring->failure; /* the first wins */
        finish_sending(ring, why);
        receive(ring, why);
    }
    return whole(ring, err);
}

/* Gives the core away for a moment: at first to whoever wants it, then for a sixteenth of the time
 * waited so far, 1 ms at most. */
static void rest(unsigned n_rests, long *waited_ns)
{
    enum { YIELDS = 50, LEAST_NS = 20000, MOST_NS = 1000000, SHARE = 16 };
    if (n_rests < YIELDS) {
        sched_yield();
        return;
    }
    long ns = *waited_ns / SHARE;
    ns = ns < LEAST_NS ? LEAST_NS : ns > MOST_NS ? MOST_NS : ns;
    *waited_ns += *waited_ns < 1000L * MOST_NS ? ns : 0;
    nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

static struct dinm_item *pop(struct dinm_item **first)
{
    struct dinm_item *item = *first;
    *first = item->next;
    item->next = NULL;
    return item;
}

int dinm_ring_next(struct dinm_ring *ring, struct dinm_item **item, struct dinm_error *err)
{
    int status = DINM_OK;
    long waited_ns = 0;
    *item = NULL;
    TRY(whole(ring, err));
    for (unsigned n_rests = 0;; n_rests++) {
        TRY(dinm_ring_progress(ring, err));
        if (ring->finished != NULL) {
            *item = pop(&ring->finished);
            break;
        }
        if (ring->first != NULL) {
            *item = pop(&ring->first);
            break;
        }
        if (ring->n_stages == 1) {
            TRY(dinm_fail(err, DINM_FAILED, "nothing is under way that could be waited for"));
        }
        dinm_watchdog_beat();
        rest(n_rests, &waited_ns);
    }
out:
    return status;
}
