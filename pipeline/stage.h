/* One rank's layers at work. The driver (stage 0 of its group) turns units into items and asks; an
 * item travels from stage to stage, each running its own layers, and comes back finished. The other
 * stages serve: they know slices, caches and edited matrices by number, and nothing of cases.
 *
 * With one stage the same functions are the serial program: an item to the next stage is an item to
 * oneself. */
#ifndef DINM_PIPELINE_STAGE_H
#define DINM_PIPELINE_STAGE_H

#include "io/archive.h"
#include "model/encoder.h"
#include "model/sample.h"
#include "model/slice.h"
#include "pipeline/ring.h"
#include "pipeline/settings.h"

/* A sequence's keys and values in the stage's layers. */
struct dinm_cache {
    uint64_t slot;
    struct dinm_kv kv; /* owns */
    float *kept;       /* owns: [n_kept][d_model], see stage_late.c; NULL: none */
    size_t n_kept;
};

/* An edited matrix that sequences can use; its layer is one of the stage's. */
struct dinm_stage_edit {
    uint64_t task;
    struct dinm_edit edit; /* down borrows w */
    float *w;              /* owns; NULL if the matrix is someone else's */
};

struct dinm_stage {
    const struct dinm_slice *slice;       /* borrows: this stage's layers; NULL: the judge's */
    struct dinm_encoder *encoder;         /* borrows: the judge's layers; NULL: the model's */
    const struct dinm_settings *settings; /* borrows */
    struct dinm_archive *archive;         /* borrows; NULL: hidden states are not kept */
    struct dinm_sampler sampler;
    struct dinm_ring ring;           /* owns */
    struct dinm_workspace *ws;       /* owns */
    struct dinm_sequence *sequences; /* owns: scratch */
    struct dinm_cache *caches;       /* owns: [n_caches] */
    struct dinm_stage_edit *edits;   /* owns: [n_edits] */
    struct dinm_part *parts;         /* owns: edits being made, see stage_edit.c */
    size_t *picks;                   /* owns: scratch */
    float *logits, *normed, *room;   /* owns: scratch of the head */
    size_t n_caches, n_edits, cache_capacity, edit_capacity, sequence_capacity, pick_capacity,
        logit_capacity, normed_capacity, room_capacity;
    size_t n_asked;   /* driver: items not yet back */
    uint64_t n_slots; /* driver: caches named so far; no name is used twice */
    /* driver: prompt tokens read by all layers, copied instead, and read by the upper layers only */
    uint64_t n_prompt_read, n_prompt_shared, n_prompt_late;
    double busy_s; /* time spent on items */
    uint64_t n_items;
};

/* Local. comm: the group's, see ring.h; slice and settings must outlive the stage. */
void dinm_stage_open(struct dinm_stage *stage, const struct dinm_slice *slice,
                     const struct dinm_settings *settings, MPI_Comm comm, int number, int n_stages,
                     size_t chunk_bytes);
/* Local. Safe on a zeroed stage, and twice. */
void dinm_stage_close(struct dinm_stage *stage);

/* Driver. Starts an item on its way; takes it. It comes back by dinm_stage_result, once. */
int dinm_stage_ask(struct dinm_stage *stage, struct dinm_item *item, struct dinm_error *err);
/* Driver. Works and waits until an item is back; the caller owns it. Its own failure is in
 * item->error, a failure of the transport is returned. */
int dinm_stage_result(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err);
/* Driver. Tells every stage to forget caches or a matrix: kind CLOSE or DROP. Takes item. */
int dinm_stage_tell(struct dinm_stage *stage, struct dinm_item *item, struct dinm_error *err);
/* Collective over the stages: the driver calls this, the others serve. Waits for what is under way,
 * drops it, and ends the serving. A stage's failure that no item could tell is everyone's. */
int dinm_stage_end_all(struct dinm_stage *stage, struct dinm_error *err);

/* Collective over the stages: all but the driver. Works on items until the driver ends it. */
int dinm_stage_serve_all(struct dinm_stage *stage, struct dinm_error *err);

/* Makes a matrix that the caller owns usable under that number. */
int dinm_stage_lend(struct dinm_stage *stage, uint64_t task, const struct dinm_edit *edit,
                    struct dinm_error *err);

#endif
