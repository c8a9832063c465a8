/* The classifier: gradient by directional derivative, texts independent of their neighbours,
 * checkpoints written and read, config files refused by name. */
#include "support.h"
#include "model/encoder.h"
#include "model/linear.h"

#include <math.h>

static const struct dinm_encoder_config tiny = {
    .n_layers = 2,
    .d_model = 24,
    .n_heads = 3,
    .d_ff = 40,
    .n_vocab = 30,
    .n_positions = 20,
    .n_types = 2,
    .n_labels = 3,
    .pad_id = 1,
    .norm_eps = 1e-5f,
};
static const char tiny_json[] =
    "{\"model_type\": \"roberta\", \"architectures\": [\"RobertaForSequenceClassification\"],"
    "\"num_hidden_layers\": 2, \"hidden_size\": 24, \"num_attention_heads\": 3,"
    "\"intermediate_size\": 40, \"vocab_size\": 30, \"max_position_embeddings\": 20,"
    "\"type_vocab_size\": 2, \"id2label\": {\"0\": \"a\", \"1\": \"b\", \"2\": \"c\"},"
    "\"pad_token_id\": 1, \"layer_norm_eps\": 1e-5, \"hidden_act\": \"gelu\"}";

/* Uniform in (-1, 1). */
static double draw(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 33) * 0x1p-30 - 1.0;
}

/* Random weights large enough that every part of the model matters. */
static float *random_weights(const struct dinm_encoder_config *config, uint64_t seed)
{
    float *flat = dinm_alloc(dinm_encoder_n_params(config), sizeof *flat, "weights", NULL);
    assert_non_null(flat);
    dinm_encoder_init_flat(flat, config, 0, config->n_layers, seed);
    for (size_t i = 0; i < dinm_encoder_n_params(config); i++) {
        flat[i] += 0.3f * (float)draw(&seed);
    }
    return flat;
}

/* Four texts; the third has a pad token inside, the last the greatest length. */
static const int32_t ids[] = {0, 5, 9, 12, 2, 0,  2,  0,  7,  1,  29, 9,  2,  0,  3, 4,
                              5, 6, 7, 8,  9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 2};
static const size_t first[] = {0, 5, 7, 13, 31};
static const int32_t labels[] = {2, 0, 1, 1};
enum { N_TEXTS = 4, N_LABELS = 3 };

static double loss_of(struct dinm_encoder *e, size_t *n_right, float *grad, double scale)
{
    struct dinm_error err = {0};
    double loss = 0.0;
    assert_ok(dinm_encoder_train(e, &loss, n_right, grad, scale, ids, first, labels, N_TEXTS, &err),
              &err);
    return loss;
}

/* (L(w + h u) - L(w - h u)) / 2h with the tensor's direction u: [n]. */
static double slope(struct dinm_encoder *e, float *w, const double *u, double h, size_t n)
{
    size_t n_right = 0;
    double sides[2];
    float *before = dinm_alloc(n, sizeof *before, "weights", NULL);
    assert_non_null(before);
    memcpy(before, w, n * sizeof *w);
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < n; i++) {
            w[i] = (float)((double)before[i] + (side == 0 ? h : -h) * u[i]);
        }
        sides[side] = loss_of(e, &n_right, NULL, 1.0);
    }
    memcpy(w, before, n * sizeof *w);
    free(before);
    return (sides[0] - sides[1]) / (2.0 * h);
}

/* Random directions in one tensor: the gradient's product with each must be the slope, up to what
 * float32 can show of the larger of this gradient and a hundredth of the largest. */
