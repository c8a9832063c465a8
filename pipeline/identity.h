/* What a job is made of, for the check that a journal belongs to it, and for the sentence that says
 * which file or setting differs if it does not. Local; no MPI. */
#ifndef DINM_PIPELINE_IDENTITY_H
#define DINM_PIPELINE_IDENTITY_H

#include <stddef.h>
#include <stdint.h>
#include "io/status.h"

/* "settings", "model", "tokenizer", "judge", "cases", "questions", and how units are numbered. */
struct dinm_journal_part {
    const char *name; /* borrows */
    uint64_t digest;
};

/* One of the things that a part's digest comes from: a file, or a setting. */
struct dinm_detail {
    const char *part; /* borrows: its part's name */
    char *name;       /* owns: different within the part, the same wherever the file lies */
    char *value;      /* owns: the file's digest, or the setting's value as JSON */
    char *path;       /* owns: the file; NULL for a setting */
};
/* Begins zeroed. */
struct dinm_details {
    struct dinm_detail *items; /* owns: [n] */
    size_t n, capacity;
};
void dinm_details_free(struct dinm_details *d);
/* part: borrows for as long as the details live; everything else is copied. */
int dinm_details_add_file(struct dinm_details *d, const char *part, const char *name,
                          const char *path, uint64_t digest, struct dinm_error *err);
int dinm_details_add_setting(struct dinm_details *d, const char *key, const char *value,
                             struct dinm_error *err);

struct dinm_identity {
    const struct dinm_journal_part *parts; /* borrows: [n_parts] */
    size_t n_parts;
    const struct dinm_details *details; /* borrows; NULL: only the parts are known */
};

/* Writes the file id.json at `path`. */
int dinm_identity_write(const char *path, const struct dinm_identity *id, struct dinm_error *err);

/* Fails, naming what differs, if that file is another job's. `out` is for the sentence. One that
 * an earlier version wrote, without details, has its parts compared and named. */
int dinm_identity_check(const char *path, const char *out, const struct dinm_identity *id,
                        struct dinm_error *err);

#endif
