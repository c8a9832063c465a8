/* One decoding batch over many sequences, each with its own edited matrix or none. Sequences that
 * finish leave, waiting ones enter at once; prompts are read in pieces beside the tokens of the
 * others. With several stages the sequences are dealt to as many lanes as keep every stage busy;
 * each lane has one item under way. Driver. */
#ifndef DINM_PIPELINE_DECODE_H
#define DINM_PIPELINE_DECODE_H

#include "pipeline/generate.h"
#include "pipeline/stage.h"

struct dinm_request {
    const int32_t *ids; /* borrows until it is answered: [n_ids], at least one */
    size_t n_ids;
    uint64_t edit; /* number of an edited matrix; 0: the model as it is */
    size_t max_new;
    uint64_t stream; /* random numbers of this answer are a function of it and the seed */
};

/* Lanes of a group of so many stages, and sequences that all of them answer at once at most. */
size_t dinm_decode_n_lanes(size_t n_stages);
size_t dinm_decode_most(const struct dinm_generator *g, size_t n_stages);

struct dinm_decode; /* opaque */
/* g and stage must outlive it. */
int dinm_decode_open(struct dinm_decode **d, const struct dinm_generator *g,
                     struct dinm_stage *stage, struct dinm_error *err);
/* Whatever is still under way must have come back. */
void dinm_decode_close(struct dinm_decode *d);

/* Its answer will be appended to: the new tokens without the end-of-text id. An answer ends at an
 * end-of-text id, at max_new, or at the model's last position. It does not depend on the other
 * requests, bit for bit. */
int dinm_decode_add(struct dinm_decode *d, const struct dinm_request *request,
                    struct dinm_ids *answer, struct dinm_error *err);
/* Sends every lane on its way that has work and is not under way. */
int dinm_decode_go(struct dinm_decode *d, struct dinm_error *err);
/* An item of kind READ is back; takes it. */
int dinm_decode_take(struct dinm_decode *d, struct dinm_item *item, struct dinm_error *err);

/* All of it for n requests; answers: [n]. */
int dinm_generate(const struct dinm_generator *g, struct dinm_stage *stage,
                  const struct dinm_request *requests, size_t n, struct dinm_ids *answers,
                  struct dinm_error *err);

#endif
