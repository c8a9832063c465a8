/* The numbers behind every table and chart, computed once. Private to pipeline/results* and
 * pipeline/html*. */
#ifndef DINM_PIPELINE_RESULTS_TABLE_H
#define DINM_PIPELINE_RESULTS_TABLE_H

#include "pipeline/results.h"

enum dinm_metric {
    DINM_METRIC_DS, /* the five inputs in their order, then */
    DINM_METRIC_DG_AVG = DINM_N_INPUTS,
    DINM_METRIC_FLUENCY,
    DINM_METRIC_REPETITION,
    DINM_METRIC_EMPTY,
    DINM_METRIC_KQA,
    DINM_N_METRICS
};

/* As in results.json; and decimals in tables. */
const char *dinm_metric_name(enum dinm_metric metric);
int dinm_metric_decimals(enum dinm_metric metric);

struct dinm_result_row {
    const char *name;    /* as in results.json */
    const char *meaning; /* for readers */
    int decimals;        /* in tables */
    double full;         /* the end of a chart's axis */
    size_t n;            /* cases measured */
    struct dinm_estimate sides[DINM_N_SIDES];
    struct dinm_estimate change; /* edited - vanilla, paired by case */
};

struct dinm_result_category {
    const char *name; /* borrows */
    size_t n;         /* cases that did not fail */
    struct dinm_estimate ds[DINM_N_SIDES], dg[DINM_N_SIDES];
};

struct dinm_result_table {
    struct dinm_result_row rows[DINM_N_METRICS];
    size_t n_failed;
    size_t *layers; /* owns: [n_layers] cases located in each */
    size_t n_layers, most_in_layer;
    struct dinm_result_category *categories; /* owns: in order of appearance */
    size_t n_categories;
};

extern const char *const dinm_side_names[DINM_N_SIDES]; /* "vanilla", "edited" */

/* A side of a case that did not fail, in the metric's unit; NaN if not measured. */
double dinm_results_value(const struct dinm_case_result *c, enum dinm_metric metric,
                          enum dinm_side side);
int dinm_results_measure(struct dinm_result_table *t, const struct dinm_results *r,
                         struct dinm_error *err);
void dinm_results_table_free(struct dinm_result_table *t);

/* Whether tables have this row: KQA only if it was measured. */
bool dinm_results_shown(const struct dinm_result_table *t, int metric);

enum { DINM_SAY_ROOM = 64 };
/* "22.2", or "-" if it is not known. */
const char *dinm_say_number(char room[DINM_SAY_ROOM], double x, int decimals, bool sign);
/* "[11.1, 36.1]", each number at least `width` wide; nothing for a single value. */
const char *dinm_say_interval(char room[DINM_SAY_ROOM], struct dinm_estimate e, int decimals,
                              int width, bool sign);
/* "the classifier " and its folder's own name, or the judge without a model and "": the second
 * part may need escapes. */
const char *dinm_say_judge(const struct dinm_settings *s);
const char *dinm_say_judge_name(const struct dinm_settings *s);

#endif
