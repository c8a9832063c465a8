/* What travels between the stages of a group: one block of memory, sent and received as it is. The
 * fields say what is to be done, or what came of it; behind them lie four arrays. Every rank of a
 * job runs the same program on the same kind of machine. */
#ifndef DINM_PIPELINE_ITEM_H
#define DINM_PIPELINE_ITEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "io/status.h"

enum dinm_item_kind {
    DINM_ITEM_READ,     /* rows of sequences with caches, up the stages; tokens come back */
    DINM_ITEM_LOCATE,   /* two texts side by side, up the stages; distances come back */
    DINM_ITEM_EDIT,     /* the texts of an edit, up to the stage of its layer; losses come back */
    DINM_ITEM_STEP,     /* rows above the edited layer, up from there */
    DINM_ITEM_BACK,     /* losses and the rows' gradient, down to there */
    DINM_ITEM_FORGET,   /* an edit is made: what its steps kept may go */
    DINM_ITEM_DROP,     /* an edited matrix is no longer needed */
    DINM_ITEM_CLOSE,    /* sequences are answered: their caches may go */
    DINM_ITEM_CLASSIFY, /* texts for the judge, up the stages; logits come back */
    DINM_ITEM_END       /* no more items: passed on, and the serving ends */
};

/* One sequence's part of the rows. */
struct dinm_item_sequence {
    uint64_t n_rows;
    uint64_t key_first, key_last; /* padding mask as in attention.h */
    /* READ and CLOSE */
    uint64_t slot;          /* its cache, made when first named; never used again after CLOSE */
    uint64_t capacity;      /* positions of that cache */
    uint64_t edit;          /* whose matrix it uses; 0: the model's own */
    uint64_t from, n_from;  /* READ, its first rows: n_from > 0 positions are slot from's, too */
    /* READ: of its first n_kept positions the rows that enter the item's layer are kept beside its
     * cache; 0: they may go. late = 1: its own rows enter at that layer, as slot lender keeps them;
     * below, it has that one's keys and values. Sequences with late rows come last. */
    uint64_t n_kept, late, lender;
    uint64_t stream, n_new; /* for drawing: see sample.h */
    int32_t wants_token;    /* 1: the token behind its last row is wanted */
    int32_t token;          /* and this is it */
    /* EDIT to BACK: rows that carry a loss. The ids of these items are those of all rows, then the
     * first text's picked rows and their labels, then the second text's picked rows. */
    uint64_t n_picks;
};

struct dinm_item {
    uint64_t n_bytes;  /* of the block */
    uint32_t kind;     /* enum dinm_item_kind */
    uint32_t finished; /* 1: on its way back to the driver */
    uint64_t task;     /* the driver's number for what it belongs to; an edit's name */
    uint64_t layer;    /* EDIT to BACK: the edited layer; READ: where late rows enter */
    uint64_t step;     /* of an edit, from 1 on */
    uint64_t owner;    /* EDIT to BACK: the stage of the edited layer */
    uint64_t place;    /* LOCATE: case in the archive; EDIT: number in the delta's file name */
    uint64_t states;   /* LOCATE: digest of what the stages so far put into the archive */
    uint64_t n_sequences, n_ids, n_values, n_rows, width;
    struct dinm_error error; /* why it failed; an item that failed does nothing more */
    uint64_t own_failure;    /* EDIT, 1: the numbers of this case made it fail, not the machine */
    struct dinm_item *next;  /* in a queue of one process; means nothing to others */
};

struct dinm_item_counts {
    size_t n_sequences, n_ids, n_values, n_rows, width;
};

/* A block with zeroed arrays of these sizes. free() it. NULL and *err on lack of memory. */
struct dinm_item *dinm_item_new(enum dinm_item_kind kind, struct dinm_item_counts counts,
                                struct dinm_error *err);
/* The same with the sequences, ids and numbers of `model`, but its own rows and values. */
struct dinm_item *dinm_item_like(const struct dinm_item *model, enum dinm_item_kind kind,
                                 size_t n_values, size_t n_rows, struct dinm_error *err);
/* False: the sizes do not add up, or the kind is none (never from our own program; a check on what
 * was received). */
bool dinm_item_is_whole(const struct dinm_item *item, size_t n_bytes);
/* The rows are no longer part of it. */
void dinm_item_drop_rows(struct dinm_item *item);

/* [n_sequences], [n_ids] int32, [n_values] float32, [n_rows][width] float32 */
struct dinm_item_sequence *dinm_item_sequences(const struct dinm_item *item);
int32_t *dinm_item_ids(const struct dinm_item *item);
float *dinm_item_values(const struct dinm_item *item);
float *dinm_item_rows(const struct dinm_item *item);

#endif
