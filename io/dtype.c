/* Exact widening and round-to-nearest-even narrowing between float32, float16 and bfloat16.
 *
 * The loops have no branches and no tables, so that the compiler makes vector code of them: every
 * case is computed and the right one selected. Elements are copied in and out with memcpy, which
 * costs nothing and keeps to the language's rules on types. */
#include "io/dtype.h"
#include <string.h>

size_t dinm_dtype_size(enum dinm_dtype dtype)
{
    switch (dtype) {
    case DINM_F32:
        return 4;
    case DINM_F16:
    case DINM_BF16:
        return 2;
    case DINM_OTHER:
        break;
    }
    return 0;
}

const char *dinm_dtype_name(enum dinm_dtype dtype)
{
    switch (dtype) {
    case DINM_F32:
        return "F32";
    case DINM_F16:
        return "F16";
    case DINM_BF16:
        return "BF16";
    case DINM_OTHER:
        break;
    }
    return "another type";
}

/* a where the condition holds, else b. As bit arithmetic, since a plain choice between the result
 * of a float operation and something else becomes a branch (the operation might trap). */
static inline uint32_t choose(int condition, uint32_t a, uint32_t b)
{
    const uint32_t mask = 0u - (uint32_t)condition;

    return (a & mask) | (b & ~mask);
}

static void widen_bf16(float *restrict y, const unsigned char *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        uint32_t bits;

        memcpy(&half, x + 2 * i, 2);
        bits = (uint32_t)half << 16;
        memcpy(&y[i], &bits, 4);
    }
}

/* float16 has 1 sign, 5 exponent (bias 15) and 10 fraction bits; float32 1, 8 (bias 127), 23. */
static void widen_f16(float *restrict y, const unsigned char *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        uint32_t magnitude;
        uint32_t normal;
        uint32_t small;
        uint32_t bits;
        float tiny;

        memcpy(&half, x + 2 * i, 2);
        magnitude = half & 0x7FFFu;
        /* Inf and NaN keep the largest exponent, normal numbers move to the other bias. */
        normal = (magnitude << 13) + choose(magnitude >= 0x7C00u, 224u << 23, 112u << 23);
        /* Below 2^-14 the value is fraction * 2^-24; as an integer's product it never passes
         * through a float32 subnormal, which would be slow. */
        tiny = (float)(int32_t)magnitude * 0x1p-24f;
        memcpy(&small, &tiny, 4);
        bits = choose(magnitude < 0x0400u, small, normal) | ((half & 0x8000u) << 16);
        memcpy(&y[i], &bits, 4);
    }
}

void dinm_widen(float *y, const void *x, enum dinm_dtype dtype, size_t n)
{
    if (n == 0) {
        return;
    }
    switch (dtype) {
    case DINM_F32:
        memcpy(y, x, 4 * n);
        break;
    case DINM_F16:
        widen_f16(y, x, n);
        break;
    case DINM_BF16:
        widen_bf16(y, x, n);
        break;
    case DINM_OTHER:
        break;
    }
}

static void narrow_bf16(unsigned char *restrict y, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        uint32_t rounded;
        uint16_t half;

        memcpy(&bits, &x[i], 4);
        /* Adding just under half a unit, and one more if the unit is odd, rounds ties to even; a
         * carry into the exponent is the right result, up to infinity. */
        rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
        half = (uint16_t)choose((bits & 0x7FFFFFFFu) > 0x7F800000u, (bits >> 16) | 0x40u, rounded);
        memcpy(y + 2 * i, &half, 2);
    }
}

static void narrow_f16(unsigned char *restrict y, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        uint32_t magnitude;
        uint32_t large;
        uint32_t normal;
        uint32_t small;
        float shifted;
        uint16_t half;

        memcpy(&bits, &x[i], 4);
        magnitude = bits & 0x7FFFFFFFu;
        large = choose(magnitude > 0x7F800000u, 0x7E00u | ((magnitude >> 13) & 0x3FFu), 0x7C00u);
        normal = (magnitude - (112u << 23) + 0xFFFu + ((magnitude >> 13) & 1u)) >> 13;
        /* Below 2^-14 one unit of float16 is 2^-24, as it is of float32 between 0.5 and 1: the
         * sum rounds for us. */
        memcpy(&shifted, &magnitude, 4);
        shifted += 0.5f;
        memcpy(&small, &shifted, 4);
        small -= 126u << 23;
        normal = choose(magnitude < 0x38800000u, small, normal);
        normal = choose(magnitude < 0x477FF000u, normal, large); /* from 65520 on: infinity */
        half = (uint16_t)(normal | ((bits >> 16) & 0x8000u));
        memcpy(y + 2 * i, &half, 2);
    }
}

void dinm_narrow(void *y, enum dinm_dtype dtype, const float *x, size_t n)
{
    if (n == 0) {
        return;
    }
    switch (dtype) {
    case DINM_F32:
        memcpy(y, x, 4 * n);
        break;
    case DINM_F16:
        narrow_f16(y, x, n);
        break;
    case DINM_BF16:
        narrow_bf16(y, x, n);
        break;
    case DINM_OTHER:
        break;
    }
}
