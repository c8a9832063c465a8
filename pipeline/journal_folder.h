/* The journal's folder as rank 0 sees it on opening: lock, identity, files. Local; no MPI. */
#ifndef DINM_PIPELINE_JOURNAL_FOLDER_H
#define DINM_PIPELINE_JOURNAL_FOLDER_H

#include "pipeline/journal.h"

/* Locks folder/lock for this process. *fd (-1 if the file system cannot lock) keeps it until it is
 * closed; POSIX locks also end when the process closes any other descriptor of that file. */
int dinm_journal_folder_lock(const char *folder, int *fd, struct dinm_error *err);

/* Removes the files that a journal consists of. */
int dinm_journal_folder_clear(const char *folder, struct dinm_error *err);

/* Writes folder/id.json, or compares it with the job if it is there. `out` is for sentences. */
int dinm_journal_folder_identify(const char *folder, const char *out,
                                 const struct dinm_identity *id, struct dinm_error *err);

/* Appends the good records of all files, in order of their numbers, to *known, and repairs the
 * files so that they end with a good record. */
int dinm_journal_folder_read(const char *folder, struct dinm_buffer *known, struct dinm_error *err);

#endif
