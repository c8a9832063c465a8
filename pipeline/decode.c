/* Lanes of sequences going round. */
#include "pipeline/decode.h"

#include <stdlib.h>
#include <string.h>
#include "io/mem.h"

/* One request, waiting or being answered. */
struct sequence {
    struct dinm_request request;
    struct dinm_ids *answer; /* borrows */
    uint64_t slot;
    size_t capacity; /* positions of its cache */
    size_t n_read;   /* tokens that the model has read */
    size_t n_rows;   /* of it in the item under way */
    size_t n_new;
    int32_t next; /* the token chosen last, not yet read */
};

struct lane {
    struct sequence *sequences; /* owns: [most], the first n in use */
    size_t n;
    bool away; /* its item is under way */
};

struct dinm_decode {
    const struct dinm_generator *g; /* borrows */
    struct dinm_stage *stage;       /* borrows */
    struct lane *lanes;             /* owns: [n_lanes] */
    size_t n_lanes, most;           /* most sequences of one lane */
    struct sequence *waiting;       /* owns: [n_waiting], from next_waiting on */
    size_t n_waiting, next_waiting, waiting_capacity;
    size_t n_open;
};

void dinm_decode_close(struct dinm_decode *d)
{
    if (d == NULL) {
        return;
    }
    for (size_t i = 0; d->lanes && i < d->n_lanes; i++) {
        free(d->lanes[i].sequences);
    }
    free(d->lanes);
    free(d->waiting);
    free(d);
}

/* One lane for each stage and one that is between two of them. More would leave fewer rows in each,
 * and a stage reads its weights once for all rows of a lane. */
size_t dinm_decode_n_lanes(size_t n_stages)
{
    return n_stages > 1 ? n_stages + 1 : 1;
}

/* A stage holds that part of each cache that belongs to its layers: so many stages have room for so
 * many times as many. */
size_t dinm_decode_most(const struct dinm_generator *g, size_t n_stages)
{
    size_t n_lanes = dinm_decode_n_lanes(n_stages), most = g->max_sequences * n_stages;
    return most > n_lanes ? most / n_lanes * n_lanes : n_lanes;
}

int dinm_decode_open(struct dinm_decode **out, const struct dinm_generator *g,
                     struct dinm_stage *stage, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_stages = (size_t)stage->ring.n_stages;
    struct dinm_decode *d = dinm_alloc(1, sizeof *d, "the decoding batch", err);
    TRY(d ? DINM_OK : DINM_FAILED);
    *d = (struct dinm_decode){.g = g, .stage = stage};
    d->n_lanes = dinm_decode_n_lanes(n_stages);
    d->most = dinm_decode_most(g, n_stages) / d->n_lanes;
    d->lanes = dinm_alloc(d->n_lanes, sizeof *d->lanes, "the decoding batch", err);
    TRY(d->lanes ? DINM_OK : DINM_FAILED);
    for (size_t i = 0; i < d->n_lanes; i++) {
        d->lanes[i].sequences =
            dinm_alloc(d->most, sizeof(struct sequence), "the decoding batch", err);
        TRY(d->lanes[i].sequences ? DINM_OK : DINM_FAILED);
    }
    *out = d;
    d = NULL;
out:
    dinm_decode_close(d);
    return status;
}

int dinm_decode_add(struct dinm_decode *d, const struct dinm_request *r, struct dinm_ids *answer,
                    struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_positions = d->g->config->n_positions, n = r->n_ids + r->max_new;
    void *waiting = d->waiting;
    if (r->n_ids == 0 || r->n_ids > n_positions) {
        return dinm_fail(err, DINM_FAILED,
                         "a prompt has %zu tokens; expected 1 to the model's %zu positions",
                         r->n_ids, n_positions);
    }
    if (r->max_new == 0) {
        return DINM_OK;
    }
    status = dinm_grow(&waiting, &d->waiting_capacity, d->n_waiting + 1, sizeof *d->waiting,
                       "prompts", err);
    d->waiting = waiting;
    TRY(status);
    /* The last new token is never read. */
    d->waiting[d->n_waiting++] = (struct sequence){.request = *r,
                                                   .answer = answer,
                                                   .slot = d->stage->n_slots++,
                                                   .capacity = n < n_positions ? n : n_positions};
    d->n_open++;
out:
    return status;
}

