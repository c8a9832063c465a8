/* Rotary position embedding (Su et al. 2021) in Hugging Face's half-split layout: dimension i is
 * rotated with i + d_head/2 by the angle position * theta^(-2i/d_head). Angles in float64. */
#ifndef DINM_MODEL_ROPE_H
#define DINM_MODEL_ROPE_H

#include <stddef.h>

/* The rotations of n_rows positions, for all layers and heads.
 * table: [n_rows][d_head] float32: d_head/2 cosines, then d_head/2 sines; positions: [n_rows]. */
void dinm_rope_table(float *table, const size_t *positions, double theta, size_t n_rows,
                     size_t d_head);

/* Rotates x in place. x: [n_rows][n_heads][d_head]. sign = +1 forward, -1 backward (the gradient
 * of a rotation is the opposite rotation). */
void dinm_rope(float *x, const float *table, int sign, size_t n_rows, size_t n_heads,
               size_t d_head);

#endif
