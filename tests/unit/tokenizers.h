/* What the tokenizer tests share: small tokenizers, and ids as text. */
#ifndef DINM_TESTS_TOKENIZERS_H
#define DINM_TESTS_TOKENIZERS_H

#include "support.h"
#include "io/utf8.h"
#include "io/tokenizer.h"
#include "io/tokenizer_internal.h"

static inline struct dinm_tokenizer *parse_tokenizer(const char *json)
{
    struct dinm_error err = {0};
    struct dinm_tokenizer *t = NULL;

    assert_ok(dinm_tokenizer_parse(&t, "test", json, strlen(json), &err), &err);
    assert_non_null(t);
    return t;
}

static inline void refuse_tokenizer(const char *json, const char *part)
{
    struct dinm_error err = {0};
    struct dinm_tokenizer *t = NULL;

    assert_failed(dinm_tokenizer_parse(&t, "test", json, strlen(json), &err), DINM_FAILED, &err,
                  part);
    assert_null(t);
}

enum { PLAIN = 0, SPECIAL = 1, CONTROL = 2 };

static inline struct dinm_ids encode_bytes(const struct dinm_tokenizer *t, const char *text,
                                           size_t n_bytes, int options)
{
    const struct dinm_encode_options o = {.special = (options & SPECIAL) != 0,
                                          .control = (options & CONTROL) != 0};
    struct dinm_error err = {0};
    struct dinm_ids ids = {0};

    assert_ok(dinm_tokenizer_encode(t, text, n_bytes, o, &ids, &err), &err);
    return ids;
}

/* The ids of the text are `wanted`, given as "1 2 3". */
static inline void assert_ids(const struct dinm_tokenizer *t, const char *text, int options,
                              const char *wanted)
{
    struct dinm_ids ids = encode_bytes(t, text, strlen(text), options);
    struct dinm_buffer found = {0};

    assert_int_equal(dinm_buffer_append_text(&found, "", NULL), DINM_OK);
    for (size_t i = 0; i < ids.n_ids; i++) {
        assert_int_equal(
            dinm_buffer_append_format(&found, NULL, "%s%d", i > 0 ? " " : "", (int)ids.ids[i]),
            DINM_OK);
    }
    if (strcmp(found.data, wanted) != 0) {
        fail_msg("\"%s\": expected the ids %s, found %s", text, wanted, found.data);
    }
    dinm_buffer_free(&found);
    dinm_ids_free(&ids);
}

static inline void assert_decodes(const struct dinm_tokenizer *t, const int32_t *ids, size_t n_ids,
                                  bool skip_special, const char *wanted, size_t n_wanted)
{
    struct dinm_error err = {0};
    struct dinm_buffer text = {0};

    assert_ok(dinm_tokenizer_decode(t, ids, n_ids, skip_special, &text, &err), &err);
    if (text.n_bytes != n_wanted || (n_wanted > 0 && memcmp(text.data, wanted, n_wanted) != 0)) {
        fail_msg("expected the text \"%s\", found \"%s\"", wanted,
                 text.data != NULL ? text.data : "");
    }
    dinm_buffer_free(&text);
}

/* decode(encode(text)) is `wanted`. */
static inline void assert_comes_back(const struct dinm_tokenizer *t, const char *text,
                                     size_t n_bytes, const char *wanted, size_t n_wanted)
{
    struct dinm_ids ids = encode_bytes(t, text, n_bytes, PLAIN);

    assert_decodes(t, ids.ids, ids.n_ids, false, wanted, n_wanted);
    dinm_ids_free(&ids);
}

/* A byte-level tokenizer.json: ids 0 to 255 are the bytes, then come `pieces` (from 256 on, the
 * JSON of more vocabulary entries or ""); `merges` is the JSON of the list's inside, `model` more
 * keys of the model ("" or begins with a comma), `rest` the other parts of the file. */
static inline char *byte_level_json(const char *pieces, const char *merges, const char *model,
                                    const char *rest)
{
    struct dinm_buffer b = {0};

    assert_int_equal(dinm_buffer_append_text(&b, "{\"model\":{\"type\":\"BPE\",\"vocab\":{", NULL),
                     DINM_OK);
    for (unsigned byte = 0; byte < 256; byte++) {
        const uint32_t c = dinm_tokenizer_byte_to_char((unsigned char)byte);

        assert_int_equal(dinm_buffer_append_format(&b, NULL, "%s\"\\u%04x\":%u",
                                                   byte > 0 ? "," : "", (unsigned)c, byte),
                         DINM_OK);
    }
    assert_int_equal(dinm_buffer_append_format(&b, NULL, "%s},\"merges\":[%s]%s},%s}", pieces,
                                               merges, model, rest),
                     DINM_OK);
    return b.data;
}

#define BYTE_LEVEL_PARTS                                                                           \
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"                       \
    "\"decoder\":{\"type\":\"ByteLevel\"}"

#endif
