/* model/attention: against float64 loops; the same bits in a prompt, in pieces of it, and alone;
 * gradients against differences of the float64 loss. */
#include "numbers.h"
#include <float.h>
#include "model/attention.h"

static const struct dinm_attention cases[] = {
    /* rows, keys, heads, key heads, d_head, causal, window, key_first, key_last */
    {1, 1, 1, 1, 2, true, 0, 0, 1},        {5, 5, 2, 2, 8, true, 0, 0, 5},
    {64, 64, 4, 2, 16, true, 0, 0, 64},    {65, 65, 8, 1, 32, true, 0, 0, 65},
    {150, 150, 4, 4, 64, true, 0, 0, 150}, {40, 200, 6, 2, 24, true, 0, 0, 200},
    {1, 129, 4, 2, 16, true, 0, 0, 129},   {70, 70, 4, 2, 16, true, 0, 13, 70},
    {70, 70, 4, 2, 16, true, 0, 0, 50},    {130, 130, 2, 1, 16, true, 0, 90, 130},
    {33, 33, 4, 4, 16, false, 0, 0, 33},   {140, 140, 2, 2, 64, false, 0, 0, 140},
    {50, 50, 3, 3, 10, false, 0, 7, 41},   {1100, 1100, 1, 1, 128, true, 0, 0, 1100},
    {90, 90, 4, 2, 16, true, 1, 0, 90},    {150, 150, 4, 2, 16, true, 24, 0, 150},
    {40, 200, 2, 1, 24, true, 70, 0, 200}, {1, 300, 2, 2, 16, true, 64, 0, 300},
    {80, 80, 2, 2, 16, true, 30, 0, 20},   {140, 140, 2, 1, 16, true, 128, 9, 140},
};
enum { N_CASES = sizeof cases / sizeof *cases };

struct arrays {
    float *q, *k, *v, *out, *scratch;
    size_t n_q, n_kv;
};

static struct arrays make_arrays(const struct dinm_attention *a)
{
    struct arrays x = {.n_q = a->n_rows * a->n_heads * a->d_head,
                       .n_kv = a->n_keys * a->n_kv_heads * a->d_head};

    x.q = normals(x.n_q, 1.0, 1);
    x.k = normals(x.n_kv, 1.0, 2);
    x.v = normals(x.n_kv, 1.0, 3);
    x.out = zeros(x.n_q);
    dinm_linear_set_threads(2);
    x.scratch = zeros(dinm_attention_scratch(a));
    for (size_t i = 0; i < dinm_attention_scratch(a); i++) {
        x.scratch[i] = NAN; /* what is in it must not matter */
    }
    return x;
}

static void free_arrays(struct arrays *x)
{
    free(x->q);
    free(x->k);
    free(x->v);
    free(x->out);
    free(x->scratch);
}

/* One output row of one head in float64 from float64 inputs; out: [d_head]. p: [n_keys]. */
static void reference_row(double *out, double *p, const double *q, const double *k, const double *v,
                          const struct dinm_attention *a, size_t row, size_t head)
{
    const size_t d = a->d_head, kv = head / (a->n_heads / a->n_kv_heads);
    const size_t own = a->n_keys - a->n_rows + row;
    double sum = 0.0, largest = -INFINITY;
    size_t n_seen = 0;

    for (size_t j = 0; j < a->n_keys; j++) {
        double s = 0.0;

        for (size_t i = 0; i < d; i++) {
            s += q[(row * a->n_heads + head) * d + i] * k[(j * a->n_kv_heads + kv) * d + i];
        }
        p[j] = s / sqrt((double)d);
        const bool behind = a->window > 0 && j + a->window <= own;

        if ((a->causal && (j > own || behind)) || j < a->key_first || j >= a->key_last) {
            p[j] = -INFINITY;
        }
        n_seen += p[j] > -INFINITY;
        largest = p[j] > largest ? p[j] : largest;
    }
    for (size_t j = 0; j < a->n_keys; j++) {
        p[j] = n_seen > 0 ? exp(p[j] - largest) : 1.0;
        sum += p[j];
    }
    for (size_t i = 0; i < d; i++) {
        out[i] = 0.0;
        for (size_t j = 0; j < a->n_keys; j++) {
            out[i] += p[j] / sum * v[(j * a->n_kv_heads + kv) * d + i];
        }
    }
}

