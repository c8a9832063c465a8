/* Digests of all that a run is made of: what its journal is checked against. Local. */
#ifndef DINM_PIPELINE_DIGESTS_H
#define DINM_PIPELINE_DIGESTS_H

#include <stdint.h>
#include "io/mem.h"
#include "pipeline/settings.h"

/* cases: of the file, and of the ids of those that are run. questions: 0 without. */
struct dinm_digests {
    uint64_t settings, model, tokenizer, judge, cases, questions;
};

/* Of the files that the settings name; `settings` stays, `cases` is of the whole file. Cost: reads
 * both models to their end. */
int dinm_digests_read(struct dinm_digests *d, const struct dinm_settings *s,
                      struct dinm_error *err);
/* Those that a run was started with: OUT/journal/id.json. */
int dinm_digests_load(struct dinm_digests *d, const char *out, struct dinm_error *err);
/* Appends them as a JSON object. */
int dinm_digests_print(const struct dinm_digests *d, struct dinm_buffer *out,
                       struct dinm_error *err);

#endif
