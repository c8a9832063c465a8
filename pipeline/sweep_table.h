/* One row per combination: what is known of it, and the tables made of that. Private to
 * pipeline/sweep*. Local; rank 0 alone writes. */
#ifndef DINM_PIPELINE_SWEEP_TABLE_H
#define DINM_PIPELINE_SWEEP_TABLE_H

#include "pipeline/results_table.h"
#include "pipeline/sweep.h"

enum dinm_sweep_state {
    DINM_SWEEP_OPEN,   /* not begun, or stopped */
    DINM_SWEEP_DONE,   /* all its files are there; single cases may have failed */
    DINM_SWEEP_FAILED, /* it ended without results */
    DINM_SWEEP_N_STATES
};

struct dinm_sweep_row {
    enum dinm_sweep_state state;
    char *reason; /* owns: why it failed, or NULL */
    size_t n_cases, n_failed;
    bool measured[DINM_N_METRICS]; /* on any case */
    struct dinm_estimate metrics[DINM_N_METRICS][DINM_N_SIDES];
};

struct dinm_sweep_table {
    const struct dinm_sweep *sweep; /* borrows */
    struct dinm_sweep_row *rows;    /* owns: [n_runs] */
};

int dinm_sweep_table_open(struct dinm_sweep_table *t, const struct dinm_sweep *sweep,
                          struct dinm_error *err);
void dinm_sweep_table_close(struct dinm_sweep_table *t);

/* Marks as done what OUT/sweep.json says is done, with all its files there. Without such a file,
 * or if it is damaged (with a notice), nothing is. */
int dinm_sweep_table_load(struct dinm_sweep_table *t, struct dinm_error *err);
/* Run i ended with results: reads its results.json. */
int dinm_sweep_table_done(struct dinm_sweep_table *t, size_t i, struct dinm_error *err);
/* Run i ended without. */
int dinm_sweep_table_failed(struct dinm_sweep_table *t, size_t i, const char *reason,
                            struct dinm_error *err);

/* Writes OUT/sweep.json, .csv, .md and .html, the first of them last: it says what is done. */
int dinm_sweep_table_write(const struct dinm_sweep_table *t, struct dinm_error *err);
/* Appends the table for a terminal. */
int dinm_sweep_table_print(const struct dinm_sweep_table *t, struct dinm_buffer *out,
                           struct dinm_error *err);

#endif
