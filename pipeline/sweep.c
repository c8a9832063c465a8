/* The story of a sweep: every combination is a run (run.c); what several of them compute alike is
 * computed by the first; a table says how they compare. */
#include "pipeline/sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "io/archive.h"
#include "io/file.h"
#include "io/log.h"
#include "pipeline/job.h"
#include "pipeline/journal_folder.h"
#include "pipeline/progress.h"
#include "pipeline/run.h"
#include "pipeline/sweep_id.h"
#include "pipeline/sweep_rehearse.h"
#include "pipeline/sweep_share.h"
#include "pipeline/sweep_table.h"

enum { MOST_NAMED = 20 }; /* failed combinations in the last sentence */

struct story {
    MPI_Comm comm;                          /* borrows */
    const struct dinm_sweep *sweep;         /* borrows */
    const struct dinm_run_options *options; /* borrows */
    struct dinm_grid grid;                  /* owns */
    struct dinm_sweep_share *shares;        /* owns: [n_runs] */
    struct dinm_digests *digests;           /* owns: [n_runs], rank 0 */
    struct dinm_digest_memory memory;       /* owns: of their files, rank 0 */
    struct dinm_sweep_table table;          /* owns; filled on rank 0 */
    int lock_fd;                            /* owns: rank 0's, -1 on others */
    double start_s;
};

static bool speaks(const struct story *s)
{
    return s->grid.rank == 0 && !s->options->quiet;
}

/* Settings on which the inputs do not depend. */
static bool is_input(const struct dinm_setting *row)
{
    return strncmp(row->key, "edit.", 5) != 0;
}

/* Local, rank 0. All inputs of all combinations are looked at before any is run. */
static int check_inputs(struct story *s, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_faults faults = {0};
    for (size_t i = 0; i < s->sweep->n_runs; i++) {
        struct dinm_job job = {.settings = &s->sweep->runs[i], .judge_stages = MPI_COMM_NULL};
        if (dinm_sweep_leader(s->sweep, i, is_input) == i) {
            status = dinm_job_open_inputs(&job, &faults, err);
            dinm_job_close_all(&job); /* has no grid: nothing in it is collective */
            TRY(status);
        }
    }
    TRY(dinm_faults_end(&faults, "inputs", true, err));
out:
    dinm_faults_free(&faults);
    return status;
}

/* Local. Forgets what the runs of an earlier sweep have done, those beyond this one's number too.
 */
static int forget_runs(const struct dinm_sweep *sweep, struct dinm_error *err)
{
    int status = DINM_OK, fd = -1;
    struct dinm_buffer path = {0};
    for (size_t i = 0;; i++) {
        path.n_bytes = 0;
        TRY(dinm_buffer_append_format(&path, err, "%s/sweep/%03zu/journal", sweep->out, i));
        if (!dinm_path_is_folder(path.data)) {
            if (i < sweep->n_runs) {
                continue;
            }
            break;
        }
        TRY(dinm_journal_folder_lock(path.data, &fd, err));
        status = dinm_journal_folder_clear(path.data, err);
        if (fd >= 0) {
            close(fd);
        }
        TRY(status);
    }
out:
    dinm_buffer_free(&path);
    return status;
}

/* Local, rank 0. Takes the output folder, if it is free and holds nothing else. */
static int take_folder(struct story *s, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_sweep *sweep = s->sweep;
    const bool fresh = s->options->fresh;
    char *folder = dinm_path_join(sweep->out, "sweep", err);
    char *journal = dinm_path_join(sweep->out, "journal", err);
    TRY(folder != NULL && journal != NULL ? DINM_OK : DINM_FAILED);
    if (dinm_path_exists(journal)) {
        TRY(dinm_fail(err, DINM_FAILED, "%s holds a run that is no sweep; use another --out",
                      sweep->out));
    }
    TRY(dinm_folder_make(folder, err));
    TRY(dinm_journal_folder_lock(folder, &s->lock_fd, err));
    if (s->lock_fd >= 0) { /* nobody else writes here */
        TRY(dinm_folder_clear_temporaries(sweep->out, err));
        TRY(dinm_folder_clear_temporaries(folder, err));
    }
    if (fresh) {
        TRY(dinm_sweep_table_write(&s->table, err)); /* nothing is done */
        TRY(forget_runs(sweep, err));
    }
    TRY(dinm_sweep_identify(sweep, s->digests, fresh, err));
    TRY(fresh ? DINM_OK : dinm_sweep_table_load(&s->table, err));
    TRY(dinm_sweep_table_write(&s->table, err));
out:
    free(journal);
    free(folder);
    return status;
}

