/* io/utf8: every sequence of up to 3 bytes and the corners of 4 against the definition. */
#include "support.h"
#include "io/utf8.h"

/* The character that n bytes encode by the formula alone; -1 unless it is the shortest form of a
 * character that exists. */
static int64_t decode(const unsigned char *p, size_t n)
{
    static const int64_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    static const unsigned lead[] = {0, 0x00, 0xC0, 0xE0, 0xF0};
    static const unsigned lead_mask[] = {0, 0x80, 0xE0, 0xF0, 0xF8};
    int64_t c = p[0] & ~lead_mask[n];

    if ((p[0] & lead_mask[n]) != lead[n]) {
        return -1;
    }
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return -1;
        }
        c = c * 64 + (p[i] & 0x3F);
    }
    return c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF) ? -1 : c;
}

static void check(const unsigned char *p, size_t n_bytes)
{
    bool valid = false;
    const size_t step = dinm_utf8_step((const char *)p, n_bytes, &valid);
    size_t wanted = 0;

    for (size_t n = 1; n <= n_bytes && n <= 4; n++) {
        wanted = decode(p, n) >= 0 ? n : wanted;
    }
    if (valid != (wanted > 0) || (valid && step != wanted) || step < 1 || step > n_bytes) {
        fail_msg("%02x %02x %02x %02x of %zu: valid %d, step %zu, wanted %zu", p[0], p[1], p[2],
                 p[3], n_bytes, valid, step, wanted);
    }
}

static void every_short_sequence(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1u << 24; i++) {
        const unsigned char p[4] = {(unsigned char)(i >> 16), (unsigned char)(i >> 8),
                                    (unsigned char)i, 0};

        check(p, 3);
        if ((i & 0xFFFF) == 0) {
            check(p, 1);
        }
        if ((i & 0xFF) == 0) {
            check(p, 2);
        }
    }
}

static void corners_of_four(void **state)
{
    static const unsigned char second[] = {0x7F, 0x80, 0x8F, 0x90, 0xBF, 0xC0};
    static const unsigned char later[] = {0x00, 0x7F, 0x80, 0xBF, 0xC0, 0xFF};

    (void)state;
    for (unsigned first = 0xE0; first <= 0xFF; first++) {
        for (size_t i = 0; i < 6; i++) {
            for (size_t k = 0; k < 36; k++) {
                const unsigned char p[4] = {(unsigned char)first, second[i], later[k / 6],
                                            later[k % 6]};

                check(p, 4);
            }
        }
    }
}

static void characters_come_back(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x10FFFF; c++) {
        char bytes[4];
        size_t n;

        if (c == 0xD800) {
            c = 0xE000;
        }
        n = dinm_utf8_put(bytes, c);
        assert_int_equal(decode((const unsigned char *)bytes, n), c);
    }
}

/* One U+FFFD per longest beginning of a character (Unicode 15, table 3-8). */
static void broken_parts_have_their_length(void **state)
{
    static const char bytes[] = "\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64";
    static const size_t wanted[] = {1, 3, 2, 1, 1, 1, 1, 1, 1, 1};
    size_t at = 0;

    (void)state;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        bool valid;
        const size_t step = dinm_utf8_step(bytes + at, sizeof bytes - 1 - at, &valid);

        assert_int_equal(step, wanted[i]);
        at += step;
    }
    assert_int_equal(at, sizeof bytes - 1);
}

static void line_is_cut_before_an_unfinished_character(void **state)
{
    char cut[] = "ab\xF0\x9F\x98";
    char whole[] = "ab\xE0\xA4\xA4";
    char broken[] = "\xF0\x9F"
                    "c\xED\xA0\x80";

    (void)state;
    dinm_utf8_make_line(cut);
    assert_string_equal(cut, "ab");
    dinm_utf8_make_line(whole);
    assert_string_equal(whole, "ab\xE0\xA4\xA4");
    dinm_utf8_make_line(broken);
    assert_string_equal(broken, "?c???");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_short_sequence),
        cmocka_unit_test(corners_of_four),
        cmocka_unit_test(characters_come_back),
        cmocka_unit_test(broken_parts_have_their_length),
        cmocka_unit_test(line_is_cut_before_an_unfinished_character),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
