/* Any bytes as "<text> NUL <tokenizer.json>": what is accepted must encode the text to ids of its
 * vocabulary, the same twice, and decode them to valid UTF-8. */
#include <stdlib.h>
#include <string.h>
#include "io/tokenizer.h"
#include "io/tokenizer_internal.h"
#include "io/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static void require(int condition)
{
    if (!condition) {
        abort();
    }
}

static void try_ids(const struct dinm_tokenizer *t, const struct dinm_ids *ids)
{
    struct dinm_buffer text = {0};
    struct dinm_error err = {0};
    bool valid = true;

    for (size_t i = 0; i < ids->n_ids; i++) {
        require(ids->ids[i] >= 0 && (size_t)ids->ids[i] < dinm_tokenizer_n_vocab(t));
    }
    for (int skip = 0; skip < 2; skip++) {
        text.n_bytes = 0;
        if (dinm_tokenizer_decode(t, ids->ids, ids->n_ids, skip == 1, &text, &err) < 0) {
            require(err.text[0] != '\0');
            break;
        }
        for (size_t at = 0; at < text.n_bytes;) {
            at += dinm_utf8_step(text.data + at, text.n_bytes - at, &valid);
            require(valid);
        }
    }
    dinm_buffer_free(&text);
}

static void try_text(const struct dinm_tokenizer *t, const char *text, size_t n_bytes)
{
    for (unsigned i = 0; i < 4; i++) {
        const struct dinm_encode_options options = {.special = (i & 1) != 0,
                                                    .control = (i & 2) != 0};
        struct dinm_ids ids[2] = {{0}, {0}};
        struct dinm_error err[2] = {{0}, {0}};
        int status[2];

        for (int k = 0; k < 2; k++) {
            status[k] = dinm_tokenizer_encode(t, text, n_bytes, options, &ids[k], &err[k]);
            require(status[k] == DINM_OK || (err[k].text[0] != '\0' && ids[k].n_ids == 0));
        }
        require(status[0] == status[1] && ids[0].n_ids == ids[1].n_ids);
        if (ids[0].n_ids > 0) {
            require(memcmp(ids[0].ids, ids[1].ids, ids[0].n_ids * sizeof *ids[0].ids) == 0);
        }
        try_ids(t, &ids[0]);
        dinm_ids_free(&ids[0]);
        dinm_ids_free(&ids[1]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    const uint8_t *nul = n_bytes > 0 ? memchr(bytes, 0, n_bytes) : NULL;
    const char *rest = nul == NULL ? NULL : (const char *)nul + 1;
    struct dinm_tokenizer *t = NULL;
    struct dinm_error err = {0};
    size_t n_text;
    size_t n_rest;

    if (nul == NULL) {
        return 0;
    }
    n_text = (size_t)(nul - bytes);
    n_rest = n_bytes - n_text - 1;
    if (dinm_tokenizer_parse(&t, "fuzz", rest, n_rest, &err) < 0) {
        require(t == NULL && err.text[0] != '\0');
    } else {
        try_text(t, (const char *)bytes, n_text);
    }
    dinm_tokenizer_close(t);
    return 0;
}
