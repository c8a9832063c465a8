/* Defaults, the checks on the whole, and the digest. */
#include "pipeline/settings.h"

#include <string.h>
#include <stdlib.h>
#include "io/file.h"
#include "pipeline/settings_table.h"

static bool is_text(const struct dinm_setting *row)
{
    return row->kind == DINM_KIND_TEXT || row->kind == DINM_KIND_TEMPLATE ||
           row->kind == DINM_KIND_PATH;
}

int dinm_settings_init(struct dinm_settings *s, enum dinm_profile profile, struct dinm_error *err)
{
    int status = DINM_OK;
    memset(s, 0, sizeof *s);
    s->origins = dinm_alloc(dinm_settings_n_rows, sizeof *s->origins, "the settings", err);
    if (s->origins == NULL) {
        return DINM_FAILED;
    }
    for (size_t r = 0; r < dinm_settings_n_rows; r++) {
        const struct dinm_setting *row = &dinm_settings_table[r];
        bool own = profile == DINM_PROFILE_EASYEDIT && row->easyedit != NULL;
        TRY(dinm_settings_set_text(s, row, own ? row->easyedit : row->paper, NULL, err));
        s->origins[r] = own ? DINM_FROM_PROFILE : DINM_FROM_DEFAULT;
    }
    s->profile = profile;
out:
    if (status < 0) {
        dinm_settings_free(s);
    }
    return status;
}

void dinm_settings_free(struct dinm_settings *s)
{
    for (size_t r = 0; r < dinm_settings_n_rows; r++) {
        if (is_text(&dinm_settings_table[r])) {
            free(*(char **)(void *)((char *)s + dinm_settings_table[r].offset));
        }
    }
    free(s->locate.layers);
    free(s->run.layer_cut);
    free(s->origins);
    memset(s, 0, sizeof *s);
}

/* The person set it, in the job file or on the command line. */
static bool was_set(const struct dinm_settings *s, const char *key)
{
    const struct dinm_setting *row = dinm_settings_find(key);
    return s->origins[row - dinm_settings_table] >= DINM_FROM_JOB;
}

/* A setting that would silently do nothing is refused. */
static int check_sampling(const struct dinm_settings *s, struct dinm_error *err)
{
    static const char *const keys[] = {"generate.temperature", "generate.top_p"};
    double values[] = {s->generate.temperature, s->generate.top_p};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (s->generate.decoding != DINM_DECODE_SAMPLE && values[i] != 1 && was_set(s, keys[i])) {
            return dinm_fail(err, DINM_USAGE, "%s needs generate.decoding sample, which is not set",
                             keys[i]);
        }
    }
    return DINM_OK;
}

static int check_edit(const struct dinm_settings *s, struct dinm_error *err)
{
    bool edits = s->edit.method == DINM_METHOD_DINM || s->edit.method == DINM_METHOD_FT_L;
    if (s->edit.accumulate) {
        return dinm_fail(err, DINM_USAGE, "edit.accumulate is not built yet");
    }
    if (!edits && s->edit.save) {
        return dinm_fail(
            err, DINM_USAGE,
            "edit.save needs a method that changes weights (edit.method dinm or ft_l)");
    }
    return DINM_OK;
}

bool dinm_judge_is_refusal(const struct dinm_settings *s)
{
    return strcmp(s->judge.path, "refusal") == 0;
}

int dinm_settings_check(const struct dinm_settings *s, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct {
        const char *path, *what, *key, *flag;
    } needed[] = {
        {s->model.path, "language model", "model.path", "--model DIR"},
        {s->judge.path, "safety classifier", "judge.path", "--judge DIR"},
        {s->cases.path, "case file", "cases.path", "--cases FILE"},
        {s->run.out, "output folder", "run.out", "--out DIR"},
    };
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        if (needed[i].path[0] == '\0') {
            return dinm_fail(err, DINM_USAGE, "no %s is given: set %s in the job file or use %s",
                             needed[i].what, needed[i].key, needed[i].flag);
        }
    }
    if (dinm_judge_is_refusal(s) && s->judge.unsafe_label[0] != '\0') {
        return dinm_fail(err, DINM_USAGE,
                         "judge.unsafe_label needs a classifier, but judge.path is \"refusal\"");
    }
    TRY(check_sampling(s, err));
    TRY(check_edit(s, err));
out:
    return status;
}

int dinm_settings_visit(const struct dinm_settings *s, dinm_settings_visitor *visit, void *context,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer value = {0};
    for (size_t r = 0; r < dinm_settings_n_rows; r++) {
        const struct dinm_setting *row = &dinm_settings_table[r];
        /* The profile acts through the values of the other rows. */
        if (row->kind == DINM_KIND_PATH || strncmp(row->key, "run.", 4) == 0 ||
            strcmp(row->key, "profile") == 0) {
            continue;
        }
        value.n_bytes = 0;
        TRY(dinm_settings_put(s, row, &value, err));
        TRY(visit(context, row->key, value.data, err));
    }
out:
    dinm_buffer_free(&value);
    return status;
}

static int put_line(void *text, const char *key, const char *value, struct dinm_error *err)
{
    return dinm_buffer_append_format(text, err, "%s=%s\n", key, value);
}

int dinm_settings_digest(const struct dinm_settings *s, uint64_t *digest, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer text = {0};
    TRY(dinm_settings_visit(s, put_line, &text, err));
    *digest = dinm_digest(text.data, text.n_bytes, 0);
out:
    dinm_buffer_free(&text);
    return status;
}

int dinm_settings_digest_of(const struct dinm_settings *s, unsigned phases, uint64_t *digest,
                            struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer text = {0};
    for (size_t r = 0; r < dinm_settings_n_rows; r++) {
        const struct dinm_setting *row = &dinm_settings_table[r];
        if ((row->phases & phases) != 0) {
            TRY(dinm_buffer_append_format(&text, err, "%s=", row->key));
            TRY(dinm_settings_put(s, row, &text, err));
            TRY(dinm_buffer_append_text(&text, "\n", err));
        }
    }
    *digest = dinm_digest(text.data, text.n_bytes, 0);
out:
    dinm_buffer_free(&text);
    return status;
}
