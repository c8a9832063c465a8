/* Text to token ids and back, as Hugging Face's `tokenizers` does it from tokenizer.json.
 *
 * Everything is decided at open: a component this reader does not know is refused there with a
 * sentence that names it, never ignored. A tokenizer is read-only after open and may be shared
 * between threads. */
#ifndef DINM_IO_TOKENIZER_H
#define DINM_IO_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "io/mem.h"
#include "io/status.h"

struct dinm_tokenizer; /* opaque */

/* A growing list of ids. Zero-initialise. */
struct dinm_ids {
    int32_t *ids; /* owns */
    size_t n_ids;
    size_t capacity;
};
void dinm_ids_free(struct dinm_ids *ids);
int dinm_ids_append(struct dinm_ids *ids, const int32_t *more, size_t n_more,
                    struct dinm_error *err);

/* Reads a model folder: tokenizer.json, or if there is none tokenizer.model (SentencePiece BPE, as
 * transformers converts it for Llama), or vocab.json with merges.txt (GPT-2 and RoBERTa); beside
 * it tokenizer_config.json, special_tokens_map.json and config.json as far as they are there.
 * add_bos_token and add_eos_token count where transformers' fast tokenizers heed them (classes
 * Llama, CodeLlama, Gemma); elsewhere the file's post-processor decides. */
int dinm_tokenizer_open(struct dinm_tokenizer **out, const char *folder, struct dinm_error *err);
void dinm_tokenizer_close(struct dinm_tokenizer *t);

/* The same from text: `json` is a tokenizer.json. Fuzzed. */
int dinm_tokenizer_parse(struct dinm_tokenizer **out, const char *name, const char *json,
                         size_t n_bytes, struct dinm_error *err);

/* Appends the ids of the text. With `special`, what the post-processor adds (BOS, EOS, <s> </s>)
 * is added. Text that spells a special token stays text: it never becomes a control id; pass
 * `control` to let the special tokens in the text be recognised (chat templates), but those that
 * touch a span of `plain` (the user's words within the template). Nothing else depends on the
 * spans: the ids are those of the whole text. Invalid UTF-8 is read as U+FFFD. */
struct dinm_span {
    size_t begin, end; /* bytes of the text */
};
struct dinm_encode_options {
    bool special;
    bool control;
    const struct dinm_span *plain; /* borrows, for the call: [n_plain], in order and apart */
    size_t n_plain;
};
int dinm_tokenizer_encode(const struct dinm_tokenizer *t, const char *text, size_t n_bytes,
                          struct dinm_encode_options options, struct dinm_ids *out,
                          struct dinm_error *err);

/* Appends the text of the ids, special tokens left out if skip_special. Bytes that are no valid
 * UTF-8 at the end or inside become U+FFFD, as HF does. Ids that no token has stand for nothing:
 * embeddings are often larger than the vocabulary. Where tokenizer_config.json has
 * clean_up_tokenization_spaces, blanks before punctuation go; where it says nothing they stay, as
 * in transformers 5. An added token is written as the file has it, also
 * if it is looked for in the normalised text. */
int dinm_tokenizer_decode(const struct dinm_tokenizer *t, const int32_t *ids, size_t n_ids,
                          bool skip_special, struct dinm_buffer *out, struct dinm_error *err);

/* Largest id + 1, over vocabulary and added tokens. A special token that only tokenizer_config.json
 * names gets the next free id, as in transformers: it may lie beyond the model's embedding. */
size_t dinm_tokenizer_n_vocab(const struct dinm_tokenizer *t);
/* The tokenizer serves a model (`name`, for errors) whose embedding has n_rows. Refused if the
 * vocabulary, what is put around a text, or the BOS or EOS lies beyond them. A token that was only
 * added may lie beyond, as a padding token often does: a text that spells it is refused when it is
 * encoded. To be called before the tokenizer is shared. */
int dinm_tokenizer_fit(struct dinm_tokenizer *t, const char *name, size_t n_rows,
                       struct dinm_error *err);
/* -1 if there is none. */
int32_t dinm_tokenizer_bos(const struct dinm_tokenizer *t);
int32_t dinm_tokenizer_eos(const struct dinm_tokenizer *t);
int32_t dinm_tokenizer_pad(const struct dinm_tokenizer *t);
/* Id of that exact piece or added token; -1 if there is none. */
int32_t dinm_tokenizer_id(const struct dinm_tokenizer *t, const char *piece);

#endif
