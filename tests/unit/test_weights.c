/* model/weights: the table, binding to files and flat arrays, and what is refused. */
#include "reference.h"
#include "io/safetensors.h"
#include "model/weights_table.h"

static void test_table(void **state)
{
    (void)state;
    for (int tied = 0; tied <= 1; tied++) {
        const struct dinm_config c = small_config(tied, 2);
        const size_t n_layer = 20 + 24 * 20 + 12 * 20 + 12 * 20 + 20 * 24 + 20 + 3 * 44 * 20;
        const size_t n_whole = 50 * 20 + 20 + (tied ? 0 : 50 * 20);
        size_t offset = 0;

        assert_int_equal(dinm_weights_n_params(&c), n_whole + 3 * n_layer);
        assert_int_equal(dinm_weights_n_tensors(&c), 3 * 9 + (tied ? 2 : 3));
        for (size_t i = 0; i < dinm_weights_n_tensors(&c); i++) {
            const struct dinm_param p = dinm_weights_param(&c, i);

            assert_int_equal(p.offset, offset); /* one after another */
            offset += p.n_out * (p.n_in > 0 ? p.n_in : 1);
        }
        assert_int_equal(offset, dinm_weights_n_params(&c));
        assert_string_equal(dinm_weights_param(&c, 0).name, "model.embed_tokens.weight");
        const struct dinm_param k = find_param(&c, "model.layers.2.self_attn.k_proj.weight");

        assert_int_equal(k.n_out, 12);
        assert_int_equal(k.n_in, 20);
        assert_int_equal(find_param(&c, "model.norm.weight").n_in, 0);
    }
}

/* Every pointer of the flat form leads where the table says. */
static void test_flat(void **state)
{
    const struct dinm_config c = small_config(false, 2);
    float *flat = random_flat(&c, 1);
    struct dinm_weights w = {0};
    struct dinm_grads g = {0};
    struct dinm_error err = {0};

    (void)state;
    assert_ok(dinm_weights_bind_flat(&w, &c, 0, c.n_layers, flat, &err), &err);
    assert_ok(dinm_grads_bind_flat(&g, &c, 0, c.n_layers, flat, &err), &err);
    const struct {
        const char *name;
        const void *weight;
        const float *grad;
    } places[] = {
        {"model.embed_tokens.weight", w.embed.data, g.embed},
        {"model.layers.0.input_layernorm.weight", w.layers[0].attn_norm, g.layers[0].attn_norm},
        {"model.layers.1.self_attn.q_proj.weight", w.layers[1].q.data, g.layers[1].q},
        {"model.layers.1.self_attn.k_proj.weight", w.layers[1].k.data, g.layers[1].k},
        {"model.layers.1.self_attn.v_proj.weight", w.layers[1].v.data, g.layers[1].v},
        {"model.layers.2.self_attn.o_proj.weight", w.layers[2].o.data, g.layers[2].o},
        {"model.layers.2.post_attention_layernorm.weight", w.layers[2].mlp_norm,
         g.layers[2].mlp_norm},
        {"model.layers.0.mlp.gate_proj.weight", w.layers[0].gate.data, g.layers[0].gate},
        {"model.layers.0.mlp.up_proj.weight", w.layers[0].up.data, g.layers[0].up},
        {"model.layers.2.mlp.down_proj.weight", w.layers[2].down.data, g.layers[2].down},
        {"model.norm.weight", w.final_norm, g.final_norm},
        {"lm_head.weight", w.head.data, g.head},
    };

    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const float *expected = flat + find_param(&c, places[i].name).offset;

        assert_ptr_equal(places[i].weight, expected);
        assert_ptr_equal(places[i].grad, expected);
    }
    assert_int_equal(w.layers[1].down.n_out, 20);
    assert_int_equal(w.layers[1].down.n_in, 44);
    dinm_weights_free(&w);
    dinm_weights_free(&w);
    dinm_grads_free(&g);
    dinm_grads_free(&g);
    free(flat);
}

/* A cut of the layers is a cut of the flat array: the ranges of its slices lie one behind another,
 * hold the same values, and every slice's pointers lead into its own. */
