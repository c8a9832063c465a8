/* The table of a decoder's tensors: names, shapes, places. */
#include "model/weights_table.h"

#include <stddef.h>
#include <stdio.h>

enum dim { NONE, D_MODEL, D_Q, D_KV, D_FF, N_VOCAB, N_POSITIONS };
/* What a model must have for the row to be there. */
enum need { ALWAYS, QKV_BIAS, O_BIAS, MLP_BIAS, OWN_HEAD };
enum kind { MATRIX, BY_INPUT, VECTOR, BIAS };

/* One tensor; `name` follows the layer's prefix in a layer. The offsets lead to its field in struct
 * dinm_weights and dinm_grads, or dinm_layer_weights and dinm_layer_grads; rows without a gradient
 * belong to layouts that are not trained. */
struct row {
    const char *name;
    enum need need;
    enum kind kind;
    size_t in_weights, in_grads;
    enum dim out, in;     /* in = NONE: a vector */
    size_t part, n_parts; /* of a fused tensor: see struct dinm_param; 0, 0: whole */
};

#define LAYER(f) offsetof(struct dinm_layer_weights, f), offsetof(struct dinm_layer_grads, f)
#define WHOLE(f) offsetof(struct dinm_weights, f), offsetof(struct dinm_grads, f)
#define LAYER_ONLY(f) offsetof(struct dinm_layer_weights, f), SIZE_MAX
#define WHOLE_ONLY(f) offsetof(struct dinm_weights, f), SIZE_MAX
static const struct row llama_first[] = {
    {"model.embed_tokens.weight", ALWAYS, MATRIX, WHOLE(embed), N_VOCAB, D_MODEL, 0, 0},
};
static const struct row llama_layer[] = {
    {"input_layernorm.weight", ALWAYS, VECTOR, LAYER(attn_norm), D_MODEL, NONE, 0, 0},
    {"self_attn.q_proj.weight", ALWAYS, MATRIX, LAYER(q), D_Q, D_MODEL, 0, 0},
    {"self_attn.q_proj.bias", QKV_BIAS, BIAS, LAYER(q_bias), D_Q, NONE, 0, 0},
    {"self_attn.k_proj.weight", ALWAYS, MATRIX, LAYER(k), D_KV, D_MODEL, 0, 0},
    {"self_attn.k_proj.bias", QKV_BIAS, BIAS, LAYER(k_bias), D_KV, NONE, 0, 0},
    {"self_attn.v_proj.weight", ALWAYS, MATRIX, LAYER(v), D_KV, D_MODEL, 0, 0},
    {"self_attn.v_proj.bias", QKV_BIAS, BIAS, LAYER(v_bias), D_KV, NONE, 0, 0},
    {"self_attn.o_proj.weight", ALWAYS, MATRIX, LAYER(o), D_MODEL, D_Q, 0, 0},
    {"self_attn.o_proj.bias", O_BIAS, BIAS, LAYER(o_bias), D_MODEL, NONE, 0, 0},
    {"post_attention_layernorm.weight", ALWAYS, VECTOR, LAYER(mlp_norm), D_MODEL, NONE, 0, 0},
    {"mlp.gate_proj.weight", ALWAYS, MATRIX, LAYER(gate), D_FF, D_MODEL, 0, 0},
    {"mlp.gate_proj.bias", MLP_BIAS, BIAS, LAYER(gate_bias), D_FF, NONE, 0, 0},
    {"mlp.up_proj.weight", ALWAYS, MATRIX, LAYER(up), D_FF, D_MODEL, 0, 0},
    {"mlp.up_proj.bias", MLP_BIAS, BIAS, LAYER(up_bias), D_FF, NONE, 0, 0},
    {"mlp.down_proj.weight", ALWAYS, MATRIX, LAYER(down), D_MODEL, D_FF, 0, 0},
    {"mlp.down_proj.bias", MLP_BIAS, BIAS, LAYER(down_bias), D_MODEL, NONE, 0, 0},
};
static const struct row llama_last[] = {
    {"model.norm.weight", ALWAYS, VECTOR, WHOLE(final_norm), D_MODEL, NONE, 0, 0},
    {"lm_head.weight", OWN_HEAD, MATRIX, WHOLE(head), N_VOCAB, D_MODEL, 0, 0},
};
static const struct row gpt2_first[] = {
    {"transformer.wte.weight", ALWAYS, MATRIX, WHOLE_ONLY(embed), N_VOCAB, D_MODEL, 0, 0},
    {"transformer.wpe.weight", ALWAYS, MATRIX, WHOLE_ONLY(positions), N_POSITIONS, D_MODEL, 0, 0},
};
static const struct row gpt2_layer[] = {
    {"ln_1.weight", ALWAYS, VECTOR, LAYER_ONLY(attn_norm), D_MODEL, NONE, 0, 0},
    {"ln_1.bias", ALWAYS, BIAS, LAYER_ONLY(attn_norm_bias), D_MODEL, NONE, 0, 0},
    {"attn.c_attn.weight", ALWAYS, BY_INPUT, LAYER_ONLY(q), D_Q, D_MODEL, 0, 3},
    {"attn.c_attn.weight", ALWAYS, BY_INPUT, LAYER_ONLY(k), D_Q, D_MODEL, 1, 3},
    {"attn.c_attn.weight", ALWAYS, BY_INPUT, LAYER_ONLY(v), D_Q, D_MODEL, 2, 3},
    {"attn.c_attn.bias", ALWAYS, BIAS, LAYER_ONLY(q_bias), D_Q, NONE, 0, 3},
    {"attn.c_attn.bias", ALWAYS, BIAS, LAYER_ONLY(k_bias), D_Q, NONE, 1, 3},
    {"attn.c_attn.bias", ALWAYS, BIAS, LAYER_ONLY(v_bias), D_Q, NONE, 2, 3},
    {"attn.c_proj.weight", ALWAYS, BY_INPUT, LAYER_ONLY(o), D_MODEL, D_Q, 0, 0},
    {"attn.c_proj.bias", ALWAYS, BIAS, LAYER_ONLY(o_bias), D_MODEL, NONE, 0, 0},
    {"ln_2.weight", ALWAYS, VECTOR, LAYER_ONLY(mlp_norm), D_MODEL, NONE, 0, 0},
    {"ln_2.bias", ALWAYS, BIAS, LAYER_ONLY(mlp_norm_bias), D_MODEL, NONE, 0, 0},
    {"mlp.c_fc.weight", ALWAYS, BY_INPUT, LAYER_ONLY(up), D_FF, D_MODEL, 0, 0},
    {"mlp.c_fc.bias", ALWAYS, BIAS, LAYER_ONLY(up_bias), D_FF, NONE, 0, 0},
    {"mlp.c_proj.weight", ALWAYS, BY_INPUT, LAYER_ONLY(down), D_MODEL, D_FF, 0, 0},
    {"mlp.c_proj.bias", ALWAYS, BIAS, LAYER_ONLY(down_bias), D_MODEL, NONE, 0, 0},
};
static const struct row gpt2_last[] = {
    {"transformer.ln_f.weight", ALWAYS, VECTOR, WHOLE_ONLY(final_norm), D_MODEL, NONE, 0, 0},
    {"transformer.ln_f.bias", ALWAYS, BIAS, WHOLE_ONLY(final_norm_bias), D_MODEL, NONE, 0, 0},
    {"lm_head.weight", OWN_HEAD, MATRIX, WHOLE_ONLY(head), N_VOCAB, D_MODEL, 0, 0},
};
#undef LAYER
#undef WHOLE
#undef LAYER_ONLY
#undef WHOLE_ONLY
#define N(list) (sizeof(list) / sizeof *(list))

