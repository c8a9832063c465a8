/* The merges of a BPE model: a hash map from a pair of neighbours to its rank and what it becomes,
 * and the reading of "model" in tokenizer.json. Of equal pairs the last counts, as in the
 * reference. */
#include "io/tokenizer_internal.h"
#include <stdlib.h>
#include <string.h>

enum { MEET_BITS = 18 }; /* 32 KiB: stays in the cache; few of the pairs that never meet collide */

static uint64_t hash(int32_t left, int32_t right)
{
    return ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9E3779B97F4A7C15u;
}

bool dinm_tokenizer_merges_meet(const struct dinm_bpe *bpe, int32_t left, int32_t right)
{
    const uint64_t bit = hash(left, right) >> (64 - MEET_BITS);

    return (bpe->meets[bit / 64] >> bit % 64 & 1) != 0;
}

/* The slot that holds the pair, or the free one where it belongs. */
static struct dinm_merge *find_slot(const struct dinm_bpe *bpe, int32_t left, int32_t right)
{
    size_t i = (size_t)(hash(left, right) >> 32) & (bpe->n_slots - 1);

    while (bpe->merges[i].rank != DINM_NO_RANK &&
           (bpe->merges[i].left != left || bpe->merges[i].right != right)) {
        i = (i + 1) & (bpe->n_slots - 1);
    }
    return bpe->merges + i;
}

const struct dinm_merge *dinm_tokenizer_merges_find(const struct dinm_bpe *bpe, int32_t left,
                                                    int32_t right)
{
    return find_slot(bpe, left, right);
}

/* The blank of "left right". The reference allows one; since some published files have pieces with
 * blanks in them, of several the first counts that leaves two known pieces. */
static const char *find_blank(const struct dinm_vocab *v, const char *text)
{
    const char *first = strchr(text, ' ');

    for (const char *blank = first; blank != NULL; blank = strchr(blank + 1, ' ')) {
        if (dinm_tokenizer_vocab_find(v, text, (size_t)(blank - text)) >= 0 &&
            dinm_tokenizer_vocab_find(v, blank + 1, strlen(blank + 1)) >= 0) {
            return blank;
        }
    }
    return first;
}

/* The two halves of a merge: ["a", "b"] or "a b". */
static int merge_halves(const struct dinm_vocab *v, const char *where, size_t rank,
                        const cJSON *item, struct dinm_buffer *left, const char **right,
                        struct dinm_error *err)
{
    const cJSON *second = cJSON_IsArray(item) && item->child != NULL ? item->child->next : NULL;
    const char *blank = cJSON_IsString(item) ? find_blank(v, item->valuestring) : NULL;

    left->n_bytes = 0;
    if (blank != NULL) {
        *right = blank + 1;
        return dinm_buffer_append(left, item->valuestring, (size_t)(blank - item->valuestring),
                                  err);
    }
    if (second != NULL && second->next == NULL && cJSON_IsString(item->child) &&
        cJSON_IsString(second)) {
        *right = second->valuestring;
        return dinm_buffer_append_text(left, item->child->valuestring, err);
    }
    return dinm_fail(err, DINM_FAILED,
                     "%s: merge %zu is neither \"left right\" nor [\"left\", \"right\"]", where,
                     rank);
}

static int no_such_piece(const char *where, size_t rank, const char *piece, struct dinm_error *err)
{
    return dinm_fail(err, DINM_FAILED,
                     "%s: merge %zu needs the piece \"%.100s\", which is not in "
                     "model.vocab",
                     where, rank, piece);
}

/* `text` holds the left half and is left with the whole. */
static int add_merge(struct dinm_tokenizer *t, const char *where, size_t rank,
                     struct dinm_buffer *text, const char *right, struct dinm_error *err)
{
    const int32_t a = dinm_tokenizer_vocab_find(&t->vocab, text->data, text->n_bytes);
    const int32_t b = dinm_tokenizer_vocab_find(&t->vocab, right, strlen(right));
    int status = DINM_OK;
    int32_t whole;

    if (a < 0 || b < 0) {
        return no_such_piece(where, rank, a < 0 ? text->data : right, err);
    }
    TRY(dinm_buffer_append_text(text, right, err));
    whole = dinm_tokenizer_vocab_find(&t->vocab, text->data, text->n_bytes);
    if (whole < 0) {
        return no_such_piece(where, rank, text->data, err);
    }
    *find_slot(&t->bpe, a, b) =
        (struct dinm_merge){.left = a, .right = b, .rank = (uint32_t)rank, .id = whole};
out:
    return status;
}

static int read_merges(struct dinm_tokenizer *t, const char *where, const cJSON *list,
                       struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_merges = 0;
    size_t rank = 0;
    struct dinm_buffer left = {0};
    const cJSON *item = NULL;

    cJSON_ArrayForEach(item, list)
    {
        n_merges++;
    }
    t->bpe.n_slots = 16;
    while (t->bpe.n_slots < 2 * n_merges) {
        t->bpe.n_slots *= 2;
    }
    t->bpe.merges = dinm_alloc(t->bpe.n_slots, sizeof *t->bpe.merges, "the merges", err);
    if (t->bpe.merges == NULL || n_merges >= DINM_NO_RANK) {
        return dinm_fail(err, DINM_FAILED, "%s: cannot hold %zu merges", where, n_merges);
    }
    for (size_t i = 0; i < t->bpe.n_slots; i++) {
        t->bpe.merges[i].rank = DINM_NO_RANK;
    }
    cJSON_ArrayForEach(item, list)
    {
        const char *right = NULL;

        TRY(merge_halves(&t->vocab, where, rank, item, &left, &right, err));
        TRY(add_merge(t, where, rank, &left, right, err));
        rank++;
    }
out:
    dinm_buffer_free(&left);
    return status;
}

