/* A pass from its units to its figures. */
#include <stdio.h>
#include <stdlib.h>
#include "pipeline/decode.h"
#include "tests/bench/schedule_private.h"

size_t schedule_n_units(const struct schedule_lengths *l, enum schedule_pass pass)
{
    switch (pass) {
    case SCHEDULE_VANILLA:
        return l->n_prompts;
    case SCHEDULE_ANSWER:
        return l->n_cases + l->n_prompts;
    case SCHEDULE_JUDGE:
        return l->n_responses;
    default:
        return l->n_cases;
    }
}

/* As pipeline/plan_memory.c counts them. */
static size_t few_rows(size_t n_stages, size_t batch)
{
    static const struct dinm_generator generator = {.max_sequences = 64};
    size_t most = dinm_decode_most(&generator, n_stages), n = SCHEDULE_N_INPUTS * batch;
    size_t n_lanes = dinm_decode_n_lanes(n_stages);
    return ((n < most ? n : most) + n_lanes - 1) / n_lanes;
}

void schedule_known(double *costs, enum schedule_pass pass, const struct schedule_lengths *l,
                    size_t n_stages, size_t batch)
{
    size_t n_rows = few_rows(n_stages, batch), n = schedule_n_units(l, pass);
    size_t n_cases = pass == SCHEDULE_VANILLA ? 0 : l->n_cases;
    for (size_t i = 0; i < n; i++) {
        costs[i] = pass == SCHEDULE_JUDGE    ? (double)l->responses[i]
                   : pass == SCHEDULE_LOCATE ? schedule_located_rows(&l->cases[i])
                   : i < n_cases             ? schedule_known_case(&l->cases[i], n_rows)
                                 : schedule_known_answer(&l->prompts[i - n_cases], n_rows);
    }
}

size_t schedule_places(enum schedule_pass pass, size_t p, const struct schedule_rules *r)
{
    switch (pass) {
    case SCHEDULE_LOCATE:
        return p == 1 ? 1 : r->plain ? 8 * p : 64 * p;
    case SCHEDULE_JUDGE:
        return 4 * p * r->batch;
    case SCHEDULE_VANILLA:
        return (r->plain ? 2 : SCHEDULE_N_INPUTS) * r->batch;
    default:
        return (r->plain ? 1 : SCHEDULE_N_INPUTS) * r->batch;
    }
}

/* Batches of one size in the order of the units. */
static void deal_plainly(struct dinm_deal *d, size_t n, size_t batch)
{
    d->n_batches = 0;
    for (size_t i = 0; i < n; i++) {
        d->units[i] = i;
        if ((i + 1) % batch == 0 || i + 1 == n) {
            d->first[++d->n_batches] = i + 1;
        }
    }
}

