/* RMSNorm (Zhang and Sennrich 2019) and LayerNorm (Ba et al. 2016). Sums in float64. */
#ifndef DINM_MODEL_NORM_H
#define DINM_MODEL_NORM_H

#include <stddef.h>

/* y = x / sqrt(mean(x^2) + eps) * gain. y, x: [n_rows][d]; gain: [d]. y may be x. */
void dinm_rmsnorm(float *y, const float *x, const float *gain, float eps, size_t n_rows, size_t d);
/* dx: [n_rows][d] += its gradient; dgain: [d] += or NULL. */
void dinm_rmsnorm_backward(float *dx, float *dgain, const float *dy, const float *x,
                           const float *gain, float eps, size_t n_rows, size_t d);

/* One of the two, as the layers of a model have it: RMSNorm if bias is NULL, else LayerNorm. */
void dinm_norm(float *y, const float *x, const float *gain, const float *bias, float eps,
               size_t n_rows, size_t d);
void dinm_norm_backward(float *dx, float *dgain, float *dbias, const float *dy, const float *x,
                        const float *gain, const float *bias, float eps, size_t n_rows, size_t d);

/* y = (x - mean) / sqrt(var + eps) * gain + bias. y may be x. */
void dinm_layernorm(float *y, const float *x, const float *gain, const float *bias, float eps,
                    size_t n_rows, size_t d);
/* dx +=, dgain and dbias: [d] += or both NULL. */
void dinm_layernorm_backward(float *dx, float *dgain, float *dbias, const float *dy, const float *x,
                             const float *gain, float eps, size_t n_rows, size_t d);

#endif
