/* What is said beforehand about sizes against what is there: tensors of each part, scratch, tape,
 * the classifier's room. */
#include "reference.h"

#include "model/attention.h"
#include "model/block.h"
#include "model/encoder_private.h"
#include "model/linear.h"

static size_t checkpoint_bytes(const struct dinm_checkpoint *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->files[0].n_tensors; i++) {
        n += c->files[0].tensors[i].n_bytes;
    }
    return n;
}

/* Layers, embedding and head are the whole file; a tied matrix counts at both ends. */
static void parts_add_up(void **state)
{
    (void)state;
    for (int tied = 0; tied <= 1; tied++) {
        const struct dinm_config c = small_config(tied, 2);
        struct dinm_checkpoint checkpoint = {0};
        struct dinm_error err = {0};
        char *folder = new_folder();
        float *flat = random_flat(&c, 3);
        assert_ok(dinm_weights_write_flat(folder, flat, &c, DINM_BF16, &err), &err);
        assert_ok(dinm_checkpoint_open(&checkpoint, folder, &err), &err);
        struct dinm_weights_size embed = dinm_weights_embed_size(&c, &checkpoint);
        struct dinm_weights_size head = dinm_weights_head_size(&c, &checkpoint);
        size_t sum = embed.n_bytes + head.n_bytes - head.n_tied_bytes;
        for (size_t l = 0; l < c.n_layers; l++) {
            struct dinm_weights_size layer = dinm_weights_layer_size(&c, &checkpoint, l);
            sum += layer.n_bytes;
            /* q, o: [24][20]; k, v: [12][20]; three of [44][20] */
            assert_int_equal(layer.n_products, 2 * 24 * 20 + 2 * 12 * 20 + 3 * 44 * 20);
            assert_int_equal(layer.n_bytes, 2 * (layer.n_products + 2 * 20));
            assert_int_equal(layer.n_tied_bytes, 0);
            assert_int_equal(dinm_weights_layer_size(&c, NULL, l).n_bytes, 0);
        }
        assert_int_equal(sum, checkpoint_bytes(&checkpoint));
        assert_int_equal(embed.n_bytes, 2 * 50 * 20);
        assert_int_equal(embed.n_products, 0);
        assert_int_equal(head.n_products, 50 * 20);
        assert_int_equal(head.n_tied_bytes, tied ? 2 * 50 * 20 : 0);
        assert_int_equal(head.n_bytes, 2 * (50 * 20 + 20));
        dinm_checkpoint_close(&checkpoint);
        free(flat);
        remove_folder(folder);
    }
}

/* A checkpoint of zeros with every tensor of the table, a fused one once. */
static void write_zeros(const char *folder, const struct dinm_config *c)
{
    enum { MOST = 64, LARGEST = 8192 };
    static const uint16_t zeros[LARGEST];
    static char names[MOST][64];
    struct dinm_tensor tensors[MOST];
    struct dinm_error err = {0};
    size_t n = 0;
    char *path = dinm_path_join(folder, "model.safetensors", &err);
    for (size_t i = 0; i < dinm_weights_n_tensors(c); i++) {
        const struct dinm_param p = dinm_weights_param(c, i);
        const size_t width = p.n_out * p.n_parts, n_elements = width * (p.n_in > 0 ? p.n_in : 1);
        if (p.part > 0) {
            continue;
        }
        assert_true(n < MOST && n_elements <= LARGEST);
        strcpy(names[n], p.name);
        tensors[n] = (struct dinm_tensor){.name = names[n],
                                          .dtype = DINM_F16,
                                          .n_dims = p.n_in > 0 ? 2 : 1,
                                          .shape = {(int64_t)width, (int64_t)p.n_in},
                                          .data = zeros,
                                          .n_bytes = 2 * n_elements};
        n++;
    }
    assert_ok(dinm_safetensors_write(path, tensors, n, NULL, &err), &err);
    free(path);
}

