/* The files beside a tokenizer in a model folder, and what its class implies. */
#include "io/tokenizer_internal.h"
#include <stdlib.h>
#include <string.h>
#include "io/file.h"

#define LLAMA "<s>", "</s>", "<unk>", NULL, NULL, NULL, NULL, true
#define GPT2 "<|endoftext|>"

static const struct dinm_tokenizer_class classes[] = {
    {"LlamaTokenizer", "llama", LLAMA},
    {"LlamaTokenizer", "mistral", LLAMA},
    {"CodeLlamaTokenizer", "", LLAMA},
    {"GemmaTokenizer", "gemma", "<bos>", "<eos>", "<unk>", "<pad>", NULL, NULL, NULL, true},
    {"GPT2Tokenizer", "gpt2", GPT2, GPT2, GPT2, NULL, NULL, NULL, NULL, false},
    {"Qwen2Tokenizer", "qwen2", NULL, GPT2, GPT2, GPT2, NULL, NULL, NULL, false},
    {"RobertaTokenizer", "roberta", "<s>", "</s>", "<unk>", "<pad>", "</s>", "<s>", "<mask>",
     false},
};

const struct dinm_tokenizer_class *dinm_tokenizer_folder_class(const cJSON *settings,
                                                               const cJSON *config)
{
    const cJSON *name = dinm_json_find(settings, "tokenizer_class");
    const cJSON *type = dinm_json_find(config, "model_type");

    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        const size_t n = strlen(classes[i].name);

        if (cJSON_IsString(name)) {
            const char *text = name->valuestring;

            if (strncmp(text, classes[i].name, n) == 0 &&
                (text[n] == '\0' || strcmp(text + n, "Fast") == 0)) {
                return classes + i;
            }
        } else if (cJSON_IsString(type) && strcmp(type->valuestring, classes[i].model_type) == 0) {
            return classes + i;
        }
    }
    return NULL;
}

int dinm_tokenizer_folder_load(struct dinm_side_file *f, const char *folder, const char *name,
                               struct dinm_error *err)
{
    char room[64];
    int status = DINM_OK;

    f->path = dinm_path_join(folder, name, err);
    if (f->path == NULL) {
        return DINM_FAILED;
    }
    if (dinm_path_exists(f->path)) {
        TRY(dinm_json_load(f->path, &f->tree, err));
    } else {
        f->tree = cJSON_CreateObject();
    }
    if (f->tree == NULL) {
        status = dinm_fail(err, DINM_FAILED, "not enough memory for %s", f->path);
    } else if (!cJSON_IsObject(f->tree)) {
        status = dinm_fail(err, DINM_FAILED, "%s: expected an object, found %s", f->path,
                           dinm_json_describe(f->tree, room));
    }
out:
    return status;
}

void dinm_tokenizer_folder_unload(struct dinm_side_file *f)
{
    free(f->path);
    cJSON_Delete(f->tree);
    *f = (struct dinm_side_file){0};
}
