/* What the files of the training share: settings, data, the ranks' places, model, objectives and
 * the sum over parts. */
#ifndef DINM_PIPELINE_TRAIN_PRIVATE_H
#define DINM_PIPELINE_TRAIN_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "io/digest.h"
#include "io/json.h"
#include "io/tokenizer.h"
#include "model/weights.h"
#include "pipeline/grid.h"

/* ---- settings: the job's "train" object ---- */

struct dinm_train_settings {
    const struct dinm_train_objective *objective;
    char *data, *held_out, *config, *init, *tokenizer, *out; /* owns: paths; NULL: not given */
    int64_t steps, batch, parts, warmup, seed, max_tokens, every, save_every, held_out_every,
        threads, stages;
    double lr, min_lr, weight_decay, clip, beta1, beta2, eps;
    enum dinm_dtype dtype;
    cJSON *tree; /* owns: the job file */
};
/* Local. Free with dinm_train_settings_free, also after failure. */
int dinm_train_settings_load(struct dinm_train_settings *s, const char *job_path,
                             struct dinm_error *err);
void dinm_train_settings_free(struct dinm_train_settings *s);
/* Appends every setting as a member of a JSON object, paths as the job file spells them. */
int dinm_train_settings_print(const struct dinm_train_settings *s, struct dinm_buffer *b,
                              struct dinm_error *err);

/* ---- data: token ids of all records ---- */

struct dinm_train_record {
    size_t first, n_tokens; /* ids[first] .. ids[first + n_tokens) */
    size_t loss_from;       /* lm: tokens from here on (within the record) carry loss */
    int32_t label;          /* classify */
};
struct dinm_train_data {
    struct dinm_ids ids;               /* owns */
    struct dinm_train_record *records; /* owns: [n_records] */
    size_t n_records, capacity;
    size_t n_cut;      /* records cut to max_tokens */
    size_t n_left_out; /* records of which the cut left nothing to learn from */
};
/* What turns lines into records. */
struct dinm_train_reader {
    const struct dinm_train_objective *objective;
    const struct dinm_tokenizer *tokenizer; /* borrows */
    size_t max_tokens;                      /* per sequence */
    size_t n_labels;
};
/* Local. Reads a JSON-lines file. Errors name file and line. */
int dinm_train_data_load(struct dinm_train_data *data, const char *path,
                         const struct dinm_train_reader *reader, struct dinm_error *err);
/* Takes the ids appended since the last record (data->ids from `first` on) as the next one. */
int dinm_train_data_add(struct dinm_train_data *data, struct dinm_train_record record,
                        struct dinm_error *err);
void dinm_train_data_free(struct dinm_train_data *data);

/* The endless sequence of records: epoch after epoch, each shuffled by (seed, epoch) alone. */
struct dinm_train_order {
    size_t *order; /* owns: [n_records], of the current epoch */
    size_t n_records;
    int64_t epoch;
    uint64_t seed;
};
int dinm_train_order_init(struct dinm_train_order *o, size_t n_records, uint64_t seed,
                          struct dinm_error *err);
/* Record at that place. Places within one epoch cost nothing; a new epoch one shuffle. */
size_t dinm_train_order_at(struct dinm_train_order *o, int64_t place);
void dinm_train_order_free(struct dinm_train_order *o);

/* Some records, packed for one forward pass: record i is ids[first[i]] .. ids[first[i + 1]). */
struct dinm_train_pack {
    int32_t *ids;      /* owns: [n_tokens] */
    size_t *first;     /* owns: [n + 1] */
    size_t *loss_from; /* owns: [n] */
    int32_t *labels;   /* owns: [n] */
    size_t n, n_tokens;
    size_t ids_capacity, first_capacity, loss_capacity, labels_capacity;
};
int dinm_train_pack_fill(struct dinm_train_pack *pack, const struct dinm_train_data *data,
                         const size_t *indices, size_t n, struct dinm_error *err);
void dinm_train_pack_free(struct dinm_train_pack *pack);

/* ---- place: which rank holds which layers, with whom ---- */

/* Groups hold the model once; each of a group's stages holds consecutive layers. The ranks of
 * group 0 are the *roots*: they hold the optimiser's state of their stage. Rank 0 is the root of
 * stage 0. */
struct dinm_train_place {
    struct dinm_grid grid;  /* owns: all ranks */
    struct dinm_grid group; /* owns: the stages of this rank's group; rank = stage */
    struct dinm_grid peers; /* owns: this stage's ranks in all groups; rank = group */
};
/* Collective over comm. */
int dinm_train_place_open_all(struct dinm_train_place *place, MPI_Comm comm, int64_t threads,
                              struct dinm_error *err);
