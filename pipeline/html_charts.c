/* Charts of report.html that compare the two sides: bars with intervals, categories, layers. */
#include <math.h>
#include "pipeline/html_parts.h"

static const char *const fills[DINM_N_SIDES] = {"fv", "fe"};

static void open_chart(struct dinm_page *p, double height, const char *title)
{
    dinm_page_format(
        p, "<svg viewBox=\"0 0 %d %.0f\" role=\"img\" aria-label=\"%s\"><title>%s</title>\n",
        DINM_CHART_WIDTH, height, title, title);
}

static void put_label(struct dinm_page *p, const char *class, double x, double y,
                      const char *anchor, const char *text)
{
    dinm_page_format(p, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", class, x, y,
                     anchor);
    dinm_page_html(p, text);
    dinm_page_put(p, "</text>\n");
}

/* A vertical line of the grid with its value below. */
static void put_tick(struct dinm_page *p, double x, double top, double bottom, double value)
{
    dinm_page_format(p, "<path class=\"g\" d=\"M%.1f %.1fV%.1f\"/>", x, top, bottom);
    dinm_page_format(p,
                     "<text class=\"t\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%g</text>\n",
                     x, bottom + 14, value);
}

enum { BAR_LEFT = 96, BAR_RIGHT = 590, BAR_ROW = 40, BAR_HEIGHT = 12 };

static double bar_x(double value, double full)
{
    double share = value / full;
    return BAR_LEFT + (share < 0 ? 0 : share > 1 ? 1 : share) * (BAR_RIGHT - BAR_LEFT);
}

/* One side's bar, its interval as a whisker, its numbers at the right. */
static void put_bar(struct dinm_page *p, struct dinm_estimate e, enum dinm_side side, double y,
                    double full, int decimals)
{
    char number[DINM_SAY_ROOM], interval[DINM_SAY_ROOM];
    double middle = y + BAR_HEIGHT / 2.0;
    if (isnan(e.value)) {
        return;
    }
    dinm_page_format(p,
                     "<rect class=\"%s\" x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" "
                     "rx=\"2\"/>",
                     fills[side], BAR_LEFT, y, bar_x(e.value, full) - BAR_LEFT, BAR_HEIGHT);
    if (e.n > 1 && !isnan(e.low)) {
        dinm_page_format(p, "<path class=\"w\" d=\"M%.1f %.1fv5m0 -2.5H%.1fm0 -2.5v5\"/>",
                         bar_x(e.low, full), middle - 2.5, bar_x(e.high, full));
    }
    dinm_page_format(p, "<text x=\"%d\" y=\"%.1f\"><tspan class=\"h\">%s</tspan> ", BAR_RIGHT + 14,
                     middle + 4, dinm_say_number(number, e.value, decimals, false));
    dinm_page_format(p, "<tspan class=\"t\">%s</tspan></text>\n",
                     dinm_say_interval(interval, e, decimals, 0, false));
}

/* Metrics [first, last] on one axis. */
static void put_bars(struct dinm_page *p, const struct dinm_result_table *t, const int *metrics,
                     int n_metrics, const char *title)
{
    double full = t->rows[metrics[0]].full, bottom = 26;
    for (int i = 0; i < n_metrics; i++) {
        bottom += dinm_results_shown(t, metrics[i]) ? BAR_ROW : 0;
    }
    open_chart(p, bottom + 20, title);
    put_label(p, "h", 0, 14, "start", title);
    for (int i = 0; i <= 4; i++) {
        put_tick(p, bar_x(full * i / 4, full), 24, bottom, full * i / 4);
    }
    double y = 26;
    for (int i = 0; i < n_metrics; i++) {
        const struct dinm_result_row *row = &t->rows[metrics[i]];
        if (!dinm_results_shown(t, metrics[i])) {
            continue;
        }
        put_label(p, "", BAR_LEFT - 10, y + 24, "end", row->name);
        for (enum dinm_side side = DINM_VANILLA_SIDE; side < DINM_N_SIDES; side++) {
            put_bar(p, row->sides[side], side, y + 6 + side * (BAR_HEIGHT + 3), full,
                    row->decimals);
        }
        y += BAR_ROW;
    }
    dinm_page_put(p, "</svg>\n");
}

void dinm_html_bars(struct dinm_page *p, const struct dinm_result_table *t)
{
    static const int percent[] = {DINM_DS,         DINM_DG_ONLY_Q,   DINM_DG_OTHER_A,
                                  DINM_DG_OTHER_Q, DINM_DG_OTHER_AQ, DINM_METRIC_DG_AVG};
    static const int effects[] = {DINM_METRIC_EMPTY, DINM_METRIC_KQA};
    static const int fluency[] = {DINM_METRIC_FLUENCY}, repetition[] = {DINM_METRIC_REPETITION};
    put_bars(p, t, percent, 6, "Safe responses, %");
    put_bars(p, t, effects, 2, "Side effects, %");
    put_bars(p, t, fluency, 1, "Fluency: n-gram entropy, bits");
    put_bars(p, t, repetition, 1, "Repetition: share of repeated 4-grams");
}

