/* The tables of a sweep that people read. Private to pipeline/sweep*. */
#ifndef DINM_PIPELINE_SWEEP_TEXT_H
#define DINM_PIPELINE_SWEEP_TEXT_H

#include "pipeline/results_page.h"
#include "pipeline/sweep_table.h"

void dinm_sweep_put_markdown(struct dinm_page *p, const struct dinm_sweep_table *t);
/* With links to the runs' own pages. */
void dinm_sweep_put_html(struct dinm_page *p, const struct dinm_sweep_table *t);

/* What both of them say. The metrics of tables for people, as far as any run has measured them: */
struct dinm_sweep_metrics {
    enum dinm_metric list[DINM_N_METRICS];
    size_t n;
};
struct dinm_sweep_metrics dinm_sweep_shown(const struct dinm_sweep_table *t);
/* Run i's value of a key, as JSON. */
const char *dinm_sweep_value(const struct dinm_sweep *sweep, size_t i, size_t key);
/* What a row says beside its numbers: "", "open", why it failed, "3 of 4 cases failed". */
const char *dinm_sweep_remark(char room[DINM_SAY_ROOM], const struct dinm_sweep_row *row);
/* How many are done, and what the brackets are. */
void dinm_sweep_put_progress(struct dinm_page *p, const struct dinm_sweep_table *t);

#endif
