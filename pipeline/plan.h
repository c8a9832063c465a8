/* What a job will need, counted before anything heavy is loaded: which rank holds which layers, how
 * much memory each of them takes and whether it is there, and (for --dry-run) work and time.
 *
 * Answers are counted at their greatest length. Where the settings leave the edited layer to be
 * found, memory is counted for the dearest from usual_layer up, and work for usual_layer. */
#ifndef DINM_PIPELINE_PLAN_H
#define DINM_PIPELINE_PLAN_H

#include "pipeline/job.h"

/* Tokens of what will be read, by the tokenizer itself. */
struct dinm_plan_lengths {
    int64_t *all;     /* owns: the three below lie in it, and may be written as one array */
    int64_t *prompts; /* [n_prompts] of each distinct prompt, cut to what the model takes */
    int64_t *edited;  /* [n_cases][DINM_N_INPUTS] of the edited prompts */
    int64_t *targets; /* [n_cases][DINM_N_TARGET_LENGTHS] */
    size_t n_all;
};
/* A case's texts of the edit; zeros if there are none, or the case will fail. */
enum {
    DINM_EDIT_ROWS,
    DINM_EDIT_PICKS,
    DINM_CONSTRAINT_ROWS,
    DINM_CONSTRAINT_PICKS,
    DINM_N_TARGET_LENGTHS
};

/* Memory of one rank at one time, bytes. */
struct dinm_plan_memory {
    double weights;     /* mapped; ranks of a node share it if they hold the same layers */
    double caches;      /* keys and values of the sequences being answered */
    double edit;        /* matrices, gradient, moments, rows, tape and logits of edits */
    double activations; /* scratch, rows on their way, logits */
    double judge;       /* mapped weights of the classifier, shared as well */
};

/* What a job does one after the other; the phase edit makes edits, then answers with them. */
enum dinm_moment {
    DINM_AT_LOCATE,
    DINM_AT_VANILLA,
    DINM_AT_EDIT,
    DINM_AT_ANSWER,
    DINM_AT_JUDGE,
    DINM_N_MOMENTS
};
extern const char *const dinm_moment_names[DINM_N_MOMENTS];

struct dinm_plan_stage {
    size_t first, last; /* layers [first, last) */
    double cost;        /* share of the work, 1 = all of it */
    struct dinm_plan_memory memory[DINM_N_MOMENTS];
    enum dinm_moment peak; /* which takes most */
};

/* One rank as it is. */
struct dinm_plan_rank {
    double program;      /* bytes that it holds already: program, libraries, inputs */
    double space;        /* bytes left of its address space */
    double many, few[2]; /* operations per second on many rows; on those of vanilla's and of edited
                            answers */
    int64_t node;        /* lowest rank of its node */
};
/* What its node has left, as the lowest rank sees it; the narrowest of the node's control groups.
 */
struct dinm_plan_node {
    double ram, cgroup;
};

/* The work of one moment, all ranks together. */
struct dinm_plan_work {
    size_t n_units;
    double n_read, n_written; /* tokens */
    double many, few;         /* floating-point operations on many rows at once, and on few */
    double bytes;             /* moved from memory: weights per pass, caches per token */
    double time_s;            /* by the measured rates; 0 without */
};

struct dinm_plan {
    const struct dinm_job *job; /* borrows */
    struct dinm_plan_lengths lengths;
    size_t usual_layer;                            /* edited, as far as one can know */
    struct dinm_weights_size embed, head, *layers; /* owns: [n_layers] */
    double judge_bytes;                            /* all tensors of the classifier */
    size_t n_stages, n_groups;
    size_t *first;                  /* owns: [n_stages + 1] */
    struct dinm_plan_stage *stages; /* owns: [n_stages] */
    struct dinm_plan_rank *ranks;   /* owns: [n_ranks] */
    struct dinm_plan_node *nodes;   /* owns: [n_ranks], those of each node's lowest rank count */
    size_t n_ranks;
    double disk_bytes, disk_left;
    struct dinm_plan_work work[DINM_N_MOMENTS];
    struct dinm_buffer reason; /* owns: why so many stages */
    struct dinm_error lack;    /* DINM_OK: it fits; otherwise what is too small */
};

