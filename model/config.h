/* What a decoder checkpoint's config.json says, in the field's terms. One decoder serves all: how
 * the architectures differ is said here and in the table of tensors, and nowhere else. */
#ifndef DINM_MODEL_CONFIG_H
#define DINM_MODEL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "io/status.h"

/* Names and places of the tensors. */
enum dinm_layout {
    DINM_LAYOUT_LLAMA, /* model.layers.3.mlp.down_proj.weight: Llama, Mistral, Qwen2 */
    DINM_LAYOUT_GPT2   /* transformer.h.3.mlp.c_proj.weight, matrices stored by input */
};
enum dinm_mlp {
    DINM_MLP_SWIGLU,  /* silu(x W_gate^T) * (x W_up^T) */
    DINM_MLP_GELU_NEW /* gelu(x W_up^T) with the tanh approximation */
};
enum dinm_rope_kind { DINM_ROPE_PLAIN, DINM_ROPE_LINEAR, DINM_ROPE_LLAMA3 };

/* Rotary rates that are scaled for longer texts: see rope.h. */
struct dinm_rope_scaling {
    enum dinm_rope_kind kind;
    double factor, low_freq_factor, high_freq_factor;
    double n_positions; /* original_max_position_embeddings */
};

struct dinm_config {
    const char *type; /* static text: "llama", "mistral", "qwen2", "gpt2" */
    enum dinm_layout layout;
    enum dinm_mlp mlp;
    size_t n_layers, d_model, n_heads, n_kv_heads, d_head, d_ff, n_vocab;
    size_t n_positions; /* max_position_embeddings */
    float norm_eps;
    bool layer_norm;        /* LayerNorm with biases instead of RMSNorm */
    bool learned_positions; /* a table is added to the embedding; otherwise rotary */
    bool qkv_bias, o_bias, mlp_bias;
    double rope_theta;
    struct dinm_rope_scaling rope_scaling;
    size_t window;       /* a token sees itself and the window - 1 tokens before it; 0: all */
    size_t window_first; /* the first layer with that window */
    bool tied;           /* head = embedding */
};

/* Reads FOLDER/config.json. Supported: model_type llama, mistral, qwen2 and gpt2 as Hugging Face
 * computes them; what is not computed here is refused by name. Every size is checked: positive,
 * below 2^31, heads divide. */
int dinm_config_load(struct dinm_config *config, const char *folder, struct dinm_error *err);

/* The window of a layer; 0: none. */
size_t dinm_config_window(const struct dinm_config *config, size_t layer);

#endif
