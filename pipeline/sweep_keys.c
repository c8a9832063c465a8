/* The swept settings and their values: "sweep": {"edit.lr": [5e-4, 1e-3]} in the job file, and
 * --set sweep.edit.lr=[...]. */
#define _XOPEN_SOURCE 700 /* realpath */
#include "pipeline/sweep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "io/json.h"
#include "pipeline/args_table.h"

static const char command_where[] = "--set sweep: ";

/* What is at hand while keys are read. */
struct reader {
    struct dinm_sweep *sweep;     /* borrows */
    struct dinm_settings scratch; /* owns: a place to try values in */
};

static int fault(struct reader *r, struct dinm_error *failure, struct dinm_error *err)
{
    return dinm_faults_add(&r->sweep->faults, failure, err);
}

void dinm_sweep_key_free(struct dinm_sweep_key *key)
{
    for (size_t v = 0; key->said != NULL && v < key->n; v++) {
        free(key->said[v]);
    }
    free(key->said);
    cJSON_Delete(key->list);
    *key = (struct dinm_sweep_key){0};
}

/* Reads value v of a key into key->said[v]. */
static int try_value(struct reader *r, struct dinm_sweep_key *key, size_t v,
                     struct dinm_error *failure, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer said = {0};
    const cJSON *value = cJSON_GetArrayItem(key->list, (int)v);
    TRY(dinm_settings_set(&r->scratch, key->row, value, key->where, key->base, failure));
    TRY(dinm_settings_put(&r->scratch, key->row, &said, err));
    key->said[v] = said.data;
    said = (struct dinm_buffer){0};
    for (size_t before = 0; before < v; before++) {
        if (key->said[before] != NULL && strcmp(key->said[before], key->said[v]) == 0) {
            TRY(dinm_fail(failure, DINM_USAGE, "%s%s: %s stands there twice", key->where,
                          key->row->key, key->said[v]));
        }
    }
out:
    dinm_buffer_free(&said);
    return status;
}

/* The values of a key; what is wrong with them goes to the faults. */
static int read_values(struct reader *r, struct dinm_sweep_key *key, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_error failure = {0};
    char room[64];
    const char *where = key->where, *name = key->row->key;
    if (!cJSON_IsArray(key->list)) {
        dinm_fail(&failure, DINM_USAGE, "%s%s: expected a list of values, found %s", where, name,
                  dinm_json_describe(key->list, room));
        return fault(r, &failure, err);
    }
    const size_t n = (size_t)cJSON_GetArraySize(key->list);
    if (n == 0) {
        dinm_fail(&failure, DINM_USAGE, "%s%s: expected a list of values, found an empty list",
                  where, name);
        return fault(r, &failure, err);
    }
    key->said = dinm_alloc(n, sizeof *key->said, "the values of a sweep", err);
    TRY(key->said != NULL ? DINM_OK : DINM_FAILED);
    key->n = n;
    for (size_t v = 0; v < n; v++) {
        if (try_value(r, key, v, &failure, err) < 0) {
            TRY(failure.status < 0 ? fault(r, &failure, err) : DINM_FAILED);
        }
    }
out:
    return status;
}

/* What cannot be swept. */
static int check_name(const char *where, const char *name, struct dinm_error *failure)
{
    if (dinm_settings_find(name) == NULL) {
        return dinm_settings_unknown(where, name, NULL, failure);
    }
    if (strncmp(name, "run.", strlen("run.")) == 0) {
        return dinm_fail(failure, DINM_USAGE,
                         "%s%s cannot be swept: it says how a job is run and changes no result",
                         where, name);
    }
    return DINM_OK;
}

/* Takes `list`, also on failure. A key of the command line replaces the job file's. */
static int add_key(struct reader *r, const char *name, cJSON *list, const char *where,
                   const char *base, struct dinm_error *err)
{
    struct dinm_sweep *sweep = r->sweep;
    struct dinm_error failure = {0};
    if (check_name(where, name, &failure) < 0) {
        cJSON_Delete(list);
        return fault(r, &failure, err);
    }
    const struct dinm_setting *row = dinm_settings_find(name);
    size_t k = 0;
    while (k < sweep->n_keys && sweep->keys[k].row != row) {
        k++;
    }
    if (k < sweep->n_keys) {
        dinm_sweep_key_free(&sweep->keys[k]);
    } else {
        sweep->n_keys++;
    }
    sweep->keys[k] =
        (struct dinm_sweep_key){.row = row, .list = list, .where = where, .base = base};
    return DINM_OK;
}