/* Ids of single characters and of the pieces <0x00> to <0xFF>. */
static int read_characters(struct dinm_tokenizer *t, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer text = {0};

    for (uint32_t c = 0; c < DINM_N_SHORT_CHARS; c++) {
        text.n_bytes = 0;
        TRY(dinm_tokenizer_text_put(&text, c, err));
        t->bpe.char_ids[c] = dinm_tokenizer_vocab_find(&t->vocab, text.data, text.n_bytes);
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        text.n_bytes = 0;
        TRY(dinm_buffer_append_format(&text, err, "<0x%02X>", byte));
        t->bpe.byte_ids[byte] = dinm_tokenizer_vocab_find(&t->vocab, text.data, text.n_bytes);
    }
out:
    dinm_buffer_free(&text);
    return status;
}

/* Notes every pair of symbols that may stand where a merge joins its halves: the last character of
 * the left one and the first of the right one, or the halves themselves, which may be symbols of
 * their own (bytes, the unknown token). */
static int read_meets(struct dinm_tokenizer *t, struct dinm_error *err)
{
    struct dinm_bpe *bpe = &t->bpe;

    bpe->meets = dinm_alloc(((size_t)1 << MEET_BITS) / 64, sizeof *bpe->meets, "the merges", err);
    if (bpe->meets == NULL) {
        return DINM_FAILED;
    }
    for (size_t i = 0; i < bpe->n_slots; i++) {
        const struct dinm_merge *m = bpe->merges + i;

        if (m->rank != DINM_NO_RANK) {
            const char *left = dinm_tokenizer_vocab_text(&t->vocab, m->left);
            const char *right = dinm_tokenizer_vocab_text(&t->vocab, m->right);
            const size_t n_left = t->vocab.pieces[m->left].n_bytes;
            const size_t n_last = dinm_tokenizer_text_last(left, n_left);
            uint32_t unused;
            const int32_t lefts[2] = {
                m->left, dinm_tokenizer_vocab_find(&t->vocab, left + n_left - n_last, n_last)};
            const int32_t rights[2] = {
                m->right, dinm_tokenizer_vocab_find(&t->vocab, right,
                                                    dinm_tokenizer_text_char(right, &unused))};

            for (size_t k = 0; k < 4; k++) {
                const uint64_t bit = hash(lefts[k / 2], rights[k % 2]) >> (64 - MEET_BITS);

                bpe->meets[bit / 64] |= (uint64_t)1 << bit % 64;
            }
        }
    }
    return DINM_OK;
}

/* Settings of BPE that this reader does not know must be off. */
static int refuse_others(struct dinm_json j, struct dinm_error *err)
{
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    int status = DINM_OK;
    double dropout = 0;

    TRY(dinm_json_get_number_or(j, "dropout", &dropout, err));
    if (dropout != 0) {
        return dinm_fail(err, DINM_FAILED, "%s: dropout is %g; only 0 is supported", j.where,
                         dropout);
    }
    for (size_t i = 0; i < 2; i++) {
        const char *affix = "";

        TRY(dinm_json_get_text_or(j, affixes[i], &affix, err));
        if (affix[0] != '\0') {
            return dinm_fail(err, DINM_FAILED, "%s: %s is \"%.100s\"; only \"\" is supported",
                             j.where, affixes[i], affix);
        }
    }
out:
    return status;
}

int dinm_tokenizer_bpe_read(struct dinm_tokenizer *t, const char *where, const cJSON *model,
                            struct dinm_error *err)
{
    const struct dinm_json j = {.object = model, .where = where};
    int status = DINM_OK;
    const char *type = "BPE";
    const char *unk = NULL;
    const cJSON *merges = NULL;

    TRY(dinm_json_get_text_or(j, "type", &type, err));
    if (strcmp(type, "BPE") != 0) {
        return dinm_fail(err, DINM_FAILED, "%s: the model type %.100s is not supported, only BPE",
                         where, type);
    }
    TRY(refuse_others(j, err));
    TRY(dinm_json_get_bool_or(j, "fuse_unk", &t->bpe.fuse_unk, err));
    TRY(dinm_json_get_bool_or(j, "byte_fallback", &t->bpe.byte_fallback, err));
    TRY(dinm_json_get_bool_or(j, "ignore_merges", &t->bpe.ignore_merges, err));
    TRY(dinm_tokenizer_vocab_read(&t->vocab, where, dinm_json_find(model, "vocab"), err));
    TRY(dinm_json_get_array(j, "merges", &merges, err));
    TRY(read_merges(t, where, merges, err));
    TRY(read_characters(t, err));
    TRY(read_meets(t, err));
    t->bpe.unk_id = -1;
    TRY(dinm_json_get_text_or(j, "unk_token", &unk, err));
    if (unk != NULL) {
        t->bpe.unk_id = dinm_tokenizer_vocab_find(&t->vocab, unk, strlen(unk));
        TRY(dinm_tokenizer_copy(&t->bpe.unk, unk, err));
    }
out:
    return status;
}

void dinm_tokenizer_bpe_free(struct dinm_bpe *bpe)
{
    free(bpe->merges);
    free(bpe->meets);
    free(bpe->unk);
    *bpe = (struct dinm_bpe){0};
}
