/* One decoding batch over many sequences, each with its own edited matrix or none. Sequences that
 * finish leave, waiting ones enter at once; prompts are read in pieces beside the tokens of the
 * others. With several stages the sequences are dealt to as many lanes as keep every stage busy;
 * each lane has one item under way. Driver.
 *
 * Where prompts with the same edit begin with the same tokens, the first of them reads that part
 * and the others copy its keys and values (prefix.h). Where prompts with different edits do, or
 * with one and none, the layers below a common entry layer, below which nobody is edited, read it
 * once: the rows of the others enter there, late (stage_late.c). */
#ifndef DINM_PIPELINE_DECODE_H
#define DINM_PIPELINE_DECODE_H

#include "pipeline/generate.h"
#include "pipeline/stage.h"

struct dinm_request {
    const int32_t *ids; /* borrows until it is answered: [n_ids], at least one */
    size_t n_ids;
    uint64_t edit;     /* number of an edited matrix; 0: the model as it is */
    size_t edit_layer; /* that matrix's layer; with an edit alone */
    size_t max_new;
    uint64_t stream; /* random numbers of this answer are a function of it and the seed */
};

/* Lanes of a group of so many stages, and sequences that all of them answer at once at most. One
 * cache more is kept where an answered prompt's keys are still to be copied. */
size_t dinm_decode_n_lanes(size_t n_stages);
size_t dinm_decode_most(const struct dinm_generator *g, size_t n_stages);

/* Answers n requests: [n]; their new tokens without the end-of-text id are appended to answers:
 * [n]. An answer ends at an end-of-text id, at max_new, or at the model's last position. It does
 * not depend on the other requests, bit for bit. */
int dinm_generate(const struct dinm_generator *g, struct dinm_stage *stage,
                  const struct dinm_request *requests, size_t n, struct dinm_ids *answers,
                  struct dinm_error *err);

#endif