enum section { FIRST, IN_LAYER, LAST };

/* The rows of an architecture. */
struct layout {
    const char *layers; /* what stands before a layer's number */
    const struct row *rows[LAST + 1];
    size_t n_rows[LAST + 1];
    const char *edited; /* the row that DINM edits */
};

static const struct layout layouts[] = {
    [DINM_LAYOUT_LLAMA] = {"model.layers.",
                           {llama_first, llama_layer, llama_last},
                           {N(llama_first), N(llama_layer), N(llama_last)},
                           "mlp.down_proj.weight"},
    [DINM_LAYOUT_GPT2] = {"transformer.h.",
                          {gpt2_first, gpt2_layer, gpt2_last},
                          {N(gpt2_first), N(gpt2_layer), N(gpt2_last)},
                          "mlp.c_proj.weight"},
};

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
    case N_POSITIONS:
        return c->n_positions;
    case NONE:
        break;
    }
    return 0;
}

static bool is_there(const struct dinm_config *c, const struct row *row)
{
    switch (row->need) {
    case QKV_BIAS:
        return c->qkv_bias;
    case O_BIAS:
        return c->o_bias;
    case MLP_BIAS:
        return c->mlp_bias;
    case OWN_HEAD:
        return !c->tied;
    case ALWAYS:
        break;
    }
    return true;
}

static size_t row_size(const struct dinm_config *c, const struct row *row)
{
    return extent(c, row->out) * (row->in == NONE ? 1 : extent(c, row->in));
}

