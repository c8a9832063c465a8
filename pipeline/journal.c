/* The journal as every rank uses it: append while working, exchange when a phase ends. */
#include "pipeline/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "io/file.h"
#include "io/log.h"
#include "pipeline/journal_folder.h"
#include "pipeline/progress.h"
#include "pipeline/journal_record.h"

const char *const dinm_phase_names[DINM_N_PHASES] = {"locate", "vanilla", "edit", "judge",
                                                     "report"};

static const double sync_every_s = 1.0;

void dinm_records_free(struct dinm_records *r)
{
    free(r->payloads);
    free(r->texts);
    *r = (struct dinm_records){0};
}

/* Rank 0's part of opening. */
static int open_folder(struct dinm_journal *j, const char *out, const struct dinm_identity *id,
                       bool fresh_start, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_folder_make(j->folder, err));
    TRY(dinm_journal_folder_lock(j->folder, &j->lock_fd, err));
    if (fresh_start) {
        TRY(dinm_journal_folder_clear(j->folder, err));
    }
    TRY(dinm_journal_folder_identify(j->folder, out, id, err));
    TRY(dinm_journal_folder_read(j->folder, &j->known, err));
out:
    return status;
}

int dinm_journal_open_all(struct dinm_journal *j, const struct dinm_grid *grid, const char *out,
                          const struct dinm_identity *id, bool fresh_start, struct dinm_error *err)
{
    int status = DINM_OK;
    char name[32];
    *j = (struct dinm_journal){.fd = -1, .lock_fd = -1, .rank = grid->rank};
    snprintf(name, sizeof name, "group-%06d.log", grid->rank);
    if ((j->folder = dinm_path_join(out, "journal", err)) == NULL ||
        (j->path = dinm_path_join(j->folder, name, err)) == NULL) {
        status = DINM_FAILED;
    } else if (grid->rank == 0) {
        status = open_folder(j, out, id, fresh_start, err);
    }
    TRY(dinm_agree_all(grid, status, err));
    TRY(dinm_grid_broadcast_all(grid, &j->known, err));
out:
    if (status < 0) {
        dinm_journal_close(j);
    }
    return status;
}

void dinm_journal_close(struct dinm_journal *j)
{
    struct dinm_error err = {0};
    /* A zeroed journal has no folder, and its descriptors are not ours. */
    if (j->folder != NULL) {
        if (dinm_journal_sync(j, &err) < 0) {
            dinm_log(DINM_LOG_ERROR, "%s", err.text);
        }
        if (j->fd >= 0) {
            close(j->fd);
        }
        if (j->lock_fd >= 0) {
            close(j->lock_fd);
        }
    }
    free(j->folder);
    free(j->path);
    dinm_buffer_free(&j->known);
    dinm_buffer_free(&j->fresh);
    *j = (struct dinm_journal){.fd = -1, .lock_fd = -1, .rank = -1};
}

/* Opens this rank's file behind what is in it. A new file's name is synced into the folder. */
static int open_file(struct dinm_journal *j, struct dinm_error *err)
{
    int status = DINM_OK;
    int folder = -1;
    int fd = open(j->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) {
        TRY(dinm_fail_errno(err, errno, "cannot open", j->path));
    }
    off_t end = lseek(fd, 0, SEEK_END);
    if (end < 0) {
        TRY(dinm_fail_errno(err, errno, "cannot open", j->path));
    }
    folder = open(j->folder, O_RDONLY | O_CLOEXEC);
    if (folder < 0 || (fsync(folder) != 0 && errno != EINVAL)) {
        TRY(dinm_fail_errno(err, errno, "cannot sync", j->folder));
    }
    j->fd = fd;
    j->n_written = end;
    j->last_sync_s = dinm_now_s();
    fd = -1;
out:
    if (folder >= 0) {
        close(folder);
    }
    if (fd >= 0) {
        close(fd);
    }
    return status;
}

static int write_bytes(int fd, const char *bytes, size_t n_bytes)
{
    while (n_bytes > 0) {
        ssize_t n = write(fd, bytes, n_bytes);
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        if (n > 0) {
            bytes += n;
            n_bytes -= (size_t)n;
        }
    }
    return 0;
}

