/* What the files of the encoder share: the order of its tensors and the room for activations. */
#ifndef DINM_MODEL_ENCODER_PRIVATE_H
#define DINM_MODEL_ENCODER_PRIVATE_H

#include "model/attention.h"
#include "model/encoder.h"
#include "model/linear.h"

/* Tensor number i of the flat layout: the embeddings, then layer by layer, then the head. */
enum { WORD, POSITION, TYPE, EMBED_GAIN, EMBED_BIAS, N_EMBED_TENSORS };
enum {
    Q_WEIGHT, /* [d_model][d_model] as k, v, o */
    Q_BIAS,
    K_WEIGHT,
    K_BIAS,
    V_WEIGHT,
    V_BIAS,
    O_WEIGHT,
    O_BIAS,
    MID_GAIN, /* the norm behind attention */
    MID_BIAS,
    UP_WEIGHT, /* [d_ff][d_model] */
    UP_BIAS,
    DOWN_WEIGHT, /* [d_model][d_ff] */
    DOWN_BIAS,
    OUT_GAIN, /* the norm behind the feed-forward layer */
    OUT_BIAS,
    N_LAYER_TENSORS
};
enum { DENSE_WEIGHT, DENSE_BIAS, LABEL_WEIGHT, LABEL_BIAS, N_HEAD_TENSORS };

/* One layer's activations, each [n_rows][d_model] but ff and act: [n_rows][d_ff].
 *   sum_mid = x + o(attn) + b;  mid = norm(sum_mid)
 *   ff = up(mid) + b;  act = gelu(ff)
 *   sum_out = mid + down(act) + b;  the next layer's x = norm(sum_out) */
struct dinm_encoder_acts {
    float *x, *q, *k, *v, *attn, *sum_mid, *mid, *ff, *act, *sum_out;
};

/* Gradients on their way down: [n_rows][d_model], dff [n_rows][d_ff]; dx is the caller's. */
struct dinm_encoder_slopes {
    float *dx, *dsum, *dattn, *dq, *dk, *dv, *dff;
};

struct dinm_encoder {
    struct dinm_encoder_config config;
    size_t first, last;                /* its layers */
    struct dinm_checkpoint checkpoint; /* owns: what mapped tensors borrow from */
    struct dinm_matrix
        *tensors;  /* owns: [n_tensors of the range]; vectors are float32 with n_in = 0 */
    float *copies; /* owns: widened vectors */
    float *room;   /* owns: [room_floats]; all pointers below lie in it */
    size_t room_floats;
    struct dinm_encoder_acts
        *layers; /* owns: [last - first + 1]; the last holds the output x alone */
    struct dinm_encoder_slopes slopes;
    float *sum_embed;        /* [n_rows][d_model]: embeddings before their norm */
    float *heads;            /* [n_texts][d_model]: first tokens */
    float *hidden, *dhidden; /* [n_texts][d_model]: tanh(dense(heads)) and its gradient */
    float *logits;           /* [n_texts][n_labels] */
    float *x, *dx;           /* [n_rows][d_model]: of whole passes; dx if taped */
    float *scratch;          /* attention's; also one row of d_model */
};

/* One sequence's shape for attention. */
struct dinm_attention dinm_encoder_attention(const struct dinm_encoder *e, size_t n_tokens);
/* Tensors of the l-th of its layers; behind the last those of the head. */
const struct dinm_matrix *dinm_encoder_layer(const struct dinm_encoder *e, size_t l);

#endif
