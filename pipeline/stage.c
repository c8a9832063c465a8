/* Items in, items out. An item that fails goes back to the driver like a result, so that nobody
 * waits for it. */
#include "pipeline/stage.h"

#include <stdlib.h>
#include <string.h>
#include "io/mem.h"
#include "pipeline/progress.h"
#include "pipeline/stage_private.h"
#include "pipeline/watchdog.h"

void dinm_stage_open(struct dinm_stage *stage, const struct dinm_slice *slice,
                     const struct dinm_settings *settings, MPI_Comm comm, int number, int n_stages,
                     size_t chunk_bytes)
{
    *stage = (struct dinm_stage){.slice = slice, .settings = settings};
    dinm_ring_open(&stage->ring, comm, number, n_stages, chunk_bytes);
}

void dinm_cache_free(struct dinm_cache *cache)
{
    dinm_kv_free(&cache->kv);
    free(cache->kept);
    *cache = (struct dinm_cache){0};
}

/* Forgets all sequences and edits. */
static void clear(struct dinm_stage *stage)
{
    for (size_t i = 0; i < stage->n_caches; i++) {
        dinm_cache_free(&stage->caches[i]);
    }
    for (size_t i = 0; i < stage->n_edits; i++) {
        free(stage->edits[i].w);
    }
    stage->n_caches = stage->n_edits = 0;
    dinm_stage_free_parts(stage);
}

void dinm_stage_close(struct dinm_stage *stage)
{
    clear(stage);
    dinm_ring_close(&stage->ring);
    dinm_workspace_free(stage->ws);
    free(stage->sequences);
    free(stage->caches);
    free(stage->edits);
    free(stage->picks);
    free(stage->logits);
    free(stage->normed);
    free(stage->room);
    *stage = (struct dinm_stage){0};
}

int dinm_stage_send(struct dinm_stage *stage, int to, struct dinm_item **item,
                    struct dinm_error *err)
{
    struct dinm_item *sent = *item;
    *item = NULL;
    return dinm_ring_send(&stage->ring, to, sent, err);
}

int dinm_stage_finish(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err)
{
    dinm_item_drop_rows(*item);
    (*item)->finished = 1;
    return dinm_stage_send(stage, 0, item, err);
}

int dinm_stage_pass_on(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err)
{
    if (dinm_stage_is_last(stage)) {
        return dinm_stage_finish(stage, item, err);
    }
    return dinm_stage_send(stage, stage->ring.stage + 1, item, err);
}

int dinm_stage_tell_on(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err)
{
    if (dinm_stage_is_last(stage)) {
        free(*item);
        *item = NULL;
        return DINM_OK;
    }
    return dinm_stage_send(stage, stage->ring.stage + 1, item, err);
}

int dinm_stage_embed(struct dinm_stage *stage, struct dinm_item *item, const struct dinm_rows *rows,
                     struct dinm_error *err)
{
    const int32_t *ids = dinm_item_ids(item);
    for (size_t i = 0; i < rows->n_rows; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= stage->slice->config.n_vocab) {
            return dinm_fail(err, DINM_FAILED, "token %ld is not in the model's vocabulary of %zu",
                             (long)ids[i], stage->slice->config.n_vocab);
        }
    }
    dinm_slice_embed(stage->slice, dinm_item_rows(item), ids, rows);
    return DINM_OK;
}

void dinm_stage_between(void *context, size_t layer, const float *x)
{
    struct dinm_stage *stage = context;
    (void)layer;
    (void)x;
    dinm_watchdog_beat();
    dinm_ring_progress(&stage->ring, NULL); /* a failure shows again where it can be told */
}

const struct dinm_edit *dinm_stage_find_edit(const struct dinm_stage *stage, uint64_t task)
{
    for (size_t i = 0; i < stage->n_edits; i++) {
        if (stage->edits[i].task == task) {
            return &stage->edits[i].edit;
        }
    }
    return NULL;
}

int dinm_stage_keep_edit(struct dinm_stage *stage, uint64_t task, const struct dinm_edit *edit,
                         float *w, struct dinm_error *err)
{
    void *edits = stage->edits;
    int status = dinm_grow(&edits, &stage->edit_capacity, stage->n_edits + 1, sizeof *stage->edits,
                           "the edits", err);
    stage->edits = edits;
    if (status < 0) {
        free(w);
        return status;
    }
    stage->edits[stage->n_edits++] = (struct dinm_stage_edit){.task = task, .edit = *edit, .w = w};
    return DINM_OK;
}

