/* The variants of model/kernel that may exist in a build. Private to model/kernel*.c. */
#ifndef DINM_MODEL_KERNEL_VARIANTS_H
#define DINM_MODEL_KERNEL_VARIANTS_H

#include "model/kernel.h"

enum { LANES = DINM_KERNEL_LANES };

extern const struct dinm_kernel dinm_kernel_avx512, dinm_kernel_avx2; /* x86-64 */
extern const struct dinm_kernel dinm_kernel_neon;                     /* aarch64 */
extern const struct dinm_kernel dinm_kernel_plain;                    /* everywhere */

#endif
