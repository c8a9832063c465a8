/* io/safetensors: what is written is read; cut short or with a bit flipped it is not. */
#include "faults.h"
#include "io/safetensors.h"

/* A file in memory, aligned as a mapping is. */
struct image {
    unsigned char *bytes; /* owns */
    size_t n_bytes;
};

static const float f32_data[6] = {1, 2, 3, 4, 5, 6};
static const uint16_t bf16_data[3] = {0x3F80, 0x4000, 0x4040};
static const unsigned char u8_data[1] = {7};
static const int64_t i64_data[1] = {-1};

static const struct dinm_tensor samples[] = {
    {"u8", "U8", DINM_OTHER, 1, {1}, u8_data, 1},
    {"z.\"name\"\xC3\xA9", NULL, DINM_BF16, 2, {3, 1}, bf16_data, 6},
    {"empty", "F16", DINM_F16, 2, {0, 4}, NULL, 0},
    {"f32", NULL, DINM_F32, 2, {2, 3}, f32_data, 24},
    {"i64", "I64", DINM_OTHER, 0, {0}, i64_data, 8},
};
enum { N_SAMPLES = sizeof samples / sizeof *samples };
static const char *const sample_metadata[] = {"format", "pt", "note", "a \"b\"", NULL};

static void expect_samples(const struct dinm_safetensors *st)
{
    assert_int_equal(st->n_tensors, N_SAMPLES);
    for (size_t i = 0; i < N_SAMPLES; i++) {
        const struct dinm_tensor *t = dinm_safetensors_find(st, samples[i].name);

        assert_non_null(t);
        assert_true(i == 0 || strcmp(st->tensors[i - 1].name, st->tensors[i].name) < 0);
        assert_int_equal(t->dtype, samples[i].dtype);
        assert_string_equal(t->dtype_name, samples[i].dtype_name != NULL
                                               ? samples[i].dtype_name
                                               : dinm_dtype_name(samples[i].dtype));
        assert_int_equal(t->n_dims, samples[i].n_dims);
        assert_memory_equal(t->shape, samples[i].shape, sizeof t->shape);
        assert_int_equal(t->n_bytes, samples[i].n_bytes);
        assert_true((t->data == NULL) == (samples[i].data == NULL));
        assert_true(t->data == NULL || memcmp(t->data, samples[i].data, t->n_bytes) == 0);
    }
    assert_null(dinm_safetensors_find(st, "absent"));
}

static struct image read_image(const char *path)
{
    struct dinm_buffer b = {0};
    struct image image;

    assert_int_equal(dinm_file_read(path, &b, NULL), DINM_OK);
    image.n_bytes = b.n_bytes;
    image.bytes = dinm_alloc(b.n_bytes, 1, "an image", NULL);
    memcpy(image.bytes, b.data, b.n_bytes);
    dinm_buffer_free(&b);
    return image;
}

static void what_is_written_is_read(void **state)
{
    char *folder = new_folder();
    char *path = dinm_path_join(folder, "a", NULL);
    struct dinm_safetensors st = {0};
    struct dinm_error err = {0};
    struct image first;
    struct image second;

    (void)state;
    assert_ok(dinm_safetensors_write(path, samples, N_SAMPLES, sample_metadata, &err), &err);
    first = read_image(path);
    assert_int_equal(first.bytes[0] % 8, 0);
    assert_ok(dinm_safetensors_open(&st, path, &err), &err);
    expect_samples(&st);
    dinm_safetensors_close(&st);
    dinm_safetensors_close(&st);
    dinm_safetensors_close(NULL);
    assert_ok(dinm_safetensors_write(path, samples, N_SAMPLES, sample_metadata, &err), &err);
    second = read_image(path);
    assert_int_equal(first.n_bytes, second.n_bytes);
    assert_memory_equal(first.bytes, second.bytes, first.n_bytes);
    assert_ok(dinm_safetensors_write(path, NULL, 0, NULL, &err), &err);
    assert_ok(dinm_safetensors_open(&st, path, &err), &err);
    assert_int_equal(st.n_tensors, 0);
    assert_null(dinm_safetensors_find(&st, "absent"));
    dinm_safetensors_close(&st);
    free(first.bytes);
    free(second.bytes);
    free(path);
    remove_folder(folder);
}

