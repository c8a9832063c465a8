/* The parts of a tokenizer, shared by the files io/tokenizer*.c and by nobody else.
 *
 * Text flows through them in this order, each part being what tokenizer.json says:
 *   added tokens -> normalizers -> added tokens -> splitters -> BPE -> template,
 * and back through the decoders. Internal text is always valid UTF-8. */
#ifndef DINM_IO_TOKENIZER_INTERNAL_H
#define DINM_IO_TOKENIZER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "io/json.h"
#include "io/mem.h"
#include "io/status.h"
#include "io/tokenizer.h"

struct pcre2_real_code_8;
struct pcre2_real_match_data_8;

/* ---- text: tokenizer_text.c ---- */

/* Bytes of the character at `text` (valid UTF-8), its code point in *c. */
size_t dinm_tokenizer_text_char(const char *text, uint32_t *c);
/* Appends the code point as UTF-8. */
int dinm_tokenizer_text_put(struct dinm_buffer *out, uint32_t c, struct dinm_error *err);
/* Appends the text, each longest beginning of a character that is none as one U+FFFD. */
int dinm_tokenizer_text_repair(struct dinm_buffer *out, const char *text, size_t n_bytes,
                               struct dinm_error *err);
/* UTF-8 without NUL. */
bool dinm_tokenizer_text_is_valid(const char *text, size_t n_bytes);
/* Unicode White_Space (25 code points). */
bool dinm_tokenizer_text_is_space(uint32_t c);
/* Bytes of white space at the start, and where that at the end begins. */
size_t dinm_tokenizer_text_spaces(const char *text, size_t n_bytes);
size_t dinm_tokenizer_text_trimmed(const char *text, size_t n_bytes);
/* Bytes of the last character before n_bytes (at least 1). */
size_t dinm_tokenizer_text_last(const char *text, size_t n_bytes);

/* ---- patterns: tokenizer_pattern.c, tokenizer_cut.c ---- */

/* A regular expression as Oniguruma reads it, or a literal. Zeroed: not set. */
struct dinm_pattern {
    struct pcre2_real_code_8 *code; /* owns; NULL for a literal */
    char *source;                   /* owns: as written */
    size_t n_source;
};
/* `where` is used in errors. A construct that PCRE2 would read differently is refused. */
int dinm_tokenizer_pattern_compile(struct dinm_pattern *p, const char *where, const char *source,
                                   struct dinm_error *err);
int dinm_tokenizer_pattern_literal(struct dinm_pattern *p, const char *where, const char *source,
                                   struct dinm_error *err);
/* {"String": text} or {"Regex": text} under the key "pattern". */
int dinm_tokenizer_pattern_read(struct dinm_pattern *p, struct dinm_json j, struct dinm_error *err);
void dinm_tokenizer_pattern_free(struct dinm_pattern *p);

/* A part of a text: a match, or what lies between two matches. */
struct dinm_cut {
    size_t begin, end;
    bool match;
};
struct dinm_cuts {
    struct dinm_cut *cuts; /* owns */
    size_t n_cuts;
    size_t capacity;
    struct pcre2_real_match_data_8 *room; /* owns: made at the first use */
};
/* Replaces c with the matches and the parts between them: they cover the text in order. */
int dinm_tokenizer_pattern_cut(const struct dinm_pattern *p, const char *text, size_t n_bytes,
                               struct dinm_cuts *c, struct dinm_error *err);
void dinm_tokenizer_cuts_free(struct dinm_cuts *c);

/* ---- vocabulary: tokenizer_vocab.c ---- */

enum { DINM_MAX_ID = (1 << 24) - 1 }; /* far above any vocabulary, far below what memory allows */

struct dinm_piece {
    size_t at; /* offset into vocab.text */
    size_t n_bytes;
    bool known;      /* false: a hole in the numbering */
    bool foreign;    /* not in the model's vocabulary, only in added_tokens */
    bool added;      /* the flags below are those of added_tokens */
    bool special;    /* left out by skip_special, not recognised in text without `control` */
    bool normalized; /* looked for in the normalised text */
    bool lstrip, rstrip, single_word;
};

struct dinm_vocab {
    struct dinm_buffer text;   /* owns: the bytes of all pieces */
    struct dinm_piece *pieces; /* owns: [n_ids], by id */
    size_t n_ids;              /* largest id + 1 */
    size_t capacity;
    size_t n_pieces;               /* known ones */
    struct dinm_vocab_slot *slots; /* owns: [n_slots], a power of two; piece text to id */
    size_t n_slots;
};
/* Refused: an id or a text that is already there. `where` is used in errors. */
int dinm_tokenizer_vocab_add(struct dinm_vocab *v, const char *where, int64_t id, const char *text,
                             size_t n_bytes, struct dinm_error *err);
