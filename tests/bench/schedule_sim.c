/* The drivers: what a group asks for, and when it takes more. */
#include <stdlib.h>
#include "tests/bench/schedule_private.h"

static struct schedule_item *new_item(const struct sim *m, const struct group *g,
                                      enum schedule_kind kind, size_t place)
{
    struct schedule_item *item = schedule_need(1, sizeof *item);
    item->group = g->number;
    item->kind = kind;
    item->place = place;
    item->n_hops = m->n_stages;
    return item;
}

/* As admit and deal_rows of pipeline/decode.c. */
static void admit(struct sim *m, struct group *g, struct lane *lane)
{
    size_t share = (g->n_open + m->n_lanes - 1) / m->n_lanes;
    size_t most = share < m->per_lane ? share : m->per_lane;
    while (lane->n < most && g->next_waiting < g->n_waiting) {
        lane->sequences[lane->n++] = g->waiting[g->next_waiting++];
    }
    if (g->next_waiting == g->n_waiting) {
        g->next_waiting = g->n_waiting = 0;
    }
}

static void send_lane(struct sim *m, struct group *g, size_t number)
{
    enum { MAX_ROWS = 1024 };
    struct lane *lane = &g->lanes[number];
    struct schedule_item *item = new_item(m, g, ITEM_READ, number);
    size_t n_rows = 0, unit = SIZE_MAX;
    for (size_t i = 0; i < lane->n; i++) {
        struct sequence *s = &lane->sequences[i];
        s->reads = s->n_to_read > 0;
        s->n_rows = !s->reads;
        n_rows += s->n_rows;
        item->few_rows += (double)s->n_rows;
        item->n_keys += s->reads ? 0.0 : (double)s->n_keys;
        item->n_matrices += s->unit != unit && is_case(m, g->hand[s->unit].unit) ? 1.0 : 0.0;
        unit = s->unit;
    }
    for (size_t i = 0; i < lane->n; i++) {
        struct sequence *s = &lane->sequences[i];
        size_t room = MAX_ROWS > n_rows ? MAX_ROWS - n_rows : n_rows == 0;
        if (s->reads) {
            s->n_rows = s->n_to_read < room ? s->n_to_read : room;
            n_rows += s->n_rows;
            item->many_rows += (double)s->n_rows;
        }
    }
    lane->away = true;
    schedule_events_send(&m->events, item);
}

static void go(struct sim *m, struct group *g)
{
    for (size_t i = 0; i < m->n_lanes; i++) {
        if (!g->lanes[i].away) {
            admit(m, g, &g->lanes[i]);
            if (g->lanes[i].n > 0) {
                send_lane(m, g, i);
            }
        }
    }
}

/* n_bytes of JSON text besides 40 of the record itself. Synced unless that was done within a
 * second, as pipeline/journal.c does it. */
static void journal(struct sim *m, struct group *g, double n_bytes)
{
    m->out->n_records++;
    m->out->n_bytes += 40.0 + n_bytes;
    if (!g->synced || m->events.now_s - g->synced_s >= 1.0) {
        m->out->n_syncs++;
        g->synced = true;
        g->synced_s = m->events.now_s;
    }
}

static void put_answers(struct sim *m, struct group *g, size_t unit)
{
    static const double token_bytes = 4.0, field_bytes = 60.0;
    double n = 0.0;
    for (size_t k = 0; is_case(m, unit) && k < SCHEDULE_N_INPUTS; k++) {
        n += field_bytes + token_bytes * (double)m->l->cases[unit].edited[k].n_written;
    }
    n += is_case(m, unit) ? 0.0 : token_bytes * (double)prompt_of(m, unit)->n_written;
    journal(m, g, field_bytes + n);
}

static void take_lane(struct sim *m, struct group *g, struct lane *lane)
{
    size_t n = 0;
    lane->away = false;
    for (size_t i = 0; i < lane->n; i++) {
        struct sequence *s = &lane->sequences[i];
        struct hand *h = &g->hand[s->unit];
        s->n_keys += s->n_rows;
        s->n_to_read -= s->reads ? s->n_rows : 0;
        /* The last piece of the prompt gives the first token. */
        s->n_to_write -= s->n_rows > 0 && s->n_to_read == 0;
        if (s->n_to_write > 0) {
            lane->sequences[n++] = *s;
            continue;
        }
        g->n_open--;
        if (--h->n_answers == 0) {
            put_answers(m, g, h->unit);
            h->state = FREE;
            g->n_hand--;
        }
    }
    lane->n = n;
}

