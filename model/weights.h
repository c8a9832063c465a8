/* A decoder's weights: bound to the mapped checkpoint, or to one flat float32 array that training
 * updates. One table (names, shapes, slots) drives binding, gradients, initial values and writing.
 */
#ifndef DINM_MODEL_WEIGHTS_H
#define DINM_MODEL_WEIGHTS_H

#include <stdbool.h>
#include <stdint.h>
#include "io/safetensors.h"
#include "io/status.h"
#include "model/config.h"
#include "model/linear.h"

/* Vectors are float32. What a model does not have is NULL, a missing gate has no data. */
struct dinm_layer_weights {
    const float *attn_norm, *mlp_norm;           /* [d_model] */
    const float *attn_norm_bias, *mlp_norm_bias; /* [d_model] */
    struct dinm_matrix q;                        /* [n_heads * d_head][d_model] */
    struct dinm_matrix k, v;                     /* [n_kv_heads * d_head][d_model] */
    struct dinm_matrix o;                        /* [d_model][n_heads * d_head] */
    struct dinm_matrix gate, up;                 /* [d_ff][d_model] */
    struct dinm_matrix down; /* [d_model][d_ff]: W_V, the matrix that DINM edits */
    const float *q_bias, *k_bias, *v_bias, *o_bias; /* as long as their matrix's output */
    const float *gate_bias, *up_bias, *down_bias;
};

/* Layers [first, last) of the model; the embedding if first = 0, final norm and head if
 * last = n_layers (data NULL otherwise; a tied head is on both ends). */
struct dinm_weights {
    size_t first, last;
    struct dinm_matrix embed;          /* [n_vocab][d_model] */
    struct dinm_matrix positions;      /* [n_positions][d_model]; no data with rotary positions */
    struct dinm_layer_weights *layers; /* owns: [last - first] */
    const float *final_norm;           /* [d_model] */
    const float *final_norm_bias;      /* [d_model] or NULL */
    struct dinm_matrix head;           /* [n_vocab][d_model] */
    float *widened;                    /* owns the vectors that are stored in another dtype */
};

/* Binds every tensor of the slice or fails naming folder, tensor, expected and found shape. Names
 * are looked for with and without the prefix "model." or "transformer.". The checkpoint must
 * outlive w. */
int dinm_weights_bind(struct dinm_weights *w, const struct dinm_config *config,
                      const struct dinm_checkpoint *checkpoint, size_t first, size_t last,
                      struct dinm_error *err);
void dinm_weights_free(struct dinm_weights *w);

/* The tensor that holds W_V of a layer, under the checkpoint's own name; NULL: not there. It is
 * stored [d_model][d_ff], or [d_ff][d_model] in GPT-2's layout. */
const struct dinm_tensor *dinm_weights_edited(const struct dinm_checkpoint *checkpoint,
                                              const struct dinm_config *config, size_t layer);
/* The layer that a tensor of that name is W_V of, in any layout and with or without prefix; -1 for
 * other names. */
long dinm_weights_edited_layer(const char *name);

/* What the tensors of a part of the model take. */
struct dinm_weights_size {
    size_t n_bytes;      /* in the checkpoint; 0 for what it does not have */
    size_t n_products;   /* multiplications for one row: elements of the matrices */
    size_t n_bf16;       /* of n_products: those that are stored in bf16 */
    size_t n_tied_bytes; /* of n_bytes: the matrix that is both embedding and head */
};
/* Layer `layer` alone. The checkpoint may be NULL here and below. */
struct dinm_weights_size dinm_weights_layer_size(const struct dinm_config *config,
                                                 const struct dinm_checkpoint *checkpoint,
                                                 size_t layer);
/* The embeddings, of which reading multiplies nothing; and the final norm with the head. */
struct dinm_weights_size dinm_weights_embed_size(const struct dinm_config *config,
                                                 const struct dinm_checkpoint *checkpoint);
