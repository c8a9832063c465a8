/* The tables that people read: on the terminal, as Markdown, as CSV. */
#include <math.h>
#include <stdio.h>
#include "pipeline/results_page.h"
#include "pipeline/results_text.h"

enum { BAR_WIDTH = 40 };

/* "#" times n / most of the bar's width, at least one for n > 0. */
static void put_bar(struct dinm_page *p, size_t n, size_t most)
{
    size_t length = n == 0 ? 0 : (size_t)ceil((double)n / (double)most * BAR_WIDTH);
    for (size_t i = 0; i < length; i++) {
        dinm_page_put(p, "#");
    }
}

static void put_terminal_row(struct dinm_page *p, const struct dinm_result_row *row)
{
    char number[DINM_SAY_ROOM], interval[DINM_SAY_ROOM];
    dinm_page_format(p, "  %-11s", row->name);
    for (int side = 0; side < DINM_N_SIDES; side++) {
        struct dinm_estimate e = row->sides[side];
        dinm_page_format(p, "%7s  ", dinm_say_number(number, e.value, row->decimals, false));
        dinm_page_format(p, "%-16s", dinm_say_interval(interval, e, row->decimals, 5, false));
    }
    dinm_page_format(p, "%8s\n", dinm_say_number(number, row->change.value, row->decimals, true));
}

static void put_counts(struct dinm_page *p, const struct dinm_results *r,
                       const struct dinm_result_table *t)
{
    dinm_page_format(p, "%zu case%s", r->n_cases, r->n_cases == 1 ? "" : "s");
    if (t->n_failed) {
        dinm_page_format(p, " (%zu failed, not counted)", t->n_failed);
    }
    dinm_page_format(p, ", %zu distinct prompts", r->n_prompts_distinct);
    if (r->n_prompts_cut) {
        dinm_page_format(p, " (%zu cut to the input limit)", r->n_prompts_cut);
    }
}

static void put_layers(struct dinm_page *p, const struct dinm_result_table *t, const char *indent)
{
    for (size_t l = 0; l < t->n_layers; l++) {
        if (t->layers[l]) {
            dinm_page_format(p, "%s%3zu  x%-6zu ", indent, l, t->layers[l]);
            put_bar(p, t->layers[l], t->most_in_layer);
            dinm_page_put(p, "\n");
        }
    }
}

int dinm_results_print(const struct dinm_results *r, struct dinm_buffer *out,
                       struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_result_table t = {0};
    struct dinm_page p = {.err = err};
    TRY(dinm_results_measure(&t, r, err));
    dinm_page_format(&p, "  %-11s%7s  %-16s%7s  %-16s%8s\n", "", "vanilla", "95 % interval",
                     "edited", "95 % interval", "change");
    for (int m = 0; m < DINM_N_METRICS; m++) {
        if (dinm_results_shown(&t, m)) {
            put_terminal_row(&p, &t.rows[m]);
        }
    }
    dinm_page_put(&p, "  ");
    put_counts(&p, r, &t);
    dinm_page_format(&p, "\n  judged by %s%s\n", dinm_say_judge(r->settings),
                     dinm_say_judge_name(r->settings));
    if (t.most_in_layer) {
        dinm_page_put(&p, "  located layers (from 0)\n");
        put_layers(&p, &t, "  ");
    }
    TRY(p.status);
    TRY(dinm_buffer_append(out, p.text.data, p.text.n_bytes, err));
out:
    dinm_buffer_free(&p.text);
    dinm_results_table_free(&t);
    return status;
}

static void put_markdown_estimate(struct dinm_page *p, struct dinm_estimate e, int decimals,
                                  bool sign)
{
    char number[DINM_SAY_ROOM], interval[DINM_SAY_ROOM];
    dinm_say_interval(interval, e, decimals, 0, sign);
    dinm_page_format(p, " %s%s%s |", dinm_say_number(number, e.value, decimals, sign),
                     interval[0] ? " " : "", interval);
}

