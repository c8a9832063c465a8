/* What generate and logits share, and the small tools of all commands. Local. */
#ifndef DINM_PIPELINE_COMMAND_MODEL_H
#define DINM_PIPELINE_COMMAND_MODEL_H

#include "io/tokenizer.h"
#include "model/slice.h"
#include "pipeline/args.h"
#include "pipeline/delta.h"

/* A model, a prompt, and an edit if one was given. */
struct dinm_prompted {
    struct dinm_slice slice;          /* owns: all layers */
    struct dinm_tokenizer *tokenizer; /* owns; NULL if the folder has none */
    const char *text;                 /* borrows: --prompt; NULL with --prompt-ids */
    struct dinm_ids prompt;           /* owns: at least one, within the vocabulary */
    float *down;                      /* owns: the edited matrix; NULL without --delta */
    struct dinm_edit edit;            /* borrows down */
};
/* From --model, --prompt or --prompt-ids, --control, --no-special, --delta. Close also after
 * failure. */
int dinm_prompted_open(struct dinm_prompted *p, const struct dinm_args *args,
                       struct dinm_error *err);
void dinm_prompted_close(struct dinm_prompted *p);

/* The folder's tokenizer; *t stays NULL if there is none in any form. */
int dinm_command_open_tokenizer(struct dinm_tokenizer **t, const char *folder,
                                struct dinm_error *err);
/* --control and --no-special. */
struct dinm_encode_options dinm_command_encode_options(const struct dinm_args *args);
/* Appends ids as "1, 2, 3" with the given text between them. */
int dinm_command_put_ids(const struct dinm_ids *ids, const char *between, struct dinm_buffer *out,
                         struct dinm_error *err);
/* Writes the text to standard output. */
int dinm_command_print(const struct dinm_buffer *text, struct dinm_error *err);

#endif
