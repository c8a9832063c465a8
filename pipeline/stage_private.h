/* What the files of a stage share. */
#ifndef DINM_PIPELINE_STAGE_PRIVATE_H
#define DINM_PIPELINE_STAGE_PRIVATE_H

#include "pipeline/stage.h"

/* Works on *item and sends it or what came of it on; *item is then NULL. On failure *item is still
 * there, unless sending was what failed. */
typedef int dinm_stage_handler(struct dinm_stage *stage, struct dinm_item **item,
                               struct dinm_error *err);
dinm_stage_handler dinm_stage_read, dinm_stage_locate, dinm_stage_edit, dinm_stage_step,
    dinm_stage_back, dinm_stage_forget, dinm_stage_classify;

static inline bool dinm_stage_is_first(const struct dinm_stage *stage)
{
    return stage->ring.stage == 0;
}

static inline bool dinm_stage_is_last(const struct dinm_stage *stage)
{
    return stage->ring.stage + 1 == stage->ring.n_stages;
}

/* Sends *item and sets it to NULL. */
int dinm_stage_send(struct dinm_stage *stage, int to, struct dinm_item **item,
                    struct dinm_error *err);
/* To the next stage, or finished to the driver from the last. */
int dinm_stage_pass_on(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err);
/* Without its rows back to the driver. */
int dinm_stage_finish(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err);

/* To the next stage; frees it on the last. What is to be forgotten goes the way of the work, one
 * stage after the other, so that it cannot come before what it belongs to nor behind what follows:
 * MPI keeps the order of two ranks' messages only. */
int dinm_stage_tell_on(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err);

/* The embeddings of the ids of the item's first rows, on the first stage; checks that they fit. */
int dinm_stage_embed(struct dinm_stage *stage, struct dinm_item *item,
                     const struct dinm_rows *rows, struct dinm_error *err);
/* For taps: keeps messages moving between two layers. context: the stage. */
void dinm_stage_between(void *context, size_t layer, const float *x);

/* Safe on a zeroed cache, and twice. */
void dinm_cache_free(struct dinm_cache *cache);
/* NULL: not there. Good until a cache is opened or closed. */
struct dinm_cache *dinm_stage_find_cache(const struct dinm_stage *stage, uint64_t slot);

/* stage_late.c. What the caches must keep for late rows, now that all of the item are open; checks
 * that what its late rows need is there. */
int dinm_stage_make_kept(struct dinm_stage *stage, const struct dinm_item *item,
                         struct dinm_error *err);
/* Between the stage's layers below `entry` and those from there on, which is the item's layer where
 * that is one of the stage's: the item's late rows enter, and rows are kept. */
void dinm_stage_enter_late(struct dinm_stage *stage, const struct dinm_item *item, size_t entry);

/* NULL: not there. */
const struct dinm_edit *dinm_stage_find_edit(const struct dinm_stage *stage, uint64_t task);
/* Takes w. */
int dinm_stage_keep_edit(struct dinm_stage *stage, uint64_t task, const struct dinm_edit *edit,
                         float *w, struct dinm_error *err);
/* Frees the parts of edits being made. */
void dinm_stage_free_parts(struct dinm_stage *stage);

#endif