static void test_ranges(void **state)
{
    static const size_t cuts[][4] = {{0, 3, 3, 3}, {0, 1, 2, 3}, {0, 2, 3, 3}, {0, 1, 3, 3}};

    (void)state;
    for (size_t i = 0; i < 8; i++) {
        const struct dinm_config c = small_config(i % 2 == 0, 2);
        const size_t *cut = cuts[i / 2];
        const size_t n = dinm_weights_n_params(&c);
        float *whole = zeros(n), *parts = zeros(n);
        size_t n_tensors = 0, n_params = 0;

        dinm_weights_init_flat(whole, &c, 0, 3, 9);
        for (size_t k = 0; k < 3 && cut[k] < cut[k + 1]; k++) {
            const struct dinm_flat_range range = dinm_weights_range(&c, cut[k], cut[k + 1]);
            float *part = parts + n_params;
            struct dinm_weights w = {0};
            struct dinm_grads g = {0};
            struct dinm_error err = {0};

            assert_int_equal(range.first_tensor, n_tensors);
            assert_int_equal(range.first_param, n_params);
            n_tensors += range.n_tensors;
            n_params += range.n_params;
            dinm_weights_init_flat(part, &c, cut[k], cut[k + 1], 9);
            assert_ok(dinm_weights_bind_flat(&w, &c, cut[k], cut[k + 1], part, &err), &err);
            assert_ok(dinm_grads_bind_flat(&g, &c, cut[k], cut[k + 1], part, &err), &err);
            for (size_t l = cut[k]; l < cut[k + 1]; l++) {
                char name[64];

                snprintf(name, sizeof name, "model.layers.%zu.mlp.up_proj.weight", l);
                assert_ptr_equal(w.layers[l - cut[k]].up.data, parts + find_param(&c, name).offset);
                assert_ptr_equal(g.layers[l - cut[k]].up, w.layers[l - cut[k]].up.data);
            }
            assert_true((w.embed.data != NULL) == (cut[k] == 0) && g.embed == w.embed.data);
            assert_true((w.final_norm != NULL) == (cut[k + 1] == 3) &&
                        g.final_norm == w.final_norm);
            assert_true((w.head.data != NULL) == (cut[k + 1] == 3 && (!c.tied || cut[k] == 0)));
            assert_ptr_equal(g.head, w.head.data);
            dinm_weights_free(&w);
            dinm_grads_free(&g);
        }
        assert_int_equal(n_tensors, dinm_weights_n_tensors(&c));
        assert_int_equal(n_params, n);
        assert_same_bits(whole, parts, n);
        free(whole);
        free(parts);
    }
}

static void test_init(void **state)
{
    struct dinm_config c = small_config(true, 4);
    c.d_ff = 400;
    const size_t n = dinm_weights_n_params(&c);
    float *a = zeros(n), *b = zeros(n);
    double squares = 0.0;

    (void)state;
    dinm_weights_init_flat(a, &c, 0, c.n_layers, 5);
    dinm_weights_init_flat(b, &c, 0, c.n_layers, 5);
    assert_same_bits(a, b, n);
    dinm_weights_init_flat(b, &c, 0, c.n_layers, 6);
    const struct dinm_param gate = find_param(&c, "model.layers.1.mlp.gate_proj.weight");
    const struct dinm_param down = find_param(&c, "model.layers.1.mlp.down_proj.weight");
    const size_t size = gate.n_out * gate.n_in;

    assert_true(memcmp(a + gate.offset, b + gate.offset, size * sizeof *a) != 0);
    squares = dot(a + gate.offset, a + gate.offset, size) / (double)size;
    assert_near(sqrt(squares), 0.02, 0.02 * 5.0 / sqrt(2.0 * (double)size));
    squares = dot(a + down.offset, a + down.offset, size) / (double)size;
    assert_near(sqrt(squares), 0.02 / sqrt(6.0), 0.02 * 5.0 / sqrt(12.0 * (double)size));
    assert_true(a[find_param(&c, "model.norm.weight").offset] == 1.0f);
    free(a);
    free(b);
}

