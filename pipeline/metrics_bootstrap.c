/* Means with percentile-bootstrap intervals (Efron, 1979), from counter-based random numbers. */
#include <math.h>
#include <stdlib.h>
#include "io/mem.h"
#include "pipeline/metrics.h"

/* The mixing function of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

/* A number in 0..n-1 (n below 2^32) that depends on seed, resample and draw alone. */
static size_t draw_index(uint64_t seed, uint64_t resample, uint64_t draw, size_t n)
{
    uint64_t bits = mix(mix(mix(seed) ^ resample) ^ draw);
    return (size_t)(((bits >> 32) * (uint64_t)n) >> 32);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The q-quantile of sorted: [n], linear between neighbours, as NumPy's default. */
static double quantile(const double *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t i = (size_t)at;
    double rest = at - (double)i;
    return i + 1 < n ? sorted[i] + rest * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

static double mean(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += x[i];
    }
    return sum / (double)n;
}

static double mean_of_resample(const double *x, size_t n, uint64_t seed, uint64_t resample)
{
    double sum = 0;
    for (size_t draw = 0; draw < n; draw++) {
        sum += x[draw_index(seed, resample, draw, n)];
    }
    return sum / (double)n;
}

int dinm_bootstrap(struct dinm_estimate *e, const double *x, size_t n, size_t n_resamples,
                   uint64_t seed, struct dinm_error *err)
{
    *e = (struct dinm_estimate){NAN, NAN, NAN, n};
    if (n == 0) {
        return DINM_OK;
    }
    if (n > UINT32_MAX) {
        return dinm_fail(err, DINM_FAILED, "an interval over %zu values, at most %lu are possible",
                         n, (unsigned long)UINT32_MAX);
    }
    e->value = mean(x, n);
    if (n_resamples == 0) {
        return DINM_OK;
    }
    double *means = dinm_alloc(n_resamples, sizeof *means, "the bootstrap", err);
    if (!means) {
        return DINM_FAILED;
    }
    for (size_t r = 0; r < n_resamples; r++) {
        means[r] = mean_of_resample(x, n, seed, r);
    }
    qsort(means, n_resamples, sizeof *means, compare);
    e->low = quantile(means, n_resamples, 0.025);
    e->high = quantile(means, n_resamples, 0.975);
    free(means);
    return DINM_OK;
}
