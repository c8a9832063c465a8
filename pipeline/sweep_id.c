/* OUT/sweep/id.json: swept keys in their order, their values, all other settings that decide
 * results, digests of all files. */
#include "pipeline/sweep_id.h"

#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "io/json.h"
#include "pipeline/compute.h"

/* A setting on which it depends which files are read. */
static bool names_files(const struct dinm_setting *row)
{
    return row->kind == DINM_KIND_PATH || strcmp(row->key, "evaluate.kqa_on") == 0;
}

int dinm_sweep_read_files(const struct dinm_sweep *sweep, struct dinm_digests *digests,
                          struct dinm_digest_memory *memory, struct dinm_error *err)
{
    int status = DINM_OK;
    for (size_t i = 0; i < sweep->n_runs; i++) {
        TRY(dinm_digests_read(&digests[i], &sweep->runs[i], memory, NULL, err));
    }
out:
    return status;
}

static bool is_swept(const struct dinm_sweep *sweep, const struct dinm_setting *row)
{
    for (size_t k = 0; k < sweep->n_keys; k++) {
        if (sweep->keys[k].row == row) {
            return true;
        }
    }
    return false;
}

static int put_keys(const struct dinm_sweep *sweep, struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_buffer_append_text(out, "{\n  \"keys\": [", err));
    for (size_t k = 0; k < sweep->n_keys; k++) {
        TRY(dinm_buffer_append_format(out, err, "%s\"%s\"", k > 0 ? ", " : "",
                                      sweep->keys[k].row->key));
    }
    TRY(dinm_buffer_append_text(out, "],\n  \"values\": {", err));
    for (size_t k = 0; k < sweep->n_keys; k++) {
        const struct dinm_sweep_key *key = &sweep->keys[k];
        TRY(dinm_buffer_append_format(out, err, "%s\n    \"%s\": [", k > 0 ? "," : "",
                                      key->row->key));
        for (size_t v = 0; v < key->n; v++) {
            TRY(dinm_buffer_append_format(out, err, "%s%s", v > 0 ? ", " : "", key->said[v]));
        }
        TRY(dinm_buffer_append_text(out, "]", err));
    }
    TRY(dinm_buffer_append_text(out, "\n  }", err));
out:
    return status;
}

/* How this machine multiplies in bf16, if any combination does: other ways give other bits. */
static int put_way(const struct dinm_sweep *sweep, const char *before, struct dinm_buffer *out,
                   struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_bf16_way *way = NULL;
    for (size_t i = 0; i < sweep->n_runs && way == NULL; i++) {
        TRY(dinm_compute_find(&way, sweep->runs[i].model.compute, err));
    }
    if (way != NULL) {
        TRY(dinm_buffer_append_format(out, err, "%s\n    \"%s\": \"%s\"", before, DINM_COMPUTE_WAY,
                                      way->name));
    }
out:
    return status;
}

/* As the first combination has them; paths are told by their files' digests. */
static int put_settings(const struct dinm_sweep *sweep, struct dinm_buffer *out,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    const char *before = "";
    TRY(dinm_buffer_append_text(out, ",\n  \"settings\": {", err));
    for (size_t r = 0; r < dinm_settings_n_rows; r++) {
        const struct dinm_setting *row = &dinm_settings_table[r];
        if (row->kind == DINM_KIND_PATH || strncmp(row->key, "run.", 4) == 0 ||
            strcmp(row->key, "profile") == 0 || is_swept(sweep, row)) {
            continue;
        }
        TRY(dinm_buffer_append_format(out, err, "%s\n    \"%s\": ", before, row->key));
        TRY(dinm_settings_put(&sweep->runs[0], row, out, err));
        before = ",";
    }
    TRY(put_way(sweep, before, out, err));
    TRY(dinm_buffer_append_text(out, "\n  }", err));
out:
    return status;
}

/* One kind of file over the runs, each distinct set of files once. */
static int put_files_of(const struct dinm_sweep *sweep, const struct dinm_digests *digests,
                        const char *name, size_t offset, struct dinm_buffer *out,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    const char *before = "";
    TRY(dinm_buffer_append_format(out, err, "    \"%s\": [", name));
    for (size_t i = 0; i < sweep->n_runs; i++) {
        uint64_t digest;
        if (dinm_sweep_leader(sweep, i, names_files) == i) {
            memcpy(&digest, (const char *)&digests[i] + offset, sizeof digest);
            TRY(dinm_buffer_append_format(out, err, "%s\"%016llx\"", before,
                                          (unsigned long long)digest));
            before = ", ";
        }
    }
    TRY(dinm_buffer_append_text(out, "]", err));
out:
    return status;
}