/* Lets waiting requests into the lane up to its share of all that is open. */
static void admit(struct dinm_decode *d, struct lane *lane)
{
    size_t share = (d->n_open + d->n_lanes - 1) / d->n_lanes;
    size_t most = share < d->most ? share : d->most;
    while (lane->n < most && d->next_waiting < d->n_waiting) {
        lane->sequences[lane->n++] = d->waiting[d->next_waiting++];
    }
    if (d->next_waiting == d->n_waiting) {
        d->next_waiting = d->n_waiting = 0;
    }
}

/* Deals the rows of the lane's next item: one to each sequence that is decoding, what is left to
 * prompts in their order, at least one row in all. Returns their number. */
static size_t deal_rows(struct dinm_decode *d, struct lane *lane, size_t *n_sequences)
{
    size_t n_rows = 0;
    *n_sequences = 0;
    for (size_t i = 0; i < lane->n; i++) {
        struct sequence *s = &lane->sequences[i];
        s->n_rows = s->n_read >= s->request.n_ids ? 1 : 0;
        n_rows += s->n_rows;
    }
    for (size_t i = 0; i < lane->n; i++) {
        struct sequence *s = &lane->sequences[i];
        size_t room = d->g->max_rows > n_rows ? d->g->max_rows - n_rows : n_rows == 0;
        if (s->n_rows == 0) {
            size_t left = s->request.n_ids - s->n_read;
            s->n_rows = left < room ? left : room;
            n_rows += s->n_rows;
        }
        *n_sequences += s->n_rows > 0;
    }
    return n_rows;
}

static void put_sequence(struct dinm_item_sequence *to, int32_t *ids, const struct sequence *s)
{
    bool reads_prompt = s->n_read < s->request.n_ids;
    *to = (struct dinm_item_sequence){.n_rows = s->n_rows,
                                      .slot = s->slot,
                                      .capacity = s->capacity,
                                      .edit = s->request.edit,
                                      .stream = s->request.stream,
                                      .n_new = s->n_new,
                                      .wants_token = !reads_prompt ||
                                                     s->n_read + s->n_rows == s->request.n_ids};
    memcpy(ids, reads_prompt ? s->request.ids + s->n_read : &s->next, s->n_rows * sizeof *ids);
}

static int send_lane(struct dinm_decode *d, size_t number, struct dinm_error *err)
{
    struct lane *lane = &d->lanes[number];
    struct dinm_item_counts n = {.width = d->g->config->d_model};
    size_t place = 0, row = 0;
    n.n_rows = n.n_ids = deal_rows(d, lane, &n.n_sequences);
    struct dinm_item *item = dinm_item_new(DINM_ITEM_READ, n, err);
    if (item == NULL) {
        return DINM_FAILED;
    }
    item->task = number;
    for (size_t i = 0; i < lane->n; i++) {
        const struct sequence *s = &lane->sequences[i];
        if (s->n_rows > 0) {
            put_sequence(&dinm_item_sequences(item)[place++], dinm_item_ids(item) + row, s);
            row += s->n_rows;
        }
    }
    lane->away = true;
    return dinm_stage_ask(d->stage, item, err);
}

int dinm_decode_go(struct dinm_decode *d, struct dinm_error *err)
{
    int status = DINM_OK;
    for (size_t i = 0; i < d->n_lanes; i++) {
        if (!d->lanes[i].away) {
            admit(d, &d->lanes[i]);
            if (d->lanes[i].n > 0) {
                TRY(send_lane(d, i, err));
            }
        }
    }
out:
    return status;
}

static bool ends_answer(const struct dinm_generator *g, int32_t id)
{
    for (size_t i = 0; i < g->eos.n_ids; i++) {
        if (g->eos.ids[i] == id) {
            return true;
        }
    }
    return false;
}

