/* Element types of stored tensors, and their widening to float32. */
#ifndef DINM_IO_DTYPE_H
#define DINM_IO_DTYPE_H

#include <stddef.h>
#include <stdint.h>

enum dinm_dtype { DINM_F32, DINM_F16, DINM_BF16, DINM_OTHER };

/* Bytes per element (DINM_OTHER: 0) and the safetensors name ("F32"). */
size_t dinm_dtype_size(enum dinm_dtype dtype);
const char *dinm_dtype_name(enum dinm_dtype dtype);

/* y: [n] float32 from x: [n] of dtype, x at its natural alignment. Exact. */
void dinm_widen(float *y, const void *x, enum dinm_dtype dtype, size_t n);
/* y: [n] of dtype from x: [n] float32. Rounds to nearest, ties to even; NaN stays NaN. */
void dinm_narrow(void *y, enum dinm_dtype dtype, const float *x, size_t n);

#endif
