/* Training, from the job file to the checkpoint. Every rank reads the job and the data; in each
 * step the batch is cut into parts, each done by a group of ranks that hold the model together. For
 * every stage the parts' gradients are summed on its root in a fixed order; the root takes an AdamW
 * step and shares the new weights. */
#include "pipeline/train.h"

#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "io/log.h"
#include "model/linear.h"
#include "pipeline/train_step.h"

/* ---- before the first step ---- */

static int load_data(struct dinm_trainer *t, struct dinm_error *err)
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
static int prepare(struct dinm_trainer *t, struct dinm_error *err)
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
    TRY(s->objective->kind->open(&t->model, &t->place.group, config.data, s->init,
                                 (uint64_t)s->seed, err));
    TRY(dinm_tokenizer_fit(t->tokenizer, config.data, t->model.n_vocab, err));
    TRY(load_data(t, err));
    TRY(dinm_train_order_init(&t->order, t->data.n_records, (uint64_t)s->seed, err));
    TRY(dinm_train_tree_init(&t->tree, &t->place.peers, (size_t)s->parts, t->model.n_params, err));
    t->batch = dinm_alloc((size_t)s->batch, sizeof *t->batch, "the batch", err);
    if (t->batch == NULL) {
        status = DINM_FAILED;
        goto out;
    }
    if (t->place.peers.rank == 0) {
        t->moments = dinm_alloc(t->model.n_params, 2 * sizeof *t->moments, "Adam's moments", err);
        TRY(t->moments == NULL ? DINM_FAILED : DINM_OK);
    }
    if (t->place.grid.rank == 0) {
        TRY(dinm_folder_make(s->out, err));
    }
out:
    dinm_buffer_free(&config);
    return status;
}

static int open_all(struct dinm_trainer *t, MPI_Comm comm, const char *job_path,
                    struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_grid *grid = &t->place.grid;
    int mine = dinm_train_settings_load(&t->settings, job_path, err);
    TRY(dinm_train_place_open_all(&t->place, comm, mine < 0 ? 1 : t->settings.threads, err));
    TRY(dinm_agree_all(grid, mine, err));
    TRY(dinm_train_place_cut_all(&t->place, t->settings.stages, err));
    dinm_linear_set_threads(grid->n_threads);
    TRY(dinm_agree_all(grid, prepare(t, err), err));
    TRY(dinm_train_share_ends_all(t, err));
    t->tree.compute = dinm_train_compute_part;
    t->tree.context = t;
    if (grid->rank == 0) {
        t->status = dinm_train_watch_begin(&t->watch, &t->settings, &t->model, &t->data,
                                           &t->held_out, grid, err);
    }
out:
    return status;
}

/* ---- steps ---- */

/* Collective over the roots. Rank 0 writes the output folder, the others send it their weights. */
static int write_all(struct dinm_trainer *t, const struct dinm_train_result *result,
                     struct dinm_error *err)
{
    int status = t->status;
    const struct dinm_train_kind *kind = t->settings.objective->kind;
    const bool root = t->place.grid.rank == 0;
    struct dinm_train_gather gather = {0};
    if (root && status == DINM_OK) {
        status = dinm_train_gather_open(&gather, &t->model, kind, err);
    }
    TRY(dinm_agree_all(&t->place.group, status, err));
    if (!root) {
        return dinm_train_gather_send(&t->model, kind, err);
    }
    status = dinm_train_write(&t->settings, &t->model, &gather, &t->data, &t->held_out, result,
                              &t->watch.losses, err);
    const int rest = dinm_train_gather_rest(&gather, err);
    status = rest < status ? rest : status;
out:
    dinm_train_gather_close(&gather);
    return status;
}

/* Collective. */
static int save_all(struct dinm_trainer *t, const struct dinm_train_result *result,
                    struct dinm_error *err)
{
    const int status = t->place.peers.rank == 0 ? write_all(t, result, err) : DINM_OK;
    return dinm_agree_all(&t->place.grid, status, err);
}

/* Collective. Trains and leaves the last checkpoint. */
static int run_all(struct dinm_trainer *t, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_train_settings *s = &t->settings;
    const bool root = t->place.grid.rank == 0;
    struct dinm_train_result result = {0};
    for (int64_t step = 1; step <= s->steps; step++) {
        const bool last = step == s->steps;
        const bool look = s->held_out != NULL && (last || step % s->held_out_every == 0);
        TRY(dinm_train_step_all(t, step, err));
        if (look) {
            TRY(dinm_train_score_all(&t->place, s, &t->model, &t->held_out, &result.held_out, err));
        }
        if (root && t->status == DINM_OK) {
            t->status =
                dinm_train_watch_note(&t->watch, s, &t->now, look ? &result.held_out : NULL, err);
        }
        if (last || (s->save_every > 0 && step % s->save_every == 0)) {
            result.step = step;
            result.loss = t->now.loss;
            TRY(save_all(t, &result, err));
        }
    }
    if (root) {
        dinm_log(DINM_LOG_NOTICE, "train: checkpoint in %s", s->out);
    }
out:
    return status;
}

static void close_all(struct dinm_trainer *t)
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
    dinm_train_place_close_all(&t->place);
}

int dinm_train_all(MPI_Comm comm, const char *job_path, struct dinm_error *err)
{
    struct dinm_error ours = {0}; /* agreement needs a place for the sentence */
    struct dinm_trainer t = {0};
    err = err == NULL ? &ours : err;
    int status = open_all(&t, comm, job_path, err);
    if (status == DINM_OK) {
        status = run_all(&t, err);
    }
    close_all(&t);
    return status;
}