/* `object`: the job file's "sweep". */
static int read_job_keys(struct reader *r, const cJSON *object, const char *path,
                         struct dinm_error *err)
{
    int status = DINM_OK;
    char room[64];
    struct dinm_error failure = {0};
    if (object != NULL && !cJSON_IsObject(object)) {
        dinm_fail(&failure, DINM_USAGE, "%s: sweep: expected an object, found %s", path,
                  dinm_json_describe(object, room));
        return fault(r, &failure, err);
    }
    for (const cJSON *item = object != NULL ? object->child : NULL; item; item = item->next) {
        cJSON *list = cJSON_Duplicate(item, true);
        TRY(list ? DINM_OK : dinm_fail(err, DINM_FAILED, "not enough memory for the sweep"));
        TRY(add_key(r, item->string, list, r->sweep->job_where.data, r->sweep->job_base, err));
    }
out:
    return status;
}

/* "sweep.edit.lr=[5e-4, 1e-3]" */
static int read_command_key(struct reader *r, const char *set, struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *list = NULL;
    struct dinm_error failure = {0};
    const char *name = set + strlen("sweep."), *equals = strchr(name, '=');
    if (equals == NULL) {
        dinm_fail(&failure, DINM_USAGE, "--set: expected KEY=VALUE, found \"%s\"", set);
        return fault(r, &failure, err);
    }
    char *key = dinm_copy_text(name, (size_t)(equals - name), err);
    if (key == NULL) {
        return DINM_FAILED;
    }
    if (dinm_json_parse("", equals + 1, strlen(equals + 1), &list, NULL) < 0) {
        dinm_fail(&failure, DINM_USAGE,
                  "%s%s: expected a list like [5e-4, 1e-3] or [\"a\", \"b\"], found \"%s\"",
                  command_where, key, equals + 1);
        TRY(fault(r, &failure, err));
    } else {
        TRY(add_key(r, key, list, command_where, r->sweep->command_base, err));
    }
out:
    free(key);
    return status;
}

/* A setting is swept or set on the command line, not both. */
static int check_given(struct reader *r, const struct dinm_given *given, struct dinm_error *err)
{
    struct dinm_error failure = {0};
    const bool is_set = strcmp(given->option->name, "--set") == 0;
    for (size_t k = 0; k < r->sweep->n_keys; k++) {
        const char *key = r->sweep->keys[k].row->key;
        const size_t n = strlen(key);
        const char *option_key = given->option->setting;
        if ((option_key != NULL && strcmp(option_key, key) == 0) ||
            (is_set && strncmp(given->value, key, n) == 0 && given->value[n] == '=')) {
            dinm_fail(&failure, DINM_USAGE, "%s is swept, and cannot be set by %s as well", key,
                      given->option->name);
            return fault(r, &failure, err);
        }
    }
    return DINM_OK;
}

/* Folders and words that keys borrow. */
static int prepare(struct dinm_sweep *sweep, const struct dinm_job_file *file,
                   struct dinm_error *err)
{
    int status = DINM_OK;
    sweep->command_base = realpath(".", NULL);
    if (sweep->command_base == NULL) {
        TRY(dinm_fail_errno(err, errno, "cannot find the path of the folder", "."));
    }
    if (file->path != NULL) {
        TRY(dinm_buffer_append_format(&sweep->job_where, err, "%s: sweep: ", file->path));
        sweep->job_base = dinm_copy_text(file->base, strlen(file->base), err);
        TRY(sweep->job_base != NULL ? DINM_OK : DINM_FAILED);
    }
out:
    return status;
}

int dinm_sweep_read_keys(struct dinm_sweep *sweep, const struct dinm_args *args,
                         const struct dinm_job_file *file, struct dinm_error *err)
{
    int status = DINM_OK;
    struct reader r = {.sweep = sweep};
    const cJSON *object = cJSON_IsObject(file->tree) ? dinm_json_find(file->tree, "sweep") : NULL;
    const size_t most = args->n_given + (object != NULL ? (size_t)cJSON_GetArraySize(object) : 0);
    sweep->keys = dinm_alloc(most, sizeof *sweep->keys, "the sweep", err);
    TRY(sweep->keys != NULL ? DINM_OK : DINM_FAILED);
    TRY(prepare(sweep, file, err));
    TRY(dinm_settings_init(&r.scratch, DINM_PROFILE_PAPER, err));
    TRY(read_job_keys(&r, object, file->path, err));
    for (size_t i = 0; i < args->n_given; i++) {
        const struct dinm_given *given = &args->given[i];
        if (strcmp(given->option->name, "--set") == 0 && dinm_args_is_sweep(given->value)) {
            TRY(read_command_key(&r, given->value, err));
        }
    }
    for (size_t i = 0; i < args->n_given; i++) {
        TRY(check_given(&r, &args->given[i], err));
    }
    for (size_t k = 0; k < sweep->n_keys; k++) {
        TRY(read_values(&r, &sweep->keys[k], err));
    }
out:
    if (r.scratch.origins != NULL) {
        dinm_settings_free(&r.scratch);
    }
    return status;
}