/* Collective. Cost: three splits. */
int dinm_train_place_cut_all(struct dinm_train_place *place, int64_t n_stages,
                             struct dinm_error *err);
/* Collective. Safe on a zeroed place, and twice. */
void dinm_train_place_close_all(struct dinm_train_place *place);

/* Between two ranks of a grid; both name the same number of bytes. Returns when they have gone or
 * come. */
int dinm_train_send(const struct dinm_grid *grid, int to, const void *bytes, size_t n_bytes,
                    struct dinm_error *err);
int dinm_train_receive(const struct dinm_grid *grid, int from, void *bytes, size_t n_bytes,
                       struct dinm_error *err);
/* Collective over grid. root's bytes reach all. */
int dinm_train_share_all(const struct dinm_grid *grid, int root, void *bytes, size_t n_bytes,
                         struct dinm_error *err);

/* ---- model and objective ---- */

/* One stage of a model: its layers' parameters are one range of the whole flat array. */
struct dinm_train_model {
    const struct dinm_grid *group;    /* borrows: the stages */
    float *flat;                      /* owns: [n_params], the weights that training updates */
    size_t n_params, n_tensors;       /* of this stage */
    size_t first_tensor, first_param; /* within the whole */
    size_t n_all_params, n_all_tensors;
    size_t max_tokens, n_vocab, n_labels;
    /* Weights that the first and the last of several stages use, as a tied embedding: on the first
     * within flat, on the last a copy, elsewhere NULL. */
    float *shared;   /* borrows: [n_shared] */
    size_t n_shared; /* the same on all stages */
    void *state;     /* owns: what the kind keeps */
};
/* Decoder or encoder. */
struct dinm_train_kind {
    /* Local. Fills m, the stage group->rank of group->size; weights from checkpoint folder `init`,
     * or random from the seed if it is NULL. A copy of shared weights is not filled. */
    int (*open)(struct dinm_train_model *m, const struct dinm_grid *group, const char *config,
                const char *init, uint64_t seed, struct dinm_error *err);
    void (*close)(struct dinm_train_model *m);
    /* Tensor of this stage; its offset is within m->flat. */
    struct dinm_param (*param)(const struct dinm_train_model *m, size_t index);
    /* Tensor of the whole model. */
    struct dinm_param (*whole_param)(const struct dinm_train_model *m, size_t index);
};

struct dinm_train_score {
    double loss;    /* sum over units */
    double n_units; /* what the loss is a mean over: tokens that carry loss, or sequences */
    double n_right; /* units whose largest logit is the right one */
};
/* What is to be learned: the packed records' loss, and its gradient if there is a place for it. */
struct dinm_train_lesson {
    const struct dinm_train_pack *pack; /* borrows */
    float *grad;                        /* borrows: [n_params], += scale * gradient; or NULL */
    double scale;
};
struct dinm_train_objective {
    const char *name;
    const char *unit; /* "tokens" or "texts" */
    const struct dinm_train_kind *kind;
    /* Reads one record. */
    int (*read)(struct dinm_train_data *data, struct dinm_json line,
                const struct dinm_train_reader *reader, struct dinm_error *err);
    size_t (*n_units)(const struct dinm_train_record *record);
    /* Local. All that can fail on one stage alone, before learn_all. */
    int (*prepare)(struct dinm_train_model *m, const struct dinm_train_lesson *lesson,
                   struct dinm_error *err);
    /* Collective over m->group. Rows go up the stages and their gradient comes down. *score is the
     * last stage's; others leave it alone. */
    int (*learn_all)(struct dinm_train_model *m, const struct dinm_train_lesson *lesson,
                     struct dinm_train_score *score, struct dinm_error *err);
};
/* lm's records. {"text": ...}: every token carries loss; {"prompt": ..., "response": ...}: those
 * beyond the prompt's. The first token of all is predicted by nothing and never carries loss. */
int dinm_train_lm_read(struct dinm_train_data *data, struct dinm_json line,
                       const struct dinm_train_reader *reader, struct dinm_error *err);
extern const struct dinm_train_kind dinm_train_decoder, dinm_train_encoder;
extern const struct dinm_train_objective dinm_train_lm, dinm_train_classify;

/* Collective over m->group. The lesson, if all of the group's stages are well so far: `before` is
 * this rank's outcome of what it did for it, *worst the worst status that it knows of. Returns this
 * rank's own outcome and lowers *worst to the group's, so that no stage waits for one that failed.
 * *score is zero but on the last stage. Cost: with several stages a reduction, and the rows up and
 * down. */
