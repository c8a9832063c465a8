/* Training, from the job file to the checkpoint. Every rank reads the job and the data; in each
 * step the batch is cut into parts, the parts' gradients are summed on rank 0 in a fixed order,
 * rank 0 takes an AdamW step and shares the new weights. */
#include "pipeline/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "io/log.h"
#include "model/adam.h"
#include "model/linear.h"
#include "pipeline/train_private.h"
#include "pipeline/train_watch.h"

struct trainer {
    struct dinm_grid grid;
    struct dinm_train_settings settings;
    struct dinm_tokenizer *tokenizer;
    struct dinm_train_model model;
    struct dinm_train_data data, held_out;
    struct dinm_train_order order;
    struct dinm_train_pack pack;
    struct dinm_train_tree tree;
    size_t *batch; /* owns: [settings.batch], records of this step */
    double scale;  /* 1 / units of the batch */
    /* Rank 0 alone: */
    float *moments; /* owns: [2][n_params], Adam's m and v */
    struct dinm_train_step now;
    struct dinm_train_watch watch;
    int status; /* of what rank 0 did between steps; goes out with the next one */
};

/* ---- before the first step ---- */

static int load_data(struct trainer *t, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_train_settings *s = &t->settings;
    struct dinm_train_reader reader = {s->objective, t->tokenizer, t->model.max_tokens,
                                       t->model.n_labels};
    if (s->max_tokens > 0) {
        if ((size_t)s->max_tokens > t->model.max_tokens || s->max_tokens < 2) {
            return dinm_fail(err, DINM_USAGE,
                             "train.max_tokens is %lld; the model takes 2 to %zu tokens",
                             (long long)s->max_tokens, t->model.max_tokens);
        }
        reader.max_tokens = (size_t)s->max_tokens;
    }
    TRY(dinm_train_data_load(&t->data, s->data, &reader, err));
    if (s->held_out != NULL) {
        TRY(dinm_train_data_load(&t->held_out, s->held_out, &reader, err));
    }
out:
    return status;
}

/* Everything that one rank can do by itself. */
static int prepare(struct trainer *t, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_train_settings *s = &t->settings;
    struct dinm_buffer config = {0};
    TRY(dinm_tokenizer_open(&t->tokenizer, s->tokenizer, err));
    if (s->config != NULL) {
        TRY(dinm_buffer_append_text(&config, s->config, err));
    } else {
        TRY(dinm_buffer_append_format(&config, err, "%s/config.json", s->init));
    }
    TRY(s->objective->kind->open(&t->model, config.data, s->init, (uint64_t)s->seed, err));
    TRY(dinm_tokenizer_fit(t->tokenizer, config.data, t->model.n_vocab, err));
    TRY(load_data(t, err));
    TRY(dinm_train_order_init(&t->order, t->data.n_records, (uint64_t)s->seed, err));
    TRY(dinm_train_tree_init(&t->tree, &t->grid, (size_t)s->parts, t->model.n_params, err));
    t->batch = dinm_alloc((size_t)s->batch, sizeof *t->batch, "the batch", err);
    if (t->batch == NULL) {
        status = DINM_FAILED;
        goto out;
    }
    if (t->grid.rank == 0) {
        t->moments = dinm_alloc(t->model.n_params, 2 * sizeof *t->moments, "Adam's moments", err);
        status = t->moments == NULL ? DINM_FAILED : dinm_folder_make(s->out, err);
    }
out:
    dinm_buffer_free(&config);
    return status;
}

static int compute_part(void *context, size_t part, float *grad, struct dinm_train_score *score,
                        struct dinm_error *err)
{
    struct trainer *t = context;
    const size_t n = (size_t)t->settings.batch;
    const size_t n_parts = (size_t)t->settings.parts;
    const size_t first = part * n / n_parts;
    const size_t end = (part + 1) * n / n_parts;
    if (dinm_train_pack_fill(&t->pack, &t->data, t->batch + first, end - first, err) < 0) {
        return DINM_FAILED;
    }
    return t->settings.objective->learn(&t->model, score, grad, t->scale, &t->pack, err);
}

