/* Any bytes as "<merges.txt> NUL <text>" beside a vocabulary of letters and a few words: what is
 * accepted must encode the text to ids of the vocabulary, the same twice. */
#include <stdlib.h>
#include <string.h>
#include "io/tokenizer.h"
#include "io/tokenizer_older.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static const char vocab[] =
    "{\"a\":0,\"b\":1,\"c\":2,\"d\":3,\"e\":4,\"ab\":5,\"cd\":6,\"abc\":7,\"abcd\":8,\"de\":9,"
    "\"ea\":10,\"aa\":11,\"aaaa\":12,\"\xC4\xA0\":13,\"\xC4\xA0"
    "a\":14,\"bcd\":15}";

static void require(int condition)
{
    if (!condition) {
        abort();
    }
}

static void try_text(const struct dinm_tokenizer *t, const char *text, size_t n_bytes)
{
    struct dinm_ids ids[2] = {{0}, {0}};
    struct dinm_error err = {0};

    for (int k = 0; k < 2; k++) {
        if (dinm_tokenizer_encode(t, text, n_bytes, (struct dinm_encode_options){0}, &ids[k],
                                  &err) < 0) {
            require(err.text[0] != '\0' && ids[k].n_ids == 0);
        }
    }
    require(ids[0].n_ids == ids[1].n_ids);
    for (size_t i = 0; i < ids[0].n_ids; i++) {
        require(ids[0].ids[i] == ids[1].ids[i]);
        require(ids[0].ids[i] >= 0 && (size_t)ids[0].ids[i] < dinm_tokenizer_n_vocab(t));
    }
    dinm_ids_free(&ids[0]);
    dinm_ids_free(&ids[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    const uint8_t *nul = n_bytes > 0 ? memchr(bytes, 0, n_bytes) : NULL;
    const size_t n_merges = nul != NULL ? (size_t)(nul - bytes) : n_bytes;
    struct dinm_buffer merges = {0};
    struct dinm_tokenizer *t = NULL;
    struct dinm_error err = {0};
    cJSON *pieces = NULL, *tree = NULL;

    require(dinm_buffer_append(&merges, bytes, n_merges, &err) == DINM_OK);
    require(dinm_json_parse("vocab", vocab, sizeof vocab - 1, &pieces, &err) == DINM_OK);
    int status = dinm_tokenizer_older_join(&tree, "vocab", pieces, "merges", &merges, &err);

    if (status == DINM_OK) {
        /* The pattern that cuts words takes longer to build than all else. */
        cJSON_DeleteItemFromObjectCaseSensitive(tree, "pre_tokenizer");
    }
    if (status < 0 || dinm_tokenizer_create(&t, "merges", tree, NULL, &err) < 0) {
        require(t == NULL && err.text[0] != '\0');
    } else if (nul != NULL) {
        try_text(t, (const char *)nul + 1, n_bytes - n_merges - 1);
    }
    dinm_tokenizer_close(t);
    cJSON_Delete(tree);
    dinm_buffer_free(&merges);
    return 0;
}
