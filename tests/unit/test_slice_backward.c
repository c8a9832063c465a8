/* model/slice, backward: the gradient of every tensor, of the embedded rows and of an edit, against
 * differences of the float64 decoder's loss. */
#include "reference.h"
#include "model/loss.h"

/* Two texts, read in one pass; the second one is padded on the right by its last three ids. */
enum { N_FIRST = 13, N_SECOND = 9, N_PAD = 3, N_ROWS = N_FIRST + N_SECOND };
/* The rows whose next token counts. */
static const size_t picks[] = {3, 4, 10, 11, 14, 17};
enum { N_PICKS = sizeof picks / sizeof *picks };

struct problem {
    struct dinm_config c;
    size_t n_params;
    float *flat; /* owns: [n_params] */
    int32_t ids[N_ROWS], targets[N_PICKS];
    float *edited; /* owns: [d_model][d_ff]: the second text's W_V of layer 1, or NULL */
    struct dinm_edit edit;
    struct dinm_sequence sequences[2];
    struct dinm_rows rows;
};

static struct problem *problem_of(struct dinm_config c, bool edited)
{
    struct problem *p = items(1, sizeof *p);

    p->c = c;
    p->n_params = dinm_weights_n_params(&p->c);
    p->flat = random_flat(&p->c, 1);
    for (size_t i = 0; i < N_ROWS; i++) {
        p->ids[i] = (int32_t)pick(1, i, p->c.n_vocab);
    }
    for (size_t i = 0; i < N_PICKS; i++) {
        p->targets[i] = p->ids[picks[i] + 1];
    }
    if (edited) {
        p->edited = normals(p->c.d_model * p->c.d_ff, 0.2, 2);
        p->edit = (struct dinm_edit){
            1, {.data = p->edited, .dtype = DINM_F32, .n_out = p->c.d_model, .n_in = p->c.d_ff}};
    }
    p->sequences[0] = (struct dinm_sequence){.n_rows = N_FIRST};
    p->sequences[1] = (struct dinm_sequence){
        .n_rows = N_SECOND, .edit = edited ? &p->edit : NULL, .key_last = N_SECOND - N_PAD};
    p->rows = (struct dinm_rows){p->sequences, 2, N_ROWS};
    return p;
}

static struct problem *make_problem(bool tied, size_t n_kv_heads, bool edited)
{
    return problem_of(small_config(tied, n_kv_heads), edited);
}

static void free_problem(struct problem *p)
{
    free(p->flat);
    free(p->edited);
    free(p);
}

/* x moved by step * along, in float64; x may be NULL. */
static double *moved(const float *x, const float *along, double step, size_t n)
{
    double *y = x == NULL ? NULL : items(n, sizeof *y);

    for (size_t i = 0; x != NULL && i < n; i++) {
        y[i] = (double)x[i] + (along != NULL ? step * (double)along[i] : 0.0);
    }
    return y;
}

/* Sum of -log P over the picks in float64, with the parameters or the edit moved. */
static double loss_at(const struct problem *p, const float *along, const float *along_edit,
                      double step)
{
    double *flat = moved(p->flat, along, step, p->n_params);
    double *edited = moved(p->edited, along_edit, step, p->c.d_model * p->c.d_ff);
    double *logits = items(N_ROWS * p->c.n_vocab, sizeof *logits), loss = 0.0;
    struct reference m = {.c = &p->c, .flat = flat};

    reference_forward(logits, &m, p->ids, N_FIRST);
    m.edited = edited;
    m.edited_layer = 1;
    m.key_last = N_SECOND - N_PAD;
    reference_forward(logits + N_FIRST * p->c.n_vocab, &m, p->ids + N_FIRST, N_SECOND);
    for (size_t i = 0; i < N_PICKS; i++) {
        const double *row = logits + picks[i] * p->c.n_vocab;
        double sum = 0.0;

        for (size_t j = 0; j < p->c.n_vocab; j++) {
            sum += exp(row[j]);
        }
        loss += log(sum) - row[p->targets[i]];
    }
    free(flat);
    free(edited);
    free(logits);
    return loss;
}

/* Forward and backward in float32. grad: [n_params] is added to; h and dy of layer 1 (for the
 * edit's gradient) may be NULL. With flat_grads NULL only activations go back. */
static double run(const struct problem *p, float *grad, float *dx, float *dy, float *h)
{
    const struct dinm_config *c = &p->c;
    struct dinm_slice s = flat_slice(c, p->flat);
    struct dinm_grads grads = {0}, *g = grad != NULL ? &grads : NULL;
    struct dinm_workspace *ws = NULL;
    struct dinm_tape *tape = NULL;
    struct dinm_error err = {0};
    float *x = zeros(N_ROWS * c->d_model), *normed = zeros(N_ROWS * c->d_model);
    float *logits = zeros(N_PICKS * c->n_vocab);

    assert_ok(dinm_workspace_reserve(&ws, c, &p->rows, &err), &err);
    assert_ok(dinm_tape_reserve(&tape, c, 0, c->n_layers, N_ROWS, &err), &err);
    if (grad != NULL) {
        assert_ok(dinm_grads_bind_flat(&grads, c, 0, c->n_layers, grad, &err), &err);
    }
    dinm_slice_embed(&s, x, p->ids, &p->rows);
    dinm_slice_forward(&s, x, &p->rows, 0, c->n_layers, tape,
                       &(struct dinm_taps){.mid_layer = 1, .h_down = h}, ws);
    dinm_slice_head(&s, logits, normed, x, picks, N_PICKS);
    const double loss = dinm_loss_nll(logits, logits, p->targets, 1.0, N_PICKS, c->n_vocab);

    memset(dx, 0, N_ROWS * c->d_model * sizeof *dx);
    dinm_slice_head_backward(&s, dx, logits, x, picks, N_PICKS, normed, g);
    dinm_slice_backward(&s, dx, &p->rows, 2, c->n_layers, tape, g, ws);
    if (dy != NULL) {
        memcpy(dy, dx, N_ROWS * c->d_model * sizeof *dy);
    }
    dinm_slice_backward(&s, dx, &p->rows, 0, 2, tape, g, ws);
    if (g != NULL) {
        dinm_slice_embed_backward(&s, dx, p->ids, N_ROWS, g);
    }
    dinm_grads_free(&grads);
    dinm_tape_free(tape);
    dinm_workspace_free(ws);
    dinm_slice_close(&s);
    free(x);
    free(normed);
    free(logits);
    return loss;
}