static int put_files(const struct dinm_sweep *sweep, const struct dinm_digests *digests,
                     struct dinm_buffer *out, struct dinm_error *err)
{
    static const struct {
        const char *name;
        size_t offset;
    } kinds[] = {{"model", offsetof(struct dinm_digests, model)},
                 {"tokenizer", offsetof(struct dinm_digests, tokenizer)},
                 {"judge", offsetof(struct dinm_digests, judge)},
                 {"cases", offsetof(struct dinm_digests, cases)},
                 {"questions", offsetof(struct dinm_digests, questions)}};
    int status = DINM_OK;
    TRY(dinm_buffer_append_text(out, ",\n  \"files\": {", err));
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        TRY(dinm_buffer_append_text(out, i > 0 ? ",\n" : "\n", err));
        TRY(put_files_of(sweep, digests, kinds[i].name, kinds[i].offset, out, err));
    }
    TRY(dinm_buffer_append_text(out, "\n  }\n}\n", err));
out:
    return status;
}

/* Appends to *names the members in which two objects differ, each after `what`. */
static int compare_members(const cJSON *theirs, const cJSON *ours, const char *what,
                           struct dinm_buffer *names, struct dinm_error *err)
{
    int status = DINM_OK;
    const cJSON *sides[2] = {ours, theirs};
    for (int side = 0; side < 2; side++) {
        const cJSON *other = sides[1 - side];
        for (const cJSON *item = sides[side] ? sides[side]->child : NULL; item; item = item->next) {
            const cJSON *same = other ? dinm_json_find(other, item->string) : NULL;
            /* What both have is looked at once. */
            if (same == NULL || (side == 0 && !cJSON_Compare(item, same, true))) {
                TRY(dinm_buffer_append_format(names, err, "%s%s%s", names->n_bytes > 0 ? ", " : "",
                                              what, item->string));
            }
        }
    }
out:
    return status;
}

/* What one sweeps is a setting of the other, and named once. */
static void drop_members(const cJSON *settings, const cJSON *values)
{
    for (const cJSON *item = values != NULL ? values->child : NULL; item; item = item->next) {
        cJSON_DeleteItemFromObjectCaseSensitive((cJSON *)(uintptr_t)settings, item->string);
    }
}

static int compare(const char *path, const char *out, const struct dinm_buffer *text,
                   struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *theirs = NULL, *ours = NULL;
    struct dinm_buffer names = {0};
    TRY(dinm_json_load(path, &theirs, err));
    TRY(dinm_json_parse(path, text->data, text->n_bytes, &ours, err));
    if (!cJSON_IsObject(theirs)) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: expected an object", path));
    }
    const cJSON *values[2] = {dinm_json_find(theirs, "values"), dinm_json_find(ours, "values")};
    const cJSON *settings[2] = {dinm_json_find(theirs, "settings"),
                                dinm_json_find(ours, "settings")};
    TRY(compare_members(values[0], values[1], "the values of ", &names, err));
    if (names.n_bytes == 0 &&
        !cJSON_Compare(dinm_json_find(theirs, "keys"), dinm_json_find(ours, "keys"), true)) {
        TRY(dinm_buffer_append_text(&names, "the order of the keys", err));
    }
    drop_members(settings[0], values[1]);
    drop_members(settings[1], values[0]);
    TRY(compare_members(settings[0], settings[1], "", &names, err));
    TRY(compare_members(dinm_json_find(theirs, "files"), dinm_json_find(ours, "files"),
                        "the files of ", &names, err));
    if (names.n_bytes > 0) {
        TRY(dinm_fail(
            err, DINM_FAILED,
            "%s belongs to another sweep, which differs in: %s; use --fresh to start over "
            "or another --out",
            out, names.data));
    }
out:
    dinm_buffer_free(&names);
    cJSON_Delete(theirs);
    cJSON_Delete(ours);
    return status;
}

int dinm_sweep_identify(const struct dinm_sweep *sweep, const struct dinm_digests *digests,
                        bool fresh, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer text = {0};
    char *path = dinm_path_join(sweep->out, "sweep/id.json", err);
    TRY(path != NULL ? DINM_OK : DINM_FAILED);
    TRY(put_keys(sweep, &text, err));
    TRY(put_settings(sweep, &text, err));
    TRY(put_files(sweep, digests, &text, err));
    if (!fresh && dinm_path_exists(path)) {
        TRY(compare(path, sweep->out, &text, err));
    } else {
        TRY(dinm_file_write(path, text.data, text.n_bytes, err));
    }
out:
    dinm_buffer_free(&text);
    free(path);
    return status;
}
