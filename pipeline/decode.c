/* Lanes of sequences going round. */
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"
#include "pipeline/decode_private.h"

/* Lets waiting requests into the lane up to its share of all that is open. Answered sequences whose
 * caches are still to be copied count as well, but for one, which the next to enter may need. */
static void admit(struct dinm_decode *d, struct lane *lane)
{
    size_t share = (d->n_unanswered + d->n_lanes - 1) / d->n_lanes;
    size_t most = share < d->most ? share : d->most;
    while (lane->n < most && d->next < d->n && d->n_caches <= d->most * d->n_lanes) {
        lane->sequences[lane->n++] = d->next++;
        d->n_caches++;
    }
}

/* Finds whose cache the sequence's beginning can be copied from: the nearest before it that has
 * been sent so far; items are worked on in the order in which they are sent. False: it has to wait.
 */
static bool find_beginning(const struct dinm_decode *d, const struct sequence *s, size_t *from)
{
    for (size_t i = s->from; !d->sequences[i].closed; i--) {
        if (d->sequences[i].n_read + d->sequences[i].n_rows >= s->n_shared) {
            *from = i;
            return true;
        }
        if (d->sequences[i].n_shared < s->n_shared) {
            break; /* the one before it begins otherwise */
        }
    }
    return false;
}

/* The prompt's next rows, `room` at most; 0: it has to wait. */
static size_t rows_of_prompt(struct dinm_decode *d, struct sequence *s, size_t room)
{
    size_t from = 0;
    if (room > 0 && s->n_read == 0 && s->n_shared > 0) {
        if (!find_beginning(d, s, &from)) {
            return 0;
        }
        d->sequences[s->from].n_copies--; /* not yet answered, or it would have been found */
        d->sequences[from].n_copies++;
        s->from = from;
        s->copies = true;
        s->n_read = s->n_shared;
        d->stage->n_prompt_shared += s->n_shared;
    }
    size_t left = s->request->n_ids - s->n_read;
    return left < room ? left : room;
}

/* Deals the rows of the lane's next item: one to each sequence that is decoding, what is left to
 * prompts in their order. Returns their number, 0 only if all wait for other lanes. */
static size_t deal_rows(struct dinm_decode *d, struct lane *lane, size_t *n_sequences)
{
    size_t n_rows = 0;
    *n_sequences = 0;
    for (size_t i = 0; i < lane->n; i++) {
        struct sequence *s = &d->sequences[lane->sequences[i]];
        s->n_rows = s->n_read >= s->request->n_ids ? 1 : 0;
        n_rows += s->n_rows;
    }
    for (size_t i = 0; i < lane->n; i++) {
        struct sequence *s = &d->sequences[lane->sequences[i]];
        size_t room = d->g->max_rows > n_rows ? d->g->max_rows - n_rows : n_rows == 0;
        if (s->n_rows == 0) {
            s->n_rows = rows_of_prompt(d, s, room);
            n_rows += s->n_rows;
            d->stage->n_prompt_read += s->n_rows;
        }
        *n_sequences += s->n_rows > 0;
    }
    return n_rows;
}

static void put_sequence(const struct dinm_decode *d, struct dinm_item_sequence *to, int32_t *ids,
                         const struct sequence *s)
{
    bool reads_prompt = s->n_read < s->request->n_ids;
    *to = (struct dinm_item_sequence){.n_rows = s->n_rows,
                                      .slot = s->slot,
                                      .capacity = s->capacity,
                                      .edit = s->request->edit,
                                      .stream = s->request->stream,
                                      .n_new = s->n_new,
                                      .wants_token = !reads_prompt ||
                                                     s->n_read + s->n_rows == s->request->n_ids};
    if (s->copies) {
        to->from = d->sequences[s->from].slot;
        to->n_from = s->n_shared;
    }
    memcpy(ids, reads_prompt ? s->request->ids + s->n_read : &s->next, s->n_rows * sizeof *ids);
}

/* *sent: it had work, and is on its way. */
static int send_lane(struct dinm_decode *d, size_t number, bool *sent, struct dinm_error *err)
{
    struct lane *lane = &d->lanes[number];
    struct dinm_item_counts n = {.width = d->g->config->d_model};
    size_t place = 0, row = 0;
    n.n_rows = n.n_ids = deal_rows(d, lane, &n.n_sequences);
    if (n.n_rows == 0) {
        return DINM_OK;
    }
    struct dinm_item *item = dinm_item_new(DINM_ITEM_READ, n, err);
    if (item == NULL) {
        return DINM_FAILED;
    }
    item->task = number;
    item->layer = d->g->config->n_layers; /* no rows enter late */
    for (size_t i = 0; i < lane->n; i++) {
        const struct sequence *s = &d->sequences[lane->sequences[i]];
        if (s->n_rows > 0) {
            put_sequence(d, &dinm_item_sequences(item)[place++], dinm_item_ids(item) + row, s);
            row += s->n_rows;
        }
    }
    *sent = lane->away = true;
    return dinm_stage_ask(d->stage, item, err);
}

