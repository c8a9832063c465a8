/* Lock, identity and files of a journal's folder. */
#include "pipeline/journal_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "io/file.h"
#include "io/log.h"
#include "pipeline/journal_record.h"

/* The holder writes who it is into the lock file, for the sentence of those it keeps out. */
static void sign(int fd)
{
    char host[256] = "", text[320];
    gethostname(host, sizeof host - 1);
    int n = snprintf(text, sizeof text, "process %ld on %s", (long)getpid(), host);
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n) {
        dinm_log(DINM_LOG_DEBUG, "the journal's lock file could not be signed");
    }
}

int dinm_journal_folder_lock(const char *folder, int *fd, struct dinm_error *err)
{
    int status = DINM_OK, lock = -1;
    char *path = dinm_path_join(folder, "lock", err);
    *fd = -1;
    if (path == NULL) {
        return DINM_FAILED;
    }
    lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock < 0) {
        TRY(dinm_fail_errno(err, errno, "cannot open", path));
    }
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(lock, F_SETLK, &whole) == 0) {
        sign(lock);
        *fd = lock;
        lock = -1;
    } else if (errno == EACCES || errno == EAGAIN) {
        char holder[320] = "";
        ssize_t n = pread(lock, holder, sizeof holder - 1, 0);
        TRY(dinm_fail(err, DINM_FAILED, "%s is in use by another run (%s)", folder,
                      n > 0 ? holder : "unknown"));
    } else {
        dinm_log(DINM_LOG_NOTICE, "%s cannot be locked (%s): do not start a second run there", path,
                 strerror(errno));
    }
out:
    if (lock >= 0) {
        close(lock);
    }
    free(path);
    return status;
}

static void name_file(char name[64], int64_t number, const char *suffix)
{
    snprintf(name, 64, "group-%06" PRId64 ".log%s", number, suffix);
}

/* The number in a name that name_file makes with that suffix, or -1. */
static int64_t file_number(const char *name, const char *suffix)
{
    char expected[64];
    size_t n_prefix = strlen("group-");
    if (strncmp(name, "group-", n_prefix) != 0 || strspn(name + n_prefix, "0123456789") > 10) {
        return -1;
    }
    int64_t number = strtoll(name + n_prefix, NULL, 10);
    name_file(expected, number, suffix);
    return strcmp(name, expected) == 0 ? number : -1;
}

static int compare_numbers(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The numbers of all files with that suffix, ascending. The caller frees *numbers. */
static int list(const char *folder, const char *suffix, int64_t **numbers, size_t *n,
                struct dinm_error *err)
{
    int status = DINM_OK;
    size_t capacity = 0;
    void *items = NULL;
    *n = 0;
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        TRY(dinm_fail_errno(err, errno, "cannot read the folder", folder));
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            if (errno != 0) {
                TRY(dinm_fail_errno(err, errno, "cannot read the folder", folder));
            }
            break;
        }
        int64_t number = file_number(entry->d_name, suffix);
        if (number >= 0) {
            TRY(dinm_grow(&items, &capacity, *n + 1, sizeof **numbers, "a list of files", err));
            ((int64_t *)items)[(*n)++] = number;
        }
    }
    if (*n > 1) {
        qsort(items, *n, sizeof **numbers, compare_numbers);
    }
out:
    *numbers = items;
    if (dir != NULL) {
        closedir(dir);
    }
    return status;
}

/* folder/group-NNNNNN.log<suffix>, allocated. */
static char *file_path(const char *folder, int64_t number, const char *suffix,
                       struct dinm_error *err)
{
    char name[64];
    name_file(name, number, suffix);
    return dinm_path_join(folder, name, err);
}

static int clear_files(const char *folder, const char *suffix, struct dinm_error *err)
{
    int status = DINM_OK;
    int64_t *numbers = NULL;
    size_t n = 0;
    char *path = NULL;
    TRY(list(folder, suffix, &numbers, &n, err));
    for (size_t i = 0; i < n; i++) {
        free(path);
        path = file_path(folder, numbers[i], suffix, err);
        if (path == NULL) {
            TRY(DINM_FAILED);
        }
        if (unlink(path) != 0 && errno != ENOENT) {
            TRY(dinm_fail_errno(err, errno, "cannot remove", path));
        }
    }
out:
    free(path);
    free(numbers);
    return status;
}

