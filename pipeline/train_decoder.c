/* Training the language model: one stage of the decoder, and the objective "lm" (negative
 * log-likelihood of each next token). A part's rows go up the stages, their gradient comes down. */
#include "pipeline/train_private.h"

#include <stdlib.h>
#include <string.h>
#include "model/loss.h"
#include "model/slice.h"
#include "pipeline/cut.h"

/* Rows of logits at a time: a large vocabulary would fill the memory otherwise. */
enum { HEAD_ROWS = 512 };

struct decoder {
    struct dinm_slice slice; /* owns; its weights borrow from the model's flat array */
    size_t first, last;      /* this stage's layers */
    struct dinm_workspace *workspace;
    struct dinm_tape *tape;
    struct dinm_grads grads;      /* owns; they borrow from the lesson's gradient */
    float *head_copy, *head_grad; /* owns: [n_vocab][d_model], a tied head's on the last of several
                                     stages */
    /* One part's rows: every token but the last of each sequence. */
    struct dinm_sequence *sequences; /* owns: [n] */
    int32_t *ids;                    /* owns: [n_rows] */
    size_t *picks;                   /* owns: [n_picks]: rows whose next token carries loss */
    int32_t *targets;                /* owns: [n_picks] */
    float *x, *dx;                   /* owns: [n_rows][d_model] */
    float *logits;                   /* owns: [HEAD_ROWS][n_vocab]; the last stage alone */
    float *normed, *room;            /* owns: [HEAD_ROWS][d_model]; the same */
    size_t n_sequences, n_rows, n_picks;
    size_t sequences_capacity, ids_capacity, picks_capacity, targets_capacity, x_capacity,
        dx_capacity;
};

static void close_decoder(struct dinm_train_model *m)
{
    struct decoder *d = m->state;
    if (d == NULL) {
        return;
    }
    dinm_weights_free(&d->slice.weights);
    dinm_workspace_free(d->workspace);
    dinm_tape_free(d->tape);
    dinm_grads_free(&d->grads);
    free(d->head_copy);
    free(d->head_grad);
    free(d->sequences);
    free(d->ids);
    free(d->picks);
    free(d->targets);
    free(d->x);
    free(d->dx);
    free(d->logits);
    free(d->normed);
    free(d->room);
    free(d);
    m->state = NULL;
}

static int load_checkpoint(struct dinm_train_model *m, const struct decoder *d, const char *folder,
                           struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_checkpoint checkpoint = {0};
    TRY(dinm_checkpoint_open(&checkpoint, folder, err));
    TRY(dinm_weights_load_flat(m->flat, &d->slice.config, d->first, d->last, &checkpoint, err));
out:
    dinm_checkpoint_close(&checkpoint);
    return status;
}

/* The decoder's reader of config.json takes its folder. */
static int load_config(struct dinm_config *config, const char *path, struct dinm_error *err)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    if (strcmp(name, "config.json") != 0) {
        return dinm_fail(err, DINM_USAGE, "%s: a model's config must be called config.json", path);
    }
    char *folder = dinm_copy_text(slash == NULL ? "." : path,
                                  slash == NULL ? 1 : (size_t)(slash - path) + 1, err);
    if (folder == NULL) {
        return DINM_FAILED;
    }
    int status = dinm_config_load(config, folder, err);
    free(folder);
    return status;
}

/* The cut of the layers by their products; the head counts for the last. first: [n_stages + 1]. */
static int cut(size_t *first, const struct dinm_config *config, size_t n_stages,
               struct dinm_error *err)
{
    double *costs = dinm_alloc(config->n_layers, sizeof *costs, "the cut of the layers", err);
    if (costs == NULL) {
        return DINM_FAILED;
    }
    for (size_t l = 0; l < config->n_layers; l++) {
        costs[l] = (double)dinm_weights_layer_size(config, NULL, l).n_products;
    }
    costs[config->n_layers - 1] += (double)dinm_weights_head_size(config, NULL).n_products;
    const int status = dinm_cut_evenly(first, costs, config->n_layers, n_stages, err);
    free(costs);
    return status;
}