static void check_tensor(struct dinm_encoder *e, float *flat, const float *grad,
                         const struct dinm_param *p, double largest)
{
    const double h = 8e-3; /* below, the roundings of the two losses show */
    const size_t n = p->n_out * (p->n_in == 0 ? 1 : p->n_in);
    uint64_t seed = p->offset;
    double norm = 0.0;
    double *u = dinm_alloc(n, sizeof *u, "a direction", NULL);
    assert_non_null(u);
    for (size_t i = 0; i < n; i++) {
        norm += (double)grad[p->offset + i] * (double)grad[p->offset + i];
    }
    norm = fmax(sqrt(norm), 1e-2 * largest);
    for (int trial = 0; trial < 4; trial++) {
        double expected = 0.0;
        for (size_t i = 0; i < n; i++) {
            u[i] = draw(&seed);
            expected += u[i] * (double)grad[p->offset + i];
        }
        /* Richardson's extrapolation removes the error of order h^2. */
        const double found = (4.0 * slope(e, flat + p->offset, u, h, n) -
                              slope(e, flat + p->offset, u, 2.0 * h, n)) /
                             3.0;
        if (!(fabs(found - expected) <= 3e-3 * norm)) {
            fail_msg("%s: slope %.6g, gradient says %.6g (norm %.3g)", p->name, found, expected,
                     norm);
        }
    }
    free(u);
}

static void test_gradient(void **state)
{
    (void)state;
    struct dinm_error err = {0};
    struct dinm_encoder *e = NULL;
    float *flat = random_weights(&tiny, 7);
    const size_t n_params = dinm_encoder_n_params(&tiny);
    float *grad = dinm_alloc(n_params, sizeof *grad, "gradient", NULL);
    float *twice = dinm_alloc(n_params, sizeof *twice, "gradient", NULL);
    size_t n_right = 0;
    double largest = 0.0;
    assert_non_null(grad);
    assert_non_null(twice);
    assert_ok(dinm_encoder_open_flat(&e, &tiny, 0, tiny.n_layers, flat, &err), &err);
    const double loss = loss_of(e, &n_right, grad, 1.0);
    assert_true(loss == loss_of(e, &n_right, NULL, 1.0));
    for (size_t i = 0; i < n_params; i++) {
        largest += (double)grad[i] * (double)grad[i];
    }
    largest = sqrt(largest);
    assert_true(largest > 0.1);
    for (size_t i = 0; i < dinm_encoder_n_tensors(&tiny); i++) {
        const struct dinm_param p = dinm_encoder_param(&tiny, i);
        check_tensor(e, flat, grad, &p, largest);
    }
    /* Accumulates, and scale is a factor. */
    loss_of(e, &n_right, twice, 0.5);
    loss_of(e, &n_right, twice, 1.5);
    for (size_t i = 0; i < n_params; i++) {
        assert_true(fabs((double)twice[i] - 2.0 * (double)grad[i]) <= 1e-5 * largest);
    }
    dinm_encoder_close(e);
    free(twice);
    free(grad);
    free(flat);
}

static void test_loss_is_that_of_logits(void **state)
{
    (void)state;
    struct dinm_error err = {0};
    struct dinm_encoder *e = NULL;
    float *flat = random_weights(&tiny, 3);
    float logits[N_TEXTS * N_LABELS];
    double expected = 0.0;
    size_t expected_right = 0;
    size_t n_right = 0;
    assert_ok(dinm_encoder_open_flat(&e, &tiny, 0, tiny.n_layers, flat, &err), &err);
    assert_ok(dinm_encoder_classify(e, logits, ids, first, N_TEXTS, &err), &err);
    for (size_t i = 0; i < N_TEXTS; i++) {
        const float *row = logits + i * N_LABELS;
        double sum = 0.0;
        size_t best = 0;
        for (size_t k = 0; k < N_LABELS; k++) {
            sum += exp((double)row[k]);
            best = row[k] > row[best] ? k : best;
        }
        expected += log(sum) - (double)row[labels[i]];
        expected_right += best == (size_t)labels[i];
    }
    assert_true(fabs(loss_of(e, &n_right, NULL, 1.0) - expected) < 1e-5);
    assert_int_equal(n_right, expected_right);
    dinm_encoder_close(e);
    free(flat);
}