static void deal(struct sim *m)
{
    struct dinm_error err = {0};
    size_t n = schedule_n_units(m->l, m->pass);
    size_t places = schedule_places(m->pass, m->n_stages, m->rules);
    bool together = has_answers(m) || m->n_stages > 1;
    struct dinm_deal_unit *units = schedule_need(n, sizeof *units);
    double *costs = schedule_need(n, sizeof *costs);
    schedule_known(costs, m->pass, m->l, m->n_stages, m->rules->batch);
    for (size_t i = 0; i < n; i++) {
        bool five = m->pass == SCHEDULE_ANSWER && is_case(m, i);
        units[i] = (struct dinm_deal_unit){
            .number = i, .n_places = five ? SCHEDULE_N_INPUTS : 1, .cost = costs[i]};
    }
    if (dinm_deal_make(&m->deal, units, n, places, m->events.n_groups, together, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    if (m->rules->plain) {
        deal_plainly(&m->deal, n, places);
    }
    for (size_t i = 0; i < m->deal.n_batches; i++) {
        size_t size = m->deal.first[i + 1] - m->deal.first[i];
        m->most = size > m->most ? size : m->most;
    }
    free(units);
    free(costs);
}

static size_t stage_of(void *context, const struct schedule_item *item)
{
    const struct sim *m = context;
    return item->kind == ITEM_EDIT ? schedule_edit_stage(m->c, item->hop) : item->hop;
}

static double seconds(void *context, const struct schedule_item *item)
{
    const struct sim *m = context;
    const struct schedule_costs *c = m->c;
    const struct schedule_stage *s = &c->stages[stage_of(context, item)];
    if (item->kind == ITEM_EDIT) {
        size_t unit = m->groups[item->group].hand[item->place].unit;
        return schedule_edit_s(c, &m->l->cases[unit], item->hop);
    }
    if (item->kind == ITEM_CLASSIFY) {
        return s->read_judge + item->many_rows * s->judge;
    }
    return s->read + item->many_rows * s->many + item->few_rows * s->few + item->n_keys * s->key +
           (item->hop == c->owner ? item->n_matrices * c->matrix : 0.0);
}

static void open_groups(struct sim *m)
{
    m->groups = schedule_need(m->events.n_groups, sizeof *m->groups);
    for (size_t i = 0; i < m->events.n_groups; i++) {
        struct group *g = &m->groups[i];
        g->number = i;
        g->hand = schedule_need(m->most, sizeof *g->hand);
        g->lanes = schedule_need(m->n_lanes, sizeof *g->lanes);
        g->waiting = schedule_need(m->most * SCHEDULE_N_INPUTS, sizeof *g->waiting);
        for (size_t k = 0; k < m->n_lanes; k++) {
            g->lanes[k].sequences = schedule_need(m->per_lane, sizeof *g->lanes[k].sequences);
        }
    }
}

static void close_groups(struct sim *m)
{
    for (size_t i = 0; i < m->events.n_groups; i++) {
        struct group *g = &m->groups[i];
        for (size_t k = 0; k < m->n_lanes; k++) {
            free(g->lanes[k].sequences);
        }
        free(g->hand);
        free(g->lanes);
        free(g->waiting);
    }
    free(m->groups);
}

/* Times of all groups. */
static void sum_up(struct sim *m)
{
    struct schedule_outcome *out = m->out;
    double had_work_s = 0.0, busy_s = 0.0, most_s = 0.0;
    for (size_t i = 0; i < m->events.n_groups; i++) {
        double end_s = m->groups[i].end_s;
        had_work_s += end_s;
        out->makespan_s = end_s > out->makespan_s ? end_s : out->makespan_s;
    }
    for (size_t s = 0; s < m->n_stages; s++) {
        busy_s += m->events.busy_s[s];
        most_s = m->events.busy_s[s] > most_s ? m->events.busy_s[s] : most_s;
    }
    out->idle = 1.0 - busy_s / (had_work_s * (double)m->n_stages);
    out->uneven = 1.0 - busy_s / (most_s * (double)m->n_stages);
    if (!has_answers(m) && m->n_stages > 1) {
        double p = (double)m->n_stages;
        double n = (double)m->n_all_items / (double)m->deal.n_batches;
        out->fill = (p - 1.0) / (n + p - 1.0);
    }
}

void schedule_sim_run(struct schedule_outcome *out, enum schedule_pass pass,
                      const struct schedule_lengths *l, const struct schedule_costs *c,
                      const struct schedule_rules *rules, size_t n_groups)
{
    static const struct dinm_generator generator = {.max_sequences = 64};
    struct sim m = {.l = l, .c = c, .rules = rules, .out = out, .pass = pass};
    *out = (struct schedule_outcome){0};
    m.n_stages = pass == SCHEDULE_JUDGE ? c->judge_stages : c->n_stages;
    m.n_lanes = rules->plain && m.n_stages > 1 ? 2 * m.n_stages : dinm_decode_n_lanes(m.n_stages);
    m.per_lane = dinm_decode_most(&generator, rules->plain ? 1 : m.n_stages) / m.n_lanes;
    m.per_lane = m.per_lane > 0 ? m.per_lane : 1;
    m.events = (struct schedule_events){.n_groups = n_groups * (c->n_stages / m.n_stages),
                                        .n_stages = m.n_stages,
                                        .stage_of = stage_of,
                                        .seconds = seconds,
                                        .result = schedule_result,
                                        .context = &m};
    schedule_events_open(&m.events);
    deal(&m);
    open_groups(&m);
    for (size_t i = 0; i < m.events.n_groups; i++) {
        schedule_drive(&m, &m.groups[i]);
    }
    schedule_events_run(&m.events);
    sum_up(&m);
    size_t most = m.per_lane * m.n_lanes, places = SCHEDULE_N_INPUTS * rules->batch;
    out->bound_s = schedule_bound_s(pass, l, c, m.events.n_groups, most < places ? most : places);
    close_groups(&m);
    schedule_events_close(&m.events);
    dinm_deal_free(&m.deal);
}