static void attend(float *out, const float *q, const float *k, const float *v,
                   const struct dinm_attention *a, float *scratch)
{
    const size_t d = a->d_head;

    dinm_attention_forward(
        &(struct dinm_attention_call){*a, out, q, k, v, DINM_F32, a->n_kv_heads * d, d}, 1,
        scratch);
}

static double *widened(const float *x, size_t n)
{
    double *y = items(n, sizeof *y);

    for (size_t i = 0; i < n; i++) {
        y[i] = (double)x[i];
    }
    return y;
}

static void test_values(void **state)
{
    (void)state;
    for (size_t c = 0; c < N_CASES; c++) {
        const struct dinm_attention *a = &cases[c];
        struct arrays x = make_arrays(a);
        double *q = widened(x.q, x.n_q), *k = widened(x.k, x.n_kv), *v = widened(x.v, x.n_kv);
        double *p = items(a->n_keys, sizeof *p), *out = items(a->d_head, sizeof *out);

        attend(x.out, x.q, x.k, x.v, a, x.scratch);
        for (size_t row = 0; row < a->n_rows; row++) {
            for (size_t h = 0; h < a->n_heads; h++) {
                reference_row(out, p, q, k, v, a, row, h);
                for (size_t i = 0; i < a->d_head; i++) {
                    /* values of size 1, weights that sum to 1, errors of n_keys roundings each */
                    assert_near((double)x.out[(row * a->n_heads + h) * a->d_head + i], out[i],
                                4e-6);
                }
            }
        }
        free(q);
        free(k);
        free(v);
        free(p);
        free(out);
        free_arrays(&x);
    }
}

/* Rows [first, first + n) of a causal sequence, behind the keys before them. */
static void piece(float *out, const struct arrays *x, const struct dinm_attention *whole,
                  size_t first, size_t n)
{
    const size_t d_q = whole->n_heads * whole->d_head, d_kv = whole->n_kv_heads * whole->d_head;
    struct dinm_attention a = *whole;
    float *k = zeros(x->n_kv), *v = zeros(x->n_kv);

    a.n_rows = n;
    a.n_keys = a.key_last = first + n;
    memcpy(k, x->k, a.n_keys * d_kv * sizeof *k);
    memcpy(v, x->v, a.n_keys * d_kv * sizeof *v);
    for (size_t i = a.n_keys * d_kv; i < x->n_kv; i++) {
        k[i] = v[i] = NAN; /* the cache's room beyond the keys */
    }
    attend(out + first * d_q, x->q + first * d_q, k, v, &a, x->scratch);
    free(k);
    free(v);
}

static void test_bits(void **state)
{
    (void)state;
    for (size_t c = 0; c < N_CASES; c++) {
        const struct dinm_attention *a = &cases[c];
        struct arrays x = make_arrays(a);
        float *out = zeros(x.n_q);

        attend(x.out, x.q, x.k, x.v, a, x.scratch);
        for (int n_threads = 1; n_threads <= 2; n_threads++) {
            dinm_linear_set_threads(n_threads);
            attend(out, x.q, x.k, x.v, a, x.scratch);
            assert_same_bits(out, x.out, x.n_q);
        }
        if (a->causal && a->n_rows == a->n_keys && a->key_first == 0 && a->key_last == a->n_keys) {
            for (size_t longest = 1; longest <= 100; longest += 33) {
                memset(out, 0, x.n_q * sizeof *out);
                for (size_t first = 0, n; first < a->n_rows; first += n) {
                    n = 1 + pick(longest, first, longest);
                    n = n < a->n_rows - first ? n : a->n_rows - first;
                    piece(out, &x, a, first, n);
                }
                assert_same_bits(out, x.out, x.n_q);
            }
        }
        free(out);
        free_arrays(&x);
    }
}

