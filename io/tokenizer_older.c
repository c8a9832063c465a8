/* Model folders without tokenizer.json: tokenizer.model, or vocab.json with merges.txt, either with
 * added_tokens.json. */
#include "io/tokenizer_older.h"
#include <stdlib.h>
#include <string.h>
#include "io/file.h"

static int no_memory(const char *path, struct dinm_error *err)
{
    return dinm_fail(err, DINM_FAILED, "not enough memory for %s", path);
}

/* ---- vocab.json and merges.txt ---- */

/* What the slow tokenizers of these classes become when they are converted. */
static const char gpt2_frame[] =
    "{\"added_tokens\":[],\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
    "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\"}}";

/* Each line that is not the version is one merge. */
static int parse_merges(cJSON *list, const char *path, char *text, struct dinm_error *err)
{
    for (char *line = text; *line != '\0';) {
        char *end = line + strcspn(line, "\n");
        char *next = *end == '\0' ? end : end + 1;

        *end = '\0';
        if (end > line && end[-1] == '\r') {
            end[-1] = '\0';
        }
        if (line[0] != '\0' && strncmp(line, "#version", 8) != 0 &&
            !cJSON_AddItemToArray(list, cJSON_CreateString(line))) {
            return no_memory(path, err);
        }
        line = next;
    }
    return DINM_OK;
}

static int add_merges(cJSON *model, const char *path, struct dinm_buffer *text,
                      struct dinm_error *err)
{
    cJSON *list = cJSON_AddArrayToObject(model, "merges");
    int status = list == NULL ? no_memory(path, err) : DINM_OK;

    TRY(status);
    TRY(dinm_buffer_reserve(text, 0, err)); /* an empty file, too, is a text */
    if (!dinm_tokenizer_text_is_valid(text->data, text->n_bytes)) {
        status = dinm_fail(err, DINM_FAILED, "%s: not a text in UTF-8", path);
        goto out;
    }
    TRY(parse_merges(list, path, text->data, err));
out:
    return status;
}

int dinm_tokenizer_older_join(cJSON **out, const char *vocab_name, cJSON *vocab,
                              const char *merges_name, struct dinm_buffer *merges,
                              struct dinm_error *err)
{
    cJSON *tree = NULL;
    cJSON *model;
    int status;

    TRY(dinm_json_parse("the frame of vocab.json", gpt2_frame, strlen(gpt2_frame), &tree, err));
    model = cJSON_GetObjectItemCaseSensitive(tree, "model");
    if (!cJSON_AddItemToObject(model, "vocab", vocab)) {
        status = no_memory(vocab_name, err);
        goto out;
    }
    vocab = NULL;
    TRY(add_merges(model, merges_name, merges, err));
    *out = tree;
    tree = NULL;
out:
    cJSON_Delete(tree);
    cJSON_Delete(vocab);
    return status;
}

static int load_vocab_and_merges(cJSON **out, const char *vocab_path, const char *merges_path,
                                 struct dinm_error *err)
{
    struct dinm_buffer merges = {0};
    cJSON *vocab = NULL;
    int status;

    TRY(dinm_json_load(vocab_path, &vocab, err));
    TRY(dinm_file_read(merges_path, &merges, err));
    status = dinm_tokenizer_older_join(out, vocab_path, vocab, merges_path, &merges, err);
    vocab = NULL;
out:
    cJSON_Delete(vocab);
    dinm_buffer_free(&merges);
    return status;
}

/* ["<s>", id] */
static int add_pair(cJSON *object, const char *key, const cJSON *vocab, const char *token,
                    const char *path, struct dinm_error *err)
{
    const cJSON *id = dinm_json_find(vocab, token);
    cJSON *pair = cJSON_AddArrayToObject(object, key);

    if (id == NULL) {
        return dinm_fail(err, DINM_FAILED, "%s: a RobertaTokenizer needs the piece \"%s\"", path,
                         token);
    }
    if (!cJSON_AddItemToArray(pair, cJSON_CreateString(token)) ||
        !cJSON_AddItemToArray(pair, cJSON_CreateNumber(id->valuedouble))) {
        return no_memory(path, err);
    }
    return DINM_OK;
}

/* The template: <s> text </s> for RoBERTa, none for GPT-2. */
static int add_template(cJSON *tree, const struct dinm_tokenizer_class *c,
                        struct dinm_json settings, const char *path, struct dinm_error *err)
{
    bool add_bos = false;
    const cJSON *vocab = dinm_json_find(dinm_json_find(tree, "model"), "vocab");
    cJSON *template;
    int status = DINM_OK;

    if (strcmp(c->name, "RobertaTokenizer") != 0) {
        TRY(dinm_json_get_bool_or(settings, "add_bos_token", &add_bos, err));
        return add_bos ? dinm_fail(err, DINM_FAILED,
                                   "%s: add_bos_token is not supported for a "
                                   "GPT2Tokenizer without tokenizer.json",
                                   settings.where)
                       : DINM_OK;
    }
    template = cJSON_AddObjectToObject(tree, "post_processor");
    if (cJSON_AddStringToObject(template, "type", "RobertaProcessing") == NULL) {
        return no_memory(path, err);
    }
    TRY(add_pair(template, "cls", vocab, c->cls, path, err));
    TRY(add_pair(template, "sep", vocab, c->sep, path, err));
out:
    return status;
}