int dinm_stage_lend(struct dinm_stage *stage, uint64_t task, const struct dinm_edit *edit,
                    struct dinm_error *err)
{
    return dinm_stage_keep_edit(stage, task, edit, NULL, err);
}

static int drop_edit(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err)
{
    for (size_t i = 0; i < stage->n_edits; i++) {
        if (stage->edits[i].task == (*item)->task) {
            free(stage->edits[i].w);
            stage->edits[i] = stage->edits[--stage->n_edits];
            break;
        }
    }
    return dinm_stage_tell_on(stage, item, err);
}

static int close_caches(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err)
{
    const struct dinm_item_sequence *closed = dinm_item_sequences(*item);
    for (size_t i = 0; i < (*item)->n_sequences; i++) {
        for (size_t j = 0; j < stage->n_caches; j++) {
            if (stage->caches[j].slot == closed[i].slot) {
                dinm_cache_free(&stage->caches[j]);
                stage->caches[j] = stage->caches[--stage->n_caches];
                break;
            }
        }
    }
    return dinm_stage_tell_on(stage, item, err);
}

static dinm_stage_handler *const handlers[] = {
    [DINM_ITEM_READ] = dinm_stage_read,
    [DINM_ITEM_LOCATE] = dinm_stage_locate,
    [DINM_ITEM_EDIT] = dinm_stage_edit,
    [DINM_ITEM_STEP] = dinm_stage_step,
    [DINM_ITEM_BACK] = dinm_stage_back,
    [DINM_ITEM_FORGET] = dinm_stage_forget,
    [DINM_ITEM_DROP] = drop_edit,
    [DINM_ITEM_CLOSE] = close_caches,
    [DINM_ITEM_CLASSIFY] = dinm_stage_classify,
};

/* Works on one item; takes it. Only what nobody could be told of is a failure here. */
static int work(struct dinm_stage *stage, struct dinm_item *item, struct dinm_error *err)
{
    struct dinm_error failure = {0};
    double start_s = dinm_now_s();
    int status = handlers[item->kind](stage, &item, &failure);
    if (status < 0 && item != NULL) {
        item->error = failure;
        failure = (struct dinm_error){0};
        status = dinm_stage_finish(stage, &item, &failure);
    }
    if (status < 0) {
        status = dinm_ring_break(&stage->ring, status, &failure, err);
    }
    stage->busy_s += dinm_now_s() - start_s;
    stage->n_items++;
    return status;
}

int dinm_stage_ask(struct dinm_stage *stage, struct dinm_item *item, struct dinm_error *err)
{
    stage->n_asked++;
    return dinm_ring_send(&stage->ring, 0, item, err);
}

int dinm_stage_result(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err)
{
    int status = DINM_OK;
    for (;;) {
        TRY(dinm_ring_next(&stage->ring, item, err));
        if ((*item)->finished) {
            stage->n_asked--;
            break;
        }
        TRY(work(stage, *item, err));
    }
out:
    if (status < 0) {
        *item = NULL;
    }
    return status;
}

int dinm_stage_tell(struct dinm_stage *stage, struct dinm_item *item, struct dinm_error *err)
{
    return handlers[item->kind](stage, &item, err);
}

/* END behind all that was sent to the next stage. */
static int pass_end(struct dinm_stage *stage, struct dinm_error *err)
{
    struct dinm_item *end;
    if (dinm_stage_is_last(stage)) {
        return DINM_OK;
    }
    end = dinm_item_new(DINM_ITEM_END, (struct dinm_item_counts){0}, err);
    return end == NULL ? DINM_FAILED
                       : dinm_ring_send(&stage->ring, stage->ring.stage + 1, end, err);
}

int dinm_stage_end_all(struct dinm_stage *stage, struct dinm_error *err)
{
    int status = DINM_OK;
    while (stage->n_asked > 0) {
        struct dinm_item *item;
        TRY(dinm_stage_result(stage, &item, err));
        free(item);
    }
    TRY(pass_end(stage, err));
out:
    clear(stage);
    return dinm_ring_end_all(&stage->ring, status, err);
}

int dinm_stage_serve_all(struct dinm_stage *stage, struct dinm_error *err)
{
    int status = DINM_OK;
    for (;;) {
        struct dinm_item *item;
        TRY(dinm_ring_next(&stage->ring, &item, err));
        if (item->kind == DINM_ITEM_END) {
            free(item);
            break;
        }
        TRY(work(stage, item, err));
    }
    TRY(pass_end(stage, err));
out:
    clear(stage);
    return dinm_ring_end_all(&stage->ring, status, err);
}
