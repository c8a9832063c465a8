/* Whole files through POSIX calls. */
#include "io/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { READ_BYTES = 1 << 16, DIGEST_BYTES = 1 << 18, MOST_BYTES_PER_CALL = 1 << 30 };

int dinm_file_read(const char *path, struct dinm_buffer *b, struct dinm_error *err)
{
    const size_t before = b->n_bytes;
    int status = DINM_OK;
    struct stat info;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return dinm_fail_errno(err, errno, "cannot open", path);
    }
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0) {
        TRY(dinm_buffer_reserve(b, (size_t)info.st_size + READ_BYTES, err));
    }
    for (;;) {
        ssize_t n;

        TRY(dinm_buffer_reserve(b, READ_BYTES, err));
        n = read(fd, b->data + b->n_bytes, b->capacity - b->n_bytes - 1);
        if (n == 0) {
            break;
        }
        if (n < 0 && errno != EINTR) {
            status = dinm_fail_errno(err, errno, "cannot read", path);
            goto out;
        }
        b->n_bytes += n > 0 ? (size_t)n : 0;
        b->data[b->n_bytes] = '\0';
    }
out:
    close(fd);
    if (status < 0 && b->data != NULL) {
        b->n_bytes = before;
        b->data[before] = '\0';
    }
    return status;
}

int dinm_file_read_part(const char *path, size_t offset, size_t n_bytes, struct dinm_buffer *b,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    const size_t before = b->n_bytes;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0) {
        return dinm_fail_errno(err, errno, "cannot open", path);
    }
    TRY(dinm_buffer_reserve(b, n_bytes, err));
    for (size_t at = 0; at < n_bytes;) {
        const size_t left = n_bytes - at;
        const ssize_t n =
            pread(fd, b->data + before + at,
                  left < MOST_BYTES_PER_CALL ? left : MOST_BYTES_PER_CALL, (off_t)(offset + at));

        if (n < 0 && errno != EINTR) {
            TRY(dinm_fail_errno(err, errno, "cannot read", path));
        }
        if (n == 0) {
            TRY(dinm_fail(err, DINM_FAILED, "%s ends at byte %zu, where %zu more were expected",
                          path, offset + at, left));
        }
        at += n > 0 ? (size_t)n : 0;
    }
    b->n_bytes = before + n_bytes;
out:
    if (b->data != NULL) {
        b->data[b->n_bytes] = '\0'; /* a failed read may have left bytes there */
    }
    close(fd);
    return status;
}

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

int dinm_map_open(struct dinm_map *map, const char *path, struct dinm_error *err)
{
    int status = DINM_OK;
    struct stat info;
    void *data;
    /* O_NONBLOCK: opening a named pipe by mistake must end in a sentence, not in waiting. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    *map = (struct dinm_map){0};
    if (fd < 0) {
        return dinm_fail_errno(err, errno, "cannot open", path);
    }
    if (fstat(fd, &info) != 0) {
        status = dinm_fail_errno(err, errno, "cannot look at", path);
        goto out;
    }
    if (!S_ISREG(info.st_mode)) {
        status = dinm_fail(err, DINM_FAILED, "cannot map %s: it is not a regular file", path);
        goto out;
    }
    if (info.st_size > 0) {
        data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED) {
            status = dinm_fail_errno(err, errno, "cannot map", path);
            goto out;
        }
        map->data = data;
        map->n_bytes = (size_t)info.st_size;
    }
out:
    close(fd);
    return status;
}

int dinm_map_check(const struct dinm_map *map, const char *path, struct dinm_error *err)
{
    struct stat info;

    if (stat(path, &info) != 0) {
        return dinm_fail_errno(err, errno, "cannot look at", path);
    }
    if ((size_t)info.st_size != map->n_bytes) {
        return dinm_fail(
            err, DINM_FAILED,
            "%s had %zu bytes when it was opened and has %lld now: it is being changed", path,
            map->n_bytes, (long long)info.st_size);
    }
    return DINM_OK;
}

void dinm_map_close(struct dinm_map *map)
{
    if (map != NULL && map->data != NULL) {
        munmap((void *)(uintptr_t)map->data, map->n_bytes);
        *map = (struct dinm_map){0};
    }
}

bool dinm_path_exists(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0;
}

bool dinm_path_is_folder(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

int dinm_folder_make(const char *path, struct dinm_error *err)
{
    char *part = dinm_copy_text(path, strlen(path), err);
    int status = DINM_OK;

    if (part == NULL) {
        return DINM_FAILED;
    }
    for (size_t i = 1; part[0] != '\0' && status == DINM_OK; i++) {
        if (part[i] != '/' && part[i] != '\0') {
            continue;
        }
        part[i] = '\0';
        const int reason = mkdir(part, 0777) == 0 ? 0 : errno; /* the look at it may change errno */
        if (reason != 0 && !dinm_path_is_folder(part)) {
            status = dinm_fail_errno(err, reason, "cannot make the folder", part);
        }
        part[i] = path[i];
        if (path[i] == '\0') {
            break;
        }
    }
    if (part[0] == '\0') {
        status = dinm_fail(err, DINM_FAILED, "cannot make a folder: its name is empty");
    }
    free(part);
    return status;
}

char *dinm_path_join(const char *folder, const char *name, struct dinm_error *err)
{
    struct dinm_buffer path = {0};
    const size_t n = strlen(folder);
    const char *between = n == 0 || folder[n - 1] == '/' ? "" : "/";

    if (dinm_buffer_append_format(&path, err, "%s%s%s", folder, between, name) < 0) {
        dinm_buffer_free(&path);
    }
    return path.data;
}

int dinm_file_digest(const char *path, uint64_t *digest, struct dinm_error *err)
{
    return dinm_file_digest_seeded(path, 0, digest, err);
}

/* Read, not mapped: pages that were only looked at once must not count as ours. */
int dinm_file_digest_seeded(const char *path, uint64_t seed, uint64_t *digest,
                            struct dinm_error *err)
{
    int status = DINM_OK;
    int fd = -1;
    ssize_t n = 1;
    XXH64_state_t *state = XXH64_createState();
    unsigned char *bytes = dinm_alloc(DIGEST_BYTES, 1, "a file's digest", err);

    TRY(bytes != NULL ? DINM_OK : DINM_FAILED);
    TRY(state != NULL && XXH64_reset(state, seed) != XXH_ERROR
            ? DINM_OK
            : dinm_fail(err, DINM_FAILED, "not enough memory for the digest of %s", path));
    fd = open(path, O_RDONLY | O_CLOEXEC);
    TRY(fd >= 0 ? DINM_OK : dinm_fail_errno(err, errno, "cannot open", path));
    while (n != 0) {
        n = read(fd, bytes, DIGEST_BYTES);
        if (n < 0 && errno != EINTR) {
            TRY(dinm_fail_errno(err, errno, "cannot read", path));
        }
        XXH64_update(state, bytes, n > 0 ? (size_t)n : 0);
    }
    *digest = XXH64_digest(state);
out:
    if (fd >= 0) {
        close(fd);
    }
    free(bytes);
    XXH64_freeState(state);
    return status;
}

uint64_t dinm_digest(const void *bytes, size_t n_bytes, uint64_t seed)
{
    return XXH64(bytes, n_bytes, seed);
}
