/* report.html from top to bottom. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "io/json.h"
#include "pipeline/html.h"
#include "pipeline/html_parts.h"

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static void put_head(struct dinm_page *p, const struct dinm_results *r,
                     const struct dinm_result_table *t)
{
    const char *model = last_part(r->settings->model.path);
    /* the page needs nothing but itself, and says so to the browser */
    dinm_page_put(p, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                     "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                     "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                     "style-src 'unsafe-inline'\">\n"
                     "<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
    dinm_page_html(p, model);
    dinm_page_put(p, " - dinm_pipeline</title>\n<style>\n");
    dinm_page_put(p, dinm_html_style);
    dinm_page_put(p, "</style>\n</head>\n<body>\n<main>\n<h1>");
    dinm_page_html(p, model);
    dinm_page_put(p, "</h1>\n<p class=\"soft\">Detoxifying edits on ");
    dinm_page_html(p, last_part(r->settings->cases.path));
    dinm_page_format(p, ": %zu case%s", r->n_cases, r->n_cases == 1 ? "" : "s");
    if (t->n_failed) {
        dinm_page_format(p, " (%zu failed, not counted)", t->n_failed);
    }
    dinm_page_format(p, ", %zu distinct prompts", r->n_prompts_distinct);
    if (r->n_prompts_cut) {
        dinm_page_format(p, " (%zu cut to the input limit)", r->n_prompts_cut);
    }
    dinm_page_format(p, ". Judged by %s", dinm_say_judge(r->settings));
    dinm_page_html(p, dinm_say_judge_name(r->settings));
    dinm_page_put(p, ".</p>\n");
}

static void put_tiles(struct dinm_page *p, const struct dinm_result_table *t)
{
    static const int shown[] = {DINM_METRIC_DS, DINM_METRIC_DG_AVG, DINM_METRIC_FLUENCY,
                                DINM_METRIC_KQA};
    dinm_page_put(p, "<div class=\"tiles\">\n");
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
        const struct dinm_result_row *row = &t->rows[shown[i]];
        char before[DINM_SAY_ROOM], after[DINM_SAY_ROOM];
        if (dinm_results_shown(t, shown[i])) {
            dinm_page_format(
                p,
                "<div class=\"tile\"><b><i class=\"v\">%s</i> &rarr; <i class=\"e\">%s</i></b>"
                "<span>%s: %s</span></div>\n",
                dinm_say_number(before, row->sides[0].value, row->decimals, false),
                dinm_say_number(after, row->sides[1].value, row->decimals, false), row->name,
                row->meaning);
        }
    }
    dinm_page_put(p, "</div>\n");
}

static void put_cell(struct dinm_page *p, struct dinm_estimate e, int decimals, bool sign)
{
    char number[DINM_SAY_ROOM], interval[DINM_SAY_ROOM];
    dinm_page_format(p, "<td class=\"n\">%s <small>%s</small></td>",
                     dinm_say_number(number, e.value, decimals, sign),
                     dinm_say_interval(interval, e, decimals, 0, sign));
}

static void put_table(struct dinm_page *p, const struct dinm_results *r,
                      const struct dinm_result_table *t)
{
    dinm_page_put(p, "<div class=\"card\"><table><thead><tr><th>metric</th>"
                     "<th class=\"n v\">vanilla</th><th class=\"n e\">edited</th>"
                     "<th class=\"n\">change</th><th class=\"n\">cases</th></tr></thead><tbody>\n");
    for (int m = 0; m < DINM_N_METRICS; m++) {
        const struct dinm_result_row *row = &t->rows[m];
        if (dinm_results_shown(t, m)) {
            dinm_page_format(p, "<tr><td title=\"%s\">%s</td>", row->meaning, row->name);
            put_cell(p, row->sides[DINM_VANILLA_SIDE], row->decimals, false);
            put_cell(p, row->sides[DINM_EDITED_SIDE], row->decimals, false);
            put_cell(p, row->change, row->decimals, true);
            dinm_page_format(p, "<td class=\"n\">%zu</td></tr>\n", row->n);
        }
    }
    dinm_page_format(p,
                     "</tbody></table></div>\n<p class=\"soft\">In brackets: 95 %% intervals, "
                     "percentile bootstrap over cases (%lld resamples); changes are paired by "
                     "case.</p>\n",
                     (long long)r->settings->evaluate.n_resamples);
}

