/* A tokenizer from its parts: opening, and the way from text to ids. Reference for what
 * tokenizer.json means: https://github.com/huggingface/tokenizers. */
#include "io/tokenizer_older.h"
#include <stdlib.h>
#include <string.h>
#include "io/file.h"

/* ---- lists of ids ---- */

int dinm_ids_append(struct dinm_ids *ids, const int32_t *more, size_t n_more,
                    struct dinm_error *err)
{
    void *grown = ids->ids;
    int status = DINM_OK;

    if (n_more > ids->capacity - ids->n_ids) {
        status = n_more > SIZE_MAX - ids->n_ids
                     ? dinm_fail(err, DINM_FAILED, "too many ids: %zu more", n_more)
                     : dinm_grow(&grown, &ids->capacity, ids->n_ids + n_more, sizeof *ids->ids,
                                 "a list of ids", err);
        ids->ids = grown;
    }
    if (status == DINM_OK && n_more > 0) {
        memcpy(ids->ids + ids->n_ids, more, n_more * sizeof *more);
        ids->n_ids += n_more;
    }
    return status;
}

void dinm_ids_free(struct dinm_ids *ids)
{
    if (ids != NULL) {
        free(ids->ids);
        *ids = (struct dinm_ids){0};
    }
}

/* ---- opening ---- */

int dinm_tokenizer_type(const cJSON *object, const char *where, const char *what, const char **type,
                        struct dinm_error *err)
{
    const cJSON *item = dinm_json_find(object, "type");
    char room[64];

    if (!cJSON_IsString(item)) {
        return dinm_fail(err, DINM_FAILED, "%s: %s: expected an object with a \"type\", found %s",
                         where, what, dinm_json_describe(object, room));
    }
    *type = item->valuestring;
    return DINM_OK;
}

int dinm_tokenizer_copy(char **copy, const char *text, struct dinm_error *err)
{
    *copy = dinm_copy_text(text, strlen(text), err);
    return *copy == NULL ? DINM_FAILED : DINM_OK;
}

/* All parts of a tokenizer.json. Its "truncation" and "padding" are settings of one call, which
 * the reference resets before each. */
static int read_tree(struct dinm_tokenizer *t, const char *name, const cJSON *tree,
                     struct dinm_error *err)
{
    const struct dinm_json j = {.object = tree, .where = name};
    const cJSON *normalizer = dinm_json_find(tree, "normalizer");
    const cJSON *splitter = dinm_json_find(tree, "pre_tokenizer");
    const cJSON *template = dinm_json_find(tree, "post_processor");
    const cJSON *decoder = dinm_json_find(tree, "decoder");
    const cJSON *added = dinm_json_find(tree, "added_tokens");
    const cJSON *model = NULL;
    int status = DINM_OK;

    t->bos = t->eos = t->pad = -1;
    TRY(dinm_json_get_object(j, "model", &model, err));
    TRY(dinm_tokenizer_bpe_read(t, name, model, err));
    t->n_model_pieces = t->vocab.n_pieces;
    if (added != NULL) {
        TRY(dinm_json_get_array(j, "added_tokens", &added, err));
        TRY(dinm_tokenizer_added_read(t, name, added, err));
    }
    if (normalizer != NULL) {
        TRY(dinm_tokenizer_normalizer_read(t, name, normalizer, err));
    }
    if (splitter != NULL) {
        TRY(dinm_tokenizer_splitter_read(t, name, splitter, err));
    }
    if (template != NULL) {
        TRY(dinm_tokenizer_template_read(t, name, template, err));
    }
    if (decoder != NULL) {
        TRY(dinm_tokenizer_decoder_read(t, name, decoder, err));
    }
out:
    return status;
}

int dinm_tokenizer_create(struct dinm_tokenizer **out, const char *name, const cJSON *tree,
                          const char *folder, struct dinm_error *err)
{
    struct dinm_tokenizer *t = dinm_alloc(1, sizeof *t, "a tokenizer", err);
    int status = t == NULL ? DINM_FAILED : DINM_OK;

    TRY(status);
    TRY(read_tree(t, name, tree, err));
    if (folder != NULL) {
        TRY(dinm_tokenizer_special_read(t, folder, err));
    }
    TRY(dinm_tokenizer_added_build(t, err));
    *out = t;
    return DINM_OK;
out:
    dinm_tokenizer_close(t);
    return status;
}

int dinm_tokenizer_parse(struct dinm_tokenizer **out, const char *name, const char *json,
                         size_t n_bytes, struct dinm_error *err)
{
    cJSON *tree = NULL;
    int status;

    *out = NULL;
    TRY(dinm_json_parse(name, json, n_bytes, &tree, err));
    TRY(dinm_tokenizer_create(out, name, tree, NULL, err));
out:
    cJSON_Delete(tree);
    return status;
}

