/* Read-only side of journal_folder.c. */
#include "pipeline/journal_peek.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "pipeline/journal_record.h"

/* Appends the good records at the start of a file's bytes. */
static int keep_good(struct dinm_buffer *known, const struct dinm_buffer *file,
                     struct dinm_error *err)
{
    struct dinm_journal_record record;
    size_t at = 0;
    while (dinm_journal_record_next(file->data, file->n_bytes, &at, &record) ==
           DINM_JOURNAL_RECORD_GOOD) {
    }
    return dinm_buffer_append(known, file->data, at, err);
}

static int is_log(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);
    return strncmp(entry->d_name, "group-", 6) == 0 && n > 4 &&
           strcmp(entry->d_name + n - 4, ".log") == 0;
}

static int read_file(struct dinm_journal *j, const char *name, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer file = {0};
    char *path = dinm_path_join(j->folder, name, err);
    TRY(path ? DINM_OK : DINM_FAILED);
    TRY(dinm_file_read(path, &file, err));
    TRY(keep_good(&j->known, &file, err));
out:
    free(path);
    dinm_buffer_free(&file);
    return status;
}

int dinm_journal_peek(struct dinm_journal *j, const char *out, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dirent **entries = NULL;
    int n = 0;
    *j = (struct dinm_journal){.fd = -1, .lock_fd = -1, .rank = -1};
    j->folder = dinm_path_join(out, "journal", err);
    TRY(j->folder ? DINM_OK : DINM_FAILED);
    n = scandir(j->folder, &entries, is_log, alphasort);
    if (n < 0) {
        TRY(dinm_fail_errno(err, errno, "cannot read", j->folder));
    }
    for (int i = 0; i < n; i++) {
        TRY(read_file(j, entries[i]->d_name, err));
    }
out:
    for (int i = 0; i < n; i++) {
        free(entries[i]);
    }
    free(entries);
    return status;
}
