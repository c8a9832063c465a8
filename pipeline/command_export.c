/* export: the model of a job with one case's edit in place, as a folder that other tools load. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "io/file.h"
#include "io/json.h"
#include "io/log.h"
#include "pipeline/command_model.h"
#include "pipeline/commands.h"

/* What is copied, and the one matrix that changes on the way. */
struct export
{
    cJSON *job;                        /* owns: OUT/job.json */
    const char *model;                 /* borrows from job: the model's folder */
    struct dinm_buffer path;           /* owns: the delta's file */
    struct dinm_delta delta;           /* owns */
    struct dinm_checkpoint checkpoint; /* owns */
    size_t file;                       /* of checkpoint, that holds the matrix */
    const struct dinm_tensor *tensor;  /* borrows from checkpoint: the matrix */
    void *edited;                      /* owns: [d_model][d_ff] in the matrix's own dtype */
};

static void export_close(struct export *x)
{
    free(x->edited);
    dinm_checkpoint_close(&x->checkpoint);
    dinm_delta_close(&x->delta);
    dinm_buffer_free(&x->path);
    cJSON_Delete(x->job);
}

static int find_model(struct export *x, const char *out, struct dinm_error *err)
{
    int status = DINM_OK;
    const cJSON *model = NULL;
    char *path = dinm_path_join(out, "job.json", err);
    TRY(path != NULL ? dinm_json_load(path, &x->job, err) : DINM_FAILED);
    TRY(dinm_json_get_object((struct dinm_json){x->job, path}, "model", &model, err));
    TRY(dinm_json_get_text((struct dinm_json){model, path}, "path", &x->model, err));
    TRY(dinm_checkpoint_open(&x->checkpoint, x->model, err));
out:
    free(path);
    return status;
}

static int find_delta(struct export *x, const char *out, int64_t id, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_buffer_append_format(&x->path, err, "%s/edits/case-%06lld.safetensors", out,
                                  (long long)id));
    if (!dinm_path_exists(x->path.data)) {
        TRY(dinm_fail(err, DINM_FAILED, "there is no %s: the case's edit was not saved (edit.save)",
                      x->path.data));
    }
    TRY(dinm_delta_open(&x->delta, x->path.data, err));
out:
    return status;
}

/* Finds the matrix in the checkpoint and adds the delta to it. */
static int make_matrix(struct export *x, struct dinm_error *err)
{
    int status = DINM_OK;
    float *sum = NULL;
    const char *name = x->delta.tensor->name;
    while (x->file < x->checkpoint.n_files && x->tensor == NULL) {
        x->tensor = dinm_safetensors_find(&x->checkpoint.files[x->file], name);
        x->file += x->tensor == NULL;
    }
    if (x->tensor == NULL || x->tensor->n_dims != 2 || x->tensor->dtype == DINM_OTHER) {
        TRY(dinm_fail(err, DINM_FAILED, "%s has no matrix %s of F32, F16 or BF16", x->model, name));
    }
    struct dinm_matrix w = {.data = x->tensor->data,
                            .dtype = x->tensor->dtype,
                            .n_out = (size_t)x->tensor->shape[0],
                            .n_in = (size_t)x->tensor->shape[1]};
    sum = dinm_delta_add(&x->delta, x->path.data, &w, err);
    x->edited = dinm_alloc(x->tensor->n_bytes, 1, "the edited matrix", err);
    TRY(sum != NULL && x->edited != NULL ? DINM_OK : DINM_FAILED);
    dinm_narrow(x->edited, w.dtype, sum, w.n_out * w.n_in);
out:
    free(sum);
    return status;
}

/* Copies a file byte for byte; [at, at + n_bytes) is replaced by `bytes`. */
static int copy_file(const char *from, const char *to, size_t at, const void *bytes, size_t n_bytes,
                     struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_map map = {0};
    struct dinm_writer writer = {0};
    TRY(dinm_map_open(&map, from, err));
    TRY(dinm_writer_open(&writer, to, err));
    if (n_bytes == 0) {
        TRY(dinm_writer_append(&writer, map.data, map.n_bytes, err));
    } else {
        size_t end = at + n_bytes;
        TRY(dinm_writer_append(&writer, map.data, at, err));
        TRY(dinm_writer_append(&writer, bytes, n_bytes, err));
        TRY(dinm_writer_append(&writer, map.data + end, map.n_bytes - end, err));
    }
    TRY(dinm_writer_commit(&writer, err));
out:
    dinm_writer_close(&writer);
    dinm_map_close(&map);
    return status;
}