/* ---- added_tokens.json ---- */

static int compare_ids(const void *a, const void *b)
{
    const double x = (*(const cJSON *const *)a)->valuedouble;
    const double y = (*(const cJSON *const *)b)->valuedouble;

    return (x > y) - (x < y);
}

static bool add_token(cJSON *list, const cJSON *token)
{
    cJSON *item = cJSON_CreateObject();

    return cJSON_AddItemToArray(list, item) &&
           cJSON_AddNumberToObject(item, "id", token->valuedouble) != NULL &&
           cJSON_AddStringToObject(item, "content", token->string) != NULL;
}

/* {"token": id} becomes entries of added_tokens, by id. */
static int add_tokens(cJSON *tree, const char *folder, struct dinm_error *err)
{
    struct dinm_side_file f = {0};
    const cJSON **tokens = NULL;
    const cJSON *item = NULL;
    size_t n = 0;
    int status;

    TRY(dinm_tokenizer_folder_load(&f, folder, "added_tokens.json", err));
    cJSON_ArrayForEach(item, f.tree)
    {
        n++;
    }
    tokens = dinm_alloc(n, sizeof *tokens, "added_tokens.json", err);
    if (tokens == NULL) {
        status = DINM_FAILED;
        goto out;
    }
    n = 0;
    cJSON_ArrayForEach(item, f.tree)
    {
        if (!cJSON_IsNumber(item)) {
            status = dinm_fail(err, DINM_FAILED, "%s: the id of \"%.100s\" is not a number", f.path,
                               item->string);
            goto out;
        }
        tokens[n++] = item;
    }
    qsort(tokens, n, sizeof *tokens, compare_ids);
    for (size_t i = 0; i < n; i++) {
        if (!add_token(cJSON_GetObjectItemCaseSensitive(tree, "added_tokens"), tokens[i])) {
            status = no_memory(f.path, err);
            goto out;
        }
    }
out:
    free(tokens);
    dinm_tokenizer_folder_unload(&f);
    return status;
}

/* ---- which of them ---- */

static int load_gpt2(cJSON **out, const char *folder, const char *vocab_path,
                     const char *merges_path, const struct dinm_side_file *settings,
                     struct dinm_error *err)
{
    const struct dinm_json j = {.object = settings->tree, .where = settings->path};
    struct dinm_side_file config = {0};
    const struct dinm_tokenizer_class *c;
    cJSON *tree = NULL;
    int status;

    TRY(dinm_tokenizer_folder_load(&config, folder, "config.json", err));
    c = dinm_tokenizer_folder_class(settings->tree, config.tree);
    if (c == NULL ||
        (strcmp(c->name, "GPT2Tokenizer") != 0 && strcmp(c->name, "RobertaTokenizer") != 0)) {
        status = dinm_fail(err, DINM_FAILED,
                           "%s has no tokenizer.json, and its vocab.json can be "
                           "read for a GPT2Tokenizer or RobertaTokenizer only, which neither "
                           "tokenizer_config.json nor config.json says it is",
                           folder);
        goto out;
    }
    TRY(load_vocab_and_merges(&tree, vocab_path, merges_path, err));
    TRY(add_template(tree, c, j, vocab_path, err));
    *out = tree;
    tree = NULL;
out:
    cJSON_Delete(tree);
    dinm_tokenizer_folder_unload(&config);
    return status;
}

int dinm_tokenizer_older_load(cJSON **out, char **name, const char *folder, struct dinm_error *err)
{
    char *model = dinm_path_join(folder, "tokenizer.model", err);
    char *vocab = dinm_path_join(folder, "vocab.json", err);
    char *merges = dinm_path_join(folder, "merges.txt", err);
    struct dinm_side_file settings = {0};
    cJSON *tree = NULL;
    int status = model == NULL || vocab == NULL || merges == NULL ? DINM_FAILED : DINM_OK;

    TRY(status);
    TRY(dinm_tokenizer_folder_load(&settings, folder, "tokenizer_config.json", err));
    if (dinm_path_exists(model)) {
        TRY(dinm_tokenizer_convert_load(&tree, model, settings.tree, err));
    } else if (dinm_path_exists(vocab) && dinm_path_exists(merges)) {
        TRY(load_gpt2(&tree, folder, vocab, merges, &settings, err));
    } else {
        status = dinm_fail(err, DINM_FAILED,
                           "%s has no tokenizer.json, no tokenizer.model, and not "
                           "vocab.json with merges.txt",
                           folder);
        goto out;
    }
    TRY(add_tokens(tree, folder, err));
    TRY(dinm_tokenizer_copy(name, dinm_path_exists(model) ? model : vocab, err));
    *out = tree;
    tree = NULL;
out:
    cJSON_Delete(tree);
    free(model);
    free(vocab);
    free(merges);
    dinm_tokenizer_folder_unload(&settings);
    return status;
}
