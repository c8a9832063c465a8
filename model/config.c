/* config.json of a Llama checkpoint: sizes, and refusal of what this decoder does not compute. */
#include "model/config.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "io/json.h"

/* A text key that must have the one value that is computed here; absent counts as that value. */
static int demand_text(struct dinm_json j, const char *key, const char *wanted,
                       struct dinm_error *err)
{
    const char *found = wanted;
    int status = DINM_OK;

    TRY(dinm_json_get_text_or(j, key, &found, err));
    if (strcmp(found, wanted) != 0) {
        status = dinm_fail(err, DINM_FAILED, "%s: %s is \"%s\", but only \"%s\" is supported",
                           j.where, key, found, wanted);
    }
out:
    return status;
}

/* A key that must be absent, null or false. */
static int demand_unset(struct dinm_json j, const char *key, struct dinm_error *err)
{
    const cJSON *value = dinm_json_find(j.object, key);
    char room[64];

    if (value == NULL || cJSON_IsFalse(value)) {
        return DINM_OK;
    }
    return dinm_fail(err, DINM_FAILED, "%s: %s is %s, which is not supported", j.where, key,
                     dinm_json_describe(value, room));
}

static int check_kind(struct dinm_json j, struct dinm_error *err)
{
    static const char *const unset[] = {"attention_bias", "mlp_bias", "rope_scaling",
                                        "quantization_config", "partial_rotary_factor"};
    const char *type = NULL;
    int status = DINM_OK;

    TRY(dinm_json_get_text(j, "model_type", &type, err));
    TRY(demand_text(j, "model_type", "llama", err));
    TRY(demand_text(j, "hidden_act", "silu", err));
    for (size_t i = 0; i < sizeof unset / sizeof *unset; i++) {
        TRY(demand_unset(j, unset[i], err));
    }
out:
    return status;
}

/* rope_theta, or the object rope_parameters that newer files have in its place. */
static int read_rope(struct dinm_config *c, struct dinm_json j, struct dinm_error *err)
{
    int status = DINM_OK;

    c->rope_theta = 10000.0;
    TRY(dinm_json_get_number_or(j, "rope_theta", &c->rope_theta, err));
    if (dinm_json_find(j.object, "rope_parameters") != NULL) {
        const cJSON *object = NULL;

        TRY(dinm_json_get_object(j, "rope_parameters", &object, err));
        const struct dinm_json inner = {object, j.where};

        TRY(demand_text(inner, "rope_type", "default", err));
        TRY(demand_unset(inner, "partial_rotary_factor", err));
        TRY(dinm_json_get_number_or(inner, "rope_theta", &c->rope_theta, err));
    }
    if (!(c->rope_theta > 0.0)) {
        status = dinm_fail(err, DINM_FAILED, "%s: rope_theta must be positive, found %g", j.where,
                           c->rope_theta);
    }
out:
    return status;
}

struct size_key {
    const char *key;
    size_t *to;
    int64_t or ; /* value if absent; 0: the key must be there */
    int64_t most;
};

/* Every layer costs memory before the first of its tensors is looked for. */
enum { MOST_LAYERS = 100000 };

static int read_size(struct dinm_json j, struct size_key k, struct dinm_error *err)
{
    int64_t value = k.or ;
    int status = DINM_OK;

    if (value == 0) {
        TRY(dinm_json_get_int(j, k.key, 1, k.most, &value, err));
    } else {
        TRY(dinm_json_get_int_or(j, k.key, 1, k.most, &value, err));
    }
    *k.to = (size_t)value;
out:
    return status;
}

static int read_sizes(struct dinm_config *c, struct dinm_json j, struct dinm_error *err)
{
    const struct size_key keys[] = {
        {"num_hidden_layers", &c->n_layers, 0, MOST_LAYERS},
        {"hidden_size", &c->d_model, 0, INT_MAX},
        {"num_attention_heads", &c->n_heads, 0, INT_MAX},
        {"intermediate_size", &c->d_ff, 0, INT_MAX},
        {"vocab_size", &c->n_vocab, 0, INT_MAX},
        {"max_position_embeddings", &c->n_positions, 2048, INT_MAX},
    };
    int status = DINM_OK;

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        TRY(read_size(j, keys[i], err));
    }
    TRY(read_size(
        j, (struct size_key){"num_key_value_heads", &c->n_kv_heads, (int64_t)c->n_heads, INT_MAX},
        err));
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
    const size_t share = c->d_model / c->n_heads;

    TRY(read_size(
        j, (struct size_key){"head_dim", &c->d_head, share > 0 ? (int64_t)share : 0, INT_MAX},
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

static int read_config(struct dinm_config *c, struct dinm_json j, struct dinm_error *err)
{
    double eps = 1e-6;
    int status = DINM_OK;

    TRY(check_kind(j, err));
    TRY(read_sizes(c, j, err));
    TRY(read_rope(c, j, err));
    TRY(dinm_json_get_number_or(j, "rms_norm_eps", &eps, err));
    if (!(eps >= 0.0 && eps < 1.0)) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: rms_norm_eps must lie in [0, 1), found %g", j.where,
                      eps));
    }
    c->norm_eps = (float)eps;
    TRY(dinm_json_get_bool_or(j, "tie_word_embeddings", &c->tied, err));
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
