/* The schedule alone, on paper: how well SafeEdit's 1350 cases are handed out to 64 to 4,096 ranks,
 * how busy stages, counter and journal are. See README.md and docs/SCALING.md.
 *
 *   bench_schedule [--ranks N] [--stages P] [--batch B] [--cases N] [--answers run-on|refuse|limit]
 *                  [--many F] [--few F] [--memory B] [--plain] [--check SHARE]
 *
 * --batch is for each stage: run.batch = B * P. --many, --few: operations per second of a rank on
 * many rows and on few; --memory: bytes per second. --plain: batches of one size in the order of
 * the units, vanilla before edit. --check: exit status 1 if a pass of a single stage falls below
 * that share of its bound. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/bench/schedule_sim.h"

static const char *const names[SCHEDULE_N_PASSES] = {"locate", "vanilla", "edit", "answer",
                                                     "judge"};

struct options {
    size_t ranks, stages, n_cases; /* ranks, stages 0: all */
    enum schedule_answers answers;
    struct schedule_rates rates;
    struct schedule_rules rules;
    double check;
};

static void usage(const char *what)
{
    fprintf(stderr, "bench_schedule: %s; its options stand at the head of schedule.c\n", what);
    exit(2);
}

static double number(const char *text)
{
    char *end;
    double x = strtod(text, &end);
    if (end == text || *end != '\0' || !(x > 0.0)) {
        usage(text);
    }
    return x;
}

static enum schedule_answers answers_named(const char *name)
{
    static const char *const kinds[] = {"run-on", "refuse", "limit"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(name, kinds[i]) == 0) {
            return (enum schedule_answers)i;
        }
    }
    usage(name);
    return SCHEDULE_RUN_ON;
}

static struct options read_options(int argc, char **argv)
{
    /* A core of a node whose cores are all busy; a whole node has the same proportions. */
    struct options o = {.n_cases = 1350,
                        .rates = {.many = 60e9, .few = 50e9, .memory = 4.7e9},
                        .rules = {.batch = 8}};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--plain") == 0) {
            o.rules.plain = true;
            continue;
        }
        const char *value = i + 1 < argc ? argv[++i] : "a value is missing";
        if (strcmp(name, "--answers") == 0) {
            o.answers = answers_named(value);
        } else if (strcmp(name, "--ranks") == 0) {
            o.ranks = (size_t)number(value);
        } else if (strcmp(name, "--stages") == 0) {
            o.stages = (size_t)number(value);
        } else if (strcmp(name, "--batch") == 0) {
            o.rules.batch = (size_t)number(value);
        } else if (strcmp(name, "--cases") == 0) {
            o.n_cases = (size_t)number(value);
        } else if (strcmp(name, "--many") == 0) {
            o.rates.many = number(value);
        } else if (strcmp(name, "--few") == 0) {
            o.rates.few = number(value);
        } else if (strcmp(name, "--memory") == 0) {
            o.rates.memory = number(value);
        } else if (strcmp(name, "--check") == 0) {
            o.check = number(value);
        } else {
            usage(name);
        }
    }
    return o;
}

static void print_pass(enum schedule_pass pass, const struct schedule_outcome *r, size_t n_groups)
{
    double t = r->makespan_s;
    printf("  %-8s%10.0f%10.0f%8.1f%8.1f%8.1f%8.1f%9.3f%9.3f%9.2f%9.4f\n", names[pass], t,
           r->bound_s, 100.0 * r->bound_s / t, 100.0 * r->idle, 100.0 * r->uneven, 100.0 * r->fill,
           (double)r->n_takes / t, (double)r->n_records / t, r->n_bytes / t * 1e-3,
           (double)r->n_syncs / t / (double)n_groups);
}

/* All passes of one grid; their efficiency. */
static double run(const struct options *o, const struct schedule_lengths *l, size_t ranks,
                  size_t n_stages)
{
    struct schedule_costs c;
    struct schedule_rules rules = o->rules;
    double makespan_s = 0.0, bound_s = 0.0;
    size_t n_groups = ranks / n_stages;
    rules.batch *= n_stages;
    schedule_costs_make(&c, l, &o->rates, n_stages);
    printf("%zu groups x %zu stages\n", n_groups, n_stages);
    for (int pass = 0; pass < SCHEDULE_N_PASSES; pass++) {
        struct schedule_outcome r;
        if (rules.plain ? pass == SCHEDULE_ANSWER
                        : pass == SCHEDULE_VANILLA || pass == SCHEDULE_EDIT) {
            continue;
        }
        schedule_sim_run(&r, (enum schedule_pass)pass, l, &c, &rules, n_groups);
        print_pass((enum schedule_pass)pass, &r, n_groups);
        makespan_s += r.makespan_s;
        bound_s += r.bound_s;
    }
    printf("  %-8s%10.0f%10.0f%8.1f\n", "all", makespan_s, bound_s, 100.0 * bound_s / makespan_s);
    fflush(stdout);
    return bound_s / makespan_s;
}

int main(int argc, char **argv)
{
    static const size_t stages[] = {1, 4, 16};
    const struct options o = read_options(argc, argv);
    struct schedule_lengths l;
    double least = 1.0;
    schedule_lengths_draw(&l, o.n_cases, o.answers, 1);
    printf("%zu cases, %zu prompts, %zu responses; a rank: %.3g and %.3g flop/s, %.3g B/s\n\n",
           l.n_cases, l.n_prompts, l.n_responses, o.rates.many, o.rates.few, o.rates.memory);
    printf("  %-8s%10s%10s%8s%8s%8s%8s%9s%9s%9s%9s\n", "pass", "time s", "bound s", "%", "idle %",
           "uneven %", "fill %", "takes/s", "records/s", "kB/s", "syncs/s");
    for (size_t ranks = o.ranks > 0 ? o.ranks : 64; ranks <= (o.ranks > 0 ? o.ranks : 4096);
         ranks *= 4) {
        for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
            size_t p = o.stages > 0 ? o.stages : stages[i];
            if (p > SCHEDULE_MAX_STAGES || ranks % p != 0) {
                usage("the stages do not divide the ranks, or are too many");
            }
            double share = run(&o, &l, ranks, p);
            least = p == 1 && share < least ? share : least;
            if (o.stages > 0) {
                break;
            }
        }
    }
    schedule_lengths_free(&l);
    if (least < o.check) {
        fprintf(stderr, "bench_schedule: a run reaches %.1f %% of its bounds; expected %.1f %%\n",
                100.0 * least, 100.0 * o.check);
        return 1;
    }
    return 0;
}
