/* model/slice, forward: the same bits however the rows come. */
#include "reference.h"

enum { N_TOKENS = 150 };

/* Configurations whose products take different ways through BLAS. */
static struct dinm_config config_of(size_t which)
{
    struct dinm_config c = small_config(which == 1, which == 0 ? 4 : 2);

    if (which == 2) {
        c.n_layers = 2;
        c.d_model = 256;
        c.n_heads = 4;
        c.d_head = 64;
        c.d_ff = 700;
        c.n_vocab = 300;
    }
    return c;
}

/* logits: [n][n_vocab] of ids read in pieces of 1 to `longest` tokens behind a cache. */
static float *read_pieces(const struct dinm_slice *s, enum dinm_dtype dtype, const int32_t *ids,
                          size_t n, size_t longest)
{
    const struct dinm_config *c = &s->config;
    struct dinm_kv kv = {0};
    struct dinm_error err = {0};
    float *logits = zeros(n * c->n_vocab), *x = zeros(n * c->d_model);

    assert_ok(dinm_kv_init(&kv, c, dtype, c->n_layers, n + 9, &err), &err);
    /* NaNs: only what was read counts. */
    memset(kv.k, 0xff, dinm_kv_at(&kv, kv.n_layers));
    memset(kv.v, 0xff, dinm_kv_at(&kv, kv.n_layers));
    while (kv.n_tokens < n) {
        const size_t first = kv.n_tokens, some = 1 + pick(longest, first, longest);
        const size_t n_rows = some < n - first ? some : n - first;
        const struct dinm_sequence sequence = {.n_rows = n_rows, .kv = &kv};

        pass(s, logits + first * c->n_vocab, x, ids + first,
             &(struct dinm_rows){&sequence, 1, n_rows}, NULL);
        kv.n_tokens += n_rows;
    }
    dinm_kv_free(&kv);
    free(x);
    return logits;
}

/* Logits must not tell in which pieces a text was read, nor with how many threads. */
static void check_pieces(const struct dinm_slice *s, enum dinm_dtype dtype, const float *expected,
                         const int32_t *ids, size_t n)
{
    const size_t longest[] = {1, 20, 90, n}; /* 1: token by token */

    for (int n_threads = 1; n_threads <= 2; n_threads++) {
        for (size_t i = 0; i < sizeof longest / sizeof *longest; i++) {
            dinm_linear_set_threads(n_threads);
            float *logits = read_pieces(s, dtype, ids, n, longest[i]);
            assert_same_bits(logits, expected, n * s->config.n_vocab);
            free(logits);
        }
    }
}

/* A float32 cache changes nothing, one in bf16 a little. */
static void test_pieces(void **state)
{
    (void)state;
    for (size_t which = 0; which < 3; which++) {
        const struct dinm_config c = config_of(which);
        float *flat = random_flat(&c, 2), *logits = zeros(N_TOKENS * c.n_vocab);
        struct dinm_slice s = flat_slice(&c, flat);
        double size = 0.0, difference = 0.0;
        int32_t ids[N_TOKENS];

        fill_ids(ids, N_TOKENS, &c, 2);
        dinm_linear_set_threads(2);
        pass_whole(&s, logits, ids, N_TOKENS, NULL);
        check_pieces(&s, DINM_F32, logits, ids, N_TOKENS);
        float *rounded = read_pieces(&s, DINM_BF16, ids, N_TOKENS, 50);
        check_pieces(&s, DINM_BF16, rounded, ids, N_TOKENS);
        for (size_t i = 0; i < N_TOKENS * c.n_vocab; i++) {
            size = fmax(size, fabs((double)logits[i]));
            difference = fmax(difference, fabs((double)rounded[i] - (double)logits[i]));
        }
        assert_true(difference > 0.0 && difference < 0.03 * size);
        dinm_slice_close(&s);
        free(flat);
        free(logits);
        free(rounded);
    }
}

/* A decoding batch: sequences of different lengths and edits, some reading a prompt, some adding a
 * token. Each must have the bits that it has alone. */
enum { N_SEQUENCES = 7, N_ROUNDS = 4 };

struct party {
    const struct dinm_edit *edits[N_SEQUENCES];
    int32_t ids[N_SEQUENCES][N_TOKENS];
    size_t n_ids[N_SEQUENCES];
    float *alone[N_SEQUENCES]; /* owns: [n_ids][n_vocab] */
    struct dinm_kv kv[N_SEQUENCES];
};

/* Rows that sequence i has in a round: all but the last few tokens first, then one each. */
static size_t rows_in_round(const struct party *p, size_t i, size_t round)
{
    if (round == 0) {
        return i % 3 == 2 ? 0 : p->n_ids[i] - N_ROUNDS + 1;
    }
    if (round == 1 && i % 3 == 2) {
        return p->n_ids[i] - N_ROUNDS + 2; /* joins late */
    }
    return 1;
}

static void run_round(const struct dinm_slice *s, struct party *p, size_t round)
{
    const struct dinm_config *c = &s->config;
    struct dinm_sequence sequences[N_SEQUENCES];
    size_t who[N_SEQUENCES], n = 0, n_rows = 0;
    int32_t *ids = items(N_SEQUENCES * N_TOKENS, sizeof *ids);

    for (size_t i = 0; i < N_SEQUENCES; i++) {
        const size_t more = rows_in_round(p, i, round);

        if (more > 0) {
            who[n] = i;
            sequences[n++] =
                (struct dinm_sequence){.n_rows = more, .kv = &p->kv[i], .edit = p->edits[i]};
            memcpy(ids + n_rows, p->ids[i] + p->kv[i].n_tokens, more * sizeof *ids);
            n_rows += more;
        }
    }
    float *logits = zeros(n_rows * c->n_vocab), *x = zeros(n_rows * c->d_model);

    pass(s, logits, x, ids, &(struct dinm_rows){sequences, n, n_rows}, NULL);
    for (size_t j = 0, row = 0; j < n; row += sequences[j++].n_rows) {
        struct dinm_kv *kv = &p->kv[who[j]];

        assert_same_bits(logits + row * c->n_vocab, p->alone[who[j]] + kv->n_tokens * c->n_vocab,
                         sequences[j].n_rows * c->n_vocab);
        kv->n_tokens += sequences[j].n_rows;
    }
    free(ids);
    free(logits);
    free(x);
}

