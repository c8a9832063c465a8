/* Phases vanilla and edit, as far as they answer prompts: from text to text. */
#ifndef DINM_PIPELINE_ANSWER_H
#define DINM_PIPELINE_ANSWER_H

#include "pipeline/job.h"
#include "pipeline/phase.h"

struct dinm_ask {
    const char *text; /* borrows until it is answered: the prompt as sent */
    size_t max_new;
    uint64_t edit; /* number of the edited matrix to answer with; 0: the model as it is */
    size_t edit_layer;
    uint64_t stream; /* see decode.h */
};
struct dinm_reply {
    char *text; /* owns */
    size_t n_tokens;
    size_t n_cut; /* prompt tokens dropped on the left */
};
void dinm_replies_free(struct dinm_reply *replies, size_t n);

/* replies: [n], zeroed before. All prompts share the decoding batch. Driver. */
int dinm_answer(struct dinm_job *job, const struct dinm_ask *asks, size_t n,
                struct dinm_reply *replies, struct dinm_error *err);
/* {"response": text, "n_tokens": n, "cut": tokens dropped} */
int dinm_reply_print(const struct dinm_reply *reply, struct dinm_buffer *out,
                     struct dinm_error *err);

/* What phase vanilla asks with a distinct prompt, and its payload: the reply. */
struct dinm_ask dinm_vanilla_ask(const struct dinm_job *job, size_t prompt);
int dinm_vanilla_put(struct dinm_sink *sink, size_t unit, const struct dinm_reply *reply,
                     struct dinm_error *err);

/* One unit = one distinct prompt. context: struct dinm_job *. */
dinm_unit_function dinm_vanilla_unit;
/* One unit = one case: its matrix is edited, the five prompts (and general questions) are
 * answered with it, and it is dropped. Payload {"layer", "losses": [[total, edit, constraint]],
 * "answers": [5 replies], "kqa_right": n or null}. Units behind the cases are phase vanilla's: they
 * are answered in the same decoding batch. context: struct dinm_job *. */
dinm_unit_function dinm_edit_unit;

#endif
