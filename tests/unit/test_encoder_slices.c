/* The classifier cut into slices of layers: what goes through them one after another, up and down,
 * is what goes through the whole, bit for bit. */
#include "support.h"
#include "model/encoder.h"
#include "model/loss.h"

static const struct dinm_encoder_config deep = {
    .n_layers = 5,
    .d_model = 28,
    .n_heads = 2,
    .d_ff = 36,
    .n_vocab = 30,
    .n_positions = 24,
    .n_types = 1,
    .n_labels = 3,
    .pad_id = 1,
    .norm_eps = 1e-5f,
};
static const char deep_json[] =
    "{\"model_type\": \"roberta\", \"architectures\": [\"RobertaForSequenceClassification\"],"
    "\"num_hidden_layers\": 5, \"hidden_size\": 28, \"num_attention_heads\": 2,"
    "\"intermediate_size\": 36, \"vocab_size\": 30, \"max_position_embeddings\": 24,"
    "\"type_vocab_size\": 1, \"id2label\": {\"0\": \"a\", \"1\": \"b\", \"2\": \"c\"},"
    "\"pad_token_id\": 1, \"layer_norm_eps\": 1e-5, \"hidden_act\": \"gelu\"}";

static const int32_t ids[] = {0, 5, 9, 12, 2, 0, 2, 0, 7, 1, 29, 9, 2};
static const size_t first[] = {0, 5, 7, 13};
static const int32_t labels[] = {2, 0, 1};
enum { N_TEXTS = 3, N_ROWS = 13, N_LABELS = 3, MOST_SLICES = 5 };
static const struct dinm_texts texts = {ids, first, N_TEXTS, N_ROWS};

/* Ends of the slices; the last is 5. */
static const size_t cuts[][MOST_SLICES] = {{5}, {2, 5}, {1, 4, 5}, {1, 2, 3, 4, 5}};

struct whole {
    float *flat, *grad, logits[N_TEXTS * N_LABELS];
    double loss;
    size_t n_right;
};

static void make_whole(struct whole *w)
{
    struct dinm_error err = {0};
    struct dinm_encoder *e = NULL;
    const size_t n = dinm_encoder_n_params(&deep);
    w->flat = dinm_alloc(n, sizeof *w->flat, "weights", NULL);
    w->grad = dinm_alloc(n, sizeof *w->grad, "gradient", NULL);
    assert_true(w->flat != NULL && w->grad != NULL);
    dinm_encoder_init_flat(w->flat, &deep, 0, deep.n_layers, 3);
    for (size_t i = 0; i < n; i++) {
        w->flat[i] = w->flat[i] * 8.0f + 0.01f * (float)(i % 7);
    }
    assert_ok(dinm_encoder_open_flat(&e, &deep, 0, deep.n_layers, w->flat, &err), &err);
    assert_ok(dinm_encoder_classify(e, w->logits, ids, first, N_TEXTS, &err), &err);
    assert_ok(dinm_encoder_train(e, &w->loss, &w->n_right, w->grad, 0.7, ids, first, labels,
                                 N_TEXTS, &err),
              &err);
    dinm_encoder_close(e);
}

static void free_whole(struct whole *w)
{
    free(w->flat);
    free(w->grad);
}

/* Opens slice after slice, from the folder or, if that is NULL, from the flat array. */
static size_t open_slices(struct dinm_encoder **slices, const size_t *ends, const char *folder,
                          const struct whole *w)
{
    struct dinm_error err = {0};
    size_t n = 0;
    for (size_t from = 0; from < deep.n_layers; from = ends[n++]) {
        const size_t at = dinm_encoder_range(&deep, from, ends[n]).first_param;
        assert_ok(folder != NULL ? dinm_encoder_open(&slices[n], folder, from, ends[n], &err)
                                 : dinm_encoder_open_flat(&slices[n], &deep, from, ends[n],
                                                          w->flat + at, &err),
                  &err);
    }
    return n;
}

static void heard(void *context, size_t layer, const float *x)
{
    size_t *next = context;
    assert_int_equal(layer, (*next)++);
    assert_non_null(x);
}

