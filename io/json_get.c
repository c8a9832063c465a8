/* Values out of a JSON tree, with errors that name file, key, what was expected and found. */
#include "io/json.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Beyond it neighbouring integers are the same double. */
static const double exact_limit = 9007199254740992.0;

const cJSON *dinm_json_find(const cJSON *object, const char *key)
{
    const cJSON *item =
        cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, key) : NULL;

    return cJSON_IsNull(item) ? NULL : item;
}

const char *dinm_json_describe(const cJSON *value, char room[64])
{
    char digits[32];

    if (value == NULL || cJSON_IsInvalid(value)) {
        return "nothing";
    }
    if (cJSON_IsNull(value)) {
        return "null";
    }
    if (cJSON_IsBool(value)) {
        return cJSON_IsTrue(value) ? "true" : "false";
    }
    if (cJSON_IsArray(value)) {
        return "an array";
    }
    if (cJSON_IsObject(value)) {
        return "an object";
    }
    if (cJSON_IsNumber(value)) {
        snprintf(room, 64, "the number %s", dinm_json_format_double(value->valuedouble, digits));
        return room;
    }
    if (strlen(value->valuestring) > 40) {
        snprintf(room, 64, "a string of %zu bytes", strlen(value->valuestring));
        return room;
    }
    snprintf(room, 64, "the string \"%s\"", value->valuestring);
    return room;
}

static int fail_type(struct dinm_json j, const char *key, const char *expected,
                     struct dinm_error *err)
{
    char room[64];

    if (!cJSON_IsObject(j.object)) {
        return dinm_fail(err, DINM_FAILED, "%s: expected an object with the key '%s', found %s",
                         j.where, key, dinm_json_describe(j.object, room));
    }
    return dinm_fail(err, DINM_FAILED, "%s: key '%s': expected %s, found %s", j.where, key,
                     expected, dinm_json_describe(dinm_json_find(j.object, key), room));
}

int dinm_json_get_int(struct dinm_json j, const char *key, int64_t low, int64_t high, int64_t *out,
                      struct dinm_error *err)
{
    const cJSON *item = dinm_json_find(j.object, key);
    const double value = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    char expected[96];

    if (fabs(value) < exact_limit && value == floor(value) && (int64_t)value >= low &&
        (int64_t)value <= high) {
        *out = (int64_t)value;
        return DINM_OK;
    }
    if (high == INT64_MAX && low == INT64_MIN) {
        snprintf(expected, sizeof expected, "an integer below 2^53 in size");
    } else if (high == INT64_MAX) {
        snprintf(expected, sizeof expected, "an integer of at least %lld and below 2^53",
                 (long long)low);
    } else {
        snprintf(expected, sizeof expected, "an integer from %lld to %lld", (long long)low,
                 (long long)high);
    }
    return fail_type(j, key, expected, err);
}

int dinm_json_get_number(struct dinm_json j, const char *key, double *out, struct dinm_error *err)
{
    const cJSON *item = dinm_json_find(j.object, key);

    if (!cJSON_IsNumber(item)) {
        return fail_type(j, key, "a number", err);
    }
    *out = item->valuedouble;
    return DINM_OK;
}

int dinm_json_get_text(struct dinm_json j, const char *key, const char **out,
                       struct dinm_error *err)
{
    const cJSON *item = dinm_json_find(j.object, key);

    if (!cJSON_IsString(item)) {
        return fail_type(j, key, "a string", err);
    }
    *out = item->valuestring;
    return DINM_OK;
}

int dinm_json_get_object(struct dinm_json j, const char *key, const cJSON **out,
                         struct dinm_error *err)
{
    const cJSON *item = dinm_json_find(j.object, key);

    if (!cJSON_IsObject(item)) {
        return fail_type(j, key, "an object", err);
    }
    *out = item;
    return DINM_OK;
}

int dinm_json_get_array(struct dinm_json j, const char *key, const cJSON **out,
                        struct dinm_error *err)
{
    const cJSON *item = dinm_json_find(j.object, key);

    if (!cJSON_IsArray(item)) {
        return fail_type(j, key, "an array", err);
    }
    *out = item;
    return DINM_OK;
}

/* For the forms with a default: an absent key is fine, a place that is no object is not. */
static bool is_absent(struct dinm_json j, const char *key)
{
    return cJSON_IsObject(j.object) && dinm_json_find(j.object, key) == NULL;
}

int dinm_json_get_int_or(struct dinm_json j, const char *key, int64_t low, int64_t high,
                         int64_t *out, struct dinm_error *err)
{
    return is_absent(j, key) ? DINM_OK : dinm_json_get_int(j, key, low, high, out, err);
}

int dinm_json_get_number_or(struct dinm_json j, const char *key, double *out,
                            struct dinm_error *err)
{
    return is_absent(j, key) ? DINM_OK : dinm_json_get_number(j, key, out, err);
}

int dinm_json_get_text_or(struct dinm_json j, const char *key, const char **out,
                          struct dinm_error *err)
{
    return is_absent(j, key) ? DINM_OK : dinm_json_get_text(j, key, out, err);
}

int dinm_json_get_bool_or(struct dinm_json j, const char *key, bool *out, struct dinm_error *err)
{
    const cJSON *item = dinm_json_find(j.object, key);

    if (is_absent(j, key)) {
        return DINM_OK;
    }
    if (!cJSON_IsBool(item)) {
        return fail_type(j, key, "true or false", err);
    }
    *out = cJSON_IsTrue(item);
    return DINM_OK;
}