static int open_all(struct trainer *t, MPI_Comm comm, const char *job_path, struct dinm_error *err)
{
    int status = DINM_OK;
    int mine = dinm_train_settings_load(&t->settings, job_path, err);
    TRY(dinm_grid_open_all(&t->grid, comm, mine < 0 ? 1 : t->settings.threads, err));
    TRY(dinm_agree_all(&t->grid, mine, err));
    dinm_linear_set_threads(t->grid.n_threads);
    TRY(dinm_agree_all(&t->grid, prepare(t, err), err));
    t->tree.compute = compute_part;
    t->tree.context = t;
    if (t->grid.rank == 0) {
        t->status = dinm_train_watch_begin(&t->watch, &t->settings, &t->model, &t->data,
                                           &t->held_out, &t->grid, err);
    }
out:
    return status;
}

/* ---- steps ---- */

/* The records of this step's batch; returns their tokens. */
static size_t choose_batch(struct trainer *t, int64_t step)
{
    size_t n_tokens = 0;
    size_t n_units = 0;
    for (int64_t i = 0; i < t->settings.batch; i++) {
        const size_t index = dinm_train_order_at(&t->order, (step - 1) * t->settings.batch + i);
        const struct dinm_train_record *record = &t->data.records[index];
        t->batch[i] = index;
        n_tokens += record->n_tokens;
        n_units += t->settings.objective->n_units(record);
    }
    t->scale = 1.0 / (double)n_units;
    return n_tokens;
}

/* Linear warm-up to lr, then half a cosine down to min_lr at the last step. */
static double learning_rate(const struct dinm_train_settings *s, int64_t step)
{
    const double pi = 3.141592653589793;
    if (step <= s->warmup) {
        return s->lr * (double)step / (double)s->warmup;
    }
    const double span = (double)(s->steps - s->warmup);
    const double share = (double)(step - s->warmup) / span;
    return s->min_lr + 0.5 * (s->lr - s->min_lr) * (1.0 + cos(pi * share));
}

static double norm_of(const float *x, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return sqrt(sum);
}

/* AdamW on all tensors; weight decay on matrices alone. grad is scaled to the clipped norm. */
static void update(struct trainer *t, float *grad, double norm, double lr, int64_t step)
{
    const struct dinm_train_settings *s = &t->settings;
    struct dinm_train_model *m = &t->model;
    if (s->clip > 0.0 && norm > s->clip) {
        const float factor = (float)(s->clip / norm);
        for (size_t i = 0; i < m->n_params; i++) {
            grad[i] *= factor;
        }
    }
    for (size_t i = 0; i < m->n_tensors; i++) {
        const struct dinm_param p = s->objective->kind->param(m, i);
        const struct dinm_adam adam = {
            .lr = lr,
            .beta1 = s->beta1,
            .beta2 = s->beta2,
            .eps = s->eps,
            .weight_decay = p.n_in > 0 ? s->weight_decay : 0.0,
            .decoupled = true,
        };
        dinm_adam_step(m->flat + p.offset, t->moments + p.offset,
                       t->moments + m->n_params + p.offset, grad + p.offset, &adam, step,
                       p.n_out * (p.n_in > 0 ? p.n_in : 1));
    }
}