/* Every rank learns which combinations are finished. */
static int share_finished_all(struct story *s, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer flags = {0};
    for (size_t i = 0; s->grid.rank == 0 && i < s->sweep->n_runs; i++) {
        const char *flag = s->table.rows[i].state == DINM_SWEEP_DONE ? "x" : "-";
        TRY(dinm_buffer_append_text(&flags, flag, err));
    }
out:
    status = dinm_agree_all(&s->grid, status, err);
    if (status >= 0) {
        status = dinm_grid_broadcast_all(&s->grid, &flags, err);
    }
    for (size_t i = 0; status >= 0 && i < s->sweep->n_runs; i++) {
        s->shares[i].is_finished = flags.data[i] == 'x';
    }
    dinm_buffer_free(&flags);
    return status;
}

static int open_all(struct story *s, struct dinm_error *err)
{
    int status = DINM_OK;
    const size_t n = s->sweep->n_runs;
    TRY(dinm_grid_open_all(&s->grid, s->comm, 0, err));
    s->shares = dinm_alloc(n, sizeof *s->shares, "the sweep", err);
    s->digests = dinm_alloc(n, sizeof *s->digests, "the sweep", err);
    status = s->shares != NULL && s->digests != NULL ? DINM_OK : DINM_FAILED;
    status = status < 0 ? status : dinm_sweep_table_open(&s->table, s->sweep, err);
    status = status < 0 ? status : dinm_sweep_share_open(s->shares, s->sweep, err);
    status = status < 0 || s->grid.rank > 0 ? status : check_inputs(s, err);
    TRY(dinm_agree_all(&s->grid, status, err));
out:
    return status;
}

static void close_all(struct story *s)
{
    if (s->lock_fd >= 0) {
        close(s->lock_fd);
    }
    dinm_sweep_table_close(&s->table);
    free(s->digests);
    dinm_digest_memory_free(&s->memory);
    free(s->shares);
    dinm_grid_close_all(&s->grid);
}

/* "combination 003 (edit.lr=0.001): <sentence>" */
static int name_failure(const struct story *s, size_t i, const struct dinm_error *failure,
                        struct dinm_error *err)
{
    struct dinm_buffer name = {0};
    struct dinm_error ignored = {0};
    const bool named = dinm_sweep_describe(s->sweep, i, &name, &ignored) >= 0;
    dinm_fail(err, failure->status, "combination %03zu (%s): %s", i, named ? name.data : "?",
              failure->text);
    dinm_buffer_free(&name);
    return failure->status;
}

static void announce(const struct story *s, size_t i, const char *remark)
{
    struct dinm_buffer name = {0};
    struct dinm_error ignored = {0};
    if (speaks(s) && dinm_sweep_describe(s->sweep, i, &name, &ignored) >= 0) {
        dinm_log(DINM_LOG_NOTICE, "combination %03zu of %zu: %s%s", i, s->sweep->n_runs, name.data,
                 remark);
    }
    dinm_buffer_free(&name);
}

/* A failure without results. HDF5 may not survive one of its own, and wrong usage is wrong for all:
 * then nothing more is run. */
static int note_failure_all(struct story *s, size_t i, const struct dinm_error *failure,
                            struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_error named = {0};
    name_failure(s, i, failure, &named);
    if (failure->status == DINM_USAGE || dinm_archive_has_failed()) {
        status = dinm_fail(err, failure->status, "%s", named.text);
    } else if (s->grid.rank == 0) {
        fprintf(stderr, "dinm_pipeline: %s\n", named.text);
        status = dinm_sweep_table_failed(&s->table, i, failure->text, err);
    }
    return dinm_agree_all(&s->grid, status, err);
}

