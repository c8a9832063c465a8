/* Byte pair encoding of one word (Sennrich et al., arXiv 1508.07909), as Hugging Face does it: of
 * all neighbours that form a known pair, the pair of lowest rank is joined, the leftmost first,
 * until none is left.
 *
 * A word is first cut where no merge can reach across. The symbols of such a run are a linked list
 * in an array. Each knows the pair that it forms with its right neighbour; candidates wait in a
 * heap, so that a run of n characters costs O(n log n). A candidate whose pair has changed since is
 * recognised by its rank: a symbol only ever grows, so the same rank at the same position is the
 * same pair. */
#include "io/tokenizer_internal.h"
#include <stdlib.h>
#include <string.h>

enum {
    N_KNOWN = 4096,   /* runs remembered, half a MiB */
    N_KNOWN_IDS = 15, /* symbols of such a run */
    N_BEFORE = 64     /* runs to wait for before it is worth it */
};
enum { N_SMALL = 24 }; /* up to here, looking at all symbols is faster than the heap */
#define NO_RANK DINM_NO_RANK
#define NO_SYMBOL UINT32_MAX

struct dinm_symbol {
    int32_t id;
    uint32_t previous, next; /* NO_SYMBOL at the ends */
    uint32_t rank;           /* of the pair with `next`; NO_RANK: no pair, or joined to the left */
    int32_t joined;          /* the id of that pair */
};

/* A short run and what became of it: text repeats itself. */
struct dinm_known_run {
    uint16_t n_symbols, n_ids; /* n_symbols 0: free */
    int32_t symbols[N_KNOWN_IDS], ids[N_KNOWN_IDS];
};

/* The way of one word from its characters to ids. */
struct way {
    const struct dinm_tokenizer *t;
    bool control;
    struct dinm_bpe_room *room;
    struct dinm_ids *out;
};

/* Looks up the pair of a symbol and its right neighbour. */
static void set_pair(const struct dinm_tokenizer *t, bool control, struct dinm_symbol *symbols,
                     uint32_t at)
{
    struct dinm_symbol *s = symbols + at;
    const struct dinm_merge *m;

    s->rank = NO_RANK;
    if (s->next == NO_SYMBOL) {
        return;
    }
    m = dinm_tokenizer_merges_find(&t->bpe, s->id, symbols[s->next].id);
    if (m->rank != NO_RANK && (control || !t->vocab.pieces[m->id].special)) {
        s->rank = m->rank;
        s->joined = m->id;
    }
}

/* Joins a symbol with its right neighbour and renews the two pairs that this touches. */
static void join(const struct dinm_tokenizer *t, bool control, struct dinm_symbol *symbols,
                 uint32_t at)
{
    struct dinm_symbol *s = symbols + at;
    struct dinm_symbol *gone = symbols + s->next;

    s->id = s->joined;
    s->next = gone->next;
    gone->rank = NO_RANK;
    if (s->next != NO_SYMBOL) {
        symbols[s->next].previous = at;
    }
    set_pair(t, control, symbols, at);
    if (s->previous != NO_SYMBOL) {
        set_pair(t, control, symbols, s->previous);
    }
}

static void join_few(const struct dinm_tokenizer *t, bool control, struct dinm_symbol *symbols)
{
    for (;;) {
        uint32_t best = 0;

        for (uint32_t i = symbols[0].next; i != NO_SYMBOL; i = symbols[i].next) {
            best = symbols[i].rank < symbols[best].rank ? i : best;
        }
        if (symbols[best].rank == NO_RANK) {
            return;
        }
        join(t, control, symbols, best);
    }
}