/* Collective over the job's grid, once all inputs but the layers are open. Counts, chooses stages
 * and cut (run.stages, run.layer_cut, else the fewest stages that fit). What does not fit is no
 * failure: see lack. Cost: every rank reads the headers of the weights and its share of the texts,
 * two reductions. Free it also after failure. */
int dinm_plan_make_all(struct dinm_plan *plan, const struct dinm_job *job, struct dinm_error *err);
void dinm_plan_free(struct dinm_plan *plan);
/* Collective. Work and disk; with rates measured for at most two seconds, all ranks at once, as
 * they will work. rates: this rank's many, few[0], few[1]; measured and kept there where the first
 * is 0, on all ranks or on none. */
int dinm_plan_measure_all(struct dinm_plan *plan, double rates[3], struct dinm_error *err);
/* Local. Appends the plan as tables of at most 100 columns. */
int dinm_plan_print(const struct dinm_plan *plan, struct dinm_buffer *out, struct dinm_error *err);

/* "3.2 s", "12 min", "4.5 h", "3.1 d", in `room`. */
const char *dinm_plan_say_time(char room[32], double s);

/* Local. Appends the layers of each stage: "6 + 6 + 5 + 5". */
int dinm_plan_print_cut(const struct dinm_plan *plan, struct dinm_buffer *out,
                        struct dinm_error *err);

/* Local. What each unit of locate, vanilla or edit costs, in multiplications on many rows, answers
 * counted at their greatest length: costs: [n_units]. The same on every rank and machine. */
void dinm_plan_unit_costs(const struct dinm_plan *plan, enum dinm_phase phase, double *costs);

/* Private to pipeline/plan*.c. */
int dinm_plan_count_all(struct dinm_plan *plan, struct dinm_error *err);
int dinm_plan_rates_all(struct dinm_plan *plan, double rates[3], struct dinm_error *err);
void dinm_plan_count_work(struct dinm_plan *plan);
/* Stages, cut and memory from what is counted and gathered; Local. */
int dinm_plan_choose(struct dinm_plan *plan, struct dinm_error *err);
/* Costs of the layers, for the cut: [n_layers]. */
void dinm_plan_costs(const struct dinm_plan *plan, double *costs);
/* The memory of a stage whose layers are set, of plan->n_stages. */
void dinm_plan_fill_stage(const struct dinm_plan *plan, struct dinm_plan_stage *s);
/* Most rows of one pass, and most keys that one attends to: what scratch is reserved for. */
void dinm_plan_most_rows(const struct dinm_plan *plan, size_t *n_rows, size_t *n_keys);
/* Sets *lack if a node or a rank has too little. */
void dinm_plan_check(const struct dinm_plan *plan, struct dinm_error *lack);
/* What a node's ranks will take beyond what they hold: at one time, and the most. */
double dinm_plan_node_bytes(const struct dinm_plan *plan, int64_t node, enum dinm_moment moment);
double dinm_plan_node_most(const struct dinm_plan *plan, int64_t node);
/* Bytes that no other rank shares, and all of them. */
double dinm_plan_private_bytes(const struct dinm_plan_memory *m);
double dinm_plan_total_bytes(const struct dinm_plan_memory *m);
/* Keys and values of one position in one layer's cache, as the stages keep them
 * (dinm_slice_kv_dtype). */
double dinm_plan_kv_bytes(const struct dinm_plan *plan);
/* Rows of the products of a decoding batch: sequences answered at once in one lane. */
size_t dinm_plan_few_rows(const struct dinm_plan *plan, enum dinm_moment moment);

#endif
