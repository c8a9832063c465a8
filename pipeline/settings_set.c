/* One value: what a row accepts, and how it is stored. */
#include "pipeline/settings.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "io/json.h"
#include "pipeline/settings_table.h"

static int put_list(const char *const *words, struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    for (size_t i = 0; words[i] != NULL; i++) {
        TRY(dinm_buffer_append_format(out, err, "%s%s", i > 0 ? ", " : "", words[i]));
    }
out:
    return status;
}

int dinm_settings_expected(const struct dinm_setting *row, struct dinm_buffer *out,
                           struct dinm_error *err)
{
    int status = DINM_OK;
    switch (row->kind) {
    case DINM_KIND_BOOL:
        if (row->choices == NULL) {
            return dinm_buffer_append_text(out, "true or false", err);
        }
        break;
    case DINM_KIND_CHOICE:
        break;
    case DINM_KIND_INT:
        return dinm_buffer_append_format(out, err, "a whole number from %.0f to %.0f", row->low,
                                         row->high);
    case DINM_KIND_NUMBER:
        return dinm_buffer_append_format(out, err, "a number from %g to %.0f", row->low, row->high);
    case DINM_KIND_TEXT:
        return dinm_buffer_append_text(out, "a text", err);
    case DINM_KIND_TEMPLATE:
        TRY(dinm_buffer_append_text(out, "a text with {prompt} in it once, or one of", err));
        for (size_t i = 0; dinm_templates[i].name != NULL; i++) {
            TRY(dinm_buffer_append_format(out, err, "%s %s", i > 0 ? "," : "",
                                          dinm_templates[i].name));
        }
        return DINM_OK;
    case DINM_KIND_PATH:
        return dinm_buffer_append_text(out, "a path", err);
    case DINM_KIND_LAYERS:
        return dinm_buffer_append_text(out, "a list of different whole numbers like [28,29]", err);
    case DINM_KIND_COUNTS:
        return dinm_buffer_append_text(out, "a list of whole numbers from 1 like [6,6,5,5]", err);
    }
    TRY(dinm_buffer_append_text(out, row->choices[1] != NULL ? "one of " : "", err));
    TRY(put_list(row->choices, out, err));
out:
    return status;
}

static int wrong_value(const struct dinm_setting *row, const cJSON *value, const char *where,
                       struct dinm_error *err)
{
    int status = DINM_OK;
    char room[64];
    struct dinm_buffer expected = {0}, found = {0};
    TRY(dinm_settings_expected(row, &expected, err));
    if (cJSON_IsString(value)) {
        TRY(dinm_buffer_append_format(&found, err, "\"%s\"", value->valuestring));
    } else {
        TRY(dinm_buffer_append_text(&found, dinm_json_describe(value, room), err));
    }
    status = dinm_fail(err, DINM_USAGE, "%s%s: expected %s, found %s", where, row->key,
                       expected.data, found.data);
out:
    dinm_buffer_free(&found);
    dinm_buffer_free(&expected);
    return status;
}

static void *field(struct dinm_settings *s, const struct dinm_setting *row)
{
    return (char *)s + row->offset;
}

static int set_text(struct dinm_settings *s, const struct dinm_setting *row, const char *text,
                    struct dinm_error *err)
{
    char **at = field(s, row);
    char *copy = dinm_copy_text(text, strlen(text), err);
    if (copy == NULL) {
        return DINM_FAILED;
    }
    free(*at);
    *at = copy;
    return DINM_OK;
}

static int set_path(struct dinm_settings *s, const struct dinm_setting *row, const char *text,
                    const char *base, struct dinm_error *err)
{
    bool as_it_is = text[0] == '\0' || text[0] == '/' || base == NULL || base[0] == '\0' ||
                    dinm_choice_find(row->choices, text) >= 0;
    if (as_it_is) {
        return set_text(s, row, text, err);
    }
    char *joined = dinm_path_join(base, text, err);
    if (joined == NULL) {
        return DINM_FAILED;
    }
    char **at = field(s, row);
    free(*at);
    *at = joined;
    return DINM_OK;
}

