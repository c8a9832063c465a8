/* Which layers each stage holds. Local. */
#ifndef DINM_PIPELINE_CUT_H
#define DINM_PIPELINE_CUT_H

#include <stddef.h>
#include "model/config.h"

/* first: [n_stages + 1]; stage s holds layers [first[s], first[s + 1]). The cut whose dearest stage
 * is cheapest, by the products that a token needs; the head counts for the last stage. */
int dinm_cut_layers(size_t *first, const struct dinm_config *config, size_t n_stages,
                    struct dinm_error *err);

/* The same for any costs: [n], n at least n_stages; every stage gets at least one. */
int dinm_cut_evenly(size_t *first, const double *costs, size_t n, size_t n_stages,
                    struct dinm_error *err);

#endif
