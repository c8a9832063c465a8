/* model/slice, forward: against the float64 decoder; edits and taps. */
#include "reference.h"

/* The reference's parameters: flat in float64. */
static double *widen_flat(const float *flat, size_t n)
{
    double *wide = items(n, sizeof *wide);

    for (size_t i = 0; i < n; i++) {
        wide[i] = (double)flat[i];
    }
    return wide;
}

static void check_values(bool tied, size_t n_kv_heads, size_t key_first, size_t key_last)
{
    const struct dinm_config c = small_config(tied, n_kv_heads);
    const size_t n = 40, n_logits = n * c.n_vocab, n_params = dinm_weights_n_params(&c);
    const struct dinm_sequence sequence = {
        .n_rows = n, .key_first = key_first, .key_last = key_last};
    float *flat = random_flat(&c, 1), *logits = zeros(n_logits), *x = zeros(n * c.d_model);
    double *wide = widen_flat(flat, n_params), *expected = items(n_logits, sizeof *expected);
    struct dinm_slice s = flat_slice(&c, flat);
    int32_t ids[40];

    fill_ids(ids, n, &c, 1);
    pass(&s, logits, x, ids, &(struct dinm_rows){&sequence, 1, n}, NULL);
    reference_forward(
        expected,
        &(struct reference){.c = &c, .flat = wide, .key_first = key_first, .key_last = key_last},
        ids, n);
    for (size_t i = 0; i < n_logits; i++) {
        assert_near((double)logits[i], expected[i], 1e-5); /* logits of size 1 to 5 */
    }
    dinm_slice_close(&s);
    free(flat);
    free(logits);
    free(x);
    free(wide);
    free(expected);
}

static void test_values(void **state)
{
    (void)state;
    check_values(false, 4, 0, 0);
    check_values(false, 2, 0, 0);
    check_values(true, 1, 0, 0);
    check_values(false, 2, 0, 30);  /* padded on the right */
    check_values(false, 2, 11, 40); /* padded on the left: rows 0 to 10 see nothing */
}

/* An edit counts in its layer, and gives what the model with that matrix would. */
static void test_edit(void **state)
{
    const struct dinm_config c = small_config(false, 2);
    const size_t n = 30, n_down = c.d_model * c.d_ff, n_logits = n * c.n_vocab;
    float *flat = random_flat(&c, 3), *w = normals(n_down, 0.2, 4);
    float *edited = zeros(n_logits), *swapped = zeros(n_logits), *plain = zeros(n_logits);
    const struct dinm_edit edit = {
        1, {.data = w, .dtype = DINM_F32, .n_out = c.d_model, .n_in = c.d_ff}};
    struct dinm_slice s = flat_slice(&c, flat);
    int32_t ids[30];

    (void)state;
    fill_ids(ids, n, &c, 3);
    pass_whole(&s, edited, ids, n, &edit);
    pass_whole(&s, plain, ids, n, NULL);
    memcpy(flat + find_param(&c, "model.layers.1.mlp.down_proj.weight").offset, w,
           n_down * sizeof *w);
    pass_whole(&s, swapped, ids, n, NULL);
    assert_same_bits(edited, swapped, n_logits);
    assert_true(memcmp(edited, plain, n_logits * sizeof *plain) != 0);
    dinm_slice_close(&s);
    free(flat);
    free(w);
    free(edited);
    free(swapped);
    free(plain);
}

/* Taps: the states after each layer, and the edit's identity resid_post = mid + h W_V^T. */
static void test_taps(void **state)
{
    const struct dinm_config c = small_config(true, 2);
    const size_t n = 30, plane = n * c.d_model;
    const struct dinm_sequence sequence = {.n_rows = n};
    const struct dinm_rows rows = {&sequence, 1, n};
    float *flat = random_flat(&c, 3), *logits = zeros(n * c.n_vocab), *x = zeros(plane);
    float *post[3] = {zeros(plane), NULL, zeros(plane)}, *mid = zeros(plane);
    float *h = zeros(n * c.d_ff), *y = zeros(plane);
    struct dinm_slice s = flat_slice(&c, flat);
    struct dinm_workspace *ws = NULL;
    struct dinm_error err = {0};
    int32_t ids[30];

    (void)state;
    fill_ids(ids, n, &c, 5);
    pass(&s, logits, x, ids, &rows,
         &(struct dinm_taps){.resid_post = post, .mid_layer = 2, .resid_mid = mid, .h_down = h});
    assert_same_bits(post[2], x, plane);
    dinm_linear(y, h, &s.weights.layers[2].down, NULL, n);
    for (size_t i = 0; i < plane; i++) {
        y[i] += mid[i];
    }
    assert_same_bits(y, x, plane);

    assert_ok(dinm_workspace_reserve(&ws, &c, &rows, &err), &err);
    dinm_slice_embed(&s, x, ids, &rows);
    dinm_slice_forward(&s, x, &rows, 0, 1, NULL, NULL, ws);
    assert_same_bits(post[0], x, plane);
    dinm_slice_forward(&s, x, &rows, 1, 3, NULL, NULL, ws);
    assert_same_bits(post[2], x, plane);
    dinm_workspace_free(ws);
    dinm_slice_close(&s);
    free(flat);
    free(logits);
    free(x);
    free(post[0]);
    free(post[2]);
    free(mid);
    free(h);
    free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_edit),
        cmocka_unit_test(test_taps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
