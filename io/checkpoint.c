/* The tensor files of a model folder in the layout of Hugging Face: one model.safetensors, or
 * shards and an index that says which tensor is in which. */
#include "io/json.h"
#include "io/safetensors.h"
#include <stdlib.h>
#include <string.h>

static const char single_name[] = "model.safetensors";
static const char index_name[] = "model.safetensors.index.json";

static int compare_texts(const void *left, const void *right)
{
    const char *const *a = left;
    const char *const *b = right;

    return strcmp(*a, *b);
}

/* A shard's name must stay inside the folder. */
static int check_shard_name(const cJSON *entry, const char *index, struct dinm_error *err)
{
    char room[64];

    if (!cJSON_IsString(entry)) {
        return dinm_fail(err, DINM_FAILED, "%s: the file of tensor '%s' must be a string, found %s",
                         index, entry->string, dinm_json_describe(entry, room));
    }
    if (entry->valuestring[0] == '\0' || strchr(entry->valuestring, '/') != NULL ||
        strcmp(entry->valuestring, ".") == 0 || strcmp(entry->valuestring, "..") == 0) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: tensor '%s' is said to be in '%s', which is not a file name within "
                         "the folder",
                         index, entry->string, entry->valuestring);
    }
    return DINM_OK;
}

/* names: [*n], the different shard names in order; borrows from the map. */
static int list_shards(const cJSON *map, const char *index, const char ***names, size_t *n,
                       struct dinm_error *err)
{
    const cJSON *entry;
    size_t n_entries = 0;
    int status;

    *n = 0;
    cJSON_ArrayForEach(entry, map)
    {
        TRY(check_shard_name(entry, index, err));
        n_entries++;
    }
    if (n_entries == 0) {
        return dinm_fail(err, DINM_FAILED, "%s: 'weight_map' names no tensors", index);
    }
    *names = dinm_alloc(n_entries, sizeof **names, "the shards of a model", err);
    if (*names == NULL) {
        return DINM_FAILED;
    }
    n_entries = 0;
    cJSON_ArrayForEach(entry, map)
    {
        (*names)[n_entries++] = entry->valuestring;
    }
    qsort(*names, n_entries, sizeof **names, compare_texts);
    for (size_t i = 0; i < n_entries; i++) {
        if (*n == 0 || strcmp((*names)[*n - 1], (*names)[i]) != 0) {
            (*names)[(*n)++] = (*names)[i];
        }
    }
out:
    return status;
}

/* names: [n] of files in the folder. */
static int open_files(struct dinm_checkpoint *c, const char *const *names, size_t n,
                      struct dinm_error *err)
{
    int status = DINM_OK;

    c->files = dinm_alloc(n, sizeof *c->files, "the files of a model", err);
    c->paths = dinm_alloc(n, sizeof *c->paths, "the files of a model", err);
    if (c->files == NULL || c->paths == NULL) {
        return DINM_FAILED;
    }
    for (size_t i = 0; i < n; i++) {
        c->paths[i] = dinm_path_join(c->folder, names[i], err);
        c->n_files = i + 1; /* so that close frees what this turn made */
        if (c->paths[i] == NULL) {
            return DINM_FAILED;
        }
        TRY(dinm_safetensors_open(&c->files[i], c->paths[i], err));
    }
out:
    return status;
}

/* Every tensor of the index is in its shard. */
static int check_index(const struct dinm_checkpoint *c, const cJSON *map, const char *const *names,
                       const char *index, struct dinm_error *err)
{
    const cJSON *entry;

    cJSON_ArrayForEach(entry, map)
    {
        const char *key = entry->valuestring;
        const char *const *shard = bsearch(&key, names, c->n_files, sizeof *names, compare_texts);

        if (dinm_safetensors_find(&c->files[shard - names], entry->string) == NULL) {
            return dinm_fail(err, DINM_FAILED, "%s: tensor '%s' is not in %s as the index says",
                             index, entry->string, entry->valuestring);
        }
    }
    return DINM_OK;
}