/* Written in each dtype and read back: bound views and flat copies hold the rounded values. */
static void check_file(enum dinm_dtype dtype, bool tied)
{
    const struct dinm_config c = small_config(tied, 2);
    const size_t n = dinm_weights_n_params(&c), n_embed = c.n_vocab * c.d_model;
    float *flat = random_flat(&c, 2), *back = zeros(n), *wide = zeros(n_embed);
    void *narrow = items(n, dinm_dtype_size(dtype));
    char *folder = model_folder(&c, flat, dtype);
    struct dinm_checkpoint checkpoint = {0};
    struct dinm_weights w = {0};
    struct dinm_error err = {0};

    dinm_narrow(narrow, dtype, flat, n);
    dinm_widen(flat, narrow, dtype, n);
    assert_ok(dinm_checkpoint_open(&checkpoint, folder, &err), &err);
    assert_ok(dinm_weights_load_flat(back, &c, 0, c.n_layers, &checkpoint, &err), &err);
    assert_same_bits(back, flat, n);

    assert_ok(dinm_weights_bind(&w, &c, &checkpoint, 0, 3, &err), &err);
    dinm_widen(wide, w.head.data, w.head.dtype, n_embed);
    assert_same_bits(
        wide, flat + find_param(&c, tied ? "model.embed_tokens.weight" : "lm_head.weight").offset,
        n_embed);
    assert_same_bits(w.layers[2].mlp_norm,
                     flat + find_param(&c, "model.layers.2.post_attention_layernorm.weight").offset,
                     c.d_model);
    assert_same_bits(w.final_norm, flat + find_param(&c, "model.norm.weight").offset, c.d_model);
    assert_true((w.widened == NULL) == (dtype == DINM_F32));
    dinm_weights_free(&w);

    /* The middle layer alone: neither embedding nor head. */
    assert_ok(dinm_weights_bind(&w, &c, &checkpoint, 1, 2, &err), &err);
    assert_true(w.embed.data == NULL && w.head.data == NULL && w.final_norm == NULL);
    dinm_widen(wide, w.layers[0].q.data, w.layers[0].q.dtype, 24 * 20);
    assert_same_bits(wide, flat + find_param(&c, "model.layers.1.self_attn.q_proj.weight").offset,
                     24 * 20);
    dinm_weights_free(&w);

    /* The last layers of a tied model have the embedding as head, and no embedding. */
    assert_ok(dinm_weights_bind(&w, &c, &checkpoint, 1, 3, &err), &err);
    assert_true(w.embed.data == NULL && w.head.data != NULL && w.final_norm != NULL);
    dinm_weights_free(&w);
    assert_failed(dinm_weights_bind(&w, &c, &checkpoint, 2, 4, &err), DINM_FAILED, &err, "layers");
    err = (struct dinm_error){0};
    assert_failed(dinm_weights_bind(&w, &c, &checkpoint, 2, 2, &err), DINM_FAILED, &err, "layers");
    dinm_checkpoint_close(&checkpoint);
    remove_folder(folder);
    free(flat);
    free(back);
    free(wide);
    free(narrow);
}

static void test_files(void **state)
{
    (void)state;
    check_file(DINM_F32, false);
    check_file(DINM_F16, false);
    check_file(DINM_BF16, true);
    check_file(DINM_F32, true);
}

/* Writes a checkpoint in which tensor `index` is changed by `spoil`, and binds it. */
static void check_spoiled(size_t index, void (*spoil)(struct dinm_tensor *t), const char *parts[3])
{
    const struct dinm_config c = small_config(false, 2);
    const size_t n_tensors = dinm_weights_n_tensors(&c);
    float *flat = random_flat(&c, 3), *back = zeros(dinm_weights_n_params(&c));
    struct dinm_param *params = items(n_tensors, sizeof *params);
    struct dinm_tensor *tensors = items(n_tensors, sizeof *tensors);
    char *folder = new_folder(), *path = dinm_path_join(folder, "model.safetensors", NULL);
    struct dinm_checkpoint checkpoint = {0};
    struct dinm_weights w = {0};
    struct dinm_error err = {0};

    for (size_t i = 0; i < n_tensors; i++) {
        const struct dinm_param p = params[i] = dinm_weights_param(&c, i);

        tensors[i] = (struct dinm_tensor){
            .name = params[i].name,
            .dtype_name = "F32",
            .dtype = DINM_F32,
            .n_dims = p.n_in > 0 ? 2 : 1,
            .shape = {(int64_t)p.n_out, (int64_t)p.n_in},
            .data = flat + p.offset,
            .n_bytes = p.n_out * (p.n_in > 0 ? p.n_in : 1) * sizeof *flat,
        };
    }
    spoil(&tensors[index]);
    assert_ok(dinm_safetensors_write(path, tensors, n_tensors, NULL, &err), &err);
    assert_ok(dinm_checkpoint_open(&checkpoint, folder, &err), &err);
    assert_failed(dinm_weights_bind(&w, &c, &checkpoint, 0, 3, &err), DINM_FAILED, &err, parts[0]);
    assert_non_null(strstr(err.text, folder));
    assert_non_null(strstr(err.text, parts[1]));
    assert_non_null(strstr(err.text, parts[2]));
    assert_null(w.layers);
    err = (struct dinm_error){0};
    assert_failed(dinm_weights_load_flat(back, &c, 0, c.n_layers, &checkpoint, &err), DINM_FAILED,
                  &err, parts[0]);
    dinm_checkpoint_close(&checkpoint);
    free(path);
    remove_folder(folder);
    free(flat);
    free(back);
    free(params);
    free(tensors);
}

