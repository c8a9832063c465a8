/* Choosing the next token. */
#include "model/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "model/random.h"

static size_t argmax(const float *x, size_t n)
{
    size_t best = 0;

    for (size_t i = 1; i < n; i++) {
        best = x[i] > x[best] ? i : best;
    }
    return best;
}

static int descending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;

    return (x < y) - (x > y);
}

/* exp((x - largest) / temperature), the largest token's weight being 1. */
static double weight_of(float x, float largest, double temperature)
{
    return exp(((double)x - (double)largest) / temperature);
}

/* The tokens that may be drawn: all above `least`, and the first n_ties of those equal to it. */
struct kept {
    float least;
    size_t n_ties;
};

/* top_k first, then the smallest set of the likeliest tokens whose share of what top_k left
 * reaches top_p. sorted: [n] descending. */
static struct kept choose_kept(const float *sorted, const struct dinm_sampler *s, size_t n)
{
    size_t n_kept = s->top_k > 0 && s->top_k < n ? s->top_k : n, n_nucleus = 0, n_above = 0;
    double total = 0.0, sum = 0.0;

    for (size_t i = 0; i < n_kept; i++) {
        total += weight_of(sorted[i], sorted[0], s->temperature);
    }
    while (n_nucleus < n_kept && (n_nucleus == 0 || sum < s->top_p * total)) {
        sum += weight_of(sorted[n_nucleus++], sorted[0], s->temperature);
    }
    n_kept = s->top_p < 1.0 ? n_nucleus : n_kept;
    while (sorted[n_above] > sorted[n_kept - 1]) {
        n_above++;
    }
    return (struct kept){sorted[n_kept - 1], n_kept - n_above};
}

/* Walks the kept tokens in the order of their ids; returns the id at which the sum of weights
 * passes `mark`, or the last kept one, and the sum in *sum. */
static size_t walk(const float *logits, struct kept kept, float largest, double temperature,
                   double mark, double *sum, size_t n)
{
    size_t last = 0, n_ties = 0;

    *sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        if (!(logits[i] > kept.least) && !(logits[i] == kept.least && n_ties++ < kept.n_ties)) {
            continue;
        }
        last = i;
        *sum += weight_of(logits[i], largest, temperature);
        if (*sum > mark) {
            break;
        }
    }
    return last;
}

int32_t dinm_sample(const float *logits, const struct dinm_sampler *sampler, uint64_t stream,
                    uint64_t position, float *room, size_t n_vocab)
{
    const size_t best = argmax(logits, n_vocab);
    const float largest = logits[best];
    struct kept kept = {-INFINITY, n_vocab};
    double total = 0.0;

    if (!(sampler->temperature > 0.0) || !isfinite(largest)) {
        return (int32_t)best;
    }
    if (sampler->top_p < 1.0 || (sampler->top_k > 0 && sampler->top_k < n_vocab)) {
        memcpy(room, logits, n_vocab * sizeof *room);
        qsort(room, n_vocab, sizeof *room, descending);
        kept = choose_kept(room, sampler, n_vocab);
    }
    walk(logits, kept, largest, sampler->temperature, INFINITY, &total, n_vocab);
    const double mark = dinm_random_uniform(sampler->seed, stream, position) * total;

    return (int32_t)walk(logits, kept, largest, sampler->temperature, mark, &total, n_vocab);
}