/* True if the text has "{prompt}" exactly once. */
static bool is_template(const char *text)
{
    const char *first = strstr(text, "{prompt}");
    return first != NULL && strstr(first + 1, "{prompt}") == NULL;
}

static const char *expand_template(const char *text)
{
    for (size_t i = 0; dinm_templates[i].name != NULL; i++) {
        if (strcmp(dinm_templates[i].name, text) == 0) {
            return dinm_templates[i].text;
        }
    }
    return text;
}

/* Enums are stored through the int that they are. */
_Static_assert(
    sizeof(enum dinm_profile) == sizeof(int) && sizeof(enum dinm_compute) == sizeof(int) &&
        sizeof(enum dinm_padding) == sizeof(int) && sizeof(enum dinm_locate_when) == sizeof(int) &&
        sizeof(enum dinm_method) == sizeof(int) && sizeof(enum dinm_optimizer) == sizeof(int) &&
        sizeof(enum dinm_kl) == sizeof(int) && sizeof(enum dinm_labels) == sizeof(int) &&
        sizeof(enum dinm_constraint_rows) == sizeof(int) &&
        sizeof(enum dinm_decoding) == sizeof(int) && sizeof(enum dinm_cut) == sizeof(int) &&
        sizeof(enum dinm_archive_hidden) == sizeof(int) && sizeof(enum dinm_kqa_on) == sizeof(int),
    "an enum of the settings has another size than int");

static int set_choice(struct dinm_settings *s, const struct dinm_setting *row, const cJSON *value,
                      const char *where, struct dinm_error *err)
{
    int choice = cJSON_IsString(value) ? dinm_choice_find(row->choices, value->valuestring) : -1;
    if (choice < 0 && cJSON_IsString(value) &&
        dinm_choice_find(row->planned, value->valuestring) >= 0) {
        return dinm_fail(err, DINM_USAGE, "%s%s: \"%s\" is not built yet", where, row->key,
                         value->valuestring);
    }
    if (choice < 0) {
        return wrong_value(row, value, where, err);
    }
    if (row->kind == DINM_KIND_BOOL) {
        *(bool *)field(s, row) = choice == 1;
    } else {
        memcpy(field(s, row), &choice, sizeof choice);
    }
    return DINM_OK;
}

static int set_list(struct dinm_settings *s, const struct dinm_setting *row, const cJSON *value,
                    const char *where, struct dinm_error *err)
{
    bool layers = row->kind == DINM_KIND_LAYERS;
    if (!cJSON_IsArray(value)) {
        return wrong_value(row, value, where, err);
    }
    size_t n = (size_t)cJSON_GetArraySize(value);
    int64_t *items = dinm_alloc(n, sizeof *items, row->key, err);
    if (items == NULL) {
        return DINM_FAILED;
    }
    size_t i = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, value)
    {
        bool good = cJSON_IsNumber(item) && item->valuedouble >= (layers ? 0 : 1) &&
                    item->valuedouble < 1e6 && floor(item->valuedouble) == item->valuedouble;
        items[i] = good ? (int64_t)item->valuedouble : -1;
        for (size_t k = 0; layers && k < i; k++) {
            good = good && items[k] != items[i];
        }
        if (!good) {
            free(items);
            return wrong_value(row, item, where, err);
        }
        i++;
    }
    free(dinm_settings_list(s, row).items);
    memcpy(field(s, row), &items, sizeof items);
    memcpy((char *)field(s, row) + sizeof items, &n, sizeof n);
    return DINM_OK;
}

static int set_number(struct dinm_settings *s, const struct dinm_setting *row, const cJSON *value,
                      const char *where, struct dinm_error *err)
{
    double number = cJSON_IsNumber(value) ? value->valuedouble : NAN;
    bool whole = row->kind == DINM_KIND_INT;
    if (!(number >= row->low && number <= row->high) || (whole && floor(number) != number)) {
        return wrong_value(row, value, where, err);
    }
    if (whole) {
        *(int64_t *)field(s, row) = (int64_t)number;
    } else {
        *(double *)field(s, row) = number;
    }
    return DINM_OK;
}

