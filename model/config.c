/* config.json of a decoder: sizes, and refusal of what this decoder does not compute. */
#include "model/config.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "model/config_private.h"

/* Every layer costs memory before the first of its tensors is looked for. */
enum { MOST_LAYERS = 100000 };

static const char *const silu[] = {"silu", "swish", NULL};
static const char *const gelu_new[] = {"gelu_new", "gelu_pytorch_tanh", NULL};

int dinm_config_demand(struct dinm_json j, const char *key, const char *const *wanted,
                       struct dinm_error *err)
{
    const char *found = wanted[0];
    int status = DINM_OK;

    TRY(dinm_json_get_text_or(j, key, &found, err));
    for (size_t i = 0; wanted[i] != NULL; i++) {
        if (strcmp(found, wanted[i]) == 0) {
            goto out;
        }
    }
    status = dinm_fail(err, DINM_FAILED, "%s: %s is \"%s\", but only \"%s\" is supported", j.where,
                       key, found, wanted[0]);
out:
    return status;
}

int dinm_config_demand_unset(struct dinm_json j, const char *key, struct dinm_error *err)
{
    const cJSON *value = dinm_json_find(j.object, key);
    char room[64];

    if (value == NULL || cJSON_IsFalse(value)) {
        return DINM_OK;
    }
    return dinm_fail(err, DINM_FAILED, "%s: %s is %s, which is not supported", j.where, key,
                     dinm_json_describe(value, room));
}

int dinm_config_size(struct dinm_json j, const char *key, size_t *to, int64_t otherwise,
                     int64_t most, struct dinm_error *err)
{
    int64_t value = otherwise;
    int status = DINM_OK;

    if (value == 0) {
        TRY(dinm_json_get_int(j, key, 1, most, &value, err));
    } else {
        TRY(dinm_json_get_int_or(j, key, 1, most, &value, err));
    }
    *to = (size_t)value;
out:
    return status;
}

static int read_eps(struct dinm_config *c, struct dinm_json j, const char *key, double otherwise,
                    struct dinm_error *err)
{
    double eps = otherwise;
    int status = DINM_OK;

    TRY(dinm_json_get_number_or(j, key, &eps, err));
    if (!(eps >= 0.0 && eps < 1.0)) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: %s must lie in [0, 1), found %g", j.where, key, eps));
    }
    c->norm_eps = (float)eps;
out:
    return status;
}

/* Heads must share the width, or say how large they are. */
static int read_heads(struct dinm_config *c, struct dinm_json j, int64_t kv_heads,
                      struct dinm_error *err)
{
    int status = DINM_OK;

    /* null: as many as heads; absent: the type's default. */
    const bool null =
        cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(j.object, "num_key_value_heads"));

    TRY(dinm_config_size(j, "num_key_value_heads", &c->n_kv_heads,
                         kv_heads > 0 && !null ? kv_heads : (int64_t)c->n_heads, INT_MAX, err));
    if (c->n_heads % c->n_kv_heads != 0) {
        TRY(dinm_fail(err, DINM_FAILED,
                      "%s: num_attention_heads (%zu) must be a multiple of num_key_value_heads "
                      "(%zu)",
                      j.where, c->n_heads, c->n_kv_heads));
    }
    if (dinm_json_find(j.object, "head_dim") == NULL && c->d_model % c->n_heads != 0) {
        TRY(dinm_fail(err, DINM_FAILED,
                      "%s: hidden_size (%zu) must be a multiple of num_attention_heads (%zu) "
                      "unless head_dim is given",
                      j.where, c->d_model, c->n_heads));
    }
    TRY(dinm_config_size(j, "head_dim", &c->d_head, (int64_t)(c->d_model / c->n_heads), INT_MAX,
                         err));
    if (c->d_head % 2 != 0) {
        TRY(dinm_fail(err, DINM_FAILED,
                      "%s: the size of a head must be even for rotary positions, found %zu",
                      j.where, c->d_head));
    }
    if (c->n_heads > INT_MAX / c->d_head) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: %zu heads of %zu are more than this program can count",
                      j.where, c->n_heads, c->d_head));
    }
out:
    return status;
}

/* Llama, Mistral and Qwen2: the same layers. What an absent key means is the library's default for
 * that type. */
static int read_llama_like(struct dinm_config *c, struct dinm_json j, int64_t kv_heads,
                           int64_t n_positions, struct dinm_error *err)
{
    int status = DINM_OK;

    TRY(dinm_config_demand(j, "hidden_act", silu, err));
    TRY(dinm_config_size(j, "num_hidden_layers", &c->n_layers, 0, MOST_LAYERS, err));
    TRY(dinm_config_size(j, "hidden_size", &c->d_model, 0, INT_MAX, err));
    TRY(dinm_config_size(j, "num_attention_heads", &c->n_heads, 0, INT_MAX, err));
    TRY(dinm_config_size(j, "intermediate_size", &c->d_ff, 0, INT_MAX, err));
    TRY(dinm_config_size(j, "vocab_size", &c->n_vocab, 0, INT_MAX, err));
    TRY(dinm_config_size(j, "max_position_embeddings", &c->n_positions, n_positions, INT_MAX, err));
    TRY(read_heads(c, j, kv_heads, err));
    TRY(read_eps(c, j, "rms_norm_eps", 1e-6, err));
    TRY(dinm_config_read_rope(c, j, err));
    TRY(dinm_json_get_bool_or(j, "tie_word_embeddings", &c->tied, err));
out:
    return status;
}

