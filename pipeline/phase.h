/* The loop that every phase is: units not yet journaled are handed out over the ranks (deal.h),
 * done, journaled; at the end everyone agrees and learns all results. */
#ifndef DINM_PIPELINE_PHASE_H
#define DINM_PIPELINE_PHASE_H

#include <stdbool.h>
#include <stddef.h>
#include "pipeline/grid.h"
#include "pipeline/journal.h"
#include "pipeline/stage.h"

struct dinm_phase_plan;

/* Where a unit's result goes: journals it (JSON object text). */
struct dinm_sink {
    struct dinm_journal *journal;       /* borrows */
    const struct dinm_phase_plan *plan; /* borrows */
    const struct dinm_records *known;   /* borrows: what the plan's phases had journaled before; may
                                           be NULL */
    const size_t *units;                /* borrows: [n_units] what was handed out, ascending */
    size_t n_units;
    size_t n_put, n_places; /* of those put */
};
/* Local. The payload is copied. `unit` must be one of those handed out. One that was done again,
 * and is journaled with the same payload, is not journaled twice. */
int dinm_sink_put(struct dinm_sink *sink, size_t unit, const struct dinm_buffer *payload,
                  struct dinm_error *err);

/* Local. A stop was requested, or it is too late: no unit is to be started any more. */
bool dinm_sink_is_over(const struct dinm_sink *sink);

/* Does the n_units listed units (ascending) and puts one payload for each. Runs on one rank; must
 * not be collective. A failure ends the job; a unit that only fails by itself puts
 * {"failed": reason}. May return DINM_STOPPED when it left units undone because it was over.
 */
typedef int dinm_unit_function(void *context, const size_t *units, size_t n_units,
                               struct dinm_sink *sink, struct dinm_error *err);

/* Units of a phase as they are handed out. */
struct dinm_phase_units {
    enum dinm_phase phase;
    size_t n_units;
    const double *costs; /* borrows: [n_units], as far as known; NULL: one like the other */
    size_t n_places;     /* what one takes of a batch; 0 is 1 */
    /* Borrows: [n_units] it goes with the one before it, as long as they take n_alike places at
     * most and there is enough to be dealt evenly; NULL: each by itself. */
    const bool *alike;
    size_t n_alike;
    const bool *again; /* borrows: [n_units] do these although they are journaled; NULL: none */
};

struct dinm_phase_plan {
    struct dinm_phase_units units;
    /* A second phase whose units are handed out with these, numbered from units.n_units on. Nobody
     * then waits at the end of the first; n_units 0: none. */
    struct dinm_phase_units beside;
    const char *name; /* for progress; NULL: the phase's */
    const char *noun; /* "cases", "prompts", "responses": what is counted, place by place */
    size_t batch;     /* places of what is handed out at once, at least 1 */
    bool together;    /* units share a cost, see deal.h */
    dinm_unit_function *run;
    void *context;
    /* Borrows; NULL: every rank does units by itself. Otherwise only drivers do, and the other
     * stages of their groups serve. */
    struct dinm_stage *stage;
    bool quiet;
    double deadline_s; /* dinm_now_s() of this rank after which no unit is started; 0: none */
};

/* This rank's part in a phase; two phases done together share it by the cost of their units. */
struct dinm_phase_time {
    double busy_s, wall_s;
};

/* Collective over grid->world. On success out[0] holds every unit's payload on every rank, out[1]
 * those of `beside` if there is one. A stop (deadline, or a signal) before all units are done gives
 * DINM_STOPPED, with what is done journaled. On one rank's failure the others finish the units in
 * hand, take no more, and all return that failure. time: as many as out; may be NULL. */
int dinm_phase_run_all(const struct dinm_grid *grid, struct dinm_journal *journal,
                       const struct dinm_phase_plan *plan, struct dinm_records *out,
                       struct dinm_phase_time *time, struct dinm_error *err);

#endif
