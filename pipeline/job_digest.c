/* Digests of everything that decides the results: the settings and the inputs' bytes, wherever they
 * lie. What each digest comes from is listed as well, for the sentence that says what has changed.
 */
#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "pipeline/job.h"
#include "pipeline/refusal.h"

/* The digest of folder/name, which is listed as a detail of the part. */
static int digest_file(struct dinm_details *details, const char *part, const char *name,
                       const char *path, uint64_t *digest, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_file_digest(path, digest, err));
    TRY(dinm_details_add_file(details, part, name, path, *digest, err));
out:
    return status;
}

/* Digest over the files of a folder that decide its tokenizer. */
static int digest_tokenizer(struct dinm_details *details, const char *part, const char *folder,
                            uint64_t *digest, struct dinm_error *err)
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
            TRY(digest_file(details, part, names[i], path, &one, err));
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

/* Of config.json and all tensor files; these are read once, not through their mappings, whose pages
 * stay untouched. */
static int digest_model(struct dinm_details *details, const char *part,
                        const struct dinm_checkpoint *checkpoint, const char *folder,
                        uint64_t *digest, struct dinm_error *err)
{
    int status = DINM_OK;
    uint64_t config = 0, tensors = 0;
    char *path = dinm_path_join(folder, "config.json", err);
    TRY(path ? DINM_OK : DINM_FAILED);
    TRY(digest_file(details, part, "config.json", path, &config, err));
    for (size_t i = 0; i < checkpoint->n_files; i++) {
        const char *file = checkpoint->paths[i];
        uint64_t one = 0;
        TRY(digest_file(details, part, name_in_folder(file), file, &one, err));
        tensors = i == 0 ? one : dinm_digest(&one, sizeof one, tensors);
    }
    *digest = dinm_digest(&config, sizeof config, tensors);
out:
    free(path);
    return status;
}

static int digest_judge(struct dinm_details *details, const struct dinm_settings *s,
                        uint64_t *digest, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *folder = s->judge.path;
    uint64_t tokenizer = 0;
    struct dinm_checkpoint checkpoint = {0};
    if (dinm_judge_is_refusal(s)) {
        *digest = dinm_refusal_digest();
        return DINM_OK;
    }
    TRY(dinm_checkpoint_open(&checkpoint, folder, err));
    TRY(digest_model(details, "judge", &checkpoint, folder, digest, err));
    TRY(digest_tokenizer(details, "judge", folder, &tokenizer, err));
    *digest = dinm_digest(&tokenizer, sizeof tokenizer, *digest);
out:
    dinm_checkpoint_close(&checkpoint);
    return status;
}

/* Digest of the selected cases' ids, which cases.limit and cases.ids decide. */
static uint64_t digest_selection(const struct dinm_cases *cases, uint64_t seed)
{
    for (size_t i = 0; i < cases->n_cases; i++) {
        seed = dinm_digest(&cases->cases[i].id, sizeof cases->cases[i].id, seed);
    }
    return seed;
}

static int add_setting(void *details, const char *key, const char *value, struct dinm_error *err)
{
    return dinm_details_add_setting(details, key, value, err);
}

/* Rank 0's part. */
static int digest_inputs(struct dinm_job *job, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_settings *s = job->settings;
    struct dinm_digests *d = &job->digests;
    struct dinm_details *details = &job->details;
    TRY(dinm_settings_digest(s, &d->settings, err));
    if (job->way != NULL) { /* another way of computing, other bits */
        d->settings = dinm_digest(job->way->name, strlen(job->way->name), d->settings);
        TRY(dinm_details_add_setting(details, "products in bf16 by", job->way->name, err));
    }
    TRY(dinm_settings_visit(s, add_setting, details, err));
    TRY(digest_model(details, "model", &job->slice.checkpoint, s->model.path, &d->model, err));
    TRY(digest_tokenizer(details, "tokenizer", s->model.path, &d->tokenizer, err));
    TRY(digest_judge(details, s, &d->judge, err));
    TRY(digest_file(details, "cases", "cases", s->cases.path, &d->cases, err));
    d->cases = digest_selection(&job->cases, d->cases);
    if (job->questions.n_questions > 0) {
        TRY(digest_file(details, "questions", "questions", s->evaluate.kqa, &d->questions, err));
    }
out:
    return status;
}

int dinm_job_digest_all(struct dinm_job *job, struct dinm_error *err)
{
    int status = job->grid.rank == 0 ? digest_inputs(job, err) : DINM_OK;
    status = dinm_agree_all(&job->grid, status, err);
    if (status < 0) {
        return status;
    }
    struct dinm_buffer bytes = {0};
    TRY(dinm_buffer_append(&bytes, &job->digests, sizeof job->digests, err));
out:
    status = dinm_agree_all(&job->grid, status, err);
    if (status >= 0) {
        status = dinm_grid_broadcast_all(&job->grid, &bytes, err);
    }
    if (status >= 0) {
        memcpy(&job->digests, bytes.data, sizeof job->digests);
    }
    dinm_buffer_free(&bytes);
    return status;
}

int dinm_job_print_digests(const struct dinm_job *job, struct dinm_buffer *out,
                           struct dinm_error *err)
{
    const struct dinm_digests *d = &job->digests;
    return dinm_buffer_append_format(
        out, err,
        "{\"settings\": \"%016llx\", \"model\": \"%016llx\", \"tokenizer\": \"%016llx\", "
        "\"judge\": \"%016llx\", \"cases\": \"%016llx\", \"questions\": \"%016llx\"}",
        (unsigned long long)d->settings, (unsigned long long)d->model,
        (unsigned long long)d->tokenizer, (unsigned long long)d->judge,
        (unsigned long long)d->cases, (unsigned long long)d->questions);
}
