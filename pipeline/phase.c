/* Units over ranks. A rank that leaves the loop for any reason says so; rank 0, which also works,
 * shows the progress of all until everyone has left. */
#include "pipeline/phase.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "pipeline/deal.h"
#include "pipeline/progress.h"
#include "pipeline/queue.h"
#include "pipeline/stop.h"
#include "pipeline/watchdog.h"

static int compare_units(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

static size_t places_of(const struct dinm_phase_units *u)
{
    return u->n_places > 0 ? u->n_places : 1;
}

int dinm_sink_put(struct dinm_sink *sink, size_t unit, const struct dinm_buffer *payload,
                  struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_phase_plan *plan = sink->plan;
    bool is_beside = unit >= plan->units.n_units;
    const struct dinm_phase_units *u = is_beside ? &plan->beside : &plan->units;
    if (bsearch(&unit, sink->units, sink->n_units, sizeof unit, compare_units) == NULL) {
        return dinm_fail(err, DINM_FAILED,
                         "phase %s gave a result for unit %zu, which it was not "
                         "asked for",
                         dinm_phase_names[u->phase], unit);
    }
    const size_t own = unit - (is_beside ? plan->units.n_units : 0);
    const char *known = sink->known != NULL ? sink->known[is_beside].payloads[own] : NULL;
    if (known == NULL || strlen(known) != payload->n_bytes ||
        memcmp(known, payload->data, payload->n_bytes) != 0) {
        TRY(dinm_journal_append(sink->journal, u->phase, own, payload->data, payload->n_bytes,
                                err));
    }
    sink->n_put++;
    sink->n_places += places_of(u);
out:
    return status;
}

static bool is_over(const struct dinm_phase_plan *plan)
{
    return dinm_stop_requested() || (plan->deadline_s > 0.0 && dinm_now_s() >= plan->deadline_s);
}

bool dinm_sink_is_over(const struct dinm_sink *sink)
{
    return is_over(sink->plan);
}

/* What one rank holds while a phase runs. */
struct loop {
    const struct dinm_phase_plan *plan; /* borrows */
    struct dinm_journal *journal;       /* borrows */
    struct dinm_queue queue;            /* owns */
    struct dinm_progress progress;
    struct dinm_records known[2]; /* own: what the journal has of either phase */
    struct dinm_deal deal;        /* owns: of the units that are to be done */
    size_t n_again;               /* of these, journaled already */
    size_t n_done;                /* places, of all ranks, as rank 0 last saw it */
    double cost[2];               /* of what is to be done in either phase */
    double start_s, busy_s;
    bool is_rank_0;
};

/* The plan's phases: one, or two. */
static size_t n_parts(const struct dinm_phase_plan *plan)
{
    return plan->beside.n_units > 0 ? 2 : 1;
}

static const struct dinm_phase_units *part_of(const struct dinm_phase_plan *plan, size_t part)
{
    return part == 0 ? &plan->units : &plan->beside;
}

/* Batches have as many units again that this many of them would be dealt evenly enough. */
enum { ENOUGH = 8 };

/* Most places of units that go together. */
static size_t most_alike(const struct dinm_phase_plan *plan, size_t n_workers,
                         const struct dinm_phase_units *u)
{
    size_t n_places = 0;
    for (size_t part = 0; part < n_parts(plan); part++) {
        n_places += part_of(plan, part)->n_units * places_of(part_of(plan, part));
    }
    size_t most = n_places / (ENOUGH * n_workers);
    return most < u->n_alike ? most : u->n_alike;
}

/* Local. Lists the units of one phase that are to be done, behind the *n that are in `open`;
 * *n_before counts the places of those that need not. */
static int list_open(struct loop *l, size_t part, struct dinm_deal_unit *open, size_t *n,
                     size_t most, size_t *n_before, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_phase_units *u = part_of(l->plan, part);
    const size_t number = part == 0 ? 0 : l->plan->units.n_units, n_places = places_of(u);
    struct dinm_deal_unit *last = NULL; /* holds the unit before, if that is open */
    TRY(dinm_journal_records(l->journal, u->phase, u->n_units, &l->known[part], err));
    for (size_t unit = 0; unit < u->n_units; unit++) {
        bool known = l->known[part].payloads[unit] != NULL;
        if (known && (u->again == NULL || !u->again[unit])) {
            *n_before += n_places;
            last = NULL;
            continue;
        }
        const double cost = u->costs != NULL ? u->costs[unit] : 1.0;
        l->n_again += known;
        l->cost[part] += cost;
        if (last != NULL && u->alike != NULL && u->alike[unit] &&
            last->n_places + n_places <= most) {
            last->n_more++;
            last->n_places += n_places;
            last->cost += cost;
            continue;
        }
        last = &open[(*n)++];
        *last =
            (struct dinm_deal_unit){.number = number + unit, .n_places = n_places, .cost = cost};
    }
out:
    return status;
}

/* Local. Deals the open units; *n_before: places of the others. */
static int loop_open(struct loop *l, const struct dinm_grid *grid, size_t *n_before,
                     struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_phase_plan *plan = l->plan;
    size_t n = 0;
    int n_workers = plan->stage != NULL ? grid->size / plan->stage->ring.n_stages : grid->size;
    struct dinm_deal_unit *open = dinm_alloc(plan->units.n_units + plan->beside.n_units,
                                             sizeof *open, "a list of units", err);
    TRY(open != NULL ? DINM_OK : DINM_FAILED);
    for (size_t part = 0; part < n_parts(plan); part++) {
        size_t most = most_alike(plan, (size_t)n_workers, part_of(plan, part));
        TRY(list_open(l, part, open, &n, most, n_before, err));
    }
    TRY(dinm_deal_make(&l->deal, open, n, plan->batch, (size_t)n_workers, plan->together, err));
out:
    free(open);
    return status;
}

/* Rank 0 shows how far all ranks are; *n_left: ranks that take no more. */
static int show(struct loop *l, int *n_left, struct dinm_error *err)
{
    int64_t n_done = 0;
    int status = dinm_queue_look(&l->queue, &n_done, n_left, err);
    if (status == DINM_OK) {
        l->n_done = l->progress.n_before + (size_t)n_done;
        dinm_progress_update(&l->progress, l->n_done);
    }
    return status;
}

/* Local. Does one batch. */
static int do_batch(struct loop *l, const size_t *units, size_t n, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_phase_plan *plan = l->plan;
    struct dinm_sink sink = {
        .journal = l->journal, .plan = plan, .known = l->known, .units = units, .n_units = n};
    double start_s = dinm_now_s();
    dinm_watchdog_beat();
    TRY(plan->run(plan->context, sink.units, n, &sink, err));
    if (sink.n_put != n) {
        status = dinm_fail(err, DINM_FAILED,
                           "phase %s gave %zu results for %zu units from unit "
                           "%zu on",
                           dinm_phase_names[plan->units.phase], sink.n_put, n, sink.units[0]);
    }
out:
    l->busy_s += dinm_now_s() - start_s;
    if (sink.n_put > 0) {
        int counted = dinm_queue_count(&l->queue, (int64_t)sink.n_places, err);
        status = status < 0 ? status : counted;
    }
    return status;
}

/* Local. Takes and does batches until there are no more, or until a reason to stop. */
static int work(struct loop *l, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_phase_plan *plan = l->plan;
    const struct dinm_deal *deal = &l->deal;
    for (;;) {
        int64_t number = 0;
        if (is_over(plan)) {
            return dinm_fail(err, DINM_STOPPED, "stopped in phase %s",
                             dinm_phase_names[plan->units.phase]);
        }
        TRY(dinm_queue_take(&l->queue, 1, &number, err));
        if ((uint64_t)number >= deal->n_batches) {
            break;
        }
        const size_t *first = deal->first + number;
        TRY(do_batch(l, deal->units + first[0], first[1] - first[0], err));
        if (l->is_rank_0) {
            int n_left;
            TRY(show(l, &n_left, err));
        }
    }
out:
    return status;
}

/* Collective. The loop proper: all ranks work, all learn how it went. */
static int work_all(struct loop *l, const struct dinm_grid *grid, struct dinm_error *err)
{
    struct dinm_error ignored = {0};
    struct dinm_stage *stage = l->plan->stage;
    int status;
    if (stage != NULL && stage->ring.stage > 0) {
        status = dinm_stage_serve_all(stage, err);
    } else {
        status = work(l, err);
        if (stage != NULL) {
            int ended = dinm_stage_end_all(stage, status < 0 ? &ignored : err);
            status = status < 0 ? status : ended;
        }
    }
    if (status < 0) {
        dinm_queue_end(&l->queue, &ignored);
    }
    dinm_queue_leave(&l->queue, &ignored);
    for (int n_left = 0; l->is_rank_0 && n_left < grid->size;) {
        if (show(l, &n_left, &ignored) < 0) {
            break;
        }
        dinm_watchdog_beat();
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return dinm_agree_all(grid, status, err);
}

/* Local. Reads what is known now into out; *n_done counts places. */
static int read_records(const struct loop *l, struct dinm_records *out, size_t *n_done,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    *n_done = 0;
    for (size_t i = 0; i < n_parts(l->plan); i++) {
        const struct dinm_phase_units *u = part_of(l->plan, i);
        TRY(dinm_journal_records(l->journal, u->phase, u->n_units, &out[i], err));
        *n_done += out[i].n_done * places_of(u);
    }
out:
    return status;
}

/* This rank's busy time. */
static double busy_s(const struct loop *l)
{
    const struct dinm_stage *stage = l->plan->stage;
    return stage != NULL && stage->ring.n_stages > 1 ? stage->busy_s : l->busy_s;
}

static void share_time(const struct loop *l, double busy_before_s, struct dinm_phase_time *time)
{
    double busy = busy_s(l) - busy_before_s, wall = dinm_now_s() - l->start_s;
    double cost = l->cost[0] + l->cost[1];
    for (size_t i = 0; time != NULL && i < n_parts(l->plan); i++) {
        double share = cost > 0.0 ? l->cost[i] / cost : i == 0 ? 1.0 : 0.0;
        time[i] = (struct dinm_phase_time){.busy_s = share * busy, .wall_s = share * wall};
    }
}

int dinm_phase_run_all(const struct dinm_grid *grid, struct dinm_journal *journal,
                       const struct dinm_phase_plan *plan, struct dinm_records *out,
                       struct dinm_phase_time *time, struct dinm_error *err)
{
    struct loop l = {
        .plan = plan, .journal = journal, .is_rank_0 = grid->rank == 0, .start_s = dinm_now_s()};
    const char *name = plan->name != NULL ? plan->name : dinm_phase_names[plan->units.phase];
    const double busy_before_s = busy_s(&l);
    size_t n_total = 0, n_before = 0, n_done = 0;
    bool stopped = false;
    for (size_t i = 0; i < n_parts(plan); i++) {
        out[i] = (struct dinm_records){0};
        n_total += part_of(plan, i)->n_units * places_of(part_of(plan, i));
    }
    int status = loop_open(&l, grid, &n_before, err);
    TRY(dinm_agree_all(grid, status, err));
    dinm_progress_begin(&l.progress, name, plan->noun, n_total, n_before, grid->rank, plan->quiet);
    if (l.deal.n_units > 0) {
        TRY(dinm_queue_open_all(&l.queue, grid, err));
        status = work_all(&l, grid, err);
        dinm_queue_close_all(&l.queue);
        if (status < 0 && status != DINM_STOPPED) {
            dinm_progress_end(&l.progress, l.n_done);
            goto out;
        }
        stopped = status == DINM_STOPPED;
        if (stopped && err != NULL) {
            *err = (struct dinm_error){0}; /* said anew below, with the count of all ranks */
        }
        TRY(dinm_journal_exchange_all(journal, grid, err));
    }
    status = read_records(&l, out, &n_done, err);
    TRY(dinm_agree_all(grid, status, err));
    dinm_progress_end(&l.progress, n_done);
    if (n_done < n_total) {
        status = dinm_fail(err, DINM_STOPPED,
                           "stopped in phase %s with %zu of %zu %s done; the "
                           "same command goes on from there",
                           dinm_phase_names[plan->units.phase], n_done, n_total, plan->noun);
    } else if (stopped && l.n_again > 0) {
        status = dinm_fail(err, DINM_STOPPED,
                           "stopped in phase %s, which has to be done again for %zu %s; the same "
                           "command goes on from there",
                           name, l.n_again, plan->noun);
    }
out:
    for (size_t i = 0; status < 0 && i < n_parts(plan); i++) {
        dinm_records_free(&out[i]);
    }
    share_time(&l, busy_before_s, time);
    dinm_deal_free(&l.deal);
    dinm_records_free(&l.known[0]);
    dinm_records_free(&l.known[1]);
    return status;
}
