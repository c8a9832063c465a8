/* Model folders without tokenizer.json: what tokenizer.model, or vocab.json with merges.txt, become.
 * Private to io/tokenizer*. */
#ifndef DINM_IO_TOKENIZER_OLDER_H
#define DINM_IO_TOKENIZER_OLDER_H

#include "io/tokenizer_internal.h"

/* tokenizer_sentencepiece.c: a SentencePiece model of type BPE. */
enum {
    DINM_SPM_NORMAL = 1,
    DINM_SPM_UNKNOWN = 2,
    DINM_SPM_CONTROL = 3,
    DINM_SPM_USER_DEFINED = 4,
    DINM_SPM_LAST = 6
};
struct dinm_spm_piece {
    float score;
    int type;
};
struct dinm_spm {
    const char *path;              /* borrows */
    struct dinm_vocab vocab;       /* ids are places in the file */
    struct dinm_spm_piece *pieces; /* owns: [vocab.n_ids] */
    size_t capacity;
    uint64_t type;
    bool byte_fallback, prefix, character_map;
};
int dinm_tokenizer_sentencepiece_parse(struct dinm_spm *m, const char *name, const void *bytes,
                                       size_t n_bytes, struct dinm_error *err);
void dinm_tokenizer_sentencepiece_free(struct dinm_spm *m);

/* tokenizer_convert.c: the same as a tokenizer.json tree. `settings`: tokenizer_config.json. */
int dinm_tokenizer_convert_load(cJSON **out, const char *path, const cJSON *settings,
                                struct dinm_error *err);

/* tokenizer_older.c: a tokenizer.json tree from tokenizer.model, or from vocab.json and merges.txt;
 * *name is the file it came from, to be freed. */
int dinm_tokenizer_older_load(cJSON **out, char **name, const char *folder, struct dinm_error *err);
/* The second way alone. Takes vocab, the tree of vocab.json; merges: the text of merges.txt, changed
 * by reading it. */
int dinm_tokenizer_older_join(cJSON **out, const char *vocab_name, cJSON *vocab,
                              const char *merges_name, struct dinm_buffer *merges,
                              struct dinm_error *err);

#endif
