/* Answers: how tokens are chosen and when an answer ends, and tokens back to text. Local. */
#ifndef DINM_PIPELINE_GENERATE_H
#define DINM_PIPELINE_GENERATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "io/tokenizer.h"
#include "model/config.h"
#include "model/sample.h"
#include "pipeline/settings.h"

struct dinm_generator {
    const struct dinm_config *config; /* borrows: the model's */
    struct dinm_sampler sampler;
    struct dinm_ids eos;  /* owns: ids that end an answer */
    size_t max_sequences; /* decoded at once, for each stage */
    size_t max_rows;      /* rows of one pass: a longer prompt is read in pieces */
    bool share_prefixes;  /* equal beginnings of prompts are read once */
    size_t least_late; /* fewer rows of a prompt do not enter late: that takes a pass of its own */
};

/* Decoding as the settings say; end-of-text ids from the tokenizer and, where FOLDER has one, from
 * generation_config.json, whose sampling applies if generate.decoding is "checkpoint". t may be
 * NULL (a folder without tokenizer). */
int dinm_generator_open(struct dinm_generator *g, const struct dinm_config *config,
                        const struct dinm_tokenizer *t, const struct dinm_settings *s,
                        const char *folder, struct dinm_error *err);
void dinm_generator_close(struct dinm_generator *g);

/* Appends the answer as text: the new tokens decoded (cut = tokens), or all tokens decoded and the
 * prompt's characters and one more cut off (cut = characters; METHOD section 5). No NUL within. */
int dinm_answer_text(const struct dinm_tokenizer *t, enum dinm_cut cut, const char *prompt_text,
                     const struct dinm_ids *prompt, const struct dinm_ids *answer,
                     struct dinm_buffer *out, struct dinm_error *err);

#endif
