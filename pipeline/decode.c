/* Lanes of sequences going round. */
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"
#include "pipeline/decode_private.h"

/* *sent: it had work, and is on its way. */
static int send_lane(struct dinm_decode *d, size_t number, bool *sent, struct dinm_error *err)
{
    struct lane *lane = &d->lanes[number];
    struct dinm_item_counts n = {.width = d->g->config->d_model};
    n.n_rows = n.n_ids = dinm_decode_deal(d, lane, &n.n_sequences);
    if (n.n_rows == 0) {
        return DINM_OK;
    }
    struct dinm_item *item = dinm_item_new(DINM_ITEM_READ, n, err);
    if (item == NULL) {
        return DINM_FAILED;
    }
    item->task = number;
    dinm_decode_put(d, lane, item);
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
                dinm_decode_admit(d, &d->lanes[i]);
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

/* Its cache may go once it is answered and nobody will borrow from it. */
static void close_if_done(struct dinm_decode *d, struct sequence *s)
{
    if (s->done && s->n_borrowers == 0) {
        s->closed = true;
        d->n_caches--;
        d->closing[d->n_closing++].slot = s->slot;
    }
}

/* It needs nothing more of another's cache. */
static void let_go(struct dinm_decode *d, struct sequence *other)
{
    other->n_borrowers--;
    close_if_done(d, other);
}

/* What the item did for one sequence. */
static int take_sequence(struct dinm_decode *d, struct sequence *s,
                         const struct dinm_item_sequence *from, struct dinm_error *err)
{
    int status = DINM_OK;
    if (s->copies) {
        s->copies = false;
        let_go(d, &d->sequences[s->from]);
    }
    s->n_read += s->n_rows;
    s->n_rows = 0;
    s->late = false;
    if (!s->begun && s->n_read >= s->n_late) {
        s->begun = true;
        d->n_unbegun--;
        if (s->n_late > 0) {
            let_go(d, &d->sequences[s->lender]);
        }
    }
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
            TRY(take_sequence(d, s, &from[s->place], err));
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