static int clear_file(const char *folder, const char *name, struct dinm_error *err)
{
    int status = DINM_OK;
    char *path = dinm_path_join(folder, name, err);
    if (path == NULL) {
        return DINM_FAILED;
    }
    if (unlink(path) != 0 && errno != ENOENT) {
        status = dinm_fail_errno(err, errno, "cannot remove", path);
    }
    free(path);
    return status;
}

int dinm_journal_folder_clear(const char *folder, struct dinm_error *err)
{
    int status = DINM_OK;
    /* The identity goes last: a start that is interrupted here leaves a journal that knows whose
     * it is. */
    TRY(clear_files(folder, ".damaged", err));
    TRY(clear_files(folder, "", err));
    TRY(clear_file(folder, "archive.json", err));
    TRY(clear_file(folder, "id.json", err));
out:
    return status;
}

int dinm_journal_folder_identify(const char *folder, const char *out,
                                 const struct dinm_identity *id, struct dinm_error *err)
{
    int status = DINM_OK;
    int64_t *numbers = NULL;
    size_t n = 0;
    char *path = dinm_path_join(folder, "id.json", err);
    if (path == NULL) {
        TRY(DINM_FAILED);
    }
    if (dinm_path_exists(path)) {
        TRY(dinm_identity_check(path, out, id, err));
    } else {
        TRY(list(folder, "", &numbers, &n, err));
        if (n > 0) {
            TRY(dinm_fail(err, DINM_FAILED,
                          "%s holds records but no id.json to say of which job; use --fresh to "
                          "start over or another --out",
                          folder));
        }
        TRY(dinm_identity_write(path, id, err));
    }
out:
    free(numbers);
    free(path);
    return status;
}

/* Makes the file end behind its n_good good bytes; what was damaged is kept under another name. */
static int repair(const char *folder, int64_t number, const struct dinm_buffer *bytes,
                  size_t n_good, enum dinm_journal_record_state state, struct dinm_error *err)
{
    int status = DINM_OK;
    char *path = file_path(folder, number, "", err);
    char *copy = file_path(folder, number, ".damaged", err);
    if (path == NULL || copy == NULL) {
        TRY(DINM_FAILED);
    }
    size_t n_bad = bytes->n_bytes - n_good;
    if (state == DINM_JOURNAL_RECORD_TORN) {
        dinm_log(DINM_LOG_NOTICE,
                 "%s: the last record is incomplete (%zu bytes from byte %zu on): "
                 "it is dropped and its unit done again",
                 path, n_bad, n_good);
    } else {
        dinm_log(DINM_LOG_NOTICE,
                 "%s: the record at byte %zu is damaged: the %zu bytes from "
                 "there on are left out, their units done again; %s keeps them",
                 path, n_good, n_bad, copy);
        TRY(dinm_file_write(copy, bytes->data, bytes->n_bytes, err));
    }
    TRY(dinm_file_write(path, bytes->data, n_good, err));
out:
    free(path);
    free(copy);
    return status;
}

/* Appends one file's good records to *known. */
static int read_file(const char *folder, int64_t number, struct dinm_buffer *known,
                     struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer bytes = {0};
    struct dinm_journal_record record;
    char *path = file_path(folder, number, "", err);
    if (path == NULL) {
        TRY(DINM_FAILED);
    }
    TRY(dinm_file_read(path, &bytes, err));
    size_t n_good = 0;
    enum dinm_journal_record_state state;
    do {
        state = dinm_journal_record_next(bytes.data, bytes.n_bytes, &n_good, &record);
    } while (state == DINM_JOURNAL_RECORD_GOOD);
    if (state != DINM_JOURNAL_RECORD_NONE) {
        TRY(repair(folder, number, &bytes, n_good, state, err));
    }
    TRY(dinm_buffer_append(known, bytes.data, n_good, err));
out:
    dinm_buffer_free(&bytes);
    free(path);
    return status;
}

int dinm_journal_folder_read(const char *folder, struct dinm_buffer *known, struct dinm_error *err)
{
    int status = DINM_OK;
    int64_t *numbers = NULL;
    size_t n = 0;
    TRY(list(folder, "", &numbers, &n, err));
    for (size_t i = 0; i < n; i++) {
        TRY(read_file(folder, numbers[i], known, err));
    }
out:
    free(numbers);
    return status;
}
