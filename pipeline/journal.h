/* What has been done, on disk: append-only files OUT/journal/group-NNNNNN.log of records
 * (pipeline/journal_record.h), one file per group, called by its driver's rank. The truth from
 * which all results are made.
 *
 * OUT/journal/id.json says which job it belongs to, archive.json how its archive looks
 * (io/archive.h); OUT/journal/lock is locked by rank 0 while a run works there, and by nobody once
 * that run is gone, however it ended. On a network file system the lock holds between nodes only if
 * the system passes POSIX locks on (NFS: yes, unless mounted nolock; Lustre: with -o flock); where
 * it refuses to lock at all, a notice says so. */
#ifndef DINM_PIPELINE_JOURNAL_H
#define DINM_PIPELINE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "pipeline/grid.h"
#include "pipeline/identity.h"

enum dinm_phase { DINM_LOCATE, DINM_VANILLA, DINM_EDIT, DINM_JUDGE, DINM_REPORT, DINM_N_PHASES };
extern const char *const dinm_phase_names[DINM_N_PHASES];

/* Changes whenever the units of a phase get other numbers (2: prompts sorted by their bytes), so
 * that an earlier program's journal is refused instead of misread. */
enum { DINM_UNIT_NUMBERING = 2 };

/* Records of one phase by unit: texts (JSON payloads) or NULL where not done. */
struct dinm_records {
    char **payloads; /* owns: [n_units], NUL-terminated texts within `texts` */
    char *texts;     /* owns */
    size_t n_units, n_done;
};
/* Safe on a zeroed object, and twice. */
void dinm_records_free(struct dinm_records *r);

struct dinm_journal {
    char *folder;      /* owns: OUT/journal */
    char *path;        /* owns: this rank's file */
    int fd;            /* owns: this rank's file, -1 before the first append */
    int lock_fd;       /* owns: rank 0's lock, -1 on others */
    int rank;          /* -1: closed */
    int64_t n_written; /* bytes of whole records in this rank's file */
    double last_sync_s;
    bool unsynced;
    struct dinm_buffer known; /* owns: records of all, the same bytes on every rank */
    struct dinm_buffer fresh; /* owns: this rank's own since the last exchange */
};

/* Collective. Makes OUT/journal, locks it, checks that it belongs to the job that rank 0 names (a
 * journal of another job is refused naming the files and settings that differ), reads all records
 * on rank 0 and shares them. A torn tail is dropped with a notice; so is all of a file from a
 * damaged record on, of which a copy is kept as group-NNNNNN.log.damaged. fresh_start first removes
 * what an earlier journal left, and nothing else. */
int dinm_journal_open_all(struct dinm_journal *j, const struct dinm_grid *grid, const char *out,
                          const struct dinm_identity *id, bool fresh_start, struct dinm_error *err);
/* Local. Syncs and closes; a failure to sync is logged. Safe on a zeroed journal, and twice. */
void dinm_journal_close(struct dinm_journal *j);

/* Local. Appends one record; payload is text without NUL. At most one second of work is unsynced.
 * On failure the file holds whole records only. */
int dinm_journal_append(struct dinm_journal *j, enum dinm_phase phase, uint64_t unit,
                        const char *payload, size_t n_bytes, struct dinm_error *err);
/* Local. All that was appended is on disk when this returns DINM_OK. */
int dinm_journal_sync(struct dinm_journal *j, struct dinm_error *err);

/* Local. The records of a phase known from opening or exchanges; the same on every rank. A unit
 * found twice counts once: the first (with a notice if they differ). */
int dinm_journal_records(const struct dinm_journal *j, enum dinm_phase phase, size_t n_units,
                         struct dinm_records *out, struct dinm_error *err);
/* Collective. Syncs; every rank learns every rank's fresh records. */
int dinm_journal_exchange_all(struct dinm_journal *j, const struct dinm_grid *grid,
                              struct dinm_error *err);

#endif
