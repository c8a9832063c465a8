/* io/checkpoint: one file or shards; an index is believed only as far as the shards agree. */
#include "faults.h"
#include "io/safetensors.h"

static const unsigned char bytes[3] = {1, 2, 3};

/* A shard with tensors of 1, 2, ... bytes by these names (ended by NULL). */
static void write_shard(const char *folder, const char *name, const char *const *names)
{
    struct dinm_tensor tensors[3];
    struct dinm_error err = {0};
    char *path = dinm_path_join(folder, name, &err);
    size_t n = 0;

    for (; names[n] != NULL; n++) {
        tensors[n] =
            (struct dinm_tensor){names[n], "U8", DINM_OTHER, 1, {(int64_t)n + 1}, bytes, n + 1};
    }
    assert_ok(dinm_safetensors_write(path, tensors, n, NULL, &err), &err);
    free(path);
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Two shards: one holds a and b, two holds c. */
static char *new_model(const char *index)
{
    char *folder = new_folder();

    write_shard(folder, "one.safetensors", NAMES("a", "b"));
    write_shard(folder, "two.safetensors", NAMES("c"));
    free(write_text(folder, "model.safetensors.index.json", index));
    return folder;
}

static const char good_index[] =
    "{\"metadata\":{},\"weight_map\":{\"c\":\"two.safetensors\",\"a\":\"one.safetensors\","
    "\"b\":\"one.safetensors\"}}";

static void shards_are_one_model(void **state)
{
    char *folder = new_model(good_index);
    struct dinm_checkpoint c = {0};
    struct dinm_error err = {0};

    (void)state;
    assert_ok(dinm_checkpoint_open(&c, folder, &err), &err);
    assert_int_equal(c.n_files, 2);
    assert_non_null(strstr(c.paths[0], "one.safetensors"));
    assert_non_null(strstr(c.paths[1], "two.safetensors"));
    assert_int_equal(dinm_checkpoint_find(&c, "a")->n_bytes, 1);
    assert_int_equal(dinm_checkpoint_find(&c, "b")->n_bytes, 2);
    assert_ptr_equal(dinm_checkpoint_find(&c, "c"), &c.files[1].tensors[0]);
    assert_null(dinm_checkpoint_find(&c, "d"));
    dinm_checkpoint_close(&c);
    dinm_checkpoint_close(&c);
    dinm_checkpoint_close(NULL);
    remove_folder(folder);
}

/* A single file wins over an index. */
static void single_file_is_a_model(void **state)
{
    char *folder = new_model("not even JSON");
    struct dinm_checkpoint c = {0};
    struct dinm_error err = {0};

    (void)state;
    write_shard(folder, "model.safetensors", NAMES("x"));
    assert_ok(dinm_checkpoint_open(&c, folder, &err), &err);
    assert_int_equal(c.n_files, 1);
    assert_non_null(dinm_checkpoint_find(&c, "x"));
    assert_null(dinm_checkpoint_find(&c, "a"));
    dinm_checkpoint_close(&c);
    remove_folder(folder);
}

static void expect_refused(const char *index, const char *part)
{
    char *folder = new_model(index);
    struct dinm_checkpoint c = {0};
    struct dinm_error err = {0};

    assert_failed(dinm_checkpoint_open(&c, folder, &err), DINM_FAILED, &err, part);
    assert_non_null(strstr(err.text, folder));
    assert_null(c.files);
    assert_int_equal(c.n_files, 0);
    dinm_checkpoint_close(&c);
    remove_folder(folder);
}

static void wrong_index_is_refused(void **state)
{
    (void)state;
    expect_refused("{", "a name in quotes");
    expect_refused("[]", "expected an object with the key 'weight_map', found an array");
    expect_refused("{}", "key 'weight_map': expected an object, found nothing");
    expect_refused("{\"weight_map\":{}}", "names no tensors");
    expect_refused("{\"weight_map\":{\"a\":1}}",
                   "the file of tensor 'a' must be a string, found the number 1");
    expect_refused("{\"weight_map\":{\"a\":\"three.safetensors\"}}", "three.safetensors: No such");
    expect_refused("{\"weight_map\":{\"a\":\"one.safetensors\",\"d\":\"two.safetensors\"}}",
                   "tensor 'd' is not in two.safetensors as the index says");
    expect_refused("{\"weight_map\":{\"a\":\"two.safetensors\",\"c\":\"one.safetensors\"}}",
                   "tensor 'a' is not in two.safetensors as the index says");
}

static void shards_stay_in_the_folder(void **state)
{
    static const char *const names[] = {"",
                                        ".",
                                        "..",
                                        "../one.safetensors",
                                        "/one.safetensors",
                                        "./one.safetensors",
                                        "sub/one.safetensors"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct dinm_buffer index = {0};

        assert_int_equal(
            dinm_buffer_append_format(&index, NULL, "{\"weight_map\":{\"a\":\"%s\"}}", names[i]),
            DINM_OK);
        expect_refused(index.data, "which is not a file name within the folder");
        dinm_buffer_free(&index);
    }
}

static void tensor_in_two_shards_is_refused(void **state)
{
    char *folder = new_model(good_index);
    struct dinm_checkpoint c = {0};
    struct dinm_error err = {0};

    (void)state;
    write_shard(folder, "two.safetensors", NAMES("c", "b"));
    assert_failed(dinm_checkpoint_open(&c, folder, &err), DINM_FAILED, &err,
                  "tensor 'b' is in more than one file");
    remove_folder(folder);
}

static void missing_files_are_named(void **state)
{
    char *folder = new_folder();
    struct dinm_checkpoint c = {0};
    struct dinm_error err[2] = {{0}};

    (void)state;
    assert_failed(dinm_checkpoint_open(&c, folder, &err[0]), DINM_FAILED, &err[0],
                  "neither model.safetensors nor model.safetensors.index.json");
    remove_folder(folder);
    assert_failed(dinm_checkpoint_open(&c, "/no/such/folder", &err[1]), DINM_FAILED, &err[1],
                  "/no/such/folder: there is no such folder");
}

static int open_model(void *context, struct dinm_error *err)
{
    struct dinm_checkpoint c = {0};
    const int status = dinm_checkpoint_open(&c, context, err);

    assert_int_equal(c.n_files, status == DINM_OK ? 2 : 0);
    dinm_checkpoint_close(&c);
    return status;
}

static void lack_of_memory_is_an_error(void **state)
{
    char *folder = new_model(good_index);

    (void)state;
    fault_cjson();
    fail_each_allocation(open_model, folder);
    remove_folder(folder);
}

/* Files made by the reference library, if they are at hand: f16, f32, and bf16 in two shards. */
static void files_of_the_reference_library(void **state)
{
    static const char base[] = DINM_SOURCE_DIR "/../shared/data/models/stories260K/";
    static const struct {
        const char *name;
        enum dinm_dtype dtype;
        size_t n_files;
    } rows[] = {
        {"hf-f32", DINM_F32, 1}, {"hf-f16", DINM_F16, 1}, {"hf-bf16-sharded", DINM_BF16, 2}};
    float first[3];

    (void)state;
    if (!dinm_path_is_folder(base)) {
        print_message("SKIPPED: %s is not there\n", base);
        skip();
    }
    for (size_t i = 0; i < 3; i++) {
        char *folder = dinm_path_join(base, rows[i].name, NULL);
        struct dinm_checkpoint c = {0};
        struct dinm_error err = {0};
        const struct dinm_tensor *t;

        assert_ok(dinm_checkpoint_open(&c, folder, &err), &err);
        assert_int_equal(c.n_files, rows[i].n_files);
        t = dinm_checkpoint_find(&c, "model.layers.4.mlp.down_proj.weight");
        assert_non_null(t);
        assert_int_equal(t->dtype, rows[i].dtype);
        assert_int_equal(t->n_dims, 2);
        assert_int_equal(t->shape[0], 64);
        assert_int_equal(t->shape[1], 172);
        dinm_widen(&first[i], t->data, t->dtype, 1);
        dinm_checkpoint_close(&c);
        free(folder);
    }
    /* The same weight, rounded to 11 and to 8 bits. */
    assert_true(first[0] != 0.0f);
    assert_float_equal(first[1] / first[0], 1.0f, 0x1p-11f);
    assert_float_equal(first[2] / first[0], 1.0f, 0x1p-8f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_are_one_model),
        cmocka_unit_test(single_file_is_a_model),
        cmocka_unit_test(wrong_index_is_refused),
        cmocka_unit_test(shards_stay_in_the_folder),
        cmocka_unit_test(tensor_in_two_shards_is_refused),
        cmocka_unit_test(missing_files_are_named),
        cmocka_unit_test(lack_of_memory_is_an_error),
        cmocka_unit_test(files_of_the_reference_library),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