/* -1 if there is none. */
int32_t dinm_tokenizer_vocab_find(const struct dinm_vocab *v, const char *text, size_t n_bytes);
/* The same among the pieces of the model alone. */
int32_t dinm_tokenizer_vocab_find_own(const struct dinm_vocab *v, const char *text, size_t n_bytes);
const char *dinm_tokenizer_vocab_text(const struct dinm_vocab *v, int32_t id);
/* Reads {"piece": id, ...}. */
int dinm_tokenizer_vocab_read(struct dinm_vocab *v, const char *where, const cJSON *object,
                              struct dinm_error *err);
void dinm_tokenizer_vocab_free(struct dinm_vocab *v);

/* ---- added tokens: tokenizer_added.c ---- */

/* Texts of added tokens in byte order, for longest match first. */
struct dinm_added {
    struct dinm_added_entry *entries; /* owns: [n_entries] */
    size_t n_entries;
    size_t capacity;
    struct dinm_buffer text; /* owns: their bytes */
    bool starts[256];        /* by a text's first byte: some entry begins with it */
};
/* A stretch of text between added tokens, or an added token. */
struct dinm_stretch {
    size_t begin, end;
    int32_t id; /* -1: text */
};
struct dinm_stretches {
    struct dinm_stretch *stretches; /* owns */
    size_t n_stretches;
    size_t capacity;
};
/* Where special tokens count: nowhere without `control`, else outside of the spans. */
struct dinm_mask {
    bool control;
    struct dinm_span *spans; /* owns */
    size_t n_spans;
    size_t capacity;
};
/* Makes a token added; one that is not yet in the vocabulary gets the next free id. */
int dinm_tokenizer_added_put(struct dinm_tokenizer *t, const char *where, const char *text,
                             const struct dinm_piece *flags, int32_t *id, struct dinm_error *err);
/* The list added_tokens of tokenizer.json. */
int dinm_tokenizer_added_read(struct dinm_tokenizer *t, const char *where, const cJSON *list,
                              struct dinm_error *err);
/* Flags of one entry; absent ones as in a plain special or non-special token. */
int dinm_tokenizer_added_flags(struct dinm_piece *flags, struct dinm_json j, bool special,
                               struct dinm_error *err);
/* Builds t->raw and t->normalized from the vocabulary. To be called when all are known. */
int dinm_tokenizer_added_build(struct dinm_tokenizer *t, struct dinm_error *err);
/* Replaces s by the parts of the text in order; special tokens count only where the mask allows. */
int dinm_tokenizer_added_split(const struct dinm_tokenizer *t, const struct dinm_added *a,
                               const char *text, size_t n_bytes, const struct dinm_mask *mask,
                               struct dinm_stretches *s, struct dinm_error *err);
void dinm_tokenizer_added_free(struct dinm_added *a);

/* ---- masks: tokenizer_mask.c ---- */

bool dinm_tokenizer_mask_allows(const struct dinm_mask *m, size_t begin, size_t end);
/* Appends the text to `clean` as valid UTF-8 and sets the mask for it. */
int dinm_tokenizer_mask_clean(struct dinm_mask *m, const struct dinm_encode_options *options,
                              const char *text, size_t n_bytes, struct dinm_buffer *clean,
                              struct dinm_error *err);
/* The mask for a stretch of the clean `text` that was normalised to `whole`. */
int dinm_tokenizer_mask_normalized(const struct dinm_tokenizer *t, const struct dinm_mask *clean,
                                   const char *text, struct dinm_stretch stretch,
                                   const struct dinm_buffer *whole, struct dinm_mask *m,
                                   struct dinm_error *err);
void dinm_tokenizer_mask_free(struct dinm_mask *m);

/* ---- normalizers: tokenizer_normalize.c ---- */

enum dinm_normalizer_kind {
    DINM_NORMALIZE_PREPEND,
    DINM_NORMALIZE_REPLACE,
    DINM_NORMALIZE_UNICODE,
    DINM_NORMALIZE_LOWERCASE,
    DINM_NORMALIZE_STRIP
};
struct dinm_normalizer {
    enum dinm_normalizer_kind kind;
    struct dinm_pattern pattern; /* REPLACE */
    char *text;                  /* owns: what PREPEND puts in front, what REPLACE puts in */
    size_t n_text;
    bool compose, compatible; /* UNICODE: NFC, NFKC; NFKD, NFKC */
    bool left, right;         /* STRIP */
};
int dinm_tokenizer_normalizer_read(struct dinm_tokenizer *t, const char *where, const cJSON *object,
                                   struct dinm_error *err);
/* The text is *in and ends in *in; *spare is room. *front (may be NULL) becomes false if the
 * text's own beginning was taken away. */
