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

static int check_stages(size_t n, size_t n_stages, struct dinm_error *err)
{
    if (n < n_stages) {
        return dinm_fail(err, DINM_USAGE,
                         "stages is %zu, but the model has only %zu layers to share", n_stages, n);
    }
    return DINM_OK;
}

int dinm_cut_equally(size_t *first, size_t n, size_t n_stages, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(check_stages(n, n_stages, err));
    for (size_t i = 0; i <= n_stages; i++) {
        first[i] = i * n / n_stages;
    }
out:
    return status;
}

int dinm_cut_evenly(size_t *first, const double *costs, size_t n, size_t n_stages,
                    struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(check_stages(n, n_stages, err));
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
out:
    return status;
}

int dinm_cut_given(size_t *first, const int64_t *layers, size_t n, size_t n_layers, size_t n_stages,
                   struct dinm_error *err)
{
    size_t sum = 0;
    if (n != n_stages) {
        return dinm_fail(err, DINM_USAGE,
                         "run.layer_cut: expected the layers of each of %zu stages (run.stages), "
                         "found %zu numbers",
                         n_stages, n);
    }
    for (size_t i = 0; i < n; i++) {
        sum += (size_t)layers[i];
    }
    if (sum != n_layers) {
        return dinm_fail(err, DINM_USAGE,
                         "run.layer_cut: expected numbers whose sum is the model's %zu layers, "
                         "found a sum of %zu",
                         n_layers, sum);
    }
    first[0] = 0;
    for (size_t i = 0; i < n; i++) {
        first[i + 1] = first[i] + (size_t)layers[i];
    }
    return DINM_OK;
}