/* 300 texts of 1 to 18 tokens: more than one chunk of rows. */
static void test_neighbours(void **state)
{
    (void)state;
    enum { MANY = 300 };
    static int32_t all_ids[MANY * 18];
    static size_t all_first[MANY + 1];
    static float together[MANY * N_LABELS], alone[MANY * N_LABELS];
    struct dinm_error err = {0};
    struct dinm_encoder *e = NULL;
    float *flat = random_weights(&tiny, 11);
    uint64_t seed = 1;
    for (size_t i = 0; i < MANY; i++) {
        const size_t n = i < 18 ? i + 1 : 1 + (size_t)((draw(&seed) + 1.0) * 9.0);
        for (size_t k = 0; k < n; k++) {
            all_ids[all_first[i] + k] = (int32_t)((draw(&seed) + 1.0) * 15.0);
        }
        all_first[i + 1] = all_first[i] + n;
    }
    assert_true(all_first[MANY] > 2 * 1024);
    assert_ok(dinm_encoder_open_flat(&e, &tiny, 0, tiny.n_layers, flat, &err), &err);
    dinm_linear_set_threads(2);
    assert_ok(dinm_encoder_classify(e, together, all_ids, all_first, MANY, &err), &err);
    dinm_linear_set_threads(1);
    for (size_t i = 0; i < MANY; i++) {
        assert_ok(dinm_encoder_classify(e, alone + i * N_LABELS, all_ids, all_first + i, 1, &err),
                  &err);
        assert_memory_equal(together + i * N_LABELS, alone + i * N_LABELS,
                            N_LABELS * sizeof(float));
    }
    assert_memory_not_equal(alone, alone + N_LABELS, N_LABELS * sizeof(float));
    dinm_encoder_close(e);
    free(flat);
}

static void test_checkpoint(void **state)
{
    (void)state;
    static const enum dinm_dtype dtypes[] = {DINM_F32, DINM_F16, DINM_BF16};
    char *folder = new_folder();
    float *flat = random_weights(&tiny, 5);
    const size_t n_params = dinm_encoder_n_params(&tiny);
    float *back = dinm_alloc(n_params, sizeof *back, "weights", NULL);
    free(write_text(folder, "config.json", tiny_json));
    assert_non_null(back);
    for (size_t i = 0; i < 3; i++) {
        struct dinm_error err = {0};
        struct dinm_encoder *from_file = NULL;
        struct dinm_encoder *from_flat = NULL;
        struct dinm_checkpoint checkpoint = {0};
        float a[N_TEXTS * N_LABELS], b[N_TEXTS * N_LABELS];
        assert_ok(dinm_encoder_write_flat(folder, flat, &tiny, dtypes[i], &err), &err);
        assert_ok(dinm_checkpoint_open(&checkpoint, folder, &err), &err);
        assert_ok(dinm_encoder_load_flat(back, &tiny, 0, tiny.n_layers, &checkpoint, &err), &err);
        dinm_checkpoint_close(&checkpoint);
        for (size_t k = 0; k < n_params; k++) {
            const double rounding = i == 0 ? 0.0 : i == 1 ? 0x1p-11 : 0x1p-8;
            assert_true(fabs((double)back[k] - (double)flat[k]) <=
                        rounding * fabs((double)flat[k]) + (i == 0 ? 0.0 : 1e-7));
        }
        /* The widened copy of what was written computes the same, bit for bit. */
        assert_ok(dinm_encoder_open(&from_file, folder, 0, 0, &err), &err);
        assert_ok(dinm_encoder_open_flat(&from_flat, &tiny, 0, tiny.n_layers, back, &err), &err);
        assert_memory_equal(dinm_encoder_get_config(from_file), &tiny, sizeof tiny);
        assert_ok(dinm_encoder_classify(from_file, a, ids, first, N_TEXTS, &err), &err);
        assert_ok(dinm_encoder_classify(from_flat, b, ids, first, N_TEXTS, &err), &err);
        assert_memory_equal(a, b, sizeof a);
        dinm_encoder_close(from_file);
        dinm_encoder_close(from_flat);
    }
    free(back);
    free(flat);
    remove_folder(folder);
}

