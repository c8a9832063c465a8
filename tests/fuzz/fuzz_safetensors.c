/* Any bytes as a safetensors file: what is accepted holds what it promises. */
#include "io/safetensors.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static void require(int condition)
{
    if (!condition) {
        abort();
    }
}

/* bytes: [n_bytes] the whole file. Every tensor's bytes are inside it and are all read. */
static void check(const struct dinm_safetensors *st, const unsigned char *bytes, size_t n_bytes)
{
    size_t n_data = 0;

    for (size_t i = 0; i < st->n_tensors; i++) {
        const struct dinm_tensor *t = &st->tensors[i];
        const unsigned char *data = t->data;

        require(dinm_safetensors_find(st, t->name) == t);
        require(i == 0 || strcmp(st->tensors[i - 1].name, t->name) < 0);
        require(t->n_dims <= DINM_MAX_DIMS);
        require((data == NULL) == (t->n_bytes == 0));
        if (data != NULL) {
            require(data >= bytes + 8 && t->n_bytes <= (size_t)(bytes + n_bytes - data));
            n_data += t->n_bytes;
        }
        if (t->dtype != DINM_OTHER && data != NULL) {
            const size_t n = t->n_bytes / dinm_dtype_size(t->dtype);
            size_t product = 1;
            float *y = malloc(n * sizeof *y);

            for (size_t k = 0; k < t->n_dims; k++) {
                product *= (size_t)t->shape[k];
            }
            require(product == n && y != NULL);
            dinm_widen(y, data, t->dtype, n);
            free(y);
        }
    }
    require(n_data < n_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct dinm_safetensors st = {0};
    struct dinm_error err = {0};
    unsigned char *copy = malloc(n_bytes > 0 ? n_bytes : 1); /* aligned as a mapping is */

    require(copy != NULL);
    if (n_bytes > 0) {
        memcpy(copy, bytes, n_bytes);
    }
    if (dinm_safetensors_parse(&st, "fuzz", copy, n_bytes, &err) < 0) {
        require(st.tensors == NULL && st.n_tensors == 0 && err.text[0] != '\0');
    } else {
        check(&st, copy, n_bytes);
    }
    dinm_safetensors_close(&st);
    free(copy);
    return 0;
}
