/* The keys of a training job: one table of name, kind, bounds and default. */
#include "pipeline/train_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "pipeline/nearest.h"
#include "pipeline/train.h"

static const struct dinm_train_objective *const objectives[] = {&dinm_train_lm,
                                                                &dinm_train_classify};
static const char *const dtype_names[] = {"f32", "f16", "bf16"};
static const enum dinm_dtype dtypes[] = {DINM_F32, DINM_F16, DINM_BF16};

enum kind { OBJECTIVE, PATH, INTEGER, NUMBER, DTYPE };

struct row {
    const char *key;
    enum kind kind;
    size_t offset;
    double low, high; /* INTEGER, NUMBER: bounds, both allowed */
    double fallback;  /* INTEGER, NUMBER: the default; NAN: the key must be there */
    const char *meaning;
};

#define AT(field) offsetof(struct dinm_train_settings, field)
static const struct row rows[] = {
    {"objective", OBJECTIVE, AT(objective), 0, 0, NAN, "lm (language model) or classify (judge)"},
    {"data", PATH, AT(data), 0, 0, NAN,
     "JSON lines; lm: text, or prompt and response (loss on the response); classify: text, label"},
    {"held_out", PATH, AT(held_out), 0, 0, 0, "the same, measured but not learned"},
    {"config", PATH, AT(config), 0, 0, 0, "config.json of a fresh model with random weights"},
    {"init", PATH, AT(init), 0, 0, 0, "folder of a checkpoint to go on from, instead of config"},
    {"tokenizer", PATH, AT(tokenizer), 0, 0, 0, "folder of the tokenizer's files; default: init"},
    {"out", PATH, AT(out), 0, 0, NAN, "folder of the result"},
    {"steps", INTEGER, AT(steps), 1, 1e15, NAN, "steps of the optimiser"},
    {"batch", INTEGER, AT(batch), 1, 1e9, 32, "records per step, over all ranks"},
    {"parts", INTEGER, AT(parts), 1, 1e6, 8,
     "pieces of a batch: as many groups have work; a different number changes the last bits"},
    {"lr", NUMBER, AT(lr), 0, 1e3, 1e-3, "learning rate after the warm-up"},
    {"min_lr", NUMBER, AT(min_lr), 0, 1e3, 0,
     "learning rate at the last step, after half a cosine"},
    {"warmup", INTEGER, AT(warmup), 0, 1e15, 0, "steps of linear growth to lr"},
    {"weight_decay", NUMBER, AT(weight_decay), 0, 1e3, 0, "AdamW's, on matrices alone"},
    {"clip", NUMBER, AT(clip), 0, 1e30, 1, "largest norm of the whole gradient; 0: none"},
    {"beta1", NUMBER, AT(beta1), 0, 0.99999999, 0.9, "AdamW's"},
    {"beta2", NUMBER, AT(beta2), 0, 0.99999999, 0.999, "AdamW's"},
    {"eps", NUMBER, AT(eps), 1e-30, 1, 1e-8, "AdamW's"},
    {"seed", INTEGER, AT(seed), 0, 9007199254740992.0, 0, "of random weights and of the shuffles"},
    {"max_tokens", INTEGER, AT(max_tokens), 0, 1e9, 0,
     "longer records are cut and counted; 0: what the model takes"},
    {"dtype", DTYPE, AT(dtype), 0, 0, 0, "of the written weights: f32, f16 or bf16"},
    {"every", INTEGER, AT(every), 1, 1e15, 50, "steps between printed lines"},
    {"held_out_every", INTEGER, AT(held_out_every), 0, 1e15, 0,
     "steps between measurements; 0: ten in all"},
    {"save_every", INTEGER, AT(save_every), 0, 1e15, 0,
     "steps between checkpoints; 0: one at the end"},
    {"threads", INTEGER, AT(threads), 0, 4096, 0, "per rank; 0: its share of the cores"},
    {"stages", INTEGER, AT(stages), 1, 1e6, 1,
     "ranks that hold the model's layers together, a group; must divide the ranks"},
};
enum { N_ROWS = sizeof rows / sizeof rows[0] };

static void *field(struct dinm_train_settings *s, const struct row *row)
{
    return (unsigned char *)s + row->offset;
}

/* Every key must be a row of the table. */
static int check_keys(struct dinm_json j, struct dinm_error *err)
{
    const cJSON *member = NULL;
    cJSON_ArrayForEach(member, j.object)
    {
        struct dinm_nearest nearest = {.word = member->string};
        for (size_t i = 0; i < N_ROWS; i++) {
            dinm_nearest_consider(&nearest, rows[i].key);
        }
        if (strcmp(nearest.best, member->string) != 0) {
            return dinm_fail(err, DINM_USAGE, "%s: unknown key %s; did you mean %s?", j.where,
                             member->string, nearest.best);
        }
    }
    return DINM_OK;
}

