/* Elementwise functions of the layers. n = number of elements. */
#ifndef DINM_MODEL_ACTIVATION_H
#define DINM_MODEL_ACTIVATION_H

#include <stddef.h>

/* y: [n] += x: [n] */
void dinm_add(float *y, const float *x, size_t n);

/* y = silu(gate) * up, silu(x) = x / (1 + exp(-x)) (Shazeer 2020). y may be gate or up. */
void dinm_swiglu(float *y, const float *gate, const float *up, size_t n);
/* dgate, dup: written. dgate may be dy. */
void dinm_swiglu_backward(float *dgate, float *dup, const float *dy, const float *gate,
                          const float *up, size_t n);
/* Exact gelu, x * Phi(x). y may be x. */
void dinm_gelu(float *y, const float *x, size_t n);
/* gelu with the tanh approximation that GPT-2 was trained with. y may be x. */
void dinm_gelu_new(float *y, const float *x, size_t n);
/* dx: written; may be dy. */
void dinm_gelu_new_backward(float *dx, const float *dy, const float *x, size_t n);
/* dx: written; may be dy. */
void dinm_gelu_backward(float *dx, const float *dy, const float *x, size_t n);

#endif