/* A checkpoint whose tensors do not fit its config.json is refused with the tensor's name. */
static void test_misfits(void **state)
{
    (void)state;
    struct dinm_error err = {0};
    struct dinm_encoder *e = NULL;
    char *folder = new_folder();
    struct dinm_encoder_config other = tiny;
    free(write_text(folder, "config.json", tiny_json));
    assert_failed(dinm_encoder_open(&e, folder, 0, 0, &err), DINM_FAILED, &err,
                  "model.safetensors");
    other.d_ff = 41;
    float *flat = random_weights(&other, 5);
    err = (struct dinm_error){0};
    assert_ok(dinm_encoder_write_flat(folder, flat, &other, DINM_F32, &err), &err);
    assert_failed(dinm_encoder_open(&e, folder, 0, 0, &err), DINM_FAILED, &err,
                  "roberta.encoder.layer.0.intermediate.dense.weight has shape [41, 24]; "
                  "config.json asks for [40, 24]");
    free(flat);
    other = tiny;
    other.n_layers = 1;
    flat = random_weights(&other, 5);
    err = (struct dinm_error){0};
    assert_ok(dinm_encoder_write_flat(folder, flat, &other, DINM_F32, &err), &err);
    assert_failed(dinm_encoder_open(&e, folder, 0, 0, &err), DINM_FAILED, &err,
                  "tensor roberta.encoder.layer.1.attention.self.query.weight is missing");
    assert_null(e);
    free(flat);
    remove_folder(folder);
}

static void test_bad_texts(void **state)
{
    (void)state;
    static const int32_t long_ids[19] = {0};
    static const int32_t bad_ids[] = {0, 30, 2, -1};
    static const size_t none[] = {0, 0}, whole[] = {0, 19}, three[] = {0, 1, 2, 3}, four[] = {0, 4};
    static const int32_t bad_labels[] = {0, 3, 0};
    struct dinm_encoder *e = NULL;
    struct dinm_error err = {0};
    float *flat = random_weights(&tiny, 5);
    float logits[3 * N_LABELS];
    double loss = 0.0;
    size_t n_right = 0;
    assert_int_equal(dinm_encoder_max_tokens(&tiny), 18);
    assert_ok(dinm_encoder_open_flat(&e, &tiny, 0, tiny.n_layers, flat, &err), &err);
    assert_ok(dinm_encoder_classify(e, logits, NULL, none, 0, &err), &err);
    assert_failed(dinm_encoder_classify(e, logits, long_ids, none, 1, &err), DINM_FAILED, &err,
                  "text 0 for the classifier has no tokens");
    err = (struct dinm_error){0};
    assert_failed(dinm_encoder_classify(e, logits, long_ids, whole, 1, &err), DINM_FAILED, &err,
                  "has 19 tokens; its model takes 18");
    err = (struct dinm_error){0};
    assert_failed(dinm_encoder_classify(e, logits, bad_ids, three, 3, &err), DINM_FAILED, &err,
                  "text 1 for the classifier has token id 30");
    err = (struct dinm_error){0};
    assert_failed(dinm_encoder_classify(e, logits, bad_ids + 3, three, 1, &err), DINM_FAILED, &err,
                  "token id -1");
    err = (struct dinm_error){0};
    assert_failed(
        dinm_encoder_train(e, &loss, &n_right, NULL, 1.0, bad_ids, four, bad_labels, 1, &err),
        DINM_FAILED, &err, "token id 30");
    err = (struct dinm_error){0};
    assert_failed(
        dinm_encoder_train(e, &loss, &n_right, NULL, 1.0, long_ids, three, bad_labels, 3, &err),
        DINM_FAILED, &err, "text 1 for the classifier has label 3");
    dinm_encoder_close(e);
    dinm_encoder_close(NULL);
    free(flat);
}

static void check_config(const char *folder, const char *from, const char *to, const char *part)
{
    struct dinm_error err = {0};
    struct dinm_encoder_config config = {0};
    static const struct dinm_encoder_config untouched = {0};
    struct dinm_buffer text = {0};
    const char *at = strstr(tiny_json, from);
    assert_non_null(at);
    assert_ok(dinm_buffer_append(&text, tiny_json, (size_t)(at - tiny_json), &err), &err);
    assert_ok(dinm_buffer_append_text(&text, to, &err), &err);
    assert_ok(dinm_buffer_append_text(&text, at + strlen(from), &err), &err);
    free(write_text(folder, "config.json", text.data));
    if (part == NULL) {
        assert_ok(dinm_encoder_config_load(&config, folder, &err), &err);
        assert_memory_not_equal(&config, &untouched, sizeof config);
    } else {
        assert_failed(dinm_encoder_config_load(&config, folder, &err), DINM_FAILED, &err, part);
        assert_memory_equal(&config, &untouched, sizeof config);
    }
    dinm_buffer_free(&text);
}

