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

/* sum of a b c */
static double sum_of_products(const float *a, const float *b, const float *c, size_t d)
{
    double lanes[LANES] = {0.0}, sum = 0.0;
    size_t i = 0;

    for (; d - i >= LANES; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            lanes[l] += (double)a[i + l] * (double)b[i + l] * (double)c[i + l];
        }
    }
    for (size_t l = 0; l < d - i; l++) {
        lanes[l] += (double)a[i + l] * (double)b[i + l] * (double)c[i + l];
    }
    for (size_t l = 0; l < LANES; l++) {
        sum += lanes[l];
    }
    return sum;
}

void dinm_rmsnorm_backward(float *dx, float *dgain, const float *dy, const float *x,
                           const float *gain, float eps, size_t n_rows, size_t d)
{
#pragma omp parallel for if (n_rows * d >= PARALLEL_FROM)
    for (size_t r = 0; r < n_rows; r++) {
        const float *dy_row = dy + r * d, *x_row = x + r * d;
        const double scale = rms_scale(x_row, eps, d);
        /* dx = s (gain dy - x s^2 mean(dy gain x)) */
        const double dot = sum_of_products(dy_row, gain, x_row, d);
        const double pull = scale * scale * scale * dot / (double)d;

        for (size_t i = 0; i < d; i++) {
            dx[r * d + i] +=
                (float)(scale * (double)dy_row[i] * (double)gain[i] - (double)x_row[i] * pull);
        }
    }
    for (size_t r = 0; dgain != NULL && r < n_rows; r++) {
        const double scale = rms_scale(x + r * d, eps, d);

        for (size_t i = 0; i < d; i++) {
            dgain[i] += (float)((double)dy[r * d + i] * (double)x[r * d + i] * scale);
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
#pragma omp parallel for if (n_rows * d >= PARALLEL_FROM)
    for (size_t r = 0; r < n_rows; r++) {
        const float *dy_row = dy + r * d, *x_row = x + r * d;
        const struct moments m = layer_moments(x_row, eps, d);
        double sum = 0.0, dot = 0.0; /* of g = dy gain, and of g z with z the normed x */

        for (size_t i = 0; i < d; i++) {
            const double g = (double)dy_row[i] * (double)gain[i];

            sum += g;
            dot += g * ((double)x_row[i] - m.mean) * m.scale;
        }
        /* dx = s (g - mean(g) - z mean(g z)) */
        for (size_t i = 0; i < d; i++) {
            const double z = ((double)x_row[i] - m.mean) * m.scale;

            dx[r * d + i] += (float)(m.scale * ((double)dy_row[i] * (double)gain[i] -
                                                sum / (double)d - z * dot / (double)d));
        }
    }
    for (size_t r = 0; dgain != NULL && r < n_rows; r++) {
        const struct moments m = layer_moments(x + r * d, eps, d);

        for (size_t i = 0; i < d; i++) {
            const double z = ((double)x[r * d + i] - m.mean) * m.scale;

            dgain[i] += (float)((double)dy[r * d + i] * z);
            dbias[i] += dy[r * d + i];
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
