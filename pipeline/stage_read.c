/* Rows of sequences with caches: prompts in pieces and tokens one by one, in any mixture. Rows
 * whose lower layers another sequence has run enter late: stage_late.c. */
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"
#include "pipeline/stage_private.h"

/* The sequence's cache, made if it is new. Pointers to others stay valid: caches move only here and
 * when one is closed, so callers look them up anew. */
static int open_cache(struct dinm_stage *stage, const struct dinm_item_sequence *s,
                      struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_slice *slice = stage->slice;
    void *caches = stage->caches;
    if (dinm_stage_find_cache(stage, s->slot) != NULL) {
        return DINM_OK;
    }
    status = dinm_grow(&caches, &stage->cache_capacity, stage->n_caches + 1, sizeof *stage->caches,
                       "the caches", err);
    stage->caches = caches;
    TRY(status);
    struct dinm_cache *cache = &stage->caches[stage->n_caches];
    *cache = (struct dinm_cache){.slot = s->slot};
    TRY(dinm_kv_init(&cache->kv, &slice->config, dinm_slice_kv_dtype(slice),
                     slice->weights.last - slice->weights.first, (size_t)s->capacity, err));
    stage->n_caches++;
out:
    return status;
}

struct dinm_cache *dinm_stage_find_cache(const struct dinm_stage *stage, uint64_t slot)
{
    for (size_t i = 0; i < stage->n_caches; i++) {
        if (stage->caches[i].slot == slot) {
            return &stage->caches[i];
        }
    }
    return NULL;
}

/* The i-th sequence begins behind positions that it copies from another: those must be there, or
 * among the rows before it. */
static int begin_behind(struct dinm_stage *stage, const struct dinm_item_sequence *s, size_t i,
                        struct dinm_error *err)
{
    struct dinm_sequence *to = &stage->sequences[i];
    const struct dinm_cache *cache = dinm_stage_find_cache(stage, s->from);
    const struct dinm_kv *from = cache != NULL ? &cache->kv : NULL;
    size_t n = from != NULL ? from->n_tokens : 0;
    for (size_t k = 0; k < i; k++) {
        n += stage->sequences[k].kv == from ? stage->sequences[k].n_rows : 0;
    }
    if (from == NULL || n < s->n_from || to->kv->n_tokens > 0) {
        return dinm_fail(err, DINM_FAILED,
                         "a sequence should begin like another of %zu positions; that has %zu",
                         (size_t)s->n_from, n);
    }
    to->from = from;
    to->kv->n_tokens = (size_t)s->n_from;
    return DINM_OK;
}

/* stage->sequences from the item's, *n_wanted: tokens to be chosen. */
static int prepare(struct dinm_stage *stage, const struct dinm_item *item, struct dinm_rows *rows,
                   size_t *n_wanted, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_item_sequence *from = dinm_item_sequences(item);
    size_t n = (size_t)item->n_sequences;
    void *sequences = stage->sequences;
    status = dinm_grow(&sequences, &stage->sequence_capacity, n, sizeof *stage->sequences,
                       "the decoding batch", err);
    stage->sequences = sequences;
    TRY(status);
    for (size_t i = 0; i < n; i++) {
        TRY(open_cache(stage, &from[i], err));
    }
    *rows = (struct dinm_rows){.sequences = stage->sequences, .n_sequences = n};
    *n_wanted = 0;
    for (size_t i = 0; i < n; i++) {
        struct dinm_kv *kv = &dinm_stage_find_cache(stage, from[i].slot)->kv;
        if (kv->n_tokens + from[i].n_from + from[i].n_rows > kv->capacity) {
            TRY(dinm_fail(err, DINM_FAILED, "a sequence has outgrown its cache of %zu positions",
                          kv->capacity));
        }
        stage->sequences[i] =
            (struct dinm_sequence){.n_rows = (size_t)from[i].n_rows,
                                   .kv = kv,
                                   .edit = dinm_stage_find_edit(stage, from[i].edit)};
        if (from[i].n_from > 0) {
            TRY(begin_behind(stage, &from[i], i, err));
        }
        rows->n_rows += (size_t)from[i].n_rows;
        *n_wanted += from[i].wants_token != 0;
    }
    TRY(dinm_stage_make_kept(stage, item, err));
out:
    return status;
}

