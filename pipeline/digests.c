/* Model, tokenizer, judge, cases and questions, each as one number. */
#include "pipeline/digests.h"

#include <stdlib.h>
#include "io/file.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "pipeline/refusal.h"

/* Digest over the files of a folder that decide its tokenizer. */
static int digest_tokenizer(const char *folder, uint64_t *digest, struct dinm_error *err)
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
            TRY(dinm_file_digest(path, &one, err));
        }
        all = dinm_digest(&one, sizeof one, all);
    }
    *digest = all;
out:
    free(path);
    return status;
}

static int digest_model(const char *folder, uint64_t *digest, struct dinm_error *err)
{
    int status = DINM_OK;
    uint64_t config = 0;
    uint64_t tensors = 0;
    struct dinm_checkpoint checkpoint = {0};
    char *path = dinm_path_join(folder, "config.json", err);
    TRY(path ? DINM_OK : DINM_FAILED);
    TRY(dinm_file_digest(path, &config, err));
    TRY(dinm_checkpoint_open(&checkpoint, folder, err));
    TRY(dinm_checkpoint_digest(&checkpoint, &tensors, err));
    *digest = dinm_digest(&config, sizeof config, tensors);
out:
    dinm_checkpoint_close(&checkpoint);
    free(path);
    return status;
}

static int digest_judge(const struct dinm_settings *s, uint64_t *digest, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *folder = s->judge.path;
    uint64_t tokenizer = 0;
    if (dinm_judge_is_refusal(s)) {
        *digest = dinm_refusal_digest();
        return DINM_OK;
    }
    TRY(digest_model(folder, digest, err));
    TRY(digest_tokenizer(folder, &tokenizer, err));
    *digest = dinm_digest(&tokenizer, sizeof tokenizer, *digest);
out:
    return status;
}

int dinm_digests_read(struct dinm_digests *d, const struct dinm_settings *s, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *questions = s->evaluate.kqa;
    d->questions = 0;
    TRY(digest_model(s->model.path, &d->model, err));
    TRY(digest_tokenizer(s->model.path, &d->tokenizer, err));
    TRY(digest_judge(s, &d->judge, err));
    TRY(dinm_file_digest(s->cases.path, &d->cases, err));
    if (questions[0] != '\0' && s->evaluate.kqa_on != DINM_KQA_NONE) {
        TRY(dinm_file_digest(questions, &d->questions, err));
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
