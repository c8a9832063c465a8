/* Curves of report.html: what each case did, and their mean. */
#include <math.h>
#include "pipeline/html_parts.h"

enum { PANEL_TOP = 26, PANEL_HEIGHT = 130, PANEL_GAP = 34, MAX_THIN_LINES = 200, MAX_TICKS = 10 };

/* One quantity of all cases: points(c, &n) are n values, `stride` apart. */
struct curve {
    const float *(*points)(const struct dinm_case_result *c, size_t offset, size_t *n);
    size_t offset, stride;
};

static const float *loss_points(const struct dinm_case_result *c, size_t offset, size_t *n)
{
    *n = c->failed ? 0 : c->n_losses;
    return *n ? c->losses + offset : NULL;
}

static const float *distance_points(const struct dinm_case_result *c, size_t offset, size_t *n)
{
    *n = c->failed || !c->distances ? 0 : c->n_distances;
    return *n ? c->distances + offset : NULL;
}

/* Where a panel's values go. */
struct panel {
    double left, width;
    size_t n;    /* points of the longest line */
    double most; /* value at the top */
};

static double panel_x(const struct panel *a, size_t i)
{
    return a->left + (a->n > 1 ? (double)i / (double)(a->n - 1) * a->width : a->width / 2);
}

static double panel_y(const struct panel *a, double value)
{
    double share = a->most > 0 && isfinite(value) ? value / a->most : 0;
    return PANEL_TOP + (1 - (share < 0 ? 0 : share)) * PANEL_HEIGHT;
}

static void measure(struct panel *a, const struct dinm_results *r, const struct curve *curve)
{
    for (size_t i = 0; i < r->n_cases; i++) {
        size_t n = 0;
        const float *x = curve->points(&r->cases[i], curve->offset, &n);
        a->n = n > a->n ? n : a->n;
        for (size_t k = 0; k < n; k++) {
            double value = (double)x[k * curve->stride];
            a->most = isfinite(value) && value > a->most ? value : a->most;
        }
    }
}

static void put_thin_lines(struct dinm_page *p, const struct panel *a, const struct dinm_results *r,
                           const struct curve *curve)
{
    size_t every = 1 + (r->n_cases - 1) / MAX_THIN_LINES;
    for (size_t i = 0; i < r->n_cases; i += every) {
        size_t n = 0;
        const float *x = curve->points(&r->cases[i], curve->offset, &n);
        if (n > 1) {
            dinm_page_put(p, "<path class=\"thin\" d=\"");
            for (size_t k = 0; k < n; k++) {
                dinm_page_format(p, "%s%.1f %.1f", k ? "L" : "M", panel_x(a, k),
                                 panel_y(a, (double)x[k * curve->stride]));
            }
            dinm_page_put(p, "\"/>\n");
        }
    }
}

/* At each point the mean of the cases that got that far. */
static void put_mean(struct dinm_page *p, const struct panel *a, const struct dinm_results *r,
                     const struct curve *curve)
{
    dinm_page_put(p, "<path class=\"mean\" d=\"");
    for (size_t k = 0; k < a->n; k++) {
        double sum = 0, count = 0;
        for (size_t i = 0; i < r->n_cases; i++) {
            size_t n = 0;
            const float *x = curve->points(&r->cases[i], curve->offset, &n);
            if (k < n && isfinite(x[k * curve->stride])) {
                sum += (double)x[k * curve->stride];
                count++;
            }
        }
        dinm_page_format(p, "%s%.1f %.1f", k ? "L" : "M", panel_x(a, k),
                         panel_y(a, count > 0 ? sum / count : 0));
    }
    dinm_page_put(p, "\"/>\n");
}

static void put_panel(struct dinm_page *p, double left, double width, const char *title,
                      const struct dinm_results *r, const struct curve *curve)
{
    struct panel a = {.left = left, .width = width};
    const int bottom = PANEL_TOP + PANEL_HEIGHT;
    measure(&a, r, curve);
    dinm_page_format(p, "<text class=\"h\" x=\"%.1f\" y=\"14\">%s</text>\n", left, title);
    dinm_page_format(p, "<path class=\"g\" d=\"M%.1f %dh%.1fM%.1f %dh%.1f\"/>\n", left, PANEL_TOP,
                     width, left, bottom, width);
    dinm_page_format(p, "<text class=\"t\" x=\"%.1f\" y=\"%d\" text-anchor=\"end\">%.3g</text>\n",
                     left + width, PANEL_TOP - 4, a.most);
    put_thin_lines(p, &a, r, curve);
    put_mean(p, &a, r, curve);
    for (size_t i = 0; i < a.n; i += 1 + (a.n - 1) / MAX_TICKS) {
        dinm_page_format(
            p, "<text class=\"t\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%zu</text>\n",
            panel_x(&a, i), bottom + 15, i);
    }
}

static void open_panels(struct dinm_page *p, const char *title)
{
    dinm_page_format(
        p,
        "<div class=\"card\"><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">"
        "<title>%s</title>\n",
        DINM_CHART_WIDTH, PANEL_TOP + PANEL_HEIGHT + 20, title, title);
}

void dinm_html_lines(struct dinm_page *p, const struct dinm_results *r)
{
    static const char *const titles[] = {"total loss", "edit loss", "constraint loss"};
    struct panel losses = {0}, distances = {0};
    struct curve curve = {loss_points, 0, 3};
    const double width = (DINM_CHART_WIDTH - 2 * PANEL_GAP) / 3.0;
    measure(&losses, r, &curve);
    if (losses.n) {
        dinm_page_put(p, "<h2>Losses before each step</h2>\n<p class=\"soft\">Thin: single cases; "
                         "thick: their mean.</p>\n");
        open_panels(p, "Losses before each step");
        for (curve.offset = 0; curve.offset < 3; curve.offset++) {
            put_panel(p, (double)curve.offset * (width + PANEL_GAP), width, titles[curve.offset], r,
                      &curve);
        }
        dinm_page_put(p, "</svg></div>\n");
    }
    curve = (struct curve){distance_points, 0, 1};
    measure(&distances, r, &curve);
    if (distances.n && distances.most > 0) {
        dinm_page_put(p, "<h2>Distance between the safe and the unsafe response</h2>\n");
        open_panels(p, "Distance by layer");
        put_panel(p, 0, DINM_CHART_WIDTH, "by layer, from 0", r, &curve);
        dinm_page_put(p, "</svg></div>\n");
    }
}