/* Scratch for the head's n rows. */
static int reserve_head(struct dinm_stage *stage, size_t n, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_config *c = &stage->slice->config;
    struct {
        float **to;
        size_t *capacity, n;
    } rooms[] = {{&stage->logits, &stage->logit_capacity, n * c->n_vocab},
                 {&stage->normed, &stage->normed_capacity, n * c->d_model},
                 {&stage->room, &stage->room_capacity, c->n_vocab}};
    void *memory = stage->picks;
    status = dinm_grow(&memory, &stage->pick_capacity, n, sizeof *stage->picks, "logits", err);
    stage->picks = memory;
    TRY(status);
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        memory = *rooms[i].to;
        status = dinm_grow(&memory, rooms[i].capacity, rooms[i].n, sizeof(float), "logits", err);
        *rooms[i].to = memory;
        TRY(status);
    }
out:
    return status;
}

/* Chooses the token behind the last row of each sequence that wants one. */
static int choose_tokens(struct dinm_stage *stage, struct dinm_item *item, size_t n_wanted,
                         struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_item_sequence *sequences = dinm_item_sequences(item);
    size_t n_vocab = stage->slice->config.n_vocab, row = 0, n = 0;
    TRY(reserve_head(stage, n_wanted, err));
    for (size_t i = 0; i < item->n_sequences; i++) {
        row += (size_t)sequences[i].n_rows;
        if (sequences[i].wants_token) {
            stage->picks[n++] = row - 1;
        }
    }
    dinm_slice_head(stage->slice, stage->logits, stage->normed, dinm_item_rows(item), stage->picks,
                    n);
    n = 0;
    for (size_t i = 0; i < item->n_sequences; i++) {
        struct dinm_item_sequence *s = &sequences[i];
        if (s->wants_token) {
            s->token = dinm_sample(stage->logits + n++ * n_vocab, &stage->sampler, s->stream,
                                   s->n_new, stage->room, n_vocab);
        }
    }
out:
    return status;
}

/* Those before the late ones. */
static struct dinm_rows early_rows(const struct dinm_item *item, const struct dinm_rows *rows)
{
    struct dinm_rows early = {.sequences = rows->sequences};
    const struct dinm_item_sequence *s = dinm_item_sequences(item);
    while (early.n_sequences < rows->n_sequences && !s[early.n_sequences].late) {
        early.n_rows += rows->sequences[early.n_sequences++].n_rows;
    }
    return early;
}

/* Layers [first, last) on rows of the item, of which there may be none. */
static void run_layers(struct dinm_stage *stage, const struct dinm_item *item,
                       const struct dinm_rows *rows, size_t first, size_t last)
{
    const struct dinm_taps taps = {.after_layer = dinm_stage_between, .context = stage};
    if (rows->n_rows > 0 && first < last) {
        dinm_slice_forward(stage->slice, dinm_item_rows(item), rows, first, last, NULL, &taps,
                           stage->ws);
    }
}

int dinm_stage_read(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_slice *slice = stage->slice;
    const size_t first = slice->weights.first, last = slice->weights.last;
    struct dinm_rows rows, early;
    size_t n_wanted = 0, entry = (size_t)(*item)->layer;
    TRY(prepare(stage, *item, &rows, &n_wanted, err));
    TRY(dinm_workspace_reserve(&stage->ws, &slice->config, &rows, err));
    early = early_rows(*item, &rows);
    if (dinm_stage_is_first(stage)) {
        TRY(dinm_stage_embed(stage, *item, &early, err));
    }
    entry = entry < first ? first : entry < last ? entry : last;
    run_layers(stage, *item, &early, first, entry);
    dinm_stage_enter_late(stage, *item, entry);
    run_layers(stage, *item, &rows, entry, last);
    for (size_t i = 0; i < rows.n_sequences; i++) {
        stage->sequences[i].kv->n_tokens += stage->sequences[i].n_rows;
    }
    if (dinm_stage_is_last(stage) && n_wanted > 0) {
        TRY(choose_tokens(stage, *item, n_wanted, err));
    }
    TRY(dinm_stage_pass_on(stage, item, err));
out:
    return status;
}