static void put_markdown_metrics(struct dinm_page *p, const struct dinm_result_table *t)
{
    dinm_page_put(p, "| metric | vanilla | edited | change | cases | meaning |\n"
                     "|---|---:|---:|---:|---:|---|\n");
    for (int m = 0; m < DINM_N_METRICS; m++) {
        const struct dinm_result_row *row = &t->rows[m];
        if (dinm_results_shown(t, m)) {
            dinm_page_format(p, "| %s |", row->name);
            put_markdown_estimate(p, row->sides[DINM_VANILLA_SIDE], row->decimals, false);
            put_markdown_estimate(p, row->sides[DINM_EDITED_SIDE], row->decimals, false);
            put_markdown_estimate(p, row->change, row->decimals, true);
            dinm_page_format(p, " %zu | %s |\n", row->n, row->meaning);
        }
    }
}

static void put_markdown_categories(struct dinm_page *p, const struct dinm_result_table *t)
{
    dinm_page_put(p,
                  "\n## Categories\n\n"
                  "| category | cases | DS vanilla | DS edited | DG-Avg vanilla | DG-Avg edited |\n"
                  "|---|---:|---:|---:|---:|---:|\n");
    for (size_t i = 0; i < t->n_categories; i++) {
        const struct dinm_result_category *c = &t->categories[i];
        dinm_page_put(p, "| ");
        dinm_page_markdown(p, c->name);
        dinm_page_format(p, " | %zu |", c->n);
        put_markdown_estimate(p, c->ds[DINM_VANILLA_SIDE], 1, false);
        put_markdown_estimate(p, c->ds[DINM_EDITED_SIDE], 1, false);
        put_markdown_estimate(p, c->dg[DINM_VANILLA_SIDE], 1, false);
        put_markdown_estimate(p, c->dg[DINM_EDITED_SIDE], 1, false);
        dinm_page_put(p, "\n");
    }
}

static void put_markdown_failures(struct dinm_page *p, const struct dinm_results *r)
{
    dinm_page_put(p, "\n## Failed cases\n\n| id | reason |\n|---:|---|\n");
    for (size_t i = 0; i < r->n_cases; i++) {
        if (r->cases[i].failed) {
            dinm_page_format(p, "| %lld | ", (long long)r->cases[i].id);
            dinm_page_markdown(p, r->cases[i].failed);
            dinm_page_put(p, " |\n");
        }
    }
}

static void put_markdown(struct dinm_page *p, const struct dinm_results *r,
                         const struct dinm_result_table *t)
{
    dinm_page_put(p, "# Results\n\n");
    put_markdown_metrics(p, t);
    dinm_page_put(p, "\n");
    put_counts(p, r, t);
    dinm_page_format(p,
                     ". In brackets: 95 %% intervals, percentile bootstrap over cases (%lld "
                     "resamples); changes are paired by case.\n",
                     (long long)r->settings->evaluate.n_resamples);
    dinm_page_format(p, "\nJudged by %s", dinm_say_judge(r->settings));
    dinm_page_markdown(p, dinm_say_judge_name(r->settings));
    dinm_page_put(p, ".\n");
    if (t->most_in_layer) {
        dinm_page_put(p, "\n## Located layers\n\nLayers count from 0.\n\n```\n");
        put_layers(p, t, "");
        dinm_page_put(p, "```\n");
    }
    put_markdown_categories(p, t);
    if (t->n_failed) {
        put_markdown_failures(p, r);
    }
}

static void put_csv_number(struct dinm_page *p, double x)
{
    dinm_page_put(p, ",");
    if (!isnan(x)) {
        dinm_page_double(p, x);
    }
}

static void put_csv(struct dinm_page *p, const struct dinm_result_table *t)
{
    dinm_page_put(p, "metric,side,value,low,high,n\n");
    for (int m = 0; m < DINM_N_METRICS; m++) {
        for (int side = 0; side < DINM_N_SIDES; side++) {
            const struct dinm_estimate *e = &t->rows[m].sides[side];
            dinm_page_format(p, "%s,%s", t->rows[m].name, dinm_side_names[side]);
            put_csv_number(p, e->value);
            put_csv_number(p, e->low);
            put_csv_number(p, e->high);
            dinm_page_format(p, ",%zu\n", t->rows[m].n);
        }
    }
}

int dinm_results_write_texts(const struct dinm_results *r, const struct dinm_result_table *t,
                             const char *out, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_page markdown = {.err = err}, csv = {.err = err};
    put_markdown(&markdown, r, t);
    put_csv(&csv, t);
    TRY(dinm_page_save(&markdown, out, "results.md"));
    TRY(dinm_page_save(&csv, out, "results.csv"));
out:
    dinm_buffer_free(&markdown.text);
    dinm_buffer_free(&csv.text);
    return status;
}
