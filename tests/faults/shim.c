/* Preloaded in front of the C library: lets the n-th of a kind of system or memory call fail.
 *
 * FAULT_CALL   write, sync, open, rename, ftruncate, mmap, malloc
 * FAULT_NTH    which one fails, from 1 on; 0: none, they are only counted
 * FAULT_ERROR  errno of the failure; 0 with write: only half of the bytes are written
 * FAULT_UNDER  calls on files below this folder count (malloc: calls from the program's own code)
 * FAULT_COUNT  file that receives the number of calls at the end */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *wanted, *under;
static long nth;
static int code;
static atomic_long n_calls;
static uintptr_t program_begin, program_end;
static _Thread_local bool inside; /* a call of our own, or of the loader's */

#define NEXT(name, type) ((type)dlsym(RTLD_NEXT, name))

static int find_program(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size;
    (void)unused;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD && (p->p_flags & PF_X) != 0) {
            program_begin = info->dlpi_addr + p->p_vaddr;
            program_end = program_begin + p->p_memsz;
        }
    }
    return 1; /* the first object is the program */
}

__attribute__((constructor)) static void begin(void)
{
    const char *number = getenv("FAULT_NTH"), *error = getenv("FAULT_ERROR");
    inside = true;
    under = getenv("FAULT_UNDER");
    nth = number != NULL ? atol(number) : 0;
    code = error != NULL ? atoi(error) : EIO;
    dl_iterate_phdr(find_program, NULL);
    if (strcmp(program_invocation_short_name, "dinm_pipeline") == 0) {
        wanted = getenv("FAULT_CALL");
    }
    inside = false;
}

__attribute__((destructor)) static void end(void)
{
    /* MPI starts a helper of its own, which inherits all this. */
    const char *path = strcmp(program_invocation_short_name, "dinm_pipeline") == 0
                           ? getenv("FAULT_COUNT")
                           : NULL;
    inside = true;
    FILE *file = path != NULL ? fopen(path, "w") : NULL;
    if (file != NULL) {
        fprintf(file, "%ld\n", atomic_load(&n_calls));
        fclose(file);
    }
}

/* Whether this call is the one to fail. */
static bool strikes(const char *kind)
{
    if (inside || wanted == NULL || strcmp(wanted, kind) != 0) {
        return false;
    }
    return atomic_fetch_add(&n_calls, 1) + 1 == nth;
}

static bool counts_path(const char *path)
{
    char full[PATH_MAX];
    if (inside || under == NULL || wanted == NULL || path == NULL) {
        return false;
    }
    inside = true;
    if (path[0] != '/' && getcwd(full, sizeof full) != NULL) {
        size_t n = strlen(full);
        snprintf(full + n, sizeof full - n, "/%s", path);
        path = full;
    }
    inside = false;
    return strncmp(path, under, strlen(under)) == 0;
}

static bool counts_fd(int fd)
{
    char link[64], path[PATH_MAX];
    if (inside || under == NULL || wanted == NULL) {
        return false;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    path[n > 0 ? n : 0] = '\0';
    return strncmp(path, under, strlen(under)) == 0;
}

static int fail(void)
{
    errno = code;
    return -1;
}

ssize_t write(int fd, const void *bytes, size_t n)
{
    if (counts_fd(fd) && strikes("write")) {
        if (code != 0) {
            return fail();
        }
        n = n > 1 ? n / 2 : n;
    }
    return NEXT("write", ssize_t(*)(int, const void *, size_t))(fd, bytes, n);
}

static ssize_t write_at(const char *name, int fd, const void *bytes, size_t n, off_t at)
{
    if (counts_fd(fd) && strikes("write")) {
        if (code != 0) {
            return fail();
        }
        n = n > 1 ? n / 2 : n;
    }
    return NEXT(name, ssize_t(*)(int, const void *, size_t, off_t))(fd, bytes, n, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    return write_at("pwrite", fd, bytes, n, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off_t at)
{
    return write_at("pwrite64", fd, bytes, n, at);
}

int fdatasync(int fd)
{
    return counts_fd(fd) && strikes("sync") ? fail() : NEXT("fdatasync", int (*)(int))(fd);
}

int fsync(int fd)
{
    return counts_fd(fd) && strikes("sync") ? fail() : NEXT("fsync", int (*)(int))(fd);
}

static int open_as(const char *name, const char *path, int flags, mode_t mode)
{
    if (counts_path(path) && strikes("open")) {
        return fail();
    }
    return NEXT(name, int (*)(const char *, int, ...))(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_as("open", path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open_as("open64", path, flags, mode);
}

int rename(const char *from, const char *to)
{
    return counts_path(to) && strikes("rename")
               ? fail()
               : NEXT("rename", int (*)(const char *, const char *))(from, to);
}

static int cut(const char *name, int fd, off_t n)
{
    return counts_fd(fd) && strikes("ftruncate") ? fail() : NEXT(name, int (*)(int, off_t))(fd, n);
}

int ftruncate(int fd, off_t n)
{
    return cut("ftruncate", fd, n);
}

int ftruncate64(int fd, off_t n)
{
    return cut("ftruncate64", fd, n);
}

void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
    if (fd >= 0 && counts_fd(fd) && strikes("mmap")) {
        errno = code;
        return MAP_FAILED;
    }
    return NEXT("mmap", void *(*)(void *, size_t, int, int, int, off_t))(at, n, protection, flags,
                                                                         fd, offset);
}

/* Memory: only what the program itself asks for. dlsym may allocate, so the C library's own names
 * are used. */
extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t n);
extern void *__libc_memalign(size_t alignment, size_t n);

static bool strikes_memory(const void *caller)
{
    const uintptr_t at = (uintptr_t)caller;
    return at >= program_begin && at < program_end && strikes("malloc");
}

#define OUT_OF_MEMORY()                                                                            \
    do {                                                                                           \
        if (strikes_memory(__builtin_return_address(0))) {                                         \
            errno = ENOMEM;                                                                        \
            return NULL;                                                                           \
        }                                                                                          \
    } while (0)

void *malloc(size_t n)
{
    OUT_OF_MEMORY();
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    OUT_OF_MEMORY();
    return __libc_calloc(n, size);
}

void *realloc(void *old, size_t n)
{
    OUT_OF_MEMORY();
    return __libc_realloc(old, n);
}

void *aligned_alloc(size_t alignment, size_t n)
{
    OUT_OF_MEMORY();
    return __libc_memalign(alignment, n);
}
