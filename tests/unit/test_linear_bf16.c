/* model/linear_bf16, every way that this processor and build can go: against float64 loops over
 * factors rounded to bf16, and bit for bit against every row on its own. */
#include "rows_alone.h"
#include <float.h>
#include "model/linear_bf16.h"

static const struct {
    size_t n_out, n_in;
} shapes[] = {{1, 1},    {3, 5},     {8, 8},      {16, 40},   {64, 172},
              {172, 64}, {128, 512}, {33, 31},    {129, 513}, {256, 256},
              {640, 1},  {1, 700},   {512, 1000}, {40, 5632}, {300, 2048}};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

/* A stored matrix in one of its layouts: plain, by input, or by input as the middle third of a
 * wider one. Its values lie in wide: [n_out][n_in]. */
enum layout { PLAIN, BY_INPUT, PART, N_LAYOUTS };
struct stored {
    struct dinm_matrix w;
    struct dinm_bf16 *bf16;
    float *wide;
    uint16_t *data;
};

static struct stored stored_new(const struct dinm_bf16_way *way, size_t n_out, size_t n_in,
                                enum layout layout)
{
    struct stored s = {.wide = normals(n_out * n_in, 1.0, n_out + n_in)};
    const size_t stride = layout == PLAIN ? n_in : layout == BY_INPUT ? n_out : 3 * n_out;
    const size_t n_stored = (layout == PLAIN ? n_out : n_in) * stride;
    const size_t first = layout == PART ? n_out : 0;
    struct dinm_matrix *matrix = &s.w;
    struct dinm_error err = {0};
    float *laid = normals(n_stored, 1.0, 7);

    s.data = items(n_stored, sizeof *s.data);
    dinm_narrow(s.data, DINM_BF16, s.wide, n_out * n_in);
    dinm_widen(s.wide, s.data, DINM_BF16, n_out * n_in);
    for (size_t o = 0; o < n_out; o++) {
        for (size_t i = 0; i < n_in; i++) {
            laid[layout == PLAIN ? o * n_in + i : i * stride + first + o] = s.wide[o * n_in + i];
        }
    }
    dinm_narrow(s.data, DINM_BF16, laid, n_stored);
    free(laid);
    s.w = (struct dinm_matrix){.data = s.data + first,
                               .dtype = DINM_BF16,
                               .n_out = n_out,
                               .n_in = n_in,
                               .by_input = layout != PLAIN,
                               .stride = layout == PART ? stride : 0};
    assert_ok(dinm_bf16_open(&s.bf16, way, &matrix, 1, &err), &err);
    assert_ptr_equal(s.w.bf16, s.bf16);
    return s;
}

static void stored_free(struct stored *s)
{
    dinm_bf16_close(s->bf16);
    free(s->wide);
    free(s->data);
}

/* Calls f for every way, shape and layout, with as many threads as may be used. */
static void for_each(void (*f)(const struct stored *s, bool backward))
{
    const struct dinm_bf16_way *way;

    for (size_t i = 0; (way = dinm_bf16_at(i)) != NULL; i++) {
        for (size_t s = 0; s < N_SHAPES; s++) {
            for (enum layout layout = PLAIN; layout < N_LAYOUTS; layout++) {
                dinm_linear_set_threads(3);
                struct stored stored = stored_new(way, shapes[s].n_out, shapes[s].n_in, layout);

                f(&stored, false);
                f(&stored, true);
                stored_free(&stored);
            }
        }
    }
}

static float rounded(float x)
{
    uint16_t half;

    dinm_narrow(&half, DINM_BF16, &x, 1);
    dinm_widen(&x, &half, DINM_BF16, 1);
    return x;
}

static void check_values(const struct stored *s, bool backward)
{
    const size_t n_sum = backward ? s->w.n_out : s->w.n_in,
                 n_cols = backward ? s->w.n_in : s->w.n_out;
    const size_t n_rows = n_sum * n_cols > 100000 ? 9 : 45;
    float *x = normals(n_rows * n_sum, 1.0, 11), *bias = normals(n_cols, 1.0, 12);
    float *before = normals(n_rows * n_cols, 1.0, 14), *y = copy_of(before, n_rows * n_cols);

    for (size_t i = 0; !backward && i < n_rows * n_cols; i++) {
        y[i] = NAN; /* what was there must not matter */
    }
    product(y, x, &s->w, bias, n_rows, backward);
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t c = 0; c < n_cols; c++) {
            double sum = (double)(backward ? before[r * n_cols + c] : bias[c]), sizes = fabs(sum);

            for (size_t k = 0; k < n_sum; k++) {
                const float w = s->wide[backward ? k * n_cols + c : c * n_sum + k];
                const double term = (double)rounded(x[r * n_sum + k]) * (double)w;

                sum += term;
                sizes += fabs(term);
            }
            assert_near((double)y[r * n_cols + c], sum,
                        (double)(n_sum + 2) * (double)FLT_EPSILON * sizes);
        }
    }
    free(x);
    free(bias);
    free(before);
    free(y);
}

static void test_values(void **state)
{
    (void)state;
    for_each(check_values);
}

/* Rows taken at random from a pool, in any number and with any number of threads, have the bits
 * that each has alone. */
static void check_bits(const struct stored *s, bool backward)
{
    enum { N_MOST = 4 * N_POOL };
    struct rows_alone a = rows_alone_new(&s->w, backward, N_MOST);

    for (size_t n = 1; n <= N_MOST; n += n < 20 ? 1 : n / 5) {
        dinm_linear_set_threads((int)(n % 3) + 1);
        rows_alone_check(&a, n);
    }
    rows_alone_free(&a);
}

static void test_bits(void **state)
{
    (void)state;
    for_each(check_bits);
}

