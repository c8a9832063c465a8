/* From keys to the settings of every combination. */
#include "pipeline/sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/file.h"

void dinm_sweep_close(struct dinm_sweep *sweep)
{
    for (size_t k = 0; k < sweep->n_keys; k++) {
        dinm_sweep_key_free(&sweep->keys[k]);
    }
    for (size_t i = 0; sweep->runs != NULL && i < sweep->n_runs; i++) {
        dinm_settings_free(&sweep->runs[i]);
    }
    free(sweep->keys);
    free(sweep->runs);
    free(sweep->out);
    free(sweep->job_base);
    free(sweep->command_base);
    dinm_buffer_free(&sweep->job_where);
    dinm_faults_free(&sweep->faults);
    *sweep = (struct dinm_sweep){0};
}

size_t dinm_sweep_choice(const struct dinm_sweep *sweep, size_t i, size_t key)
{
    for (size_t k = sweep->n_keys - 1; k > key; k--) {
        i /= sweep->keys[k].n;
    }
    return i % sweep->keys[key].n;
}

size_t dinm_sweep_leader(const struct dinm_sweep *sweep, size_t i,
                         bool (*decides)(const struct dinm_setting *row))
{
    size_t leader = 0;
    for (size_t k = 0; k < sweep->n_keys; k++) {
        const struct dinm_sweep_key *key = &sweep->keys[k];
        leader = leader * key->n + (decides(key->row) ? dinm_sweep_choice(sweep, i, k) : 0);
    }
    return leader;
}

int dinm_sweep_describe(const struct dinm_sweep *sweep, size_t i, struct dinm_buffer *out,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    for (size_t k = 0; k < sweep->n_keys; k++) {
        const struct dinm_sweep_key *key = &sweep->keys[k];
        TRY(dinm_buffer_append_format(out, err, "%s%s=%s", k > 0 ? ", " : "", key->row->key,
                                      key->said[dinm_sweep_choice(sweep, i, k)]));
    }
out:
    return status;
}

/* The number of combinations; too many are a fault. */
static int count_runs(struct dinm_sweep *sweep, struct dinm_error *err)
{
    size_t n = 1;
    struct dinm_error failure = {0};
    for (size_t k = 0; k < sweep->n_keys; k++) {
        if (sweep->keys[k].n > DINM_SWEEP_MOST_RUNS / n) {
            dinm_fail(&failure, DINM_USAGE, "the sweep has more than %d combinations",
                      DINM_SWEEP_MOST_RUNS);
            return dinm_faults_add(&sweep->faults, &failure, err);
        }
        n *= sweep->keys[k].n;
    }
    sweep->runs = dinm_alloc(n, sizeof *sweep->runs, "the combinations of a sweep", err);
    sweep->n_runs = sweep->runs != NULL ? n : 0;
    return sweep->runs != NULL ? DINM_OK : DINM_FAILED;
}

/* The output folder of run i below the job's. */
static int place_run(struct dinm_sweep *sweep, size_t i, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer path = {0};
    struct dinm_settings *s = &sweep->runs[i];
    const struct dinm_setting *row = dinm_settings_find("run.out");
    if (sweep->out == NULL) {
        sweep->out = dinm_copy_text(s->run.out, strlen(s->run.out), err);
        TRY(sweep->out != NULL ? DINM_OK : DINM_FAILED);
    }
    TRY(dinm_buffer_append_format(&path, err, "%s/sweep/%03zu", sweep->out, i));
    TRY(dinm_settings_set_text(s, row, path.data, NULL, err));
    s->origins[row - dinm_settings_table] = DINM_FROM_SWEEP;
out:
    dinm_buffer_free(&path);
    return status;
}

/* One sentence for all combinations that are wrong in the same way names the first of them. */
static int note_fault(struct dinm_sweep *sweep, struct dinm_faults *bare, size_t i,
                      struct dinm_error *failure, struct dinm_error *err)
{
    int status = DINM_OK;
    const size_t n_before = bare->n;
    struct dinm_buffer name = {0};
    struct dinm_error named = {0}, copy = *failure;
    TRY(dinm_sweep_describe(sweep, i, &name, err));
    dinm_fail(&named, failure->status, "combination %03zu (%s): %s", i, name.data, failure->text);
    TRY(dinm_faults_add(bare, &copy, err));
    if (bare->n > n_before) {
        TRY(dinm_faults_add(&sweep->faults, &named, err));
    }
out:
    dinm_buffer_free(&name);
    *failure = (struct dinm_error){0};
    return status;
}

static int resolve_runs(struct dinm_sweep *sweep, const struct dinm_args *args,
                        const struct dinm_job_file *file, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_faults bare = {0};
    struct dinm_error failure = {0};
    struct dinm_pick *picks = dinm_alloc(sweep->n_keys, sizeof *picks, "the sweep", err);
    TRY(picks != NULL ? DINM_OK : DINM_FAILED);
    for (size_t i = 0; i < sweep->n_runs; i++) {
        for (size_t k = 0; k < sweep->n_keys; k++) {
            const struct dinm_sweep_key *key = &sweep->keys[k];
            const int choice = (int)dinm_sweep_choice(sweep, i, k);
            picks[k] = (struct dinm_pick){.row = key->row,
                                          .value = cJSON_GetArrayItem(key->list, choice),
                                          .where = key->where,
                                          .base = key->base};
        }
        if (dinm_args_resolve(args, file, picks, sweep->n_keys, &sweep->runs[i], &failure) < 0) {
            TRY(note_fault(sweep, &bare, i, &failure, err));
        } else {
            TRY(place_run(sweep, i, err));
        }
    }
out:
    dinm_faults_free(&bare);
    free(picks);
    return status;
}

int dinm_sweep_open(struct dinm_sweep *sweep, const struct dinm_args *args, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_job_file file = {0};
    *sweep = (struct dinm_sweep){0};
    TRY(dinm_args_open_job(args, &file, err));
    TRY(dinm_sweep_read_keys(sweep, args, &file, err));
    if (sweep->faults.n > 0) {
        goto out;
    }
    TRY(count_runs(sweep, err));
    if (sweep->n_keys > 0) {
        TRY(resolve_runs(sweep, args, &file, err));
    } else {
        TRY(dinm_args_resolve(args, &file, NULL, 0, &sweep->runs[0], err));
    }
out:
    dinm_args_close_job(&file);
    return status;
}