/* What the item did for one sequence; *done: it is answered. */
static int take_sequence(struct dinm_decode *d, struct sequence *s,
                         const struct dinm_item_sequence *from, bool *done, struct dinm_error *err)
{
    int status = DINM_OK;
    s->n_read += s->n_rows;
    *done = false;
    if (from->wants_token) {
        s->next = from->token;
        *done = ends_answer(d->g, s->next);
        if (!*done) {
            TRY(dinm_ids_append(s->answer, &s->next, 1, err));
            s->n_new++;
            *done = s->n_new == s->request.max_new || s->n_read == s->capacity;
        }
    }
out:
    return status;
}

/* All stages may forget the caches of these slots: [n]. */
static int close_slots(struct dinm_decode *d, const struct dinm_item_sequence *slots, size_t n,
                       struct dinm_error *err)
{
    struct dinm_item *item = NULL;
    if (n == 0) {
        return DINM_OK;
    }
    item = dinm_item_new(DINM_ITEM_CLOSE, (struct dinm_item_counts){.n_sequences = n}, err);
    if (item == NULL) {
        return DINM_FAILED;
    }
    memcpy(dinm_item_sequences(item), slots, n * sizeof *slots);
    return dinm_stage_tell(d->stage, item, err);
}

int dinm_decode_take(struct dinm_decode *d, struct dinm_item *item, struct dinm_error *err)
{
    int status = DINM_OK;
    struct lane *lane = &d->lanes[item->task];
    struct dinm_item_sequence *sequences = dinm_item_sequences(item);
    size_t n_kept = 0, n_done = 0, place = 0;
    lane->away = false;
    if (item->error.status < 0) {
        TRY(dinm_fail(err, item->error.status, "%s", item->error.text));
    }
    for (size_t i = 0; i < lane->n; i++) {
        bool done = false;
        struct sequence *s = &lane->sequences[i];
        if (s->n_rows > 0) {
            TRY(take_sequence(d, s, &sequences[place++], &done, err));
        }
        if (done) {
            sequences[n_done++].slot = s->slot; /* behind what is still to be looked at */
        } else {
            lane->sequences[n_kept++] = *s;
        }
    }
    lane->n = n_kept;
    d->n_open -= n_done;
    TRY(close_slots(d, sequences, n_done, err));
out:
    free(item);
    return status;
}

/* After a failure: waits for the lanes that are away and lets all caches go, so that the stages can
 * go on with other work. What fails here too is seen by whoever goes on. */
static void give_up(struct dinm_decode *d)
{
    struct dinm_error ignored = {0};
    size_t n_away = 0;
    for (size_t i = 0; i < d->n_lanes; i++) {
        n_away += d->lanes[i].away;
    }
    for (; n_away > 0; n_away--) {
        struct dinm_item *item;
        if (dinm_stage_result(d->stage, &item, &ignored) < 0) {
            return;
        }
        free(item);
    }
    for (size_t i = 0; i < d->n_lanes; i++) {
        const struct lane *lane = &d->lanes[i];
        for (size_t k = 0; k < lane->n; k++) {
            const struct dinm_item_sequence slot = {.slot = lane->sequences[k].slot};
            close_slots(d, &slot, 1, &ignored);
        }
    }
}

int dinm_generate(const struct dinm_generator *g, struct dinm_stage *stage,
                  const struct dinm_request *requests, size_t n, struct dinm_ids *answers,
                  struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_decode *d = NULL;
    TRY(dinm_decode_open(&d, g, stage, err));
    for (size_t i = 0; i < n; i++) {
        TRY(dinm_decode_add(d, &requests[i], &answers[i], err));
    }
    while (d->n_open > 0) {
        struct dinm_item *item;
        TRY(dinm_decode_go(d, err));
        TRY(dinm_stage_result(stage, &item, err));
        TRY(dinm_decode_take(d, item, err));
    }
out:
    if (status < 0 && d != NULL) {
        give_up(d);
    }
    dinm_decode_close(d);
    return status;
}
