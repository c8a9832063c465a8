/* inspect: an archive. HDF5 crashes on some damaged files and never ends on others, so that a child
 * process reads it, which may. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "io/archive.h"
#include "pipeline/inspect.h"

enum { LIMIT_S = 60, SAYS_WORDS = 'w', SAYS_WHY = 'e' };

static void write_bytes(int fd, const char *bytes, size_t n_bytes)
{
    while (n_bytes > 0) {
        ssize_t n = write(fd, bytes, n_bytes);
        if (n < 0 && errno != EINTR) {
            return; /* the parent will miss it */
        }
        bytes += n > 0 ? n : 0;
        n_bytes -= n > 0 ? (size_t)n : 0;
    }
}

/* The child: one letter that says how it went, then the words or the sentence. */
static void describe(const char *path, int fd)
{
    const struct rlimit none = {0, 0};
    struct dinm_buffer words = {0};
    struct dinm_error why = {0};
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGBUS, SIG_DFL);
    signal(SIGALRM, SIG_DFL);
    if (freopen("/dev/null", "w", stderr) == NULL) { /* what the C library says of broken memory */
        _exit(1);
    }
    alarm(LIMIT_S);
    bool good = dinm_archive_describe(path, &words, &why) == DINM_OK;
    write_bytes(fd, (const char[]){good ? SAYS_WORDS : SAYS_WHY}, 1);
    write_bytes(fd, good ? words.data : why.text, good ? words.n_bytes : strlen(why.text));
    _exit(0);
}

static int read_all(int fd, struct dinm_buffer *said, struct dinm_error *err)
{
    char piece[4096];
    ssize_t n;
    int status = DINM_OK;
    do {
        n = read(fd, piece, sizeof piece);
        if (n < 0 && errno != EINTR) {
            TRY(dinm_fail_errno(err, errno, "cannot read from",
                                "the process that reads the archive"));
        }
        TRY(dinm_buffer_append(said, piece, n > 0 ? (size_t)n : 0, err));
    } while (n != 0);
out:
    return status;
}

int dinm_inspect_archive(const char *path, struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK, ends[2] = {-1, -1}, how = 0;
    struct dinm_buffer said = {0};
    pid_t child = -1;
    if (pipe(ends) != 0 || (child = fork()) < 0) {
        TRY(dinm_fail_errno(err, errno, "cannot start a process to read", path));
    }
    if (child == 0) {
        close(ends[0]);
        describe(path, ends[1]);
    }
    close(ends[1]);
    ends[1] = -1;
    status = read_all(ends[0], &said, err);
    while (waitpid(child, &how, 0) < 0 && errno == EINTR) {
    }
    TRY(status);
    if (!WIFEXITED(how) || WEXITSTATUS(how) != 0 || said.n_bytes == 0) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: damaged: HDF5 %s on it", path,
                      WIFSIGNALED(how) && WTERMSIG(how) == SIGALRM ? "never ends" : "crashes"));
    }
    if (said.data[0] == SAYS_WHY) {
        TRY(dinm_fail(err, DINM_FAILED, "%s", said.data + 1));
    }
    TRY(dinm_buffer_append(out, said.data + 1, said.n_bytes - 1, err));
out:
    for (int i = 0; i < 2; i++) {
        if (ends[i] >= 0) {
            close(ends[i]);
        }
    }
    dinm_buffer_free(&said);
    return status;
}