/* Along `along` the loss must rise as the gradient says. The central difference is good to 1e-9;
 * the float32 gradient errs by about ten roundings of the activations, 1e-6 of its size, in
 * whatever direction. */
static void check_direction(const struct problem *p, const char *name, const float *gradient,
                            const float *along, size_t n, const float *whole, const float *edit)
{
    const double step = 1e-5, size = sqrt(dot(gradient, gradient, n) * dot(along, along, n));
    const double slope =
        (loss_at(p, whole, edit, step) - loss_at(p, whole, edit, -step)) / (2.0 * step);
    const double ours = dot(gradient, along, n);

    if (!(fabs(ours - slope) <= 3e-6 * size + 1e-8) || !(size > 1e-6)) {
        fail_msg("%s: the loss rises by %.9g, the gradient says %.9g (of size %.3g)", name, slope,
                 ours, size);
    }
}

static void check_tensors(const struct problem *p)
{
    float *before = normals(p->n_params, 1e-3, 3), *grad = copy_of(before, p->n_params);
    float *along = zeros(p->n_params), *dx = zeros(N_ROWS * p->c.d_model);
    float *alone = zeros(N_ROWS * p->c.d_model);
    const double loss = run(p, grad, dx, NULL, NULL), expected = loss_at(p, NULL, NULL, 0.0);

    assert_near(loss, expected, 1e-6 * expected);
    run(p, NULL, alone, NULL, NULL);
    assert_same_bits(alone, dx, N_ROWS * p->c.d_model);
    for (size_t i = 0; i < p->n_params; i++) {
        grad[i] -= before[i]; /* gradients are added to what was there */
    }
    for (size_t i = 0; i < dinm_weights_n_tensors(&p->c); i++) {
        const struct dinm_param t = dinm_weights_param(&p->c, i);
        const size_t n = t.n_out * (t.n_in > 0 ? t.n_in : 1);

        for (uint64_t seed = 50; seed < 53; seed++) {
            float *some = seed == 50 ? copy_of(grad + t.offset, n) : normals(n, 1.0, seed + i);

            memset(along, 0, p->n_params * sizeof *along);
            memcpy(along + t.offset, some, n * sizeof *along);
            check_direction(p, t.name, grad + t.offset, some, n, along, NULL);
            free(some);
        }
    }
    free(before);
    free(grad);
    free(along);
    free(dx);
    free(alone);
}

static void test_tensors(void **state)
{
    const struct {
        bool tied;
        size_t n_kv_heads;
    } kinds[] = {{false, 4}, {false, 2}, {true, 1}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct problem *p = make_problem(kinds[i].tied, kinds[i].n_kv_heads, false);

        check_tensors(p);
        free_problem(p);
    }
}

/* Every bias, in layers that see four keys and in one that sees all. */
static void test_biases_and_window(void **state)
{
    struct dinm_config c = small_config(false, 2);

    (void)state;
    c.qkv_bias = c.o_bias = c.mlp_bias = true;
    c.window = 4;
    c.window_first = 1;
    struct problem *p = problem_of(c, true);

    check_tensors(p);
    free_problem(p);
}

/* With another W_V in the second text: dW = dY^T h over that text's rows; the model's own tensors
 * have their gradients still, W_V of that layer from the first text alone. */
static void test_edit(void **state)
{
    struct problem *p = make_problem(false, 2, true);
    const size_t d = p->c.d_model, d_ff = p->c.d_ff, n = d * d_ff;
    float *dx = zeros(N_ROWS * d), *dy = zeros(N_ROWS * d), *h = zeros(N_ROWS * d_ff);
    float *dw = zeros(n);

    (void)state;
    check_tensors(p);
    run(p, NULL, dx, dy, h);
    dinm_linear_backward_weight(dw, dy + N_FIRST * d, h + N_FIRST * d_ff, N_SECOND, d, d_ff);
    for (uint64_t seed = 60; seed < 64; seed++) {
        float *along = seed == 60 ? copy_of(dw, n) : normals(n, 1.0, seed);

        check_direction(p, "the edit", dw, along, n, NULL, along);
        free(along);
    }
    free(dx);
    free(dy);
    free(h);
    free(dw);
    free_problem(p);
}

/* The number of threads changes no bit of any gradient. */
static void test_threads(void **state)
{
    struct problem *p = make_problem(false, 2, true);
    float *one = zeros(p->n_params), *two = zeros(p->n_params), *dx = zeros(N_ROWS * p->c.d_model);

    (void)state;
    dinm_linear_set_threads(1);
    run(p, one, dx, NULL, NULL);
    dinm_linear_set_threads(2);
    run(p, two, dx, NULL, NULL);
    assert_same_bits(one, two, p->n_params);
    free(one);
    free(two);
    free(dx);
    free_problem(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_biases_and_window),
        cmocka_unit_test(test_edit),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
