/* report.html: the whole result on one static page. Rank 0 only; local. */
#ifndef DINM_PIPELINE_HTML_H
#define DINM_PIPELINE_HTML_H

#include "pipeline/results.h"

/* Writes OUT/report.html: tables, charts as inline SVG, and every case with its answers. No
 * network, no scripts. Equal input gives equal bytes. */
int dinm_html_write(const struct dinm_results *r, const char *out, struct dinm_error *err);

#endif
