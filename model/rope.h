/* Rotary position embedding (Su et al. 2021) in Hugging Face's half-split layout: dimension i is
 * rotated with i + d_head/2 by the angle position * theta^(-2i/d_head). Angles in float64. */
#ifndef DINM_MODEL_ROPE_H
#define DINM_MODEL_ROPE_H

#include <stddef.h>
#include "model/config.h"

/* rates: [d_head / 2], the angle by which a dimension turns from one position to the next:
 * theta^(-2i/d_head), scaled for longer texts as the config says. Linear: all divided by factor.
 * Llama 3: waves longer than n_positions / low_freq_factor are divided by factor, those shorter
 * than n_positions / high_freq_factor are not, and between them the share goes over linearly. */
void dinm_rope_rates(double *rates, double theta, const struct dinm_rope_scaling *scaling,
                     size_t d_head);

/* The rotations of n_rows positions, for all layers and heads.
 * table: [n_rows][d_head] float32: d_head/2 cosines, then d_head/2 sines; positions: [n_rows];
 * rates: [d_head / 2]. */
void dinm_rope_table(float *table, const size_t *positions, const double *rates, size_t n_rows,
                     size_t d_head);

/* Rotates x in place. x: [n_rows][n_heads][d_head]. sign = +1 forward, -1 backward (the gradient
 * of a rotation is the opposite rotation). */
void dinm_rope(float *x, const float *table, int sign, size_t n_rows, size_t n_heads,
               size_t d_head);

#endif
