/* Rows read from the runs' results.json, and the tables for programs. */
#include "pipeline/sweep_table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "io/json.h"
#include "io/log.h"
#include "pipeline/sweep_text.h"

static const char *const states[DINM_SWEEP_N_STATES] = {"open", "done", "failed"};

int dinm_sweep_table_open(struct dinm_sweep_table *t, const struct dinm_sweep *sweep,
                          struct dinm_error *err)
{
    *t = (struct dinm_sweep_table){.sweep = sweep};
    t->rows = dinm_alloc(sweep->n_runs, sizeof *t->rows, "the table of a sweep", err);
    return t->rows != NULL ? DINM_OK : DINM_FAILED;
}

void dinm_sweep_table_close(struct dinm_sweep_table *t)
{
    for (size_t i = 0; t->rows != NULL && i < t->sweep->n_runs; i++) {
        free(t->rows[i].reason);
    }
    free(t->rows);
    *t = (struct dinm_sweep_table){0};
}

/* A number, or null where it is not known. */
static double number_of(const cJSON *object, const char *key)
{
    const cJSON *item = dinm_json_find(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static int read_metric(struct dinm_sweep_row *row, enum dinm_metric m, struct dinm_json metrics,
                       struct dinm_error *err)
{
    int status = DINM_OK;
    const cJSON *metric = NULL;
    int64_t n = 0;
    TRY(dinm_json_get_object(metrics, dinm_metric_name(m), &metric, err));
    TRY(dinm_json_get_int((struct dinm_json){metric, metrics.where}, "n", 0, INT32_MAX, &n, err));
    row->measured[m] = n > 0;
    for (int side = 0; side < DINM_N_SIDES; side++) {
        const cJSON *e = NULL;
        TRY(dinm_json_get_object((struct dinm_json){metric, metrics.where}, dinm_side_names[side],
                                 &e, err));
        row->metrics[m][side] = (struct dinm_estimate){.value = number_of(e, "value"),
                                                       .low = number_of(e, "low"),
                                                       .high = number_of(e, "high"),
                                                       .n = (size_t)n};
    }
out:
    return status;
}

static int read_results(struct dinm_sweep_row *row, const char *folder, struct dinm_error *err)
{
    int status = DINM_OK;
    int64_t n_cases = 0, n_failed = 0;
    cJSON *tree = NULL;
    struct dinm_json metrics = {0};
    char *path = dinm_path_join(folder, "results.json", err);
    TRY(path != NULL ? DINM_OK : DINM_FAILED);
    TRY(dinm_json_load(path, &tree, err));
    const struct dinm_json results = {tree, path};
    metrics.where = path;
    TRY(dinm_json_get_int(results, "n_cases", 0, INT32_MAX, &n_cases, err));
    TRY(dinm_json_get_int(results, "n_failed", 0, n_cases, &n_failed, err));
    TRY(dinm_json_get_object(results, "metrics", &metrics.object, err));
    for (enum dinm_metric m = DINM_METRIC_DS; m < DINM_N_METRICS; m++) {
        TRY(read_metric(row, m, metrics, err));
    }
    row->n_cases = (size_t)n_cases;
    row->n_failed = (size_t)n_failed;
out:
    cJSON_Delete(tree);
    free(path);
    return status;
}

int dinm_sweep_table_done(struct dinm_sweep_table *t, size_t i, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_sweep_row row = {.state = DINM_SWEEP_DONE};
    TRY(read_results(&row, t->sweep->runs[i].run.out, err));
    free(t->rows[i].reason);
    t->rows[i] = row;
out:
    return status;
}

int dinm_sweep_table_failed(struct dinm_sweep_table *t, size_t i, const char *reason,
                            struct dinm_error *err)
{
    char *copy = dinm_copy_text(reason, strlen(reason), err);
    if (copy == NULL) {
        return DINM_FAILED;
    }
    free(t->rows[i].reason);
    t->rows[i] = (struct dinm_sweep_row){.state = DINM_SWEEP_FAILED, .reason = copy};
    return DINM_OK;
}

/* All files that a finished run leaves. */
static int has_files(const char *folder, bool *all, struct dinm_error *err)
{
    static const char *const names[] = {"job.json",    "results.json",  "results.md",
                                        "results.csv", "report.html",   "cases.jsonl",
                                        "timing.json", "activations.h5"};
    *all = true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = dinm_path_join(folder, names[i], err);
        if (path == NULL) {
            return DINM_FAILED;
        }
        *all = *all && dinm_path_exists(path);
        free(path);
    }
    return DINM_OK;
}

/* run: an element of "runs" in sweep.json. */
static int load_row(struct dinm_sweep_table *t, size_t i, const cJSON *run, struct dinm_error *err)
{
    const cJSON *state = cJSON_IsObject(run) ? dinm_json_find(run, "state") : NULL;
    bool all = false;
    struct dinm_error why = {0};
    if (!cJSON_IsString(state) || strcmp(state->valuestring, states[DINM_SWEEP_DONE]) != 0) {
        return DINM_OK;
    }
    if (has_files(t->sweep->runs[i].run.out, &all, err) < 0) {
        return DINM_FAILED;
    }
    if (all && dinm_sweep_table_done(t, i, &why) < 0) {
        dinm_log(DINM_LOG_NOTICE, "%s: combination %03zu is looked at again", why.text, i);
    }
    return DINM_OK;
}

int dinm_sweep_table_load(struct dinm_sweep_table *t, struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *tree = NULL;
    struct dinm_error why = {0};
    char *path = dinm_path_join(t->sweep->out, "sweep.json", err);
    TRY(path != NULL ? DINM_OK : DINM_FAILED);
    if (!dinm_path_exists(path)) {
        goto out;
    }
    if (dinm_json_load(path, &tree, &why) < 0) {
        dinm_log(DINM_LOG_NOTICE, "%s: all combinations are looked at again", why.text);
        goto out;
    }
    const cJSON *runs = cJSON_IsObject(tree) ? dinm_json_find(tree, "runs") : NULL;
    const cJSON *run = cJSON_IsArray(runs) ? runs->child : NULL;
    for (size_t i = 0; run != NULL && i < t->sweep->n_runs; i++, run = run->next) {
        TRY(load_row(t, i, run, err));
    }
out:
    cJSON_Delete(tree);
    free(path);
    return status;
}

static void put_values(struct dinm_page *p, const struct dinm_sweep *sweep, size_t i)
{
    for (size_t k = 0; k < sweep->n_keys; k++) {
        dinm_page_format(p, "%s\"%s\": %s", k > 0 ? ", " : "", sweep->keys[k].row->key,
                         dinm_sweep_value(sweep, i, k));
    }
}

static void put_json_row(struct dinm_page *p, const struct dinm_sweep_table *t, size_t i)
{
    const struct dinm_sweep_row *row = &t->rows[i];
    dinm_page_format(p, "    {\"run\": \"%03zu\", \"values\": {", i);
    put_values(p, t->sweep, i);
    dinm_page_format(p, "}, \"state\": \"%s\"", states[row->state]);
    if (row->state == DINM_SWEEP_FAILED) {
        dinm_page_put(p, ", \"reason\": ");
        dinm_page_json_text(p, row->reason);
    }
    if (row->state == DINM_SWEEP_DONE) {
        dinm_page_format(p, ", \"n_cases\": %zu, \"n_failed\": %zu, \"metrics\": {", row->n_cases,
                         row->n_failed);
        for (enum dinm_metric m = DINM_METRIC_DS; m < DINM_N_METRICS; m++) {
            dinm_page_format(p, "%s\n      \"%s\": {", m > 0 ? "," : "", dinm_metric_name(m));
            dinm_page_estimate(p, "vanilla", row->metrics[m][DINM_VANILLA_SIDE]);
            dinm_page_put(p, ", ");
            dinm_page_estimate(p, "edited", row->metrics[m][DINM_EDITED_SIDE]);
            dinm_page_format(p, ", \"n\": %zu}", row->metrics[m][DINM_EDITED_SIDE].n);
        }
        dinm_page_put(p, "}");
    }
    dinm_page_put(p, "}");
}

static void put_json(struct dinm_page *p, const struct dinm_sweep_table *t)
{
    const struct dinm_sweep *sweep = t->sweep;
    dinm_page_put(p, "{\n  \"sweep\": {");
    for (size_t k = 0; k < sweep->n_keys; k++) {
        dinm_page_format(p, "%s\n    \"%s\": [", k > 0 ? "," : "", sweep->keys[k].row->key);
        for (size_t v = 0; v < sweep->keys[k].n; v++) {
            dinm_page_format(p, "%s%s", v > 0 ? ", " : "", sweep->keys[k].said[v]);
        }
        dinm_page_put(p, "]");
    }
    dinm_page_put(p, "\n  },\n  \"runs\": [\n");
    for (size_t i = 0; i < sweep->n_runs; i++) {
        put_json_row(p, t, i);
        dinm_page_put(p, i + 1 < sweep->n_runs ? ",\n" : "\n");
    }
    dinm_page_put(p, "  ]\n}\n");
}

/* A cell in quotes: what is swept may be any text. */
static void put_csv_text(struct dinm_page *p, const char *text)
{
    dinm_page_put(p, "\"");
    for (; *text != '\0'; text++) {
        dinm_page_format(p, *text == '"' ? "\"\"" : "%c", *text);
    }
    dinm_page_put(p, "\"");
}

static void put_csv_number(struct dinm_page *p, double x)
{
    dinm_page_put(p, ",");
    if (!isnan(x)) {
        dinm_page_double(p, x);
    }
}

static void put_csv(struct dinm_page *p, const struct dinm_sweep_table *t)
{
    const struct dinm_sweep *sweep = t->sweep;
    dinm_page_put(p, "run");
    for (size_t k = 0; k < sweep->n_keys; k++) {
        dinm_page_format(p, ",%s", sweep->keys[k].row->key);
    }
    dinm_page_put(p, ",state,n_cases,n_failed");
    for (enum dinm_metric m = DINM_METRIC_DS; m < DINM_N_METRICS; m++) {
        for (int side = 0; side < DINM_N_SIDES; side++) {
            const char *name = dinm_metric_name(m), *s = dinm_side_names[side];
            dinm_page_format(p, ",%s_%s,%s_%s_low,%s_%s_high", name, s, name, s, name, s);
        }
    }
    for (size_t i = 0; i < sweep->n_runs; i++) {
        const struct dinm_sweep_row *row = &t->rows[i];
        dinm_page_format(p, "\n%03zu", i);
        for (size_t k = 0; k < sweep->n_keys; k++) {
            dinm_page_put(p, ",");
            put_csv_text(p, dinm_sweep_value(sweep, i, k));
        }
        dinm_page_format(p, ",%s,%zu,%zu", states[row->state], row->n_cases, row->n_failed);
        for (enum dinm_metric m = DINM_METRIC_DS; m < DINM_N_METRICS; m++) {
            for (int side = 0; side < DINM_N_SIDES; side++) {
                const struct dinm_estimate *e = &row->metrics[m][side];
                const bool known = row->state == DINM_SWEEP_DONE;
                put_csv_number(p, known ? e->value : NAN);
                put_csv_number(p, known ? e->low : NAN);
                put_csv_number(p, known ? e->high : NAN);
            }
        }
    }
    dinm_page_put(p, "\n");
}

int dinm_sweep_table_write(const struct dinm_sweep_table *t, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *out = t->sweep->out;
    struct dinm_page markdown = {.err = err}, html = {.err = err};
    struct dinm_page csv = {.err = err}, json = {.err = err};
    dinm_sweep_put_markdown(&markdown, t);
    dinm_sweep_put_html(&html, t);
    put_csv(&csv, t);
    put_json(&json, t);
    TRY(dinm_page_save(&markdown, out, "sweep.md"));
    TRY(dinm_page_save(&html, out, "sweep.html"));
    TRY(dinm_page_save(&csv, out, "sweep.csv"));
    TRY(dinm_page_save(&json, out, "sweep.json"));
out:
    dinm_buffer_free(&markdown.text);
    dinm_buffer_free(&html.text);
    dinm_buffer_free(&csv.text);
    dinm_buffer_free(&json.text);
    return status;
}
