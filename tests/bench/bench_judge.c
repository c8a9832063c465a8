/* The judge's rate: a RoBERTa of random weights, by default of RoBERTa-large's shape, classifies
 * responses, next to cblas_sgemm on the same products.
 *
 *   bench_judge [n_threads [n_responses [n_tokens [n_layers]]]]
 *
 * Medians of turns that alternate. */
#include <cblas.h>
#include <string.h>
#include "bench.h"
#include "model/encoder.h"
#include "model/linear.h"

enum { N_TURNS = 5 };

/* Seconds of all layers' products for n rows, none of whose matrices is in a cache. */
static double products_s(const struct dinm_encoder_config *c, const float *w, const float *from,
                         float *to, int n_threads, size_t n_rows)
{
    const size_t shapes[][2] = {{c->d_model, c->d_model}, {c->d_model, c->d_model},
                                {c->d_model, c->d_model}, {c->d_model, c->d_model},
                                {c->d_ff, c->d_model},    {c->d_model, c->d_ff}};
    const size_t n_shapes = sizeof shapes / sizeof *shapes;

    openblas_set_num_threads(n_threads);
    const double start = now_s();
    for (size_t i = 0; i < c->n_layers * n_shapes; i++) {
        const size_t n_out = shapes[i % n_shapes][0], n_in = shapes[i % n_shapes][1];

        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n_rows, (int)n_out, (int)n_in,
                    1.0f, from, (int)n_in, w, (int)n_in, 0.0f, to, (int)n_out);
        w += n_out * n_in;
    }
    const double s = now_s() - start;
    dinm_linear_set_threads(n_threads);
    return s;
}

static size_t argument(int argc, char **argv, int i, size_t otherwise)
{
    return argc > i ? strtoul(argv[i], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    const int n_threads = (int)argument(argc, argv, 1, 2);
    const size_t n_texts = argument(argc, argv, 2, 64), n_tokens = argument(argc, argv, 3, 300);
    const struct dinm_encoder_config c = {.n_layers = argument(argc, argv, 4, 24),
                                          .d_model = 1024,
                                          .n_heads = 16,
                                          .d_ff = 4096,
                                          .n_vocab = 50265,
                                          .n_positions = 514,
                                          .n_types = 1,
                                          .n_labels = 2,
                                          .pad_id = 1,
                                          .norm_eps = 1e-5f};
    const size_t n_rows = n_texts * n_tokens, n_weights = dinm_encoder_n_params(&c);
    const double n_products =
        (double)(c.n_layers * n_rows) * (double)(4 * c.d_model + 2 * c.d_ff) * (double)c.d_model;
    double ours[N_TURNS], theirs[N_TURNS];
    struct dinm_encoder *e = NULL;
    struct dinm_error err = {0};
    float *flat = room(n_weights, sizeof *flat),
          *logits = room(n_texts * c.n_labels, sizeof *logits);
    float *from = room(n_rows * c.d_ff, sizeof *from), *to = room(n_rows * c.d_ff, sizeof *to);
    int32_t *ids = room(n_rows, sizeof *ids);
    size_t *first = room(n_texts + 1, sizeof *first);

    stop_if(n_tokens == 0 || n_tokens > dinm_encoder_max_tokens(&c), "1 to 512 tokens");
    dinm_encoder_init_flat(flat, &c, 0, c.n_layers, 1);
    for (size_t i = 0; i < n_rows; i++) {
        ids[i] = (int32_t)(2 + i * 7919 % (c.n_vocab - 2));
    }
    for (size_t i = 0; i <= n_texts; i++) {
        first[i] = i * n_tokens;
    }
    for (size_t i = 0; i < n_rows * c.d_ff; i++) {
        from[i] = (float)(i % 17) - 8.0f;
    }
    dinm_linear_set_threads(n_threads);
    stop_if(dinm_encoder_open_flat(&e, &c, 0, c.n_layers, flat, &err) < 0, err.text);
    for (size_t turn = 0; turn < N_TURNS; turn++) {
        theirs[turn] = products_s(&c, flat, from, to, n_threads, n_rows);
        const double start = now_s();
        stop_if(dinm_encoder_classify(e, logits, ids, first, n_texts, &err) < 0, err.text);
        ours[turn] = now_s() - start;
    }
    const double a = median(ours, N_TURNS), b = median(theirs, N_TURNS);
    printf(
        "%zu responses of %zu tokens, %zu layers, %d threads: %.2f s, %.0f tok/s, %.1f GFLOP/s in "
        "products; sgemm alone %.1f GFLOP/s, ratio %.2f\n",
        n_texts, n_tokens, c.n_layers, n_threads, a, (double)n_rows / a, 2e-9 * n_products / a,
        2e-9 * n_products / b, b / a);
    dinm_encoder_close(e);
    free(flat);
    free(logits);
    free(from);
    free(to);
    free(ids);
    free(first);
    return 0;
}
