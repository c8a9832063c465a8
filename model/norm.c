/* RMSNorm and LayerNorm, forward and backward. Sums in float64, each row on its own: lane l takes
 * the elements l, l + LANES, ..., then the lanes are added in their order. So compilers can use
 * vectors and every build has the same bits. */
#include "model/norm.h"

#include <math.h>

enum { PARALLEL_FROM = 1 << 14, LANES = 8 };

/* sum of (x - mean)^power, power 1 or 2 */
static double sum_of(const float *x, double mean, int power, size_t d)
{
    double lanes[LANES] = {0.0}, sum = 0.0;
    size_t i = 0;

    for (; d - i >= LANES; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            const double v = (double)x[i + l] - mean;

            lanes[l] += power == 1 ? v : v * v;
        }
    }
    for (size_t l = 0; l < d - i; l++) {
        const double v = (double)x[i + l] - mean;

        lanes[l] += power == 1 ? v : v * v;
    }
    for (size_t l = 0; l < LANES; l++) {
        sum += lanes[l];
    }
    return sum;
}

/* 1 / sqrt(mean(x^2) + eps) */
static double rms_scale(const float *x, float eps, size_t d)
{
    return 1.0 / sqrt(sum_of(x, 0.0, 2, d) / (double)d + (double)eps);
}

void dinm_rmsnorm(float *y, const float *x, const float *gain, float eps, size_t n_rows, size_t d)
{
#pragma omp parallel for if (n_rows * d >= PARALLEL_FROM)
    for (size_t r = 0; r < n_rows; r++) {
        const float scale = (float)rms_scale(x + r * d, eps, d);

        for (size_t i = 0; i < d; i++) {
            y[r * d + i] = x[r * d + i] * scale * gain[i];
        }
    }
}

void dinm_rmsnorm_backward(float *dx, float *dgain, const float *dy, const float *x,
                           const float *gain, float eps, size_t n_rows, size_t d)
{
    for (size_t r = 0; r < n_rows; r++, dx += d, dy += d, x += d) {
        const double scale = rms_scale(x, eps, d);
        double dot = 0.0; /* sum of dy gain x */

        for (size_t i = 0; i < d; i++) {
            dot += (double)dy[i] * (double)gain[i] * (double)x[i];
        }
        /* dx = s (gain dy - x s^2 mean(dy gain x)) */
        const double pull = scale * scale * scale * dot / (double)d;

        for (size_t i = 0; i < d; i++) {
            dx[i] += (float)(scale * (double)dy[i] * (double)gain[i] - (double)x[i] * pull);
        }
        for (size_t i = 0; dgain != NULL && i < d; i++) {
            dgain[i] += (float)((double)dy[i] * (double)x[i] * scale);
        }
    }
}

struct moments {
    double mean, scale; /* scale = 1 / sqrt(var + eps) */
};

static struct moments layer_moments(const float *x, float eps, size_t d)
{
    const double mean = sum_of(x, 0.0, 1, d) / (double)d;
    const double squares = sum_of(x, mean, 2, d);

    return (struct moments){mean, 1.0 / sqrt(squares / (double)d + (double)eps)};
}

void dinm_layernorm(float *y, const float *x, const float *gain, const float *bias, float eps,
                    size_t n_rows, size_t d)
{
#pragma omp parallel for if (n_rows * d >= PARALLEL_FROM)
    for (size_t r = 0; r < n_rows; r++) {
        const struct moments m = layer_moments(x + r * d, eps, d);

        for (size_t i = 0; i < d; i++) {
            const float centred = (float)(((double)x[r * d + i] - m.mean) * m.scale);

            y[r * d + i] = centred * gain[i] + bias[i];
        }
    }
}

void dinm_layernorm_backward(float *dx, float *dgain, float *dbias, const float *dy, const float *x,
                             const float *gain, float eps, size_t n_rows, size_t d)
{
    for (size_t r = 0; r < n_rows; r++, dx += d, dy += d, x += d) {
        const struct moments m = layer_moments(x, eps, d);
        double sum = 0.0, dot = 0.0; /* of g = dy gain, and of g z with z the normed x */

        for (size_t i = 0; i < d; i++) {
            const double g = (double)dy[i] * (double)gain[i];

            sum += g;
            dot += g * ((double)x[i] - m.mean) * m.scale;
        }
        /* dx = s (g - mean(g) - z mean(g z)) */
        for (size_t i = 0; i < d; i++) {
            const double z = ((double)x[i] - m.mean) * m.scale;

            dx[i] += (float)(m.scale * ((double)dy[i] * (double)gain[i] - sum / (double)d -
                                        z * dot / (double)d));
        }
        for (size_t i = 0; dgain != NULL && i < d; i++) {
            dgain[i] += (float)((double)dy[i] * ((double)x[i] - m.mean) * m.scale);
            dbias[i] += dy[i];
        }
    }
}

void dinm_norm(float *y, const float *x, const float *gain, const float *bias, float eps,
               size_t n_rows, size_t d)
{
    if (bias == NULL) {
        dinm_rmsnorm(y, x, gain, eps, n_rows, d);
    } else {
        dinm_layernorm(y, x, gain, bias, eps, n_rows, d);
    }
}

void dinm_norm_backward(float *dx, float *dgain, float *dbias, const float *dy, const float *x,
                        const float *gain, const float *bias, float eps, size_t n_rows, size_t d)
{
    if (bias == NULL) {
        dinm_rmsnorm_backward(dx, dgain, dy, x, gain, eps, n_rows, d);
    } else {
        dinm_layernorm_backward(dx, dgain, dbias, dy, x, gain, eps, n_rows, d);
    }
}
