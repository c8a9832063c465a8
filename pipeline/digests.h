/* Digests of all that a run is made of: what its journal is checked against. Local. */
#ifndef DINM_PIPELINE_DIGESTS_H
#define DINM_PIPELINE_DIGESTS_H

#include <stdint.h>
#include "io/mem.h"
#include "pipeline/identity.h"
#include "pipeline/settings.h"

/* cases: of the file, and of the ids of those that are run. questions: 0 without. */
struct dinm_digests {
    uint64_t settings, model, tokenizer, judge, cases, questions;
};

/* Files that were read before in this start of the program, so that large ones are read once, and
 * none becomes another one meanwhile. Begins zeroed. */
struct dinm_digest_memory {
    struct dinm_known_file {
        char *path; /* owns */
        uint64_t digest;
        int64_t n_bytes, modified_s, modified_ns; /* as it was then */
    } * files;                                    /* owns: [n] */
    size_t n, capacity;
};
void dinm_digest_memory_free(struct dinm_digest_memory *memory);

/* Of the files that the settings name; `settings` stays, `cases` is of the whole file. memory:
 * knows the files afterwards, and one that has changed since is refused; NULL: all are read.
 * details: each file is added to it; may be NULL. Cost: reads the files that are not known, not
 * through mappings, whose pages stay untouched. */
int dinm_digests_read(struct dinm_digests *d, const struct dinm_settings *s,
                      struct dinm_digest_memory *memory, struct dinm_details *details,
                      struct dinm_error *err);
/* Those that a run was started with: OUT/journal/id.json. */
int dinm_digests_load(struct dinm_digests *d, const char *out, struct dinm_error *err);
/* Appends them as a JSON object. */
int dinm_digests_print(const struct dinm_digests *d, struct dinm_buffer *out,
                       struct dinm_error *err);

#endif
