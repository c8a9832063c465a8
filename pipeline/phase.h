/* The loop that every phase is: units not yet journaled are handed out in order over the ranks,
 * done, journaled; at the end everyone agrees and learns all results. */
#ifndef DINM_PIPELINE_PHASE_H
#define DINM_PIPELINE_PHASE_H

#include <stdbool.h>
#include <stddef.h>
#include "pipeline/grid.h"
#include "pipeline/journal.h"
#include "pipeline/stage.h"

/* Where a unit's result goes: journals it (JSON object text). */
struct dinm_sink {
    struct dinm_journal *journal; /* borrows */
    enum dinm_phase phase;
    const size_t *units; /* borrows: [n_units] what was handed out, ascending */
    size_t n_units;
    size_t n_put;
};
/* Local. The payload is copied. `unit` must be one of those handed out. */
int dinm_sink_put(struct dinm_sink *sink, size_t unit, const struct dinm_buffer *payload,
                  struct dinm_error *err);

/* Does the n_units listed units (ascending) and puts one payload for each. Runs on one rank; must
 * not be collective. A failure ends the job; a unit that only fails by itself puts
 * {"failed": reason}. May return DINM_STOPPED when a stop was requested and it left units undone.
 */
typedef int dinm_unit_function(void *context, const size_t *units, size_t n_units,
                               struct dinm_sink *sink, struct dinm_error *err);

struct dinm_phase_plan {
    enum dinm_phase phase;
    const char *noun; /* "cases", "prompts", "responses": for progress */
    size_t n_units;
    size_t batch; /* units handed out at once, at least 1 */
    dinm_unit_function *run;
    void *context;
    /* Borrows; NULL: every rank does units by itself. Otherwise only drivers do, and the other
     * stages of their groups serve. */
    struct dinm_stage *stage;
    bool quiet;
    bool again;        /* do all units, journaled or not */
    double deadline_s; /* dinm_now_s() of this rank after which no unit is started; 0: none */
};

/* Collective over grid->world. On success *out holds every unit's payload on every rank. A stop
 * (deadline, or a signal) before all units are done gives DINM_STOPPED, with what is done
 * journaled. On one rank's failure the others finish the units in hand, take no more, and all
 * return that failure. seconds: this rank's busy time; may be NULL. */
int dinm_phase_run_all(const struct dinm_grid *grid, struct dinm_journal *journal,
                       const struct dinm_phase_plan *plan, struct dinm_records *out,
                       double *seconds, struct dinm_error *err);

#endif