static void what_cannot_be_read_is_not_written(void **state)
{
    static const struct dinm_tensor wrong[][2] = {
        {{"a", "U8", DINM_OTHER, 1, {1}, u8_data, 1}, {"a", "U8", DINM_OTHER, 1, {1}, u8_data, 1}},
        {{"a", "U8", DINM_OTHER, 1, {2}, u8_data, 1}, {"b", "U8", DINM_OTHER, 1, {1}, u8_data, 1}},
        {{"a", "U7", DINM_OTHER, 1, {1}, u8_data, 1}, {"b", "U8", DINM_OTHER, 1, {1}, u8_data, 1}},
        {{"a", NULL, DINM_OTHER, 1, {1}, u8_data, 1}, {"b", "U8", DINM_OTHER, 1, {1}, u8_data, 1}},
        {{"a", "F16", DINM_BF16, 1, {3}, bf16_data, 6},
         {"b", "U8", DINM_OTHER, 1, {1}, u8_data, 1}},
        {{"\xFF", "U8", DINM_OTHER, 1, {1}, u8_data, 1},
         {"b", "U8", DINM_OTHER, 1, {1}, u8_data, 1}},
        {{"__metadata__", "U8", DINM_OTHER, 1, {1}, u8_data, 1},
         {"b", "U8", DINM_OTHER, 1, {1}, u8_data, 1}},
        {{"a", "U8", DINM_OTHER, 9, {1}, u8_data, 1}, {"b", "U8", DINM_OTHER, 1, {1}, u8_data, 1}},
        {{"a", "U8", DINM_OTHER, 2, {-1, -1}, u8_data, 1},
         {"b", "U8", DINM_OTHER, 1, {1}, u8_data, 1}},
    };
    static const char *const parts[] = {
        "appears a second time", "needs 2 bytes",      "no dtype",     "no dtype", "no dtype",
        "cannot be the name",    "cannot be the name", "9 dimensions", "negative"};
    char *folder = new_folder();
    char *path = dinm_path_join(folder, "a", NULL);

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct dinm_error err = {0};

        assert_failed(dinm_safetensors_write(path, wrong[i], 2, NULL, &err), DINM_FAILED, &err,
                      parts[i]);
    }
    assert_int_equal(count_names(folder), 0);
    free(path);
    remove_folder(folder);
}

static void every_truncation_is_refused(void **state)
{
    char *folder = new_folder();
    char *path = dinm_path_join(folder, "a", NULL);
    struct dinm_error written = {0};
    struct image image;

    (void)state;
    assert_ok(dinm_safetensors_write(path, samples, N_SAMPLES, sample_metadata, &written),
              &written);
    image = read_image(path);
    for (size_t n = 0; n < image.n_bytes; n++) {
        struct dinm_safetensors st = {0};
        struct dinm_error err = {0};
        unsigned char *part = malloc(n > 0 ? n : 1); /* of that very size, for the sanitizer */

        memcpy(part, image.bytes, n);
        assert_failed(dinm_safetensors_parse(&st, "part", part, n, &err), DINM_FAILED, &err,
                      "part");
        free(part);
    }
    free(image.bytes);
    free(path);
    remove_folder(folder);
}

