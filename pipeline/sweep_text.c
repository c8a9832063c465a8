/* One row per combination, on the terminal and as Markdown. */
#include "pipeline/sweep_text.h"

#include <stdio.h>
#include <string.h>

enum { WIDEST_VALUE = 24 }; /* on the terminal, in characters */

struct dinm_sweep_metrics dinm_sweep_shown(const struct dinm_sweep_table *t)
{
    static const enum dinm_metric candidates[] = {DINM_METRIC_DS, DINM_METRIC_DG_AVG,
                                                  DINM_METRIC_FLUENCY, DINM_METRIC_KQA};
    struct dinm_sweep_metrics shown = {.n = 0};
    for (size_t c = 0; c < sizeof candidates / sizeof *candidates; c++) {
        bool measured = false;
        for (size_t i = 0; i < t->sweep->n_runs; i++) {
            measured = measured || t->rows[i].measured[candidates[c]];
        }
        if (measured) {
            shown.list[shown.n++] = candidates[c];
        }
    }
    return shown;
}

const char *dinm_sweep_value(const struct dinm_sweep *sweep, size_t i, size_t key)
{
    return sweep->keys[key].said[dinm_sweep_choice(sweep, i, key)];
}

const char *dinm_sweep_remark(char room[DINM_SAY_ROOM], const struct dinm_sweep_row *row)
{
    switch (row->state) {
    case DINM_SWEEP_FAILED:
        return row->reason;
    case DINM_SWEEP_DONE:
        if (row->n_failed == 0) {
            return "";
        }
        snprintf(room, DINM_SAY_ROOM, "%zu of %zu cases failed", row->n_failed, row->n_cases);
        return room;
    default:
        return "open";
    }
}

void dinm_sweep_put_progress(struct dinm_page *p, const struct dinm_sweep_table *t)
{
    size_t n[DINM_SWEEP_N_STATES] = {0};
    for (size_t i = 0; i < t->sweep->n_runs; i++) {
        n[t->rows[i].state]++;
    }
    dinm_page_format(p, "%zu of %zu combinations done", n[DINM_SWEEP_DONE], t->sweep->n_runs);
    if (n[DINM_SWEEP_FAILED] > 0) {
        dinm_page_format(p, ", %zu failed", n[DINM_SWEEP_FAILED]);
    }
    dinm_page_put(p, ". In brackets: 95 % intervals, percentile bootstrap over cases.");
}

/* Characters of UTF-8 text. */
static size_t width_of(const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++) {
        n += ((unsigned char)*text & 0xC0U) != 0x80U;
    }
    return n;
}

/* Bytes of its first n characters. */
static size_t bytes_of(const char *text, size_t n)
{
    size_t at = 0;
    while (text[at] != '\0' && (n > 0 || ((unsigned char)text[at] & 0xC0U) == 0x80U)) {
        n -= ((unsigned char)text[at++] & 0xC0U) != 0x80U;
    }
    return at;
}

/* Right-aligned; what is too wide ends with three points. */
static void put_cell(struct dinm_page *p, const char *text, size_t width)
{
    const size_t n = width_of(text);
    if (n > width) {
        dinm_page_format(p, "  %.*s...", (int)bytes_of(text, width - 3), text);
    } else {
        dinm_page_format(p, "  %*s%s", (int)(width - n), "", text);
    }
}

/* Width of a swept key's column. */
static size_t column_of(const struct dinm_sweep *sweep, size_t k)
{
    size_t widest = strlen(sweep->keys[k].row->key);
    for (size_t v = 0; v < sweep->keys[k].n; v++) {
        size_t n = width_of(sweep->keys[k].said[v]);
        n = n < WIDEST_VALUE ? n : WIDEST_VALUE;
        widest = n > widest ? n : widest;
    }
    return widest;
}

/* "11.1 -> 100.0"; nothing where it is not known. */
static void put_change(struct dinm_page *p, const struct dinm_sweep_row *row, enum dinm_metric m)
{
    char before[DINM_SAY_ROOM], after[DINM_SAY_ROOM];
    const int decimals = dinm_metric_decimals(m);
    if (row->state == DINM_SWEEP_DONE) {
        dinm_page_format(p, "  %6s -> %6s",
                         dinm_say_number(before, row->metrics[m][0].value, decimals, false),
                         dinm_say_number(after, row->metrics[m][1].value, decimals, false));
    } else {
        dinm_page_format(p, "  %16s", "");
    }
}

