/* Losses over rows of logits, each row on its own and a block at a time: what the kernel's exp
 * leaves stays in the nearest cache. Sums in float64: in a row, lane l takes the elements l, l +
 * LANES, ..., then the lanes are added in their order, and so are the rows. */
#include "model/loss.h"

#include <math.h>
#include "model/kernel.h"

enum {
    PARALLEL_FROM = 1 << 14,
    BLOCK = 1024, /* a multiple of LANES */
    LANES = 8,
    ROWS = 256 /* whose losses are held until they are added */
};

static size_t block_at(size_t n, size_t first)
{
    return n - first < BLOCK ? n - first : BLOCK;
}

static double sum_of_lanes(const double *lanes)
{
    double sum = 0.0;

    for (size_t l = 0; l < LANES; l++) {
        sum += lanes[l];
    }
    return sum;
}

/* The largest of x: [n]. */
static float largest_of(const float *x, size_t n)
{
    float lanes[LANES], largest = x[0];
    size_t i = 0;

    for (size_t l = 0; l < LANES; l++) {
        lanes[l] = x[0];
    }
    for (; n - i >= LANES; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
        }
    }
    for (size_t l = 0; l < LANES; l++) {
        largest = lanes[l] > largest ? lanes[l] : largest;
    }
    for (; i < n; i++) {
        largest = x[i] > largest ? x[i] : largest;
    }
    return largest;
}

/* lanes += p: [n], a block's. */
static void add_to_lanes(double *lanes, const float *p, size_t n)
{
    size_t i = 0;

    for (; n - i >= LANES; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            lanes[l] += (double)p[i + l];
        }
    }
    for (size_t l = 0; l < n - i; l++) {
        lanes[l] += (double)p[i + l];
    }
}

/* lanes += p (a - b), all [n], a block's. */
static void add_differences(double *lanes, const float *p, const float *a, const float *b, size_t n)
{
    size_t i = 0;

    for (; n - i >= LANES; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            lanes[l] += (double)p[i + l] * ((double)a[i + l] - (double)b[i + l]);
        }
    }
    for (size_t l = 0; l < n - i; l++) {
        lanes[l] += (double)p[i + l] * ((double)a[i + l] - (double)b[i + l]);
    }
}

/* log(sum(exp(x))) */
static double log_sum_exp(const float *x, size_t n)
{
    const float largest = largest_of(x, n);
    double lanes[LANES] = {0.0};

    for (size_t b = 0; b < n; b += BLOCK) {
        const size_t m = block_at(n, b);
        float e[BLOCK];

        for (size_t i = 0; i < m; i++) {
            e[i] = x[b + i] - largest;
        }
        dinm_kernel()->exp(e, e, m);
        add_to_lanes(lanes, e, m);
    }
    return (double)largest + log(sum_of_lanes(lanes));
}

/* log_p: [n] = x - total, rounded alike wherever it is needed: a model that did not change has a
 * divergence, and a gradient, of exactly 0. log_p may be x. */
static void subtract(float *log_p, const float *x, double total, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        log_p[i] = (float)((double)x[i] - total);
    }
}

void dinm_log_softmax(float *y, const float *x, size_t n_rows, size_t n_vocab)
{
#pragma omp parallel for if (n_rows * n_vocab >= PARALLEL_FROM)
    for (size_t r = 0; r < n_rows; r++) {
        subtract(y + r * n_vocab, x + r * n_vocab, log_sum_exp(x + r * n_vocab, n_vocab), n_vocab);
    }
}

/* One row of -log p[target], gradient p - onehot. dx may be x, or NULL. */
static double nll(float *dx, const float *x, size_t target, double scale, size_t n)
{
    const double total = log_sum_exp(x, n), loss = total - (double)x[target];

    for (size_t b = 0; dx != NULL && b < n; b += BLOCK) {
        const size_t m = block_at(n, b);
        float p[BLOCK];

        subtract(p, x + b, total, m);
        dinm_kernel()->exp(p, p, m);
        if (target - b < m) {
            p[target - b] -= 1.0f;
        }
        for (size_t i = 0; i < m; i++) {
            dx[b + i] = (float)(scale * (double)p[i]);
        }
    }
    return loss;
}

