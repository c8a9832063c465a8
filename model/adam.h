/* Optimiser steps on float32 arrays. */
#ifndef DINM_MODEL_ADAM_H
#define DINM_MODEL_ADAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dinm_adam {
    double lr, beta1, beta2, eps, weight_decay;
    bool decoupled; /* false: decay is added to the gradient (Adam); true: AdamW */
};

/* Step number `step` (first: 1) as PyTorch's Adam / AdamW (Kingma and Ba 2015).
 * w, m, v: [n] updated; grad: [n]. */
void dinm_adam_step(float *w, float *m, float *v, const float *grad, const struct dinm_adam *adam,
                    int64_t step, size_t n);
/* w -= lr * (grad + weight_decay * w) */
void dinm_sgd_step(float *w, const float *grad, double lr, double weight_decay, size_t n);

#endif
