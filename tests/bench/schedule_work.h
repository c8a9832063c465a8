/* What the benchmark of the schedule takes for granted: lengths like those of SafeEdit's test set,
 * and what reading and writing them costs a rank. */
#ifndef DINM_BENCH_SCHEDULE_WORK_H
#define DINM_BENCH_SCHEDULE_WORK_H

#include <stddef.h>
#include <stdint.h>

enum { SCHEDULE_N_INPUTS = 5, SCHEDULE_MAX_STAGES = 64 };

/* Tokens read, and tokens written until the answer ends by itself or at its limit. */
struct schedule_answer {
    size_t n_read, n_written;
};

struct schedule_case {
    size_t safe, unsafe; /* the responses that are located */
    size_t rows, picks;  /* of both texts of the edit; those with a loss */
    struct schedule_answer edited[SCHEDULE_N_INPUTS];
};

struct schedule_lengths {
    struct schedule_case *cases;     /* owns: [n_cases] */
    struct schedule_answer *prompts; /* owns: [n_prompts] distinct ones, model as it is */
    size_t *responses;               /* owns: [n_responses] tokens the judge reads */
    size_t n_cases, n_prompts, n_responses;
};
/* How long the answers are: of a model that mostly writes until it is stopped, of one that refuses,
 * all as long as they can be. */
enum schedule_answers { SCHEDULE_RUN_ON, SCHEDULE_REFUSE, SCHEDULE_AT_LIMIT };
/* Drawn from the distributions in schedule_work.c with a generator of its own: the same numbers
 * everywhere. Ends the program on lack of memory. */
void schedule_lengths_draw(struct schedule_lengths *l, size_t n_cases,
                           enum schedule_answers answers, uint64_t seed);
void schedule_lengths_free(struct schedule_lengths *l);

/* A rank: operations per second on many rows and on few, bytes per second from memory. */
struct schedule_rates {
    double many, few, memory;
};

/* What a pass costs each stage, in seconds. */
struct schedule_stage {
    double read;              /* its weights once */
    double many, few;         /* a row of many; a row of few, the head included on the last stage */
    double key;               /* a key that a row of few sees */
    double above;             /* an edit's row through its layers above the edited one, and their */
    double read_above;        /* weights once */
    double judge, read_judge; /* a row of the judge's layers, and their weights once */
};

struct schedule_costs {
    size_t n_stages, judge_stages;
    size_t owner; /* the stage of the edited layer */
    size_t n_steps;
    struct schedule_stage stages[SCHEDULE_MAX_STAGES];
    double matrix;    /* an edited matrix read once by its owner */
    double own, adam; /* owner: an edit's row forward and back, the optimiser; for each step */
    double pick, read_head; /* last stage: a row with a loss; the head's weights once */
};
/* Llama-2-7B in bf16, RoBERTa-large, layer 29 of 32 edited in 10 steps; layers are cut as the
 * pipeline cuts them for these lengths. */
void schedule_costs_make(struct schedule_costs *c, const struct schedule_lengths *l,
                         const struct schedule_rates *rates, size_t n_stages);

/* An edit goes up to its owner, then up and down once a step. Its hops, the stage of one, the time
 * it takes there. */
size_t schedule_edit_hops(const struct schedule_costs *c);
size_t schedule_edit_stage(const struct schedule_costs *c, size_t hop);
double schedule_edit_s(const struct schedule_costs *c, const struct schedule_case *one, size_t hop);

/* What the pipeline believes beforehand, as pipeline/plan_units.c: in multiplications, with so many
 * rows in a decoding pass. */
double schedule_known_answer(const struct schedule_answer *a, size_t n_rows);
double schedule_known_case(const struct schedule_case *one, size_t n_rows);

/* Rows of a case's two responses side by side. */
double schedule_located_rows(const struct schedule_case *one);

#endif