/* Puts a symbol's pair on the heap: at most 3 n pushes in all, for which there is room. */
static void push(struct dinm_bpe_room *room, uint32_t at)
{
    const uint64_t key = (uint64_t)room->symbols[at].rank << 32 | at;
    size_t i = room->n_heap++;

    while (i > 0 && room->heap[(i - 1) / 2] > key) {
        room->heap[i] = room->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    room->heap[i] = key;
}

static uint64_t pop(struct dinm_bpe_room *room)
{
    const uint64_t top = room->heap[0];
    const uint64_t key = room->heap[--room->n_heap];
    const size_t n = room->n_heap;
    size_t i = 0;

    for (size_t child = 1; child < n; child = 2 * i + 1) {
        child += child + 1 < n && room->heap[child + 1] < room->heap[child];
        if (room->heap[child] >= key) {
            break;
        }
        room->heap[i] = room->heap[child];
        i = child;
    }
    room->heap[i] = key;
    return top;
}

static int join_many(const struct dinm_tokenizer *t, bool control, struct dinm_bpe_room *room,
                     struct dinm_error *err)
{
    struct dinm_symbol *symbols = room->symbols;
    void *heap = room->heap;
    const int status = dinm_grow(&heap, &room->heap_capacity, 3 * room->n_symbols,
                                 sizeof *room->heap, "the pairs of a word", err);

    room->heap = heap;
    if (status < 0) {
        return status;
    }
    room->n_heap = 0;
    for (uint32_t i = 0; i < room->n_symbols; i++) {
        if (symbols[i].rank != NO_RANK) {
            push(room, i);
        }
    }
    while (room->n_heap > 0) {
        const uint64_t top = pop(room);
        const uint32_t at = (uint32_t)top;

        if (symbols[at].rank != top >> 32) {
            continue;
        }
        join(t, control, symbols, at);
        if (symbols[at].rank != NO_RANK) {
            push(room, at);
        }
        if (symbols[at].previous != NO_SYMBOL && symbols[symbols[at].previous].rank != NO_RANK) {
            push(room, symbols[at].previous);
        }
    }
    return DINM_OK;
}

/* Where the run would be remembered; NULL if it is too long or the text too short. */
static struct dinm_known_run *find_known(struct dinm_bpe_room *room, bool *same)
{
    const size_t n = room->n_symbols;
    struct dinm_known_run *k;
    uint64_t hash = 0;

    *same = false;
    if (n > N_KNOWN_IDS || (room->known == NULL && ++room->n_runs < N_BEFORE)) {
        return NULL;
    }
    if (room->known == NULL) {
        room->known = dinm_alloc(N_KNOWN, sizeof *room->known, "known words", NULL);
        if (room->known == NULL) { /* then it goes without */
            room->n_runs = 0;
            return NULL;
        }
    }
    for (size_t i = 0; i < n; i++) {
        hash = (hash ^ (uint64_t)(uint32_t)room->symbols[i].id) * 0x9E3779B97F4A7C15u;
        hash ^= hash >> 32;
    }
    k = room->known + hash % N_KNOWN;
    *same = k->n_symbols == n;
    for (size_t i = 0; *same && i < n; i++) {
        *same = k->symbols[i] == room->symbols[i].id;
    }
    return k;
}

/* Joins the symbols that are there and appends what becomes of them. */
static int join_run(const struct way *w, struct dinm_error *err)
{
    struct dinm_bpe_room *room = w->room;
    int status = DINM_OK;

    for (uint32_t i = 0; i + 1 < room->n_symbols; i++) {
        room->symbols[i].next = i + 1;
    }
    for (uint32_t i = 0; i < room->n_symbols; i++) {
        set_pair(w->t, w->control, room->symbols, i);
    }
    if (room->n_symbols > N_SMALL) {
        TRY(join_many(w->t, w->control, room, err));
    } else {
        join_few(w->t, w->control, room->symbols);
    }
    for (uint32_t i = 0; i != NO_SYMBOL; i = room->symbols[i].next) {
        TRY(dinm_ids_append(w->out, &room->symbols[i].id, 1, err));
    }
out:
    return status;
}

/* What a run becomes, from memory if it has been seen. */
static int finish_run(const struct way *w, struct dinm_error *err)
{
    struct dinm_bpe_room *room = w->room;
    const size_t n = room->n_symbols;
    const size_t begin = w->out->n_ids;
    struct dinm_known_run *k = NULL;
    bool same = false;
    int status = DINM_OK;

    if (n < 2) {
        TRY(n == 0 ? DINM_OK : dinm_ids_append(w->out, &room->symbols[0].id, 1, err));
        goto out;
    }
    k = find_known(room, &same);
    if (same) {
        TRY(dinm_ids_append(w->out, k->ids, k->n_ids, err));
        goto out;
    }
    if (k != NULL) {
        k->n_symbols = 0;
        for (size_t i = 0; i < n; i++) {
            k->symbols[i] = room->symbols[i].id;
        }
    }
    TRY(join_run(w, err));
    if (k != NULL) {
        k->n_symbols = (uint16_t)n;
        k->n_ids = (uint16_t)(w->out->n_ids - begin);
        memcpy(k->ids, w->out->ids + begin, k->n_ids * sizeof *k->ids);
    }
out:
    room->n_symbols = 0;
    return status;
}

/* Appends a symbol. One that no merge can join to what is there begins a new run. */
static int add_symbol(const struct way *w, int32_t id, struct dinm_error *err)
{
    struct dinm_bpe_room *room = w->room;
    void *symbols = room->symbols;
    int status = DINM_OK;
    size_t n;

    if (room->n_symbols > 0 &&
        !dinm_tokenizer_merges_meet(&w->t->bpe, room->symbols[room->n_symbols - 1].id, id)) {
        TRY(finish_run(w, err));
    }
    n = room->n_symbols;
    if (n == room->symbol_capacity) {
        status = dinm_grow(&symbols, &room->symbol_capacity, n + 1, sizeof *room->symbols,
                           "the symbols of a word", err);
        room->symbols = symbols;
        TRY(status);
    }
    room->symbols[n] = (struct dinm_symbol){.id = id,
                                            .previous = n == 0 ? NO_SYMBOL : (uint32_t)(n - 1),
                                            .next = NO_SYMBOL,
                                            .rank = NO_RANK};
    room->n_symbols++;
out:
    return status;
}

/* <0xNN> for each byte of a character, if all of them are in the vocabulary. */
static int add_bytes(const struct way *w, const char *text, size_t n_bytes, bool *done,
                     struct dinm_error *err)
{
    const struct dinm_bpe *bpe = &w->t->bpe;
    int status = DINM_OK;

    *done = false;
    for (size_t i = 0; i < n_bytes; i++) {
        if (bpe->byte_ids[(unsigned char)text[i]] < 0) {
            return DINM_OK;
        }
    }
    for (size_t i = 0; i < n_bytes; i++) {
        TRY(add_symbol(w, bpe->byte_ids[(unsigned char)text[i]], err));
    }
    *done = true;
out:
    return status;
}

/* The characters of the word as symbols. As in the reference, an unknown character waits until the
 * next known one (so that several can be fused), even if bytes come in between, and one that
 * nothing stands for is dropped. */
static int spell(const struct way *w, const char *word, size_t n_bytes, struct dinm_error *err)
{
    const struct dinm_bpe *bpe = &w->t->bpe;
    int status = DINM_OK;
    bool unknown = false;

    for (size_t at = 0; at < n_bytes;) {
        uint32_t c;
        const size_t step = dinm_tokenizer_text_char(word + at, &c);
        const int32_t id = c < DINM_N_SHORT_CHARS
                               ? bpe->char_ids[c]
                               : dinm_tokenizer_vocab_find_own(&w->t->vocab, word + at, step);
        bool done = false;

        if (id < 0 && bpe->byte_fallback) {
            TRY(add_bytes(w, word + at, step, &done, err));
        }
        if (unknown && (id >= 0 || (!done && bpe->unk != NULL && !bpe->fuse_unk))) {
            TRY(add_symbol(w, bpe->unk_id, err));
            unknown = false;
        }
        if (id >= 0) {
            TRY(add_symbol(w, id, err));
        } else if (!done && bpe->unk != NULL) {
            if (bpe->unk_id < 0) {
                return dinm_fail(err, DINM_FAILED,
                                 "the tokenizer's unk_token \"%.100s\" is needed "
                                 "for \"%.*s\" but is not in its vocabulary",
                                 bpe->unk, (int)step, word + at);
            }
            unknown = true;
        }
        at += step;
    }
    if (unknown) {
        TRY(add_symbol(w, bpe->unk_id, err));
    }
out:
    return status;
}

int dinm_tokenizer_bpe_encode(const struct dinm_tokenizer *t, const char *word, size_t n_bytes,
                              bool control, struct dinm_bpe_room *room, struct dinm_ids *out,
                              struct dinm_error *err)
{
    const struct way w = {.t = t, .control = control, .room = room, .out = out};
    int status = DINM_OK;

    if (t->bpe.ignore_merges) {
        const int32_t id = dinm_tokenizer_vocab_find_own(&t->vocab, word, n_bytes);

        if (id >= 0 && (control || !t->vocab.pieces[id].special)) {
            return dinm_ids_append(out, &id, 1, err);
        }
    }
    if (n_bytes >= UINT32_MAX) {
        return dinm_fail(err, DINM_FAILED,
                         "a text of %zu bytes without a place to split is too "
                         "long for the tokenizer",
                         n_bytes);
    }
    room->n_symbols = 0;
    TRY(spell(&w, word, n_bytes, err));
    TRY(finish_run(&w, err));
out:
    return status;
}

void dinm_tokenizer_bpe_room_free(struct dinm_bpe_room *room)
{
    free(room->symbols);
    free(room->heap);
    free(room->known);
    *room = (struct dinm_bpe_room){0};
}
