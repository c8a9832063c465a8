/* From one journal into another. The hidden states come first: a run that is killed in between
 * finds units to do, and takes them over again. */
#include "pipeline/reuse.h"

#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "io/log.h"
#include "pipeline/journal_peek.h"
#include "pipeline/states.h"

/* Rank 0's view: what is missing here, and what there is to take. */
struct loan {
    struct dinm_journal journal; /* owns: the donor's */
    struct dinm_records own, theirs;
    bool wanted;
};

static void loan_close(struct loan *l)
{
    dinm_records_free(&l->own);
    dinm_records_free(&l->theirs);
    dinm_journal_close(&l->journal);
}

/* The files that decide locate, vanilla and edit; the judge's do not. */
static bool same_files(const struct dinm_digests *a, const struct dinm_digests *b,
                       enum dinm_phase phase)
{
    return a->model == b->model && a->tokenizer == b->tokenizer && a->cases == b->cases &&
           (phase == DINM_LOCATE || a->questions == b->questions);
}

/* Local, rank 0. A donor that cannot be read has nothing to give. */
static int loan_open(struct loan *l, const struct dinm_job *job, enum dinm_phase phase,
                     size_t n_units, const char *donor, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_digests theirs = {0};
    struct dinm_error why = {0};
    TRY(dinm_journal_records(&job->journal, phase, n_units, &l->own, err));
    if (l->own.n_done == n_units) {
        return DINM_OK;
    }
    if (dinm_digests_load(&theirs, donor, &why) < 0 ||
        dinm_journal_peek(&l->journal, donor, &why) < 0) {
        dinm_log(DINM_LOG_NOTICE, "%s: nothing of %s is taken over", why.text, donor);
        return DINM_OK;
    }
    if (same_files(&job->digests, &theirs, phase)) {
        TRY(dinm_journal_records(&l->journal, phase, n_units, &l->theirs, err));
        l->wanted = l->theirs.n_done == n_units;
    }
out:
    return status;
}

/* Collective. Whether the states are here. */
static bool take_states_all(struct dinm_job *job, const char *donor)
{
    struct dinm_error why = {0};
    const bool taken = dinm_states_copy_all(job, donor, &why) >= 0;
    if (!taken && job->grid.rank == 0) {
        dinm_log(DINM_LOG_NOTICE, "%s; all cases are located again", why.text);
    }
    return taken;
}

/* Local, rank 0. */
static int give(struct dinm_job *job, const struct loan *l, enum dinm_phase phase,
                struct dinm_error *err)
{
    int status = DINM_OK;
    for (size_t unit = 0; unit < l->theirs.n_units; unit++) {
        const char *payload = l->theirs.payloads[unit];
        if (l->own.payloads[unit] == NULL) {
            TRY(dinm_journal_append(&job->journal, phase, unit, payload, strlen(payload), err));
        }
    }
out:
    return status;
}

int dinm_reuse_all(struct dinm_job *job, enum dinm_phase phase, size_t n_units, const char *donor,
                   bool *again, size_t *n_taken, struct dinm_error *err)
{
    const struct dinm_grid *grid = &job->grid;
    struct loan l = {.journal = {.fd = -1, .lock_fd = -1, .rank = -1}};
    int status = grid->rank == 0 ? loan_open(&l, job, phase, n_units, donor, err) : DINM_OK;
    *n_taken = 0;
    TRY(dinm_agree_all(grid, status, err));
    int wanted = l.wanted;
    TRY(dinm_grid_check(MPI_Bcast(&wanted, 1, MPI_INT, 0, grid->world), "MPI_Bcast", err));
    if (!wanted) {
        goto out;
    }
    if (phase == DINM_LOCATE && !take_states_all(job, donor)) {
        goto out;
    }
    if (grid->rank == 0) {
        status = give(job, &l, phase, err);
        *n_taken = n_units - l.own.n_done;
    }
    TRY(dinm_agree_all(grid, status, err));
    TRY(dinm_journal_exchange_all(&job->journal, grid, err));
    TRY(dinm_states_accept_all(job, phase, again, err));
out:
    loan_close(&l);
    return status;
}