/* Keys as a cache may hold them: bf16 [n_heads][n_keys][d] from [n_keys][n_heads][d], which are
 * rounded as well. */
static uint16_t *by_head(float *from, size_t n_keys, size_t n_heads, size_t d)
{
    uint16_t *to = items(n_keys * n_heads * d, sizeof *to);

    for (size_t j = 0; j < n_keys; j++) {
        for (size_t h = 0; h < n_heads; h++) {
            uint16_t *key = to + (h * n_keys + j) * d;

            dinm_narrow(key, DINM_BF16, from + (j * n_heads + h) * d, d);
            dinm_widen(from + (j * n_heads + h) * d, key, DINM_BF16, d);
        }
    }
    return to;
}

/* Sequences of every length, mask, layout and dtype of keys beside each other, as each alone. */
static void test_many(void **state)
{
    enum { HEADS = 4, KV_HEADS = 2, D = 16, MOST = 200, N = 40 };
    const size_t n_q = MOST * HEADS * D;
    struct dinm_attention_call calls[N];
    float *q = normals(n_q, 1.0, 5), *k = normals(MOST * KV_HEADS * D, 1.0, 6);
    float *v = normals(MOST * KV_HEADS * D, 1.0, 7), *alone = zeros(n_q);
    uint16_t *k_by_head = by_head(k, MOST, KV_HEADS, D), *v_by_head = by_head(v, MOST, KV_HEADS, D);
    struct dinm_attention largest = {1, MOST, HEADS, KV_HEADS, D, true, 0, 0, MOST};

    (void)state;
    for (size_t i = 0; i < N; i++) {
        struct dinm_attention *a = &calls[i].shape;
        *a = largest;
        a->n_keys = a->key_last = 1 + pick(MOST, i, 1);
        a->n_rows = i % 3 == 0 ? 1 : 1 + pick(a->n_keys, i, 2);
        a->window = i % 4 == 3 ? 20 : 0;
        calls[i].out = zeros(n_q);
        calls[i].q = q;
        calls[i].k = i % 2 == 0 ? (void *)k : k_by_head;
        calls[i].v = i % 2 == 0 ? (void *)v : v_by_head;
        calls[i].kv_dtype = i % 2 == 0 ? DINM_F32 : DINM_BF16;
        calls[i].key_stride = i % 2 == 0 ? KV_HEADS * D : D;
        calls[i].head_stride = i % 2 == 0 ? D : MOST * D;
    }
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        dinm_linear_set_threads(n_threads);
        float *scratch = zeros(dinm_attention_scratch(&largest));
        dinm_attention_forward(calls, N, scratch);
        for (size_t i = 0; i < N; i++) {
            const struct dinm_attention *a = &calls[i].shape;
            attend(alone, q, k, v, a, scratch);
            assert_same_bits(calls[i].out, alone, a->n_rows * HEADS * D);
            memset(calls[i].out, 0, n_q * sizeof *q);
        }
        free(scratch);
    }
    for (size_t i = 0; i < N; i++) {
        free(calls[i].out);
    }
    free(q);
    free(k);
    free(v);
    free(k_by_head);
    free(v_by_head);
    free(alone);
}

