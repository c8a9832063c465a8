/* Added tokens: pieces that are looked for in the text before the model sees it, the longest at
 * the leftmost place. */
#include "io/tokenizer_internal.h"
#include <stdlib.h>
#include <string.h>

struct dinm_added_entry {
    size_t at, n_bytes; /* in the set's text */
    int32_t id;
};

/* ---- reading ---- */

int dinm_tokenizer_added_flags(struct dinm_piece *flags, struct dinm_json j, bool special,
                               struct dinm_error *err)
{
    int status = DINM_OK;

    *flags = (struct dinm_piece){.special = special};
    TRY(dinm_json_get_bool_or(j, "special", &flags->special, err));
    flags->normalized = !flags->special;
    TRY(dinm_json_get_bool_or(j, "normalized", &flags->normalized, err));
    TRY(dinm_json_get_bool_or(j, "single_word", &flags->single_word, err));
    TRY(dinm_json_get_bool_or(j, "lstrip", &flags->lstrip, err));
    TRY(dinm_json_get_bool_or(j, "rstrip", &flags->rstrip, err));
out:
    return status;
}

/* The reference numbers a new token by the count of pieces of the model, or behind the largest
 * added one: not by the id in the file. */
static int64_t next_id(const struct dinm_tokenizer *t)
{
    int64_t id = (int64_t)t->n_model_pieces;

    for (size_t i = t->vocab.n_ids; i-- > 0;) {
        if (t->vocab.pieces[i].added) {
            return (int64_t)i >= id ? (int64_t)i + 1 : id;
        }
    }
    return id;
}

int dinm_tokenizer_added_put(struct dinm_tokenizer *t, const char *where, const char *text,
                             const struct dinm_piece *flags, int32_t *id, struct dinm_error *err)
{
    const size_t n_bytes = strlen(text);
    int32_t found = dinm_tokenizer_vocab_find(&t->vocab, text, n_bytes);
    struct dinm_piece *p;
    int status = DINM_OK;

    if (found < 0) {
        const int64_t new_id = next_id(t);

        TRY(dinm_tokenizer_vocab_add(&t->vocab, where, new_id, text, n_bytes, err));
        found = (int32_t)new_id;
        t->vocab.pieces[found].foreign = true;
    }
    p = t->vocab.pieces + found;
    p->normalized = p->added ? p->normalized : flags->normalized;
    p->special = flags->special || (p->added && p->special);
    p->added = true;
    p->lstrip = flags->lstrip;
    p->rstrip = flags->rstrip;
    p->single_word = flags->single_word;
    if (id != NULL) {
        *id = found;
    }
out:
    return status;
}

int dinm_tokenizer_added_read(struct dinm_tokenizer *t, const char *where, const cJSON *list,
                              struct dinm_error *err)
{
    int status = DINM_OK;
    const cJSON *item = NULL;

    cJSON_ArrayForEach(item, list)
    {
        const struct dinm_json j = {.object = item, .where = where};
        struct dinm_piece flags;
        const char *text = NULL;
        int64_t wanted = 0;
        int32_t id = -1;

        if (!cJSON_IsObject(item)) {
            return dinm_fail(err, DINM_FAILED,
                             "%s: added_tokens holds something that is not an "
                             "object",
                             where);
        }
        TRY(dinm_json_get_text(j, "content", &text, err));
        TRY(dinm_json_get_int(j, "id", 0, DINM_MAX_ID, &wanted, err));
        TRY(dinm_tokenizer_added_flags(&flags, j, false, err));
        if (text[0] == '\0') {
            continue;
        }
        TRY(dinm_tokenizer_added_put(t, where, text, &flags, &id, err));
        if (id != wanted) {
            return dinm_fail(err, DINM_FAILED,
                             "%s: the added token \"%.100s\" has the id %lld, but"
                             " by its place in the file %ld",
                             where, text, (long long)wanted, (long)id);
        }
    }
out:
    return status;
}

/* ---- sets ---- */

static int add_entry(struct dinm_added *a, const char *text, size_t n_bytes, int32_t id,
                     struct dinm_error *err)
{
    void *entries = a->entries;
    int status = dinm_grow(&entries, &a->capacity, a->n_entries + 1, sizeof *a->entries,
                           "the added tokens", err);

