/* A SentencePiece model told in the words of tokenizer.json, as transformers converts it for Llama:
 * what SentencePiece joins by score becomes a list of merges. */
#include "io/tokenizer_older.h"
#include <stdlib.h>
#include <string.h>
#include "io/file.h"

struct split {
    float score; /* of the whole */
    int32_t left, right;
};

/* Highest score first, then by the ids of the halves: the order in which transformers wrote the
 * merges of Llama's tokenizer.json. */
static int compare_splits(const void *a, const void *b)
{
    const struct split *x = a;
    const struct split *y = b;

    if (x->score != y->score) {
        return x->score > y->score ? -1 : 1;
    }
    if (x->left != y->left) {
        return x->left < y->left ? -1 : 1;
    }
    return (x->right > y->right) - (x->right < y->right);
}

/* Every way to cut a piece into two pieces. Text never becomes a control or byte piece by joining,
 * as in SentencePiece. */
static int list_splits(const struct dinm_spm *m, struct split **splits, size_t *n_splits,
                       struct dinm_error *err)
{
    int status = DINM_OK;
    size_t capacity = 0;
    void *grown = NULL;

    *n_splits = 0;
    for (size_t id = 0; id < m->vocab.n_ids; id++) {
        const char *text = dinm_tokenizer_vocab_text(&m->vocab, (int32_t)id);
        const size_t n_bytes = m->vocab.pieces[id].n_bytes;
        uint32_t unused;

        if (m->pieces[id].type != DINM_SPM_NORMAL && m->pieces[id].type != DINM_SPM_USER_DEFINED) {
            continue;
        }
        for (size_t at = dinm_tokenizer_text_char(text, &unused); at < n_bytes;
             at += dinm_tokenizer_text_char(text + at, &unused)) {
            const int32_t left = dinm_tokenizer_vocab_find(&m->vocab, text, at);
            const int32_t right = dinm_tokenizer_vocab_find(&m->vocab, text + at, n_bytes - at);

            if (left >= 0 && right >= 0) {
                TRY(dinm_grow(&grown, &capacity, *n_splits + 1, sizeof **splits, "the merges",
                              err));
                ((struct split *)grown)[(*n_splits)++] =
                    (struct split){.score = m->pieces[id].score, .left = left, .right = right};
            }
        }
    }
    if (*n_splits > 0) {
        qsort(grown, *n_splits, sizeof **splits, compare_splits);
    }
out:
    *splits = grown;
    return status;
}

static int piece_text(const struct dinm_spm *m, int32_t id, struct dinm_buffer *text,
                      struct dinm_error *err)
{
    text->n_bytes = 0;
    return dinm_buffer_append(text, dinm_tokenizer_vocab_text(&m->vocab, id),
                              m->vocab.pieces[id].n_bytes, err);
}

static int fill_merges(const struct dinm_spm *m, cJSON *merges, struct dinm_error *err)
{
    struct split *splits = NULL;
    size_t n_splits = 0;
    struct dinm_buffer left = {0};
    struct dinm_buffer right = {0};
    int status;

    TRY(list_splits(m, &splits, &n_splits, err));
    for (size_t i = 0; i < n_splits; i++) {
        const char *halves[2];
        cJSON *pair;

        TRY(piece_text(m, splits[i].left, &left, err));
        TRY(piece_text(m, splits[i].right, &right, err));
        halves[0] = left.data;
        halves[1] = right.data;
        pair = cJSON_CreateStringArray(halves, 2);
        if (pair == NULL || !cJSON_AddItemToArray(merges, pair)) {
            cJSON_Delete(pair);
            status = dinm_fail(err, DINM_FAILED, "not enough memory for the merges of %s", m->path);
            goto out;
        }
    }
out:
    free(splits);
    dinm_buffer_free(&left);
    dinm_buffer_free(&right);
    return status;
}

/* Pieces, and those among them that are looked for in the text as they are. */
static int fill_vocab(const struct dinm_spm *m, cJSON *vocab, cJSON *added, const char **unk,
                      struct dinm_error *err)
{
    struct dinm_buffer text = {0};
    int status = DINM_OK;

