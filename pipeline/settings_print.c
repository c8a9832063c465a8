/* The resolved settings as JSON, and the table in words. */
#include "pipeline/settings.h"

#include <string.h>
#include "io/json.h"
#include "pipeline/settings_table.h"

static int put_text(const char *text, struct dinm_buffer *out, struct dinm_error *err)
{
    return dinm_json_put_text(out, text, strlen(text), err);
}

static int put_list(struct dinm_list list, struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_buffer_append_text(out, "[", err));
    for (size_t i = 0; i < list.n; i++) {
        TRY(dinm_buffer_append_format(out, err, "%s%lld", i > 0 ? ", " : "",
                                      (long long)list.items[i]));
    }
    TRY(dinm_buffer_append_text(out, "]", err));
out:
    return status;
}

int dinm_settings_put(const struct dinm_settings *s, const struct dinm_setting *row,
                      struct dinm_buffer *out, struct dinm_error *err)
{
    const void *at = (const char *)s + row->offset;
    switch (row->kind) {
    case DINM_KIND_BOOL: {
        bool value = *(const bool *)at;
        if (row->choices != NULL) {
            return put_text(row->choices[value], out, err);
        }
        return dinm_buffer_append_text(out, value ? "true" : "false", err);
    }
    case DINM_KIND_INT:
        return dinm_buffer_append_format(out, err, "%lld", (long long)*(const int64_t *)at);
    case DINM_KIND_NUMBER:
        return dinm_json_put_double(out, *(const double *)at, err);
    case DINM_KIND_CHOICE: {
        int choice;
        memcpy(&choice, at, sizeof choice);
        return put_text(row->choices[choice], out, err);
    }
    case DINM_KIND_LAYERS:
    case DINM_KIND_COUNTS:
        return put_list(dinm_settings_list(s, row), out, err);
    case DINM_KIND_TEXT:
    case DINM_KIND_TEMPLATE:
    case DINM_KIND_PATH:
        break;
    }
    return put_text(*(char *const *)at, out, err);
}

/* Length of the section's name in a key; 0 if it stands alone. */
static size_t section_length(const char *key)
{
    const char *dot = strchr(key, '.');
    return dot == NULL ? 0 : (size_t)(dot - key);
}

static int print_sections(const struct dinm_settings *s, bool with_run, struct dinm_buffer *out,
                          struct dinm_error *err)
{
    int status = DINM_OK;
    const char *open = ""; /* key of a row of the section that is being written */
    for (size_t r = 0; r < dinm_settings_n_rows; r++) {
        const struct dinm_setting *row = &dinm_settings_table[r];
        size_t n = section_length(row->key), n_open = section_length(open);
        if (!with_run && strncmp(row->key, "run.", 4) == 0) {
            continue;
        }
        bool same = r > 0 && n == n_open && strncmp(row->key, open, n) == 0;
        if (!same && n_open > 0) {
            TRY(dinm_buffer_append_text(out, "\n  }", err));
        }
        TRY(dinm_buffer_append_text(out, r > 0 ? ",\n" : "\n", err));
        if (!same && n > 0) {
            TRY(dinm_buffer_append_format(out, err, "  \"%.*s\": {\n", (int)n, row->key));
        }
        TRY(dinm_buffer_append_format(out, err, "%s\"%s\": ", n > 0 ? "    " : "  ",
                                      n > 0 ? row->key + n + 1 : row->key));
        TRY(dinm_settings_put(s, row, out, err));
        open = row->key;
    }
    if (section_length(open) > 0) {
        TRY(dinm_buffer_append_text(out, "\n  }", err));
    }
out:
    return status;
}

static int print_origins(const struct dinm_settings *s, bool with_run, struct dinm_buffer *out,
                         struct dinm_error *err)
{
    static const char *const names[] = {"default", "profile", "job", "command", "sweep"};
    int status = DINM_OK;
    TRY(dinm_buffer_append_text(out, ",\n  \"origins\": {", err));
    for (size_t r = 0; r < dinm_settings_n_rows; r++) {
        const char *key = dinm_settings_table[r].key;
        if (with_run || strncmp(key, "run.", 4) != 0) {
            TRY(dinm_buffer_append_format(out, err, "%s\n    \"%s\": \"%s\"", r > 0 ? "," : "", key,
                                          names[s->origins[r]]));
        }
    }
    TRY(dinm_buffer_append_text(out, "\n  }", err));
out:
    return status;
}

int dinm_settings_print(const struct dinm_settings *s, bool with_origins, bool with_run,
                        struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_buffer_append_text(out, "{", err));
    TRY(print_sections(s, with_run, out, err));
    if (with_origins) {
        TRY(print_origins(s, with_run, out, err));
    }
    TRY(dinm_buffer_append_text(out, "\n}", err));
out:
    return status;
}

static int describe_value(const char *value, struct dinm_buffer *out, struct dinm_error *err)
{
    bool bare = value[0] != '\0' && strchr(value, ' ') == NULL;
    return dinm_buffer_append_format(out, err, bare ? "%s" : "\"%s\"", value);
}

int dinm_settings_describe(struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    for (size_t r = 0; r < dinm_settings_n_rows; r++) {
        const struct dinm_setting *row = &dinm_settings_table[r];
        TRY(dinm_buffer_append_format(out, err, "%s\n    %s\n    ", row->key, row->meaning));
        TRY(dinm_settings_expected(row, out, err));
        TRY(dinm_buffer_append_text(out, "; default ", err));
        TRY(describe_value(row->paper, out, err));
        if (row->easyedit != NULL) {
            TRY(dinm_buffer_append_text(out, ", profile easyedit: ", err));
            TRY(describe_value(row->easyedit, out, err));
        }
        TRY(dinm_buffer_append_text(out, "\n", err));
    }
    TRY(dinm_buffer_append_text(
        out,
        "sweep\n    settings and the values that each of them takes in turn: every combination is "
        "a "
        "run of its own in OUT/sweep/NNN\n    an object like {\"edit.lr\": [5e-4, 1e-3], "
        "\"edit.steps\": [5, 10]}, or --set sweep.edit.lr=[5e-4,1e-3]; none of run.*\n",
        err));
out:
    return status;
}
