/* What training is made of: records from lines, the order of records, and both objectives' loss
 * and gradient. */
#include "faults.h"
#include "pipeline/train_private.h"
#include "tests/train_fixture.h"

#include <math.h>

struct world {
    char *folder;
    struct dinm_tokenizer *tokenizer;
};

static int set_up(void **state)
{
    static struct world w;
    struct dinm_error err = {0};
    w.folder = new_folder();
    char *tokenizer = dinm_path_join(w.folder, "tokenizer", &err);
    assert_true(fixture_make(w.folder));
    assert_ok(dinm_tokenizer_open(&w.tokenizer, tokenizer, &err), &err);
    free(tokenizer);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    dinm_tokenizer_close(w->tokenizer);
    remove_folder(w->folder);
    return 0;
}

/* ---- records ---- */

static int load_text(struct world *w, struct dinm_train_data *data,
                     const struct dinm_train_objective *objective, size_t max_tokens,
                     const char *text, struct dinm_error *err)
{
    const struct dinm_train_reader reader = {objective, w->tokenizer, max_tokens, 2};
    char *path = write_text(w->folder, "text.jsonl", text);
    int status = dinm_train_data_load(data, path, &reader, err);
    free(path);
    return status;
}

static void expect_record(const struct dinm_train_data *data, size_t i, const int32_t *ids,
                          size_t n, size_t loss_from)
{
    assert_int_equal(data->records[i].n_tokens, n);
    assert_memory_equal(data->ids.ids + data->records[i].first, ids, n * sizeof *ids);
    assert_int_equal(data->records[i].loss_from, loss_from);
}

/* Letters: a 5, b 6, c 7, x 28; ab 31; <s> 0, </s> 1. */
static void test_lm_records(void **state)
{
    struct dinm_error err = {0};
    struct dinm_train_data data = {0};
    assert_ok(load_text(*state, &data, &dinm_train_lm, 6,
                        "{\"text\": \"xc\"}\n"
                        "{\"prompt\": \"xa\", \"response\": \"bc\", \"id\": 7}\n"
                        "{\"prompt\": \"xx\", \"response\": \"cc\"}\r\n"
                        "{\"prompt\": \"xxxxx\", \"response\": \"c\"}\n"
                        "{\"text\": \"xxxxxxxxx\"}\n"
                        "{\"text\": \"\"}",
                        &err),
              &err);
    assert_int_equal(data.n_records, 5);
    expect_record(&data, 0, (const int32_t[]){0, 28, 7, 1}, 4, 1);
    /* "xa" alone has three tokens with <s>; in the whole, a and b are one. */
    expect_record(&data, 1, (const int32_t[]){0, 28, 31, 7, 1}, 5, 3);
    expect_record(&data, 2, (const int32_t[]){0, 28, 28, 7, 7, 1}, 6, 3);
    expect_record(&data, 3, (const int32_t[]){0, 28, 28, 28, 28, 28}, 6, 1);
    expect_record(&data, 4, (const int32_t[]){0, 1}, 2, 1);
    assert_int_equal(data.n_cut, 2);
    assert_int_equal(data.n_left_out, 1);
    assert_int_equal(dinm_train_lm.n_units(&data.records[2]), 3);
    dinm_train_data_free(&data);
    dinm_train_data_free(&data);
}

static void test_classify_records(void **state)
{
    struct dinm_error err = {0};
    struct dinm_train_data data = {0};
    assert_ok(load_text(*state, &data, &dinm_train_classify, 4,
                        "{\"text\": \"xc\", \"label\": 1}\n{\"label\": 0, \"text\": \"xxxxca\"}\n",
                        &err),
              &err);
    assert_int_equal(data.n_records, 2);
    expect_record(&data, 0, (const int32_t[]){0, 28, 7}, 3, 0);
    expect_record(&data, 1, (const int32_t[]){0, 28, 28, 5}, 4, 0);
    assert_int_equal(data.records[0].label, 1);
    assert_int_equal(data.records[1].label, 0);
    assert_int_equal(data.n_cut, 1);
    dinm_train_data_free(&data);
}