/* Parts of fused tensors, and positions that are learned. */
static void parts_of_gpt2(void **state)
{
    (void)state;
    struct dinm_config c = small_config(true, 4);
    c.layout = DINM_LAYOUT_GPT2;
    c.d_head = 5;
    c.learned_positions = c.layer_norm = c.qkv_bias = c.o_bias = c.mlp_bias = true;
    c.mlp = DINM_MLP_GELU_NEW;
    c.n_positions = 64;
    struct dinm_checkpoint checkpoint = {0};
    struct dinm_error err = {0};
    char *folder = new_folder();
    write_zeros(folder, &c);
    assert_ok(dinm_checkpoint_open(&checkpoint, folder, &err), &err);
    struct dinm_weights_size head = dinm_weights_head_size(&c, &checkpoint);
    size_t sum =
        dinm_weights_embed_size(&c, &checkpoint).n_bytes + head.n_bytes - head.n_tied_bytes;
    for (size_t l = 0; l < c.n_layers; l++) {
        sum += dinm_weights_layer_size(&c, &checkpoint, l).n_bytes;
    }
    assert_int_equal(sum, checkpoint_bytes(&checkpoint));
    dinm_checkpoint_close(&checkpoint);
    remove_folder(folder);
    struct dinm_weights_size layer = dinm_weights_layer_size(&c, NULL, 1);
    assert_int_equal(layer.n_products, 4 * 20 * 20 + 2 * 44 * 20);
    assert_int_equal(dinm_weights_head_size(&c, NULL).n_products, 50 * 20);
    assert_int_equal(dinm_weights_embed_size(&c, NULL).n_products, 0);
}

static void scratch_is_what_is_reserved(void **state)
{
    (void)state;
    const struct dinm_config c = small_config(false, 2);
    for (size_t n = 1; n <= 300; n += 23) {
        const struct dinm_sequence longest = {.n_rows = 5 * n};
        const struct dinm_rows rows = {.sequences = &longest, .n_sequences = 1, .n_rows = n};
        struct dinm_workspace *ws = NULL;
        struct dinm_tape *tape = NULL;
        struct dinm_error err = {0};
        assert_ok(dinm_workspace_reserve(&ws, &c, &rows, &err), &err);
        assert_int_equal(dinm_workspace_bytes(&c, n, 5 * n) - sizeof *ws,
                         ws->n_floats * sizeof(float) + n * (sizeof(size_t) + sizeof *ws->calls));
        assert_ok(dinm_tape_reserve(&tape, &c, 1, 3, n, &err), &err);
        assert_int_equal(dinm_tape_bytes(&c, 2, n) - sizeof *tape,
                         tape->n_floats * sizeof(float) + 2 * sizeof *tape->layers);
        dinm_tape_free(tape);
        dinm_workspace_free(ws);
    }
}

static void the_classifiers_room_is_what_it_takes(void **state)
{
    (void)state;
    enum { N_TEXTS = 3, LENGTH = 17 };
    const struct dinm_encoder_config c = {.n_layers = 2,
                                          .d_model = 24,
                                          .n_heads = 3,
                                          .d_ff = 40,
                                          .n_vocab = 30,
                                          .n_positions = 20,
                                          .n_types = 2,
                                          .n_labels = 3,
                                          .pad_id = 1,
                                          .norm_eps = 1e-5f};
    struct dinm_encoder *e = NULL;
    struct dinm_error err = {0};
    float *flat = dinm_alloc(dinm_encoder_n_params(&c), sizeof *flat, "weights", &err);
    int32_t ids[N_TEXTS * LENGTH];
    size_t first[N_TEXTS + 1];
    float logits[N_TEXTS * 3];
    assert_non_null(flat);
    dinm_encoder_init_flat(flat, &c, 0, c.n_layers, 1);
    for (size_t i = 0; i < N_TEXTS * LENGTH; i++) {
        ids[i] = 5;
    }
    for (size_t i = 0; i <= N_TEXTS; i++) {
        first[i] = i * LENGTH;
    }
    assert_ok(dinm_encoder_open_flat(&e, &c, 0, c.n_layers, flat, &err), &err);
    size_t planned = dinm_encoder_scratch_bytes(e, N_TEXTS, N_TEXTS * LENGTH, LENGTH);
    assert_ok(dinm_encoder_classify(e, logits, ids, first, N_TEXTS, &err), &err);
    assert_int_equal(planned, e->room_floats * sizeof(float));
    dinm_encoder_close(e);
    free(flat);
}

int main(void)
{
    dinm_linear_set_threads(2);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_add_up),
        cmocka_unit_test(parts_of_gpt2),
        cmocka_unit_test(scratch_is_what_is_reserved),
        cmocka_unit_test(the_classifiers_room_is_what_it_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
