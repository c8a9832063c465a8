/* The encoder's tensors: one table of names and shapes drives binding, gradients, initial values,
 * loading and writing. Names as Hugging Face's RobertaForSequenceClassification has them. */
#include "model/encoder_private.h"

#include <stdio.h>
#include "model/random.h"

/* Sizes that a shape is made of. */
enum size_word { NONE, D_MODEL, D_FF, N_VOCAB, N_POSITIONS, N_TYPES, N_LABELS };
enum first_value { NORMAL, ZERO, ONE };

struct row {
    const char *name; /* behind the prefix of its group */
    enum size_word n_out, n_in;
    enum first_value init;
};

static const struct row embed_rows[N_EMBED_TENSORS] = {
    [WORD] = {"word_embeddings.weight", N_VOCAB, D_MODEL, NORMAL},
    [POSITION] = {"position_embeddings.weight", N_POSITIONS, D_MODEL, NORMAL},
    [TYPE] = {"token_type_embeddings.weight", N_TYPES, D_MODEL, NORMAL},
    [EMBED_GAIN] = {"LayerNorm.weight", D_MODEL, NONE, ONE},
    [EMBED_BIAS] = {"LayerNorm.bias", D_MODEL, NONE, ZERO},
};

static const struct row layer_rows[N_LAYER_TENSORS] = {
    [Q_WEIGHT] = {"attention.self.query.weight", D_MODEL, D_MODEL, NORMAL},
    [Q_BIAS] = {"attention.self.query.bias", D_MODEL, NONE, ZERO},
    [K_WEIGHT] = {"attention.self.key.weight", D_MODEL, D_MODEL, NORMAL},
    [K_BIAS] = {"attention.self.key.bias", D_MODEL, NONE, ZERO},
    [V_WEIGHT] = {"attention.self.value.weight", D_MODEL, D_MODEL, NORMAL},
    [V_BIAS] = {"attention.self.value.bias", D_MODEL, NONE, ZERO},
    [O_WEIGHT] = {"attention.output.dense.weight", D_MODEL, D_MODEL, NORMAL},
    [O_BIAS] = {"attention.output.dense.bias", D_MODEL, NONE, ZERO},
    [MID_GAIN] = {"attention.output.LayerNorm.weight", D_MODEL, NONE, ONE},
    [MID_BIAS] = {"attention.output.LayerNorm.bias", D_MODEL, NONE, ZERO},
    [UP_WEIGHT] = {"intermediate.dense.weight", D_FF, D_MODEL, NORMAL},
    [UP_BIAS] = {"intermediate.dense.bias", D_FF, NONE, ZERO},
    [DOWN_WEIGHT] = {"output.dense.weight", D_MODEL, D_FF, NORMAL},
    [DOWN_BIAS] = {"output.dense.bias", D_MODEL, NONE, ZERO},
    [OUT_GAIN] = {"output.LayerNorm.weight", D_MODEL, NONE, ONE},
    [OUT_BIAS] = {"output.LayerNorm.bias", D_MODEL, NONE, ZERO},
};

static const struct row head_rows[N_HEAD_TENSORS] = {
    [DENSE_WEIGHT] = {"dense.weight", D_MODEL, D_MODEL, NORMAL},
    [DENSE_BIAS] = {"dense.bias", D_MODEL, NONE, ZERO},
    [LABEL_WEIGHT] = {"out_proj.weight", N_LABELS, D_MODEL, NORMAL},
    [LABEL_BIAS] = {"out_proj.bias", N_LABELS, NONE, ZERO},
};

static size_t size_of(const struct dinm_encoder_config *c, enum size_word word)
{
    switch (word) {
    case NONE:
        return 0;
    case D_MODEL:
        return c->d_model;
    case D_FF:
        return c->d_ff;
    case N_VOCAB:
        return c->n_vocab;
    case N_POSITIONS:
        return c->n_positions;
    case N_TYPES:
        return c->n_types;
    case N_LABELS:
        return c->n_labels;
    }
    return 0;
}

static size_t row_floats(const struct dinm_encoder_config *c, const struct row *row)
{
    size_t n_in = size_of(c, row->n_in);
    return size_of(c, row->n_out) * (n_in == 0 ? 1 : n_in);
}

