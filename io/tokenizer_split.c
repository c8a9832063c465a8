/* Splitters ("pre_tokenizer" in tokenizer.json): reading them. tokenizer_words.c runs them. */
#include "io/tokenizer_internal.h"
#include <stdlib.h>
#include <string.h>

#define GPT2_WORDS                                                                                 \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
/* As the regex crate reads \w+|[^\w\s]+. */
#define RUST_WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200c}\\x{200d}"
#define WHITESPACE_WORDS "[" RUST_WORD "]+|[^" RUST_WORD "\\s]+"
#define PUNCTUATION "[!-/:-@\\[-`{-~\\p{P}]"

static int read_behavior(struct dinm_splitter *s, struct dinm_json j, const char *name,
                         struct dinm_error *err)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            s->behavior = (enum dinm_behavior)i;
            return DINM_OK;
        }
    }
    return dinm_fail(err, DINM_FAILED, "%s: the split behavior %.100s does not exist", j.where,
                     name);
}

/* prepend_scheme, or in older files add_prefix_space. */
static int read_metaspace(struct dinm_splitter *s, struct dinm_json j, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *mark = "\xE2\x96\x81";
    const char *scheme = NULL;
    bool prefix = true;
    bool split = true;

    s->kind = DINM_SPLITTER_METASPACE;
    s->behavior = DINM_SPLIT_MERGED_WITH_NEXT;
    TRY(dinm_json_get_text_or(j, "replacement", &mark, err));
    TRY(dinm_json_get_bool_or(j, "add_prefix_space", &prefix, err));
    TRY(dinm_json_get_bool_or(j, "split", &split, err));
    TRY(dinm_json_get_text_or(j, "prepend_scheme", &scheme, err));
    if (scheme == NULL) {
        s->prefix = prefix ? DINM_PREFIX_ALWAYS : DINM_PREFIX_NEVER;
    } else if (strcmp(scheme, "always") == 0 && prefix) {
        s->prefix = DINM_PREFIX_ALWAYS;
    } else if (strcmp(scheme, "first") == 0 && prefix) {
        s->prefix = DINM_PREFIX_FIRST;
    } else if (strcmp(scheme, "never") == 0) {
        s->prefix = DINM_PREFIX_NEVER;
    } else {
        return dinm_fail(err, DINM_FAILED, "%s: Metaspace has the prepend_scheme %.100s%s", j.where,
                         scheme, prefix ? ", which does not exist" : " without add_prefix_space");
    }
    if (split) {
        TRY(dinm_tokenizer_pattern_literal(&s->pattern, j.where, mark, err));
    }
    TRY(dinm_tokenizer_copy(&s->mark, mark, err));
out:
    return status;
}

static int read_bytes(struct dinm_splitter *s, struct dinm_json j, struct dinm_error *err)
{
    int status = DINM_OK;
    bool prefix = true;
    bool use_regex = true;

    s->kind = DINM_SPLITTER_BYTES;
    s->behavior = DINM_SPLIT_ISOLATED;
    TRY(dinm_json_get_bool_or(j, "add_prefix_space", &prefix, err));
    TRY(dinm_json_get_bool_or(j, "use_regex", &use_regex, err));
    s->prefix = prefix ? DINM_PREFIX_ALWAYS : DINM_PREFIX_NEVER;
    if (use_regex) {
        TRY(dinm_tokenizer_pattern_compile(&s->pattern, j.where, GPT2_WORDS, err));
    }
out:
    return status;
}

static int read_one(struct dinm_splitter *s, struct dinm_json j, const char *type,
                    struct dinm_error *err)
{
    int status = DINM_OK;
    const char *behavior = "Isolated";
    const char *pattern = NULL;
    bool single = false;

    if (strcmp(type, "ByteLevel") == 0) {
        return read_bytes(s, j, err);
    }
    if (strcmp(type, "Metaspace") == 0) {
        return read_metaspace(s, j, err);
    }
    if (strcmp(type, "Split") == 0) {
        TRY(dinm_json_get_text(j, "behavior", &behavior, err));
        TRY(dinm_json_get_bool_or(j, "invert", &s->invert, err));
        TRY(dinm_tokenizer_pattern_read(&s->pattern, j, err));
    } else if (strcmp(type, "Punctuation") == 0) {
        TRY(dinm_json_get_text_or(j, "behavior", &behavior, err));
        pattern = PUNCTUATION;
    } else if (strcmp(type, "Digits") == 0) {
        TRY(dinm_json_get_bool_or(j, "individual_digits", &single, err));
        behavior = single ? "Isolated" : "Contiguous";
        pattern = "\\p{N}";
    } else if (strcmp(type, "Whitespace") == 0) {
        behavior = "Removed";
        pattern = WHITESPACE_WORDS;
        s->invert = true;
    } else if (strcmp(type, "WhitespaceSplit") == 0) {
        behavior = "Removed";
        pattern = "\\s";
    } else {
        return dinm_fail(err, DINM_FAILED, "%s: the pre-tokenizer %.100s is not supported", j.where,
                         type);
    }
    if (pattern != NULL) {
        TRY(dinm_tokenizer_pattern_compile(&s->pattern, j.where, pattern, err));
    }
    TRY(read_behavior(s, j, behavior, err));
out:
    return status;
}

int dinm_tokenizer_splitter_read(struct dinm_tokenizer *t, const char *where, const cJSON *object,
                                 struct dinm_error *err)
{
    const struct dinm_json j = {.object = object, .where = where};
    int status = DINM_OK;
    const char *type = NULL;
    const cJSON *list = NULL;
    const cJSON *item = NULL;
    void *splitters = t->splitters;

    TRY(dinm_tokenizer_type(object, where, "pre_tokenizer", &type, err));
    if (strcmp(type, "Sequence") == 0) {
        TRY(dinm_json_get_array(j, "pretokenizers", &list, err));
        cJSON_ArrayForEach(item, list)
        {
            TRY(dinm_tokenizer_splitter_read(t, where, item, err));
        }
        return DINM_OK;
    }
    status = dinm_grow(&splitters, &t->splitter_capacity, t->n_splitters + 1, sizeof *t->splitters,
                       "the pre-tokenizers", err);
    t->splitters = splitters;
    TRY(status);
    TRY(read_one(t->splitters + t->n_splitters++, j, type, err));
out:
    return status;
}

void dinm_tokenizer_splitter_free(struct dinm_splitter *s)
{
    dinm_tokenizer_pattern_free(&s->pattern);
    free(s->mark);
    *s = (struct dinm_splitter){0};
}
