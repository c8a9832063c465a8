/* io/json writing: whatever is put can be read back, and numbers are as short as they can be. */
#include "faults.h"
#include "io/json.h"
#include <math.h>

static void expect_text(const char *bytes, size_t n_bytes, const char *wanted)
{
    struct dinm_buffer b = {0};

    assert_int_equal(dinm_json_put_text(&b, bytes, n_bytes, NULL), DINM_OK);
    assert_string_equal(b.data, wanted);
    dinm_buffer_free(&b);
}

static void texts_are_escaped(void **state)
{
    (void)state;
    expect_text("", 0, "\"\"");
    expect_text(NULL, 0, "\"\"");
    expect_text("plain", 5, "\"plain\"");
    expect_text("a\"b\\c/d", 7, "\"a\\\"b\\\\c/d\"");
    expect_text("\n\r\t\b\x1f\x7f", 6, "\"\\n\\r\\t\\u0008\\u001f\x7f\"");
    expect_text("a\0b", 3, "\"a\\u0000b\"");
    expect_text("\xC3\xA9\xF0\x9F\x98\x80", 6, "\"\xC3\xA9\xF0\x9F\x98\x80\"");
    expect_text("a\xFFz", 3, "\"a\xEF\xBF\xBDz\"");
    expect_text("\xE2\x82", 2, "\"\xEF\xBF\xBD\"");
    expect_text("\xED\xA0\x80", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

/* Every byte in every neighbourhood of 2 gives strict JSON, and valid text comes back. */
static void any_bytes_give_json(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1u << 16; i++) {
        const char bytes[2] = {(char)(unsigned char)(i >> 8), (char)(unsigned char)i};
        struct dinm_error err = {0};
        struct dinm_buffer b = {0};
        cJSON *tree = NULL;

        assert_ok(dinm_json_put_text(&b, bytes, 2, &err), &err);
        assert_ok(dinm_json_parse("put", b.data, b.n_bytes, &tree, &err), &err);
        if (bytes[0] > 0 && bytes[1] > 0) {
            assert_memory_equal(tree->valuestring, bytes, 2);
        }
        cJSON_Delete(tree);
        dinm_buffer_free(&b);
    }
}

static void expect_float(float value, const char *wanted)
{
    struct dinm_buffer b = {0};

    assert_int_equal(dinm_json_put_float(&b, value, NULL), DINM_OK);
    assert_string_equal(b.data, wanted);
    dinm_buffer_free(&b);
}

static void expect_double(double value, const char *wanted)
{
    struct dinm_buffer b = {0};

    assert_int_equal(dinm_json_put_double(&b, value, NULL), DINM_OK);
    assert_string_equal(b.data, wanted);
    dinm_buffer_free(&b);
}

static void numbers_are_short(void **state)
{
    (void)state;
    expect_float(0.0f, "0");
    expect_float(-0.0f, "-0");
    expect_float(1.0f, "1");
    expect_float(0.1f, "0.1");
    expect_float(16777216.0f, "16777216");
    expect_float(1.0f / 3.0f, "0.33333334");
    expect_float(3.4028235e38f, "3.4028235e+38");
    expect_float(0x1p-149f, "1e-45");
    expect_float(NAN, "null");
    expect_float(INFINITY, "null");
    expect_float(-INFINITY, "null");
    expect_double(0.1, "0.1");
    expect_double(1.0 / 3.0, "0.3333333333333333");
    expect_double(1e300, "1e+300");
    expect_double(9007199254740993.0, "9007199254740992");
    expect_double((double)NAN, "null");
    expect_double(-(double)INFINITY, "null");
}

/* A prime step through all bit patterns; each goes out, through the parser, and back. */
static void numbers_come_back(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 20000; i++) {
        const uint32_t bits = (uint32_t)(i * 2654435761u);
        const uint64_t long_bits = i * 11400714819323198485u;
        struct dinm_error err = {0};
        struct dinm_buffer b = {0};
        cJSON *tree = NULL;
        double wide;
        float value;

        memcpy(&value, &bits, 4);
        memcpy(&wide, &long_bits, 8);
        value = isfinite(value) ? value : 0.0f;
        wide = isfinite(wide) ? wide : 0.0;
        assert_ok(dinm_buffer_append_text(&b, "[", &err), &err);
        assert_ok(dinm_json_put_float(&b, value, &err), &err);
        assert_ok(dinm_buffer_append_text(&b, ",", &err), &err);
        assert_ok(dinm_json_put_double(&b, wide, &err), &err);
        assert_ok(dinm_buffer_append_text(&b, "]", &err), &err);
        assert_ok(dinm_json_parse("put", b.data, b.n_bytes, &tree, &err), &err);
        assert_true((float)tree->child->valuedouble == value);
        assert_true(tree->child->next->valuedouble == wide);
        cJSON_Delete(tree);
        dinm_buffer_free(&b);
    }
}

static int put_some(void *context, struct dinm_error *err)
{
    struct dinm_buffer b = {0};
    int status;

    (void)context;
    for (int i = 0; i < 20; i++) {
        TRY(dinm_json_put_text(&b, "a\nb\xFF", 4, err));
        TRY(dinm_json_put_float(&b, 0.5f, err));
        TRY(dinm_json_put_double(&b, 0.25, err));
    }
out:
    dinm_buffer_free(&b);
    return status;
}

static void lack_of_memory_is_an_error(void **state)
{
    (void)state;
    fail_each_allocation(put_some, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_escaped),          cmocka_unit_test(any_bytes_give_json),
        cmocka_unit_test(numbers_are_short),          cmocka_unit_test(numbers_come_back),
        cmocka_unit_test(lack_of_memory_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
