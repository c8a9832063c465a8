/* Special tokens of a model folder, as transformers' fast tokenizers resolve them: the defaults of
 * the tokenizer's class, then tokenizer_config.json, then special_tokens_map.json if the former
 * has no added_tokens_decoder. */
#include "io/tokenizer_internal.h"
#include <stdlib.h>
#include <string.h>

enum { BOS = 0, EOS = 1, PAD = 3, MASK = 6, N_KEYS = 7 };
static const char *const keys[N_KEYS] = {"bos_token", "eos_token", "unk_token", "pad_token",
                                         "sep_token", "cls_token", "mask_token"};

/* Makes the token special and finds its id: value is a text, or an object with "content" and
 * flags. A token that tokenizer.json already lists keeps its flags. */
static int settle(struct dinm_tokenizer *t, const char *where, const char *key, const cJSON *value,
                  int32_t *id, struct dinm_error *err)
{
    const struct dinm_json j = {.object = value, .where = where};
    struct dinm_piece flags = {.special = true};
    const char *text = NULL;
    char room[64];
    int status = DINM_OK;

    if (cJSON_IsObject(value)) {
        TRY(dinm_json_get_text(j, "content", &text, err));
        TRY(dinm_tokenizer_added_flags(&flags, j, true, err));
        flags.special = true;
    } else if (cJSON_IsString(value)) {
        text = value->valuestring;
    } else {
        return dinm_fail(err, DINM_FAILED,
                         "%s: %s: expected a string or an object with "
                         "\"content\", found %s",
                         where, key, dinm_json_describe(value, room));
    }
    *id = dinm_tokenizer_vocab_find(&t->vocab, text, strlen(text));
    if (text[0] != '\0' && (*id < 0 || !t->vocab.pieces[*id].added)) {
        TRY(dinm_tokenizer_added_put(t, where, text, &flags, id, err));
    }
out:
    return status;
}

/* The default of the class, if the vocabulary has it. */
static int settle_default(struct dinm_tokenizer *t, const struct dinm_tokenizer_class *c,
                          size_t key, int32_t *id, struct dinm_error *err)
{
    const char *const texts[N_KEYS] = {c->bos, c->eos, c->unk, c->pad, c->sep, c->cls, c->mask};
    const struct dinm_piece flags = {.special = true, .lstrip = key == MASK};

    *id = texts[key] == NULL ? -1 : dinm_tokenizer_id(t, texts[key]);
    return *id < 0 || t->vocab.pieces[*id].added
               ? DINM_OK
               : dinm_tokenizer_added_put(t, "the defaults of the tokenizer", texts[key], &flags,
                                          id, err);
}

/* What each of the keys stands for: -1 if nothing. */
static int resolve(struct dinm_tokenizer *t, const struct dinm_tokenizer_class *c,
                   const struct dinm_side_file *settings, const struct dinm_side_file *map,
                   int32_t ids[N_KEYS], struct dinm_error *err)
{
    const bool use_map = dinm_json_find(settings->tree, "added_tokens_decoder") == NULL;
    int status = DINM_OK;

    for (size_t i = 0; i < N_KEYS; i++) {
        const cJSON *value = cJSON_GetObjectItemCaseSensitive(settings->tree, keys[i]);
        const cJSON *mapped = cJSON_GetObjectItemCaseSensitive(map->tree, keys[i]);
        const bool from_map = use_map && mapped != NULL;

        value = from_map ? mapped : value;
        ids[i] = -1;
        if (value == NULL && c != NULL) {
            TRY(settle_default(t, c, i, ids + i, err));
        } else if (value != NULL && !cJSON_IsNull(value)) {
            TRY(settle(t, from_map ? map->path : settings->path, keys[i], value, ids + i, err));
        }
    }
out:
    return status;
}

/* Tokens of added_tokens_decoder, {"id": {"content", flags}}, count like those of added_tokens. */
static int read_decoder_table(struct dinm_tokenizer *t, const struct dinm_side_file *settings,
                              struct dinm_error *err)
{
    int status = DINM_OK;
    const cJSON *item = NULL;

