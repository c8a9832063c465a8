/* A cut of a row of costs into consecutive stages. */
#include "pipeline/cut.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include "io/mem.h"

/* How many stages are needed if none may cost more than `most`, filled from the front; first: where
 * each begins, or NULL. */
static size_t fill(size_t *first, const double *costs, size_t n, double most, size_t n_stages)
{
    size_t n_used = 1;
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        size_t n_left = n - i;
        /* Those that remain must have a layer each. */
        bool must = n_used < n_stages && n_left <= n_stages - n_used;
        if (i > 0 && (sum + costs[i] > most || must)) {
            if (first != NULL && n_used < n_stages) {
                first[n_used] = i;
            }
            n_used++;
            sum = 0.0;
        }
        sum += costs[i];
        if (sum > most) {
            return SIZE_MAX; /* one alone is dearer */
        }
    }
    return n_used;
}

int dinm_cut_evenly(size_t *first, const double *costs, size_t n, size_t n_stages,
                    struct dinm_error *err)
{
    if (n < n_stages) {
        return dinm_fail(err, DINM_USAGE,
                         "run.stages is %zu, but the model has only %zu layers to share", n_stages,
                         n);
    }
    /* The least bound that suffices, by halving; `enough` always does. */
    double too_little = 0.0, enough = 0.0;
    for (size_t i = 0; i < n; i++) {
        enough += costs[i];
    }
    for (int i = 0; i < 64; i++) {
        double middle = 0.5 * (too_little + enough);
        bool suffices = fill(NULL, costs, n, middle, n_stages) <= n_stages;
        enough = suffices ? middle : enough;
        too_little = suffices ? too_little : middle;
    }
    first[0] = 0;
    fill(first, costs, n, enough, n_stages);
    first[n_stages] = n;
    return DINM_OK;
}

int dinm_cut_layers(size_t *first, const struct dinm_config *c, size_t n_stages,
                    struct dinm_error *err)
{
    int status = DINM_OK;
    double d = (double)c->d_model, d_q = (double)(c->n_heads * c->d_head);
    double d_kv = (double)(c->n_kv_heads * c->d_head);
    double layer = 2.0 * d * (d_q + d_kv) + 3.0 * d * (double)c->d_ff;
    double *costs = dinm_alloc(c->n_layers, sizeof *costs, "the cut of the layers", err);
    TRY(costs ? DINM_OK : DINM_FAILED);
    for (size_t l = 0; l < c->n_layers; l++) {
        costs[l] = layer;
    }
    costs[c->n_layers - 1] += d * (double)c->n_vocab;
    TRY(dinm_cut_evenly(first, costs, c->n_layers, n_stages, err));
out:
    free(costs);
    return status;
}