/* The same tensors but for at most one name. */
static bool is_same_but_a_name(const struct dinm_safetensors *a, const struct dinm_safetensors *b)
{
    size_t n_equal = 0;
    size_t n_renamed = 0;

    for (size_t i = 0; i < b->n_tensors; i++) {
        const struct dinm_tensor *y = &b->tensors[i];
        const struct dinm_tensor *x = dinm_safetensors_find(a, y->name);

        for (size_t k = 0; x == NULL && k < a->n_tensors; k++) {
            if (a->tensors[k].data == y->data) {
                x = &a->tensors[k];
                n_renamed++;
            }
        }
        n_equal += x != NULL && x->data == y->data && x->n_bytes == y->n_bytes &&
                   x->n_dims == y->n_dims && strcmp(x->dtype_name, y->dtype_name) == 0 &&
                   (x->n_bytes == 0 || memcmp(x->shape, y->shape, sizeof x->shape) == 0);
    }
    return a->n_tensors == b->n_tensors && n_equal == a->n_tensors && n_renamed <= 1;
}

/* A flipped bit is found, or hits a name, the metadata, or the shape of a tensor without bytes,
 * which nothing in the format protects. */
static void every_flipped_bit_is_refused_or_harmless(void **state)
{
    char *folder = new_folder();
    char *path = dinm_path_join(folder, "a", NULL);
    struct dinm_safetensors whole = {0};
    struct dinm_error err = {0};
    struct image image;
    size_t n_header = 8;
    size_t n_refused = 0;

    (void)state;
    assert_ok(dinm_safetensors_write(path, samples, N_SAMPLES, sample_metadata, &err), &err);
    image = read_image(path);
    assert_ok(dinm_safetensors_parse(&whole, "whole", image.bytes, image.n_bytes, &err), &err);
    n_header += image.bytes[0] + 256u * image.bytes[1];
    assert_true(n_header > 300 && n_header < image.n_bytes);
    for (size_t bit = 0; bit < 8 * n_header; bit++) {
        struct dinm_safetensors st = {0};
        struct dinm_error refused = {0};

        image.bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        if (dinm_safetensors_parse(&st, "flip", image.bytes, image.n_bytes, &refused) < 0) {
            n_refused++;
        } else if (!is_same_but_a_name(&whole, &st)) {
            fail_msg("bit %zu: accepted with another meaning: %.*s", bit, (int)n_header - 8,
                     (const char *)image.bytes + 8);
        }
        dinm_safetensors_close(&st);
        image.bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    assert_true(n_refused > 8 * n_header / 2);
    dinm_safetensors_close(&whole);
    free(image.bytes);
    free(path);
    remove_folder(folder);
}

static int write_and_open(void *context, struct dinm_error *err)
{
    struct dinm_safetensors st = {0};
    int status;

    TRY(dinm_safetensors_write(context, samples, N_SAMPLES, sample_metadata, err));
    TRY(dinm_safetensors_open(&st, context, err));
    assert_int_equal(st.n_tensors, N_SAMPLES);
out:
    dinm_safetensors_close(&st);
    return status;
}

static void lack_of_memory_is_an_error(void **state)
{
    char *folder = new_folder();
    char *path = dinm_path_join(folder, "a", NULL);

    (void)state;
    fault_cjson();
    fail_each_allocation(write_and_open, path);
    assert_int_equal(count_names(folder), 1);
    free(path);
    remove_folder(folder);
}

static void failing_calls_leave_the_old_file(void **state)
{
    char *folder = new_folder();
    char *path = write_text(folder, "a", "old");
    bool hit = true;
    size_t n_failed = 0;

    (void)state;
    for (size_t nth = 1; hit; nth++) {
        struct dinm_error err = {0};
        int status;

        fault_set(FAULT_SYSTEM, nth);
        status = dinm_safetensors_write(path, samples, N_SAMPLES, NULL, &err);
        hit = fault_end();
        n_failed += status < 0;
        assert_int_equal(count_names(folder), 1);
    }
    assert_true(n_failed >= 8);
    free(path);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(what_cannot_be_read_is_not_written),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_flipped_bit_is_refused_or_harmless),
        cmocka_unit_test(lack_of_memory_is_an_error),
        cmocka_unit_test(failing_calls_leave_the_old_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
