/* The classifier with every allocation and system call failing in turn. */
#include "faults.h"
#include "model/encoder.h"

static const char config_json[] =
    "{\"model_type\": \"roberta\", \"num_hidden_layers\": 1, \"hidden_size\": 8,"
    "\"num_attention_heads\": 2, \"intermediate_size\": 12, \"vocab_size\": 10,"
    "\"max_position_embeddings\": 12, \"type_vocab_size\": 1}";
static const int32_t ids[] = {0, 5, 9, 2, 0, 2};
static const size_t first[] = {0, 4, 6};
static const int32_t labels[] = {1, 0};

struct files {
    char *folder; /* with a checkpoint */
    float *flat;
    struct dinm_encoder_config config;
};

static void make_files(struct files *f)
{
    struct dinm_error err = {0};
    f->folder = new_folder();
    free(write_text(f->folder, "config.json", config_json));
    assert_ok(dinm_encoder_config_load(&f->config, f->folder, &err), &err);
    f->flat = dinm_alloc(dinm_encoder_n_params(&f->config), sizeof *f->flat, "weights", &err);
    assert_non_null(f->flat);
    dinm_encoder_init_flat(f->flat, &f->config, 0, f->config.n_layers, 1);
    assert_ok(dinm_encoder_write_flat(f->folder, f->flat, &f->config, DINM_F16, &err), &err);
}

static void remove_files(struct files *f)
{
    free(f->flat);
    remove_folder(f->folder);
}

static int judge(void *context, struct dinm_error *err)
{
    int status = DINM_OK;
    struct files *f = context;
    struct dinm_encoder *e = NULL;
    float logits[4];
    TRY(dinm_encoder_open(&e, f->folder, 0, 0, err));
    TRY(dinm_encoder_classify(e, logits, ids, first, 2, err));
out:
    dinm_encoder_close(e);
    return status;
}

static int train(void *context, struct dinm_error *err)
{
    int status = DINM_OK;
    struct files *f = context;
    struct dinm_encoder *e = NULL;
    struct dinm_checkpoint checkpoint = {0};
    double loss = 0.0;
    size_t n_right = 0;
    float *grad = dinm_alloc(dinm_encoder_n_params(&f->config), sizeof *grad, "gradient", err);
    if (grad == NULL) {
        return DINM_FAILED;
    }
    TRY(dinm_checkpoint_open(&checkpoint, f->folder, err));
    TRY(dinm_encoder_load_flat(f->flat, &f->config, 0, f->config.n_layers, &checkpoint, err));
    TRY(dinm_encoder_open_flat(&e, &f->config, 0, f->config.n_layers, f->flat, err));
    TRY(dinm_encoder_train(e, &loss, &n_right, NULL, 1.0, ids, first, labels, 2, err));
    TRY(dinm_encoder_train(e, &loss, &n_right, grad, 1.0, ids, first, labels, 2, err));
    TRY(dinm_encoder_write_flat(f->folder, f->flat, &f->config, DINM_F32, err));
out:
    dinm_encoder_close(e);
    dinm_checkpoint_close(&checkpoint);
    free(grad);
    return status;
}

static void test_allocations(void **state)
{
    struct files f = {0};
    (void)state;
    make_files(&f);
    fault_cjson();
    fail_each_allocation(judge, &f);
    fail_each_allocation(train, &f);
    remove_files(&f);
}

static void test_system_calls(void **state)
{
    static int (*const runs[])(void *, struct dinm_error *) = {judge, train};
    struct files f = {0};
    (void)state;
    make_files(&f);
    for (size_t i = 0; i < 2; i++) {
        for (size_t nth = 1;; nth++) {
            struct dinm_error err = {0};
            fault_set(FAULT_SYSTEM, nth);
            const int status = runs[i](&f, &err);
            if (!fault_end()) {
                assert_ok(status, &err);
                assert_true(nth > 3);
                break;
            }
            /* A close after reading may fail unnoticed; nothing is lost by it. */
            if (status != DINM_OK) {
                assert_failed(status, DINM_FAILED, &err, f.folder);
            }
        }
    }
    remove_files(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocations),
        cmocka_unit_test(test_system_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