static void rename_it(struct dinm_tensor *t)
{
    t->name = "something.else";
}

static void turn(struct dinm_tensor *t)
{
    const int64_t n = t->shape[0];

    t->shape[0] = t->shape[1];
    t->shape[1] = n;
}

static void drop_row(struct dinm_tensor *t)
{
    t->n_bytes -= t->n_bytes / (size_t)t->shape[0];
    t->shape[0]--;
}

static void flatten(struct dinm_tensor *t)
{
    t->shape[0] *= t->shape[1];
    t->n_dims = 1;
}

static void add_dimension(struct dinm_tensor *t)
{
    t->shape[t->n_dims++] = 1;
}

static void make_integers(struct dinm_tensor *t)
{
    t->dtype = DINM_OTHER;
    t->dtype_name = "I32";
}

static void test_refused(void **state)
{
    const size_t head = 3 * 9 + 2, norm = 3 * 9 + 1, down = 2 * 9; /* of layer 1 */

    (void)state;
    check_spoiled(head, rename_it, (const char *[]){"lm_head.weight", "missing", "[50, 20]"});
    check_spoiled(0, rename_it,
                  (const char *[]){"model.embed_tokens.weight", "missing", "[50, 20]"});
    check_spoiled(down, turn,
                  (const char *[]){"model.layers.1.mlp.down_proj.weight", "expected shape [20, 44]",
                                   "found [44, 20]"});
    check_spoiled(down, drop_row,
                  (const char *[]){"model.layers.1.mlp.down_proj.weight", "expected shape [20, 44]",
                                   "found [19, 44]"});
    check_spoiled(norm, drop_row, (const char *[]){"model.norm.weight", "[20]", "[19]"});
    check_spoiled(down, flatten,
                  (const char *[]){"model.layers.1.mlp.down_proj.weight", "[20, 44]", "[880]"});
    check_spoiled(norm, add_dimension,
                  (const char *[]){"model.norm.weight", "expected shape [20]", "found [20, 1]"});
    check_spoiled(
        down, make_integers,
        (const char *[]){"model.layers.1.mlp.down_proj.weight", "F32, F16 or BF16", "I32"});
}

/* A file whose header length is odd: its float32 data cannot be read in place. */
static void test_misaligned(void **state)
{
    const struct dinm_param p = {.name = "t", .n_out = 2};
    const struct dinm_tensor t = {.name = p.name, .dtype = DINM_F32, .n_dims = 1, .shape = {2}};
    float room[4] = {0};
    struct dinm_tensor moved = t;
    struct dinm_safetensors file = {.tensors = &moved, .n_tensors = 1};
    struct dinm_checkpoint checkpoint = {.folder = (char[]){"F"}, .files = &file, .n_files = 1};
    const struct dinm_tensor *found = NULL;
    struct dinm_error err = {0};

    (void)state;
    moved.data = room;
    assert_ok(dinm_weights_find(&found, &p, &checkpoint, &err), &err);
    assert_ptr_equal(found, &moved);
    moved.data = (const char *)room + 1;
    assert_failed(dinm_weights_find(&found, &p, &checkpoint, &err), DINM_FAILED, &err, "multiple");
}

/* Names that an edit is saved under, with and without their prefix. */
static void test_edited_names(void **state)
{
    static const struct {
        const char *name;
        long layer;
    } names[] = {
        {"model.layers.12.mlp.down_proj.weight", 12},
        {"layers.0.mlp.down_proj.weight", 0},
        {"h.3.mlp.c_proj.weight", 3},
        {"transformer.h.47.mlp.c_proj.weight", 47},
        {"model.layers.03.mlp.down_proj.weight", -1},
        {"model.layers.-1.mlp.down_proj.weight", -1},
        {"model.layers..mlp.down_proj.weight", -1},
        {"model.layers.1.mlp.down_proj.bias", -1},
        {"model.layers.1.mlp.up_proj.weight", -1},
        {"h.3.attn.c_proj.weight", -1},
        {"", -1},
    };
    const struct dinm_config llama = small_config(false, 2), gpt2 = gpt2_config();
    char name[64];

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(dinm_weights_edited_layer(names[i].name), names[i].layer);
    }
    dinm_weights_edited_name(name, &gpt2, 7);
    assert_string_equal(name, "transformer.h.7.mlp.c_proj.weight");
    dinm_weights_edited_name(name, &llama, 99999);
    assert_string_equal(name, "model.layers.99999.mlp.down_proj.weight");
}

