/* Losses over rows of logits: one soft pass per row, sums in float64. */
#include "model/loss.h"

#include <math.h>

/* The largest of x: [n]. */
static float largest_of(const float *x, size_t n)
{
    float largest = x[0];

    for (size_t i = 1; i < n; i++) {
        largest = x[i] > largest ? x[i] : largest;
    }
    return largest;
}

/* log(sum(exp(x))) */
static double log_sum_exp(const float *x, size_t n)
{
    const float largest = largest_of(x, n);
    double sum = 0.0;

    for (size_t i = 0; i < n; i++) {
        sum += (double)expf(x[i] - largest);
    }
    return (double)largest + log(sum);
}

void dinm_log_softmax(float *y, const float *x, size_t n_rows, size_t n_vocab)
{
#pragma omp parallel for
    for (size_t r = 0; r < n_rows; r++) {
        const double total = log_sum_exp(x + r * n_vocab, n_vocab);

        for (size_t i = 0; i < n_vocab; i++) {
            y[r * n_vocab + i] = (float)((double)x[r * n_vocab + i] - total);
        }
    }
}

double dinm_loss_nll(float *dlogits, const float *logits, const int32_t *targets, double scale,
                     size_t n_rows, size_t n_vocab)
{
    double loss = 0.0;

    for (size_t r = 0; r < n_rows; r++) {
        const float *x = logits + r * n_vocab;
        const size_t target = (size_t)targets[r];
        const double total = log_sum_exp(x, n_vocab);

        loss += total - (double)x[target];
        if (dlogits != NULL) {
            float *dx = dlogits + r * n_vocab;

            for (size_t i = 0; i < n_vocab; i++) {
                const double p = (double)expf((float)((double)x[i] - total));

                dx[i] = (float)(scale * (p - (i == target ? 1.0 : 0.0)));
            }
        }
    }
    return loss;
}

/* log p rounded as dinm_log_softmax rounds it: a model that did not change has a divergence, and a
 * gradient, of exactly 0. */
static double log_p_of(float x, double total)
{
    return (double)(float)((double)x - total);
}

/* One row of KL(edited || base): sum p (log p - log q), gradient p (log p - log q - KL). */
static double kl_edited_base(float *dx, const float *x, const float *base, double scale, size_t n)
{
    const double total = log_sum_exp(x, n);
    double kl = 0.0;

    for (size_t i = 0; i < n; i++) {
        const double log_p = log_p_of(x[i], total);

        kl += (double)expf((float)log_p) * (log_p - (double)base[i]);
    }
    for (size_t i = 0; dx != NULL && i < n; i++) {
        const double log_p = log_p_of(x[i], total);

        dx[i] = (float)(scale * (double)expf((float)log_p) * (log_p - (double)base[i] - kl));
    }
    return kl;
}

/* One row of KL(base || edited): sum q (log q - log p), gradient p - q. */
static double kl_base_edited(float *dx, const float *x, const float *base, double scale, size_t n)
{
    const double total = log_sum_exp(x, n);
    double kl = 0.0;

    for (size_t i = 0; i < n; i++) {
        const double log_p = log_p_of(x[i], total), q = (double)expf(base[i]);

        kl += q * ((double)base[i] - log_p);
        if (dx != NULL) {
            dx[i] = (float)(scale * ((double)expf((float)log_p) - q));
        }
    }
    return kl;
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

double dinm_loss_kl(float *dlogits, const float *logits, const float *base_logprobs,
                    enum dinm_kl direction, double scale, size_t n_rows, size_t n_vocab)
{
    double loss = 0.0;

    for (size_t r = 0; r < n_rows; r++) {
        float *dx = dlogits == NULL ? NULL : dlogits + r * n_vocab;
        const float *x = logits + r * n_vocab, *base = base_logprobs + r * n_vocab;

        loss += direction == DINM_KL_EDITED_BASE ? kl_edited_base(dx, x, base, scale, n_vocab)
                                                 : kl_base_edited(dx, x, base, scale, n_vocab);
    }
    return loss;
}