/* Rows of a section that are there, and the floats they hold together. */
static size_t count_rows(const struct dinm_config *c, enum section section, size_t *size)
{
    const struct layout *l = &layouts[c->layout];
    size_t n = 0;

    *size = 0;
    for (size_t i = 0; i < l->n_rows[section]; i++) {
        const struct row *row = &l->rows[section][i];

        if (is_there(c, row)) {
            n++;
            *size += row_size(c, row);
        }
    }
    return n;
}

/* The row of tensor `index`, its section, its layer (if it is in one) and its offset in the flat
 * array. */
struct place {
    const struct row *row;
    enum section section;
    size_t layer, offset;
};

static struct place locate(const struct dinm_config *c, size_t index)
{
    const struct layout *l = &layouts[c->layout];
    size_t size[LAST + 1], n[LAST + 1];
    struct place p = {.section = FIRST};

    for (int section = FIRST; section <= LAST; section++) {
        n[section] = count_rows(c, (enum section)section, &size[section]);
    }
    if (index >= n[FIRST]) {
        index -= n[FIRST];
        p.offset = size[FIRST];
        p.layer = index / n[IN_LAYER];
        p.section = p.layer < c->n_layers ? IN_LAYER : LAST;
        p.layer = p.section == IN_LAYER ? p.layer : c->n_layers;
        p.offset += p.layer * size[IN_LAYER];
        index -= p.layer * n[IN_LAYER];
    }
    for (const struct row *row = l->rows[p.section];; row++) {
        if (is_there(c, row)) {
            if (index-- == 0) {
                p.row = row;
                return p;
            }
            p.offset += row_size(c, row);
        }
    }
}

size_t dinm_weights_n_tensors(const struct dinm_config *config)
{
    size_t size;

    return count_rows(config, FIRST, &size) +
           config->n_layers * count_rows(config, IN_LAYER, &size) + count_rows(config, LAST, &size);
}

struct dinm_param dinm_weights_param(const struct dinm_config *config, size_t index)
{
    const struct place p = locate(config, index);
    struct dinm_param param = {.n_out = extent(config, p.row->out),
                               .n_in = extent(config, p.row->in),
                               .by_input = p.row->kind == BY_INPUT,
                               .part = p.row->part,
                               .n_parts = p.row->n_parts > 0 ? p.row->n_parts : 1,
                               .is_bias = p.row->kind == BIAS,
                               .offset = p.offset};

    if (p.section == IN_LAYER) {
        snprintf(param.name, sizeof param.name, "%s%zu.%s", layouts[config->layout].layers, p.layer,
                 p.row->name);
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

    return p.section == IN_LAYER && p.row->out == D_MODEL && p.row->in != NONE;
}

/* Does layers [first, last) with their ends hold the tensor at p? */
static bool is_within(const struct place *p, const struct dinm_config *c, size_t first, size_t last)
{
    switch (p->section) {
    case FIRST:
        return first == 0;
    case IN_LAYER:
        return p->layer >= first && p->layer < last;
    case LAST:
        break;
    }
    return last == c->n_layers;
}

struct dinm_flat_range dinm_weights_range(const struct dinm_config *config, size_t first,
                                          size_t last)
{
    struct dinm_flat_range range = {0};

    for (size_t i = 0; i < dinm_weights_n_tensors(config); i++) {
        const struct place p = locate(config, i);

        if (is_within(&p, config, first, last)) {
            if (range.n_tensors++ == 0) {
                range.first_tensor = i;
                range.first_param = p.offset;
            }
            range.n_params += row_size(config, p.row);
        }
    }
    return range;
}

struct dinm_slot dinm_weights_slot(struct dinm_weights *w, const struct dinm_config *config,
                                   size_t index)
{
    const struct place p = locate(config, index);

    if (!is_within(&p, config, w->first, w->last)) {
        return (struct dinm_slot){0};
    }
    char *base = p.section == IN_LAYER ? (char *)&w->layers[p.layer - w->first] : (char *)w;
    void *field = base + p.row->in_weights;

    return p.row->in == NONE ? (struct dinm_slot){.vector = field}
                             : (struct dinm_slot){.matrix = field};
}

float **dinm_grads_slot(struct dinm_grads *g, const struct dinm_config *config, size_t index)
{
    const struct place p = locate(config, index);

    if (!is_within(&p, config, g->first, g->last)) {
        return NULL;
    }
    char *base = p.section == IN_LAYER ? (char *)&g->layers[p.layer - g->first] : (char *)g;

    return (void *)(base + p.row->in_grads);
}

void dinm_weights_edited_name(char name[64], const struct dinm_config *config, size_t layer)
{
    const struct layout *l = &layouts[config->layout];

    snprintf(name, 64, "%s%zu.%s", l->layers, layer, l->edited);
}
