/* What the files of the decoding batch share. */
#ifndef DINM_PIPELINE_DECODE_PRIVATE_H
#define DINM_PIPELINE_DECODE_PRIVATE_H

#include <stdbool.h>
#include "pipeline/decode.h"

/* One request, waiting or being answered. */
struct sequence {
    const struct dinm_request *request; /* borrows */
    struct dinm_ids *answer;            /* borrows */
    uint64_t slot;
    size_t capacity; /* positions of its cache */
    size_t n_shared; /* first tokens that the sequence before it begins with, too */
    size_t from;     /* the sequence that it copies these from; at first the one before it */
    bool copies;     /* it does so in the item under way */
    size_t n_late;   /* first tokens of which those that it does not copy enter late; 0: none do */
    size_t lender;   /* whose keys and rows these are, of another edit */
    bool late;       /* its rows in the item under way are such */
    bool begun;      /* it needs nothing more of others */
    size_t n_kept;   /* its own first tokens that others may want */
    size_t n_borrowers; /* sequences that may yet copy from its cache, or enter with its rows */
    size_t n_read;      /* tokens that the model has read */
    struct lane *lane;  /* borrows: where it has entered */
    size_t n_rows;      /* of it in the item under way */
    size_t place;       /* there */
    size_t n_new;
    int32_t next; /* the token chosen last, not yet read */
    bool done;    /* it is answered */
    bool closed;  /* and its cache is gone */
};

struct lane {
    size_t *sequences; /* owns: [most], the first n in use, ascending */
    size_t n;
    bool away; /* its item is under way */
};

struct dinm_decode {
    const struct dinm_generator *g; /* borrows */
    struct dinm_stage *stage;       /* borrows */
    struct lane *lanes;             /* owns: [n_lanes] */
    size_t n_lanes, most;           /* most sequences of one lane */
    struct sequence *sequences;     /* owns: [n], in the order in which they enter */
    size_t n, next;                 /* the first `next` have entered */
    size_t n_unanswered, n_unbegun, n_caches;
    size_t entry_layer;                 /* where late rows enter; n_layers: there are none */
    struct dinm_item_sequence *closing; /* owns: [3 * most] caches that an item makes superfluous */
    size_t n_closing;
};

/* Requests as for dinm_generate, which g, stage, requests and answers must outlive. */
int dinm_decode_open(struct dinm_decode **d, const struct dinm_generator *g,
                     struct dinm_stage *stage, const struct dinm_request *requests, size_t n,
                     struct dinm_ids *answers, struct dinm_error *err);
/* Whatever is still under way must have come back. */
void dinm_decode_close(struct dinm_decode *d);

/* Lets waiting requests into the lane up to its share of all that is open. */
void dinm_decode_admit(struct dinm_decode *d, struct lane *lane);
/* Deals the rows of the lane's next item: one to each sequence that is decoding, what is left to
 * prompts in their order. Returns their number, 0 only if all wait for other lanes. */
size_t dinm_decode_deal(struct dinm_decode *d, struct lane *lane, size_t *n_sequences);
/* Fills that item, made for so many rows and sequences: those whose rows enter late come last. */
void dinm_decode_put(struct dinm_decode *d, struct lane *lane, struct dinm_item *item);

#endif
