/* Random numbers that are functions of their coordinates: nothing is drawn before or after them,
 * so that order, batching and resuming change none. */
#ifndef DINM_MODEL_RANDOM_H
#define DINM_MODEL_RANDOM_H

#include <stdint.h>

/* Uniform over [0, 1), 53 bits, from (seed, stream, index). */
double dinm_random_uniform(uint64_t seed, uint64_t stream, uint64_t index);
/* Normal with mean 0 and deviation 1. */
double dinm_random_normal(uint64_t seed, uint64_t stream, uint64_t index);

#endif