/* Which layers this stage holds, and where they lie among all parameters. */
static int take_place(struct dinm_train_model *m, struct decoder *d, struct dinm_error *err)
{
    const struct dinm_config *config = &d->slice.config;
    const size_t n_stages = (size_t)m->group->size;
    size_t *first = dinm_alloc(n_stages + 1, sizeof *first, "the cut of the layers", err);
    if (first == NULL) {
        return DINM_FAILED;
    }
    const int status = cut(first, config, n_stages, err);
    if (status == DINM_OK) {
        d->first = first[m->group->rank];
        d->last = first[m->group->rank + 1];
        const struct dinm_flat_range range = dinm_weights_range(config, d->first, d->last);
        m->n_params = range.n_params;
        m->n_tensors = range.n_tensors;
        m->first_param = range.first_param;
        m->first_tensor = range.first_tensor;
        m->n_all_tensors = dinm_weights_n_tensors(config);
        m->n_all_params = dinm_weights_n_params(config);
    }
    free(first);
    return status;
}

/* What the last stage alone needs, and its copy of a tied head. */
static int open_head(struct dinm_train_model *m, struct decoder *d, struct dinm_error *err)
{
    const struct dinm_config *config = &d->slice.config;
    if (d->last < config->n_layers) {
        return DINM_OK;
    }
    d->logits = dinm_alloc(HEAD_ROWS, config->n_vocab * sizeof(float), "logits", err);
    d->normed = dinm_alloc(HEAD_ROWS, config->d_model * sizeof(float), "normed rows", err);
    d->room = dinm_alloc(HEAD_ROWS, config->d_model * sizeof(float), "normed rows", err);
    if (d->logits == NULL || d->normed == NULL || d->room == NULL) {
        return DINM_FAILED;
    }
    if (m->n_shared > 0) {
        d->head_copy = dinm_alloc(m->n_shared, sizeof *d->head_copy, "the head's weights", err);
        d->head_grad = dinm_alloc(m->n_shared, sizeof *d->head_grad, "the head's gradient", err);
        if (d->head_copy == NULL || d->head_grad == NULL) {
            return DINM_FAILED;
        }
        m->shared = d->head_copy;
        d->slice.weights.head = (struct dinm_matrix){.data = d->head_copy,
                                                     .dtype = DINM_F32,
                                                     .n_out = config->n_vocab,
                                                     .n_in = config->d_model};
    }
    return DINM_OK;
}

static int open_decoder(struct dinm_train_model *m, const struct dinm_grid *group,
                        const char *config_path, const char *init, uint64_t seed,
                        struct dinm_error *err)
{
    int status = DINM_FAILED;
    struct decoder *d = dinm_alloc(1, sizeof *d, "the decoder", err);
    if (d == NULL) {
        return DINM_FAILED;
    }
    m->group = group;
    m->state = d;
    struct dinm_config *config = &d->slice.config;
    TRY(load_config(config, config_path, err));
    if (config->layout != DINM_LAYOUT_LLAMA) {
        TRY(dinm_fail(err, DINM_FAILED,
                      "%s: model_type is \"%s\", but only llama, mistral and qwen2 can be trained",
                      config_path, config->type));
    }
    TRY(take_place(m, d, err));
    m->max_tokens = config->n_positions;
    m->n_vocab = config->n_vocab;
    m->n_shared = config->tied && group->size > 1 ? config->n_vocab * config->d_model : 0;
    m->flat = dinm_alloc(m->n_params, sizeof *m->flat, "the model's weights", err);
    if (m->flat == NULL) {
        status = DINM_FAILED;
        goto out;
    }
    m->shared = d->first == 0 && m->n_shared > 0 ? m->flat : NULL; /* the embedding comes first */
    if (init == NULL) {
        dinm_weights_init_flat(m->flat, config, d->first, d->last, seed);
    } else {
        TRY(load_checkpoint(m, d, init, err));
    }
    TRY(dinm_weights_bind_flat(&d->slice.weights, config, d->first, d->last, m->flat, err));
    TRY(open_head(m, d, err));
out:
    return status;
}

