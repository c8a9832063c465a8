/* Text put together piece by piece: the first failure is remembered and the rest does nothing, so
 * that a page reads as it looks. Private to pipeline/results*, html* and sweep*. */
#ifndef DINM_PIPELINE_RESULTS_PAGE_H
#define DINM_PIPELINE_RESULTS_PAGE_H

#include "io/mem.h"
#include "io/status.h"
#include "pipeline/metrics.h"

struct dinm_page {
    struct dinm_buffer text; /* owns */
    struct dinm_error *err;  /* borrows */
    int status;
};

void dinm_page_format(struct dinm_page *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* As it is. */
void dinm_page_put(struct dinm_page *p, const char *text);
/* As a JSON text; NULL as null. */
void dinm_page_json_text(struct dinm_page *p, const char *text);
/* With the fewest digits that read back the same; not finite: null. */
void dinm_page_float(struct dinm_page *p, float value);
void dinm_page_double(struct dinm_page *p, double value);
/* "name": {"value": .., "low": .., "high": ..} */
void dinm_page_estimate(struct dinm_page *p, const char *name, struct dinm_estimate e);
/* As text of an HTML page or of a quoted attribute: nothing in it is markup. */
void dinm_page_html(struct dinm_page *p, const char *text);
/* As one cell of a Markdown table. */
void dinm_page_markdown(struct dinm_page *p, const char *text);

/* Writes folder/name if nothing failed, and frees the text in any case. */
int dinm_page_save(struct dinm_page *p, const char *folder, const char *name);

#endif
