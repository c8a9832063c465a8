/* io/dtype: against the definition of the formats in float64. */
#include "support.h"
#include "io/dtype.h"
#include <math.h>

enum { N = 65536, N_EXPONENT_BITS_F16 = 5, N_EXPONENT_BITS_BF16 = 8 };

static uint32_t bits_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, 4);
    return bits;
}

static float float_of(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, 4);
    return x;
}

/* The value of 16 bits: sign, exponent, fraction; the largest exponent is infinity or NaN. */
static double value_of(uint16_t half, int n_exponent_bits)
{
    const int n_fraction_bits = 15 - n_exponent_bits;
    const int largest = (1 << n_exponent_bits) - 1;
    const int bias = largest / 2;
    const int exponent = (half >> n_fraction_bits) & largest;
    const int fraction = half & ((1 << n_fraction_bits) - 1);
    double value;

    if (exponent == largest) {
        value = fraction == 0 ? (double)INFINITY : (double)NAN;
    } else if (exponent == 0) {
        value = ldexp(fraction, 1 - bias - n_fraction_bits);
    } else {
        value = ldexp(fraction + (1 << n_fraction_bits), exponent - bias - n_fraction_bits);
    }
    return half & 0x8000 ? -value : value;
}

/* x rounded to a format of that many exponent bits, ties to even. */
static double rounded(double x, int n_exponent_bits)
{
    const int n_fraction_bits = 15 - n_exponent_bits;
    const int bias = (1 << (n_exponent_bits - 1)) - 1;
    const double limit = ldexp(2.0 - ldexp(1.0, -n_fraction_bits), bias);
    int exponent = 0;
    double unit;
    double y;

    if (isinf(x) || isnan(x) || x == 0.0) {
        return x;
    }
    frexp(x, &exponent); /* |x| = m * 2^exponent, 0.5 <= m < 1 */
    exponent = exponent - 1 < 1 - bias ? 1 - bias : exponent - 1;
    unit = ldexp(1.0, exponent - n_fraction_bits);
    y = nearbyint(x / unit) * unit;
    return fabs(y) > limit ? copysign((double)INFINITY, x) : y;
}

static void check_widen(enum dinm_dtype dtype, int n_exponent_bits)
{
    static uint16_t halves[N];
    static float y[N];

    for (size_t i = 0; i < N; i++) {
        halves[i] = (uint16_t)i;
    }
    dinm_widen(y, halves, dtype, N);
    for (size_t i = 0; i < N; i++) {
        const double wanted = value_of(halves[i], n_exponent_bits);

        if (isnan(wanted) ? !isnan(y[i]) : (double)y[i] != wanted) {
            fail_msg("%04zx: %g instead of %g", i, (double)y[i], wanted);
        }
        assert_int_equal(bits_of(y[i]) >> 31, i >> 15);
    }
}

static void widening_is_exact(void **state)
{
    (void)state;
    check_widen(DINM_F16, N_EXPONENT_BITS_F16);
    check_widen(DINM_BF16, N_EXPONENT_BITS_BF16);
}

static void check_narrow(enum dinm_dtype dtype, int n_exponent_bits, const float *x, size_t n)
{
    static uint16_t halves[N];

    dinm_narrow(halves, dtype, x, n);
    for (size_t i = 0; i < n; i++) {
        const double wanted = rounded((double)x[i], n_exponent_bits);
        const double found = value_of(halves[i], n_exponent_bits);

        if (isnan(wanted) ? !isnan(found) : found != wanted) {
            fail_msg("%a (%08x): %a instead of %a", (double)x[i], bits_of(x[i]), found, wanted);
        }
        assert_int_equal(halves[i] >> 15, bits_of(x[i]) >> 31);
    }
}

/* A prime step through all float32 patterns. */
static void narrowing_rounds_to_nearest(void **state)
{
    static float x[N];
    uint64_t bits = 0;

    (void)state;
    while (bits < (uint64_t)1 << 32) {
        size_t n = 0;

        for (; n < N && bits < (uint64_t)1 << 32; n++, bits += 1499) {
            x[n] = float_of((uint32_t)bits);
        }
        check_narrow(DINM_F16, N_EXPONENT_BITS_F16, x, n);
        check_narrow(DINM_BF16, N_EXPONENT_BITS_BF16, x, n);
    }
}

