/* From the command line to a run's settings: finds the job file, then lets profile, job file and
 * command line speak in this order. */
#define _XOPEN_SOURCE 700 /* realpath */
#include "pipeline/args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "io/file.h"
#include "io/json.h"
#include "pipeline/args_table.h"
#include "pipeline/nearest.h"
#include "pipeline/settings_table.h"

/* The folder of the running program, or NULL where the system does not say. */
static int program_folder(char **folder, struct dinm_error *err)
{
    char *path = realpath("/proc/self/exe", NULL);
    char *slash = path != NULL ? strrchr(path, '/') : NULL;
    if (slash != NULL) {
        *slash = '\0';
        *folder = dinm_copy_text(path, strlen(path), err);
    }
    free(path);
    return slash != NULL && *folder == NULL ? DINM_FAILED : DINM_OK;
}

/* Sets *path to folder/relative if there is such a file; leaves it NULL if not. */
static int try_folder(const char *folder, const char *relative, char **path, struct dinm_error *err)
{
    if (*path != NULL || folder == NULL) {
        return DINM_OK;
    }
    char *joined = dinm_path_join(folder, relative, err);
    if (joined == NULL) {
        return DINM_FAILED;
    }
    if (dinm_path_exists(joined)) {
        *path = joined;
    } else {
        free(joined);
    }
    return DINM_OK;
}

static int find_demo(char **path, struct dinm_error *err)
{
    int status = DINM_OK;
    char *program = NULL;
    TRY(program_folder(&program, err));
    TRY(try_folder(getenv("DINM_DATA"), "demo/job.json", path, err));
    TRY(try_folder(program, "../share/dinm_pipeline/demo/job.json", path, err));
    TRY(try_folder(DINM_JOBS_DIR, "demo/job.json", path, err));
    if (*path == NULL) {
        status = dinm_fail(err, DINM_FAILED,
                           "no job file is given, and the demo's job file was not found: set "
                           "DINM_DATA to the folder that holds demo/job.json");
    }
out:
    free(program);
    return status;
}

bool dinm_args_is_sweep(const char *set)
{
    return strncmp(set, "sweep.", strlen("sweep.")) == 0;
}

static bool names_inputs(const struct dinm_args *args)
{
    for (size_t i = 0; i < args->n_given; i++) {
        const struct dinm_given *given = &args->given[i];
        const char *key = given->option->setting;
        const char *set = strcmp(given->option->name, "--set") == 0 ? given->value : "";
        set += dinm_args_is_sweep(set) ? strlen("sweep.") : 0;
        if ((key != NULL && (strcmp(key, "model.path") == 0 || strcmp(key, "cases.path") == 0)) ||
            strncmp(set, "model.path=", 11) == 0 || strncmp(set, "cases.path=", 11) == 0) {
            return true;
        }
    }
    return false;
}

/* A word that is no file may be a mistyped command. */
static int check_job_exists(const char *path, struct dinm_error *err)
{
    if (dinm_path_exists(path) || strpbrk(path, "./") != NULL) {
        return DINM_OK;
    }
    if (dinm_command_find(path) != DINM_COMMAND_RUN) {
        return dinm_fail(err, DINM_USAGE, "\"%s\" must be the first word", path);
    }
    struct dinm_nearest nearest = {.word = path};
    for (int c = DINM_COMMAND_RUN + 1; c < DINM_N_COMMANDS; c++) {
        dinm_nearest_consider(&nearest, dinm_command_rows[c].name);
    }
    return dinm_fail(err, DINM_USAGE,
                     "there is no job file and no command \"%s\"; the nearest command is \"%s\"",
                     path, nearest.best);
}

/* The folder of a file, as an absolute path. */
static int folder_of(const char *path, char **folder, struct dinm_error *err)
{
    const char *slash = strrchr(path, '/');
    size_t n = slash == NULL ? 0 : (size_t)(slash - path);
    char *given =
        slash == NULL ? dinm_copy_text(".", 1, err) : dinm_copy_text(path, n > 0 ? n : 1, err);
    if (given == NULL) {
        return DINM_FAILED;
    }
    *folder = realpath(given, NULL);
    int status = DINM_OK;
    if (*folder == NULL) {
        status = dinm_fail_errno(err, errno, "cannot find the folder", given);
    }
    free(given);
    return status;
}

/* Calls apply for every setting of the command line, in order; what is swept is no setting yet. */
static int each_setting(const struct dinm_args *args, struct dinm_settings *s,
                        int (*apply)(struct dinm_settings *, const char *, const char *,
                                     struct dinm_error *),
                        struct dinm_error *err)
{
    int status = DINM_OK;
    char *key = NULL;
    for (size_t i = 0; i < args->n_given; i++) {
        const struct dinm_given *given = &args->given[i];
        if (given->option->setting != NULL) {
            TRY(apply(s, given->option->setting, given->value, err));
        }
        if (strcmp(given->option->name, "--set") != 0 || dinm_args_is_sweep(given->value)) {
            continue;
        }
        const char *equals = strchr(given->value, '=');
        if (equals == NULL) {
            status =
                dinm_fail(err, DINM_USAGE, "--set: expected KEY=VALUE, found \"%s\"", given->value);
            goto out;
        }
        key = dinm_copy_text(given->value, (size_t)(equals - given->value), err);
        TRY(key != NULL ? DINM_OK : DINM_FAILED);
        TRY(apply(s, key, equals + 1, err));
        free(key);
        key = NULL;
    }
out:
    free(key);
    return status;
}

