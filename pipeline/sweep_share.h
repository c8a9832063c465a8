/* Which combination may use whose results. Private to pipeline/sweep*. Local. */
#ifndef DINM_PIPELINE_SWEEP_SHARE_H
#define DINM_PIPELINE_SWEEP_SHARE_H

#include "pipeline/journal.h"
#include "pipeline/sweep.h"

enum { DINM_SWEEP_N_SHARED = DINM_EDIT + 1 }; /* phases locate, vanilla and edit */

/* Of one run: digests of the settings that decide each phase, and what is known of it. */
struct dinm_sweep_share {
    uint64_t decides[DINM_SWEEP_N_SHARED];
    bool saves_edits; /* files that no journal holds */
    bool is_finished; /* its records are there; the same on every rank */
};

/* shares: [n_runs] filled, is_finished false. */
int dinm_sweep_share_open(struct dinm_sweep_share *shares, const struct dinm_sweep *sweep,
                          struct dinm_error *err);
/* The first finished run before run i whose results of the phase are i's, too; i if there is none.
 */
size_t dinm_sweep_donor(const struct dinm_sweep_share *shares, size_t i, enum dinm_phase phase);

#endif
