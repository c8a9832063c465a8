/* Private to safetensors*.c: the element types that the format knows. */
#ifndef DINM_IO_SAFETENSORS_DTYPE_H
#define DINM_IO_SAFETENSORS_DTYPE_H

#include <stddef.h>
#include <stdint.h>
#include "io/dtype.h"
#include "io/status.h"

struct dinm_safetensors_dtype {
    const char *name;
    size_t n_bits;
    enum dinm_dtype dtype;
};

/* NULL if the format has no such type. */
const struct dinm_safetensors_dtype *dinm_safetensors_dtype_find(const char *name);

/* Bytes of a tensor of that shape; `where` names it in the error on overflow. */
int dinm_safetensors_dtype_bytes(const struct dinm_safetensors_dtype *stored, const int64_t *shape,
                                 size_t n_dims, const char *where, size_t *n_bytes,
                                 struct dinm_error *err);

#endif