    a->entries = entries;
    TRY(status);
    TRY(dinm_buffer_append(&a->text, text, n_bytes, err));
    a->starts[(unsigned char)text[0]] = true;
    a->entries[a->n_entries++] =
        (struct dinm_added_entry){.at = a->text.n_bytes - n_bytes, .n_bytes = n_bytes, .id = id};
out:
    return status;
}

/* Byte order of the texts, then ids: a shell sort, since qsort cannot see the set's text. */
static bool comes_before(const struct dinm_added *a, const struct dinm_added_entry *x,
                         const struct dinm_added_entry *y)
{
    const size_t n = x->n_bytes < y->n_bytes ? x->n_bytes : y->n_bytes;
    const int order = memcmp(a->text.data + x->at, a->text.data + y->at, n);

    if (order != 0 || x->n_bytes != y->n_bytes) {
        return order != 0 ? order < 0 : x->n_bytes < y->n_bytes;
    }
    return x->id < y->id;
}

static void sort_entries(struct dinm_added *a)
{
    size_t gap = 1;

    while (gap < a->n_entries / 3) {
        gap = 3 * gap + 1;
    }
    for (; gap > 0; gap /= 3) {
        for (size_t i = gap; i < a->n_entries; i++) {
            const struct dinm_added_entry e = a->entries[i];
            size_t k = i;

            while (k >= gap && comes_before(a, &e, a->entries + k - gap)) {
                a->entries[k] = a->entries[k - gap];
                k -= gap;
            }
            a->entries[k] = e;
        }
    }
}

int dinm_tokenizer_added_build(struct dinm_tokenizer *t, struct dinm_error *err)
{
    static const char word[] = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}]";
    struct dinm_buffer text = {0};
    struct dinm_buffer spare = {0};
    struct dinm_cuts cuts = {0};
    int status = DINM_OK;

    for (size_t i = 0; i < t->vocab.n_ids; i++) {
        const struct dinm_piece *p = t->vocab.pieces + i;

        if (!p->added) {
            continue;
        }
        text.n_bytes = 0;
        TRY(dinm_buffer_append(&text, dinm_tokenizer_vocab_text(&t->vocab, (int32_t)i), p->n_bytes,
                               err));
        if (p->normalized) {
            TRY(dinm_tokenizer_normalize(t, &text, &spare, &cuts, NULL, err));
        }
        if (text.n_bytes > 0) {
            TRY(add_entry(p->normalized ? &t->normalized : &t->raw, text.data, text.n_bytes,
                          (int32_t)i, err));
        }
        if (p->single_word && t->word.source == NULL) {
            TRY(dinm_tokenizer_pattern_compile(&t->word, "single_word", word, err));
        }
    }
    sort_entries(&t->raw);
    sort_entries(&t->normalized);
out:
    dinm_buffer_free(&text);
    dinm_buffer_free(&spare);
    dinm_tokenizer_cuts_free(&cuts);
    return status;
}

/* ---- finding ---- */

/* The longest entry that the text has at `at` and may have there, or NULL. The entries that share
 * the first k bytes with the text are [low, high); each further byte narrows that. */
static const struct dinm_added_entry *longest_entry(const struct dinm_tokenizer *t,
                                                    const struct dinm_added *a, const char *text,
                                                    size_t at, size_t n_bytes,
                                                    const struct dinm_mask *mask)
{
    const struct dinm_added_entry *best = NULL;
    size_t low = 0;
    size_t high = a->n_entries;

    text += at;
    n_bytes -= at;
    for (size_t k = 0; low < high; k++) {
        const struct dinm_added_entry *e = a->entries + low;
        const unsigned char byte = (unsigned char)(k < n_bytes ? text[k] : 0);
        size_t bound = high;

        if (e->n_bytes == k) {
            if (!t->vocab.pieces[e->id].special || dinm_tokenizer_mask_allows(mask, at, at + k)) {
                best = e;
            }
            while (low < high && a->entries[low].n_bytes == k) {
                low++;
            }
        }
        if (k == n_bytes) {
            break;
        }
        for (size_t l = low; l < bound;) {
            const size_t middle = l + (bound - l) / 2;

            if ((unsigned char)a->text.data[a->entries[middle].at + k] < byte) {
                l = low = middle + 1;
            } else {
                bound = middle;
            }
        }
        for (size_t l = low; l < high;) {
            const size_t middle = l + (high - l) / 2;

            if ((unsigned char)a->text.data[a->entries[middle].at + k] > byte) {
                high = middle;
            } else {
                l = middle + 1;
            }
        }
    }
    return best;
}