/* sum(out dout) in float64 of inputs moved by `step` along the directions. */
static double loss_at(const struct arrays *x, const float *dout, const struct dinm_attention *a,
                      const float *const along[3], double step)
{
    const float *const from[3] = {x->q, x->k, x->v};
    const size_t n[3] = {x->n_q, x->n_kv, x->n_kv};
    double *moved[3], *p = items(a->n_keys, sizeof *p), *out = items(a->d_head, sizeof *out);
    double loss = 0.0;

    for (size_t t = 0; t < 3; t++) {
        moved[t] = widened(from[t], n[t]);
        for (size_t i = 0; i < n[t]; i++) {
            moved[t][i] += step * (double)along[t][i];
        }
    }
    for (size_t row = 0; row < a->n_rows; row++) {
        for (size_t h = 0; h < a->n_heads; h++) {
            reference_row(out, p, moved[0], moved[1], moved[2], a, row, h);
            for (size_t i = 0; i < a->d_head; i++) {
                loss += out[i] * (double)dout[(row * a->n_heads + h) * a->d_head + i];
            }
        }
    }
    for (size_t t = 0; t < 3; t++) {
        free(moved[t]);
    }
    free(p);
    free(out);
    return loss;
}

/* One input moves along `along`, the others stay. The float64 difference is good to 1e-8; the
 * float32 gradient g errs by a few roundings of its own size, so by 1e-6 |g| |along|. */
static void check_direction(const struct arrays *x, const float *dout,
                            const struct dinm_attention *a, size_t which, const float *gradient,
                            const float *along)
{
    const size_t n = which == 0 ? x->n_q : x->n_kv;
    float *still = zeros(x->n_q > x->n_kv ? x->n_q : x->n_kv);
    const float *directions[3] = {still, still, still};
    const double step = 1e-5, size = sqrt(dot(gradient, gradient, n) * dot(along, along, n));

    directions[which] = along;
    const double slope =
        (loss_at(x, dout, a, directions, step) - loss_at(x, dout, a, directions, -step)) /
        (2.0 * step);

    assert_near(dot(gradient, along, n), slope, 2e-6 * size + 1e-7);
    free(still);
}

static void check_gradients(const struct dinm_attention *a)
{
    struct arrays x = make_arrays(a);
    float *dout = normals(x.n_q, 1.0, 7), *along_q = normals(x.n_q, 1.0, 8);
    float *along_kv = normals(x.n_kv, 1.0, 9);
    float *dq = normals(x.n_q, 1.0, 10), *dk = zeros(x.n_kv), *dv = zeros(x.n_kv);
    float *dq1 = zeros(x.n_q), *dk1 = zeros(x.n_kv), *dv1 = zeros(x.n_kv);

    dinm_attention_backward(dq, dk, dv, dout, x.q, x.k, x.v, a, x.scratch);
    check_direction(&x, dout, a, 0, dq, along_q);
    check_direction(&x, dout, a, 1, dk, along_kv);
    check_direction(&x, dout, a, 2, dv, along_kv);
    check_direction(&x, dout, a, 0, dq, dq);
    check_direction(&x, dout, a, 1, dk, dk);
    check_direction(&x, dout, a, 2, dv, dv);

    dinm_linear_set_threads(1);
    dinm_attention_backward(dq1, dk1, dv1, dout, x.q, x.k, x.v, a, x.scratch);
    assert_same_bits(dq, dq1, x.n_q);
    assert_same_bits(dk, dk1, x.n_kv);
    assert_same_bits(dv, dv1, x.n_kv);

    /* dk and dv are added to. */
    dinm_attention_backward(dq1, dk1, dv1, dout, x.q, x.k, x.v, a, x.scratch);
    for (size_t i = 0; i < x.n_kv; i++) {
        assert_near((double)dk1[i], 2.0 * (double)dk[i], 1e-5 * (1.0 + fabs((double)dk[i])));
        assert_near((double)dv1[i], 2.0 * (double)dv[i], 1e-5 * (1.0 + fabs((double)dv[i])));
    }
    free(dout);
    free(along_q);
    free(along_kv);
    free(dq);
    free(dk);
    free(dv);
    free(dq1);
    free(dk1);
    free(dv1);
    free_arrays(&x);
}

static void test_gradients(void **state)
{
    (void)state;
    for (size_t c = 0; c < N_CASES; c++) {
        if (cases[c].n_rows == cases[c].n_keys && cases[c].n_keys < 1000) {
            check_gradients(&cases[c]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_gradients),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
