/* Elementwise functions of the layers, a block at a time: what the kernel's exp, erf
 * and tanh leave stays in the nearest cache. */
#include "model/activation.h"

#include "model/kernel.h"

/* From PARALLEL_FROM on the work is worth more than waking the threads. */
enum { PARALLEL_FROM = 1 << 14, BLOCK = 1024 };

static size_t block_at(size_t n, size_t first)
{
    return n - first < BLOCK ? n - first : BLOCK;
}

/* s: [n] = exp(-x), x: [n] */
static void exp_negative(float *s, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        s[i] = -x[i];
    }
    dinm_kernel()->exp(s, s, n);
}

void dinm_add(float *y, const float *x, size_t n)
{
#pragma omp parallel for if (n >= PARALLEL_FROM)
    for (size_t i = 0; i < n; i++) {
        y[i] += x[i];
    }
}

void dinm_swiglu(float *y, const float *gate, const float *up, size_t n)
{
#pragma omp parallel for if (n >= PARALLEL_FROM)
    for (size_t b = 0; b < n; b += BLOCK) {
        const size_t end = b + block_at(n, b);
        float e[BLOCK];

        exp_negative(e, gate + b, end - b);
        for (size_t i = b; i < end; i++) {
            y[i] = gate[i] / (1.0f + e[i - b]) * up[i];
        }
    }
}

void dinm_swiglu_backward(float *dgate, float *dup, const float *dy, const float *gate,
                          const float *up, size_t n)
{
    /* s = sigmoid(gate), silu' = s (1 + gate (1 - s)) */
#pragma omp parallel for if (n >= PARALLEL_FROM)
    for (size_t b = 0; b < n; b += BLOCK) {
        const size_t end = b + block_at(n, b);
        float e[BLOCK];

        exp_negative(e, gate + b, end - b);
        for (size_t i = b; i < end; i++) {
            const float s = 1.0f / (1.0f + e[i - b]), d = dy[i];

            dup[i] = d * (gate[i] * s);
            dgate[i] = d * up[i] * (s * (1.0f + gate[i] * (1.0f - s)));
        }
    }
}

static const float root_half = 0.70710678118654752f, one_by_root_two_pi = 0.39894228040143268f;

/* e: [n] = erf(x / sqrt(2)), x: [n] */
static void erf_of_normal(float *e, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        e[i] = x[i] * root_half;
    }
    dinm_kernel()->erf(e, e, n);
}

void dinm_gelu(float *y, const float *x, size_t n)
{
#pragma omp parallel for if (n >= PARALLEL_FROM)
    for (size_t b = 0; b < n; b += BLOCK) {
        const size_t end = b + block_at(n, b);
        float e[BLOCK];

        erf_of_normal(e, x + b, end - b);
        for (size_t i = b; i < end; i++) {
            y[i] = 0.5f * x[i] * (1.0f + e[i - b]);
        }
    }
}

void dinm_gelu_backward(float *dx, const float *dy, const float *x, size_t n)
{
    /* gelu' = Phi(x) + x phi(x) */
#pragma omp parallel for if (n >= PARALLEL_FROM)
    for (size_t b = 0; b < n; b += BLOCK) {
        const size_t end = b + block_at(n, b);
        float e[BLOCK], density[BLOCK];

        erf_of_normal(e, x + b, end - b);
        for (size_t i = b; i < end; i++) {
            density[i - b] = -0.5f * x[i] * x[i];
        }
        dinm_kernel()->exp(density, density, end - b);
        for (size_t i = b; i < end; i++) {
            const float cdf = 0.5f * (1.0f + e[i - b]);

            dx[i] = dy[i] * (cdf + x[i] * (one_by_root_two_pi * density[i - b]));
        }
    }
}

/* gelu(x) = x (1 + tanh u) / 2, u = sqrt(2 / pi) (x + 0.044715 x^3) */
static const float root_two_by_pi = 0.79788456080286536f, cubic = 0.044715f;

/* t: [n] = tanh(u), x: [n] */
static void tanh_of_cubic(float *t, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        t[i] = root_two_by_pi * (x[i] + cubic * x[i] * x[i] * x[i]);
    }
    dinm_kernel()->tanh(t, t, n);
}

void dinm_gelu_new(float *y, const float *x, size_t n)
{
#pragma omp parallel for if (n >= PARALLEL_FROM)
    for (size_t b = 0; b < n; b += BLOCK) {
        const size_t end = b + block_at(n, b);
        float t[BLOCK];

        tanh_of_cubic(t, x + b, end - b);
        for (size_t i = b; i < end; i++) {
            y[i] = 0.5f * x[i] * (1.0f + t[i - b]);
        }
    }
}

void dinm_gelu_new_backward(float *dx, const float *dy, const float *x, size_t n)
{
    /* gelu' = (1 + t) / 2 + x (1 - t^2) u' / 2, t = tanh u */
#pragma omp parallel for if (n >= PARALLEL_FROM)
    for (size_t b = 0; b < n; b += BLOCK) {
        const size_t end = b + block_at(n, b);
        float tanhs[BLOCK];

        tanh_of_cubic(tanhs, x + b, end - b);
        for (size_t i = b; i < end; i++) {
            const float t = tanhs[i - b];
            const float slope = root_two_by_pi * (1.0f + 3.0f * cubic * x[i] * x[i]);

            dx[i] = dy[i] * 0.5f * (1.0f + t + x[i] * (1.0f - t * t) * slope);
        }
    }
}