/* Whether the character [begin, end) belongs to a word. */
static int is_word(const struct dinm_tokenizer *t, const char *text, size_t n_bytes, bool *yes,
                   struct dinm_cuts *cuts, struct dinm_error *err)
{
    const int status = dinm_tokenizer_pattern_cut(&t->word, text, n_bytes, cuts, err);

    *yes = status == DINM_OK && cuts->n_cuts > 0 && cuts->cuts[0].match;
    return status;
}

/* A token that must stand alone is no part of a longer word. */
static int stands_alone(const struct dinm_tokenizer *t, const char *text, size_t n_bytes,
                        size_t begin, size_t end, bool *alone, struct dinm_error *err)
{
    struct dinm_cuts cuts = {0};
    bool before = false;
    bool after = false;
    int status = DINM_OK;
    uint32_t unused;

    if (begin > 0) {
        const size_t last = dinm_tokenizer_text_last(text, begin);

        TRY(is_word(t, text + begin - last, last, &before, &cuts, err));
    }
    if (end < n_bytes) {
        TRY(is_word(t, text + end, dinm_tokenizer_text_char(text + end, &unused), &after, &cuts,
                    err));
    }
    *alone = !before && !after;
out:
    dinm_tokenizer_cuts_free(&cuts);
    return status;
}

static int add_stretch(struct dinm_stretches *s, size_t begin, size_t end, int32_t id,
                       struct dinm_error *err)
{
    void *stretches = s->stretches;
    const int status = dinm_grow(&stretches, &s->capacity, s->n_stretches + 1, sizeof *s->stretches,
                                 "the parts of a text", err);

    s->stretches = stretches;
    if (status == DINM_OK) {
        s->stretches[s->n_stretches++] =
            (struct dinm_stretch){.begin = begin, .end = end, .id = id};
    }
    return status;
}

int dinm_tokenizer_added_split(const struct dinm_tokenizer *t, const struct dinm_added *a,
                               const char *text, size_t n_bytes, const struct dinm_mask *mask,
                               struct dinm_stretches *s, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t done = 0;

    s->n_stretches = 0;
    for (size_t at = 0; at < n_bytes && a->n_entries > 0;) {
        const struct dinm_added_entry *e = a->starts[(unsigned char)text[at]]
                                               ? longest_entry(t, a, text, at, n_bytes, mask)
                                               : NULL;
        const struct dinm_piece *p = e == NULL ? NULL : t->vocab.pieces + e->id;
        size_t begin = at;
        size_t end = at + (e == NULL ? 1 : e->n_bytes);
        bool alone = e != NULL;

        at = end;
        if (alone && p->single_word) {
            TRY(stands_alone(t, text, n_bytes, begin, end, &alone, err));
        }
        if (!alone) {
            continue;
        }
        if (p->lstrip) {
            begin = dinm_tokenizer_text_trimmed(text, begin);
            begin = begin < done ? done : begin;
        }
        if (p->rstrip) {
            end += dinm_tokenizer_text_spaces(text + end, n_bytes - end);
        }
        if (done < begin) {
            TRY(add_stretch(s, done, begin, -1, err));
        }
        /* The reference drops a token all of whose bytes another has swallowed only if it has
         * lstrip; else blanks count once as swallowed and once as a token. */
        if (begin < end) {
            TRY(add_stretch(s, begin, end, e->id, err));
        }
        done = end;
    }
    if (done < n_bytes) {
        TRY(add_stretch(s, done, n_bytes, -1, err));
    }
out:
    return status;
}

void dinm_tokenizer_added_free(struct dinm_added *a)
{
    free(a->entries);
    dinm_buffer_free(&a->text);
    *a = (struct dinm_added){0};
}
