/* Rotary position embedding. */
#include "model/rope.h"

#include <math.h>

enum { PARALLEL_FROM = 1 << 14 };

static const double pi = 3.14159265358979323846;

/* Between the two bounds a wave keeps a share of its rate. */
static double llama3_rate(double rate, const struct dinm_rope_scaling *s)
{
    const double waves = s->n_positions * rate / (2.0 * pi); /* within the original positions */
    const double share = (waves - s->low_freq_factor) / (s->high_freq_factor - s->low_freq_factor);

    if (share <= 0.0) {
        return rate / s->factor;
    }
    return share >= 1.0 ? rate : (1.0 - share) * rate / s->factor + share * rate;
}

void dinm_rope_rates(double *rates, double theta, const struct dinm_rope_scaling *scaling,
                     size_t d_head)
{
    for (size_t i = 0; i < d_head / 2; i++) {
        const double rate = pow(theta, -2.0 * (double)i / (double)d_head);

        switch (scaling->kind) {
        case DINM_ROPE_LINEAR:
            rates[i] = rate / scaling->factor;
            break;
        case DINM_ROPE_LLAMA3:
            rates[i] = llama3_rate(rate, scaling);
            break;
        case DINM_ROPE_PLAIN:
            rates[i] = rate;
            break;
        }
    }
}

void dinm_rope_table(float *table, const size_t *positions, const double *rates, size_t n_rows,
                     size_t d_head)
{
    const size_t half = d_head / 2;

#pragma omp parallel for if (n_rows * d_head >= PARALLEL_FROM / 8)
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t i = 0; i < half; i++) {
            const double angle = (double)positions[r] * rates[i];

            table[r * d_head + i] = (float)cos(angle);
            table[r * d_head + half + i] = (float)sin(angle);
        }
    }
}

void dinm_rope(float *x, const float *table, int sign, size_t n_rows, size_t n_heads, size_t d_head)
{
    const size_t half = d_head / 2;

#pragma omp parallel for if (n_rows * n_heads * d_head >= PARALLEL_FROM)
    for (size_t r = 0; r < n_rows; r++) {
        const float *cosine = table + r * d_head, *sine = cosine + half;

        for (size_t h = 0; h < n_heads; h++) {
            float *low = x + (r * n_heads + h) * d_head, *high = low + half;

            /* low' = low cos - high sin,  high' = high cos + low sin */
            for (size_t i = 0; i < half; i++) {
                const float s = sign < 0 ? -sine[i] : sine[i];
                const float a = low[i] * cosine[i] - high[i] * s;

                high[i] = high[i] * cosine[i] + low[i] * s;
                low[i] = a;
            }
        }
    }
}
