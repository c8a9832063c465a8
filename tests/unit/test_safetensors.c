/* io/safetensors: a file that lies about itself is refused. */
#include "support.h"
#include "io/safetensors.h"

/* A file in memory: 8-byte length, header, data; 8-byte aligned as a mapping is. */
struct image {
    unsigned char *bytes; /* owns */
    size_t n_bytes;
};

static struct image make_image(const char *header, size_t n_data)
{
    struct image image = {NULL, 8 + strlen(header) + n_data};
    const uint64_t length = strlen(header);

    image.bytes = dinm_alloc(image.n_bytes, 1, "an image", NULL);
    assert_non_null(image.bytes);
    for (size_t i = 0; i < 8; i++) {
        image.bytes[i] = (unsigned char)(length >> (8 * i));
    }
    memcpy(image.bytes + 8, header, length);
    for (size_t i = 0; i < n_data; i++) {
        image.bytes[8 + length + i] = (unsigned char)(i + 1);
    }
    return image;
}

static void expect_refused(const char *header, size_t n_data, const char *part)
{
    struct image image = make_image(header, n_data);
    struct dinm_safetensors st = {0};
    struct dinm_error err = {0};

    assert_failed(dinm_safetensors_parse(&st, "m.st", image.bytes, image.n_bytes, &err),
                  DINM_FAILED, &err, part);
    assert_true(strncmp(err.text, "m.st: ", 6) == 0);
    assert_null(st.tensors);
    assert_int_equal(st.n_tensors, 0);
    dinm_safetensors_close(&st);
    free(image.bytes);
}

static void expect_accepted(const char *header, size_t n_data, size_t n_tensors)
{
    struct image image = make_image(header, n_data);
    struct dinm_safetensors st = {0};
    struct dinm_error err = {0};

    assert_ok(dinm_safetensors_parse(&st, "m.st", image.bytes, image.n_bytes, &err), &err);
    assert_int_equal(st.n_tensors, n_tensors);
    dinm_safetensors_close(&st);
    free(image.bytes);
}

static void lies_are_refused(void **state)
{
    (void)state;
    /* The data begin behind a header of 8 n bytes only where alignment matters. */
    expect_refused("", 0, "does not begin with {");
    expect_refused(" {}", 0, "does not begin with {");
    expect_refused("[]", 0, "does not begin with {");
    expect_refused("{", 0, "a name in quotes");
    expect_refused("{}", 1, "the tensors end at byte 0 of the data, but the file holds 1");
    expect_refused("{\"a\":1}", 0, "tensor 'a': expected an object, found the number 1");
    expect_refused("{\"a\":{}}", 0, "tensor 'a': key 'dtype': expected a string, found nothing");
    expect_refused("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1,
                   "key 'shape': expected an array, found nothing");
    expect_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "key 'data_offsets'");
    expect_refused("{\"a\":{\"dtype\":\"u8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
                   "unknown dtype 'u8'");
    expect_refused("{\"a\":{\"dtype\":8,\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
                   "expected a string, found the number 8");
    expect_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1}}", 1,
                   "unknown key 'x'");
    expect_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,1]}}", 1,
                   "must hold 2 integers, found 3");
    expect_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1.5],\"data_offsets\":[0,1]}}", 1,
                   "'shape' must hold integers of at least 0, found the number 1.5");
    expect_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,1]}}", 1, "-1");
    expect_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[\"1\"],\"data_offsets\":[0,1]}}", 1,
                   "found the string");
    expect_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[9007199254740993],"
                   "\"data_offsets\":[0,1]}}",
                   1, "'shape' must hold integers");
    expect_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,0]}}", 1,
                   "data_offsets [1, 0] are not within the 1 bytes");
    expect_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 1,
                   "is it cut short?");
    expect_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,1]}}", 1,
                   "need 2 bytes, but data_offsets span 1");
    expect_refused("{\"a\":{\"dtype\":\"F16\",\"shape\":[2,0],\"data_offsets\":[0,2]}}", 2,
                   "need 0 bytes, but data_offsets span 2");
    expect_refused("{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2,
                   "do not fill whole bytes");
    expect_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],"
                   "\"data_offsets\":[0,1]}}",
                   1, "9 dimensions, more than the 8");
    expect_refused("{\"__metadata__\":[]}", 0, "'__metadata__' must be an object");
    expect_refused("{\"__metadata__\":null}", 0, "'__metadata__' must be an object, found null");
    expect_refused("{\"__metadata__\":{\"k\":1}}", 0, "must hold strings, but 'k' is the number 1");
}