static void check_party(const struct dinm_slice *s, const struct dinm_edit edits[2])
{
    const struct dinm_config *c = &s->config;
    struct party *p = items(1, sizeof *p);
    struct dinm_error err = {0};

    for (size_t i = 0; i < N_SEQUENCES; i++) {
        p->n_ids[i] = 10 + 19 * i;
        p->edits[i] = i == 0 || i == 4 ? NULL : &edits[i > 4]; /* runs, and runs broken off */
        fill_ids(p->ids[i], p->n_ids[i], c, 30 + i);
        p->alone[i] = zeros(p->n_ids[i] * c->n_vocab);
        pass_whole(s, p->alone[i], p->ids[i], p->n_ids[i], p->edits[i]);
        assert_ok(dinm_kv_init(&p->kv[i], c, DINM_F32, c->n_layers, p->n_ids[i], &err), &err);
    }
    for (size_t round = 0; round < N_ROUNDS; round++) {
        run_round(s, p, round);
    }
    for (size_t i = 0; i < N_SEQUENCES; i++) {
        assert_int_equal(p->kv[i].n_tokens, p->n_ids[i]);
        dinm_kv_free(&p->kv[i]);
        free(p->alone[i]);
    }
    free(p);
}

static void test_batches(void **state)
{
    (void)state;
    for (size_t which = 0; which < 3; which++) {
        const struct dinm_config c = config_of(which);
        const size_t n_down = c.d_model * c.d_ff;
        float *flat = random_flat(&c, 2);
        float *w0 = normals(n_down, 0.1, 31), *w1 = normals(n_down, 0.1, 32);
        const struct dinm_edit edits[2] = {
            {0, {.data = w0, .dtype = DINM_F32, .n_out = c.d_model, .n_in = c.d_ff}},
            {1, {.data = w1, .dtype = DINM_F32, .n_out = c.d_model, .n_in = c.d_ff}}};
        struct dinm_slice s = flat_slice(&c, flat);

        for (int n_threads = 1; n_threads <= 2; n_threads++) {
            dinm_linear_set_threads(n_threads);
            check_party(&s, edits);
        }
        dinm_slice_close(&s);
        free(flat);
        free(w0);
        free(w1);
    }
}

/* A model cut in two slices opened from its folder is the model, cache included. */
static void check_slices(enum dinm_dtype dtype, bool tied)
{
    const struct dinm_config c = small_config(tied, 2);
    const size_t n = 33, n_params = dinm_weights_n_params(&c);
    float *flat = random_flat(&c, 6), *expected = zeros(n * c.n_vocab);
    float *logits = zeros(n * c.n_vocab), *x = zeros(n * c.d_model), *normed = zeros(c.d_model);
    char *folder = model_folder(&c, flat, dtype);
    void *narrow = items(n_params, dinm_dtype_size(dtype));
    struct dinm_slice whole, below, above;
    struct dinm_kv kv_below = {0}, kv_above = {0};
    struct dinm_workspace *ws = NULL;
    struct dinm_error err = {0};
    int32_t ids[33];

    dinm_narrow(narrow, dtype, flat, n_params);
    dinm_widen(flat, narrow, dtype, n_params);
    whole = flat_slice(&c, flat);
    fill_ids(ids, n, &c, 6);
    pass_whole(&whole, expected, ids, n, NULL);
    assert_ok(dinm_slice_open(&below, folder, 0, 1, &err), &err);
    assert_ok(dinm_slice_open(&above, folder, 1, 0, &err), &err);
    assert_ok(dinm_kv_init(&kv_below, &c, DINM_F32, 1, n, &err), &err);
    assert_ok(dinm_kv_init(&kv_above, &c, DINM_F32, 2, n, &err), &err);
    for (size_t i = 0; i < n; i++) {
        struct dinm_sequence sequence = {.n_rows = 1, .kv = &kv_below};
        const struct dinm_rows rows = {&sequence, 1, 1};

        assert_ok(dinm_workspace_reserve(&ws, &c, &rows, &err), &err);
        dinm_slice_embed(&below, x, ids + i, &rows);
        dinm_slice_forward(&below, x, &rows, 0, 1, NULL, NULL, ws);
        sequence.kv = &kv_above;
        dinm_slice_forward(&above, x, &rows, 1, 3, NULL, NULL, ws);
        dinm_slice_head(&above, logits + i * c.n_vocab, normed, x, NULL, 1);
        kv_below.n_tokens++;
        kv_above.n_tokens++;
    }
    assert_same_bits(logits, expected, n * c.n_vocab);
    dinm_workspace_free(ws);
    dinm_kv_free(&kv_below);
    dinm_kv_free(&kv_above);
    dinm_slice_close(&whole);
    dinm_slice_close(&below);
    dinm_slice_close(&above);
    dinm_slice_close(&above);
    remove_folder(folder);
    free(flat);
    free(expected);
    free(logits);
    free(x);
    free(normed);
    free(narrow);
}

static void test_slices(void **state)
{
    (void)state;
    check_slices(DINM_F32, false);
    check_slices(DINM_F16, true);
    check_slices(DINM_BF16, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_slices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
