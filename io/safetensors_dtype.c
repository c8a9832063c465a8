/* The element types of the safetensors format. */
#include "io/safetensors_dtype.h"
#include <string.h>

static const struct dinm_safetensors_dtype stored_dtypes[] = {
    {"F32", 32, DINM_F32},      {"F16", 16, DINM_F16},      {"BF16", 16, DINM_BF16},
    {"F64", 64, DINM_OTHER},    {"C64", 64, DINM_OTHER},    {"I64", 64, DINM_OTHER},
    {"U64", 64, DINM_OTHER},    {"I32", 32, DINM_OTHER},    {"U32", 32, DINM_OTHER},
    {"I16", 16, DINM_OTHER},    {"U16", 16, DINM_OTHER},    {"I8", 8, DINM_OTHER},
    {"U8", 8, DINM_OTHER},      {"BOOL", 8, DINM_OTHER},    {"F8_E5M2", 8, DINM_OTHER},
    {"F8_E4M3", 8, DINM_OTHER}, {"F8_E8M0", 8, DINM_OTHER}, {"F6_E2M3", 6, DINM_OTHER},
    {"F6_E3M2", 6, DINM_OTHER}, {"F4", 4, DINM_OTHER},
};

const struct dinm_safetensors_dtype *dinm_safetensors_dtype_find(const char *name)
{
    for (size_t i = 0; i < sizeof stored_dtypes / sizeof *stored_dtypes; i++) {
        if (strcmp(stored_dtypes[i].name, name) == 0) {
            return &stored_dtypes[i];
        }
    }
    return NULL;
}

int dinm_safetensors_dtype_bytes(const struct dinm_safetensors_dtype *stored, const int64_t *shape,
                                 size_t n_dims, const char *where, size_t *n_bytes,
                                 struct dinm_error *err)
{
    const uint64_t limit = (uint64_t)PTRDIFF_MAX / 64; /* so that the bits can be counted */
    uint64_t n_elements = 1;

    for (size_t i = 0; i < n_dims; i++) {
        if (shape[i] < 0) {
            return dinm_fail(err, DINM_FAILED, "%s: a dimension is negative", where);
        }
        if (n_elements > 0 && (uint64_t)shape[i] > limit / n_elements) {
            return dinm_fail(err, DINM_FAILED,
                             "%s: its shape has more elements than can be counted", where);
        }
        n_elements *= (uint64_t)shape[i];
    }
    if (n_elements * stored->n_bits % 8 != 0) {
        return dinm_fail(err, DINM_FAILED, "%s: its elements do not fill whole bytes", where);
    }
    *n_bytes = (size_t)(n_elements * stored->n_bits / 8);
    return DINM_OK;
}
