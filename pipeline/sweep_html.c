/* OUT/sweep.html: the table, with links to the runs' own pages. */
#include "pipeline/html_parts.h"
#include "pipeline/sweep_text.h"

static void put_head(struct dinm_page *p, const struct dinm_sweep_table *t,
                     const struct dinm_sweep_metrics *shown)
{
    /* a table of many columns is wider than a page of text */
    dinm_page_put(p, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                     "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                     "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                     "style-src 'unsafe-inline'\">\n"
                     "<meta name=\"color-scheme\" content=\"light dark\">\n"
                     "<title>Sweep - dinm_pipeline</title>\n<style>\n");
    dinm_page_put(p, dinm_html_style);
    dinm_page_put(p, "main{max-width:none}td a{color:var(--edited)}\n</style>\n</head>\n<body>\n"
                     "<main>\n<h1>Sweep</h1>\n<p class=\"soft\">");
    dinm_sweep_put_progress(p, t);
    dinm_page_put(p, "</p>\n<div class=\"card\"><table><thead><tr><th>run</th>");
    for (size_t k = 0; k < t->sweep->n_keys; k++) {
        dinm_page_format(p, "<th class=\"n\">%s</th>", t->sweep->keys[k].row->key);
    }
    for (size_t s = 0; s < shown->n; s++) {
        const char *name = dinm_metric_name(shown->list[s]);
        dinm_page_format(p, "<th class=\"n v\">%s vanilla</th><th class=\"n e\">%s edited</th>",
                         name, name);
    }
    dinm_page_put(p, "<th class=\"n\">cases</th><th></th></tr></thead><tbody>\n");
}

static void put_row(struct dinm_page *p, const struct dinm_sweep_table *t, size_t i,
                    const struct dinm_sweep_metrics *shown)
{
    char number[DINM_SAY_ROOM], interval[DINM_SAY_ROOM];
    const struct dinm_sweep_row *row = &t->rows[i];
    const bool done = row->state == DINM_SWEEP_DONE;
    if (done) {
        dinm_page_format(p, "<tr><td><a href=\"sweep/%03zu/report.html\">%03zu</a></td>", i, i);
    } else {
        dinm_page_format(p, "<tr><td>%03zu</td>", i);
    }
    for (size_t k = 0; k < t->sweep->n_keys; k++) {
        dinm_page_put(p, "<td class=\"n\"><code>");
        dinm_page_html(p, dinm_sweep_value(t->sweep, i, k));
        dinm_page_put(p, "</code></td>");
    }
    for (size_t s = 0; s < shown->n; s++) {
        const int decimals = dinm_metric_decimals(shown->list[s]);
        for (int side = 0; side < DINM_N_SIDES; side++) {
            const struct dinm_estimate e = row->metrics[shown->list[s]][side];
            dinm_page_format(p, "<td class=\"n\">%s <small>%s</small></td>",
                             done ? dinm_say_number(number, e.value, decimals, false) : "",
                             done ? dinm_say_interval(interval, e, decimals, 0, false) : "");
        }
    }
    dinm_page_format(p, "<td class=\"n\">%zu</td><td>", row->n_cases);
    dinm_page_html(p, dinm_sweep_remark(number, row));
    dinm_page_put(p, "</td></tr>\n");
}

void dinm_sweep_put_html(struct dinm_page *p, const struct dinm_sweep_table *t)
{
    const struct dinm_sweep_metrics shown = dinm_sweep_shown(t);
    put_head(p, t, &shown);
    for (size_t i = 0; i < t->sweep->n_runs; i++) {
        put_row(p, t, i, &shown);
    }
    dinm_page_put(p, "</tbody></table></div>\n</main>\n</body>\n</html>\n");
}
