/* One decoder layer, forward and backward, and the memory it works in. Private to model/. */
#ifndef DINM_MODEL_BLOCK_H
#define DINM_MODEL_BLOCK_H

#include "model/attention.h"
#include "model/slice.h"

/* What one layer's forward pass leaves. In a workspace the same arrays hold the gradients of the
 * backward pass. d_q = n_heads * d_head, d_kv = n_kv_heads * d_head. */
struct dinm_block {
    float *x;        /* [n_rows][d_model]: residual at entry; in a tape only */
    float *mid;      /* [n_rows][d_model]: residual before the feed-forward layer; in a tape only */
    float *q;        /* [n_rows][d_q], rotated */
    float *k, *v;    /* [n_rows][d_kv], k rotated */
    float *attended; /* [n_rows][d_q] */
    float *gate, *up; /* [n_rows][d_ff]; gate NULL without one */
};

struct dinm_workspace {
    float *memory;         /* owns all of the arrays below */
    size_t n_floats;       /* in memory */
    size_t n_rows, n_keys; /* it is cut for the largest ever reserved */
    size_t *positions;     /* owns: [n_positions] */
    size_t n_positions;
    struct dinm_block block; /* x and mid NULL */
    float *rope;             /* [n_rows][d_head], see rope.h; with rotary positions */
    double *rates;           /* owns: [d_head / 2] */
    size_t n_rates;
    float *normed;                     /* [n_rows][d_model] */
    float *sum;                        /* [n_rows][d_model]: what is added to the residual */
    float *h;                          /* [n_rows][d_ff]: input of W_V */
    float *attention;                  /* scratch, see attention.h */
    struct dinm_attention_call *calls; /* owns: [n_calls], for as many sequences */
    size_t n_calls;
};

struct dinm_tape {
    float *memory; /* owns all of the arrays below */
    size_t n_floats;
    struct dinm_block *layers; /* owns: [last - first] */
    size_t layer_capacity;
    size_t first, last;
};

/* One layer's place in a pass. */
struct dinm_block_call {
    const struct dinm_config *config;
    const struct dinm_layer_weights *w;
    const struct dinm_rows *rows;
    size_t layer;    /* in the model */
    size_t kv_layer; /* in the sequences' caches */
    struct dinm_workspace *ws;
};

/* x: [n_rows][d_model] in place. b: the tape's arrays for this layer, or the workspace's own. */
void dinm_block_forward(float *x, const struct dinm_block_call *call, struct dinm_block *b,
                        const struct dinm_taps *taps);

/* dx: [n_rows][d_model] in place; b: from the tape. grads may be NULL. The gradient of a matrix
 * that an edit put in place of the model's is not kept. */
void dinm_block_backward(float *dx, const struct dinm_block_call *call, const struct dinm_block *b,
                         struct dinm_layer_grads *grads);

/* Fills ws->positions and ws->rope for these rows. */
void dinm_workspace_locate(struct dinm_workspace *ws, const struct dinm_config *config,
                           const struct dinm_rows *rows);

#endif
