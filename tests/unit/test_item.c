/* Unit tests of pipeline/item.h: where the arrays lie, copies, and what is no item. */
#include "numbers.h"
#include "faults.h"
#include "pipeline/item.h"

static struct dinm_item *new_item(struct dinm_item_counts n)
{
    struct dinm_error err = {0};
    struct dinm_item *item = dinm_item_new(DINM_ITEM_STEP, n, &err);

    assert_ok(err.status, &err);
    assert_non_null(item);
    return item;
}

static size_t offset_of(const struct dinm_item *item, const void *array)
{
    return (size_t)((const unsigned char *)array - (const unsigned char *)item);
}

/* The arrays follow each other without overlap, each on a cache line, all zero, within n_bytes. */
static void check_layout(struct dinm_item_counts n)
{
    struct dinm_item *item = new_item(n);
    const size_t begins[] = {sizeof *item,
                             offset_of(item, dinm_item_sequences(item)),
                             offset_of(item, dinm_item_ids(item)),
                             offset_of(item, dinm_item_values(item)),
                             offset_of(item, dinm_item_rows(item)),
                             (size_t)item->n_bytes};
    const size_t sizes[] = {0, n.n_sequences * sizeof(struct dinm_item_sequence),
                            n.n_ids * sizeof(int32_t), n.n_values * sizeof(float),
                            n.n_rows * n.width * sizeof(float)};

    for (size_t i = 0; i < 5; i++) {
        assert_true(begins[i] + sizes[i] <= begins[i + 1]);
        assert_true(begins[i + 1] < begins[i] + sizes[i] + 64); /* no more than a line is lost */
        assert_int_equal(begins[i + 1] % 64, 0);
    }
    for (size_t i = begins[1]; i < begins[5]; i++) {
        assert_int_equal(((unsigned char *)item)[i], 0);
    }
    assert_true(dinm_item_is_whole(item, (size_t)item->n_bytes));
    free(item);
}

static void arrays_do_not_overlap(void **state)
{
    (void)state;
    check_layout((struct dinm_item_counts){0});
    for (size_t i = 0; i < 300; i++) {
        check_layout((struct dinm_item_counts){pick(1, i, 4), pick(2, i, 70), pick(3, i, 40),
                                               pick(4, i, 9), pick(5, i, 50)});
    }
}

static void a_copy_has_the_texts_but_its_own_rows(void **state)
{
    struct dinm_error err = {0};
    struct dinm_item *model = new_item((struct dinm_item_counts){2, 5, 3, 4, 6}), *copy;

    (void)state;
    model->task = 7;
    model->layer = 2;
    model->step = 9;
    model->owner = 3;
    model->place = 11;
    model->finished = 1;
    dinm_fail(&model->error, DINM_FAILED, "a failure of the other one");
    dinm_item_sequences(model)[1].n_picks = 13;
    dinm_item_ids(model)[4] = 17;
    dinm_item_values(model)[0] = 19.0F;
    dinm_item_rows(model)[0] = 23.0F;
    copy = dinm_item_like(model, DINM_ITEM_BACK, 8, 2, &err);
    assert_non_null(copy);
    assert_int_equal(copy->kind, DINM_ITEM_BACK);
    assert_int_equal(copy->n_values, 8);
    assert_int_equal(copy->n_rows, 2);
    assert_int_equal(copy->width, 6);
    assert_true(copy->task == 7 && copy->layer == 2 && copy->step == 9 && copy->owner == 3 &&
                copy->place == 11);
    assert_int_equal(copy->finished, 0);
    assert_int_equal(copy->error.status, DINM_OK);
    assert_int_equal(dinm_item_sequences(copy)[1].n_picks, 13);
    assert_int_equal(dinm_item_ids(copy)[4], 17);
    assert_true(dinm_item_values(copy)[0] == 0.0F && dinm_item_rows(copy)[0] == 0.0F);
    free(model);
    free(copy);
}

