/* The table behind settings.h, for the settings_*.c files and their tests only. */
#ifndef DINM_PIPELINE_SETTINGS_TABLE_H
#define DINM_PIPELINE_SETTINGS_TABLE_H

#include <stddef.h>
#include "pipeline/settings.h"

enum dinm_kind {
    DINM_KIND_BOOL,     /* bool; with `choices` (two names: false, true) by name */
    DINM_KIND_INT,      /* int64_t from low to high */
    DINM_KIND_NUMBER,   /* double from low to high */
    DINM_KIND_TEXT,     /* char * */
    DINM_KIND_TEMPLATE, /* char * with "{prompt}" in it once, or the name of a preset */
    DINM_KIND_PATH,     /* char *; a word of `choices` is no path */
    DINM_KIND_CHOICE,   /* an enum: the place in `choices` */
    DINM_KIND_LAYERS,   /* int64_t *, [n]: different numbers from 0 on; n follows as size_t */
    DINM_KIND_COUNTS    /* the same of numbers from 1 on, which may be equal */
};

/* Phases whose results may be another run's where all settings that decide them are equal: what
 * they answer, compute or put into the archive. Bit 1 << phase of enum dinm_phase. */
enum { DINM_DECIDES_LOCATE = 1, DINM_DECIDES_VANILLA = 2, DINM_DECIDES_EDIT = 4 };

struct dinm_setting {
    const char *key; /* path in the job file: section.name, or the name alone */
    enum dinm_kind kind;
    size_t offset;              /* of the value in struct dinm_settings */
    double low, high;           /* bounds, both allowed */
    const char *const *choices; /* NULL-terminated, or NULL */
    const char *const *planned; /* choices of the method that are not built yet, or NULL */
    const char *paper;          /* value in the profile, as it is written after --set */
    const char *easyedit;       /* NULL: the same */
    unsigned phases;            /* bits DINM_DECIDES_... */
    const char *meaning;
};

extern const struct dinm_setting dinm_settings_table[];
extern const size_t dinm_settings_n_rows;

/* A preset of prompt.template. */
struct dinm_template {
    const char *name, *text;
};
extern const struct dinm_template dinm_templates[]; /* ends with a NULL name */

/* The row of that key, or NULL. */
const struct dinm_setting *dinm_settings_find(const char *key);
/* The sentence on a key that does not exist, with the nearest that does; DINM_USAGE. `others`:
 * further words that may have been meant, NULL-terminated, or NULL. */
int dinm_settings_unknown(const char *where, const char *key, const char *const *others,
                          struct dinm_error *err);
/* Place of `word` in a NULL-terminated list, or -1. */
int dinm_choice_find(const char *const *choices, const char *word);

/* Sets one row from a JSON value. `where` begins the error sentence ("job.json: ", or ""); a
 * relative path is taken from the folder `base`. */
int dinm_settings_set(struct dinm_settings *s, const struct dinm_setting *row, const cJSON *value,
                      const char *where, const char *base, struct dinm_error *err);
/* The same from text, as on the command line. */
int dinm_settings_set_text(struct dinm_settings *s, const struct dinm_setting *row,
                           const char *value, const char *base, struct dinm_error *err);
/* A row of kind LAYERS or COUNTS: the member and, behind it, its length. */
struct dinm_list {
    int64_t *items; /* [n] */
    size_t n;
};
struct dinm_list dinm_settings_list(const struct dinm_settings *s, const struct dinm_setting *row);
/* Appends what a row accepts, in words: "a whole number from 1 to 1000000". */
int dinm_settings_expected(const struct dinm_setting *row, struct dinm_buffer *out,
                           struct dinm_error *err);
/* Appends a row's value as JSON. */
int dinm_settings_put(const struct dinm_settings *s, const struct dinm_setting *row,
                      struct dinm_buffer *out, struct dinm_error *err);

#endif
