/* From a job file's tree and from the command line to the rows of the table. */
#define _XOPEN_SOURCE 700 /* realpath */
#include "pipeline/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "io/json.h"
#include "pipeline/nearest.h"
#include "pipeline/settings_table.h"

static const char *const sections[] = {"model",   "judge", "cases",    "prompt",
                                       "locate",  "edit",  "generate", "evaluate",
                                       "archive", "run",   NULL};

int dinm_settings_unknown(const char *where, const char *key, const char *const *others,
                          struct dinm_error *err)
{
    struct dinm_nearest nearest = {.word = key};
    for (; others != NULL && *others != NULL; others++) {
        dinm_nearest_consider(&nearest, *others);
    }
    for (size_t r = 0; r < dinm_settings_n_rows; r++) {
        dinm_nearest_consider(&nearest, dinm_settings_table[r].key);
    }
    return dinm_fail(err, DINM_USAGE, "%sthere is no setting \"%s\"; the nearest is \"%s\"", where,
                     key, nearest.best);
}

static void mark(struct dinm_settings *s, const struct dinm_setting *row, enum dinm_origin origin)
{
    s->origins[row - dinm_settings_table] = (unsigned char)origin;
}

static int apply_section(struct dinm_settings *s, const cJSON *section, const char *where,
                         const char *base, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer key = {0};
    char room[64];
    if (!cJSON_IsObject(section)) {
        return dinm_fail(err, DINM_USAGE, "%s%s: expected an object, found %s", where,
                         section->string, dinm_json_describe(section, room));
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, section)
    {
        key.n_bytes = 0;
        TRY(dinm_buffer_append_format(&key, err, "%s.%s", section->string, item->string));
        const struct dinm_setting *row = dinm_settings_find(key.data);
        if (row == NULL) {
            status = dinm_settings_unknown(where, key.data, NULL, err);
            goto out;
        }
        if (!cJSON_IsNull(item)) {
            TRY(dinm_settings_set(s, row, item, where, base, err));
            mark(s, row, DINM_FROM_JOB);
        }
    }
out:
    dinm_buffer_free(&key);
    return status;
}

/* The caller chose the profile before the defaults were made. The job file's word for it is noted
 * unless the command line overrode it. */
static int note_profile(struct dinm_settings *s, const cJSON *value, const char *where,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_setting *row = dinm_settings_find("profile");
    enum dinm_profile chosen = s->profile;
    if (cJSON_IsNull(value)) {
        return DINM_OK;
    }
    TRY(dinm_settings_set(s, row, value, where, NULL, err));
    if (s->profile == chosen) {
        mark(s, row, DINM_FROM_JOB);
    }
    s->profile = chosen;
out:
    return status;
}

/* Members of a job file that are not settings: read by others, or written by us. */
static const char *const foreign[] = {"sweep", "train", "origins", NULL};

static int apply_member(struct dinm_settings *s, const cJSON *member, const char *where,
                        const char *base, struct dinm_error *err)
{
    const char *name = member->string;
    if (strcmp(name, "profile") == 0) {
        return note_profile(s, member, where, err);
    }
    if (cJSON_IsNull(member) || dinm_choice_find(foreign, name) >= 0) {
        return DINM_OK;
    }
    /* The members of an unknown section are unknown keys, and say better what was meant. */
    if (dinm_choice_find(sections, name) >= 0 || cJSON_GetArraySize(member) > 0) {
        return apply_section(s, member, where, base, err);
    }
    if (dinm_settings_find(name) != NULL) {
        const char *dot = strchr(name, '.');
        return dinm_fail(err, DINM_USAGE, "%swrite \"%.*s\": {\"%s\": ...} instead of \"%s\"",
                         where, (int)(dot - name), name, dot + 1, name);
    }
    return dinm_settings_unknown(where, name, cJSON_IsObject(member) ? sections : NULL, err);
}

int dinm_settings_apply_tree(struct dinm_settings *s, const cJSON *tree, const char *where,
                             const char *base, struct dinm_error *err)
{
    int status = DINM_OK;
    char room[64];
    struct dinm_buffer prefix = {0};
    TRY(dinm_buffer_append_format(&prefix, err, "%s: ", where));
    if (!cJSON_IsObject(tree)) {
        status = dinm_fail(err, DINM_USAGE, "%sexpected an object, found %s", prefix.data,
                           dinm_json_describe(tree, room));
        goto out;
    }
    const cJSON *member;
    cJSON_ArrayForEach(member, tree)
    {
        TRY(apply_member(s, member, prefix.data, base, err));
    }
out:
    dinm_buffer_free(&prefix);
    return status;
}

int dinm_settings_apply_text(struct dinm_settings *s, const char *key, const char *value,
                             struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_setting *row = dinm_settings_find(key);
    if (row == NULL) {
        return dinm_settings_unknown("", key, NULL, err);
    }
    enum dinm_profile chosen = s->profile;
    char *here = realpath(".", NULL);
    if (here == NULL) {
        return dinm_fail_errno(err, errno, "cannot find the path of the folder", ".");
    }
    TRY(dinm_settings_set_text(s, row, value, here, err));
    if (s->profile != chosen) {
        s->profile = chosen;
        TRY(dinm_fail(err, DINM_USAGE,
                      "profile: choose it with --profile, or in the job file, before the settings "
                      "that stand on it"));
    }
    mark(s, row, DINM_FROM_COMMAND);
out:
    free(here);
    return status;
}
