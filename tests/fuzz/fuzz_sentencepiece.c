/* Any bytes as a SentencePiece model: what is accepted has pieces, one for each id. */
#include <stdlib.h>
#include "io/tokenizer_older.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static void require(int condition)
{
    if (!condition) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct dinm_spm m = {0};
    struct dinm_error err = {0};

    if (dinm_tokenizer_sentencepiece_parse(&m, "fuzz", bytes, n_bytes, &err) < 0) {
        require(err.text[0] != '\0');
    } else {
        require(m.vocab.n_ids > 0 && m.vocab.n_pieces == m.vocab.n_ids);
    }
    dinm_tokenizer_sentencepiece_free(&m);
    return 0;
}
