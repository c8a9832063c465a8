/* model/slice, kv, weights: each allocation failing in turn, and memory that is reserved again. */
#include "faults.h"
#include "reference.h"

struct setting {
    struct dinm_config c;
    const char *folder;
    float *flat;
};

static int open_slice(void *context, struct dinm_error *err)
{
    struct setting *s = context;
    struct dinm_slice slice;
    const int status = dinm_slice_open(&slice, s->folder, 0, 0, err);

    dinm_slice_close(&slice);
    dinm_slice_close(&slice);
    return status;
}

static int write_flat(void *context, struct dinm_error *err)
{
    struct setting *s = context;

    return dinm_weights_write_flat(s->folder, s->flat, &s->c, DINM_BF16, err);
}

static int bind_flat(void *context, struct dinm_error *err)
{
    struct setting *s = context;
    struct dinm_weights w = {0};
    struct dinm_grads g = {0};
    int status = DINM_OK;

    TRY(dinm_weights_bind_flat(&w, &s->c, 0, s->c.n_layers, s->flat, err));
    TRY(dinm_grads_bind_flat(&g, &s->c, 0, s->c.n_layers, s->flat, err));
out:
    dinm_weights_free(&w);
    dinm_grads_free(&g);
    return status;
}

static int reserve(void *context, struct dinm_error *err)
{
    struct setting *s = context;
    struct dinm_sequence sequence = {.n_rows = 5};
    struct dinm_workspace *ws = NULL;
    struct dinm_tape *tape = NULL;
    struct dinm_kv kv = {0};
    int status = DINM_OK;

    TRY(dinm_kv_init(&kv, &s->c, DINM_F32, s->c.n_layers, 1000, err));
    TRY(dinm_workspace_reserve(&ws, &s->c, &(struct dinm_rows){&sequence, 1, 5}, err));
    TRY(dinm_tape_reserve(&tape, &s->c, 2, 3, 5, err));
    sequence = (struct dinm_sequence){.n_rows = 900, .kv = &kv};
    TRY(dinm_workspace_reserve(&ws, &s->c, &(struct dinm_rows){&sequence, 1, 900}, err));
    TRY(dinm_tape_reserve(&tape, &s->c, 0, 3, 900, err));
    TRY(dinm_tape_reserve(&tape, &s->c, 3, 3, 900, err)); /* no layers at all */
out:
    dinm_workspace_free(ws);
    dinm_tape_free(tape);
    dinm_kv_free(&kv);
    dinm_kv_free(&kv);
    return status;
}

static void test_allocations(void **state)
{
    struct setting s = {.c = small_config(false, 2)};
    char *folder = NULL;

    (void)state;
    fault_cjson();
    s.flat = random_flat(&s.c, 1);
    s.folder = folder = model_folder(&s.c, s.flat, DINM_F16);
    fail_each_allocation(open_slice, &s);
    fail_each_allocation(write_flat, &s);
    fail_each_allocation(bind_flat, &s);
    fail_each_allocation(reserve, &s);
    remove_folder(folder);
    free(s.flat);
}

/* A text read through the workspace that a longer text was reserved for, and the other way round:
 * the same bits as with memory of its own. */
static void test_shared_workspace(void **state)
{
    const struct dinm_config c = small_config(false, 2);
    float *flat = random_flat(&c, 1), *x[2][2];
    struct dinm_slice s = flat_slice(&c, flat);
    struct dinm_workspace *shared = NULL;
    struct dinm_error err = {0};
    const struct dinm_sequence sequences[2] = {{.n_rows = 100}, {.n_rows = 40}};
    int32_t ids[100];

    (void)state;
    for (size_t i = 0; i < 100; i++) {
        ids[i] = (int32_t)pick(9, i, c.n_vocab);
    }
    for (size_t i = 0; i < 2; i++) {
        const struct dinm_rows rows = {&sequences[i], 1, sequences[i].n_rows};

        assert_ok(dinm_workspace_reserve(&shared, &c, &rows, &err), &err);
    }
    for (size_t i = 0; i < 2; i++) {
        const struct dinm_rows rows = {&sequences[i], 1, sequences[i].n_rows};
        struct dinm_workspace *own = NULL;

        assert_ok(dinm_workspace_reserve(&own, &c, &rows, &err), &err);
        for (size_t j = 0; j < 2; j++) {
            x[i][j] = zeros(rows.n_rows * c.d_model);
            dinm_slice_embed(&s, x[i][j], ids, &rows);
            dinm_slice_forward(&s, x[i][j], &rows, 0, 3, NULL, NULL, j == 0 ? own : shared);
        }
        assert_same_bits(x[i][0], x[i][1], rows.n_rows * c.d_model);
        dinm_workspace_free(own);
        free(x[i][0]);
        free(x[i][1]);
    }
    dinm_workspace_free(shared);
    dinm_slice_close(&s);
    free(flat);
}

static void test_too_much(void **state)
{
    const struct dinm_config c = small_config(false, 2);
    struct dinm_kv kv = {0};
    struct dinm_error err = {0};

    (void)state;
    assert_failed(dinm_kv_init(&kv, &c, DINM_F32, 3, SIZE_MAX / 8, &err), DINM_FAILED, &err,
                  "too many");
    assert_null(kv.k);
    err = (struct dinm_error){0};
    assert_failed(dinm_kv_init(&kv, &c, DINM_F32, 3, SIZE_MAX / 64, &err), DINM_FAILED, &err,
                  "not enough memory");
    assert_null(kv.k);
    dinm_kv_free(&kv);
}

static void test_open_refused(void **state)
{
    const struct dinm_config c = small_config(false, 2);
    float *flat = random_flat(&c, 1);
    char *folder = model_folder(&c, flat, DINM_F32), *path = NULL;
    struct dinm_slice s;
    struct dinm_error err = {0};

    (void)state;
    assert_failed(dinm_slice_open(&s, folder, 1, 9, &err), DINM_FAILED, &err, "layers 1 to 9");
    dinm_slice_close(&s);
    err = (struct dinm_error){0};
    path = dinm_path_join(folder, "model.safetensors", NULL);
    assert_int_equal(unlink(path), 0);
    assert_failed(dinm_slice_open(&s, folder, 0, 0, &err), DINM_FAILED, &err, folder);
    dinm_slice_close(&s);
    free(path);
    remove_folder(folder);
    free(flat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocations),
        cmocka_unit_test(test_shared_workspace),
        cmocka_unit_test(test_too_much),
        cmocka_unit_test(test_open_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
