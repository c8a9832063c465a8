/* What a decoder checkpoint's config.json says, in the field's terms. */
#ifndef DINM_MODEL_CONFIG_H
#define DINM_MODEL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "io/status.h"

struct dinm_config {
    size_t n_layers, d_model, n_heads, n_kv_heads, d_head, d_ff, n_vocab;
    size_t n_positions; /* max_position_embeddings */
    float norm_eps;
    double rope_theta;
    bool tied; /* head = embedding */
};

/* Reads FOLDER/config.json. Supported: model_type llama with silu, no biases, no rope_scaling
 * (other values are refused by name). Every size is checked: positive, below 2^31, heads divide. */
int dinm_config_load(struct dinm_config *config, const char *folder, struct dinm_error *err);

#endif