/* Every value of 16 bits, the middle to its neighbour, and the floats around both. */
static void narrowing_rounds_ties_to_even(void **state)
{
    static const struct {
        enum dinm_dtype dtype;
        int n_exponent_bits;
    } formats[] = {{DINM_F16, N_EXPONENT_BITS_F16}, {DINM_BF16, N_EXPONENT_BITS_BF16}};

    (void)state;
    for (size_t f = 0; f < 2; f++) {
        for (uint32_t i = 0; i < N - 1; i++) {
            const double a = value_of((uint16_t)i, formats[f].n_exponent_bits);
            const double b = value_of((uint16_t)(i + 1), formats[f].n_exponent_bits);
            const float value = (float)a;
            const float middle = isinf(b) ? (float)a : (float)(a + (b - a) / 2);
            const float x[6] = {
                value,  nextafterf(value, INFINITY),  nextafterf(value, -INFINITY),
                middle, nextafterf(middle, INFINITY), nextafterf(middle, -INFINITY)};

            check_narrow(formats[f].dtype, formats[f].n_exponent_bits, x, isnan(a) ? 1 : 6);
        }
    }
}

static void border_to_infinity(void **state)
{
    const float x[4] = {65504.0f, 65519.996f, 65520.0f, -65520.0f};
    const float largest[2] = {float_of(0x7F7F7FFF), float_of(0x7F7F8000)};
    uint16_t y[4];

    (void)state;
    dinm_narrow(y, DINM_F16, x, 4);
    assert_int_equal(y[0], 0x7BFF);
    assert_int_equal(y[1], 0x7BFF);
    assert_int_equal(y[2], 0x7C00);
    assert_int_equal(y[3], 0xFC00);
    dinm_narrow(y, DINM_BF16, largest, 2);
    assert_int_equal(y[0], 0x7F7F);
    assert_int_equal(y[1], 0x7F80);
}

static void nan_stays_nan(void **state)
{
    /* A NaN whose upper fraction bits are all zero must not become infinity. */
    const float x[2] = {float_of(0x7F800001), float_of(0xFF800001)};
    uint16_t y[2];

    (void)state;
    dinm_narrow(y, DINM_F16, x, 2);
    assert_true((y[0] & 0x7FFF) > 0x7C00 && (y[1] & 0x7FFF) > 0x7C00);
    dinm_narrow(y, DINM_BF16, x, 2);
    assert_true((y[0] & 0x7FFF) > 0x7F80 && (y[1] & 0x7FFF) > 0x7F80);
}

/* All lengths around the width of a vector, at odd addresses, with guards behind the end. */
static void every_length_and_alignment(void **state)
{
    unsigned char stored[2 * 40 + 2];
    float wide[41];

    (void)state;
    for (size_t n = 0; n <= 40; n++) {
        for (size_t shift = 0; shift < 2; shift++) {
            float x[40];

            for (size_t i = 0; i < n; i++) {
                x[i] = (float)i - 7.5f;
            }
            memset(stored, 0xAB, sizeof stored);
            dinm_narrow(stored + shift, DINM_BF16, x, n);
            assert_int_equal(stored[shift + 2 * n], 0xAB);
            wide[n] = 99.0f;
            dinm_widen(wide, stored + shift, DINM_BF16, n);
            assert_true(n == 0 || memcmp(wide, x, 4 * n) == 0);
            assert_true(wide[n] == 99.0f);
            dinm_narrow(stored + shift, DINM_F16, x, n);
            dinm_widen(wide, stored + shift, DINM_F16, n);
            assert_true(n == 0 || memcmp(wide, x, 4 * n) == 0);
            assert_true(wide[n] == 99.0f);
        }
    }
}

static void float32_is_copied(void **state)
{
    const float x[3] = {1.0f, float_of(0x7FC12345), -0.0f};
    float y[3];
    float z[3];

    (void)state;
    dinm_narrow(y, DINM_F32, x, 3);
    dinm_widen(z, y, DINM_F32, 3);
    assert_memory_equal(x, z, sizeof x);
}

static void names_and_sizes(void **state)
{
    (void)state;
    assert_int_equal(dinm_dtype_size(DINM_F32), 4);
    assert_int_equal(dinm_dtype_size(DINM_F16), 2);
    assert_int_equal(dinm_dtype_size(DINM_BF16), 2);
    assert_int_equal(dinm_dtype_size(DINM_OTHER), 0);
    assert_string_equal(dinm_dtype_name(DINM_F32), "F32");
    assert_string_equal(dinm_dtype_name(DINM_F16), "F16");
    assert_string_equal(dinm_dtype_name(DINM_BF16), "BF16");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(widening_is_exact),
        cmocka_unit_test(narrowing_rounds_to_nearest),
        cmocka_unit_test(narrowing_rounds_ties_to_even),
        cmocka_unit_test(border_to_infinity),
        cmocka_unit_test(nan_stays_nan),
        cmocka_unit_test(every_length_and_alignment),
        cmocka_unit_test(float32_is_copied),
        cmocka_unit_test(names_and_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