static void put_terminal_row(struct dinm_page *p, const struct dinm_sweep_table *t, size_t i,
                             const struct dinm_sweep_metrics *shown)
{
    char room[DINM_SAY_ROOM];
    const struct dinm_sweep_row *row = &t->rows[i];
    const char *remark = dinm_sweep_remark(room, row);
    dinm_page_format(p, "  %03zu", i);
    for (size_t k = 0; k < t->sweep->n_keys; k++) {
        put_cell(p, dinm_sweep_value(t->sweep, i, k), column_of(t->sweep, k));
    }
    for (size_t s = 0; s < shown->n; s++) {
        put_change(p, row, shown->list[s]);
    }
    dinm_page_format(p, "%s%s\n", remark[0] != '\0' ? "  " : "", remark);
}

int dinm_sweep_table_print(const struct dinm_sweep_table *t, struct dinm_buffer *out,
                           struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_sweep_metrics shown = dinm_sweep_shown(t);
    struct dinm_page p = {.err = err};
    dinm_page_put(&p, "  run");
    for (size_t k = 0; k < t->sweep->n_keys; k++) {
        put_cell(&p, t->sweep->keys[k].row->key, column_of(t->sweep, k));
    }
    for (size_t s = 0; s < shown.n; s++) {
        dinm_page_format(&p, "  %16s", dinm_metric_name(shown.list[s]));
    }
    dinm_page_put(&p, "\n");
    for (size_t i = 0; i < t->sweep->n_runs; i++) {
        put_terminal_row(&p, t, i, &shown);
    }
    TRY(p.status);
    TRY(dinm_buffer_append(out, p.text.data, p.text.n_bytes, err));
out:
    dinm_buffer_free(&p.text);
    return status;
}

static void put_markdown_head(struct dinm_page *p, const struct dinm_sweep_table *t,
                              const struct dinm_sweep_metrics *shown)
{
    dinm_page_put(p, "# Sweep\n\n| run |");
    for (size_t k = 0; k < t->sweep->n_keys; k++) {
        dinm_page_format(p, " %s |", t->sweep->keys[k].row->key);
    }
    for (size_t s = 0; s < shown->n; s++) {
        const char *name = dinm_metric_name(shown->list[s]);
        dinm_page_format(p, " %s vanilla | %s edited |", name, name);
    }
    dinm_page_put(p, " cases | remark |\n|---|");
    for (size_t column = 0; column < t->sweep->n_keys + 2 * shown->n; column++) {
        dinm_page_put(p, "---:|");
    }
    dinm_page_put(p, "---:|---|\n");
}

static void put_markdown_row(struct dinm_page *p, const struct dinm_sweep_table *t, size_t i,
                             const struct dinm_sweep_metrics *shown)
{
    char number[DINM_SAY_ROOM], interval[DINM_SAY_ROOM];
    const struct dinm_sweep_row *row = &t->rows[i];
    dinm_page_format(p, "| [%03zu](sweep/%03zu/results.md) |", i, i);
    for (size_t k = 0; k < t->sweep->n_keys; k++) {
        dinm_page_put(p, " ");
        dinm_page_markdown(p, dinm_sweep_value(t->sweep, i, k));
        dinm_page_put(p, " |");
    }
    for (size_t s = 0; s < shown->n; s++) {
        const int decimals = dinm_metric_decimals(shown->list[s]);
        for (int side = 0; side < DINM_N_SIDES; side++) {
            const struct dinm_estimate e = row->metrics[shown->list[s]][side];
            if (row->state == DINM_SWEEP_DONE) {
                dinm_page_format(p, " %s %s |", dinm_say_number(number, e.value, decimals, false),
                                 dinm_say_interval(interval, e, decimals, 0, false));
            } else {
                dinm_page_put(p, " |");
            }
        }
    }
    dinm_page_format(p, " %zu | ", row->n_cases);
    dinm_page_markdown(p, dinm_sweep_remark(number, row));
    dinm_page_put(p, " |\n");
}

void dinm_sweep_put_markdown(struct dinm_page *p, const struct dinm_sweep_table *t)
{
    const struct dinm_sweep_metrics shown = dinm_sweep_shown(t);
    put_markdown_head(p, t, &shown);
    for (size_t i = 0; i < t->sweep->n_runs; i++) {
        put_markdown_row(p, t, i, &shown);
    }
    dinm_page_put(p, "\n");
    dinm_sweep_put_progress(p, t);
    dinm_page_put(p, "\n");
}