static int read_llama(struct dinm_config *c, struct dinm_json j, struct dinm_error *err)
{
    int status = DINM_OK;

    TRY(read_llama_like(c, j, 0, 2048, err));
    TRY(dinm_json_get_bool_or(j, "attention_bias", &c->qkv_bias, err));
    TRY(dinm_json_get_bool_or(j, "mlp_bias", &c->mlp_bias, err));
    c->o_bias = c->qkv_bias;
out:
    return status;
}

static int read_mistral(struct dinm_config *c, struct dinm_json j, struct dinm_error *err)
{
    int status = DINM_OK;

    TRY(read_llama_like(c, j, 8, 131072, err));
    TRY(dinm_config_demand_unset(j, "attention_bias", err));
    TRY(dinm_config_demand_unset(j, "mlp_bias", err));
    TRY(dinm_config_read_window(c, j, err));
out:
    return status;
}

static int read_qwen2(struct dinm_config *c, struct dinm_json j, struct dinm_error *err)
{
    int status = DINM_OK;

    TRY(read_llama_like(c, j, 32, 32768, err));
    TRY(dinm_config_demand_unset(j, "mlp_bias", err));
    TRY(dinm_config_read_window(c, j, err));
    c->qkv_bias = true;
out:
    return status;
}

static int read_gpt2(struct dinm_config *c, struct dinm_json j, struct dinm_error *err)
{
    bool scaled = true;
    int status = DINM_OK;

    c->layout = DINM_LAYOUT_GPT2;
    c->mlp = DINM_MLP_GELU_NEW;
    c->layer_norm = c->learned_positions = true;
    c->qkv_bias = c->o_bias = c->mlp_bias = true;
    c->tied = true;
    TRY(dinm_config_demand(j, "activation_function", gelu_new, err));
    TRY(dinm_config_demand_unset(j, "scale_attn_by_inverse_layer_idx", err));
    TRY(dinm_config_demand_unset(j, "add_cross_attention", err));
    TRY(dinm_json_get_bool_or(j, "scale_attn_weights", &scaled, err));
    if (!scaled) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: scale_attn_weights is false, which is not supported",
                      j.where));
    }
    TRY(dinm_config_size(j, "n_layer", &c->n_layers, 0, MOST_LAYERS, err));
    TRY(dinm_config_size(j, "n_embd", &c->d_model, 0, INT_MAX / 4, err));
    TRY(dinm_config_size(j, "n_head", &c->n_heads, 0, INT_MAX, err));
    TRY(dinm_config_size(j, "vocab_size", &c->n_vocab, 0, INT_MAX, err));
    TRY(dinm_config_size(j, "n_positions", &c->n_positions, 1024, INT_MAX, err));
    TRY(dinm_config_size(j, "n_inner", &c->d_ff, 4 * (int64_t)c->d_model, INT_MAX, err));
    if (c->d_model % c->n_heads != 0) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: n_embd (%zu) must be a multiple of n_head (%zu)",
                      j.where, c->d_model, c->n_heads));
    }
    c->n_kv_heads = c->n_heads;
    c->d_head = c->d_model / c->n_heads;
    TRY(read_eps(c, j, "layer_norm_epsilon", 1e-5, err));
    TRY(dinm_json_get_bool_or(j, "tie_word_embeddings", &c->tied, err));
out:
    return status;
}

static const struct {
    const char *type;
    int (*read)(struct dinm_config *c, struct dinm_json j, struct dinm_error *err);
} readers[] = {
    {"llama", read_llama}, {"mistral", read_mistral}, {"qwen2", read_qwen2}, {"gpt2", read_gpt2}};

static int read_config(struct dinm_config *c, struct dinm_json j, struct dinm_error *err)
{
    const char *type = NULL;
    int status = DINM_OK;

    TRY(dinm_json_get_text(j, "model_type", &type, err));
    TRY(dinm_config_demand_unset(j, "quantization_config", err));
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
        if (strcmp(type, readers[i].type) == 0) {
            c->type = readers[i].type;
            TRY(readers[i].read(c, j, err));
            goto out;
        }
    }
    status = dinm_fail(err, DINM_FAILED,
                       "%s: model_type is \"%s\", but only llama, mistral, qwen2 and gpt2 are "
                       "supported",
                       j.where, type);
out:
    return status;
}

int dinm_config_load(struct dinm_config *config, const char *folder, struct dinm_error *err)
{
    struct dinm_config c = {0};
    char *path = dinm_path_join(folder, "config.json", err);
    cJSON *tree = NULL;
    int status = DINM_OK;

    TRY(path != NULL ? DINM_OK : DINM_FAILED);
    TRY(dinm_json_load(path, &tree, err));
    if (!cJSON_IsObject(tree)) {
        char room[64];

        TRY(dinm_fail(err, DINM_FAILED, "%s: expected an object, found %s", path,
                      dinm_json_describe(tree, room)));
    }
    TRY(read_config(&c, (struct dinm_json){tree, path}, err));
    *config = c;
out:
    cJSON_Delete(tree);
    free(path);
    return status;
}

size_t dinm_config_window(const struct dinm_config *config, size_t layer)
{
    return layer >= config->window_first ? config->window : 0;
}