int dinm_tokenizer_normalize(const struct dinm_tokenizer *t, struct dinm_buffer *in,
                             struct dinm_buffer *spare, struct dinm_cuts *cuts, bool *front,
                             struct dinm_error *err);
void dinm_tokenizer_normalizer_free(struct dinm_normalizer *n);

/* ---- splitters: tokenizer_split.c, tokenizer_words.c ---- */

enum dinm_behavior {
    DINM_SPLIT_REMOVED,
    DINM_SPLIT_ISOLATED,
    DINM_SPLIT_MERGED_WITH_PREVIOUS,
    DINM_SPLIT_MERGED_WITH_NEXT,
    DINM_SPLIT_CONTIGUOUS
};
enum dinm_prefix { DINM_PREFIX_NEVER, DINM_PREFIX_FIRST, DINM_PREFIX_ALWAYS };
enum dinm_splitter_kind { DINM_SPLITTER_PATTERN, DINM_SPLITTER_METASPACE, DINM_SPLITTER_BYTES };
struct dinm_splitter {
    enum dinm_splitter_kind kind;
    struct dinm_pattern pattern; /* not set: one part */
    enum dinm_behavior behavior;
    bool invert;             /* what lies between the matches counts as match */
    enum dinm_prefix prefix; /* METASPACE, BYTES: where `mark` or a blank is put in front */
    char *mark;              /* owns: METASPACE, stands for a blank */
};
/* A word on its way to the model, or an added token. */
struct dinm_word {
    size_t at, n_bytes; /* in the text of its list */
    int32_t id;         /* -1: a word */
    bool first;         /* no text comes before it */
};
struct dinm_words {
    struct dinm_buffer text; /* owns */
    struct dinm_word *words; /* owns */
    size_t n_words;
    size_t capacity;
};
int dinm_tokenizer_words_add(struct dinm_words *w, struct dinm_word word, struct dinm_error *err);
void dinm_tokenizer_words_free(struct dinm_words *w);
int dinm_tokenizer_splitter_read(struct dinm_tokenizer *t, const char *where, const cJSON *object,
                                 struct dinm_error *err);
/* Runs the splitter over all words of *now; *next is room. The result is in *now. */
int dinm_tokenizer_split(const struct dinm_splitter *s, struct dinm_words *now,
                         struct dinm_words *next, struct dinm_cuts *cuts, struct dinm_error *err);
void dinm_tokenizer_splitter_free(struct dinm_splitter *s);
/* The code point that stands for a byte in byte-level text, and back (-1: none). */
uint32_t dinm_tokenizer_byte_to_char(unsigned char byte);
int dinm_tokenizer_char_to_byte(uint32_t c);

/* ---- byte pair encoding: tokenizer_merges.c, tokenizer_bpe.c ---- */

#define DINM_NO_RANK UINT32_MAX
struct dinm_merge {
    int32_t left, right;
    uint32_t rank; /* DINM_NO_RANK: there is no such pair */
    int32_t id;    /* what the pair becomes */
};
enum { DINM_N_SHORT_CHARS = 0x250 }; /* Latin, and all that stand for bytes */
struct dinm_bpe {
    struct dinm_merge *merges; /* owns: [n_slots], a power of two; a hash map */
    size_t n_slots;
    char *unk;      /* owns: NULL if there is none */
    int32_t unk_id; /* -1 if unk is not in the vocabulary */
    bool fuse_unk, byte_fallback, ignore_merges;
    uint64_t *meets; /* owns: the pairs of characters that some merge joins, as a set of hashes */
    int32_t byte_ids[256];                /* of <0x00> to <0xFF>, -1 if there is none */
    int32_t char_ids[DINM_N_SHORT_CHARS]; /* by code point, -1 if there is none */
};
/* Room for one word, kept from word to word. */
struct dinm_bpe_room {
    struct dinm_symbol *symbols; /* owns */
    size_t n_symbols;
    size_t symbol_capacity;
    uint64_t *heap; /* owns: rank << 32 | position, smallest first */
    size_t n_heap;
    size_t heap_capacity;
    struct dinm_known_run *known; /* owns: short runs by their hash; may be NULL */
    size_t n_runs;                /* so far */
};
int dinm_tokenizer_bpe_read(struct dinm_tokenizer *t, const char *where, const cJSON *model,
                            struct dinm_error *err);
const struct dinm_merge *dinm_tokenizer_merges_find(const struct dinm_bpe *bpe, int32_t left,
                                                    int32_t right);
/* False: no merge ever joins a piece that ends with the first symbol to one that begins with the
 * second, so that the text on both sides can be encoded by itself. */
bool dinm_tokenizer_merges_meet(const struct dinm_bpe *bpe, int32_t left, int32_t right);
/* Appends the ids of one word. Without `control` no merge makes a special token. */
int dinm_tokenizer_bpe_encode(const struct dinm_tokenizer *t, const char *word, size_t n_bytes,
                              bool control, struct dinm_bpe_room *room, struct dinm_ids *out,
                              struct dinm_error *err);