/* No tensor is in two files: one of them would silently win. */
static int check_unique(const struct dinm_checkpoint *c, struct dinm_error *err)
{
    const char **names = NULL;
    size_t n = 0;

    for (size_t i = 0; i < c->n_files; i++) {
        n += c->files[i].n_tensors;
    }
    names = dinm_alloc(n, sizeof *names, "the names of tensors", err);
    if (names == NULL) {
        return DINM_FAILED;
    }
    n = 0;
    for (size_t i = 0; i < c->n_files; i++) {
        for (size_t k = 0; k < c->files[i].n_tensors; k++) {
            names[n++] = c->files[i].tensors[k].name;
        }
    }
    qsort(names, n, sizeof *names, compare_texts);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(names[i - 1], names[i]) == 0) {
            const int status = dinm_fail(
                err, DINM_FAILED, "%s: tensor '%s' is in more than one file", c->folder, names[i]);
            free(names);
            return status;
        }
    }
    free(names);
    return DINM_OK;
}

static int open_sharded(struct dinm_checkpoint *c, const char *index, struct dinm_error *err)
{
    const cJSON *map = NULL;
    const char **names = NULL;
    cJSON *tree = NULL;
    size_t n = 0;
    int status;

    TRY(dinm_json_load(index, &tree, err));
    TRY(dinm_json_get_object((struct dinm_json){tree, index}, "weight_map", &map, err));
    TRY(list_shards(map, index, &names, &n, err));
    TRY(open_files(c, names, n, err));
    TRY(check_index(c, map, names, index, err));
    status = check_unique(c, err);
out:
    free(names);
    cJSON_Delete(tree);
    return status;
}

/* A folder without safetensors: weights in another form are named. */
static int refuse_folder(const char *folder, struct dinm_error *err)
{
    static const char *const others[] = {"pytorch_model.bin",   "pytorch_model.bin.index.json",
                                         "consolidated.00.pth", "model.pt",
                                         "tf_model.h5",         "flax_model.msgpack",
                                         "adapter_model.bin",   "adapter_model.safetensors",
                                         "pytorch_model.pt"};

    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char *path = dinm_path_join(folder, others[i], err);
        const bool there = path != NULL && dinm_path_exists(path);

        free(path);
        if (path == NULL) {
            return DINM_FAILED;
        }
        if (there) {
            return dinm_fail(err, DINM_FAILED,
                             "%s: its weights are in %s, but only safetensors are read: convert "
                             "it to %s first",
                             folder, others[i], single_name);
        }
    }
    return dinm_fail(err, DINM_FAILED, "%s: the folder has neither %s nor %s", folder, single_name,
                     index_name);
}

int dinm_checkpoint_open(struct dinm_checkpoint *c, const char *folder, struct dinm_error *err)
{
    const char *const names[] = {single_name};
    char *single = NULL;
    char *index = NULL;
    int status = DINM_FAILED;

    *c = (struct dinm_checkpoint){0};
    c->folder = dinm_copy_text(folder, strlen(folder), err);
    single = dinm_path_join(folder, single_name, err);
    index = dinm_path_join(folder, index_name, err);
    if (c->folder == NULL || single == NULL || index == NULL) {
        goto out;
    }
    if (dinm_path_exists(single)) {
        status = open_files(c, names, 1, err);
    } else if (dinm_path_exists(index)) {
        status = open_sharded(c, index, err);
    } else if (!dinm_path_is_folder(folder)) {
        status = dinm_fail(err, DINM_FAILED, "%s: there is no such folder", folder);
    } else {
        status = refuse_folder(folder, err);
    }
out:
    free(single);
    free(index);
    if (status < 0) {
        dinm_checkpoint_close(c);
    }
    return status;
}

const struct dinm_tensor *dinm_checkpoint_find(const struct dinm_checkpoint *c, const char *name)
{
    for (size_t i = 0; i < c->n_files; i++) {
        const struct dinm_tensor *tensor = dinm_safetensors_find(&c->files[i], name);

        if (tensor != NULL) {
            return tensor;
        }
    }
    return NULL;
}

void dinm_checkpoint_close(struct dinm_checkpoint *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < c->n_files; i++) {
        dinm_safetensors_close(&c->files[i]);
        free(c->paths[i]);
    }
    free(c->files);
    free(c->paths);
    free(c->folder);
    *c = (struct dinm_checkpoint){0};
}
