/* One pass of the pipeline as a sequence of events: groups take batches from a counter, turn them
 * into items that go from stage to stage, and decode in lanes, as pipeline/ does it; and what no
 * schedule can be faster than. */
#ifndef DINM_BENCH_SCHEDULE_SIM_H
#define DINM_BENCH_SCHEDULE_SIM_H

#include <stdbool.h>
#include "tests/bench/schedule_work.h"

enum schedule_pass {
    SCHEDULE_LOCATE,
    SCHEDULE_VANILLA, /* answers of the model as it is, and of edited ones, one after the other */
    SCHEDULE_EDIT,
    SCHEDULE_ANSWER, /* both together */
    SCHEDULE_JUDGE,
    SCHEDULE_N_PASSES
};

struct schedule_rules {
    size_t batch; /* run.batch: cases in hand at once */
    /* As it was: batches of one size in the order of the units, two lanes for each stage, 64
     * sequences whatever the stages. For comparison. */
    bool plain;
};

struct schedule_outcome {
    double makespan_s;
    double bound_s;
    double idle;   /* share of the stages' time, while their group has work, in which they wait */
    double uneven; /* as much of it as the stages' unequal work makes unavoidable */
    double fill;   /* (P - 1) / (items + P - 1) for the items of a batch; 0: items go round */
    size_t n_takes, n_records, n_syncs;
    double n_bytes; /* of the journal */
};

size_t schedule_n_units(const struct schedule_lengths *l, enum schedule_pass pass);
/* Costs of all units as the pipeline believes them beforehand: costs: [n_units]. */
void schedule_known(double *costs, enum schedule_pass pass, const struct schedule_lengths *l,
                    size_t n_stages, size_t batch);
/* Places of a batch, as pipeline/run.c sets them. */
size_t schedule_places(enum schedule_pass pass, size_t n_stages,
                       const struct schedule_rules *rules);

/* n_groups of c->n_stages; the judge may have fewer stages, and then has more groups. */
void schedule_sim_run(struct schedule_outcome *out, enum schedule_pass pass,
                      const struct schedule_lengths *l, const struct schedule_costs *c,
                      const struct schedule_rules *rules, size_t n_groups);

/* See schedule_bound.c. most: sequences that a group answers at once. */
double schedule_bound_s(enum schedule_pass pass, const struct schedule_lengths *l,
                        const struct schedule_costs *c, size_t n_groups, size_t most);

#endif