/* Sends every lane on its way that has work and is not under way. A lane that waited for another's
 * beginning may go once that is on its way. */
static int go(struct dinm_decode *d, struct dinm_error *err)
{
    int status = DINM_OK;
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; i < d->n_lanes; i++) {
            if (!d->lanes[i].away) {
                admit(d, &d->lanes[i]);
                TRY(send_lane(d, i, &again, err));
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

/* Its cache may go once it is answered and nobody will copy from it. */
static void close_if_done(struct dinm_decode *d, struct sequence *s)
{
    if (s->done && s->n_copies == 0) {
        s->closed = true;
        d->n_caches--;
        d->closing[d->n_closing++].slot = s->slot;
    }
}

/* What the item did for one sequence. */
static int take_sequence(struct dinm_decode *d, struct sequence *s,
                         const struct dinm_item_sequence *from, struct dinm_error *err)
{
    int status = DINM_OK;
    if (s->copies) {
        s->copies = false;
        d->sequences[s->from].n_copies--;
        close_if_done(d, &d->sequences[s->from]);
    }
    s->n_read += s->n_rows;
    s->n_rows = 0;
    if (from->wants_token) {
        s->next = from->token;
        s->done = ends_answer(d->g, s->next);
        if (!s->done) {
            TRY(dinm_ids_append(s->answer, &s->next, 1, err));
            s->n_new++;
            s->done = s->n_new == s->request->max_new || s->n_read == s->capacity;
        }
        close_if_done(d, s);
    }
out:
    return status;
}

/* All stages may forget the caches that are closing. */
static int close_caches(struct dinm_decode *d, struct dinm_error *err)
{
    const struct dinm_item_counts n = {.n_sequences = d->n_closing};
    struct dinm_item *item = NULL;
    d->n_closing = 0;
    if (n.n_sequences == 0) {
        return DINM_OK;
    }
    item = dinm_item_new(DINM_ITEM_CLOSE, n, err);
    if (item == NULL) {
        return DINM_FAILED;
    }
    memcpy(dinm_item_sequences(item), d->closing, n.n_sequences * sizeof *d->closing);
    return dinm_stage_tell(d->stage, item, err);
}

/* An item of kind READ is back; takes it. */
static int take(struct dinm_decode *d, struct dinm_item *item, struct dinm_error *err)
{
    int status = DINM_OK;
    struct lane *lane = &d->lanes[item->task];
    const struct dinm_item_sequence *from = dinm_item_sequences(item);
    size_t n_kept = 0;
    lane->away = false;
    if (item->error.status < 0) {
        TRY(dinm_fail(err, item->error.status, "%s", item->error.text));
    }
    for (size_t i = 0; i < lane->n; i++) {
        struct sequence *s = &d->sequences[lane->sequences[i]];
        if (s->n_rows > 0) {
            TRY(take_sequence(d, s, from++, err));
        }
        if (s->done) {
            d->n_unanswered--;
        } else {
            lane->sequences[n_kept++] = lane->sequences[i];
        }
    }
    lane->n = n_kept;
    TRY(close_caches(d, err));
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
    close_caches(d, &ignored);
    for (size_t i = 0; i < d->next; i++) {
        if (!d->sequences[i].closed) {
            d->closing[d->n_closing++].slot = d->sequences[i].slot;
            close_caches(d, &ignored);
        }
    }
}

int dinm_generate(const struct dinm_generator *g, struct dinm_stage *stage,
                  const struct dinm_request *requests, size_t n, struct dinm_ids *answers,
                  struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_decode *d = NULL;
    TRY(dinm_decode_open(&d, g, stage, requests, n, answers, err));
    while (d->n_unanswered > 0) {
        struct dinm_item *item;
        TRY(go(d, err));
        TRY(dinm_stage_result(stage, &item, err));
        TRY(take(d, item, err));
    }
out:
    if (status < 0 && d != NULL) {
        give_up(d);
    }
    dinm_decode_close(d);
    return status;
}
