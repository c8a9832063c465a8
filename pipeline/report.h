/* Phase report: the journal's records become the files that people read. */
#ifndef DINM_PIPELINE_REPORT_H
#define DINM_PIPELINE_REPORT_H

#include "pipeline/job.h"
#include "pipeline/outcomes.h"

/* Collective. Rank 0 writes cases.jsonl, results.*, report.html and timing.json and prints the
 * table unless quiet. *n_failed: cases that could not be edited. Cost: one gather of timings. */
int dinm_report_all(const struct dinm_job *job, const struct dinm_outcomes *outcomes, bool quiet,
                    size_t *n_failed, struct dinm_error *err);

/* Local. Writes cases.jsonl, results.* and report.html from complete records, and prints the table
 * unless quiet. Needs of the job: settings, cases, questions, prompts, digests, records, n_layers. */
int dinm_report_write(const struct dinm_job *job, const struct dinm_outcomes *outcomes, bool quiet,
                      struct dinm_error *err);

#endif
