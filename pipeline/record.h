/* The payloads that units leave in the journal: JSON objects, {"failed": reason} for a unit that
 * could not be done by itself. Local. */
#ifndef DINM_PIPELINE_RECORD_H
#define DINM_PIPELINE_RECORD_H

#include <cjson/cJSON.h>
#include "pipeline/phase.h"

/* The tree of a unit's payload (the caller deletes it). A missing unit is an error. */
int dinm_record_parse(const struct dinm_records *records, size_t unit, cJSON **tree,
                      struct dinm_error *err);
/* The reason of a failed unit, borrowed from the tree; NULL if it succeeded. */
const char *dinm_record_failure(const cJSON *tree);
/* Puts {"failed": "<sentence>"} for a unit. */
int dinm_record_put_failure(struct dinm_sink *sink, size_t unit, struct dinm_error *err,
                            const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