static void test_bad_lines(void **state)
{
    static const struct {
        const struct dinm_train_objective *objective;
        const char *text, *part;
    } cases[] = {
        {&dinm_train_lm, "", "text.jsonl holds no records"},
        {&dinm_train_lm, "{\"text\": \"a\"}\n\n{\"text\": \"a\"}", "text.jsonl line 2"},
        {&dinm_train_lm, "{\"text\": \"a\"}\n{\"text\": \"a\"", "text.jsonl line 2"},
        {&dinm_train_lm, "[1]", "text.jsonl line 1: expected an object"},
        {&dinm_train_lm, "{\"txt\": \"a\"}", "text"},
        {&dinm_train_lm, "{\"text\": 1}", "text"},
        {&dinm_train_lm, "{\"prompt\": \"a\"}", "response"},
        {&dinm_train_lm, "{\"prompt\": \"a\", \"response\": \"b\", \"text\": \"c\"}",
         "give either text, or prompt and response"},
        {&dinm_train_lm, "{\"prompt\": \"xxxxxxxxxxx\", \"response\": \"x\"}",
         "none of the 1 records has anything to learn within max_tokens 6"},
        {&dinm_train_classify, "{\"text\": \"a\"}", "label"},
        {&dinm_train_classify, "{\"text\": \"a\", \"label\": 2}", "label"},
        {&dinm_train_classify, "{\"label\": 1}", "text"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct dinm_error err = {0};
        struct dinm_train_data data = {0};
        assert_failed(load_text(*state, &data, cases[i].objective, 6, cases[i].text, &err),
                      DINM_FAILED, &err, cases[i].part);
        dinm_train_data_free(&data);
    }
}

/* ---- order ---- */

static void test_order(void **state)
{
    (void)state;
    enum { N = 50, EPOCHS = 4 };
    size_t seen[EPOCHS][N];
    struct dinm_error err = {0};
    struct dinm_train_order o = {0}, other = {0};
    assert_ok(dinm_train_order_init(&o, N, 7, &err), &err);
    assert_ok(dinm_train_order_init(&other, N, 8, &err), &err);
    size_t n_equal = 0;
    for (int64_t e = 0; e < EPOCHS; e++) {
        int count[N] = {0};
        for (int64_t i = 0; i < N; i++) {
            seen[e][i] = dinm_train_order_at(&o, e * N + i);
            count[seen[e][i]]++;
            n_equal += e > 0 && seen[e][i] == seen[e - 1][i];
            n_equal += seen[e][i] == dinm_train_order_at(&other, e * N + i);
        }
        for (size_t i = 0; i < N; i++) {
            assert_int_equal(count[i], 1);
        }
    }
    assert_true(n_equal < 30); /* about 7 by chance */
    /* A place has the same record again, whatever was asked before. */
    for (int64_t place = EPOCHS * N; place-- > 0;) {
        assert_int_equal(dinm_train_order_at(&o, place), seen[place / N][place % N]);
    }
    dinm_train_order_free(&o);
    dinm_train_order_free(&other);
}

/* ---- objectives ---- */

/* A group of one: nothing is sent. */
static const struct dinm_grid alone = {.size = 1};

struct learner {
    const struct dinm_train_objective *objective;
    struct dinm_train_model model;
    struct dinm_train_data data;
    struct dinm_train_pack pack;
};

static void open_learner(struct learner *l, struct world *w,
                         const struct dinm_train_objective *objective)
{
    struct dinm_error err = {0};
    char config[1024], path[1024];
    snprintf(config, sizeof config, "%s/%s/config.json", w->folder, objective->name);
    snprintf(path, sizeof path, "%s/%s.jsonl", w->folder, objective->name);
    *l = (struct learner){.objective = objective};
    assert_ok(objective->kind->open(&l->model, &alone, config, NULL, 3, &err), &err);
    for (size_t i = 0; i < l->model.n_params; i++) {
        l->model.flat[i] *= 5.0f; /* so that every part of the model matters */
    }
    const struct dinm_train_reader reader = {objective, w->tokenizer, l->model.max_tokens, 2};
    assert_ok(dinm_train_data_load(&l->data, path, &reader, &err), &err);
}

static void close_learner(struct learner *l)
{
    l->objective->kind->close(&l->model);
    free(l->model.flat);
    dinm_train_data_free(&l->data);
    dinm_train_pack_free(&l->pack);
}

static struct dinm_train_score learn(struct learner *l, size_t from, size_t n, float *grad,
                                     double scale)
{
    struct dinm_error err = {0};
    struct dinm_train_score score = {0};
    size_t indices[150];
    assert_true(n <= 150);
    for (size_t i = 0; i < n; i++) {
        indices[i] = from + i;
    }
    assert_ok(dinm_train_pack_fill(&l->pack, &l->data, indices, n, &err), &err);
    const struct dinm_train_lesson lesson = {&l->pack, grad, scale};
    int worst = DINM_OK;
    assert_ok(dinm_train_learn_all(&l->model, l->objective, &lesson, &score, DINM_OK, &worst, &err),
              &err);
    assert_int_equal(worst, DINM_OK);
    return score;
}

/* A pack is the sum of its records, and the head's pieces the sum of their rows: 80 records have
 * more than 512 rows with loss. */
static void check_sums(struct learner *l, float *whole, float *parts)
{
    enum { N = 80 };
    double loss = 0.0, n_units = 0.0, right = 0.0, largest = 0.0;
    const struct dinm_train_score all = learn(l, 0, N, whole, 0.5);
    const struct dinm_train_score look = learn(l, 0, N, NULL, 1.0);
    for (size_t i = 0; i < N; i++) {
        learn(l, i, 1, parts, 0.5);
        const struct dinm_train_score one = learn(l, i, 1, NULL, 1.0);
        loss += one.loss;
        n_units += one.n_units;
        right += one.n_right;
        assert_true(one.n_units == (double)l->objective->n_units(&l->data.records[i]));
    }
    assert_true(fabs(all.loss - loss) < 1e-9 * loss && all.loss == look.loss);
    assert_true(all.n_units == n_units && look.n_units == n_units && look.n_right == right);
    assert_true(l->objective != &dinm_train_lm || n_units > 512.0);
    for (size_t i = 0; i < l->model.n_params; i++) {
        largest = fmax(largest, fabs((double)whole[i]));
    }
    for (size_t i = 0; i < l->model.n_params; i++) {
        assert_true(fabs((double)whole[i] - (double)parts[i]) < 2e-5 * largest);
    }
}

/* Along random directions over all weights, the loss rises as the gradient says. */
static void check_slope(struct learner *l, const float *grad)
{
    const size_t n = l->model.n_params;
    float *before = dinm_alloc(n, sizeof *before, "weights", NULL);
    float *u = dinm_alloc(n, sizeof *u, "a direction", NULL);
    unsigned seed = 5;
    double norm = 0.0;
    assert_non_null(before);
    assert_non_null(u);
    memcpy(before, l->model.flat, n * sizeof *before);
    for (size_t i = 0; i < n; i++) {
        norm += (double)grad[i] * (double)grad[i];
    }
    for (int trial = 0; trial < 5; trial++) {
        double expected = 0.0, sides[2];
        const double h = 1e-4;
        for (size_t i = 0; i < n; i++) {
            u[i] = (float)fixture_draw(&seed, 2001) / 1000.0f - 1.0f;
            expected += (double)grad[i] * (double)u[i];
        }
        for (int side = 0; side < 2; side++) {
            for (size_t i = 0; i < n; i++) {
                l->model.flat[i] = (float)((double)before[i] + (side == 0 ? h : -h) * (double)u[i]);
            }
            sides[side] = 0.5 * learn(l, 0, 80, NULL, 1.0).loss;
        }
        assert_true(fabs((sides[0] - sides[1]) / (2.0 * h) - expected) < 2e-2 * sqrt(norm));
    }
    memcpy(l->model.flat, before, n * sizeof *before);
    free(before);
    free(u);
}

static void check_objective(struct world *w, const struct dinm_train_objective *objective)
{
    struct learner l;
    open_learner(&l, w, objective);
    float *whole = dinm_alloc(l.model.n_params, sizeof *whole, "gradient", NULL);
    float *parts = dinm_alloc(l.model.n_params, sizeof *parts, "gradient", NULL);
    assert_non_null(whole);
    assert_non_null(parts);
    check_sums(&l, whole, parts);
    check_slope(&l, whole);
    free(whole);
    free(parts);
    close_learner(&l);
}

static void test_lm(void **state)
{
    check_objective(*state, &dinm_train_lm);
}

static void test_classify(void **state)
{
    check_objective(*state, &dinm_train_classify);
}

/* Everything that one rank does, for both objectives. */
static int run_once(void *context, struct dinm_error *err)
{
    static const struct dinm_train_objective *const objectives[] = {&dinm_train_lm,
                                                                    &dinm_train_classify};
    struct world *w = context;
    int status = DINM_OK;
    for (size_t i = 0; i < 2 && status == DINM_OK; i++) {
        struct learner l = {.objective = objectives[i]};
        struct dinm_train_score score;
        static const size_t indices[] = {0, 1};
        char config[1024], path[1024];
        snprintf(config, sizeof config, "%s/%s/config.json", w->folder, l.objective->name);
        snprintf(path, sizeof path, "%s/%s_few.jsonl", w->folder, l.objective->name);
        const struct dinm_train_reader reader = {l.objective, w->tokenizer, 20, 2};
        TRY(l.objective->kind->open(&l.model, &alone, config, NULL, 3, err));
        TRY(dinm_train_data_load(&l.data, path, &reader, err));
        TRY(dinm_train_pack_fill(&l.pack, &l.data, indices, 2, err));
        float *grad = dinm_alloc(l.model.n_params, sizeof *grad, "gradient", err);
        const struct dinm_train_lesson lesson = {&l.pack, grad, 1.0};
        int worst = DINM_OK;
        status = dinm_train_learn_all(&l.model, l.objective, &lesson, &score,
                                      grad == NULL ? DINM_FAILED : DINM_OK, &worst, err);
        free(grad);
    out:
        close_learner(&l);
    }
    return status;
}

static void test_allocations(void **state)
{
    struct world *w = *state;
    assert_true(fixture_lm_data(w->folder, "lm_few.jsonl", 1, 2));
    assert_true(fixture_classify_data(w->folder, "classify_few.jsonl", 1, 2));
    fault_cjson();
    fail_each_allocation(run_once, w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lm_records),  cmocka_unit_test(test_classify_records),
        cmocka_unit_test(test_bad_lines),   cmocka_unit_test(test_order),
        cmocka_unit_test(test_lm),          cmocka_unit_test(test_classify),
        cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