int dinm_settings_set(struct dinm_settings *s, const struct dinm_setting *row, const cJSON *value,
                      const char *where, const char *base, struct dinm_error *err)
{
    switch (row->kind) {
    case DINM_KIND_INT:
    case DINM_KIND_NUMBER:
        return set_number(s, row, value, where, err);
    case DINM_KIND_CHOICE:
        return set_choice(s, row, value, where, err);
    case DINM_KIND_LAYERS:
    case DINM_KIND_COUNTS:
        return set_list(s, row, value, where, err);
    case DINM_KIND_BOOL:
        if (row->choices != NULL) {
            return set_choice(s, row, value, where, err);
        }
        if (!cJSON_IsBool(value)) {
            return wrong_value(row, value, where, err);
        }
        *(bool *)field(s, row) = cJSON_IsTrue(value) != 0;
        return DINM_OK;
    case DINM_KIND_TEXT:
    case DINM_KIND_TEMPLATE:
    case DINM_KIND_PATH:
        break;
    }
    if (!cJSON_IsString(value)) {
        return wrong_value(row, value, where, err);
    }
    if (row->kind == DINM_KIND_PATH) {
        return set_path(s, row, value->valuestring, base, err);
    }
    const char *text = value->valuestring;
    if (row->kind == DINM_KIND_TEMPLATE) {
        text = expand_template(text);
        if (!is_template(text)) {
            return wrong_value(row, value, where, err);
        }
    }
    return set_text(s, row, text, err);
}

/* The text behind a list of numbers "[28,29]" or "28,29" that is added to `list`; NULL without
 * memory. What follows the list in a wrong text is not empty. */
static const char *parse_list(const char *text, cJSON *list)
{
    bool bracket = text[0] == '[';
    text += bracket;
    bool more = !bracket || text[0] != ']';
    while (more) {
        char *end = NULL;
        double number = strtod(text, &end);
        if (end == text) {
            return "no number";
        }
        if (!cJSON_AddItemToArray(list, cJSON_CreateNumber(number))) {
            return NULL;
        }
        more = *end == ',';
        text = end + more;
    }
    return bracket && *text == ']' ? text + 1 : bracket ? "unclosed" : text;
}

/* The value that the text stands for in a row of that kind; what it cannot be is a string. NULL
 * without memory. */
static cJSON *parse_text(const struct dinm_setting *row, const char *text)
{
    char *end = NULL;
    if (row->kind == DINM_KIND_INT || row->kind == DINM_KIND_NUMBER) {
        double number = strtod(text, &end);
        if (text[0] != '\0' && *end == '\0' && isfinite(number)) {
            return cJSON_CreateNumber(number);
        }
    } else if (row->kind == DINM_KIND_BOOL && row->choices == NULL) {
        if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
            return cJSON_CreateBool(text[0] == 't');
        }
    } else if (row->kind == DINM_KIND_LAYERS || row->kind == DINM_KIND_COUNTS) {
        cJSON *list = cJSON_CreateArray();
        const char *rest = list != NULL ? parse_list(text, list) : NULL;
        if (rest != NULL && *rest == '\0') {
            return list;
        }
        cJSON_Delete(list);
        return rest != NULL ? cJSON_CreateString(text) : NULL;
    }
    return cJSON_CreateString(text);
}

int dinm_settings_set_text(struct dinm_settings *s, const struct dinm_setting *row,
                           const char *value, const char *base, struct dinm_error *err)
{
    cJSON *tree = parse_text(row, value);
    if (tree == NULL) {
        return dinm_fail(err, DINM_FAILED, "not enough memory for the setting %s", row->key);
    }
    int status = dinm_settings_set(s, row, tree, "", base, err);
    cJSON_Delete(tree);
    return status;
}