int dinm_journal_append(struct dinm_journal *j, enum dinm_phase phase, uint64_t unit,
                        const char *payload, size_t n_bytes, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t before = j->fresh.n_bytes;
    if (n_bytes > 0 && memchr(payload, '\0', n_bytes) != NULL) {
        return dinm_fail(err, DINM_FAILED, "the %s result of unit %llu holds a NUL character",
                         dinm_phase_names[phase], (unsigned long long)unit);
    }
    if (j->fd < 0) {
        TRY(open_file(j, err));
    }
    TRY(dinm_journal_record_append(&j->fresh, (uint32_t)phase, unit, payload, n_bytes, err));
    size_t n_record = j->fresh.n_bytes - before;
    if (write_bytes(j->fd, j->fresh.data + before, n_record) != 0) {
        int code = errno;
        /* Half a record here would hide what a later append puts behind it. */
        if (ftruncate(j->fd, (off_t)j->n_written) != 0) {
            dinm_log(DINM_LOG_ERROR, "%s ends with an incomplete record", j->path);
        }
        TRY(dinm_fail_errno(err, code, "cannot write", j->path));
    }
    j->n_written += (int64_t)n_record;
    j->unsynced = true;
    before = j->fresh.n_bytes;
    if (dinm_now_s() - j->last_sync_s >= sync_every_s) {
        TRY(dinm_journal_sync(j, err));
    }
out:
    j->fresh.n_bytes = before;
    return status;
}

int dinm_journal_sync(struct dinm_journal *j, struct dinm_error *err)
{
    if (!j->unsynced) {
        return DINM_OK;
    }
    int code = 0;
    do {
        code = fdatasync(j->fd) == 0 ? 0 : errno;
    } while (code == EINTR);
    if (code != 0) {
        return dinm_fail_errno(err, code, "cannot sync", j->path);
    }
    j->unsynced = false;
    j->last_sync_s = dinm_now_s();
    return DINM_OK;
}

/* Which record counts for each unit, before the texts are copied. */
struct index {
    struct dinm_journal_record *first; /* owns: [n_units]; payload NULL where there is none */
    size_t n_done, n_bytes;            /* n_bytes: of the texts with their NULs */
    size_t n_differing, n_beyond;
};

static void index_records(struct index *index, const struct dinm_buffer *known,
                          enum dinm_phase phase, size_t n_units)
{
    struct dinm_journal_record record;
    size_t at = 0;
    while (dinm_journal_record_next(known->data, known->n_bytes, &at, &record) ==
           DINM_JOURNAL_RECORD_GOOD) {
        if (record.phase != (uint32_t)phase) {
            continue;
        }
        if (record.unit >= n_units) {
            index->n_beyond++;
            continue;
        }
        struct dinm_journal_record *first = &index->first[record.unit];
        if (first->payload == NULL) {
            *first = record;
            index->n_done++;
            index->n_bytes += record.n_bytes + 1;
        } else if (first->n_bytes != record.n_bytes ||
                   memcmp(first->payload, record.payload, record.n_bytes) != 0) {
            index->n_differing++;
        }
    }
}

int dinm_journal_records(const struct dinm_journal *j, enum dinm_phase phase, size_t n_units,
                         struct dinm_records *out, struct dinm_error *err)
{
    int status = DINM_OK;
    struct index index = {0};
    *out = (struct dinm_records){.n_units = n_units};
    if ((index.first = dinm_alloc(n_units, sizeof *index.first, "the journal's index", err)) ==
            NULL ||
        (out->payloads = dinm_alloc(n_units, sizeof *out->payloads, "the journal's index", err)) ==
            NULL) {
        TRY(DINM_FAILED);
    }
    index_records(&index, &j->known, phase, n_units);
    out->texts = dinm_alloc(index.n_bytes, 1, "the journal's texts", err);
    if (out->texts == NULL) {
        TRY(DINM_FAILED);
    }
    char *text = out->texts; /* zeroed, so every text ends with a NUL */
    for (size_t unit = 0; unit < n_units; unit++) {
        const struct dinm_journal_record *first = &index.first[unit];
        if (first->payload != NULL) {
            memcpy(text, first->payload, first->n_bytes);
            out->payloads[unit] = text;
            text += first->n_bytes + 1;
        }
    }
    out->n_done = index.n_done;
    if (j->rank == 0 && index.n_differing > 0) {
        dinm_log(DINM_LOG_NOTICE,
                 "%s holds %zu %s results that differ from an earlier one of the same unit: the "
                 "first counts",
                 j->folder, index.n_differing, dinm_phase_names[phase]);
    }
    if (j->rank == 0 && index.n_beyond > 0) {
        dinm_log(DINM_LOG_NOTICE,
                 "%s holds %zu %s results beyond the %zu units of this job: they "
                 "are left out",
                 j->folder, index.n_beyond, dinm_phase_names[phase], n_units);
    }
out:
    free(index.first);
    if (status < 0) {
        dinm_records_free(out);
    }
    return status;
}

int dinm_journal_exchange_all(struct dinm_journal *j, const struct dinm_grid *grid,
                              struct dinm_error *err)
{
    struct dinm_buffer everyone = {0};
    int status = dinm_journal_sync(j, err);
    TRY(dinm_agree_all(grid, status, err));
    TRY(dinm_grid_gather_all(grid, &j->fresh, &everyone, err));
    status = dinm_buffer_append(&j->known, everyone.data, everyone.n_bytes, err);
    TRY(dinm_agree_all(grid, status, err));
    j->fresh.n_bytes = 0;
out:
    dinm_buffer_free(&everyone);
    return status;
}
