/* What no schedule of these units on G groups of P stages can be faster than.
 *
 * Let unit i need c_i seconds of stage time besides reading weights, L_i tokens one after the other
 * for its longest answer, and let `a` be the time in which the stages of a group read their weights
 * one after the other. A group with units U needs, in all, at least c(U) / P for the work; it
 * decodes at least max L_i rounds, and a round takes `a` beyond the work of its rows, however many
 * lanes there are: fewer than P lanes wait for each other, and with P or more every stage reads its
 * weights at least P times. Hence, if all groups end within M,
 *
 *   c(U)/P + a max L_i <= M, and as max L_i >= sum c_i L_i / c(U) over U:
 *   a sum c_i L_i <= c(U) (M - c(U)/P).
 *
 * Summed over the groups, with sum c(U) = C and sum c(U)^2 >= C^2 / G:
 *
 *   (share)    M >= C / (G P) + a (sum c_i L_i / C)
 *
 * Further: (room) a round answers at most S rows, so that all T tokens take T / S rounds;
 * (stage) the dearest stage has its own work to do for a share of the units; (unit) somebody does
 * the longest unit; (number) of the k G + 1 dearest units somebody does k + 1. Where items only
 * pass through, L_i = 0, and the dearest stage waits for the first item to come and the last to
 * leave. */
#include <stdlib.h>
#include "tests/bench/schedule_events.h"
#include "tests/bench/schedule_sim.h"

/* One unit's demands. */
struct demand {
    double stage[SCHEDULE_MAX_STAGES]; /* seconds besides the weights of decoding */
    double sum;                        /* of them */
    double longest, tokens;            /* tokens of its longest answer, of all */
    double alone;                      /* its time if nothing else is there */
};

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static void add_answers(struct demand *d, const struct schedule_costs *c,
                        const struct schedule_answer *answers, size_t n)
{
    double slowest = 0.0;
    for (size_t k = 0; k < n; k++) {
        double read = (double)answers[k].n_read, passed = 0.0;
        /* The first token comes with the end of the prompt. */
        double written = (double)answers[k].n_written - 1.0;
        for (size_t s = 0; s < c->n_stages; s++) {
            double t = read * c->stages[s].many + written * c->stages[s].few +
                       written * (read + 0.5 * written) * c->stages[s].key;
            d->stage[s] += t;
            passed += t;
        }
        slowest = passed > slowest ? passed : slowest;
        d->tokens += written;
        d->longest = written > d->longest ? written : d->longest;
    }
    d->alone += slowest;
}

static void add_edit(struct demand *d, const struct schedule_costs *c,
                     const struct schedule_case *one)
{
    for (size_t hop = 0; hop < schedule_edit_hops(c); hop++) {
        double t = schedule_edit_s(c, one, hop);
        d->stage[schedule_edit_stage(c, hop)] += t;
        d->alone += t;
    }
    d->stage[c->owner] += d->longest * c->matrix;
}

static struct demand demand_of(enum schedule_pass pass, const struct schedule_lengths *l,
                               const struct schedule_costs *c, size_t i)
{
    enum { ITEM_ROWS = 1024 };
    struct demand d = {.sum = 0.0};
    if (pass == SCHEDULE_JUDGE || pass == SCHEDULE_LOCATE) {
        for (size_t s = 0; s < c->n_stages; s++) {
            const struct schedule_stage *stage = &c->stages[s];
            double rows = pass == SCHEDULE_JUDGE ? (double)l->responses[i]
                                                 : schedule_located_rows(&l->cases[i]);
            d.stage[s] = pass == SCHEDULE_JUDGE
                             ? rows * (stage->judge + stage->read_judge / ITEM_ROWS)
                             : stage->read + rows * stage->many;
            d.alone += d.stage[s];
        }
    } else if (pass == SCHEDULE_EDIT || (pass == SCHEDULE_ANSWER && i < l->n_cases)) {
        add_answers(&d, c, l->cases[i].edited, SCHEDULE_N_INPUTS);
        add_edit(&d, c, &l->cases[i]);
    } else {
        add_answers(&d, c, &l->prompts[pass == SCHEDULE_ANSWER ? i - l->n_cases : i], 1);
    }
    double weights = 0.0, stages = (double)c->n_stages;
    for (size_t s = 0; s < c->n_stages; s++) {
        d.sum += d.stage[s];
        weights += d.longest * c->stages[s].read;
    }
    /* One thing after the other, or all its work on all stages at once. */
    d.alone = weights + larger(d.alone, d.sum / stages);
    return d;
}

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* Sums over all units. */
struct sums {
    double stage[SCHEDULE_MAX_STAGES], all, by_length, tokens, longest_unit;
    double least_pass; /* the least that an item needs on other stages than the dearest */
    double shortest;   /* least longest answer */
};

static struct sums sum_of(const struct demand *demands, size_t n, size_t n_stages)
{
    struct sums s = {.shortest = 1e300, .least_pass = 1e300};
    for (size_t i = 0; i < n; i++) {
        const struct demand *d = &demands[i];
        double dearest = 0.0;
        for (size_t k = 0; k < n_stages; k++) {
            s.stage[k] += d->stage[k];
            dearest = larger(dearest, d->stage[k]);
        }
        s.all += d->sum;
        s.by_length += d->sum * d->longest;
        s.tokens += d->tokens;
        s.longest_unit = larger(s.longest_unit, d->alone);
        s.shortest = d->longest < s.shortest ? d->longest : s.shortest;
        s.least_pass = d->sum - dearest < s.least_pass ? d->sum - dearest : s.least_pass;
    }
    return s;
}

double schedule_bound_s(enum schedule_pass pass, const struct schedule_lengths *l,
                        const struct schedule_costs *c, size_t n_groups, size_t most)
{
    size_t n = schedule_n_units(l, pass);
    bool answers = pass != SCHEDULE_LOCATE && pass != SCHEDULE_JUDGE;
    double p = (double)(pass == SCHEDULE_JUDGE ? c->judge_stages : c->n_stages), a = 0.0;
    double g = (double)n_groups, dearest = 0.0;
    struct demand *demands = schedule_need(n, sizeof *demands);
    double *works = schedule_need(n, sizeof *works);
    for (size_t i = 0; i < n; i++) {
        demands[i] = demand_of(pass, l, c, i);
        works[i] = demands[i].sum / p;
    }
    struct sums s = sum_of(demands, n, c->n_stages);
    for (size_t k = 0; k < c->n_stages; k++) {
        a += answers ? c->stages[k].read : 0.0;
        dearest = larger(dearest, s.stage[k]);
    }
    double bound = s.all / (g * p) + (s.all > 0.0 ? a * s.by_length / s.all : 0.0);
    bound = larger(bound, s.all / (g * p) + a * s.tokens / (g * (double)most));
    bound = larger(bound, dearest / g + (answers ? 0.0 : s.least_pass));
    bound = larger(bound, s.longest_unit);
    qsort(works, n, sizeof *works, descending);
    for (size_t k = 1; k * n_groups < n; k++) {
        bound = larger(bound, (double)(k + 1) * works[k * n_groups] + a * s.shortest);
    }
    free(demands);
    free(works);
    return bound;
}
