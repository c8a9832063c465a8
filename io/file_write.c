/* Files that appear under their final name only when they are whole. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "io/file.h"

enum { MOST_BYTES_PER_CALL = 1 << 30 };

int dinm_file_write(const char *path, const void *bytes, size_t n_bytes, struct dinm_error *err)
{
    struct dinm_writer w = {0};
    int status;

    TRY(dinm_writer_open(&w, path, err));
    TRY(dinm_writer_append(&w, bytes, n_bytes, err));
    TRY(dinm_writer_commit(&w, err));
out:
    dinm_writer_close(&w);
    return status;
}

/* Another process, perhaps long dead or on another machine, may have had our number: then the
 * next name is tried. */
static int open_temporary(struct dinm_writer *w, const char *path, struct dinm_error *err)
{
    struct dinm_buffer name = {0};
    int status = DINM_OK;
    int fd = -1;

    for (int attempt = 0; fd < 0; attempt++) {
        name.n_bytes = 0;
        TRY(dinm_buffer_append_format(&name, err, "%s.%ld-%d.tmp", path, (long)getpid(), attempt));
        fd = open(name.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && (errno != EEXIST || attempt == 1000)) {
            status = dinm_fail_errno(err, errno, "cannot create", name.data);
            goto out;
        }
    }
    w->fd = fd;
    w->temporary = name.data;
    return DINM_OK;
out:
    dinm_buffer_free(&name);
    return status;
}

int dinm_writer_open(struct dinm_writer *w, const char *path, struct dinm_error *err)
{
    char *copy = dinm_copy_text(path, strlen(path), err);
    int status = copy == NULL ? DINM_FAILED : DINM_OK;

    *w = (struct dinm_writer){0};
    if (status == DINM_OK) {
        status = open_temporary(w, path, err);
    }
    if (status < 0) {
        free(copy);
        return status;
    }
    w->path = copy;
    return DINM_OK;
}

int dinm_writer_append(struct dinm_writer *w, const void *bytes, size_t n_bytes,
                       struct dinm_error *err)
{
    const char *p = bytes;

    while (n_bytes > 0) {
        const size_t part = n_bytes < MOST_BYTES_PER_CALL ? n_bytes : MOST_BYTES_PER_CALL;
        const ssize_t n = write(w->fd, p, part);

        if (n < 0 && errno != EINTR) {
            return dinm_fail_errno(err, errno, "cannot write", w->temporary);
        }
        if (n > 0) {
            p += n;
            n_bytes -= (size_t)n;
        }
    }
    return DINM_OK;
}

/* A rename is on disk once its folder is; file systems that cannot sync a folder say EINVAL. */
static int sync_folder(const char *path, struct dinm_error *err)
{
    const char *slash = strrchr(path, '/');
    const size_t n_bytes = slash == NULL ? 1 : (slash == path ? 1 : (size_t)(slash - path));
    char *folder = dinm_copy_text(slash == NULL ? "." : path, n_bytes, err);
    int status = DINM_OK;
    int fd;

    if (folder == NULL) {
        return DINM_FAILED;
    }
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL)) {
        status = dinm_fail_errno(err, errno, "cannot sync the folder", folder);
    }
    if (fd >= 0) {
        close(fd);
    }
    free(folder);
    return status;
}

int dinm_writer_commit(struct dinm_writer *w, struct dinm_error *err)
{
    int status = DINM_OK;
    int code;

    if (fsync(w->fd) != 0) {
        return dinm_fail_errno(err, errno, "cannot sync", w->temporary);
    }
    code = close(w->fd) != 0 ? errno : 0;
    w->fd = -1;
    if (code != 0) {
        return dinm_fail_errno(err, code, "cannot close", w->temporary);
    }
    if (rename(w->temporary, w->path) != 0) {
        return dinm_fail_errno(err, errno, "cannot put the finished file in place as", w->path);
    }
    free(w->temporary);
    w->temporary = NULL;
    status = sync_folder(w->path, err);
    dinm_writer_close(w);
    return status;
}

void dinm_writer_close(struct dinm_writer *w)
{
    if (w == NULL || w->path == NULL) {
        return;
    }
    if (w->fd >= 0) {
        close(w->fd);
    }
    if (w->temporary != NULL) {
        unlink(w->temporary);
    }
    free(w->temporary);
    free(w->path);
    *w = (struct dinm_writer){0};
}

/* Whether open_temporary makes such names: NAME.NUMBER-NUMBER.tmp. */
static bool is_temporary(const char *name)
{
    static const char suffix[] = ".tmp";
    size_t n = strlen(name), n_digits;

    if (n < sizeof suffix || strcmp(name + n - (sizeof suffix - 1), suffix) != 0) {
        return false;
    }
    n -= sizeof suffix - 1;
    for (const char *before = "-."; *before != '\0'; before++) {
        for (n_digits = 0; n > 0 && isdigit((unsigned char)name[n - 1]); n--) {
            n_digits++;
        }
        if (n_digits == 0 || n == 0 || name[n - 1] != *before) {
            return false;
        }
        n--;
    }
    return n > 0;
}

int dinm_folder_clear_temporaries(const char *folder, struct dinm_error *err)
{
    int status = DINM_OK;
    char *path = NULL;
    DIR *dir = opendir(folder);

    if (dir == NULL) {
        return errno == ENOENT ? DINM_OK
                               : dinm_fail_errno(err, errno, "cannot read the folder", folder);
    }
    for (const struct dirent *entry; errno = 0, (entry = readdir(dir)) != NULL;) {
        if (is_temporary(entry->d_name)) {
            free(path);
            path = dinm_path_join(folder, entry->d_name, err);
            TRY(path != NULL ? DINM_OK : DINM_FAILED);
            if (unlink(path) != 0 && errno != ENOENT) {
                TRY(dinm_fail_errno(err, errno, "cannot remove", path));
            }
        }
    }
    if (errno != 0) {
        status = dinm_fail_errno(err, errno, "cannot read the folder", folder);
    }
out:
    free(path);
    closedir(dir);
    return status;
}
