/* Strict JSON (RFC 8259) in front of cJSON, getters whose errors name file and key, and writing.
 *
 * Refused though cJSON would take it: leading zeros, text after the value, a byte-order mark,
 * invalid UTF-8, lone surrogates, numbers that overflow a double, nesting deeper than 512. Refused
 * though it is JSON, since a reader could take it for something else: duplicate names in one
 * object and NUL in a name; only dinm_json_parse_any takes these. Integers of 2^53 and above, which
 * a double may not hold exactly, are refused where an integer is asked for. A NUL in a text (not a
 * name) is read as U+FFFD, since texts end at a NUL. */
#ifndef DINM_IO_JSON_H
#define DINM_IO_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "io/mem.h"
#include "io/status.h"

/* `name` is used in error sentences: a path, or a word for the text's origin. The caller frees
 * *out with cJSON_Delete. Errors state line and column. */
int dinm_json_parse(const char *name, const char *text, size_t n_bytes, cJSON **out,
                    struct dinm_error *err);
int dinm_json_load(const char *path, cJSON **out, struct dinm_error *err);
/* All that RFC 8259 calls JSON, for what is only to be looked at: of equal names each is kept, and
 * a NUL in a name is read as U+FFFD. */
int dinm_json_parse_any(const char *name, const char *text, size_t n_bytes, cJSON **out,
                        struct dinm_error *err);

/* An object under scrutiny: `where` says in errors which file (and which part of it). */
struct dinm_json {
    const cJSON *object; /* borrows */
    const char *where;   /* borrows */
};

/* Member of that name, matched by case; NULL if absent. null counts as absent. */
const cJSON *dinm_json_find(const cJSON *object, const char *key);

/* Each: present and of the type -> *out; otherwise a sentence with where, key, expected, found.
 * The _or forms leave *out (set it to the default first) when the key is absent or null. */
int dinm_json_get_int(struct dinm_json j, const char *key, int64_t low, int64_t high, int64_t *out,
                      struct dinm_error *err);
int dinm_json_get_int_or(struct dinm_json j, const char *key, int64_t low, int64_t high,
                         int64_t *out, struct dinm_error *err);
int dinm_json_get_number(struct dinm_json j, const char *key, double *out, struct dinm_error *err);
int dinm_json_get_number_or(struct dinm_json j, const char *key, double *out,
                            struct dinm_error *err);
int dinm_json_get_bool_or(struct dinm_json j, const char *key, bool *out, struct dinm_error *err);
/* *out borrows from the tree. */
int dinm_json_get_text(struct dinm_json j, const char *key, const char **out,
                       struct dinm_error *err);
int dinm_json_get_text_or(struct dinm_json j, const char *key, const char **out,
                          struct dinm_error *err);
int dinm_json_get_object(struct dinm_json j, const char *key, const cJSON **out,
                         struct dinm_error *err);
int dinm_json_get_array(struct dinm_json j, const char *key, const cJSON **out,
                        struct dinm_error *err);

/* What a value is, for sentences: "the string \"no\"", "the number 3", "nothing" (for
 * NULL). Static or in `room`. */
const char *dinm_json_describe(const cJSON *value, char room[64]);

/* Writing. Text is quoted and escaped; bytes that are not UTF-8 become U+FFFD. Numbers have the
 * fewest digits that read back to the same float (%.9g at most) or double (%.17g at most); a
 * non-finite number is written as null. */
int dinm_json_put_text(struct dinm_buffer *b, const char *text, size_t n_bytes,
                       struct dinm_error *err);
int dinm_json_put_float(struct dinm_buffer *b, float value, struct dinm_error *err);
int dinm_json_put_double(struct dinm_buffer *b, double value, struct dinm_error *err);
/* The same into `room`, which is returned. */
const char *dinm_json_format_double(double value, char room[32]);

#endif
