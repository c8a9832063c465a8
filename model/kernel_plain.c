/* Products in plain C: what the other variants are held against, and what other processors use. */
#include "model/kernel_variants.h"

/* sleef.h declares what needs fused multiply-add to those only who compile for it; here it is asked
 * for at run time. */
#include <math.h>
#ifndef FP_FAST_FMA
#define FP_FAST_FMA 1
#endif
#include <sleef.h>

#define KERNEL dinm_kernel_plain
#define NAME "plain"
#define VEC float
enum { WIDTH = 1, PARTS = LANES, DOT_COLS = 1, AXPY_VECS = 8 };
#define DOT_ROWS 1
#define AXPY_ROWS 1
#define vec_zero() 0.0f
#define vec_all(a) (a)
#define vec_fma(a, b, c) fmaf(a, b, c)
#define vec_add(a, b) ((a) + (b))
#define vec_max(a, b) ((a) > (b) ? (a) : (b))
#define vec_exp(a) (has_fma() ? Sleef_finz_expf1_u10purecfma(a) : Sleef_cinz_expf1_u10purec(a))
#define vec_erf(a) (has_fma() ? Sleef_finz_erff1_u10purecfma(a) : Sleef_cinz_erff1_u10purec(a))
#define vec_tanh(a) (has_fma() ? Sleef_finz_tanhf1_u10purecfma(a) : Sleef_cinz_tanhf1_u10purec(a))
#define vec_load(p) (*(p))
#define vec_store(p, a) (*(p) = (a))
#define load_f32(p) (*(p))
#define load_f16(p) widened(p, DINM_F16)
#define load_bf16(p) widened(p, DINM_BF16)
#define prefetch(p) (void)(p)
#define prefetch_far(p) (void)(p)

/* Whether SLEEF's scalar functions with fused multiply-add run here. */
static bool has_fma(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("fma") != 0;
#else
    return true;
#endif
}

static float widened(const void *from, enum dinm_dtype dtype)
{
    float x;

    dinm_widen(&x, from, dtype, 1);
    return x;
}

/* (a + c) + (b + d) of each four lanes, then of the four sums. */
static void add_lanes(float *sums, float lanes[][LANES])
{
    float four[4];

    for (size_t i = 0; i < 4; i++) {
        const float *q = lanes[0] + 4 * i;

        four[i] = (q[0] + q[2]) + (q[1] + q[3]);
    }
    sums[0] = (four[0] + four[2]) + (four[1] + four[3]);
}

#include "model/kernel_tile.h"