static void test_config(void **state)
{
    (void)state;
    char *folder = new_folder();
    static const struct {
        const char *from, *to, *part; /* part NULL: fine */
    } cases[] = {
        {"\"roberta\"", "\"bert\"", "model_type is \"bert\""},
        {"\"model_type\": \"roberta\",", "", "model_type"},
        {"RobertaForSequenceClassification", "RobertaForMaskedLM", "RobertaForMaskedLM"},
        {"[\"RobertaForSequenceClassification\"]", "[]", "nothing"},
        {"\"gelu\"", "\"gelu_new\"", "hidden_act is \"gelu_new\""},
        {"\"hidden_size\": 24", "\"hidden_size\": 25", "no multiple of num_attention_heads 3"},
        {"\"hidden_size\": 24,", "", "hidden_size"},
        {"\"hidden_size\": 24", "\"hidden_size\": 0", "hidden_size"},
        {"\"hidden_size\": 24", "\"hidden_size\": 3000000000", "hidden_size"},
        {"\"vocab_size\": 30", "\"vocab_size\": 2147483647, \"is_decoder\": true", "is_decoder"},
        {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 100001", "num_hidden_layers"},
        {"\"hidden_size\": 24", "\"hidden_size\": 2100000000", "beyond any memory"},
        {"\"max_position_embeddings\": 20", "\"max_position_embeddings\": 2",
         "positions are counted from pad_token_id + 1 = 2"},
        {"\"pad_token_id\": 1", "\"pad_token_id\": 30", "pad_token_id"},
        {"\"layer_norm_eps\": 1e-5", "\"layer_norm_eps\": 0", "layer_norm_eps"},
        {"{\"0\": \"a\", \"1\": \"b\", \"2\": \"c\"}", "{\"0\": \"a\"}", NULL},
        {"{\"0\": \"a\", \"1\": \"b\", \"2\": \"c\"}", "{}", "id2label names no label"},
        {"\"id2label\": {\"0\": \"a\", \"1\": \"b\", \"2\": \"c\"},", "", NULL},
        {"\"hidden_act\": \"gelu\"", "\"position_embedding_type\": \"relative_key\"",
         "relative_key"},
        {"\"hidden_act\": \"gelu\"", "\"num_labels\": 0", "num_labels"},
        {"\"hidden_act\": \"gelu\"", "\"num_labels\": 3", NULL},
        {"\"hidden_act\": \"gelu\"", "\"num_labels\": 7",
         "num_labels is 7, but id2label has 3 names"},
        {"\"roberta\"", "\"bert\"", "WordPiece tokenizer is not built"},
        {"\"roberta\"", "\"deberta-v2\"", "model_type is \"deberta-v2\""},
        {"\"hidden_act\": \"gelu\"", "\"hidden_act\": \"swish2\"", "hidden_act is \"swish2\""},
        {"\"hidden_act\": \"gelu\"", "\"classifier_dropout\": null", NULL},
        {"\"hidden_act\": \"gelu\"", "\"quantization_config\": {\"quant_method\": \"gptq\"}",
         "quantised (quant_method \"gptq\")"},
        {"\"hidden_act\": \"gelu\"", "\"quantization_config\": null", NULL},
        {"{\"model_type\"", "[{\"model_type\"", "config.json"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_config(folder, cases[i].from, cases[i].to, cases[i].part);
    }
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient),   cmocka_unit_test(test_loss_is_that_of_logits),
        cmocka_unit_test(test_neighbours), cmocka_unit_test(test_checkpoint),
        cmocka_unit_test(test_misfits),    cmocka_unit_test(test_bad_texts),
        cmocka_unit_test(test_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