struct dinm_weights_size dinm_weights_head_size(const struct dinm_config *config,
                                                const struct dinm_checkpoint *checkpoint);

/* Flat form: parameters lie one after another in table order, so that layers [first, last), with
 * what stands before the first and behind the last, are one range of them. For the layout of Llama
 * alone (DINM_LAYOUT_LLAMA). */
size_t dinm_weights_n_params(const struct dinm_config *config);
struct dinm_flat_range {
    size_t first_tensor, n_tensors; /* rows of the table */
    size_t first_param, n_params;   /* floats of the whole */
};
struct dinm_flat_range dinm_weights_range(const struct dinm_config *config, size_t first,
                                          size_t last);
/* w borrows `flat`: [n_params of the range] float32. A tied head whose embedding lies outside of
 * the range has no data: it is the caller's to give. */
int dinm_weights_bind_flat(struct dinm_weights *w, const struct dinm_config *config, size_t first,
                           size_t last, const float *flat, struct dinm_error *err);
/* N(0, 0.02) matrices (residual outputs o and down divided by sqrt(2 n_layers)), norms 1, biases 0.
 * A value depends on (seed, its index in the whole) alone. */
void dinm_weights_init_flat(float *flat, const struct dinm_config *config, size_t first,
                            size_t last, uint64_t seed);
/* flat from a checkpoint of any dtype. */
int dinm_weights_load_flat(float *flat, const struct dinm_config *config, size_t first, size_t last,
                           const struct dinm_checkpoint *checkpoint, struct dinm_error *err);

/* One row of the table. */
struct dinm_param {
    char name[64];        /* Hugging Face tensor name: model.layers.3.mlp.down_proj.weight */
    size_t n_out, n_in;   /* n_in = 0: a vector of n_out */
    bool by_input;        /* a matrix stored [n_in][n_out] */
    size_t part, n_parts; /* of a tensor that holds n_parts side by side; 0 of 0 or 1: whole */
    bool is_bias;
    size_t offset; /* in floats, within the flat array of the whole */
};
size_t dinm_weights_n_tensors(const struct dinm_config *config);
struct dinm_param dinm_weights_param(const struct dinm_config *config, size_t index);

/* Where the values of a model to be written come from: asked for one tensor after another, number i
 * of the table; *values: as many as it has, good until the next is asked for. */
typedef int dinm_weights_source(void *context, size_t i, const struct dinm_param *param,
                                const float **values, struct dinm_error *err);
/* Writes FOLDER/model.safetensors in dtype; params: [n] the table. Holds the largest tensor only.
 */
int dinm_weights_write_from(const char *folder, const struct dinm_param *params, size_t n,
                            enum dinm_dtype dtype, dinm_weights_source *source, void *context,
                            struct dinm_error *err);
/* The same from a flat array: context points to a pointer to the array. */
dinm_weights_source dinm_weights_from_flat;

/* Writes FOLDER/model.safetensors from the whole flat array in dtype. config.json is the caller's.
 */
int dinm_weights_write_flat(const char *folder, const float *flat, const struct dinm_config *config,
                            enum dinm_dtype dtype, struct dinm_error *err);

/* Gradients in the flat layout; every pointer may be used with the backward kernels. */
struct dinm_layer_grads {
    float *attn_norm, *mlp_norm, *q, *k, *v, *o, *gate, *up, *down;
    float *q_bias, *k_bias, *v_bias, *o_bias, *gate_bias, *up_bias, *down_bias; /* or NULL */
};
struct dinm_grads {
    size_t first, last; /* the layers */
    float *embed;
    struct dinm_layer_grads *layers; /* owns: [last - first] */
    float *final_norm, *head;        /* head = embed when tied; NULL where there is no embed */
};
int dinm_grads_bind_flat(struct dinm_grads *g, const struct dinm_config *config, size_t first,
                         size_t last, float *flat, struct dinm_error *err);
void dinm_grads_free(struct dinm_grads *g);

#endif
