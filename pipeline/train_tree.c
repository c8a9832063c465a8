/* The sum of the parts' gradients in one fixed order, whatever the number of ranks. What a rank
 * has to do is written down once as a list of moves, and done again in every step. */
#include "pipeline/train_private.h"

#include <stdlib.h>
#include <string.h>
#include "io/mem.h"

enum { TAG_HEADER = 1, TAG_GRADIENT = 2 };
enum { STATUS, LOSS, UNITS, RIGHT }; /* of a header */

enum what { COMPUTE, SEND, RECEIVE, ADD };
struct dinm_train_move {
    enum what what;
    size_t slot; /* ADD: slot += slot + 1 */
    size_t part; /* COMPUTE */
    int rank;    /* SEND, RECEIVE: the other side */
};

static int rank_of(const struct dinm_train_tree *t, size_t part)
{
    return (int)(part * (size_t)t->grid->size / t->n_parts);
}

static int plan_move(struct dinm_train_tree *t, struct dinm_train_move move, struct dinm_error *err)
{
    void *moves = t->moves;
    if (dinm_grow(&moves, &t->moves_capacity, t->n_moves + 1, sizeof *t->moves, "the tree of parts",
                  err) < 0) {
        return DINM_FAILED;
    }
    t->moves = moves;
    t->moves[t->n_moves++] = move;
    if (move.slot + 1 > t->n_slots) {
        t->n_slots = move.slot + 1;
    }
    t->n_sends += move.what == SEND;
    return DINM_OK;
}

/* Plans this rank's work for the node [first, first + span); its sum is to end up in `slot`. A sent
 * slot stays untouched until the end of the step, so that the send need not be waited for: n_sends
 * slots are in use before `slot` counts. */
static int plan_node(struct dinm_train_tree *t, size_t first, size_t span, size_t slot,
                     struct dinm_error *err)
{
    int status = DINM_OK;
    const int rank = t->grid->rank;
    const size_t end = first + span < t->n_parts ? first + span : t->n_parts;
    if (rank < rank_of(t, first) || rank > rank_of(t, end - 1)) {
        return DINM_OK;
    }
    if (span == 1) {
        struct dinm_train_move compute = {COMPUTE, t->n_sends + slot, first, rank};
        return plan_move(t, compute, err);
    }
    const size_t middle = first + span / 2;
    TRY(plan_node(t, first, span / 2, slot, err));
    if (middle >= t->n_parts) {
        return DINM_OK;
    }
    const int left = rank_of(t, first);
    const int right = rank_of(t, middle);
    TRY(plan_node(t, middle, span / 2, left == rank ? slot + 1 : slot, err));
    if (left == rank) {
        if (right != rank) {
            struct dinm_train_move receive = {RECEIVE, t->n_sends + slot + 1, 0, right};
            TRY(plan_move(t, receive, err));
        }
        TRY(plan_move(t, (struct dinm_train_move){ADD, t->n_sends + slot, 0, rank}, err));
    } else if (right == rank) {
        TRY(plan_move(t, (struct dinm_train_move){SEND, t->n_sends + slot, 0, left}, err));
    }
out:
    return status;
}

/* Floats per message: its bytes fit an int, in which some transports still count. */
static size_t chunk_floats(const struct dinm_train_tree *t)
{
    return t->grid->chunk_bytes / sizeof(float);
}

int dinm_train_tree_init(struct dinm_train_tree *t, const struct dinm_grid *grid, size_t n_parts,
                         size_t n_params, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t span = 1;
    while (span < n_parts) {
        span *= 2;
    }
    *t = (struct dinm_train_tree){.grid = grid, .n_parts = n_parts, .n_params = n_params};
    TRY(plan_node(t, 0, span, 0, err));
    const size_t n_chunks = (n_params + chunk_floats(t) - 1) / chunk_floats(t);
    t->slots = dinm_alloc(t->n_slots, sizeof *t->slots, "gradients", err);
    t->headers = dinm_alloc(t->n_slots, DINM_TRAIN_HEADER * sizeof *t->headers, "gradients", err);
    t->requests = dinm_alloc(t->n_sends * (1 + n_chunks), sizeof(MPI_Request), "messages", err);
    if (t->slots == NULL || t->headers == NULL || t->requests == NULL) {
        return DINM_FAILED;
    }
    for (size_t i = 0; i < t->n_slots; i++) {
        t->slots[i] = dinm_alloc(n_params, sizeof **t->slots, "a gradient", err);
        if (t->slots[i] == NULL) {
            return DINM_FAILED;
        }
    }
out:
    return status;
}

void dinm_train_tree_free(struct dinm_train_tree *t)
{
    for (size_t i = 0; t->slots != NULL && i < t->n_slots; i++) {
        free(t->slots[i]);
    }
    free(t->moves);
    free(t->slots);
    free(t->headers);
    free(t->requests);
    *t = (struct dinm_train_tree){0};
}

