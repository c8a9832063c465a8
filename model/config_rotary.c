/* Rotary positions and sliding windows in config.json. */
#include <limits.h>
#include <math.h>
#include <string.h>
#include "model/config_private.h"

static int demand_positive(struct dinm_json j, const char *key, double value,
                           struct dinm_error *err)
{
    if (value > 0.0 && isfinite(value)) {
        return DINM_OK;
    }
    return dinm_fail(err, DINM_FAILED, "%s: %s must be a positive number, found %g", j.where, key,
                     value);
}

static int read_factor(struct dinm_json j, const char *key, double *to, struct dinm_error *err)
{
    int status = DINM_OK;

    TRY(dinm_json_get_number(j, key, to, err));
    TRY(demand_positive(j, key, *to, err));
out:
    return status;
}

static int read_llama3(struct dinm_rope_scaling *s, struct dinm_json j, struct dinm_error *err)
{
    int status = DINM_OK;

    s->kind = DINM_ROPE_LLAMA3;
    TRY(read_factor(j, "factor", &s->factor, err));
    TRY(read_factor(j, "low_freq_factor", &s->low_freq_factor, err));
    TRY(read_factor(j, "high_freq_factor", &s->high_freq_factor, err));
    TRY(read_factor(j, "original_max_position_embeddings", &s->n_positions, err));
    if (s->high_freq_factor <= s->low_freq_factor) {
        TRY(dinm_fail(err, DINM_FAILED,
                      "%s: high_freq_factor (%g) must be above low_freq_factor (%g)", j.where,
                      s->high_freq_factor, s->low_freq_factor));
    }
out:
    return status;
}

/* The object of rope_scaling or rope_parameters; its kind is called type or rope_type. */
static int read_scaling(struct dinm_config *c, struct dinm_json j, struct dinm_error *err)
{
    const char *kind = "default";
    double share = 1.0;
    int status = DINM_OK;

    TRY(dinm_json_get_text_or(j, "type", &kind, err));
    TRY(dinm_json_get_text_or(j, "rope_type", &kind, err));
    TRY(dinm_json_get_number_or(j, "partial_rotary_factor", &share, err));
    if (share != 1.0) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: partial_rotary_factor is %g, but only 1 is supported",
                      j.where, share));
    }
    if (strcmp(kind, "linear") == 0) {
        c->rope_scaling.kind = DINM_ROPE_LINEAR;
        TRY(read_factor(j, "factor", &c->rope_scaling.factor, err));
    } else if (strcmp(kind, "llama3") == 0) {
        TRY(read_llama3(&c->rope_scaling, j, err));
    } else if (strcmp(kind, "default") != 0) {
        TRY(dinm_fail(err, DINM_FAILED,
                      "%s: the rotary positions' rope_type is \"%s\", but only default, linear and "
                      "llama3 are supported",
                      j.where, kind));
    }
out:
    return status;
}

int dinm_config_read_rope(struct dinm_config *c, struct dinm_json j, struct dinm_error *err)
{
    static const char *const keys[] = {"rope_scaling", "rope_parameters"};
    double share = 1.0;
    int status = DINM_OK;

    c->rope_theta = 10000.0;
    TRY(dinm_json_get_number_or(j, "rope_theta", &c->rope_theta, err));
    TRY(dinm_json_get_number_or(j, "partial_rotary_factor", &share, err));
    if (share != 1.0) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: partial_rotary_factor is %g, but only 1 is supported",
                      j.where, share));
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const cJSON *object = NULL;

        if (dinm_json_find(j.object, keys[i]) == NULL) {
            continue;
        }
        TRY(dinm_json_get_object(j, keys[i], &object, err));
        const struct dinm_json inner = {object, j.where};

        TRY(dinm_json_get_number_or(inner, "rope_theta", &c->rope_theta, err));
        TRY(read_scaling(c, inner, err));
    }
    TRY(demand_positive(j, "rope_theta", c->rope_theta, err));
out:
    return status;
}

/* layer_types, where it is there, says the same once more: full layers first, then windowed ones.
 * It decides. */
static int read_layer_types(struct dinm_config *c, struct dinm_json j, struct dinm_error *err)
{
    const cJSON *list = NULL;
    size_t n = 0;
    bool seen = false;
    int status = DINM_OK;

    if (dinm_json_find(j.object, "layer_types") == NULL) {
        return DINM_OK;
    }
    TRY(dinm_json_get_array(j, "layer_types", &list, err));
    c->window_first = c->n_layers;
    for (const cJSON *item = list->child; item != NULL; item = item->next, n++) {
        const char *type = cJSON_IsString(item) ? item->valuestring : "";
        const bool slides = strcmp(type, "sliding_attention") == 0;

        if ((!slides && strcmp(type, "full_attention") != 0) || (seen && !slides)) {
            TRY(dinm_fail(err, DINM_FAILED,
                          "%s: layer_types: expected full_attention for the first layers and "
                          "sliding_attention from some layer on, found another order or type at "
                          "layer %zu",
                          j.where, n));
        }
        c->window_first = slides && !seen ? n : c->window_first;
        seen = seen || slides;
    }
    if (n != c->n_layers) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: layer_types has %zu entries for %zu layers", j.where,
                      n, c->n_layers));
    }
    if (!seen) {
        c->window = 0;
    } else if (c->window == 0) {
        TRY(dinm_fail(err, DINM_FAILED,
                      "%s: layer_types has sliding_attention, but sliding_window is off", j.where));
    }
out:
    return status;
}

int dinm_config_read_window(struct dinm_config *c, struct dinm_json j, struct dinm_error *err)
{
    const bool qwen2 = strcmp(c->type, "qwen2") == 0;
    const cJSON *given = cJSON_GetObjectItemCaseSensitive(j.object, "sliding_window");
    bool used = true;
    int64_t window = 4096, first = 28; /* where the key is absent; null: no window */
    int status = DINM_OK;

    if (qwen2) {
        used = false;
        TRY(dinm_json_get_bool_or(j, "use_sliding_window", &used, err));
        TRY(dinm_json_get_int_or(j, "max_window_layers", 0, INT_MAX, &first, err));
        c->window_first = (size_t)first;
    }
    if (used && !cJSON_IsNull(given)) {
        TRY(dinm_json_get_int_or(j, "sliding_window", 1, INT_MAX, &window, err));
        c->window = (size_t)window;
    }
    TRY(read_layer_types(c, j, err));
    if (c->window_first >= c->n_layers) {
        c->window = 0;
    }
    if (c->window == 0) {
        c->window_first = 0;
    }
out:
    return status;
}
