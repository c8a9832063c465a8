/* Elementwise functions of the feed-forward layers. */
#include "model/activation.h"

#include <math.h>

/* From here on the work is worth more than waking the threads. */
enum { PARALLEL_FROM = 1 << 14 };

void dinm_swiglu(float *y, const float *gate, const float *up, size_t n)
{
#pragma omp parallel for if (n >= PARALLEL_FROM)
    for (size_t i = 0; i < n; i++) {
        y[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
    }
}

void dinm_swiglu_backward(float *dgate, float *dup, const float *dy, const float *gate,
                          const float *up, size_t n)
{
    /* s = sigmoid(gate), silu' = s (1 + gate (1 - s)) */
#pragma omp parallel for if (n >= PARALLEL_FROM)
    for (size_t i = 0; i < n; i++) {
        const float s = 1.0f / (1.0f + expf(-gate[i])), d = dy[i];

        dup[i] = d * (gate[i] * s);
        dgate[i] = d * up[i] * (s * (1.0f + gate[i] * (1.0f - s)));
    }
}

void dinm_gelu(float *y, const float *x, size_t n)
{
    const float root_half = 0.70710678118654752f;

#pragma omp parallel for if (n >= PARALLEL_FROM)
    for (size_t i = 0; i < n; i++) {
        y[i] = 0.5f * x[i] * (1.0f + erff(x[i] * root_half));
    }
}

void dinm_gelu_backward(float *dx, const float *dy, const float *x, size_t n)
{
    const float root_half = 0.70710678118654752f, one_by_root_two_pi = 0.39894228040143268f;

    /* gelu' = Phi(x) + x phi(x) */
#pragma omp parallel for if (n >= PARALLEL_FROM)
    for (size_t i = 0; i < n; i++) {
        const float cdf = 0.5f * (1.0f + erff(x[i] * root_half));
        const float density = one_by_root_two_pi * expf(-0.5f * x[i] * x[i]);

        dx[i] = dy[i] * (cdf + x[i] * density);
    }
}

/* gelu(x) = x (1 + tanh u) / 2, u = sqrt(2 / pi) (x + 0.044715 x^3) */
static const float root_two_by_pi = 0.79788456080286536f, cubic = 0.044715f;

void dinm_gelu_new(float *y, const float *x, size_t n)
{
#pragma omp parallel for if (n >= PARALLEL_FROM)
    for (size_t i = 0; i < n; i++) {
        const float u = root_two_by_pi * (x[i] + cubic * x[i] * x[i] * x[i]);

        y[i] = 0.5f * x[i] * (1.0f + tanhf(u));
    }
}

void dinm_gelu_new_backward(float *dx, const float *dy, const float *x, size_t n)
{
    /* gelu' = (1 + t) / 2 + x (1 - t^2) u' / 2, t = tanh u */
#pragma omp parallel for if (n >= PARALLEL_FROM)
    for (size_t i = 0; i < n; i++) {
        const float t = tanhf(root_two_by_pi * (x[i] + cubic * x[i] * x[i] * x[i]));
        const float slope = root_two_by_pi * (1.0f + 3.0f * cubic * x[i] * x[i]);

        dx[i] = dy[i] * 0.5f * (1.0f + t + x[i] * (1.0f - t * t) * slope);
    }
}