static int apply_if_profile(struct dinm_settings *s, const char *key, const char *value,
                            struct dinm_error *err)
{
    const struct dinm_setting *row = dinm_settings_find("profile");
    return strcmp(key, row->key) == 0 ? dinm_settings_set_text(s, row, value, NULL, err) : DINM_OK;
}

static int apply_any(struct dinm_settings *s, const char *key, const char *value,
                     struct dinm_error *err)
{
    return strcmp(key, "profile") == 0 ? apply_if_profile(s, key, value, err)
                                       : dinm_settings_apply_text(s, key, value, err);
}

/* What is wrong with the command line itself is said before any file is looked at. */
static int check_words(const struct dinm_args *args, struct dinm_error *err)
{
    struct dinm_settings s = {0};
    int status = dinm_settings_init(&s, DINM_PROFILE_PAPER, err);
    if (status >= 0) {
        status = each_setting(args, &s, apply_any, err);
    }
    dinm_settings_free(&s);
    return status;
}

/* An earlier --profile that a later one overrides has no say any more. */
static int apply_final(struct dinm_settings *s, const char *key, const char *value,
                       struct dinm_error *err)
{
    const struct dinm_setting *row = dinm_settings_find("profile");
    bool overridden =
        strcmp(key, row->key) == 0 && dinm_choice_find(row->choices, value) != (int)s->profile;
    return overridden ? DINM_OK : dinm_settings_apply_text(s, key, value, err);
}

/* The profile must be known before everything else: its defaults lie below the job file. */
static int choose_profile(const struct dinm_args *args, const struct dinm_job_file *file,
                          const struct dinm_pick *picks, size_t n_picks, enum dinm_profile *profile,
                          struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_settings s = {0};
    struct dinm_buffer prefix = {0};
    const struct dinm_setting *row = dinm_settings_find("profile");
    const cJSON *value = cJSON_IsObject(file->tree) ? dinm_json_find(file->tree, "profile") : NULL;
    TRY(dinm_settings_init(&s, DINM_PROFILE_PAPER, err));
    if (value != NULL) {
        TRY(dinm_buffer_append_format(&prefix, err, "%s: ", file->path));
        TRY(dinm_settings_set(&s, row, value, prefix.data, NULL, err));
    }
    TRY(each_setting(args, &s, apply_if_profile, err));
    for (size_t i = 0; i < n_picks; i++) {
        if (picks[i].row == row) {
            TRY(dinm_settings_set(&s, row, picks[i].value, picks[i].where, NULL, err));
        }
    }
    *profile = s.profile;
out:
    dinm_buffer_free(&prefix);
    dinm_settings_free(&s);
    return status;
}

int dinm_args_open_job(const struct dinm_args *args, struct dinm_job_file *file,
                       struct dinm_error *err)
{
    int status = DINM_OK;
    *file = (struct dinm_job_file){0};
    TRY(check_words(args, err));
    if (args->n_operands > 0) {
        file->path = args->operands[0];
        TRY(check_job_exists(file->path, err));
    } else if (!names_inputs(args)) {
        TRY(find_demo(&file->demo, err));
        file->path = file->demo;
    }
    if (file->path != NULL) {
        TRY(dinm_json_load(file->path, &file->tree, err));
        TRY(folder_of(file->path, &file->base, err));
    }
out:
    return status;
}

void dinm_args_close_job(struct dinm_job_file *file)
{
    cJSON_Delete(file->tree);
    free(file->base);
    free(file->demo);
    *file = (struct dinm_job_file){0};
}

int dinm_args_resolve(const struct dinm_args *args, const struct dinm_job_file *file,
                      const struct dinm_pick *picks, size_t n_picks, struct dinm_settings *s,
                      struct dinm_error *err)
{
    int status = DINM_OK;
    enum dinm_profile profile = DINM_PROFILE_PAPER;
    *s = (struct dinm_settings){0};
    TRY(choose_profile(args, file, picks, n_picks, &profile, err));
    TRY(dinm_settings_init(s, profile, err));
    if (file->tree != NULL) {
        TRY(dinm_settings_apply_tree(s, file->tree, file->path, file->base, err));
    }
    TRY(each_setting(args, s, apply_final, err));
    for (size_t i = 0; i < n_picks; i++) {
        const struct dinm_pick *pick = &picks[i];
        TRY(dinm_settings_set(s, pick->row, pick->value, pick->where, pick->base, err));
        s->origins[pick->row - dinm_settings_table] = DINM_FROM_SWEEP;
    }
    TRY(dinm_settings_check(s, err));
out:
    return status;
}