/* A denormal counts as zero. */
static float flushed(float x)
{
    return fabsf(x) < FLT_MIN ? copysignf(0.0f, x) : x;
}

/* The bits of way amx are those of its words in the header. */
static void check_words(const struct stored *s, bool backward)
{
    const size_t n_sum = backward ? s->w.n_out : s->w.n_in,
                 n_cols = backward ? s->w.n_in : s->w.n_out;
    enum { ROWS = 3 };
    float *x = normals(ROWS * n_sum, 1.0, 31), *y = zeros(ROWS * n_cols);

    if (strcmp(s->bf16->way->name, "amx") != 0) {
        goto out;
    }
    for (size_t i = 0; i < ROWS * n_sum; i += 7) {
        x[i] *= i % 2 == 0 ? 1e-38f : 1e-30f; /* denormal, and with denormal products */
    }
    dinm_linear_set_threads(1);
    product(y, x, &s->w, NULL, ROWS, backward);
    for (size_t i = 0; i < ROWS * n_cols; i++) {
        const size_t r = i / n_cols, c = i % n_cols;
        float sum = 0.0f;

        for (size_t k = 0; k < n_sum; k += 32) {
            float parts[2] = {0.0f, 0.0f};

            for (size_t j = k; j < k + 32 && j < n_sum; j++) {
                const float w = s->wide[backward ? j * n_cols + c : c * n_sum + j];

                parts[j % 2] =
                    flushed(fmaf(flushed(rounded(x[r * n_sum + j])), flushed(w), parts[j % 2]));
            }
            sum = flushed(sum + flushed(parts[0] + parts[1]));
        }
        sum += 0.0f; /* -0 is added to 0 */
        y[i] += 0.0f;
        assert_same_bits(&y[i], &sum, 1);
    }
out:
    free(x);
    free(y);
}

static void test_words(void **state)
{
    (void)state;
#if defined(__x86_64__)
    for_each(check_words);
#else
    (void)check_words;
#endif
}

/* Only matrices stored in bf16 are concerned; for others nothing changes. */
static void test_dtypes(void **state)
{
    enum { OUT = 70, IN = 90, ROWS = 5 };
    const struct dinm_bf16_way *way = dinm_bf16_at(0);
    float *wide[2] = {NULL, NULL}, *x = normals(ROWS * IN, 1.0, 41);
    float *y = zeros(ROWS * OUT), *expected = zeros(ROWS * OUT);
    struct dinm_matrix w[2] = {random_matrix(&wide[0], DINM_F16, OUT, IN, 42),
                               random_matrix(&wide[1], DINM_BF16, OUT, IN, 43)};
    struct dinm_matrix *const both[] = {&w[0], &w[1]};
    struct dinm_matrix edited;
    struct dinm_bf16 *bf16 = NULL;
    struct dinm_error err = {0};

    (void)state;
    if (way == NULL) {
        skip();
    }
    dinm_linear(expected, x, &w[0], NULL, ROWS);
    assert_ok(dinm_bf16_open(&bf16, way, both, 2, &err), &err);
    assert_null(w[0].bf16);
    assert_ptr_equal(w[1].bf16, bf16);
    dinm_linear(y, x, &w[0], NULL, ROWS);
    assert_same_bits(y, expected, ROWS * OUT);

    /* An edited copy in float32 of a matrix that is stored in bf16. */
    edited = w[1];
    edited.data = wide[1];
    edited.dtype = DINM_F32;
    dinm_linear(y, x, &edited, NULL, ROWS);
    edited.bf16 = NULL;
    dinm_linear(expected, x, &edited, NULL, ROWS);
    assert_same_bits(y, expected, ROWS * OUT);

    dinm_bf16_close(bf16);
    dinm_bf16_close(NULL);
    for (size_t i = 0; i < 2; i++) {
        free_matrix(&w[i]);
        free(wide[i]);
    }
    free(x);
    free(y);
    free(expected);
}

static void test_find(void **state)
{
    const struct dinm_bf16_way *way = NULL;
    struct dinm_error err = {0};

    (void)state;
    if (dinm_bf16_at(0) == NULL) {
        assert_failed(dinm_bf16_find(&way, NULL, &err), DINM_USAGE, &err, "model.compute is bf16");
        fprintf(stderr, "%s\n", err.text);
        err = (struct dinm_error){0};
    } else {
        assert_ok(dinm_bf16_find(&way, NULL, &err), &err);
        assert_ptr_equal(way, dinm_bf16_at(0));
        assert_ok(dinm_bf16_find(&way, way->name, &err), &err);
    }
    assert_failed(dinm_bf16_find(&way, "abacus", &err), DINM_USAGE, &err,
                  "DINM_BF16 is \"abacus\"");
}

static void test_no_rows(void **state)
{
    const struct dinm_bf16_way *way;

    (void)state;
    for (size_t i = 0; (way = dinm_bf16_at(i)) != NULL; i++) {
        struct stored s = stored_new(way, 8, 8, PLAIN);
        float y = 7.0f;

        dinm_linear(&y, NULL, &s.w, NULL, 0);
        dinm_linear_backward_input(&y, NULL, &s.w, 0, 0);
        assert_true(y == 7.0f);
        stored_free(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_bits), cmocka_unit_test(test_words),
        cmocka_unit_test(test_dtypes), cmocka_unit_test(test_find), cmocka_unit_test(test_no_rows),
    };

    if (dinm_bf16_at(0) == NULL) {
        fprintf(stderr, "no products in bf16 here: only their absence is tested\n");
    }
    for (size_t i = 0; dinm_bf16_at(i) != NULL; i++) {
        fprintf(stderr, "products in bf16: %s\n", dinm_bf16_at(i)->name);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
