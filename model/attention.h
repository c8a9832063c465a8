/* Scaled dot-product attention, grouped-query, with masks; sequence by sequence.
 *
 * out_i = sum_j softmax_j(q_i k_j / sqrt(d_head)) v_j over the keys j that row i may see. */
#ifndef DINM_MODEL_ATTENTION_H
#define DINM_MODEL_ATTENTION_H

#include <stdbool.h>
#include <stddef.h>
#include "io/dtype.h"

struct dinm_attention {
    size_t n_rows; /* queries: the last n_rows of the n_keys positions */
    size_t n_keys;
    size_t n_heads, n_kv_heads, d_head;
    bool causal;   /* row i sees keys up to its own position */
    size_t window; /* with causal: and of these the last `window` alone; 0: all */
    /* Keys outside [key_first, key_last) are padding and never seen; 0 and n_keys: none. A row
     * that sees no key at all attends uniformly to all n_keys (as Hugging Face's additive masks
     * make it). */
    size_t key_first, key_last;
};

/* Floats of scratch that forward and backward need, for as many threads as are set now. Does not
 * depend on n_rows. */
size_t dinm_attention_scratch(const struct dinm_attention *a);

/* Many sequences of the same heads. Borrows everything for the call. */
struct dinm_attention_call {
    struct dinm_attention shape;
    float *out;     /* [n_rows][n_heads][d_head] */
    const float *q; /* the same */
    /* [n_keys][n_kv_heads][d_head] of kv_dtype, F32 or BF16, or with other strides: elements from
     * one key to the next, and from one head to the next */
    const void *k, *v;
    enum dinm_dtype kv_dtype;
    size_t key_stride, head_stride;
};

/* A row depends on its own q and the keys it sees alone (not on n_rows, nor on the other calls).
 * scratch: as much as the call with the most keys needs. */
void dinm_attention_forward(const struct dinm_attention_call *calls, size_t n_calls,
                            float *scratch);

/* dq: written; dk, dv: accumulated. Needs n_rows = n_keys (no cache). Probabilities are computed
 * again from q and k. */
void dinm_attention_backward(float *dq, float *dk, float *dv, const float *dout, const float *q,
                             const float *k, const float *v, const struct dinm_attention *a,
                             float *scratch);

#endif
