/* Choosing the next token from one row of logits. */
#ifndef DINM_MODEL_SAMPLE_H
#define DINM_MODEL_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

struct dinm_sampler {
    double temperature; /* 0: greedy */
    double top_p;       /* 1: all */
    size_t top_k;       /* 0: all */
    uint64_t seed;
};

/* Greedy: the largest logit, the lowest id among equals. Otherwise a draw whose random number is
 * a function of (seed, stream, position) alone, so that batching and resuming change nothing.
 * room: n_vocab floats of scratch (unused when greedy; may then be NULL). */
int32_t dinm_sample(const float *logits, const struct dinm_sampler *sampler, uint64_t stream,
                    uint64_t position, float *room, size_t n_vocab);

#endif
