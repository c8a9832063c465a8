/* io/mem: sizes cannot overflow, growth keeps what is there, and no memory is an error. */
#include "faults.h"

static void block_is_zeroed_and_aligned(void **state)
{
    static const size_t counts[] = {0, 1, 3, 64, 1000};

    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct dinm_error err = {0};
        unsigned char *p = dinm_alloc(counts[i], 7, "a test", &err);

        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        for (size_t k = 0; k < 7 * counts[i]; k++) {
            assert_int_equal(p[k], 0);
        }
        memset(p, 0xAA, 7 * counts[i]); /* so that the next block of this size is dirty */
        free(p);
    }
}

static void impossible_sizes_are_refused(void **state)
{
    static const size_t sizes[][2] = {{SIZE_MAX, 1},
                                      {SIZE_MAX, 2},
                                      {SIZE_MAX / 2 + 1, 2},
                                      {(size_t)1 << 32, (size_t)1 << 32},
                                      {(size_t)PTRDIFF_MAX + 1, 1}};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct dinm_error err = {0};
        size_t capacity = 0;
        void *items = NULL;

        assert_null(dinm_alloc(sizes[i][0], sizes[i][1], "the impossible", &err));
        assert_failed(err.status, DINM_FAILED, &err, "not enough memory for the impossible");
        assert_int_equal(dinm_grow(&items, &capacity, sizes[i][0], sizes[i][1], "it", NULL),
                         DINM_FAILED);
        assert_null(items);
        assert_int_equal(capacity, 0);
    }
}

static void growth_keeps_and_zeroes(void **state)
{
    size_t capacity = 0;
    size_t n_moves = 0;
    void *items = NULL;

    (void)state;
    for (size_t n = 1; n <= 10000; n++) {
        const size_t before = capacity;

        assert_int_equal(dinm_grow(&items, &capacity, n, sizeof(uint32_t), "numbers", NULL),
                         DINM_OK);
        assert_true(capacity >= n);
        n_moves += capacity != before;
        for (size_t i = before; i < capacity; i++) {
            assert_int_equal(((uint32_t *)items)[i], 0);
        }
        ((uint32_t *)items)[n - 1] = (uint32_t)n;
    }
    for (size_t i = 0; i < 10000; i++) {
        assert_int_equal(((uint32_t *)items)[i], i + 1);
    }
    assert_true(n_moves < 20);
    free(items);
}

static void text_is_copied(void **state)
{
    char *copy = dinm_copy_text("abcdef", 3, NULL);
    char *empty = dinm_copy_text(NULL, 0, NULL);

    (void)state;
    assert_string_equal(copy, "abc");
    assert_string_equal(empty, "");
    free(copy);
    free(empty);
}

static void buffer_appends(void **state)
{
    struct dinm_buffer b = {0};

    (void)state;
    assert_int_equal(dinm_buffer_append(&b, NULL, 0, NULL), DINM_OK);
    assert_string_equal(b.data, "");
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(dinm_buffer_append_format(&b, NULL, "%03d-%s", i, "x"), DINM_OK);
        assert_int_equal(dinm_buffer_append(&b, "\0", 1, NULL), DINM_OK);
        assert_int_equal(dinm_buffer_append_text(&b, "yz", NULL), DINM_OK);
        assert_int_equal(b.data[b.n_bytes], '\0');
    }
    assert_int_equal(b.n_bytes, 8000);
    assert_memory_equal(b.data + 8 * 123, "123-x\0yz", 8);
    assert_int_equal(dinm_buffer_reserve(&b, SIZE_MAX - 3, NULL), DINM_FAILED);
    assert_int_equal(b.n_bytes, 8000);
    dinm_buffer_free(&b);
    assert_null(b.data);
    dinm_buffer_free(&b);
    dinm_buffer_free(NULL);
}

/* Everything above once, small. */
static int use_memory(void *context, struct dinm_error *err)
{
    struct dinm_buffer b = {0};
    size_t capacity = 0;
    void *items = NULL;
    char *text = NULL;
    void *block = NULL;
    int status;

    (void)context;
    block = dinm_alloc(3, 5, "a block", err);
    TRY(block == NULL ? DINM_FAILED : DINM_OK);
    text = dinm_copy_text("abc", 3, err);
    TRY(text == NULL ? DINM_FAILED : DINM_OK);
    TRY(dinm_grow(&items, &capacity, 10, 8, "items", err));
    TRY(dinm_grow(&items, &capacity, 100, 8, "items", err));
    TRY(dinm_buffer_append_format(&b, err, "%100d", 1));
    TRY(dinm_buffer_append(&b, b.data, 0, err));
    TRY(dinm_buffer_append_format(&b, err, "%200d", 1));
    assert_int_equal(b.n_bytes, 300);
out:
    dinm_buffer_free(&b);
    free(items);
    free(text);
    free(block);
    return status;
}

static void lack_of_memory_is_an_error(void **state)
{
    (void)state;
    fail_each_allocation(use_memory, NULL);
}

static void failed_growth_changes_nothing(void **state)
{
    struct dinm_buffer b = {0};
    size_t capacity = 0;
    void *items = NULL;
    void *before;

    (void)state;
    assert_int_equal(dinm_buffer_append_text(&b, "kept", NULL), DINM_OK);
    assert_int_equal(dinm_grow(&items, &capacity, 4, 1, "bytes", NULL), DINM_OK);
    before = items;
    fault_set(FAULT_MEMORY, 1);
    assert_int_equal(dinm_buffer_append_format(&b, NULL, "%1000d", 1), DINM_FAILED);
    assert_true(fault_end());
    fault_set(FAULT_MEMORY, 1);
    assert_int_equal(dinm_grow(&items, &capacity, 1000, 1, "bytes", NULL), DINM_FAILED);
    assert_true(fault_end());
    assert_string_equal(b.data, "kept");
    assert_int_equal(b.n_bytes, 4);
    assert_ptr_equal(items, before);
    assert_int_equal(capacity, 16);
    dinm_buffer_free(&b);
    free(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(block_is_zeroed_and_aligned),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(growth_keeps_and_zeroes),
        cmocka_unit_test(text_is_copied),
        cmocka_unit_test(buffer_appends),
        cmocka_unit_test(lack_of_memory_is_an_error),
        cmocka_unit_test(failed_growth_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