static void overflowing_shapes_are_refused(void **state)
{
    (void)state;
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],"
                   "\"data_offsets\":[0,0]}}",
                   0, "more elements than can be counted");
    /* 2^31 * 2^31 * 4 bytes wrap to 0 in 64 bits. */
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2147483648,2147483648,1],"
                   "\"data_offsets\":[0,0]}}",
                   0, "more elements than can be counted");
    expect_refused("{\"a\":{\"dtype\":\"F64\",\"shape\":[4503599627370496,1024,0],"
                   "\"data_offsets\":[0,0]}}",
                   0, "more elements than can be counted");
}

#define TENSOR(name, shape, begin, end)                                                            \
    "\"" name "\":{\"dtype\":\"U8\",\"shape\":[" shape "],\"data_offsets\":[" begin "," end "]}"

static void ranges_tile_the_data(void **state)
{
    (void)state;
    expect_accepted("{" TENSOR("a", "2", "0", "2") "," TENSOR("b", "3", "2", "5") "}", 5, 2);
    expect_accepted("{" TENSOR("a", "2", "3", "5") "," TENSOR("b", "3", "0", "3") "}", 5, 2);
    expect_accepted("{" TENSOR("e", "0", "2", "2") "," TENSOR("a", "2", "0", "2") "," TENSOR(
                        "f", "0,9", "0", "0") "," TENSOR("b", "3", "2", "5") "}",
                    5, 4);
    expect_accepted("{}", 0, 0);
    expect_accepted("{}     ", 0, 0);
    expect_accepted("{\"__metadata__\":{}," TENSOR("s", "", "0", "1") "}", 1, 1);
    expect_refused("{" TENSOR("a", "2", "0", "2") "," TENSOR("b", "3", "3", "6") "}", 6,
                   "tensor 'b' begins at byte 3 of the data, but the one before it ends at 2");
    expect_refused("{" TENSOR("a", "3", "0", "3") "," TENSOR("b", "3", "2", "5") "}", 5,
                   "tensor 'b' begins at byte 2");
    expect_refused("{" TENSOR("a", "2", "0", "2") "," TENSOR("b", "2", "0", "2") "}", 2,
                   "begins at byte 0");
    expect_refused("{" TENSOR("a", "2", "1", "3") "}", 3, "tensor 'a' begins at byte 1");
    expect_refused("{" TENSOR("a", "2", "0", "2") "}", 3,
                   "end at byte 2 of the data, but the file");
    expect_refused("{" TENSOR("a", "2", "0", "2") "," TENSOR("e", "0", "1", "1") "}", 2,
                   "tensor 'e' begins at byte 1");
    expect_refused("{" TENSOR("a", "1", "0", "1") "," TENSOR("a", "1", "1", "2") "}", 2,
                   "the name 'a' appears a second time");
}

/* A float that begins at an odd place would be read byte by byte, or not at all. */
static void misaligned_floats_are_refused(void **state)
{
    (void)state;
    expect_accepted("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}  ", 4, 1);
    expect_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
                   "not a multiple of its elements' size");
    expect_refused("{\"a\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2,
                   "not a multiple of its elements' size");
    expect_accepted("{\"a\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, 1);
}

static void wrong_lengths_are_refused(void **state)
{
    static const struct {
        unsigned char bytes[10];
        size_t n_bytes;
        const char *part;
    } rows[] = {
        {{0}, 0, "has at least 8 bytes, this one has 0"},
        {{2}, 7, "has at least 8 bytes, this one has 7"},
        {{0}, 8, "does not begin with {"},
        {{3, 0, 0, 0, 0, 0, 0, 0, '{', '}'}, 10, "its header has 3 bytes, but only 2 follow"},
        {{0xFF, 0xE0, 0xF5, 5, 0, 0, 0, 0, '{', '}'}, 10, "its header has 99999999 bytes"},
        {{1, 0xE1, 0xF5, 5, 0, 0, 0, 0, '{', '}'}, 10, "would have 100000001 bytes"},
        {{2, 0, 0, 0, 0, 0, 0, 0x80, '{', '}'}, 10, "would have 9223372036854775810 bytes"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct dinm_safetensors st = {0};
        struct dinm_error err = {0};

        assert_failed(dinm_safetensors_parse(&st, "m.st", rows[i].bytes, rows[i].n_bytes, &err),
                      DINM_FAILED, &err, rows[i].part);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lies_are_refused),
        cmocka_unit_test(overflowing_shapes_are_refused),
        cmocka_unit_test(ranges_tile_the_data),
        cmocka_unit_test(misaligned_floats_are_refused),
        cmocka_unit_test(wrong_lengths_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
