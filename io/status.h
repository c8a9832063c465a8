/* The outcome of everything that can fail: a status and one sentence for the person who ran it.
 *
 * A fallible function returns 0 or a negative status and takes `struct dinm_error *err` last. On
 * failure its outputs are unchanged or empty and close/free on them is still safe. */
#ifndef DINM_IO_STATUS_H
#define DINM_IO_STATUS_H

/* Worse is smaller, so that MPI_MIN over ranks gives the worst. */
enum dinm_status {
    DINM_OK = 0,
    DINM_STOPPED = -1, /* stopped early on purpose; running again goes on */
    DINM_FAILED = -2,  /* an input, a file or the machine failed */
    DINM_USAGE = -3    /* the command line or the job file asks for something that does not exist */
};

struct dinm_error {
    int status;
    char text[1024]; /* one sentence, cut at a character boundary if longer */
};

/* Records the failure unless `err` already holds one (the first wins). Returns `status`.
 * `err` may be NULL. Control characters in the arguments are shown as '?'. */
int dinm_fail(struct dinm_error *err, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* dinm_fail for a failed system call: "<what> <path>: <strerror(code)>". Always DINM_FAILED. */
int dinm_fail_errno(struct dinm_error *err, int code, const char *what, const char *path);

/* Leaves the enclosing function through its `out:` label when `call` fails; needs `int status`. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status < 0) {                                                                          \
            goto out;                                                                              \
        }                                                                                          \
    } while (0)

#endif