/* One row of KL(edited || base): sum p (log p - log q), gradient p (log p - log q - KL). */
static double kl_edited_base(float *dx, const float *x, const float *base, double scale, size_t n)
{
    const double total = log_sum_exp(x, n);
    float log_p[BLOCK], p[BLOCK];
    double lanes[LANES] = {0.0}, kl = 0.0;

    for (size_t pass = 0; pass < (dx != NULL ? 2 : 1); pass++) {
        for (size_t b = 0; b < n; b += BLOCK) {
            const size_t m = block_at(n, b);

            subtract(log_p, x + b, total, m);
            dinm_kernel()->exp(p, log_p, m);
            if (pass == 0) {
                add_differences(lanes, p, log_p, base + b, m);
            }
            for (size_t i = 0; pass == 1 && i < m; i++) {
                dx[b + i] =
                    (float)(scale * (double)p[i] * ((double)log_p[i] - (double)base[b + i] - kl));
            }
        }
        kl = sum_of_lanes(lanes);
    }
    return kl;
}

/* One row of KL(base || edited): sum q (log q - log p), gradient p - q. */
static double kl_base_edited(float *dx, const float *x, const float *base, double scale, size_t n)
{
    const double total = log_sum_exp(x, n);
    float log_p[BLOCK], p[BLOCK], q[BLOCK];
    double lanes[LANES] = {0.0};

    for (size_t b = 0; b < n; b += BLOCK) {
        const size_t m = block_at(n, b);

        subtract(log_p, x + b, total, m);
        dinm_kernel()->exp(q, base + b, m);
        add_differences(lanes, q, base + b, log_p, m);
        if (dx != NULL) {
            dinm_kernel()->exp(p, log_p, m);
            for (size_t i = 0; i < m; i++) {
                dx[b + i] = (float)(scale * ((double)p[i] - (double)q[i]));
            }
        }
    }
    return sum_of_lanes(lanes);
}

/* All rows of one loss. */
struct rows {
    float *dlogits; /* or NULL */
    const float *logits, *base;
    const int32_t *targets; /* NULL: it is the divergence from base */
    enum dinm_kl direction;
    double scale;
    size_t n_vocab;
};

static double loss_of_row(const struct rows *rows, size_t r)
{
    const size_t at = r * rows->n_vocab;
    float *dx = rows->dlogits != NULL ? rows->dlogits + at : NULL;
    const float *x = rows->logits + at;

    if (rows->targets != NULL) {
        return nll(dx, x, (size_t)rows->targets[r], rows->scale, rows->n_vocab);
    }
    return (rows->direction == DINM_KL_EDITED_BASE ? kl_edited_base : kl_base_edited)(
        dx, x, rows->base + at, rows->scale, rows->n_vocab);
}

static double sum_of_rows(const struct rows *rows, size_t n_rows)
{
    double losses[ROWS], loss = 0.0;

    for (size_t first = 0; first < n_rows; first += ROWS) {
        const size_t n = n_rows - first < ROWS ? n_rows - first : ROWS;

#pragma omp parallel for if (n * rows->n_vocab >= PARALLEL_FROM)
        for (size_t r = 0; r < n; r++) {
            losses[r] = loss_of_row(rows, first + r);
        }
        for (size_t r = 0; r < n; r++) {
            loss += losses[r];
        }
    }
    return loss;
}

double dinm_loss_nll(float *dlogits, const float *logits, const int32_t *targets, double scale,
                     size_t n_rows, size_t n_vocab)
{
    const struct rows rows = {.dlogits = dlogits,
                              .logits = logits,
                              .targets = targets,
                              .scale = scale,
                              .n_vocab = n_vocab};

    return sum_of_rows(&rows, n_rows);
}

double dinm_loss_kl(float *dlogits, const float *logits, const float *base_logprobs,
                    enum dinm_kl direction, double scale, size_t n_rows, size_t n_vocab)
{
    const struct rows rows = {.dlogits = dlogits,
                              .logits = logits,
                              .base = base_logprobs,
                              .direction = direction,
                              .scale = scale,
                              .n_vocab = n_vocab};

    return sum_of_rows(&rows, n_rows);
}

size_t dinm_loss_count_right(const float *logits, const int32_t *targets, size_t n_rows,
                             size_t n_vocab)
{
    size_t n_right = 0;

    for (size_t i = 0; i < n_rows; i++) {
        const float *row = logits + i * n_vocab;
        size_t best = 0;

        for (size_t k = 1; k < n_vocab; k++) {
            best = row[k] > row[best] ? k : best;
        }
        n_right += best == (size_t)targets[i];
    }
    return n_right;
}
