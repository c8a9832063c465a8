/* Which rows go into a lane's next item, and what its sequences take from others. Items are worked
 * on in the order in which they are sent: what an item leaves in a cache is there for all behind
 * it. */
#include <string.h>
#include "pipeline/decode_private.h"
#include "pipeline/prefix.h"

/* Finds the sequence with another edit that has most of the beginning in common, among those that
 * keep their rows, and holds its cache; if that has more to it than what can be copied. */
static void find_lender(struct dinm_decode *d, struct sequence *s)
{
    const struct dinm_request *r = s->request;
    if (dinm_prefix_layer(r, d->g->config->n_layers) < d->entry_layer) {
        return;
    }
    s->n_late = s->n_shared;
    for (size_t i = 0; &d->sequences[i] < s; i++) {
        const struct sequence *other = &d->sequences[i];
        if (other->n_kept > s->n_late && !other->closed && other->request->edit != r->edit) {
            size_t n = dinm_prefix_n_equal(r, other->request);
            n = n < other->n_kept ? n : other->n_kept;
            n = n < r->n_ids ? n : r->n_ids - 1;
            if (n > s->n_late) {
                s->n_late = n;
                s->lender = i;
            }
        }
    }
    if (s->n_late > s->n_shared && s->n_late - s->n_shared >= d->g->least_late) {
        d->sequences[s->lender].n_borrowers++;
    } else {
        s->n_late = 0;
    }
}

/* Answered sequences whose caches are still to be borrowed from count as well, but for one, which
 * the next to enter may need. */
void dinm_decode_admit(struct dinm_decode *d, struct lane *lane)
{
    size_t share = (d->n_unanswered + d->n_lanes - 1) / d->n_lanes;
    size_t most = share < d->most ? share : d->most;
    while (lane->n < most && d->next < d->n && d->n_caches <= d->most * d->n_lanes) {
        struct sequence *s = &d->sequences[d->next];
        s->lane = lane;
        find_lender(d, s);
        lane->sequences[lane->n++] = d->next++;
        d->n_caches++;
    }
}

/* First tokens of `other` that the stages have in its cache when they come to the next item of s's
 * lane. */
static size_t n_there(const struct sequence *s, const struct sequence *other)
{
    if (other->lane != s->lane) {
        return other->n_read + other->n_rows;
    }
    return other->copies ? 0 : other->n_read; /* it copies in that item itself */
}

/* The same for one whose rows are copied layer by layer: those before it in the item count, too. */
static size_t n_there_by_layer(const struct sequence *s, const struct sequence *other)
{
    return other->late ? n_there(s, other) : other->n_read + other->n_rows;
}

/* Finds whose cache the sequence's beginning can be copied from: the nearest before it that has
 * read so far. False: it has to wait. */
static bool find_beginning(const struct dinm_decode *d, const struct sequence *s, size_t *from)
{
    for (size_t i = s->from; !d->sequences[i].closed; i--) {
        if (n_there_by_layer(s, &d->sequences[i]) >= s->n_shared) {
            *from = i;
            return true;
        }
        if (d->sequences[i].n_shared < s->n_shared) {
            break; /* the one before it begins otherwise */
        }
    }
    return false;
}

/* What a sequence takes from others before it reads a row of its own. False: it has to wait. */
static bool begin(struct dinm_decode *d, struct sequence *s)
{
    size_t from = 0;
    if (s->n_late > 0 && n_there(s, &d->sequences[s->lender]) < s->n_late) {
        return false;
    }
    if (s->n_shared > 0) {
        if (!find_beginning(d, s, &from)) {
            return false;
        }
        d->sequences[s->from].n_borrowers--; /* not yet answered, or it would have been found */
        d->sequences[from].n_borrowers++;
        s->from = from;
        s->copies = true;
        s->n_read = s->n_shared;
        d->stage->n_prompt_shared += s->n_shared;
    }
    return true;
}

/* The prompt's next rows, `room` at most: those that enter late by themselves. 0: it has to wait.
 */
static size_t rows_of_prompt(struct dinm_decode *d, struct sequence *s, size_t room)
{
    if (room == 0 || (s->n_read == 0 && !begin(d, s))) {
        return 0;
    }
    s->late = s->n_read < s->n_late;
    size_t left = (s->late ? s->n_late : s->request->n_ids) - s->n_read;
    size_t n_rows = left < room ? left : room;
    *(s->late ? &d->stage->n_prompt_late : &d->stage->n_prompt_read) += n_rows;
    return n_rows;
}

size_t dinm_decode_deal(struct dinm_decode *d, struct lane *lane, size_t *n_sequences)
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
                                      .n_kept = d->n_unbegun > 0 ? s->n_kept : 0,
                                      .stream = s->request->stream,
                                      .n_new = s->n_new,
                                      .wants_token = !reads_prompt ||
                                                     s->n_read + s->n_rows == s->request->n_ids};
    if (s->copies) {
        to->from = d->sequences[s->from].slot;
        to->n_from = s->n_shared;
    }
    if (s->late) {
        to->late = 1;
        to->lender = d->sequences[s->lender].slot;
    }
    memcpy(ids, reads_prompt ? s->request->ids + s->n_read : &s->next, s->n_rows * sizeof *ids);
}

void dinm_decode_put(struct dinm_decode *d, struct lane *lane, struct dinm_item *item)
{
    size_t place = 0, row = 0;
    item->layer = d->n_unbegun > 0 ? d->entry_layer : d->g->config->n_layers;
    for (int late = 0; late < 2; late++) {
        for (size_t i = 0; i < lane->n; i++) {
            struct sequence *s = &d->sequences[lane->sequences[i]];
            if (s->n_rows > 0 && s->late == (late == 1)) {
                s->place = place++;
                put_sequence(d, &dinm_item_sequences(item)[s->place], dinm_item_ids(item) + row, s);
                row += s->n_rows;
            }
        }
    }
}