static struct dinm_param param(const struct dinm_train_model *m, size_t index)
{
    const struct decoder *d = m->state;
    struct dinm_param p = dinm_weights_param(&d->slice.config, m->first_tensor + index);
    p.offset -= m->first_param;
    return p;
}

static struct dinm_param whole_param(const struct dinm_train_model *m, size_t index)
{
    const struct decoder *d = m->state;
    return dinm_weights_param(&d->slice.config, index);
}

const struct dinm_train_kind dinm_train_decoder = {open_decoder, close_decoder, param, whole_param};

static size_t loss_tokens(const struct dinm_train_record *record)
{
    return record->n_tokens - record->loss_from;
}

static int grow_floats(float **x, size_t *capacity, size_t n, struct dinm_error *err)
{
    void *grown = *x;
    int status = dinm_grow(&grown, capacity, n, sizeof **x, "activations", err);
    *x = grown;
    return status;
}

static int grow_rows(struct decoder *d, size_t n, size_t n_rows, struct dinm_error *err)
{
    int status = DINM_OK;
    void *sequences = d->sequences;
    void *ids = d->ids;
    void *picks = d->picks;
    void *targets = d->targets;
    const size_t n_floats = n_rows * d->slice.config.d_model;
    TRY(dinm_grow(&sequences, &d->sequences_capacity, n, sizeof *d->sequences, "sequences", err));
    d->sequences = sequences;
    TRY(dinm_grow(&ids, &d->ids_capacity, n_rows, sizeof *d->ids, "tokens", err));
    d->ids = ids;
    TRY(dinm_grow(&picks, &d->picks_capacity, n_rows, sizeof *d->picks, "rows", err));
    d->picks = picks;
    TRY(dinm_grow(&targets, &d->targets_capacity, n_rows, sizeof *d->targets, "targets", err));
    d->targets = targets;
    TRY(grow_floats(&d->x, &d->x_capacity, n_floats, err));
    TRY(grow_floats(&d->dx, &d->dx_capacity, n_floats, err));
out:
    return status;
}

/* Row r reads token t of its sequence and predicts token t + 1. */
static int lay_out(struct decoder *d, const struct dinm_train_pack *pack, struct dinm_error *err)
{
    if (grow_rows(d, pack->n, pack->n_tokens - pack->n, err) < 0) {
        return DINM_FAILED;
    }
    d->n_sequences = pack->n;
    d->n_rows = 0;
    d->n_picks = 0;
    for (size_t i = 0; i < pack->n; i++) {
        const int32_t *ids = pack->ids + pack->first[i];
        const size_t n = pack->first[i + 1] - pack->first[i] - 1;
        d->sequences[i] = (struct dinm_sequence){.n_rows = n};
        for (size_t t = 0; t < n; t++) {
            if (t + 1 >= pack->loss_from[i]) {
                d->picks[d->n_picks] = d->n_rows;
                d->targets[d->n_picks++] = ids[t + 1];
            }
            d->ids[d->n_rows++] = ids[t];
        }
    }
    return DINM_OK;
}

/* The head and the loss, HEAD_ROWS picked rows at a time; dx += its gradient if grads is given. */
static void learn_head(struct decoder *d, struct dinm_train_score *score, double scale,
                       struct dinm_grads *grads)
{
    const size_t n_vocab = d->slice.config.n_vocab;
    for (size_t i = 0; i < d->n_picks; i += HEAD_ROWS) {
        const size_t n = d->n_picks - i < HEAD_ROWS ? d->n_picks - i : HEAD_ROWS;
        float *dlogits = grads == NULL ? NULL : d->logits;
        dinm_slice_head(&d->slice, d->logits, d->normed, d->x, d->picks + i, n);
        if (grads == NULL) {
            score->n_right += (double)dinm_loss_count_right(d->logits, d->targets + i, n, n_vocab);
        }
        score->loss += dinm_loss_nll(dlogits, d->logits, d->targets + i, scale, n, n_vocab);
        if (grads != NULL) {
            dinm_slice_head_backward(&d->slice, d->dx, dlogits, d->x, d->picks + i, n, d->room,
                                     grads);
        }
    }
    score->n_units = (double)d->n_picks;
}