static void add_answer(struct group *g, const struct schedule_answer *a, size_t unit)
{
    g->waiting[g->n_waiting++] =
        (struct sequence){.n_to_read = a->n_read, .n_to_write = a->n_written, .unit = unit};
    g->hand[unit].n_answers++;
    g->hand[unit].state = ANSWERING;
    g->n_open++;
}

/* As many edits under way as keep the stages busy; answers once all are made. */
static void start_units(struct sim *m, struct group *g)
{
    size_t most = m->n_stages > 1 ? 2 * m->n_stages : 1, n_under_way = g->n_edits, n_left = 0;
    for (size_t i = 0; i < g->n_batch; i++) {
        struct hand *h = &g->hand[i];
        if (h->state != TAKEN) {
            continue;
        }
        if (!is_case(m, h->unit)) {
            add_answer(g, prompt_of(m, h->unit), i);
        } else if (n_under_way < most) {
            struct schedule_item *item = new_item(m, g, ITEM_EDIT, i);
            item->n_hops = schedule_edit_hops(m->c);
            h->state = EDITING;
            g->n_edits = ++n_under_way;
            schedule_events_send(&m->events, item);
        } else {
            n_left++;
        }
    }
    if (n_left == 0 && n_under_way == 0) {
        go(m, g);
    }
}

/* Takes the next batch; false: there is none. */
static bool take(struct sim *m, struct group *g)
{
    m->out->n_takes++;
    if (m->next_batch == m->deal.n_batches) {
        g->over = true;
        return false;
    }
    g->batch = m->deal.units + m->deal.first[m->next_batch];
    g->n_batch = m->deal.first[m->next_batch + 1] - m->deal.first[m->next_batch];
    m->next_batch++;
    return true;
}

/* Phases with answers, batch after batch. */
static void drive_answers(struct sim *m, struct group *g)
{
    if (g->n_hand == 0 && !g->over && take(m, g)) {
        for (size_t i = 0; i < g->n_batch; i++) {
            g->hand[i] = (struct hand){.unit = g->batch[i], .state = TAKEN};
        }
        g->n_hand = g->n_batch;
    }
    if (!g->over) {
        start_units(m, g);
    }
}

/* The other phases: batch after batch, as many items under way as keep the stages busy. */
static void drive_items(struct sim *m, struct group *g)
{
    enum { ITEM_ROWS = 1024 };
    size_t p = m->n_stages, most = p == 1 ? 1 : m->pass == SCHEDULE_LOCATE ? 4 * p : 2 * p;
    if (g->n_asked == g->n_batch && g->n_items == 0) {
        for (size_t i = 0; i < g->n_batch; i++) {
            journal(m, g, m->pass == SCHEDULE_LOCATE ? 12.0 * 32.0 : 50.0);
        }
        g->n_asked = g->n_batch = 0;
        if (g->over || !take(m, g)) {
            return;
        }
    }
    for (; g->n_asked < g->n_batch && g->n_items < most; g->n_items++) {
        const size_t *units = g->batch;
        const struct schedule_case *one = &m->l->cases[units[g->n_asked]];
        struct schedule_item *item =
            new_item(m, g, m->pass == SCHEDULE_LOCATE ? ITEM_LOCATE : ITEM_CLASSIFY, 0);
        if (m->pass == SCHEDULE_LOCATE) {
            item->many_rows = schedule_located_rows(one);
            g->n_asked++;
        }
        while (m->pass == SCHEDULE_JUDGE && g->n_asked < g->n_batch) {
            double rows = (double)m->l->responses[units[g->n_asked]];
            if (item->many_rows > 0.0 && item->many_rows + rows > ITEM_ROWS) {
                break;
            }
            item->many_rows += rows;
            g->n_asked++;
        }
        m->n_all_items++;
        schedule_events_send(&m->events, item);
    }
}

void schedule_drive(struct sim *m, struct group *g)
{
    if (has_answers(m)) {
        drive_answers(m, g);
    } else {
        drive_items(m, g);
    }
}

void schedule_result(void *context, struct schedule_item *item)
{
    struct sim *m = context;
    struct group *g = &m->groups[item->group];
    if (item->kind == ITEM_READ) {
        take_lane(m, g, &g->lanes[item->place]);
    } else if (item->kind == ITEM_EDIT) {
        const struct schedule_case *one = &m->l->cases[g->hand[item->place].unit];
        g->n_edits--;
        for (size_t k = 0; k < SCHEDULE_N_INPUTS; k++) {
            add_answer(g, &one->edited[k], item->place);
        }
    } else {
        g->n_items--;
    }
    free(item);
    g->end_s = m->events.now_s;
    schedule_drive(m, g);
}
