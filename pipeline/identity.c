/* OUT/journal/id.json: {"digest": D, "parts": {NAME: D, ...}, "details": {PART: {NAME: VALUE, ...},
 * ...}}. The parts decide; the details only explain. */
#include "pipeline/identity.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "io/json.h"
#include "io/mem.h"

enum { DIGEST_ROOM = 17, MOST_SHOWN = 60 /* characters of a setting's value */ };

void dinm_details_free(struct dinm_details *d)
{
    for (size_t i = 0; i < d->n; i++) {
        free(d->items[i].name);
        free(d->items[i].value);
        free(d->items[i].path);
    }
    free(d->items);
    *d = (struct dinm_details){0};
}

static int add(struct dinm_details *d, const char *part, const char *name, const char *value,
               const char *path, struct dinm_error *err)
{
    int status = DINM_OK;
    void *items = d->items;
    TRY(dinm_grow(&items, &d->capacity, d->n + 1, sizeof *d->items, "the inputs' digests", err));
    d->items = items;
    struct dinm_detail *item = &d->items[d->n++];
    item->part = part;
    item->name = dinm_copy_text(name, strlen(name), err);
    item->value = dinm_copy_text(value, strlen(value), err);
    item->path = path != NULL ? dinm_copy_text(path, strlen(path), err) : NULL;
    if (item->name == NULL || item->value == NULL || (path != NULL && item->path == NULL)) {
        status = DINM_FAILED;
    }
out:
    return status;
}

static const char *print_digest(uint64_t digest, char room[DIGEST_ROOM])
{
    snprintf(room, DIGEST_ROOM, "%016" PRIx64, digest);
    return room;
}

int dinm_details_add_file(struct dinm_details *d, const char *part, const char *name,
                          const char *path, uint64_t digest, struct dinm_error *err)
{
    char room[DIGEST_ROOM];
    return add(d, part, name, print_digest(digest, room), path, err);
}

int dinm_details_add_setting(struct dinm_details *d, const char *key, const char *value,
                             struct dinm_error *err)
{
    return add(d, "settings", key, value, NULL, err);
}

/* Appends "<separator><name>: <value>". */
static int put_pair(struct dinm_buffer *text, const char *separator, const char *name,
                    const char *value, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_buffer_append_text(text, separator, err));
    TRY(dinm_json_put_text(text, name, strlen(name), err));
    TRY(dinm_buffer_append_text(text, ": ", err));
    TRY(dinm_json_put_text(text, value, strlen(value), err));
out:
    return status;
}

/* Appends the details as an object of objects, in the order of the parts. */
static int put_details(struct dinm_buffer *text, const struct dinm_identity *id,
                       struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_buffer_append_text(text, "{", err));
    for (size_t p = 0; p < id->n_parts; p++) {
        const char *separator = "\n    ";
        TRY(dinm_buffer_append_format(text, err, "%s\n   \"%s\": {", p > 0 ? "," : "",
                                      id->parts[p].name));
        for (size_t i = 0; i < id->details->n; i++) {
            const struct dinm_detail *item = &id->details->items[i];
            if (strcmp(item->part, id->parts[p].name) == 0) {
                TRY(put_pair(text, separator, item->name, item->value, err));
                separator = ",\n    ";
            }
        }
        TRY(dinm_buffer_append_text(text, "}", err));
    }
    TRY(dinm_buffer_append_text(text, "}", err));
out:
    return status;
}

int dinm_identity_write(const char *path, const struct dinm_identity *id, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer text = {0}, list = {0};
    char room[DIGEST_ROOM];
    for (size_t i = 0; i < id->n_parts; i++) {
        TRY(put_pair(&list, i > 0 ? ", " : "", id->parts[i].name,
                     print_digest(id->parts[i].digest, room), err));
    }
    print_digest(dinm_digest(list.data, list.n_bytes, 0), room);
    TRY(dinm_buffer_append_format(&text, err, "{\"digest\": \"%s\",\n \"parts\": {%s}", room,
                                  id->n_parts > 0 ? list.data : ""));
    if (id->details != NULL) {
        TRY(dinm_buffer_append_text(&text, ",\n \"details\": ", err));
        TRY(put_details(&text, id, err));
    }
    TRY(dinm_buffer_append_text(&text, "}\n", err));
    TRY(dinm_file_write(path, text.data, text.n_bytes, err));
out:
    dinm_buffer_free(&text);
    dinm_buffer_free(&list);
    return status;
}

/* What the sentence will name, with commas. */
struct names {
    struct dinm_buffer text; /* owns */
    struct dinm_error *err;  /* borrows */
};

static int put_name(struct names *names, const char *name)
{
    return dinm_buffer_append_format(&names->text, names->err, "%s%s",
                                     names->text.n_bytes > 0 ? ", " : "", name);
}

