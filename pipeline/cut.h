/* Which layers each stage holds. Local. */
#ifndef DINM_PIPELINE_CUT_H
#define DINM_PIPELINE_CUT_H

#include <stddef.h>
#include <stdint.h>
#include "io/status.h"

/* first: [n_stages + 1]; stage s holds layers [first[s], first[s + 1]). The cut whose dearest stage
 * is cheapest, for any costs: [n]; every stage gets at least one layer, more stages than layers are
 * DINM_USAGE. */
int dinm_cut_evenly(size_t *first, const double *costs, size_t n, size_t n_stages,
                    struct dinm_error *err);

/* The same for n layers that cost the same. */
int dinm_cut_equally(size_t *first, size_t n, size_t n_stages, struct dinm_error *err);

/* The same from the number of layers of each stage: [n], each at least 1. DINM_USAGE unless there
 * is one for each stage and they sum to n_layers. */
int dinm_cut_given(size_t *first, const int64_t *layers, size_t n, size_t n_layers, size_t n_stages,
                   struct dinm_error *err);

#endif