static void put_value(struct dinm_page *p, const cJSON *value)
{
    if (cJSON_IsString(value)) {
        dinm_page_html(p, value->valuestring);
    } else if (cJSON_IsNumber(value)) {
        dinm_page_double(p, value->valuedouble);
    } else {
        char *text = cJSON_PrintUnformatted(value);
        if (text) {
            dinm_page_html(p, text);
        } else if (p->status == DINM_OK) {
            p->status = dinm_fail(p->err, DINM_FAILED, "not enough memory for report.html");
        }
        cJSON_free(text);
    }
}

/* A line for each key; objects in the object give keys like edit.lr. */
static void put_keys(struct dinm_page *p, const cJSON *object, const char *group)
{
    for (const cJSON *item = object->child; item; item = item->next) {
        if (cJSON_IsObject(item) && !group) {
            put_keys(p, item, item->string);
            continue;
        }
        dinm_page_put(p, "<tr><td><code>");
        dinm_page_html(p, group ? group : "");
        dinm_page_put(p, group ? "." : "");
        dinm_page_html(p, item->string);
        dinm_page_put(p, "</code></td><td><code class=\"said\">");
        put_value(p, item);
        dinm_page_put(p, "</code></td></tr>\n");
    }
}

static int put_json_table(struct dinm_page *p, const char *title, const char *json, size_t n_bytes)
{
    cJSON *tree = NULL;
    int status = dinm_json_parse(title, json, n_bytes, &tree, p->err);
    if (status == DINM_OK) {
        dinm_page_format(p, "<details><summary><b>%s</b></summary><div class=\"in\"><table>\n",
                         title);
        put_keys(p, tree, NULL);
        dinm_page_put(p, "</table></div></details>\n");
    }
    cJSON_Delete(tree);
    return status;
}

static int put_settings(struct dinm_page *p, const struct dinm_results *r)
{
    int status = DINM_OK;
    struct dinm_buffer settings = {0};
    dinm_page_put(p, "<h2>How it was made</h2>\n");
    TRY(dinm_settings_print(r->settings, false, false, &settings, p->err));
    TRY(put_json_table(p, "Settings", settings.data, settings.n_bytes));
    if (r->digests) {
        TRY(put_json_table(p, "Digests", r->digests, strlen(r->digests)));
    }
out:
    dinm_buffer_free(&settings);
    return status;
}

int dinm_html_write(const struct dinm_results *r, const char *out, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_result_table t = {0};
    struct dinm_page p = {.err = err};
    TRY(dinm_results_measure(&t, r, err));
    put_head(&p, r, &t);
    put_tiles(&p, &t);
    dinm_page_put(&p, "<h2>Metrics</h2>\n<p class=\"soft\"><span class=\"v\">vanilla</span>: the "
                      "model as it was; <span class=\"e\">edited</span>: after each case's own "
                      "edit.</p>\n<div class=\"card\">\n");
    dinm_html_bars(&p, &t);
    dinm_page_put(&p, "</div>\n");
    put_table(&p, r, &t);
    dinm_page_put(&p, "<h2>Categories</h2>\n<div class=\"card\">\n");
    dinm_html_categories(&p, &t);
    dinm_page_put(&p, "</div>\n");
    if (t.most_in_layer) {
        dinm_page_put(&p,
                      "<h2>Located layers</h2>\n<p class=\"soft\">Cases by edited layer; layers "
                      "count from 0.</p>\n<div class=\"card\">\n");
        dinm_html_layers(&p, &t);
        dinm_page_put(&p, "</div>\n");
    }
    dinm_html_lines(&p, r);
    dinm_html_cases(&p, r);
    TRY(put_settings(&p, r));
    dinm_page_put(&p, "</main>\n</body>\n</html>\n");
    TRY(dinm_page_save(&p, out, "report.html"));
out:
    dinm_buffer_free(&p.text);
    dinm_results_table_free(&t);
    return status;
}
