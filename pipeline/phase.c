/* Units over ranks. A rank that leaves the loop for any reason says so; rank 0, which also works,
 * shows the progress of all until everyone has left. */
#include "pipeline/phase.h"

#include <stdlib.h>
#include <time.h>
#include "pipeline/progress.h"
#include "pipeline/queue.h"
#include "pipeline/stop.h"
#include "pipeline/watchdog.h"

static int compare_units(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

int dinm_sink_put(struct dinm_sink *sink, size_t unit, const struct dinm_buffer *payload,
                  struct dinm_error *err)
{
    int status = DINM_OK;
    if (bsearch(&unit, sink->units, sink->n_units, sizeof unit, compare_units) == NULL) {
        return dinm_fail(err, DINM_FAILED,
                         "phase %s gave a result for unit %zu, which it was not "
                         "asked for",
                         dinm_phase_names[sink->phase], unit);
    }
    TRY(dinm_journal_append(sink->journal, sink->phase, unit, payload->data, payload->n_bytes,
                            err));
    sink->n_put++;
out:
    return status;
}

/* What one rank holds while a phase runs. */
struct loop {
    const struct dinm_phase_plan *plan; /* borrows */
    struct dinm_journal *journal;       /* borrows */
    struct dinm_queue queue;            /* owns */
    struct dinm_progress progress;
    size_t *open; /* owns: [n_open] units not in the journal, ascending */
    size_t n_open;
    size_t n_done; /* of all ranks, as rank 0 last saw it */
    double busy_s;
    bool is_rank_0;
};

/* Local. Lists the open units. */
static int loop_open(struct loop *l, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_records known = {0};
    const struct dinm_phase_plan *plan = l->plan;
    TRY(dinm_journal_records(l->journal, plan->phase, plan->n_units, &known, err));
    l->open = dinm_alloc(plan->n_units, sizeof *l->open, "a list of units", err);
    if (l->open == NULL) {
        TRY(DINM_FAILED);
    }
    for (size_t unit = 0; unit < plan->n_units; unit++) {
        if (known.payloads[unit] == NULL || plan->again) {
            l->open[l->n_open++] = unit;
        }
    }
out:
    dinm_records_free(&known);
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

/* Local. Does open[first, first + n). */
static int do_batch(struct loop *l, size_t first, size_t n, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_phase_plan *plan = l->plan;
    struct dinm_sink sink = {
        .journal = l->journal, .phase = plan->phase, .units = l->open + first, .n_units = n};
    double start_s = dinm_now_s();
    dinm_watchdog_beat();
    TRY(plan->run(plan->context, sink.units, n, &sink, err));
    if (sink.n_put != n) {
        status = dinm_fail(err, DINM_FAILED,
                           "phase %s gave %zu results for %zu units from unit "
                           "%zu on",
                           dinm_phase_names[plan->phase], sink.n_put, n, sink.units[0]);
    }
out:
    l->busy_s += dinm_now_s() - start_s;
    if (sink.n_put > 0) {
        int counted = dinm_queue_count(&l->queue, (int64_t)sink.n_put, err);
        status = status < 0 ? status : counted;
    }
    return status;
}

/* Local. Takes and does batches until there are no more, or until a reason to stop. */
static int work(struct loop *l, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_phase_plan *plan = l->plan;
    size_t batch = plan->batch > 0 ? plan->batch : 1;
    for (;;) {
        int64_t first = 0;
        if (dinm_stop_requested() ||
            (plan->deadline_s > 0.0 && dinm_now_s() >= plan->deadline_s)) {
            return dinm_fail(err, DINM_STOPPED, "stopped in phase %s",
                             dinm_phase_names[plan->phase]);
        }
        TRY(dinm_queue_take(&l->queue, (int64_t)batch, &first, err));
        if ((uint64_t)first >= l->n_open) {
            break;
        }
        size_t left = l->n_open - (size_t)first;
        TRY(do_batch(l, (size_t)first, left < batch ? left : batch, err));
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

int dinm_phase_run_all(const struct dinm_grid *grid, struct dinm_journal *journal,
                       const struct dinm_phase_plan *plan, struct dinm_records *out,
                       double *seconds, struct dinm_error *err)
{
    struct loop l = {.plan = plan, .journal = journal, .is_rank_0 = grid->rank == 0};
    const char *name = dinm_phase_names[plan->phase];
    const double busy_before_s = plan->stage != NULL ? plan->stage->busy_s : 0.0;
    *out = (struct dinm_records){0};
    int status = loop_open(&l, err);
    TRY(dinm_agree_all(grid, status, err));
    dinm_progress_begin(&l.progress, name, plan->noun, plan->n_units, plan->n_units - l.n_open,
                        grid->rank, plan->quiet);
    if (l.n_open > 0) {
        TRY(dinm_queue_open_all(&l.queue, grid, err));
        status = work_all(&l, grid, err);
        dinm_queue_close_all(&l.queue);
        if (status < 0 && status != DINM_STOPPED) {
            dinm_progress_end(&l.progress, l.n_done);
            goto out;
        }
        if (status == DINM_STOPPED && err != NULL) {
            *err = (struct dinm_error){0}; /* said anew below, with the count of all ranks */
        }
        TRY(dinm_journal_exchange_all(journal, grid, err));
    }
    status = dinm_journal_records(journal, plan->phase, plan->n_units, out, err);
    TRY(dinm_agree_all(grid, status, err));
    dinm_progress_end(&l.progress, out->n_done);
    if (out->n_done < plan->n_units) {
        status = dinm_fail(err, DINM_STOPPED,
                           "stopped in phase %s with %zu of %zu %s done; the "
                           "same command goes on from there",
                           name, out->n_done, plan->n_units, plan->noun);
    }
out:
    if (status < 0) {
        dinm_records_free(out);
    }
    if (seconds != NULL) {
        bool one_of_several = plan->stage != NULL && plan->stage->ring.n_stages > 1;
        *seconds = one_of_several ? plan->stage->busy_s - busy_before_s : l.busy_s;
    }
    free(l.open);
    return status;
}