/* A value of the wrong type or size is a mistake in the job file, not a failing file. */
static int as_usage(int status, struct dinm_error *err)
{
    if (status < 0 && err != NULL) {
        err->status = DINM_USAGE;
    }
    return status < 0 ? DINM_USAGE : DINM_OK;
}

/* A path relative to the job file's folder. */
static char *resolve(const char *job_path, const char *path, struct dinm_error *err)
{
    const char *slash = strrchr(job_path, '/');
    if (path[0] == '/' || slash == NULL) {
        return dinm_copy_text(path, strlen(path), err);
    }
    char *folder = dinm_copy_text(job_path, (size_t)(slash - job_path) + 1, err);
    char *whole = folder == NULL ? NULL : dinm_path_join(folder, path, err);
    free(folder);
    return whole;
}

static int read_objective(struct dinm_train_settings *s, struct dinm_json j, struct dinm_error *err)
{
    const char *name = NULL;
    if (as_usage(dinm_json_get_text(j, "objective", &name, err), err) < 0) {
        return DINM_USAGE;
    }
    for (size_t i = 0; i < sizeof objectives / sizeof objectives[0]; i++) {
        if (strcmp(objectives[i]->name, name) == 0) {
            s->objective = objectives[i];
            return DINM_OK;
        }
    }
    return dinm_fail(err, DINM_USAGE, "%s: objective is \"%s\"; it must be \"lm\" or \"classify\"",
                     j.where, name);
}

static int read_dtype(struct dinm_train_settings *s, struct dinm_json j, struct dinm_error *err)
{
    const char *name = dtype_names[0];
    if (as_usage(dinm_json_get_text_or(j, "dtype", &name, err), err) < 0) {
        return DINM_USAGE;
    }
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (strcmp(dtype_names[i], name) == 0) {
            s->dtype = dtypes[i];
            return DINM_OK;
        }
    }
    return dinm_fail(err, DINM_USAGE,
                     "%s: dtype is \"%s\"; it must be \"f32\", \"f16\" or \"bf16\"", j.where, name);
}

static int read_number(double *out, const struct row *row, struct dinm_json j,
                       struct dinm_error *err)
{
    *out = row->fallback;
    if (as_usage(dinm_json_get_number_or(j, row->key, out, err), err) < 0) {
        return DINM_USAGE;
    }
    if (!(*out >= row->low && *out <= row->high)) {
        return dinm_fail(err, DINM_USAGE, "%s: %s must lie between %g and %g, found %g", j.where,
                         row->key, row->low, row->high, *out);
    }
    return DINM_OK;
}

static int read_integer(int64_t *out, const struct row *row, struct dinm_json j,
                        struct dinm_error *err)
{
    const bool required = isnan(row->fallback);
    const int64_t low = (int64_t)row->low;
    const int64_t high = (int64_t)row->high;
    *out = required ? 0 : (int64_t)row->fallback;
    return as_usage(required ? dinm_json_get_int(j, row->key, low, high, out, err)
                             : dinm_json_get_int_or(j, row->key, low, high, out, err),
                    err);
}

static int read_row(struct dinm_train_settings *s, const struct row *row, struct dinm_json j,
                    const char *job_path, struct dinm_error *err)
{
    const char *path = NULL;
    switch (row->kind) {
    case OBJECTIVE:
        return read_objective(s, j, err);
    case DTYPE:
        return read_dtype(s, j, err);
    case NUMBER:
        return read_number(field(s, row), row, j, err);
    case INTEGER:
        return read_integer(field(s, row), row, j, err);
    case PATH:
        if (as_usage(isnan(row->fallback) ? dinm_json_get_text(j, row->key, &path, err)
                                          : dinm_json_get_text_or(j, row->key, &path, err),
                     err) < 0) {
            return DINM_USAGE;
        }
        if (path != NULL && path[0] == '\0') {
            return dinm_fail(err, DINM_USAGE, "%s: %s is an empty text", j.where, row->key);
        }
        char **out = field(s, row);
        *out = path == NULL ? NULL : resolve(job_path, path, err);
        return path != NULL && *out == NULL ? DINM_FAILED : DINM_OK;
    }
    return DINM_OK;
}