static size_t rows_floats(const struct dinm_encoder_config *c, const struct row *rows, size_t n)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += row_floats(c, &rows[i]);
    }
    return sum;
}

size_t dinm_encoder_n_tensors(const struct dinm_encoder_config *config)
{
    return N_EMBED_TENSORS + config->n_layers * N_LAYER_TENSORS + N_HEAD_TENSORS;
}

size_t dinm_encoder_n_params(const struct dinm_encoder_config *config)
{
    return rows_floats(config, embed_rows, N_EMBED_TENSORS) +
           config->n_layers * rows_floats(config, layer_rows, N_LAYER_TENSORS) +
           rows_floats(config, head_rows, N_HEAD_TENSORS);
}

/* Tensor `index` as its table row, with what comes before it. */
static const struct row *find_row(const struct dinm_encoder_config *c, size_t index,
                                  char prefix[64], size_t *offset)
{
    const size_t n_embed = rows_floats(c, embed_rows, N_EMBED_TENSORS);
    if (index < N_EMBED_TENSORS) {
        snprintf(prefix, 64, "roberta.embeddings.");
        *offset = rows_floats(c, embed_rows, index);
        return &embed_rows[index];
    }
    const size_t n_layer = rows_floats(c, layer_rows, N_LAYER_TENSORS);
    const size_t layer = (index - N_EMBED_TENSORS) / N_LAYER_TENSORS;
    const size_t slot = (index - N_EMBED_TENSORS) % N_LAYER_TENSORS;
    if (layer < c->n_layers) {
        snprintf(prefix, 64, "roberta.encoder.layer.%zu.", layer);
        *offset = n_embed + layer * n_layer + rows_floats(c, layer_rows, slot);
        return &layer_rows[slot];
    }
    snprintf(prefix, 64, "classifier.");
    *offset = n_embed + c->n_layers * n_layer + rows_floats(c, head_rows, slot);
    return &head_rows[slot];
}

struct dinm_flat_range dinm_encoder_range(const struct dinm_encoder_config *config, size_t first,
                                          size_t last)
{
    const size_t n_all = dinm_encoder_n_tensors(config);
    const size_t from = first == 0 ? 0 : N_EMBED_TENSORS + first * N_LAYER_TENSORS;
    const size_t to = last == config->n_layers ? n_all : N_EMBED_TENSORS + last * N_LAYER_TENSORS;
    char prefix[64];
    struct dinm_flat_range range = {.first_tensor = from, .n_tensors = to - from};
    size_t end = dinm_encoder_n_params(config);

    find_row(config, from, prefix, &range.first_param);
    if (to < n_all) {
        find_row(config, to, prefix, &end);
    }
    range.n_params = end - range.first_param;
    return range;
}

struct dinm_param dinm_encoder_param(const struct dinm_encoder_config *config, size_t index)
{
    struct dinm_param param = {0};
    char prefix[64];
    const struct row *row = find_row(config, index, prefix, &param.offset);
    /* The longest prefix has 28 characters (MAX_LAYERS in the config), the longest name 33. */
    snprintf(param.name, sizeof param.name, "%.28s%.35s", prefix, row->name);
    param.n_out = size_of(config, row->n_out);
    param.n_in = size_of(config, row->n_in);
    return param;
}

void dinm_encoder_init_flat(float *flat, const struct dinm_encoder_config *config, size_t first,
                            size_t last, uint64_t seed)
{
    const struct dinm_flat_range range = dinm_encoder_range(config, first, last);
    for (size_t i = 0; i < range.n_tensors; i++) {
        char prefix[64];
        size_t offset = 0;
        const struct row *row = find_row(config, range.first_tensor + i, prefix, &offset);
        const size_t end = offset + row_floats(config, row);
        for (size_t k = offset; k < end; k++) {
            flat[k - range.first_param] = row->init == NORMAL
                                              ? (float)(0.02 * dinm_random_normal(seed, 0, k))
                                              : (row->init == ONE ? 1.0f : 0.0f);
        }
    }
}