/* Rank 0: from the summed gradient to new weights. */
static int take_step(struct trainer *t, int64_t step, size_t n_tokens, struct dinm_train_score sum,
                     struct dinm_error *err)
{
    const double lr = learning_rate(&t->settings, step);
    const double loss = sum.loss / sum.n_units;
    const double norm = norm_of(t->tree.slots[0], t->model.n_params);
    if (!isfinite(loss) || !isfinite(norm)) {
        return dinm_fail(err, DINM_FAILED,
                         "training stopped at step %lld: the %s is not finite (%g); a smaller lr "
                         "or clip may help",
                         (long long)step, isfinite(loss) ? "gradient's norm" : "loss",
                         isfinite(loss) ? norm : loss);
    }
    update(t, t->tree.slots[0], norm, lr, step);
    t->now = (struct dinm_train_step){step, n_tokens, lr, norm, loss};
    return DINM_OK;
}

/* Collective. One step: the same weights on every rank before and after. */
static int step_all(struct trainer *t, int64_t step, struct dinm_error *err)
{
    struct dinm_train_score sum = {0};
    int worst = DINM_OK;
    const size_t n_tokens = choose_batch(t, step);
    int mine = dinm_train_tree_sum_all(&t->tree, &sum, &worst, err);
    if (t->status < mine) {
        mine = t->status;
    }
    if (t->grid.rank == 0 && worst == DINM_OK && mine == DINM_OK) {
        mine = take_step(t, step, n_tokens, sum, err);
    }
    /* The verdict goes out before the weights; only a failure costs an agreement. */
    float verdict = (float)(mine < worst ? mine : worst);
    const int shared = dinm_train_share_all(&t->grid, &verdict, 1, err);
    if (shared == DINM_OK && verdict == (float)DINM_OK) {
        return dinm_train_share_all(&t->grid, t->model.flat, t->model.n_params, err);
    }
    return dinm_agree_all(&t->grid, mine < shared ? mine : shared, err);
}

/* Collective. Trains and leaves the last checkpoint. */
static int run_all(struct trainer *t, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_train_settings *s = &t->settings;
    const bool root = t->grid.rank == 0;
    struct dinm_train_result result = {0};
    for (int64_t step = 1; step <= s->steps; step++) {
        const bool last = step == s->steps;
        const bool look = s->held_out != NULL && (last || step % s->held_out_every == 0);
        TRY(step_all(t, step, err));
        if (look) {
            TRY(dinm_train_score_all(&t->grid, s, &t->model, &t->held_out, &result.held_out, err));
        }
        if (root && t->status == DINM_OK) {
            t->status =
                dinm_train_watch_note(&t->watch, s, &t->now, look ? &result.held_out : NULL, err);
        }
        if (last || (s->save_every > 0 && step % s->save_every == 0)) {
            result.step = step;
            result.loss = t->now.loss;
            if (root && t->status == DINM_OK) {
                t->status = dinm_train_write(s, &t->model, &t->data, &t->held_out, &result,
                                             &t->watch.losses, err);
            }
            TRY(dinm_agree_all(&t->grid, t->status, err));
        }
    }
    if (root) {
        dinm_log(DINM_LOG_NOTICE, "train: checkpoint in %s", s->out);
    }
out:
    return status;
}

static void close_all(struct trainer *t)
{
    if (t->settings.objective != NULL) {
        t->settings.objective->kind->close(&t->model);
    }
    free(t->model.flat);
    dinm_tokenizer_close(t->tokenizer);
    dinm_train_data_free(&t->data);
    dinm_train_data_free(&t->held_out);
    dinm_train_order_free(&t->order);
    dinm_train_pack_free(&t->pack);
    dinm_train_tree_free(&t->tree);
    dinm_train_watch_free(&t->watch);
    free(t->batch);
    free(t->moments);
    dinm_train_settings_free(&t->settings);
    dinm_grid_close_all(&t->grid);
}

int dinm_train_all(MPI_Comm comm, const char *job_path, struct dinm_error *err)
{
    struct dinm_error ours = {0}; /* agreement needs a place for the sentence */
    struct trainer t = {0};
    err = err == NULL ? &ours : err;
    int status = open_all(&t, comm, job_path, err);
    if (status == DINM_OK) {
        status = run_all(&t, err);
    }
    close_all(&t);
    return status;
}
