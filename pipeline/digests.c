/* Model, tokenizer, judge, cases and questions, each as one number; what each comes from is listed
 * as well, for the sentence that says what has changed. */
#include "pipeline/digests.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "io/file.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "pipeline/refusal.h"

/* Where digests go on their way. */
struct reader {
    struct dinm_digest_memory *memory; /* borrows; may be NULL */
    struct dinm_details *details;      /* borrows; may be NULL */
    const char *part;                  /* of the run's identity, whose files are read */
};

void dinm_digest_memory_free(struct dinm_digest_memory *memory)
{
    for (size_t i = 0; i < memory->n; i++) {
        free(memory->files[i].path);
    }
    free(memory->files);
    *memory = (struct dinm_digest_memory){0};
}

static int look_at(struct dinm_known_file *file, const char *path, struct dinm_error *err)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        return dinm_fail_errno(err, errno, "cannot read", path);
    }
    file->n_bytes = info.st_size;
    file->modified_s = info.st_mtim.tv_sec;
    file->modified_ns = info.st_mtim.tv_nsec;
    return DINM_OK;
}

/* Looks at the file before it is read: what is written while it is read counts as a change. */
static int learn(struct dinm_digest_memory *memory, const char *path, uint64_t *digest,
                 struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_known_file file = {0};
    void *files = memory->files;
    TRY(look_at(&file, path, err));
    TRY(dinm_file_digest(path, digest, err));
    TRY(dinm_grow(&files, &memory->capacity, memory->n + 1, sizeof file, "digests of files", err));
    memory->files = files;
    file.digest = *digest;
    file.path = dinm_copy_text(path, strlen(path), err);
    TRY(file.path != NULL ? DINM_OK : DINM_FAILED);
    memory->files[memory->n++] = file;
out:
    return status;
}

static int recall(const struct dinm_digest_memory *memory, const char *path, uint64_t *digest,
                  bool *known, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_known_file now = {0};
    *known = false;
    for (size_t i = 0; i < memory->n && !*known; i++) {
        const struct dinm_known_file *file = &memory->files[i];
        if (strcmp(file->path, path) == 0) {
            TRY(look_at(&now, path, err));
            if (now.n_bytes != file->n_bytes || now.modified_s != file->modified_s ||
                now.modified_ns != file->modified_ns) {
                TRY(dinm_fail(err, DINM_FAILED, "%s has changed since this sweep was started",
                              path));
            }
            *digest = file->digest;
            *known = true;
        }
    }
out:
    return status;
}

/* The digest of one file, which is called `name` wherever it lies. */
static int digest_file(const struct reader *r, const char *name, const char *path, uint64_t *digest,
                       struct dinm_error *err)
{
    int status = DINM_OK;
    bool known = false;
    if (r->memory == NULL) {
        TRY(dinm_file_digest(path, digest, err));
    } else {
        TRY(recall(r->memory, path, digest, &known, err));
        TRY(known ? DINM_OK : learn(r->memory, path, digest, err));
    }
    if (r->details != NULL) {
        TRY(dinm_details_add_file(r->details, r->part, name, path, *digest, err));
    }
out:
    return status;
}

/* Digest over the files of a folder that decide its tokenizer. */
static int digest_tokenizer(const struct reader *r, const char *folder, uint64_t *digest,
                            struct dinm_error *err)
{
    static const char *const names[] = {
        "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
        "vocab.json",     "merges.txt",      "generation_config.json"};
    int status = DINM_OK;
    char *path = NULL;
    uint64_t all = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        uint64_t one = 0;
        free(path);
        path = dinm_path_join(folder, names[i], err);
        TRY(path ? DINM_OK : DINM_FAILED);
        if (dinm_path_exists(path)) {
            TRY(digest_file(r, names[i], path, &one, err));
        }
        all = dinm_digest(&one, sizeof one, all);
    }
    *digest = all;
out:
    free(path);
    return status;
}