/* Up through the slices: the logits; and in training down again: the gradient. */
static void check_passes(const struct whole *w, const size_t *ends, const char *folder)
{
    struct dinm_error err = {0};
    struct dinm_encoder *slices[MOST_SLICES] = {0};
    const bool learns = folder == NULL;
    const size_t n = open_slices(slices, ends, folder, w);
    float x[N_ROWS * 28], logits[N_TEXTS * N_LABELS];
    size_t next = 0;
    for (size_t i = 0; i < n; i++) {
        assert_ok(dinm_encoder_reserve(slices[i], &texts, learns, &err), &err);
        dinm_encoder_forward(slices[i], x, &texts, heard, &next);
    }
    assert_int_equal(next, deep.n_layers);
    dinm_encoder_head(slices[n - 1], logits, x, &texts);
    assert_memory_equal(logits, w->logits, sizeof logits);
    if (learns) {
        const size_t n_params = dinm_encoder_n_params(&deep);
        float *grad = dinm_alloc(n_params, sizeof *grad, "gradient", NULL);
        assert_non_null(grad);
        assert_int_equal(dinm_loss_count_right(logits, labels, N_TEXTS, N_LABELS), w->n_right);
        assert_true(dinm_loss_nll(logits, logits, labels, 0.7, N_TEXTS, N_LABELS) == w->loss);
        for (size_t i = n; i-- > 0;) {
            const size_t from = i > 0 ? ends[i - 1] : 0;
            float *part = grad + dinm_encoder_range(&deep, from, ends[i]).first_param;
            if (i == n - 1) {
                dinm_encoder_head_backward(slices[i], x, part, logits, &texts);
            }
            dinm_encoder_backward(slices[i], x, part, &texts);
        }
        assert_memory_equal(grad, w->grad, n_params * sizeof *grad);
        free(grad);
    }
    for (size_t i = 0; i < n; i++) {
        dinm_encoder_close(slices[i]);
    }
}

static void test_slices(void **state)
{
    (void)state;
    struct dinm_error err = {0};
    struct whole w = {0};
    char *folder = new_folder();
    free(write_text(folder, "config.json", deep_json));
    make_whole(&w);
    assert_ok(dinm_encoder_write_flat(folder, w.flat, &deep, DINM_F32, &err), &err);
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        check_passes(&w, cuts[i], folder);
        check_passes(&w, cuts[i], NULL);
    }
    struct dinm_encoder *e = NULL;
    assert_failed(dinm_encoder_open(&e, folder, 2, 6, &err), DINM_FAILED, &err,
                  "layers 2 to 6 were asked for, but it has 5");
    remove_folder(folder);
    free_whole(&w);
}

/* The ranges lie one behind another, and hold what the whole holds there. */
static void test_ranges(void **state)
{
    (void)state;
    struct dinm_error err = {0};
    struct whole w = {0};
    struct dinm_checkpoint checkpoint = {0};
    const size_t n = dinm_encoder_n_params(&deep);
    char *folder = new_folder();
    float *fresh = dinm_alloc(n, sizeof *fresh, "weights", NULL);
    float *part = dinm_alloc(n, sizeof *part, "weights", NULL);
    assert_true(fresh != NULL && part != NULL);
    make_whole(&w);
    dinm_encoder_init_flat(fresh, &deep, 0, deep.n_layers, 5);
    assert_ok(dinm_encoder_write_flat(folder, w.flat, &deep, DINM_F32, &err), &err);
    assert_ok(dinm_checkpoint_open(&checkpoint, folder, &err), &err);
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) {
        size_t n_params = 0, n_tensors = 0;
        for (size_t from = 0, k = 0; from < deep.n_layers; from = cuts[i][k++]) {
            const size_t to = cuts[i][k];
            const struct dinm_flat_range range = dinm_encoder_range(&deep, from, to);
            assert_int_equal(range.first_param, n_params);
            assert_int_equal(range.first_tensor, n_tensors);
            n_params += range.n_params;
            n_tensors += range.n_tensors;
            dinm_encoder_init_flat(part, &deep, from, to, 5);
            assert_memory_equal(part, fresh + range.first_param, range.n_params * sizeof *part);
            assert_ok(dinm_encoder_load_flat(part, &deep, from, to, &checkpoint, &err), &err);
            assert_memory_equal(part, w.flat + range.first_param, range.n_params * sizeof *part);
        }
        assert_int_equal(n_params, n);
        assert_int_equal(n_tensors, dinm_encoder_n_tensors(&deep));
    }
    dinm_checkpoint_close(&checkpoint);
    remove_folder(folder);
    free_whole(&w);
    free(fresh);
    free(part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
