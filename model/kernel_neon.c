/* Products on 64-bit ARM: four vectors hold the lanes of an element. */
#include "model/kernel_variants.h"

#include <arm_neon.h>
#include <sleef.h>

#define KERNEL dinm_kernel_neon
#define NAME "neon"
#define VEC float32x4_t
enum { WIDTH = 4, PARTS = LANES / WIDTH, DOT_COLS = 2, AXPY_VECS = 4 };
#define DOT_ROWS 3
#define AXPY_ROWS 6
#define vec_zero() vdupq_n_f32(0.0f)
#define vec_all(a) vdupq_n_f32(a)
#define vec_fma(a, b, c) vfmaq_f32(c, a, b)
#define vec_add(a, b) vaddq_f32(a, b)
#define vec_max(a, b) vmaxq_f32(a, b)
#define vec_exp(a) Sleef_finz_expf4_u10advsimd(a)
#define vec_erf(a) Sleef_finz_erff4_u10advsimd(a)
#define vec_tanh(a) Sleef_finz_tanhf4_u10advsimd(a)
#define vec_load(p) vld1q_f32(p)
#define vec_store(p, a) vst1q_f32(p, a)
#define load_f32(p) vld1q_f32(p)
/* The processor's own reading ahead has to do: the language has no word for it. */
#define prefetch(p) (void)(p)
#define prefetch_far(p) (void)(p)

static inline float32x4_t load_f16(const uint16_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

static inline float32x4_t load_bf16(const uint16_t *p)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}

/* a + c, b + d of four lanes. */
static inline float32x2_t add_pairs(float32x4_t a)
{
    return vadd_f32(vget_low_f32(a), vget_high_f32(a));
}

static inline void add_lanes(float *sums, float32x4_t lanes[][PARTS])
{
    for (size_t c = 0; c < DOT_COLS; c++) {
        const float32x2_t first = vpadd_f32(add_pairs(lanes[c][0]), add_pairs(lanes[c][1]));
        const float32x2_t last = vpadd_f32(add_pairs(lanes[c][2]), add_pairs(lanes[c][3]));
        const float32x2_t half = vadd_f32(first, last);

        sums[c] = vget_lane_f32(half, 0) + vget_lane_f32(half, 1);
    }
}

#include "model/kernel_tile.h"
