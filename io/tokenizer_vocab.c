/* The pieces of a tokenizer: id to text, and text to id through an open-addressing hash map. */
#include "io/tokenizer_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* id + 1, so that zero is a free slot; `tag` spares most comparisons and all rehashing. */
struct dinm_vocab_slot {
    uint32_t tag;
    uint32_t id_plus_1;
};

static uint32_t hash(const char *text, size_t n_bytes)
{
    const uint64_t h = XXH3_64bits(text, n_bytes);

    return (uint32_t)(h ^ (h >> 32));
}

int32_t dinm_tokenizer_vocab_find_own(const struct dinm_vocab *v, const char *text, size_t n_bytes)
{
    const int32_t id = dinm_tokenizer_vocab_find(v, text, n_bytes);

    return id >= 0 && v->pieces[id].foreign ? -1 : id;
}

const char *dinm_tokenizer_vocab_text(const struct dinm_vocab *v, int32_t id)
{
    return v->text.data + v->pieces[id].at;
}

/* The slot that holds the text, or the free one where it belongs. */
static struct dinm_vocab_slot *find_slot(const struct dinm_vocab *v, uint32_t tag, const char *text,
                                         size_t n_bytes)
{
    size_t i = tag & (v->n_slots - 1);

    while (v->slots[i].id_plus_1 != 0) {
        const struct dinm_piece *p = v->pieces + v->slots[i].id_plus_1 - 1;

        if (v->slots[i].tag == tag && p->n_bytes == n_bytes &&
            memcmp(v->text.data + p->at, text, n_bytes) == 0) {
            break;
        }
        i = (i + 1) & (v->n_slots - 1);
    }
    return v->slots + i;
}

int32_t dinm_tokenizer_vocab_find(const struct dinm_vocab *v, const char *text, size_t n_bytes)
{
    if (v->n_slots == 0 || n_bytes == 0) {
        return -1;
    }
    return (int32_t)find_slot(v, hash(text, n_bytes), text, n_bytes)->id_plus_1 - 1;
}

/* Keeps the table at most half full. */
static int grow_slots(struct dinm_vocab *v, struct dinm_error *err)
{
    const size_t n_slots = v->n_slots == 0 ? 1024 : 2 * v->n_slots;
    struct dinm_vocab_slot *slots;

    if (2 * (v->n_pieces + 1) <= v->n_slots) {
        return DINM_OK;
    }
    slots = dinm_alloc(n_slots, sizeof *slots, "the vocabulary's index", err);
    if (slots == NULL) {
        return DINM_FAILED;
    }
    for (size_t old = 0; old < v->n_slots; old++) {
        size_t i = v->slots[old].tag & (n_slots - 1);

        if (v->slots[old].id_plus_1 == 0) {
            continue;
        }
        while (slots[i].id_plus_1 != 0) {
            i = (i + 1) & (n_slots - 1);
        }
        slots[i] = v->slots[old];
    }
    free(v->slots);
    v->slots = slots;
    v->n_slots = n_slots;
    return DINM_OK;
}

int dinm_tokenizer_vocab_add(struct dinm_vocab *v, const char *where, int64_t id, const char *text,
                             size_t n_bytes, struct dinm_error *err)
{
    int status = DINM_OK;
    void *pieces = v->pieces;
    struct dinm_vocab_slot *slot;
    uint32_t tag;

    if (id < 0 || id > DINM_MAX_ID) {
        return dinm_fail(err, DINM_FAILED, "%s: the piece \"%.100s\" has the id %lld, not 0 to %d",
                         where, text, (long long)id, DINM_MAX_ID);
    }
    if ((size_t)id < v->n_ids && v->pieces[id].known) {
        return dinm_fail(err, DINM_FAILED, "%s: \"%.100s\" and another piece have the same id %lld",
                         where, text, (long long)id);
    }
    TRY(grow_slots(v, err));
    tag = hash(text, n_bytes);
    slot = find_slot(v, tag, text, n_bytes);
    if (slot->id_plus_1 != 0) {
        return dinm_fail(err, DINM_FAILED, "%s: the piece \"%.100s\" has the ids %lu and %lld",
                         where, text, (unsigned long)slot->id_plus_1 - 1, (long long)id);
    }
    status =
        dinm_grow(&pieces, &v->capacity, (size_t)id + 1, sizeof *v->pieces, "the vocabulary", err);
    v->pieces = pieces;
    TRY(status);
    TRY(dinm_buffer_append(&v->text, text, n_bytes, err));
    v->pieces[id] =
        (struct dinm_piece){.at = v->text.n_bytes - n_bytes, .n_bytes = n_bytes, .known = true};
    *slot = (struct dinm_vocab_slot){.tag = tag, .id_plus_1 = (uint32_t)id + 1};
    v->n_ids = (size_t)id + 1 > v->n_ids ? (size_t)id + 1 : v->n_ids;
    v->n_pieces++;
out:
    return status;
}

int dinm_tokenizer_vocab_read(struct dinm_vocab *v, const char *where, const cJSON *object,
                              struct dinm_error *err)
{
    int status = DINM_OK;
    char room[64];
    const cJSON *item = NULL;

    if (!cJSON_IsObject(object)) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: model.vocab: expected an object from pieces to ids,"
                         " found %s",
                         where, dinm_json_describe(object, room));
    }
    cJSON_ArrayForEach(item, object)
    {
        const double id = cJSON_IsNumber(item) ? item->valuedouble : -1;

        if (!(id >= 0 && id <= DINM_MAX_ID && floor(id) == id)) {
            return dinm_fail(err, DINM_FAILED,
                             "%s: model.vocab: the id of \"%.100s\" is %s, not a"
                             " number from 0 to %d",
                             where, item->string, dinm_json_describe(item, room), DINM_MAX_ID);
        }
        TRY(dinm_tokenizer_vocab_add(v, where, (int64_t)id, item->string, strlen(item->string),
                                     err));
    }
out:
    return status;
}

void dinm_tokenizer_vocab_free(struct dinm_vocab *v)
{
    dinm_buffer_free(&v->text);
    free(v->pieces);
    free(v->slots);
    *v = (struct dinm_vocab){0};
}
