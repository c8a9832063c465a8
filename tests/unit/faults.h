/* Makes the n-th allocation or system call of the code under test fail.
 *
 * A test that includes this file is linked with --wrap for the calls below (tests/CMakeLists.txt).
 * Nothing fails unless a countdown is set. cJSON's allocations count too, after fault_cjson(). */
#ifndef DINM_TESTS_FAULTS_H
#define DINM_TESTS_FAULTS_H

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "support.h"

enum fault_kind { FAULT_NONE, FAULT_MEMORY, FAULT_SYSTEM };

static struct {
    enum fault_kind kind;
    size_t countdown; /* the call that brings it to 0 fails */
    bool hit;
    size_t n_bytes; /* asked for in all allocations so far, also in those that failed */
} fault;

static inline void fault_set(enum fault_kind kind, size_t nth)
{
    fault.kind = kind;
    fault.countdown = nth;
    fault.hit = false;
}

/* No more faults; true if one happened. */
static inline bool fault_end(void)
{
    fault.kind = FAULT_NONE;
    return fault.hit;
}

static inline bool fault_strikes(enum fault_kind kind)
{
    if (fault.kind != kind || fault.countdown == 0 || --fault.countdown > 0) {
        return false;
    }
    fault.hit = true;
    errno = kind == FAULT_MEMORY ? ENOMEM : EIO;
    return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t n);
void *__real_aligned_alloc(size_t alignment, size_t n);
int __real_open(const char *path, int flags, ...);
ssize_t __real_read(int fd, void *bytes, size_t n);
ssize_t __real_write(int fd, const void *bytes, size_t n);
int __real_fsync(int fd);
int __real_close(int fd);
int __real_rename(const char *from, const char *to);
void *__real_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset);
int __real_fstat(int fd, struct stat *info);
int __real_mkdir(const char *path, mode_t mode);

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t n);
void *__wrap_aligned_alloc(size_t alignment, size_t n);
int __wrap_open(const char *path, int flags, ...);
ssize_t __wrap_read(int fd, void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);
int __wrap_fsync(int fd);
int __wrap_close(int fd);
int __wrap_rename(const char *from, const char *to);
void *__wrap_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset);
int __wrap_fstat(int fd, struct stat *info);
int __wrap_mkdir(const char *path, mode_t mode);

void *__wrap_malloc(size_t n)
{
    fault.n_bytes += n;
    return fault_strikes(FAULT_MEMORY) ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    fault.n_bytes += n * size;
    return fault_strikes(FAULT_MEMORY) ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t n)
{
    fault.n_bytes += n;
    return fault_strikes(FAULT_MEMORY) ? NULL : __real_realloc(old, n);
}

void *__wrap_aligned_alloc(size_t alignment, size_t n)
{
    fault.n_bytes += n;
    return fault_strikes(FAULT_MEMORY) ? NULL : __real_aligned_alloc(alignment, n);
}

int __wrap_open(const char *path, int flags, ...)
{
    unsigned mode = 0;

    if ((flags & O_CREAT) != 0) {
        va_list arguments;

        va_start(arguments, flags);
        mode = va_arg(arguments, unsigned);
        va_end(arguments);
    }
    return fault_strikes(FAULT_SYSTEM) ? -1 : __real_open(path, flags, mode);
}

ssize_t __wrap_read(int fd, void *bytes, size_t n)
{
    return fault_strikes(FAULT_SYSTEM) ? -1 : __real_read(fd, bytes, n);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t n)
{
    return fault_strikes(FAULT_SYSTEM) ? -1 : __real_write(fd, bytes, n);
}

int __wrap_fsync(int fd)
{
    return fault_strikes(FAULT_SYSTEM) ? -1 : __real_fsync(fd);
}

/* A close that reports an error has closed all the same. */
int __wrap_close(int fd)
{
    const int result = __real_close(fd);

    return fault_strikes(FAULT_SYSTEM) ? -1 : result;
}

int __wrap_rename(const char *from, const char *to)
{
    return fault_strikes(FAULT_SYSTEM) ? -1 : __real_rename(from, to);
}

void *__wrap_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
    return fault_strikes(FAULT_SYSTEM) ? MAP_FAILED
                                       : __real_mmap(at, n, protection, flags, fd, offset);
}

int __wrap_fstat(int fd, struct stat *info)
{
    return fault_strikes(FAULT_SYSTEM) ? -1 : __real_fstat(fd, info);
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    return fault_strikes(FAULT_SYSTEM) ? -1 : __real_mkdir(path, mode);
}

static inline void *fault_cjson_malloc(size_t n)
{
    return malloc(n);
}

static inline void fault_cjson_free(void *p)
{
    free(p);
}

/* Lets cJSON allocate through this program's (wrapped) malloc. */
static inline void fault_cjson(void)
{
    cJSON_Hooks hooks = {fault_cjson_malloc, fault_cjson_free};

    cJSON_InitHooks(&hooks);
}

/* Runs `run` with the first, second, ... allocation failing, until one run needs fewer. Every
 * failing run must say that memory is short; leaks are the sanitizer's to find. */
static inline void fail_each_allocation(int (*run)(void *context, struct dinm_error *err),
                                        void *context)
{
    for (size_t nth = 1;; nth++) {
        struct dinm_error err = {0};
        int status;

        fault_set(FAULT_MEMORY, nth);
        status = run(context, &err);
        if (!fault_end()) {
            assert_ok(status, &err);
            assert_true(nth > 1);
            return;
        }
        assert_failed(status, DINM_FAILED, &err, "not enough memory");
    }
}

#endif
