/* What the two files of the simulation share: the state of its groups. */
#ifndef DINM_BENCH_SCHEDULE_PRIVATE_H
#define DINM_BENCH_SCHEDULE_PRIVATE_H

#include "pipeline/deal.h"
#include "tests/bench/schedule_events.h"
#include "tests/bench/schedule_sim.h"

struct sequence {
    size_t n_to_read, n_to_write, n_keys, unit; /* unit: its place in the group's hand */
    size_t n_rows;                              /* in the item under way */
    bool reads;
};

struct lane {
    struct sequence *sequences; /* owns: [per_lane] */
    size_t n;
    bool away;
};

/* A unit in hand. */
struct hand {
    size_t unit, n_answers; /* answers that are lacking */
    enum { FREE, TAKEN, EDITING, ANSWERING } state;
};

struct group {
    size_t number;
    struct hand *hand; /* owns: [most] */
    size_t n_hand, n_edits;
    struct lane *lanes;       /* owns: [n_lanes] */
    struct sequence *waiting; /* owns: [n_waiting] from next_waiting on */
    size_t n_waiting, next_waiting, n_open;
    const size_t *batch; /* phases without answers */
    size_t n_batch, n_asked, n_items;
    bool over, synced;
    double end_s, synced_s;
};

struct sim {
    struct schedule_events events;
    const struct schedule_lengths *l;
    const struct schedule_costs *c;
    const struct schedule_rules *rules;
    struct schedule_outcome *out;
    enum schedule_pass pass;
    struct dinm_deal deal;
    size_t next_batch;
    struct group *groups; /* owns */
    size_t n_stages, n_lanes, per_lane;
    size_t most;        /* units of a batch */
    size_t n_all_items; /* of locate and judge */
};

static inline bool has_answers(const struct sim *m)
{
    return m->pass != SCHEDULE_LOCATE && m->pass != SCHEDULE_JUDGE;
}

static inline bool is_case(const struct sim *m, size_t unit)
{
    return m->pass == SCHEDULE_EDIT || (m->pass == SCHEDULE_ANSWER && unit < m->l->n_cases);
}

static inline const struct schedule_answer *prompt_of(const struct sim *m, size_t unit)
{
    return &m->l->prompts[m->pass == SCHEDULE_ANSWER ? unit - m->l->n_cases : unit];
}

/* A group has begun, or something has come back: takes and asks what it can. */
void schedule_drive(struct sim *m, struct group *g);
/* An item is back; context: the simulation. */
void schedule_result(void *context, struct schedule_item *item);

#endif