static int run_one_all(struct story *s, size_t i, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_settings *settings = &s->sweep->runs[i];
    struct dinm_run_options options = *s->options;
    struct dinm_run_part part = {.start_s = s->start_s, .memory = &s->memory};
    struct dinm_error failure = {0};
    options.fresh = false; /* all runs have been forgotten together */
    for (int phase = 0; phase < DINM_SWEEP_N_SHARED; phase++) {
        const size_t donor = dinm_sweep_donor(s->shares, i, (enum dinm_phase)phase);
        part.donors[phase] = donor < i ? s->sweep->runs[donor].run.out : NULL;
    }
    announce(s, i, "");
    status = dinm_run_all(s->comm, settings, &options, &part, &failure);
    if (status == DINM_STOPPED) {
        return name_failure(s, i, &failure, err);
    }
    s->shares[i].is_finished = status == DINM_OK || part.reported;
    if (!s->shares[i].is_finished) {
        TRY(note_failure_all(s, i, &failure, err));
    }
    status = DINM_OK;
    if (s->grid.rank == 0) {
        status = part.reported ? dinm_sweep_table_done(&s->table, i, err) : DINM_OK;
        status = status < 0 ? status : dinm_sweep_table_write(&s->table, err);
    }
    TRY(dinm_agree_all(&s->grid, status, err));
out:
    return status;
}

/* Local, rank 0. What failed, in one sentence. */
static int conclude(const struct story *s, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n = 0;
    struct dinm_buffer names = {0};
    for (size_t i = 0; i < s->sweep->n_runs; i++) {
        const struct dinm_sweep_row *row = &s->table.rows[i];
        if (row->state == DINM_SWEEP_FAILED || row->n_failed > 0) {
            if (n < MOST_NAMED) {
                TRY(dinm_buffer_append_format(&names, err, "%s%03zu", n > 0 ? ", " : "", i));
            }
            n++;
        }
    }
    if (n > 0) {
        TRY(dinm_fail(err, DINM_FAILED,
                      "%zu of %zu combinations failed, wholly or in part: %s%s; "
                      "%s/sweep.md says more",
                      n, s->sweep->n_runs, names.data, n > MOST_NAMED ? ", ..." : "",
                      s->sweep->out));
    }
out:
    dinm_buffer_free(&names);
    return status;
}

static int print_table(const struct story *s, struct dinm_error *err)
{
    struct dinm_buffer text = {0};
    int status = dinm_sweep_table_print(&s->table, &text, err);
    if (status >= 0) {
        printf(
            "\n%s\nresults in %s: sweep.md, sweep.html, sweep.csv, sweep.json, and of each run in "
            "sweep/\n",
            text.data, s->sweep->out);
        fflush(stdout);
    }
    dinm_buffer_free(&text);
    return status;
}

int dinm_sweep_run_all(MPI_Comm comm, const struct dinm_sweep *sweep,
                       const struct dinm_run_options *options, struct dinm_error *err)
{
    int status = DINM_OK;
    struct story s = {
        .comm = comm, .sweep = sweep, .options = options, .lock_fd = -1, .start_s = dinm_now_s()};
    TRY(open_all(&s, err));
    if (options->dry_run) {
        TRY(dinm_sweep_rehearse_all(comm, sweep, s.shares, s.grid.rank, err));
        goto out;
    }
    if (s.grid.rank == 0) {
        status = dinm_sweep_read_files(sweep, s.digests, &s.memory, err);
        status = status < 0 ? status : take_folder(&s, err);
    }
    TRY(dinm_agree_all(&s.grid, status, err));
    TRY(share_finished_all(&s, err));
    for (size_t i = 0; i < sweep->n_runs; i++) {
        if (s.shares[i].is_finished) {
            announce(&s, i, " (done before)");
        } else {
            TRY(run_one_all(&s, i, err));
        }
    }
    if (s.grid.rank == 0) {
        const bool reports = (options->phases >> DINM_REPORT & 1U) != 0;
        status = speaks(&s) && reports ? print_table(&s, err) : DINM_OK;
        status = status < 0 ? status : conclude(&s, err);
    }
    TRY(dinm_agree_all(&s.grid, status, err));
out:
    close_all(&s);
    return status;
}