    for (size_t id = 0; id < m->vocab.n_ids; id++) {
        const int type = m->pieces[id].type;
        const double number = (double)id;
        cJSON *item;

        TRY(piece_text(m, (int32_t)id, &text, err));
        item = cJSON_AddNumberToObject(vocab, text.data, number);
        if (item != NULL && type == DINM_SPM_UNKNOWN) {
            *unk = item->string;
        }
        if (item != NULL && (type == DINM_SPM_UNKNOWN || type == DINM_SPM_CONTROL ||
                             type == DINM_SPM_USER_DEFINED)) {
            item = cJSON_CreateObject();
            if (!cJSON_AddItemToArray(added, item) ||
                cJSON_AddNumberToObject(item, "id", number) == NULL ||
                cJSON_AddStringToObject(item, "content", text.data) == NULL ||
                cJSON_AddBoolToObject(item, "special", type != DINM_SPM_USER_DEFINED) == NULL ||
                cJSON_AddBoolToObject(item, "normalized", false) == NULL) {
                item = NULL;
            }
        }
        if (item == NULL) {
            status = dinm_fail(err, DINM_FAILED, "not enough memory for the pieces of %s", m->path);
            goto out;
        }
    }
out:
    dinm_buffer_free(&text);
    return status;
}

/* How blanks become marks and back. In the newer way ("legacy": false) the mark in front is put
 * only before the beginning of a text, not behind added tokens. */
static int parse_frame(cJSON **tree, bool prefix, bool legacy, struct dinm_error *err)
{
    struct dinm_buffer text = {0};
    int status;

    TRY(dinm_buffer_append_text(&text, "{\"added_tokens\":[],", err));
    if (legacy) {
        TRY(dinm_buffer_append_format(
            &text, err,
            "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[%s"
            "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\\u2581\"}]},",
            prefix ? "{\"type\":\"Prepend\",\"prepend\":\"\\u2581\"}," : ""));
    } else {
        TRY(dinm_buffer_append_format(&text, err,
                                      "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":"
                                      "\"\\u2581\",\"prepend_scheme\":\"%s\",\"split\":false},",
                                      prefix ? "first" : "never"));
    }
    TRY(dinm_buffer_append_format(
        &text, err,
        "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":"
        "{\"String\":\"\\u2581\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":"
        "\"Fuse\"}%s]},\"model\":{\"type\":\"BPE\",\"fuse_unk\":true,\"vocab\":{},\"merges\":[]}}",
        prefix ? ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}" : ""));
    TRY(dinm_json_parse("the frame of a SentencePiece model", text.data, text.n_bytes, tree, err));
out:
    dinm_buffer_free(&text);
    return status;
}

int dinm_tokenizer_convert_load(cJSON **out, const char *path, const cJSON *settings,
                                struct dinm_error *err)
{
    const struct dinm_json j = {.object = settings, .where = "tokenizer_config.json"};
    struct dinm_buffer bytes = {0};
    struct dinm_spm m = {0};
    cJSON *tree = NULL;
    cJSON *model;
    const char *unk = NULL;
    bool legacy = true;
    int status;

    TRY(dinm_file_read(path, &bytes, err));
    TRY(dinm_tokenizer_sentencepiece_parse(&m, path, bytes.data, bytes.n_bytes, err));
    TRY(dinm_json_get_bool_or(j, "legacy", &legacy, err));
    TRY(dinm_json_get_bool_or(j, "add_prefix_space", &m.prefix, err));
    TRY(parse_frame(&tree, m.prefix, legacy, err));
    model = cJSON_GetObjectItemCaseSensitive(tree, "model");
    TRY(fill_vocab(&m, cJSON_GetObjectItemCaseSensitive(model, "vocab"),
                   cJSON_GetObjectItemCaseSensitive(tree, "added_tokens"), &unk, err));
    TRY(fill_merges(&m, cJSON_GetObjectItemCaseSensitive(model, "merges"), err));
    if (cJSON_AddBoolToObject(model, "byte_fallback", m.byte_fallback) == NULL ||
        (unk != NULL && cJSON_AddStringToObject(model, "unk_token", unk) == NULL)) {
        status = dinm_fail(err, DINM_FAILED, "not enough memory for %s", path);
        goto out;
    }
    *out = tree;
    tree = NULL;
out:
    cJSON_Delete(tree);
    dinm_tokenizer_sentencepiece_free(&m);
    dinm_buffer_free(&bytes);
    return status;
}
