/* config.json of a RobertaForSequenceClassification, with Hugging Face's defaults. */
#include "model/encoder_private.h"

#include <stdlib.h>
#include <string.h>
#include "io/json.h"

/* A text key that, if present, must have the one value that this encoder computes. */
static int demand(struct dinm_json j, const char *key, const char *expected, struct dinm_error *err)
{
    const char *found = expected;
    if (dinm_json_get_text_or(j, key, &found, err) < 0) {
        return DINM_FAILED;
    }
    if (strcmp(found, expected) != 0) {
        return dinm_fail(err, DINM_FAILED, "%s: %s is \"%s\", but only \"%s\" is supported",
                         j.where, key, found, expected);
    }
    return DINM_OK;
}

static int check_architecture(struct dinm_json j, struct dinm_error *err)
{
    static const char wanted[] = "RobertaForSequenceClassification";
    const char *type = NULL;
    if (dinm_json_get_text(j, "model_type", &type, err) < 0) {
        return DINM_FAILED;
    }
    if (strcmp(type, "bert") == 0) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: model_type is \"bert\", whose WordPiece tokenizer is not built; a "
                         "judge must be of type \"roberta\"",
                         j.where);
    }
    if (strcmp(type, "roberta") != 0) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: model_type is \"%s\", but a judge must be of type \"roberta\"",
                         j.where, type);
    }
    if (dinm_json_find(j.object, "architectures") == NULL) {
        return DINM_OK;
    }
    const cJSON *names = NULL;
    if (dinm_json_get_array(j, "architectures", &names, err) < 0) {
        return DINM_FAILED;
    }
    const cJSON *name = NULL;
    cJSON_ArrayForEach(name, names)
    {
        if (cJSON_IsString(name) && strcmp(name->valuestring, wanted) == 0) {
            return DINM_OK;
        }
    }
    char room[64];
    return dinm_fail(err, DINM_FAILED, "%s: architectures must contain \"%s\", but begins with %s",
                     j.where, wanted, dinm_json_describe(names->child, room));
}

/* The number of names in id2label, or num_labels, or Hugging Face's default of 2. */
static int read_n_labels(struct dinm_json j, int64_t *n_labels, struct dinm_error *err)
{
    int status = DINM_OK;
    const cJSON *names = NULL;
    *n_labels = 2;
    if (dinm_json_find(j.object, "id2label") != NULL) {
        TRY(dinm_json_get_object(j, "id2label", &names, err));
        *n_labels = cJSON_GetArraySize(names);
    }
    const int64_t n_names = *n_labels;
    TRY(dinm_json_get_int_or(j, "num_labels", 1, INT32_MAX, n_labels, err));
    if (names != NULL && *n_labels != n_names) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: num_labels is %lld, but id2label has %lld names",
                      j.where, (long long)*n_labels, (long long)n_names));
    }
    if (*n_labels < 1) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: id2label names no label", j.where));
    }
out:
    return status;
}

/* A quantised checkpoint is refused by the name of its method. */
static int check_plain(struct dinm_json j, struct dinm_error *err)
{
    int status = DINM_OK;
    const cJSON *quantised = NULL;
    const char *method = "unknown";
    if (dinm_json_find(j.object, "quantization_config") == NULL) {
        return DINM_OK;
    }
    TRY(dinm_json_get_object(j, "quantization_config", &quantised, err));
    TRY(dinm_json_get_text_or((struct dinm_json){quantised, j.where}, "quant_method", &method,
                              err));
    status = dinm_fail(err, DINM_FAILED,
                       "%s: the checkpoint is quantised (quant_method \"%s\"); give one in F32, "
                       "F16 or BF16",
                       j.where, method);
out:
    return status;
}

