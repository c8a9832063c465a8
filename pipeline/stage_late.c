/* Rows that enter late. An edit replaces one layer's W_V: where a prompt begins as another does
 * that is read with another edit, the keys, the values and the residual below both edited layers
 * are the same. The first to be read keeps the rows that enter the item's layer, which is below
 * neither; the next copies its keys and values below that layer, and its rows enter there. */
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"
#include "pipeline/stage_private.h"

/* The item's layer is one of the stage's: it keeps and lends rows. */
static bool is_owner(const struct dinm_stage *stage, const struct dinm_item *item)
{
    const struct dinm_weights *w = &stage->slice->weights;
    return item->layer >= w->first && item->layer < w->last;
}

static uint64_t fewer(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The sequence's rows are there to be lent, by one that earlier items have read so far. */
static int check_lender(struct dinm_stage *stage, const struct dinm_item *item,
                        const struct dinm_item_sequence *s, struct dinm_error *err)
{
    const struct dinm_cache *own = dinm_stage_find_cache(stage, s->slot);
    const struct dinm_cache *lender = dinm_stage_find_cache(stage, s->lender);
    size_t end = own->kv.n_tokens + (size_t)s->n_rows, n = lender ? lender->kv.n_tokens : 0;
    if (lender != NULL && is_owner(stage, item) && lender->n_kept < n) {
        n = lender->n_kept;
    }
    if (n < end) {
        return dinm_fail(err, DINM_FAILED,
                         "a sequence should enter late with %zu rows of another; that lends %zu",
                         end, n);
    }
    return DINM_OK;
}

/* Room for the rows that the sequence keeps. Where it begins behind positions of another, that one
 * keeps those. */
static int make_room(struct dinm_stage *stage, const struct dinm_item_sequence *s,
                     struct dinm_error *err)
{
    struct dinm_cache *cache = dinm_stage_find_cache(stage, s->slot);
    size_t n = (size_t)s->n_kept;
    if (cache->kept != NULL) {
        return DINM_OK;
    }
    if (s->n_from > 0) {
        const struct dinm_cache *from = dinm_stage_find_cache(stage, s->from);
        size_t n_copied = (size_t)fewer(s->n_from, s->n_kept);
        if (from->n_kept < n_copied) {
            return dinm_fail(err, DINM_FAILED,
                             "a sequence should keep %zu rows of another; that keeps %zu", n_copied,
                             from->n_kept);
        }
    }
    cache->kept = dinm_alloc(n * stage->slice->config.d_model, sizeof *cache->kept,
                             "rows that several prompts share", err);
    cache->n_kept = cache->kept != NULL ? n : 0;
    return cache->kept != NULL ? DINM_OK : DINM_FAILED;
}

int dinm_stage_make_kept(struct dinm_stage *stage, const struct dinm_item *item,
                         struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_item_sequence *s = dinm_item_sequences(item);
    for (size_t i = 0; i < item->n_sequences; i++) {
        if (s[i].late) {
            TRY(check_lender(stage, item, &s[i], err));
        }
        if (s[i].n_kept == 0) {
            struct dinm_cache *cache = dinm_stage_find_cache(stage, s[i].slot);
            free(cache->kept);
            cache->kept = NULL;
            cache->n_kept = 0;
        } else if (is_owner(stage, item)) {
            TRY(make_room(stage, &s[i], err));
        }
    }
out:
    return status;
}

/* Keeps those of the sequence's rows that are wanted; x: [n_rows][d_model]. */
static void keep(const struct dinm_stage *stage, const struct dinm_item_sequence *s,
                 struct dinm_cache *cache, const float *x)
{
    const size_t d = stage->slice->config.d_model, begin = cache->kv.n_tokens;
    const size_t end = (size_t)fewer(begin + s->n_rows, cache->n_kept);
    if (s->n_from > 0 && cache->n_kept > 0) {
        memcpy(cache->kept, dinm_stage_find_cache(stage, s->from)->kept,
               (size_t)fewer(s->n_from, cache->n_kept) * d * sizeof *x);
    }
    if (begin < end) {
        memcpy(cache->kept + begin * d, x, (end - begin) * d * sizeof *x);
    }
}

void dinm_stage_enter_late(struct dinm_stage *stage, const struct dinm_item *item, size_t entry)
{
    const size_t d = stage->slice->config.d_model, n_below = entry - stage->slice->weights.first;
    const struct dinm_item_sequence *s = dinm_item_sequences(item);
    float *x = dinm_item_rows(item);
    bool owner = is_owner(stage, item);
    for (size_t i = 0; i < item->n_sequences; i++, s++) {
        struct dinm_cache *cache = dinm_stage_find_cache(stage, s->slot);
        size_t begin = cache->kv.n_tokens, n_rows = (size_t)s->n_rows;
        if (s->late) {
            const struct dinm_cache *lender = dinm_stage_find_cache(stage, s->lender);
            for (size_t layer = 0; layer < n_below; layer++) {
                dinm_kv_copy(&cache->kv, layer, &lender->kv, begin + n_rows);
            }
            if (owner) {
                memcpy(x, lender->kept + begin * d, n_rows * d * sizeof *x);
            }
        }
        if (owner) {
            keep(stage, s, cache, x);
        }
        x += n_rows * d;
    }
}