enum { DOT_ROW = 26, DOT_LEFT = 190, DOT_WIDTH = 250, DOT_GAP = 50 };

/* Vanilla and edited on one line from 0 to 100; hovering tells the numbers. */
static void put_dots(struct dinm_page *p, const struct dinm_estimate *sides, double left, double y)
{
    double x[DINM_N_SIDES];
    for (int side = 0; side < DINM_N_SIDES; side++) {
        x[side] = left + sides[side].value / 100 * DOT_WIDTH;
    }
    if (isnan(x[DINM_VANILLA_SIDE]) || isnan(x[DINM_EDITED_SIDE])) {
        return;
    }
    dinm_page_format(p, "<g><title>vanilla %.1f, edited %.1f</title>", sides[0].value,
                     sides[1].value);
    dinm_page_format(p, "<path class=\"link\" d=\"M%.1f %.1fH%.1f\"/>", x[0], y, x[1]);
    for (int side = 0; side < DINM_N_SIDES; side++) {
        dinm_page_format(p, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>", fills[side],
                         x[side], y);
    }
    dinm_page_put(p, "</g>\n");
}

void dinm_html_categories(struct dinm_page *p, const struct dinm_result_table *t)
{
    static const char *const titles[] = {"DS, % safe", "DG-Avg, % safe"};
    double bottom = 28 + DOT_ROW * (double)t->n_categories;
    open_chart(p, bottom + 20, "Safe responses by category");
    for (int panel = 0; panel < 2; panel++) {
        double left = DOT_LEFT + panel * (DOT_WIDTH + DOT_GAP);
        put_label(p, "h", left, 14, "start", titles[panel]);
        for (int i = 0; i <= 2; i++) {
            put_tick(p, left + i * DOT_WIDTH / 2.0, 24, bottom, 50 * i);
        }
        for (size_t i = 0; i < t->n_categories; i++) {
            const struct dinm_result_category *c = &t->categories[i];
            put_dots(p, panel ? c->dg : c->ds, left, 28 + DOT_ROW * ((double)i + 0.5));
        }
    }
    for (size_t i = 0; i < t->n_categories; i++) {
        char count[DINM_SAY_ROOM];
        double y = 28 + DOT_ROW * ((double)i + 0.5) + 4;
        /* the inner drawing cuts a long name off, hovering tells it whole */
        dinm_page_format(p, "<svg y=\"%.1f\" width=\"%d\" height=\"%d\"><title>", y - 17,
                         DOT_LEFT - 34, DOT_ROW);
        dinm_page_html(p, t->categories[i].name);
        dinm_page_put(p, "</title>");
        put_label(p, "", 0, 17, "start", t->categories[i].name);
        dinm_page_put(p, "</svg>\n");
        put_label(p, "t", DOT_LEFT - 14, y, "end",
                  dinm_say_number(count, (double)t->categories[i].n, 0, false));
    }
    dinm_page_put(p, "</svg>\n");
}

enum { LAYER_TOP = 24, LAYER_BOTTOM = 170 };

void dinm_html_layers(struct dinm_page *p, const struct dinm_result_table *t)
{
    double step = DINM_CHART_WIDTH / (double)t->n_layers;
    double width = step * 0.8 < 48 ? step * 0.8 : 48;
    size_t every = 1 + t->n_layers / 33; /* labels that fit beside each other */
    open_chart(p, LAYER_BOTTOM + 22, "Cases by located layer");
    dinm_page_format(p, "<path class=\"g\" d=\"M0 %dH%d\"/>\n", LAYER_BOTTOM, DINM_CHART_WIDTH);
    for (size_t l = 0; l < t->n_layers; l++) {
        char number[DINM_SAY_ROOM];
        double x = ((double)l + 0.5) * step;
        double height =
            (double)t->layers[l] / (double)t->most_in_layer * (LAYER_BOTTOM - LAYER_TOP);
        if (t->layers[l]) {
            dinm_page_format(p,
                             "<rect class=\"fe\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                             "height=\"%.1f\" rx=\"2\"/>",
                             x - width / 2, LAYER_BOTTOM - height, width, height);
            put_label(p, "", x, LAYER_BOTTOM - height - 6, "middle",
                      dinm_say_number(number, (double)t->layers[l], 0, false));
        }
        if (l % every == 0) {
            put_label(p, "t", x, LAYER_BOTTOM + 15, "middle",
                      dinm_say_number(number, (double)l, 0, false));
        }
    }
    dinm_page_put(p, "</svg>\n");
}