static int read_sizes(struct dinm_encoder_config *c, struct dinm_json j, struct dinm_error *err)
{
    enum { MAX_LAYERS = 100000 };
    struct {
        const char *key;
        int64_t max, value; /* value: the default, or 0 if the key must be there */
        size_t *out;
    } sizes[] = {
        {"hidden_size", INT32_MAX, 0, &c->d_model},
        {"num_hidden_layers", MAX_LAYERS, 0, &c->n_layers},
        {"num_attention_heads", INT32_MAX, 0, &c->n_heads},
        {"intermediate_size", INT32_MAX, 0, &c->d_ff},
        {"vocab_size", INT32_MAX, 0, &c->n_vocab},
        {"max_position_embeddings", INT32_MAX, 0, &c->n_positions},
        {"type_vocab_size", INT32_MAX, 2, &c->n_types},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int status =
            sizes[i].value == 0
                ? dinm_json_get_int(j, sizes[i].key, 1, sizes[i].max, &sizes[i].value, err)
                : dinm_json_get_int_or(j, sizes[i].key, 1, sizes[i].max, &sizes[i].value, err);
        if (status < 0) {
            return status;
        }
        *sizes[i].out = (size_t)sizes[i].value;
    }
    return DINM_OK;
}

static int check_sizes(const struct dinm_encoder_config *c, const char *where,
                       struct dinm_error *err)
{
    if (c->d_model % c->n_heads != 0) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: hidden_size %zu is no multiple of num_attention_heads %zu", where,
                         c->d_model, c->n_heads);
    }
    if (c->n_positions <= (size_t)c->pad_id + 1) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: max_position_embeddings is %zu, but positions are counted from "
                         "pad_token_id + 1 = %zu",
                         where, c->n_positions, (size_t)c->pad_id + 1);
    }
    double d = (double)c->d_model;
    double n_params = d * ((double)c->n_vocab + (double)c->n_positions + (double)c->n_types) +
                      (double)c->n_layers * d * (4.0 * d + 2.0 * (double)c->d_ff) +
                      d * (d + (double)c->n_labels);
    if (n_params > 0x1p42) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: the sizes ask for %.3g parameters, which is beyond "
                         "any memory",
                         where, n_params);
    }
    return DINM_OK;
}

static int read_config(struct dinm_encoder_config *c, struct dinm_json j, struct dinm_error *err)
{
    int status = DINM_OK;
    int64_t n_labels = 0;
    int64_t pad = 1;
    double eps = 1e-12;
    bool is_decoder = false;
    TRY(check_architecture(j, err));
    TRY(check_plain(j, err));
    TRY(demand(j, "hidden_act", "gelu", err));
    TRY(demand(j, "position_embedding_type", "absolute", err));
    TRY(dinm_json_get_bool_or(j, "is_decoder", &is_decoder, err));
    if (is_decoder) {
        return dinm_fail(err, DINM_FAILED, "%s: is_decoder is true, but a judge is an encoder",
                         j.where);
    }
    TRY(read_sizes(c, j, err));
    TRY(read_n_labels(j, &n_labels, err));
    TRY(dinm_json_get_int_or(j, "pad_token_id", 0, (int64_t)c->n_vocab - 1, &pad, err));
    TRY(dinm_json_get_number_or(j, "layer_norm_eps", &eps, err));
    if (!(eps > 0.0 && eps < 1.0)) {
        return dinm_fail(err, DINM_FAILED, "%s: layer_norm_eps must lie between 0 and 1, found %g",
                         j.where, eps);
    }
    c->n_labels = (size_t)n_labels;
    c->pad_id = (int32_t)pad;
    c->norm_eps = (float)eps;
    TRY(check_sizes(c, j.where, err));
out:
    return status;
}

int dinm_encoder_config_read(struct dinm_encoder_config *config, const char *path,
                             struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *tree = NULL;
    struct dinm_encoder_config found = {0};
    TRY(dinm_json_load(path, &tree, err));
    if (!cJSON_IsObject(tree)) {
        char room[64];
        status = dinm_fail(err, DINM_FAILED, "%s: expected an object, found %s", path,
                           dinm_json_describe(tree, room));
        goto out;
    }
    TRY(read_config(&found, (struct dinm_json){tree, path}, err));
    *config = found;
out:
    cJSON_Delete(tree);
    return status;
}

int dinm_encoder_config_load(struct dinm_encoder_config *config, const char *folder,
                             struct dinm_error *err)
{
    char *path = dinm_path_join(folder, "config.json", err);
    if (path == NULL) {
        return DINM_FAILED;
    }
    int status = dinm_encoder_config_read(config, path, err);
    free(path);
    return status;
}

size_t dinm_encoder_max_tokens(const struct dinm_encoder_config *config)
{
    return config->n_positions - (size_t)config->pad_id - 1;
}