int dinm_tokenizer_open(struct dinm_tokenizer **out, const char *folder, struct dinm_error *err)
{
    cJSON *tree = NULL;
    char *path = dinm_path_join(folder, "tokenizer.json", err);
    int status = path == NULL ? DINM_FAILED : DINM_OK;

    *out = NULL;
    TRY(status);
    if (dinm_path_exists(path)) {
        TRY(dinm_json_load(path, &tree, err));
    } else {
        free(path);
        path = NULL;
        TRY(dinm_tokenizer_older_load(&tree, &path, folder, err));
    }
    TRY(dinm_tokenizer_create(out, path, tree, folder, err));
out:
    cJSON_Delete(tree);
    free(path);
    return status;
}

void dinm_tokenizer_close(struct dinm_tokenizer *t)
{
    if (t == NULL) {
        return;
    }
    for (size_t i = 0; i < t->n_normalizers; i++) {
        dinm_tokenizer_normalizer_free(t->normalizers + i);
    }
    for (size_t i = 0; i < t->n_splitters; i++) {
        dinm_tokenizer_splitter_free(t->splitters + i);
    }
    for (size_t i = 0; i < t->n_decoders; i++) {
        dinm_tokenizer_decoder_free(t->decoders + i);
    }
    free(t->normalizers);
    free(t->splitters);
    free(t->decoders);
    dinm_tokenizer_vocab_free(&t->vocab);
    dinm_tokenizer_added_free(&t->raw);
    dinm_tokenizer_added_free(&t->normalized);
    dinm_tokenizer_pattern_free(&t->word);
    dinm_tokenizer_bpe_free(&t->bpe);
    dinm_ids_free(&t->before);
    dinm_ids_free(&t->after);
    free(t);
}

/* ---- text to ids ---- */

/* What one call of encode needs; a tokenizer itself is never written to. */
struct work {
    struct dinm_buffer clean;          /* the text as valid UTF-8 */
    struct dinm_buffer text, spare;    /* a stretch of it, normalised */
    struct dinm_mask mask, inner_mask; /* of clean and of text */
    struct dinm_stretches raw, inner;  /* between added tokens, in clean and in text */
    struct dinm_words now, next;
    struct dinm_cuts cuts;
    struct dinm_bpe_room room;
};

static void free_work(struct work *w)
{
    dinm_buffer_free(&w->clean);
    dinm_buffer_free(&w->text);
    dinm_buffer_free(&w->spare);
    dinm_tokenizer_mask_free(&w->mask);
    dinm_tokenizer_mask_free(&w->inner_mask);
    free(w->raw.stretches);
    free(w->inner.stretches);
    dinm_tokenizer_words_free(&w->now);
    dinm_tokenizer_words_free(&w->next);
    dinm_tokenizer_cuts_free(&w->cuts);
    dinm_tokenizer_bpe_room_free(&w->room);
}

static int add_token(struct work *w, int32_t id, struct dinm_error *err)
{
    return dinm_tokenizer_words_add(&w->now, (struct dinm_word){.id = id}, err);
}

/* Normalises a stretch of the text and takes from it the tokens that are looked for only now. */
static int add_stretch(const struct dinm_tokenizer *t, struct work *w, struct dinm_stretch stretch,
                       struct dinm_error *err)
{
    int status = DINM_OK;
    bool front = stretch.begin == 0;

    w->text.n_bytes = 0;
    TRY(dinm_buffer_append(&w->text, w->clean.data + stretch.begin, stretch.end - stretch.begin,
                           err));
    TRY(dinm_tokenizer_normalize(t, &w->text, &w->spare, &w->cuts, &front, err));
    TRY(dinm_tokenizer_mask_normalized(t, &w->mask, w->clean.data, stretch, &w->text,
                                       &w->inner_mask, err));
    TRY(dinm_tokenizer_added_split(t, &t->normalized, w->text.data, w->text.n_bytes, &w->inner_mask,
                                   &w->inner, err));
    for (size_t i = 0; i < w->inner.n_stretches; i++) {
        const struct dinm_stretch s = w->inner.stretches[i];
        const struct dinm_word word = {.at = w->now.text.n_bytes,
                                       .n_bytes = s.end - s.begin,
                                       .id = -1,
                                       .first = front && s.begin == 0};

        if (s.id >= 0) {
            TRY(add_token(w, s.id, err));
            continue;
        }
        TRY(dinm_buffer_append(&w->now.text, w->text.data + s.begin, word.n_bytes, err));
        TRY(dinm_tokenizer_words_add(&w->now, word, err));
    }
out:
    return status;
}

/* The text as words and added tokens, ready for the model. */
static int make_words(const struct dinm_tokenizer *t, struct work *w, const char *text,
                      size_t n_bytes, const struct dinm_encode_options *options,
                      struct dinm_error *err)
{
    int status = DINM_OK;