static int prepare_lm(struct dinm_train_model *m, const struct dinm_train_lesson *lesson,
                      struct dinm_error *err)
{
    int status = DINM_OK;
    struct decoder *d = m->state;
    const struct dinm_config *config = &d->slice.config;
    TRY(lay_out(d, lesson->pack, err));
    const struct dinm_rows rows = {d->sequences, d->n_sequences, d->n_rows};
    TRY(dinm_workspace_reserve(&d->workspace, config, &rows, err));
    if (lesson->grad != NULL) {
        TRY(dinm_tape_reserve(&d->tape, config, d->first, d->last, d->n_rows, err));
        dinm_grads_free(&d->grads);
        TRY(dinm_grads_bind_flat(&d->grads, config, d->first, d->last, lesson->grad, err));
        if (d->head_grad != NULL) {
            d->grads.head = d->head_grad;
        }
    }
out:
    return status;
}

/* The rows' gradient from the stage above, or from the loss. */
static int begin_backward_all(struct dinm_train_model *m, const struct dinm_train_lesson *lesson,
                              struct dinm_train_score *score, struct dinm_error *err)
{
    int status = DINM_OK;
    struct decoder *d = m->state;
    const int stage = m->group->rank;
    const int last = m->group->size - 1;
    const size_t n_bytes = d->n_rows * d->slice.config.d_model * sizeof *d->dx;
    const size_t shared_bytes = lesson->grad == NULL ? 0 : m->n_shared * sizeof *m->shared;
    if (stage == last) {
        memset(d->dx, 0, n_bytes);
        if (d->head_grad != NULL) {
            memset(d->head_grad, 0, shared_bytes);
        }
        learn_head(d, score, lesson->scale, lesson->grad == NULL ? NULL : &d->grads);
        return last == 0 ? DINM_OK : dinm_train_send(m->group, 0, d->head_grad, shared_bytes, err);
    }
    if (stage == 0) {
        /* What the embedding's gradient starts from, as in one stage. */
        TRY(dinm_train_receive(m->group, last, d->grads.embed, shared_bytes, err));
    }
    if (lesson->grad != NULL) {
        TRY(dinm_train_receive(m->group, stage + 1, d->dx, n_bytes, err));
    }
out:
    return status;
}

static int learn_lm_all(struct dinm_train_model *m, const struct dinm_train_lesson *lesson,
                        struct dinm_train_score *score, struct dinm_error *err)
{
    int status = DINM_OK;
    struct decoder *d = m->state;
    const int stage = m->group->rank;
    const struct dinm_rows rows = {d->sequences, d->n_sequences, d->n_rows};
    const size_t n_bytes = d->n_rows * d->slice.config.d_model * sizeof *d->x;
    if (stage == 0) {
        dinm_slice_embed(&d->slice, d->x, d->ids, &rows);
    } else {
        TRY(dinm_train_receive(m->group, stage - 1, d->x, n_bytes, err));
    }
    dinm_slice_forward(&d->slice, d->x, &rows, d->first, d->last,
                       lesson->grad == NULL ? NULL : d->tape, NULL, d->workspace);
    if (stage < m->group->size - 1) {
        TRY(dinm_train_send(m->group, stage + 1, d->x, n_bytes, err));
    }
    TRY(begin_backward_all(m, lesson, score, err));
    if (lesson->grad == NULL) {
        return DINM_OK;
    }
    dinm_slice_backward(&d->slice, d->dx, &rows, d->first, d->last, d->tape, &d->grads,
                        d->workspace);
    if (stage == 0) {
        dinm_slice_embed_backward(&d->slice, d->dx, d->ids, d->n_rows, &d->grads);
    } else {
        TRY(dinm_train_send(m->group, stage - 1, d->dx, n_bytes, err));
    }
out:
    return status;
}

const struct dinm_train_objective dinm_train_lm = {
    "lm", "tokens", &dinm_train_decoder, dinm_train_lm_read, loss_tokens, prepare_lm, learn_lm_all};
