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

/* Read, not mapped: pages that were only looked at once must not count as ours. */
int dinm_file_digest(const char *path, uint64_t *digest, struct dinm_error *err)
{
    int status = DINM_OK;
    int fd = -1;
    ssize_t n = 1;
    XXH64_state_t *state = XXH64_createState();
    unsigned char *bytes = dinm_alloc(DIGEST_BYTES, 1, "a file's digest", err);

    TRY(bytes != NULL ? DINM_OK : DINM_FAILED);
    TRY(state != NULL && XXH64_reset(state, 0) != XXH_ERROR
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