static const char *name_in_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* Of config.json and all tensor files. */
static int digest_model(const struct reader *r, const char *folder, uint64_t *digest,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    uint64_t config = 0, tensors = 0;
    struct dinm_checkpoint checkpoint = {0};
    char *path = dinm_path_join(folder, "config.json", err);
    TRY(path ? DINM_OK : DINM_FAILED);
    TRY(digest_file(r, "config.json", path, &config, err));
    TRY(dinm_checkpoint_open(&checkpoint, folder, err));
    for (size_t i = 0; i < checkpoint.n_files; i++) {
        const char *file = checkpoint.paths[i];
        uint64_t one = 0;
        TRY(digest_file(r, name_in_folder(file), file, &one, err));
        tensors = i == 0 ? one : dinm_digest(&one, sizeof one, tensors);
    }
    *digest = dinm_digest(&config, sizeof config, tensors);
out:
    dinm_checkpoint_close(&checkpoint);
    free(path);
    return status;
}

static int digest_judge(const struct reader *r, const struct dinm_settings *s, uint64_t *digest,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    uint64_t tokenizer = 0;
    if (dinm_judge_is_refusal(s)) {
        *digest = dinm_refusal_digest();
        return DINM_OK;
    }
    TRY(digest_model(r, s->judge.path, digest, err));
    TRY(digest_tokenizer(r, s->judge.path, &tokenizer, err));
    *digest = dinm_digest(&tokenizer, sizeof tokenizer, *digest);
out:
    return status;
}

int dinm_digests_read(struct dinm_digests *d, const struct dinm_settings *s,
                      struct dinm_digest_memory *memory, struct dinm_details *details,
                      struct dinm_error *err)
{
    int status = DINM_OK;
    const char *questions = s->evaluate.kqa;
    struct reader r = {.memory = memory, .details = details};
    d->questions = 0;
    r.part = "model";
    TRY(digest_model(&r, s->model.path, &d->model, err));
    r.part = "tokenizer";
    TRY(digest_tokenizer(&r, s->model.path, &d->tokenizer, err));
    r.part = "judge";
    TRY(digest_judge(&r, s, &d->judge, err));
    r.part = "cases";
    TRY(digest_file(&r, "cases", s->cases.path, &d->cases, err));
    if (questions[0] != '\0' && s->evaluate.kqa_on != DINM_KQA_NONE) {
        r.part = "questions";
        TRY(digest_file(&r, "questions", questions, &d->questions, err));
    }
out:
    return status;
}

int dinm_digests_load(struct dinm_digests *d, const char *out, struct dinm_error *err)
{
    const struct {
        const char *name;
        uint64_t *digest;
    } parts[] = {{"settings", &d->settings}, {"model", &d->model}, {"tokenizer", &d->tokenizer},
                 {"judge", &d->judge},       {"cases", &d->cases}, {"questions", &d->questions}};
    int status = DINM_OK;
    cJSON *tree = NULL;
    struct dinm_json found = {0};
    char *path = dinm_path_join(out, "journal/id.json", err);
    TRY(path ? DINM_OK : DINM_FAILED);
    TRY(dinm_json_load(path, &tree, err));
    TRY(dinm_json_get_object((struct dinm_json){tree, path}, "parts", &found.object, err));
    found.where = path;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *text = NULL;
        TRY(dinm_json_get_text(found, parts[i].name, &text, err));
        *parts[i].digest = strtoull(text, NULL, 16);
    }
out:
    cJSON_Delete(tree);
    free(path);
    return status;
}

int dinm_digests_print(const struct dinm_digests *d, struct dinm_buffer *out,
                       struct dinm_error *err)
{
    return dinm_buffer_append_format(
        out, err,
        "{\"settings\": \"%016llx\", \"model\": \"%016llx\", \"tokenizer\": \"%016llx\", "
        "\"judge\": \"%016llx\", \"cases\": \"%016llx\", \"questions\": \"%016llx\"}",
        (unsigned long long)d->settings, (unsigned long long)d->model,
        (unsigned long long)d->tokenizer, (unsigned long long)d->judge,
        (unsigned long long)d->cases, (unsigned long long)d->questions);
}