    cJSON_ArrayForEach(item, dinm_json_find(settings->tree, "added_tokens_decoder"))
    {
        const struct dinm_json j = {.object = item, .where = settings->path};
        const int64_t wanted = strtol(item->string, NULL, 10);
        struct dinm_piece flags;
        const char *text = NULL;
        int32_t id = -1;

        TRY(dinm_json_get_text(j, "content", &text, err));
        TRY(dinm_tokenizer_added_flags(&flags, j, false, err));
        TRY(dinm_tokenizer_added_put(t, settings->path, text, &flags, &id, err));
        if (id != wanted) {
            return dinm_fail(err, DINM_FAILED,
                             "%s: added_tokens_decoder gives \"%.100s\" the id "
                             "%.20s, the vocabulary %ld",
                             settings->path, text, item->string, (long)id);
        }
    }
out:
    return status;
}

/* Classes that build their template from add_bos_token and add_eos_token. */
static int rebuild(struct dinm_tokenizer *t, const struct dinm_side_file *settings,
                   const int32_t ids[N_KEYS], struct dinm_error *err)
{
    const struct dinm_json j = {.object = settings->tree, .where = settings->path};
    bool add_bos = true;
    bool add_eos = false;
    int status = DINM_OK;

    TRY(dinm_json_get_bool_or(j, "add_bos_token", &add_bos, err));
    TRY(dinm_json_get_bool_or(j, "add_eos_token", &add_eos, err));
    if ((add_bos && ids[BOS] < 0) || (add_eos && ids[EOS] < 0)) {
        return dinm_fail(err, DINM_FAILED, "%s: %s is true but there is no %s", settings->path,
                         add_bos && ids[BOS] < 0 ? "add_bos_token" : "add_eos_token",
                         add_bos && ids[BOS] < 0 ? keys[BOS] : keys[EOS]);
    }
    t->before.n_ids = t->after.n_ids = 0;
    if (add_bos) {
        TRY(dinm_ids_append(&t->before, &ids[BOS], 1, err));
    }
    if (add_eos) {
        TRY(dinm_ids_append(&t->after, &ids[EOS], 1, err));
    }
out:
    return status;
}

/* A lone ByteLevel pre-tokenizer takes add_prefix_space from the settings. */
static int override_prefix(struct dinm_tokenizer *t, const struct dinm_side_file *settings,
                           struct dinm_error *err)
{
    const struct dinm_json j = {.object = settings->tree, .where = settings->path};
    struct dinm_splitter *s = t->splitters;
    int status = DINM_OK;
    bool prefix;

    if (t->n_splitters == 1 && s->kind == DINM_SPLITTER_BYTES) {
        prefix = s->prefix == DINM_PREFIX_ALWAYS;
        TRY(dinm_json_get_bool_or(j, "add_prefix_space", &prefix, err));
        s->prefix = prefix ? DINM_PREFIX_ALWAYS : DINM_PREFIX_NEVER;
    }
out:
    return status;
}

int dinm_tokenizer_special_read(struct dinm_tokenizer *t, const char *folder,
                                struct dinm_error *err)
{
    struct dinm_side_file settings = {0};
    struct dinm_side_file map = {0};
    struct dinm_side_file config = {0};
    const struct dinm_tokenizer_class *c;
    int32_t ids[N_KEYS];
    const cJSON *item = NULL;
    int32_t unused;
    int status;

    TRY(dinm_tokenizer_folder_load(&settings, folder, "tokenizer_config.json", err));
    TRY(dinm_tokenizer_folder_load(&map, folder, "special_tokens_map.json", err));
    TRY(dinm_tokenizer_folder_load(&config, folder, "config.json", err));
    c = dinm_tokenizer_folder_class(settings.tree, config.tree);
    TRY(read_decoder_table(t, &settings, err));
    TRY(resolve(t, c, &settings, &map, ids, err));
    TRY(dinm_json_get_bool_or((struct dinm_json){settings.tree, settings.path},
                              "clean_up_tokenization_spaces", &t->cleans, err));
    cJSON_ArrayForEach(item, dinm_json_find(settings.tree, "additional_special_tokens"))
    {
        TRY(settle(t, settings.path, "additional_special_tokens", item, &unused, err));
    }
    TRY(override_prefix(t, &settings, err));
    if (c != NULL && c->rebuilt) {
        TRY(rebuild(t, &settings, ids, err));
    }
    t->bos = ids[BOS];
    t->eos = ids[EOS];
    t->pad = ids[PAD];
out:
    dinm_tokenizer_folder_unload(&settings);
    dinm_tokenizer_folder_unload(&map);
    dinm_tokenizer_folder_unload(&config);
    return status;
}
