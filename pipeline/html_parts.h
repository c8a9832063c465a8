/* The parts of report.html. Private to pipeline/html*. All coordinates are units of an SVG view box
 * of DINM_CHART_WIDTH; colours and fonts come from classes of the style sheet. */
#ifndef DINM_PIPELINE_HTML_PARTS_H
#define DINM_PIPELINE_HTML_PARTS_H

#include "pipeline/results_page.h"
#include "pipeline/results_table.h"

enum { DINM_CHART_WIDTH = 760 };

extern const char dinm_html_style[];

/* Bars of both sides with intervals, one chart per axis. */
void dinm_html_bars(struct dinm_page *p, const struct dinm_result_table *t);
/* Two dots per category, vanilla and edited, for DS and DG-Avg. */
void dinm_html_categories(struct dinm_page *p, const struct dinm_result_table *t);
/* Cases per located layer. */
void dinm_html_layers(struct dinm_page *p, const struct dinm_result_table *t);
/* Losses by step and distances by layer: each case a thin line, their mean a thick one. */
void dinm_html_lines(struct dinm_page *p, const struct dinm_results *r);
/* Every case, folded. */
void dinm_html_cases(struct dinm_page *p, const struct dinm_results *r);

#endif
