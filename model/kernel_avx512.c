/* Products with AVX-512: a vector holds all lanes of an element. */
#include "model/kernel_variants.h"

#include <immintrin.h>
#include <sleef.h>

#define KERNEL dinm_kernel_avx512
#define NAME "avx512"
#define VEC __m512
enum { WIDTH = 16, PARTS = LANES / WIDTH, DOT_COLS = 4, AXPY_VECS = 4 };
#define DOT_ROWS 6
#define AXPY_ROWS 6
#define vec_zero() _mm512_setzero_ps()
#define vec_all(a) _mm512_set1_ps(a)
#define vec_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define vec_add(a, b) _mm512_add_ps(a, b)
#define vec_max(a, b) _mm512_max_ps(a, b)
#define vec_exp(a) Sleef_finz_expf16_u10avx512f(a)
#define vec_erf(a) Sleef_finz_erff16_u10avx512f(a)
#define vec_tanh(a) Sleef_finz_tanhf16_u10avx512f(a)
#define vec_load(p) _mm512_loadu_ps(p)
#define vec_store(p, a) _mm512_storeu_ps(p, a)
#define load_f32(p) _mm512_loadu_ps(p)
#define prefetch(p) _mm_prefetch((const char *)(p), _MM_HINT_T0)
#define prefetch_far(p) _mm_prefetch((const char *)(p), _MM_HINT_T1)

static inline __m512 load_f16(const void *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}

static inline __m512 load_bf16(const void *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16));
}

/* a0 + a2, b0 + b2, a1 + a3, b1 + b3 of each four lanes. */
static inline __m512 add_pairs(__m512 a, __m512 b)
{
    return _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
}

/* Four elements at once: each four lanes end as the four elements' sums of four lanes. */
static inline void add_lanes(float *sums, __m512 lanes[][PARTS])
{
    const __m512d ab = _mm512_castps_pd(add_pairs(lanes[0][0], lanes[1][0]));
    const __m512d cd = _mm512_castps_pd(add_pairs(lanes[2][0], lanes[3][0]));
    const __m512 fours = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
                                       _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(fours), 1));
    const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(fours), high);

    _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}

#include "model/kernel_tile.h"