static size_t chunk(const struct dinm_train_tree *t, size_t from)
{
    return t->n_params - from < chunk_floats(t) ? t->n_params - from : chunk_floats(t);
}

static int send_slot(struct dinm_train_tree *t, size_t slot, int rank, struct dinm_error *err)
{
    int code = MPI_Isend(t->headers + slot * DINM_TRAIN_HEADER, DINM_TRAIN_HEADER, MPI_DOUBLE, rank,
                         TAG_HEADER, t->grid->world, &t->requests[t->n_requests++]);
    for (size_t i = 0; code == MPI_SUCCESS && i < t->n_params; i += chunk_floats(t)) {
        code = MPI_Isend(t->slots[slot] + i, (int)chunk(t, i), MPI_FLOAT, rank, TAG_GRADIENT,
                         t->grid->world, &t->requests[t->n_requests++]);
    }
    return dinm_grid_check(code, "sending a gradient", err);
}

static int receive_slot(struct dinm_train_tree *t, size_t slot, int rank, struct dinm_error *err)
{
    static const char what[] = "receiving a gradient";
    MPI_Request request;
    int code = MPI_Irecv(t->headers + slot * DINM_TRAIN_HEADER, DINM_TRAIN_HEADER, MPI_DOUBLE, rank,
                         TAG_HEADER, t->grid->world, &request);
    int status = dinm_grid_finish(code, &request, what, err);
    for (size_t i = 0; status == DINM_OK && i < t->n_params; i += chunk_floats(t)) {
        code = MPI_Irecv(t->slots[slot] + i, (int)chunk(t, i), MPI_FLOAT, rank, TAG_GRADIENT,
                         t->grid->world, &request);
        status = dinm_grid_finish(code, &request, what, err);
    }
    return status;
}

static int compute(struct dinm_train_tree *t, size_t slot, size_t part, int *worst,
                   struct dinm_error *err)
{
    struct dinm_train_score score = {0};
    memset(t->slots[slot], 0, t->n_params * sizeof *t->slots[slot]);
    int status = t->compute(t->context, part, t->slots[slot], &score, worst, err);
    double *h = t->headers + slot * DINM_TRAIN_HEADER;
    h[LOSS] = score.loss;
    h[UNITS] = score.n_units;
    h[RIGHT] = score.n_right;
    return status;
}

static void add_next(struct dinm_train_tree *t, size_t slot)
{
    float *y = t->slots[slot];
    const float *x = t->slots[slot + 1];
    for (size_t i = 0; i < t->n_params; i++) {
        y[i] += x[i];
    }
    double *h = t->headers + slot * DINM_TRAIN_HEADER;
    for (size_t i = LOSS; i < DINM_TRAIN_HEADER; i++) {
        h[i] += h[DINM_TRAIN_HEADER + i];
    }
}

/* Does one move; *worst: the worst status so far, of this rank or of others. Returns this rank's
 * own. */
static int do_move(struct dinm_train_tree *t, const struct dinm_train_move *move, int *worst,
                   struct dinm_error *err)
{
    double *h = t->headers + move->slot * DINM_TRAIN_HEADER;
    int status = DINM_OK;
    switch (move->what) {
    case COMPUTE:
        return compute(t, move->slot, move->part, worst, err);
    case SEND:
        h[STATUS] = *worst;
        return send_slot(t, move->slot, move->rank, err);
    case RECEIVE:
        h[STATUS] = DINM_OK;
        status = receive_slot(t, move->slot, move->rank, err);
        *worst = (int)h[STATUS] < *worst ? (int)h[STATUS] : *worst;
        return status;
    case ADD:
        add_next(t, move->slot);
        return DINM_OK;
    }
    return status;
}

int dinm_train_tree_sum_all(struct dinm_train_tree *t, struct dinm_train_score *score, int *worst,
                            struct dinm_error *err)
{
    int own = DINM_OK;
    *worst = DINM_OK;
    t->n_requests = 0;
    for (size_t i = 0; i < t->n_moves; i++) {
        const int status = do_move(t, &t->moves[i], worst, err);
        own = status < own ? status : own;
        *worst = own < *worst ? own : *worst;
    }
    for (size_t i = 0; i < t->n_requests; i++) {
        const int status = dinm_grid_finish(MPI_SUCCESS, &t->requests[i], "sending gradients", err);
        own = status < own ? status : own;
    }
    if (t->grid->rank == 0) {
        *score = (struct dinm_train_score){t->headers[LOSS], t->headers[UNITS], t->headers[RIGHT]};
    }
    *worst = own < *worst ? own : *worst;
    return own;
}
