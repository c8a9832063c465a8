/* From a case to what the model reads: template, suffix S, token ids, the length limit; and the
 * table of distinct vanilla prompts. Local. */
#ifndef DINM_PIPELINE_PROMPTS_H
#define DINM_PIPELINE_PROMPTS_H

#include <stdbool.h>
#include <stddef.h>
#include "io/cases.h"
#include "io/tokenizer.h"
#include "pipeline/settings.h"

/* Appends the query as sent to the model: the template around query + " " + S (METHOD: S stands
 * behind every query after a blank). `suffixed` chooses S. */
int dinm_prompt_text(const struct dinm_settings *s, const char *query, bool suffixed,
                     struct dinm_buffer *out, struct dinm_error *err);
/* The same for the edited side: suffix_after, and the wrapping of method self_reminder. */
int dinm_prompt_text_edited(const struct dinm_settings *s, const char *query,
                            struct dinm_buffer *out, struct dinm_error *err);
/* The zero-shot form of a general question (knowledge retention; no template, no suffix). */
int dinm_prompt_question(const char *question, struct dinm_buffer *out, struct dinm_error *err);

/* Appends the ids of a text, special tokens included. Its first n_prompt bytes are a prompt as made
 * above; only the template's own words there may spell special tokens, everything else is text. A
 * template that spells the BOS itself gets no second one. */
int dinm_prompt_encode(const struct dinm_tokenizer *t, const struct dinm_settings *s,
                       const char *text, size_t n_prompt, struct dinm_ids *out,
                       struct dinm_error *err);
/* Keeps the last `limit` ids, a BOS in front of them included if there was one. Returns the number
 * of ids dropped. */
size_t dinm_prompt_cut(struct dinm_ids *ids, size_t limit, int32_t bos);
/* Longest prompt in tokens: generate.max_input_tokens, and room within the model's n_positions for
 * what is to be generated (at most half of them). */
size_t dinm_prompt_limit(const struct dinm_settings *s, size_t n_positions, size_t max_new);

struct dinm_prompt {
    char *text; /* owns */
    size_t max_new;
};

/* Vanilla prompts of all cases and general questions, each distinct one once, sorted by their
 * bytes: those that begin alike are neighbours, so that they can be answered together and share the
 * reading. */
struct dinm_prompt_table {
    struct dinm_prompt *prompts; /* owns: [n_prompts] */
    bool *alike; /* owns: [n_prompts]: a quarter of it at least is how the one before it begins */
    size_t n_prompts;
    size_t *of_input;    /* owns: [n_cases][DINM_N_INPUTS] index into prompts */
    size_t *of_question; /* owns: [n_questions] */
    size_t n_used;       /* n_cases * DINM_N_INPUTS + n_questions */
};
int dinm_prompt_table_build(struct dinm_prompt_table *table, const struct dinm_settings *s,
                            const struct dinm_cases *cases, const struct dinm_questions *questions,
                            struct dinm_error *err);
void dinm_prompt_table_free(struct dinm_prompt_table *table);

#endif