/* What only the whole shows; fills defaults that depend on other settings. */
static int check_whole(struct dinm_train_settings *s, const char *where, struct dinm_error *err)
{
    if ((s->config == NULL) == (s->init == NULL)) {
        return dinm_fail(err, DINM_USAGE,
                         "%s: give either config (a fresh start from random weights) or init (a "
                         "checkpoint to go on from)%s",
                         where, s->config == NULL ? "" : ", not both");
    }
    if (s->tokenizer == NULL && s->init == NULL) {
        return dinm_fail(err, DINM_USAGE, "%s: tokenizer is missing (a folder with tokenizer.json)",
                         where);
    }
    if (s->parts > s->batch) {
        return dinm_fail(err, DINM_USAGE, "%s: parts is %lld, more than the batch's %lld sequences",
                         where, (long long)s->parts, (long long)s->batch);
    }
    if (s->min_lr > s->lr) {
        return dinm_fail(err, DINM_USAGE, "%s: min_lr %g is larger than lr %g", where, s->min_lr,
                         s->lr);
    }
    if (s->warmup > s->steps) {
        return dinm_fail(err, DINM_USAGE, "%s: warmup %lld is longer than all %lld steps", where,
                         (long long)s->warmup, (long long)s->steps);
    }
    if (s->held_out_every == 0) {
        s->held_out_every = (s->steps + 9) / 10;
    }
    if (s->tokenizer == NULL) {
        s->tokenizer = dinm_copy_text(s->init, strlen(s->init), err);
        return s->tokenizer == NULL ? DINM_FAILED : DINM_OK;
    }
    return DINM_OK;
}

int dinm_train_settings_load(struct dinm_train_settings *s, const char *job_path,
                             struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer where = {0};
    const cJSON *train = NULL;
    char room[64];
    *s = (struct dinm_train_settings){0};
    TRY(dinm_buffer_append_format(&where, err, "%s: train", job_path));
    TRY(dinm_json_load(job_path, &s->tree, err));
    if (!cJSON_IsObject(s->tree)) {
        status = dinm_fail(err, DINM_USAGE, "%s: expected an object, found %s", job_path,
                           dinm_json_describe(s->tree, room));
        goto out;
    }
    TRY(as_usage(dinm_json_get_object((struct dinm_json){s->tree, job_path}, "train", &train, err),
                 err));
    if (s->tree->child->next != NULL) {
        const cJSON *other = s->tree->child == train ? train->next : s->tree->child;
        status = dinm_fail(err, DINM_USAGE, "%s: unknown key %s beside \"train\"", job_path,
                           other->string);
        goto out;
    }
    struct dinm_json j = {train, where.data};
    TRY(check_keys(j, err));
    for (size_t i = 0; i < N_ROWS; i++) {
        TRY(read_row(s, &rows[i], j, job_path, err));
    }
    TRY(check_whole(s, where.data, err));
out:
    dinm_buffer_free(&where);
    return status;
}

void dinm_train_settings_free(struct dinm_train_settings *s)
{
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].kind == PATH) {
            char **path = field(s, &rows[i]);
            free(*path);
        }
    }
    cJSON_Delete(s->tree);
    *s = (struct dinm_train_settings){0};
}

static int print_value(const struct dinm_train_settings *s, const struct row *row,
                       struct dinm_buffer *b, struct dinm_error *err)
{
    const void *value = (const unsigned char *)s + row->offset;
    const cJSON *train = dinm_json_find(s->tree, "train");
    const cJSON *given = dinm_json_find(train, row->key);
    switch (row->kind) {
    case OBJECTIVE:
        return dinm_json_put_text(b, s->objective->name, strlen(s->objective->name), err);
    case DTYPE:
        return dinm_buffer_append_format(b, err, "\"%s\"", dtype_names[s->dtype]);
    case NUMBER:
        return dinm_json_put_double(b, *(const double *)value, err);
    case INTEGER:
        return dinm_buffer_append_format(b, err, "%lld", (long long)*(const int64_t *)value);
    case PATH:
        if (given == NULL) {
            return dinm_buffer_append_text(b, "null", err);
        }
        return dinm_json_put_text(b, given->valuestring, strlen(given->valuestring), err);
    }
    return DINM_OK;
}

int dinm_train_settings_print(const struct dinm_train_settings *s, struct dinm_buffer *b,
                              struct dinm_error *err)
{
    int status = DINM_OK;
    const char *before = "{";
    for (size_t i = 0; i < N_ROWS; i++) {
        if (strcmp(rows[i].key, "threads") == 0 || strcmp(rows[i].key, "stages") == 0) {
            continue; /* do not decide the result */
        }
        TRY(dinm_buffer_append_format(b, err, "%s\n    \"%s\": ", before, rows[i].key));
        TRY(print_value(s, &rows[i], b, err));
        before = ",";
    }
    TRY(dinm_buffer_append_text(b, "\n  }", err));
out:
    return status;
}

int dinm_train_describe(struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_buffer_append_text(out, "Keys of the job file's object \"train\":\n", err));
    for (size_t i = 0; i < N_ROWS; i++) {
        const struct row *row = &rows[i];
        TRY(dinm_buffer_append_format(out, err, "  %-15s %s", row->key, row->meaning));
        if (isnan(row->fallback)) {
            TRY(dinm_buffer_append_text(out, " (required)", err));
        } else if (row->kind == NUMBER || (row->kind == INTEGER && row->fallback != 0)) {
            TRY(dinm_buffer_append_format(out, err, " (%g)", row->fallback));
        }
        TRY(dinm_buffer_append_text(out, "\n", err));
    }
out:
    return status;
}
