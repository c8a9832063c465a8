/* Products with AVX2, FMA and F16C: two vectors hold the lanes of an element. */
#include "model/kernel_variants.h"

#include <immintrin.h>
#include <sleef.h>

#define KERNEL dinm_kernel_avx2
#define NAME "avx2"
#define VEC __m256
enum { WIDTH = 8, PARTS = LANES / WIDTH, DOT_COLS = 2, AXPY_VECS = 2 };
#define DOT_ROWS 3
#define AXPY_ROWS 6
#define vec_zero() _mm256_setzero_ps()
#define vec_all(a) _mm256_set1_ps(a)
#define vec_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define vec_add(a, b) _mm256_add_ps(a, b)
#define vec_max(a, b) _mm256_max_ps(a, b)
#define vec_exp(a) Sleef_finz_expf8_u10avx2(a)
#define vec_erf(a) Sleef_finz_erff8_u10avx2(a)
#define vec_tanh(a) Sleef_finz_tanhf8_u10avx2(a)
#define vec_load(p) _mm256_loadu_ps(p)
#define vec_store(p, a) _mm256_storeu_ps(p, a)
#define load_f32(p) _mm256_loadu_ps(p)
#define prefetch(p) _mm_prefetch((const char *)(p), _MM_HINT_T0)
#define prefetch_far(p) _mm_prefetch((const char *)(p), _MM_HINT_T1)

static inline __m256 load_f16(const void *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128(p));
}

static inline __m256 load_bf16(const void *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16));
}

/* Each four lanes end as the sums of four lanes of a, of b, and the same two again. */
static inline __m256 add_fours(__m256 a, __m256 b)
{
    const __m256 pairs = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));

    return _mm256_add_ps(pairs, _mm256_permute_ps(pairs, _MM_SHUFFLE(1, 0, 3, 2)));
}

static inline void add_lanes(float *sums, __m256 lanes[][PARTS])
{
    const __m256 half =
        _mm256_add_ps(add_fours(lanes[0][0], lanes[1][0]), add_fours(lanes[0][1], lanes[1][1]));
    float both[4];

    _mm_storeu_ps(both, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
    sums[0] = both[0];
    sums[1] = both[1];
}

#include "model/kernel_tile.h"