static bool ends_with(const char *name, const char *ending)
{
    size_t n = strlen(name), m = strlen(ending);
    return n >= m && strcmp(name + n - m, ending) == 0;
}

/* Weights in other formats still hold the unedited matrix. */
static bool is_other_weights(const char *name)
{
    static const char *const endings[] = {".safetensors", ".bin",  ".pt",      ".pth", ".gguf",
                                          ".h5",          ".onnx", ".msgpack", ".ckpt"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        if (ends_with(name, endings[i])) {
            return true;
        }
    }
    return false;
}

/* Index of the checkpoint's file with that path; n_files if it is none of them. */
static size_t checkpoint_file(const struct dinm_checkpoint *c, const char *path)
{
    size_t i = 0;
    while (i < c->n_files && strcmp(c->paths[i], path) != 0) {
        i++;
    }
    return i;
}

/* config.json is left for the end: without it the folder is no model yet. */
static bool comes_last(const char *name)
{
    return strcmp(name, "config.json") == 0;
}

static int copy_entry(const struct export *x, const char *name, const char *to,
                      struct dinm_error *err)
{
    int status = DINM_OK;
    struct stat info;
    char *source = dinm_path_join(x->model, name, err);
    char *target = dinm_path_join(to, name, err);
    TRY(source != NULL && target != NULL ? DINM_OK : DINM_FAILED);
    if (stat(source, &info) != 0) {
        TRY(dinm_fail_errno(err, errno, "cannot look at", source));
    }
    size_t file = checkpoint_file(&x->checkpoint, source);
    bool weights = file < x->checkpoint.n_files;
    if (!S_ISREG(info.st_mode) || (!weights && is_other_weights(name))) {
        dinm_log(DINM_LOG_NOTICE, "left out: %s", source);
    } else if (weights && file == x->file) {
        const unsigned char *start = x->checkpoint.files[file].map.data;
        size_t at = (size_t)((const unsigned char *)x->tensor->data - start);
        TRY(copy_file(source, target, at, x->edited, x->tensor->n_bytes, err));
    } else {
        TRY(copy_file(source, target, 0, NULL, 0, err));
    }
out:
    free(target);
    free(source);
    return status;
}

static int copy_folder(const struct export *x, const char *to, struct dinm_error *err)
{
    int status = DINM_OK;
    DIR *folder = opendir(x->model);
    if (folder == NULL) {
        return dinm_fail_errno(err, errno, "cannot read the folder", x->model);
    }
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        /* Hidden files are other tools' caches. */
        if (entry->d_name[0] != '.' && !comes_last(entry->d_name)) {
            TRY(copy_entry(x, entry->d_name, to, err));
        }
    }
    TRY(copy_entry(x, "config.json", to, err));
out:
    closedir(folder);
    return status;
}

int dinm_command_export(const struct dinm_args *args, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *out = args->operands[0], *to = NULL, *text = NULL;
    int64_t id = 0;
    char *config = NULL;
    struct export x = {0};
    struct dinm_buffer said = {0};
    TRY(dinm_args_need(args, "--case", &text, err));
    TRY(dinm_args_int(args, "--case", INT64_MIN, INT64_MAX, &id, err));
    TRY(dinm_args_need(args, "--to", &to, err));
    config = dinm_path_join(to, "config.json", err);
    TRY(config != NULL ? DINM_OK : DINM_FAILED);
    if (dinm_path_exists(config)) {
        TRY(dinm_fail(err, DINM_FAILED, "%s already holds a model", to));
    }
    TRY(find_model(&x, out, err));
    TRY(find_delta(&x, out, id, err));
    TRY(make_matrix(&x, err));
    TRY(dinm_folder_make(to, err));
    TRY(copy_folder(&x, to, err));
    TRY(dinm_buffer_append_format(&said, err, "%s: %s with the edit of case %lld in layer %zu\n",
                                  to, x.model, (long long)id, x.delta.layer));
    TRY(dinm_command_print(&said, err));
out:
    dinm_buffer_free(&said);
    export_close(&x);
    free(config);
    return status;
}