static const char *dots(const char *value)
{
    return strlen(value) > MOST_SHOWN ? "..." : "";
}

/* A detail that is now another, or was not there before (then NULL). */
static int put_detail(struct names *names, const struct dinm_detail *now, const char *then)
{
    int status = DINM_OK;
    TRY(put_name(names, now->path != NULL ? now->path : now->name));
    if (then == NULL) {
        TRY(dinm_buffer_append_text(&names->text, " (not there before)", names->err));
    } else if (now->path == NULL) {
        TRY(dinm_buffer_append_format(&names->text, names->err, " (%.*s%s there, %.*s%s here)",
                                      MOST_SHOWN, then, dots(then), MOST_SHOWN, now->value,
                                      dots(now->value)));
    }
out:
    return status;
}

static const struct dinm_detail *find_detail(const struct dinm_details *d, const char *part,
                                             const char *name)
{
    for (size_t i = 0; i < d->n; i++) {
        if (strcmp(d->items[i].part, part) == 0 && strcmp(d->items[i].name, name) == 0) {
            return &d->items[i];
        }
    }
    return NULL;
}

/* Whether a part's details can be compared. Another set of them altogether, such as a judge's
 * folder in place of no model, cannot. */
static bool shares_details(const struct dinm_identity *id, const char *part, const cJSON *then)
{
    size_t n = 0;
    for (const cJSON *item = then != NULL ? then->child : NULL; item != NULL && id->details != NULL;
         item = item->next) {
        n += find_detail(id->details, part, item->string) != NULL;
    }
    return n > 0;
}

/* Names the files or settings by which a part differs. */
static int name_details(struct names *names, const struct dinm_identity *id, const char *part,
                        const cJSON *then)
{
    int status = DINM_OK;
    const struct dinm_details *d = id->details;
    for (size_t i = 0; i < d->n; i++) {
        if (strcmp(d->items[i].part, part) != 0) {
            continue;
        }
        const cJSON *before = dinm_json_find(then, d->items[i].name);
        const char *value = before != NULL ? cJSON_GetStringValue(before) : NULL;
        if (value == NULL || strcmp(value, d->items[i].value) != 0) {
            TRY(put_detail(names, &d->items[i], value));
        }
    }
    for (const cJSON *item = then->child; item != NULL; item = item->next) {
        if (find_detail(d, part, item->string) == NULL) {
            TRY(put_name(names, part));
            TRY(dinm_buffer_append_format(&names->text, names->err, " (%s is missing)",
                                          item->string));
        }
    }
out:
    return status;
}

/* The parts that differ, either way: by their details where those say more. A part whose details
 * are all the same (the cases, of which others were selected: a setting) is named if nothing else
 * is. */
static int compare(struct names *names, struct dinm_json parts, const cJSON *details,
                   const struct dinm_identity *id, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *unexplained = NULL;
    char room[DIGEST_ROOM];
    for (size_t i = 0; i < id->n_parts; i++) {
        const char *name = id->parts[i].name, *then = "";
        const cJSON *before = dinm_json_find(details, name);
        TRY(dinm_json_get_text_or(parts, name, &then, err));
        if (strcmp(then, print_digest(id->parts[i].digest, room)) == 0) {
            continue;
        }
        if (shares_details(id, name, before)) {
            size_t n_before = names->text.n_bytes;
            TRY(name_details(names, id, name, before));
            unexplained = names->text.n_bytes == n_before ? name : unexplained;
        } else {
            TRY(put_name(names, name));
        }
    }
    for (const cJSON *item = parts.object->child; item != NULL; item = item->next) {
        bool given = false;
        for (size_t i = 0; i < id->n_parts; i++) {
            given = given || strcmp(item->string, id->parts[i].name) == 0;
        }
        if (!given) {
            TRY(put_name(names, item->string));
        }
    }
    if (unexplained != NULL && names->text.n_bytes == 0) {
        TRY(put_name(names, unexplained));
    }
out:
    return status;
}

int dinm_identity_check(const char *path, const char *out, const struct dinm_identity *id,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *tree = NULL;
    const cJSON *details = NULL;
    struct dinm_json parts = {.where = path};
    struct names names = {.err = err};
    TRY(dinm_json_load(path, &tree, err));
    TRY(dinm_json_get_object((struct dinm_json){tree, path}, "parts", &parts.object, err));
    details = dinm_json_find(tree, "details");
    TRY(compare(&names, parts, details, id, err));
    if (names.text.n_bytes > 0) {
        status = dinm_fail(err, DINM_FAILED,
                           "%s belongs to another job, which differs in: %s; use --fresh to start "
                           "over or another --out",
                           out, names.text.data);
    }
out:
    cJSON_Delete(tree);
    dinm_buffer_free(&names.text);
    return status;
}