    TRY(dinm_tokenizer_mask_clean(&w->mask, options, text, n_bytes, &w->clean, err));
    TRY(dinm_tokenizer_added_split(t, &t->raw, w->clean.data, w->clean.n_bytes, &w->mask, &w->raw,
                                   err));
    for (size_t i = 0; i < w->raw.n_stretches; i++) {
        TRY(w->raw.stretches[i].id >= 0 ? add_token(w, w->raw.stretches[i].id, err)
                                        : add_stretch(t, w, w->raw.stretches[i], err));
    }
    for (size_t i = 0; i < t->n_splitters; i++) {
        TRY(dinm_tokenizer_split(t->splitters + i, &w->now, &w->next, &w->cuts, err));
    }
out:
    return status;
}

/* As much of a piece as an error shows. */
static int shown_bytes(const struct dinm_tokenizer *t, int32_t id)
{
    const size_t n_bytes = t->vocab.pieces[id].n_bytes;

    return n_bytes < 100 ? (int)n_bytes : 100;
}

/* Whether the model can read the ids from `first` on. */
static int check_ids(const struct dinm_tokenizer *t, const struct dinm_ids *ids, size_t first,
                     struct dinm_error *err)
{
    for (size_t i = first; t->n_rows > 0 && i < ids->n_ids; i++) {
        if ((size_t)ids->ids[i] >= t->n_rows) {
            return dinm_fail(err, DINM_FAILED,
                             "a text has the token \"%.*s\" with the id %ld, but the model's "
                             "embedding has only %zu rows",
                             shown_bytes(t, ids->ids[i]),
                             dinm_tokenizer_vocab_text(&t->vocab, ids->ids[i]), (long)ids->ids[i],
                             t->n_rows);
        }
    }
    return DINM_OK;
}

int dinm_tokenizer_encode(const struct dinm_tokenizer *t, const char *text, size_t n_bytes,
                          struct dinm_encode_options options, struct dinm_ids *out,
                          struct dinm_error *err)
{
    /* No merge may make a special token of the user's words. */
    const bool merges = options.control && options.n_plain == 0;
    const size_t before = out->n_ids;
    struct work w = {0};
    int status;

    TRY(make_words(t, &w, text, n_bytes, &options, err));
    if (options.special) {
        TRY(dinm_ids_append(out, t->before.ids, t->before.n_ids, err));
    }
    for (size_t i = 0; i < w.now.n_words; i++) {
        const struct dinm_word word = w.now.words[i];

        TRY(word.id >= 0 ? dinm_ids_append(out, &word.id, 1, err)
                         : dinm_tokenizer_bpe_encode(t, w.now.text.data + word.at, word.n_bytes,
                                                     merges, &w.room, out, err));
    }
    if (options.special) {
        TRY(dinm_ids_append(out, t->after.ids, t->after.n_ids, err));
    }
    TRY(check_ids(t, out, before, err));
out:
    if (status < 0) {
        out->n_ids = before;
    }
    free_work(&w);
    return status;
}

/* ---- the model it serves ---- */

static int too_large(const struct dinm_tokenizer *t, const char *name, int32_t id, size_t n_rows,
                     struct dinm_error *err)
{
    return dinm_fail(err, DINM_FAILED,
                     "%s: the tokenizer's \"%.*s\" has the id %ld, but the embedding has only "
                     "%zu rows",
                     name, shown_bytes(t, id), dinm_tokenizer_vocab_text(&t->vocab, id), (long)id,
                     n_rows);
}

int dinm_tokenizer_fit(struct dinm_tokenizer *t, const char *name, size_t n_rows,
                       struct dinm_error *err)
{
    const struct dinm_ids *const lists[2] = {&t->before, &t->after};
    const int32_t ends[2] = {t->bos, t->eos};

    for (size_t i = t->vocab.n_ids; i-- > n_rows;) {
        if (t->vocab.pieces[i].known && !t->vocab.pieces[i].foreign) {
            return too_large(t, name, (int32_t)i, n_rows, err);
        }
    }
    for (size_t k = 0; k < 2; k++) {
        if (ends[k] >= 0 && (size_t)ends[k] >= n_rows) {
            return too_large(t, name, ends[k], n_rows, err);
        }
        for (size_t i = 0; i < lists[k]->n_ids; i++) {
            if ((size_t)lists[k]->ids[i] >= n_rows) {
                return too_large(t, name, lists[k]->ids[i], n_rows, err);
            }
        }
    }
    t->n_rows = n_rows;
    return DINM_OK;
}

/* ---- questions ---- */

size_t dinm_tokenizer_n_vocab(const struct dinm_tokenizer *t)
{
    return t->vocab.n_ids;
}

int32_t dinm_tokenizer_bos(const struct dinm_tokenizer *t)
{
    return t->bos;
}

int32_t dinm_tokenizer_eos(const struct dinm_tokenizer *t)
{
    return t->eos;
}

int32_t dinm_tokenizer_pad(const struct dinm_tokenizer *t)
{
    return t->pad;
}

int32_t dinm_tokenizer_id(const struct dinm_tokenizer *t, const char *piece)
{
    return dinm_tokenizer_vocab_find(&t->vocab, piece, strlen(piece));
}