int dinm_train_learn_all(struct dinm_train_model *m, const struct dinm_train_objective *objective,
                         const struct dinm_train_lesson *lesson, struct dinm_train_score *score,
                         int before, int *worst, struct dinm_error *err);

/* ---- the sum over parts ---- */

/* Sums the parts' gradients in a binary tree over part numbers that does not depend on the number
 * of ranks: node [a, a + 2^k) is the sum of its halves. With several stages there is one tree for
 * each, over the groups; all have the same shape. Part p is computed on rank p * size / n_parts; a
 * node lives on the rank of its first part, so that only right halves travel, and only to lower
 * ranks: no circle of waiting ranks can arise. */
struct dinm_train_tree {
    const struct dinm_grid *grid; /* borrows: this stage's ranks */
    size_t n_parts, n_params;
    struct dinm_train_move *moves; /* owns: [n_moves], this rank's work in order */
    size_t n_moves, moves_capacity;
    size_t n_slots, n_sends; /* gradients held at once; messages to lower ranks */
    float **slots;           /* owns: [n_slots][n_params] */
    double *headers;         /* owns: [n_slots][DINM_TRAIN_HEADER]: status and score of each slot */
    MPI_Request *requests;   /* owns */
    size_t n_requests;
    /* Computes a part into grad, which is zeroed before. Called also after a failure (*worst),
     * since other stages may count on an answer; returns this rank's own outcome and lowers *worst
     * to what it learned of others'. */
    int (*compute)(void *context, size_t part, float *grad, struct dinm_train_score *score,
                   int *worst, struct dinm_error *err);
    void *context;
};
enum { DINM_TRAIN_HEADER = 4 };
int dinm_train_tree_init(struct dinm_train_tree *t, const struct dinm_grid *grid, size_t n_parts,
                         size_t n_params, struct dinm_error *err);
void dinm_train_tree_free(struct dinm_train_tree *t);
/* Collective. On rank 0, slot 0 and *score are the sums over all parts. Returns this rank's own
 * outcome; *worst is the worst that went through it, on rank 0 that of all. After a failure the
 * messages still flow, so that nobody waits for ever. Cost: n_sends messages of n_params floats. */
int dinm_train_tree_sum_all(struct dinm_train_tree *t, struct dinm_train_score *score, int *worst,
                            struct dinm_error *err);
/* Collective. The score of all of data with the model as it is; *score is the same on every rank.
 * Cost: one forward pass over the data, shared by the groups, and a gather. */
int dinm_train_score_all(const struct dinm_train_place *place, const struct dinm_train_settings *s,
                         struct dinm_train_model *m, const struct dinm_train_data *data,
                         struct dinm_train_score *score, struct dinm_error *err);

/* ---- output ---- */

/* All stages' weights, tensor by tensor, on rank 0. */
struct dinm_train_gather {
    const struct dinm_train_model *model; /* borrows */
    struct dinm_param *params;            /* owns: [n_all_tensors] */
    float *room;                          /* owns: the largest tensor; with several stages */
    struct dinm_digester *digester;       /* owns: of all floats handed out */
    int stage;                            /* whose tensors come now, up to the one before `end` */
    size_t end, n_taken;
};
/* Local. */
int dinm_train_gather_open(struct dinm_train_gather *g, const struct dinm_train_model *m,
                           const struct dinm_train_kind *kind, struct dinm_error *err);
void dinm_train_gather_close(struct dinm_train_gather *g);
/* Rank 0. context: a gather; tensors in order, each once. */
dinm_weights_source dinm_train_gather_next;
/* Rank 0. Takes what is left, so that nobody waits after a failure. */
int dinm_train_gather_rest(struct dinm_train_gather *g, struct dinm_error *err);
/* The other roots. Sends this stage's tensors. */
int dinm_train_gather_send(const struct dinm_train_model *m, const struct dinm_train_kind *kind,
                           struct dinm_error *err);

struct dinm_train_result {
    int64_t step; /* steps done */
    double loss;  /* of the last step */
    struct dinm_train_score held_out;
};
/* Rank 0. Writes the whole output folder; each file appears under its name when complete. The
 * weights are taken from g. */
int dinm_train_write(const struct dinm_train_settings *s, const struct dinm_train_model *m,
                     struct dinm_train_gather *g, const struct dinm_train_data *data,
                     const struct dinm_train_data *held_out, const struct dinm_train_result *result,
                     const struct dinm_buffer *losses, struct dinm_error *err);

#endif