static void without_rows_it_is_shorter_and_keeps_the_rest(void **state)
{
    struct dinm_item *item = new_item((struct dinm_item_counts){1, 3, 2, 5, 100});
    size_t before = (size_t)item->n_bytes, rows = offset_of(item, dinm_item_rows(item));

    (void)state;
    dinm_item_ids(item)[2] = 5;
    dinm_item_values(item)[1] = 7.0F;
    dinm_item_drop_rows(item);
    assert_int_equal(item->n_rows, 0);
    assert_int_equal(item->n_bytes, rows);
    assert_true(item->n_bytes < before);
    assert_true(dinm_item_is_whole(item, rows) && !dinm_item_is_whole(item, before));
    assert_int_equal(dinm_item_ids(item)[2], 5);
    assert_true(dinm_item_values(item)[1] == 7.0F);
    dinm_item_drop_rows(item); /* there are none left */
    assert_int_equal(item->n_bytes, rows);
    free(item);
}

/* A count that does not go with the bytes, on its own or so large that the sum comes round. */
static void damage_is_seen(void **state)
{
    static const uint64_t bad[] = {1000,
                                   UINT64_MAX,
                                   UINT64_MAX / 2,
                                   (uint64_t)1 << 62,
                                   (UINT64_MAX / 4) + 1,
                                   UINT64_MAX / sizeof(float) + 1};
    struct dinm_item *item = new_item((struct dinm_item_counts){1, 3, 2, 5, 10});
    size_t n_bytes = (size_t)item->n_bytes;
    uint64_t *const counts[] = {&item->n_sequences, &item->n_ids, &item->n_values,
                                &item->n_rows,      &item->width, &item->n_bytes};

    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
            const uint64_t good = *counts[i];

            *counts[i] = bad[k];
            assert_false(dinm_item_is_whole(item, n_bytes));
            *counts[i] = good;
        }
    }
    assert_false(dinm_item_is_whole(item, n_bytes - 64));
    assert_false(dinm_item_is_whole(item, n_bytes + 64));
    assert_false(dinm_item_is_whole(item, sizeof *item - 1));
    item->kind = DINM_ITEM_END + 1;
    assert_false(dinm_item_is_whole(item, n_bytes));
    item->kind = DINM_ITEM_END;
    assert_true(dinm_item_is_whole(item, n_bytes));
    free(item);
}

static void too_large_is_refused(void **state)
{
    static const struct dinm_item_counts bad[] = {
        {SIZE_MAX, 0, 0, 0, 0},
        {0, SIZE_MAX / 4, 0, 0, 0},
        {0, 0, SIZE_MAX / 2, 0, 0},
        {0, 0, 0, SIZE_MAX, 1},
        {0, 0, 0, 1, SIZE_MAX},
        {0, 0, 0, (size_t)1 << 32, (size_t)1 << 32},
        {SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX}};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dinm_error err = {0};

        assert_null(dinm_item_new(DINM_ITEM_READ, bad[i], &err));
        assert_failed(err.status, DINM_FAILED, &err, "not enough memory");
    }
}

static int make_two(void *context, struct dinm_error *err)
{
    struct dinm_item *copy = NULL,
                     *item = dinm_item_new(DINM_ITEM_READ, (struct dinm_item_counts){1, 2, 3, 4, 5},
                                           err);

    (void)context;
    if (item != NULL) {
        copy = dinm_item_like(item, DINM_ITEM_READ, 1, 1, err);
    }
    free(item);
    free(copy);
    return copy != NULL ? DINM_OK : DINM_FAILED;
}

static void memory_may_run_out(void **state)
{
    (void)state;
    fail_each_allocation(make_two, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_do_not_overlap),
        cmocka_unit_test(a_copy_has_the_texts_but_its_own_rows),
        cmocka_unit_test(without_rows_it_is_shorter_and_keeps_the_rest),
        cmocka_unit_test(damage_is_seen),
        cmocka_unit_test(too_large_is_refused),
        cmocka_unit_test(memory_may_run_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