/* q, k and v of one fused tensor, each at its place and by input; wrong shapes named as stored; the
 * name found without its prefix. */
static void test_fused_parts(void **state)
{
    const struct dinm_config c = gpt2_config();
    const int64_t d = (int64_t)c.d_model;
    float data[1] = {0};
    struct dinm_tensor t = {.dtype = DINM_F32, .n_dims = 2, .shape = {d, 3 * d}, .data = data};
    struct dinm_safetensors file = {.tensors = &t, .n_tensors = 1};
    struct dinm_checkpoint checkpoint = {.folder = (char[]){"F"}, .files = &file, .n_files = 1};
    const struct dinm_tensor *found = NULL;
    size_t n_parts = 0;

    (void)state;
    for (size_t i = 0; i < dinm_weights_n_tensors(&c); i++) {
        const struct dinm_param p = dinm_weights_param(&c, i);
        struct dinm_error err = {0};

        if (strcmp(p.name, "transformer.h.1.attn.c_attn.weight") == 0) {
            t.name = n_parts % 2 == 0 ? p.name : p.name + strlen("transformer.");
            assert_true(p.by_input && p.n_parts == 3 && p.part == n_parts++);
            t.shape[1] = 3 * d;
            assert_ok(dinm_weights_find(&found, &p, &checkpoint, &err), &err);
            t.shape[1] = d;
            assert_failed(dinm_weights_find(&found, &p, &checkpoint, &err), DINM_FAILED, &err,
                          "expected shape [20, 60], found [20, 20]");
        }
    }
    assert_int_equal(n_parts, 3);
}

/* Gives a flat array's tensors until the one that is said to fail. */
struct failing_source {
    const float *flat;
    size_t bad, n_asked;
};

static int give_or_fail(void *context, size_t i, const struct dinm_param *param,
                        const float **values, struct dinm_error *err)
{
    struct failing_source *s = context;

    assert_int_equal(i, s->n_asked++); /* in order, each once */
    *values = s->flat + param->offset;
    return i == s->bad ? dinm_fail(err, DINM_FAILED, "tensor %zu is gone", i) : DINM_OK;
}

static void test_source(void **state)
{
    const struct dinm_config c = small_config(false, 2);
    const size_t n = dinm_weights_n_tensors(&c), n_params = dinm_weights_n_params(&c);
    float *flat = random_flat(&c, 8), *back = zeros(n_params);
    struct dinm_param params[64];
    char *folder = new_folder();
    struct dinm_checkpoint checkpoint = {0};

    (void)state;
    assert_true(n <= 64);
    for (size_t i = 0; i < n; i++) {
        params[i] = dinm_weights_param(&c, i);
    }
    for (size_t bad = 0; bad <= n; bad++) {
        struct failing_source source = {flat, bad, 0};
        struct dinm_error err = {0};
        const int status =
            dinm_weights_write_from(folder, params, n, DINM_F32, give_or_fail, &source, &err);

        if (bad < n) {
            assert_failed(status, DINM_FAILED, &err, "is gone");
            assert_int_equal(source.n_asked, bad + 1);
            assert_int_equal(count_names(folder), 0);
            continue;
        }
        assert_ok(status, &err);
        assert_ok(dinm_checkpoint_open(&checkpoint, folder, &err), &err);
        assert_ok(dinm_weights_load_flat(back, &c, 0, c.n_layers, &checkpoint, &err), &err);
        assert_same_bits(back, flat, n_params);
    }
    dinm_checkpoint_close(&checkpoint);
    remove_folder(folder);
    free(flat);
    free(back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),       cmocka_unit_test(test_flat),
        cmocka_unit_test(test_ranges),      cmocka_unit_test(test_init),
        cmocka_unit_test(test_files),       cmocka_unit_test(test_refused),
        cmocka_unit_test(test_misaligned),  cmocka_unit_test(test_edited_names),
        cmocka_unit_test(test_fused_parts), cmocka_unit_test(test_source),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
