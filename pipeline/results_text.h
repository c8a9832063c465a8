/* The result files for people: results.md, results.csv. Private to pipeline/results*. */
#ifndef DINM_PIPELINE_RESULTS_TEXT_H
#define DINM_PIPELINE_RESULTS_TEXT_H

#include "pipeline/results_table.h"

int dinm_results_write_texts(const struct dinm_results *r, const struct dinm_result_table *t,
                             const char *out, struct dinm_error *err);

#endif
