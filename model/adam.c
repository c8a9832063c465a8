/* Optimiser steps, in PyTorch's order of float32 operations. */
#include "model/adam.h"

#include <math.h>

enum { PARALLEL_FROM = 1 << 14 };

void dinm_adam_step(float *w, float *m, float *v, const float *grad, const struct dinm_adam *adam,
                    int64_t step, size_t n)
{
    const double correct_1 = 1.0 - pow(adam->beta1, (double)step);
    const double correct_2 = 1.0 - pow(adam->beta2, (double)step);
    const float beta1 = (float)adam->beta1, keep1 = (float)(1.0 - adam->beta1);
    const float beta2 = (float)adam->beta2, keep2 = (float)(1.0 - adam->beta2);
    const float rate = (float)(adam->lr / correct_1), root = (float)sqrt(correct_2);
    const float eps = (float)adam->eps;
    const float shrink = adam->decoupled ? (float)(1.0 - adam->lr * adam->weight_decay) : 1.0f;
    const float decay = adam->decoupled ? 0.0f : (float)adam->weight_decay;

#pragma omp parallel for if (n >= PARALLEL_FROM)
    for (size_t i = 0; i < n; i++) {
        const float g = grad[i] + decay * w[i];

        /* m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2,  w -= rate m / (sqrt(v) / root + eps) */
        m[i] = m[i] * beta1 + keep1 * g;
        v[i] = v[i] * beta2 + keep2 * g * g;
        w[i] = w[i] * shrink - rate * (m[i] / (sqrtf(v[i]) / root + eps));
    }
}

void dinm_sgd_step(float *w, const float *grad, double lr, double weight_decay, size_t n)
{
    const float rate = (float)lr, decay = (float)weight_decay;

#pragma omp parallel for if (n >= PARALLEL_FROM)
    for (size_t i = 0; i < n; i++) {
        w[i] -= rate * (grad[i] + decay * w[i]);
    }
}
