/* inspect: tells what a path is, in words. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "pipeline/command_model.h"
#include "pipeline/commands.h"
#include "pipeline/inspect.h"

static bool has(const char *folder, const char *name)
{
    char *path = dinm_path_join(folder, name, NULL);
    bool there = path != NULL && dinm_path_exists(path);
    free(path);
    return there;
}

static bool is_hdf5(const char *path)
{
    static const char signature[] = "\x89HDF\r\n\x1a\n";
    char start[sizeof signature - 1] = {0};
    FILE *file = fopen(path, "rb");
    bool same = file != NULL && fread(start, sizeof start, 1, file) == 1 &&
                memcmp(start, signature, sizeof start) == 0;
    if (file != NULL) {
        fclose(file);
    }
    return same;
}

static bool is_safetensors(const char *path)
{
    size_t n = strlen(path), m = strlen(".safetensors");
    return n > m && strcmp(path + n - m, ".safetensors") == 0;
}

static int inspect_folder(const char *path, struct dinm_buffer *out, struct dinm_error *err)
{
    if (has(path, "job.json")) {
        return dinm_inspect_output(path, out, err);
    }
    if (has(path, "config.json")) {
        return dinm_inspect_model(path, out, err);
    }
    if (has(path, "sweep.md")) {
        return dinm_inspect_sweep(path, out, err);
    }
    return dinm_fail(err, DINM_FAILED,
                     "%s is no model (it has no config.json) and no job's output folder (it has no "
                     "job.json)",
                     path);
}

int dinm_command_inspect(const struct dinm_args *args, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *path = args->operands[0];
    struct dinm_buffer out = {0};
    if (!dinm_path_exists(path)) {
        TRY(dinm_fail(err, DINM_FAILED, "there is no file or folder %s", path));
    }
    if (dinm_path_is_folder(path)) {
        TRY(inspect_folder(path, &out, err));
    } else if (is_hdf5(path)) {
        TRY(dinm_inspect_archive(path, &out, err));
    } else if (is_safetensors(path)) {
        TRY(dinm_inspect_tensors(path, &out, err));
    } else {
        TRY(dinm_fail(err, DINM_FAILED,
                      "%s is none of the files that inspect knows: HDF5 and safetensors", path));
    }
    TRY(dinm_command_print(&out, err));
out:
    dinm_buffer_free(&out);
    return status;
}
