/* Whose folder it is, and what lies in it at the start. */
#include "pipeline/run_folder.h"

#include <stdlib.h>
#include "io/file.h"
#include "io/mem.h"

/* OUT/job.json: the resolved settings with each value's origin. */
static int write_settings(const struct dinm_settings *s, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer text = {0};
    char *path = dinm_path_join(s->run.out, "job.json", err);
    TRY(path ? DINM_OK : DINM_FAILED);
    TRY(dinm_settings_print(s, true, true, &text, err));
    TRY(dinm_buffer_append_text(&text, "\n", err));
    TRY(dinm_file_write(path, text.data, text.n_bytes, err));
out:
    free(path);
    dinm_buffer_free(&text);
    return status;
}

static int open_journal_all(struct dinm_job *job, bool fresh, struct dinm_error *err)
{
    const struct dinm_digests *d = &job->digests;
    const struct dinm_journal_part parts[] = {
        {"settings", d->settings},
        {"model", d->model},
        {"tokenizer", d->tokenizer},
        {"judge", d->judge},
        {"cases", d->cases},
        {"questions", d->questions},
        {"the program's numbering of units", DINM_UNIT_NUMBERING}};
    const struct dinm_identity id = {
        .parts = parts, .n_parts = sizeof parts / sizeof *parts, .details = &job->details};
    return dinm_journal_open_all(&job->journal, &job->grid, job->settings->run.out, &id, fresh,
                                 err);
}

/* Rank 0. A sweep's folder is not a run's: each would clear up after the other. */
static int check_no_sweep(const char *out, struct dinm_error *err)
{
    char *path = dinm_path_join(out, "sweep/id.json", err);
    if (path == NULL) {
        return DINM_FAILED;
    }
    int status = dinm_path_exists(path)
                     ? dinm_fail(err, DINM_FAILED, "%s holds a sweep; use another --out", out)
                     : DINM_OK;
    free(path);
    return status;
}

/* Rank 0. What the writers of a killed run left behind: nobody else writes into these folders while
 * the journal's lock is ours. */
static int clear_leftovers(const struct dinm_job *job, struct dinm_error *err)
{
    static const char *const folders[] = {".", "edits", "journal"};
    int status = DINM_OK;
    char *path = NULL;
    for (size_t i = 0; job->journal.lock_fd >= 0 && i < sizeof folders / sizeof *folders; i++) {
        free(path);
        path = dinm_path_join(job->settings->run.out, folders[i], err);
        TRY(path ? dinm_folder_clear_temporaries(path, err) : DINM_FAILED);
    }
out:
    free(path);
    return status;
}

int dinm_run_folder_take_all(struct dinm_job *job, bool alone, bool fresh, struct dinm_error *err)
{
    int status = DINM_OK;
    if (alone && job->grid.rank == 0) {
        status = check_no_sweep(job->settings->run.out, err);
    }
    TRY(dinm_agree_all(&job->grid, status, err));
    TRY(open_journal_all(job, fresh, err));
out:
    return status;
}

int dinm_run_folder_begin_all(struct dinm_job *job, struct dinm_error *err)
{
    int status = DINM_OK;
    if (job->grid.rank == 0) {
        status = clear_leftovers(job, err);
        status = status < 0 ? status : write_settings(job->settings, err);
    }
    return dinm_agree_all(&job->grid, status, err);
}