void dinm_tokenizer_bpe_room_free(struct dinm_bpe_room *room);
void dinm_tokenizer_bpe_free(struct dinm_bpe *bpe);

/* ---- template: tokenizer_template.c ---- */

/* Fills t->before and t->after from "post_processor" (may be NULL). */
int dinm_tokenizer_template_read(struct dinm_tokenizer *t, const char *where, const cJSON *object,
                                 struct dinm_error *err);

/* ---- decoders: tokenizer_decode.c ---- */

enum dinm_decoder_kind {
    DINM_DECODE_BYTES,
    DINM_DECODE_REPLACE,
    DINM_DECODE_BYTE_FALLBACK,
    DINM_DECODE_FUSE,
    DINM_DECODE_STRIP,
    DINM_DECODE_METASPACE
};
struct dinm_decoder {
    enum dinm_decoder_kind kind;
    struct dinm_pattern pattern; /* REPLACE */
    char *text;          /* owns: REPLACE puts it in, STRIP takes it off, METASPACE's mark */
    int64_t start, stop; /* STRIP: at most so many at each end */
    bool prefix;         /* METASPACE: the first piece's marks vanish */
};
int dinm_tokenizer_decoder_read(struct dinm_tokenizer *t, const char *where, const cJSON *object,
                                struct dinm_error *err);
void dinm_tokenizer_decoder_free(struct dinm_decoder *d);

/* ---- the folder: tokenizer_folder.c, tokenizer_special.c ---- */

/* A JSON file of the folder that may be missing. */
struct dinm_side_file {
    char *path;  /* owns */
    cJSON *tree; /* owns; an empty object if there is no such file */
};
int dinm_tokenizer_folder_load(struct dinm_side_file *f, const char *folder, const char *name,
                               struct dinm_error *err);
void dinm_tokenizer_folder_unload(struct dinm_side_file *f);

/* What transformers knows about a class of tokenizers. */
struct dinm_tokenizer_class {
    const char *name, *model_type;
    const char *bos, *eos, *unk, *pad, *sep, *cls, *mask; /* defaults; NULL: none */
    bool rebuilt; /* add_bos_token and add_eos_token replace the template of tokenizer.json */
};
/* By tokenizer_class in tokenizer_config.json, else by model_type in config.json; NULL if it is
 * none of those above. */
const struct dinm_tokenizer_class *dinm_tokenizer_folder_class(const cJSON *settings,
                                                               const cJSON *config);

/* Reads tokenizer_config.json, special_tokens_map.json and config.json of the folder, as far as
 * they are there: bos, eos, pad, more special tokens, and what some classes make of them. */
int dinm_tokenizer_special_read(struct dinm_tokenizer *t, const char *folder,
                                struct dinm_error *err);

/* ---- the whole: tokenizer.c ---- */

struct dinm_tokenizer {
    struct dinm_vocab vocab;
    size_t n_model_pieces;               /* of vocab, without what was only added */
    struct dinm_added raw, normalized;   /* by the text they are looked for in */
    struct dinm_pattern word;            /* one character of a word; set if single_word is used */
    struct dinm_normalizer *normalizers; /* owns: [n_normalizers] */
    size_t n_normalizers;
    size_t normalizer_capacity;
    struct dinm_splitter *splitters; /* owns: [n_splitters] */
    size_t n_splitters;
    size_t splitter_capacity;
    struct dinm_bpe bpe;
    struct dinm_ids before, after; /* what `special` puts around the ids of a text */
    struct dinm_decoder *decoders; /* owns: [n_decoders] */
    size_t n_decoders;
    size_t decoder_capacity;
    bool has_decoder; /* without one, pieces are joined with blanks */
    bool cleans;      /* decoded texts are cleaned up: tokenizer_clean.c */
    int32_t bos, eos, pad;
    size_t n_rows; /* of the model's embedding; 0: not known */
};

/* From the tree of a tokenizer.json; folder: where the files beside it are, or NULL. */
int dinm_tokenizer_create(struct dinm_tokenizer **out, const char *name, const cJSON *tree,
                          const char *folder, struct dinm_error *err);
/* tokenizer_clean.c: cleans text.data[begin] to its end. */
void dinm_tokenizer_clean(struct dinm_buffer *text, size_t begin);
/* "type" of a component, which is called `what` in tokenizer.json. */
int dinm_tokenizer_type(const cJSON *object, const char *where, const char *what, const char **type,
                        struct dinm_error *err);
/* A copy of a text of the tree in *copy, DINM_FAILED if there is no memory. */
int dinm_tokenizer_copy(char **copy, const char *text, struct dinm_error *err);

#endif
