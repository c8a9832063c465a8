/* Answering prompts: one decoding batch over many sequences, each with its own edited matrix or
 * none. Sequences that finish leave, waiting ones enter at once. Local. */
#ifndef DINM_PIPELINE_GENERATE_H
#define DINM_PIPELINE_GENERATE_H

#include <stddef.h>
#include <stdint.h>
#include "io/tokenizer.h"
#include "model/sample.h"
#include "model/slice.h"
#include "pipeline/settings.h"

struct dinm_generator {
    const struct dinm_slice *slice; /* borrows: the whole model */
    struct dinm_sampler sampler;
    struct dinm_ids eos;   /* owns: ids that end an answer */
    size_t max_sequences;  /* decoded at once */
    size_t max_rows;       /* prompt tokens read in one pass, unless one prompt alone is longer */
};

/* Decoding as the settings say; end-of-text ids from the tokenizer and, where FOLDER has one, from
 * generation_config.json, whose sampling applies if generate.decoding is "checkpoint". t may be
 * NULL (a folder without tokenizer). */
int dinm_generator_open(struct dinm_generator *g, const struct dinm_slice *slice,
                        const struct dinm_tokenizer *t, const struct dinm_settings *s,
                        const char *folder, struct dinm_error *err);
void dinm_generator_close(struct dinm_generator *g);

struct dinm_request {
    const int32_t *ids; /* [n_ids], at least one */
    size_t n_ids;
    const struct dinm_edit *edit; /* borrows; NULL: the model as it is */
    size_t max_new;
    uint64_t stream; /* random numbers of this answer are a function of it and the seed */
};

/* answers: [n], each appended to: the new tokens without the end-of-text id. An answer ends at an
 * end-of-text id, at max_new, or at the model's last position. It does not depend on the other
 * requests, bit for bit. */
int dinm_generate(const struct dinm_generator *g, const struct dinm_request *requests, size_t n,
                  struct dinm_ids *answers, struct dinm_error *err);

/* Appends the answer as text: the new tokens decoded (cut = tokens), or all tokens decoded and the
 * prompt's characters and one more cut off (cut = characters; METHOD section 5). No NUL within. */
int dinm_answer_text(const struct dinm_tokenizer *t, enum dinm_cut cut, const char *prompt_text,
                     const struct dinm_ids *prompt, const struct dinm_ids *answer,
                     struct dinm_buffer *out, struct dinm_error *err);

#endif
