/* The table of a decoder's tensors: names, shapes, places. */
#include "model/weights_table.h"

#include <stddef.h>
#include <stdio.h>

enum dim { NONE, D_MODEL, D_Q, D_KV, D_FF, N_VOCAB };

/* One tensor; `name` follows "model.layers.<l>." in a layer. The offsets lead to its field in
 * struct dinm_weights and dinm_grads, or dinm_layer_weights and dinm_layer_grads. */
struct row {
    const char *name;
    size_t in_weights, in_grads;
    enum dim out, in; /* in = NONE: a vector */
};

#define LAYER(f) offsetof(struct dinm_layer_weights, f), offsetof(struct dinm_layer_grads, f)
#define WHOLE(f) offsetof(struct dinm_weights, f), offsetof(struct dinm_grads, f)
static const struct row first_row = {"model.embed_tokens.weight", WHOLE(embed), N_VOCAB, D_MODEL};
static const struct row layer_rows[] = {
    {"input_layernorm.weight", LAYER(attn_norm), D_MODEL, NONE},
    {"self_attn.q_proj.weight", LAYER(q), D_Q, D_MODEL},
    {"self_attn.k_proj.weight", LAYER(k), D_KV, D_MODEL},
    {"self_attn.v_proj.weight", LAYER(v), D_KV, D_MODEL},
    {"self_attn.o_proj.weight", LAYER(o), D_MODEL, D_Q},
    {"post_attention_layernorm.weight", LAYER(mlp_norm), D_MODEL, NONE},
    {"mlp.gate_proj.weight", LAYER(gate), D_FF, D_MODEL},
    {"mlp.up_proj.weight", LAYER(up), D_FF, D_MODEL},
    {"mlp.down_proj.weight", LAYER(down), D_MODEL, D_FF},
};
static const struct row last_rows[] = {
    {"model.norm.weight", WHOLE(final_norm), D_MODEL, NONE},
    {"lm_head.weight", WHOLE(head), N_VOCAB, D_MODEL}, /* not in a tied model */
};
#undef LAYER
#undef WHOLE
enum { N_LAYER_ROWS = sizeof layer_rows / sizeof *layer_rows };

static size_t extent(const struct dinm_config *c, enum dim dim)
{
    switch (dim) {
    case D_MODEL:
        return c->d_model;
    case D_Q:
        return c->n_heads * c->d_head;
    case D_KV:
        return c->n_kv_heads * c->d_head;
    case D_FF:
        return c->d_ff;
    case N_VOCAB:
        return c->n_vocab;
    case NONE:
        break;
    }
    return 0;
}

static size_t row_size(const struct dinm_config *c, const struct row *row)
{
    return extent(c, row->out) * (row->in == NONE ? 1 : extent(c, row->in));
}

/* The row of tensor `index`, its layer (if it is in one) and its offset in the flat array. */
struct place {
    const struct row *row;
    size_t layer, offset;
    bool in_layer;
};

static struct place locate(const struct dinm_config *c, size_t index)
{
    struct place p = {.row = &first_row};
    size_t layer_size = 0;

    if (index == 0) {
        return p;
    }
    for (size_t i = 0; i < N_LAYER_ROWS; i++) {
        layer_size += row_size(c, &layer_rows[i]);
    }
    p.layer = (index - 1) / N_LAYER_ROWS;
    p.in_layer = p.layer < c->n_layers;
    p.offset = row_size(c, &first_row) + layer_size * (p.in_layer ? p.layer : c->n_layers);
    /* The rows before this one, in its layer or among the last. */
    const struct row *list = p.in_layer ? layer_rows : last_rows;
    const size_t at =
        p.in_layer ? (index - 1) % N_LAYER_ROWS : index - 1 - c->n_layers * N_LAYER_ROWS;

    for (size_t i = 0; i < at; i++) {
        p.offset += row_size(c, &list[i]);
    }
    p.row = &list[at];
    return p;
}

size_t dinm_weights_n_tensors(const struct dinm_config *config)
{
    return 1 + config->n_layers * N_LAYER_ROWS + (config->tied ? 1 : 2);
}

struct dinm_param dinm_weights_param(const struct dinm_config *config, size_t index)
{
    const struct place p = locate(config, index);
    struct dinm_param param = {
        .n_out = extent(config, p.row->out), .n_in = extent(config, p.row->in), .offset = p.offset};

    if (p.in_layer) {
        snprintf(param.name, sizeof param.name, "model.layers.%zu.%s", p.layer, p.row->name);
    } else {
        snprintf(param.name, sizeof param.name, "%s", p.row->name);
    }
    return param;
}

size_t dinm_param_size(const struct dinm_param *param)
{
    return param->n_out * (param->n_in > 0 ? param->n_in : 1);
}

size_t dinm_weights_n_params(const struct dinm_config *config)
{
    const struct dinm_param last = dinm_weights_param(config, dinm_weights_n_tensors(config) - 1);

    return last.offset + dinm_param_size(&last);
}

bool dinm_weights_adds_to_residual(const struct dinm_config *config, size_t index)
{
    const struct place p = locate(config, index);

    return p.in_layer && p.row->out == D_MODEL && p.row->in != NONE;
}

struct dinm_slot dinm_weights_slot(struct dinm_weights *w, const struct dinm_config *config,
                                   size_t index)
{
    const struct place p = locate(config, index);
    char *base = (char *)w;

    if (p.in_layer) {
        if (p.layer < w->first || p.layer >= w->last) {
            return (struct dinm_slot){0};
        }
        base = (char *)&w->layers[p.layer - w->first];
    } else if (p.row == &first_row ? w->first > 0 : w->last < config->n_layers) {
        return (struct dinm_slot){0};
    }
    void *field = base + p.row->in_weights;

    return p.row->in == NONE ? (struct dinm_slot){.vector = field}
                             : (struct dinm_slot){.matrix = field};
}

float **dinm_grads_slot(struct dinm_grads *g, const struct dinm_config *config, size_t index)
{
    const struct place p = locate(config, index);
    void *field = (p.in_layer ? (char *)&g->layers[p.layer] : (char *)g) + p.row->in_grads;

    return field;
}
