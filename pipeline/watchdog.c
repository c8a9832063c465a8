/* Beats in a file: one fixed-size line per rank, written in place by its own thread, so that a rank
 * whose process is stopped, swapped out for ever or caught in a lock falls silent. The count comes
 * from the working thread: a process that sleeps for ever in the middle of its work falls silent,
 * too. Files reach every rank that the journal reaches, and need no MPI. */
#include "pipeline/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "io/file.h"
#include "io/mem.h"
#include "pipeline/progress.h"

/* "COUNT HOST", padded with blanks, and a newline. */
enum { LINE = 96, HOST = 64, LOOKS = 8 };

static _Atomic uint64_t beats;

void dinm_watchdog_beat(void)
{
    atomic_fetch_add_explicit(&beats, 1, memory_order_relaxed);
}

struct seen {
    uint64_t count;
    double since_s; /* when the count was first seen */
};

struct dinm_watchdog {
    char *path; /* owns: FOLDER/beats */
    int rank, size;
    double patience_s;
    void (*hung)(const char *sentence);
    char host[HOST];
    struct seen *seen; /* owns: [size] */
    char *lines;       /* owns: [size][LINE] */
    atomic_bool closing;
    pthread_t thread;
    bool has_thread;
};

static void write_beat(const struct dinm_watchdog *w)
{
    char line[LINE + 1];
    int fd = open(w->path, O_WRONLY | O_CLOEXEC);
    snprintf(line, sizeof line, "%20llu %-*.*s\n", (unsigned long long)atomic_load(&beats),
             LINE - 22, HOST - 1, w->host);
    if (fd >= 0) {
        /* A beat that is not written is no failure: the next may be. */
        ssize_t n = pwrite(fd, line, LINE, (off_t)w->rank * LINE);
        (void)n;
        close(fd);
    }
}

/* Opened anew each time, since network file systems look for changes when a file is opened. */
static bool read_beats(struct dinm_watchdog *w)
{
    size_t n_bytes = (size_t)w->size * LINE;
    int fd = open(w->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t n = pread(fd, w->lines, n_bytes, 0);
    close(fd);
    return n == (ssize_t)n_bytes;
}

/* Whether this rank looks at that one. */
static bool looks_at(const struct dinm_watchdog *w, int rank)
{
    return rank != w->rank && (w->rank == 0 || (w->rank == 1 && rank == 0));
}

static void look(struct dinm_watchdog *w)
{
    double now_s = dinm_now_s();
    if (!read_beats(w)) {
        return;
    }
    for (int rank = 0; rank < w->size; rank++) {
        const char *line = w->lines + (size_t)rank * LINE;
        struct seen *seen = &w->seen[rank];
        uint64_t count = strtoull(line, NULL, 10);
        if (!looks_at(w, rank) || count == 0) {
            continue; /* 0: it has not begun */
        }
        if (count != seen->count) {
            *seen = (struct seen){count, now_s};
        } else if (now_s - seen->since_s > w->patience_s) {
            char sentence[256];
            snprintf(sentence, sizeof sentence,
                     "rank %d on %.*s has not got on for %.0f s (run.patience_s): the job ends "
                     "here; the same command goes on from the last finished units",
                     rank, (int)strcspn(line + 21, " \n"), line + 21, now_s - seen->since_s);
            w->hung(sentence);
        }
    }
}

static void *run(void *watchdog)
{
    struct dinm_watchdog *w = watchdog;
    const double pause_s = w->patience_s / LOOKS < 5.0 ? w->patience_s / LOOKS : 5.0;
    for (double next_s = 0.0; !atomic_load(&w->closing);) {
        if (dinm_now_s() >= next_s) {
            write_beat(w);
            look(w);
            next_s = dinm_now_s() + pause_s;
        }
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
    return NULL;
}

/* Rank 0: an empty file of the right size. */
static int make_file(const struct dinm_watchdog *w, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_bytes = (size_t)w->size * LINE;
    char *bytes = dinm_alloc(n_bytes, 1, "the ranks' beats", err);
    TRY(bytes != NULL ? DINM_OK : DINM_FAILED);
    for (size_t i = 0; i < n_bytes; i++) {
        bytes[i] = i % LINE == LINE - 1 ? '\n' : i % LINE == 19 ? '0' : ' ';
    }
    TRY(dinm_file_write(w->path, bytes, n_bytes, err));
out:
    free(bytes);
    return status;
}

static int prepare(struct dinm_watchdog **out, const struct dinm_grid *grid, const char *folder,
                   double patience_s, void (*hung)(const char *), struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_watchdog *w = dinm_alloc(1, sizeof *w, "the watchdog", err);
    *out = w;
    TRY(w != NULL ? DINM_OK : DINM_FAILED);
    w->rank = grid->rank;
    w->size = grid->size;
    w->patience_s = patience_s;
    w->hung = hung;
    atomic_init(&w->closing, false);
    gethostname(w->host, sizeof w->host - 1);
    w->path = dinm_path_join(folder, "beats", err);
    w->seen = dinm_alloc((size_t)w->size, sizeof *w->seen, "the watchdog", err);
    w->lines = dinm_alloc((size_t)w->size, LINE, "the watchdog", err);
    TRY(w->path && w->seen && w->lines ? DINM_OK : DINM_FAILED);
    if (w->rank == 0) {
        TRY(make_file(w, err));
    }
out:
    return status;
}

int dinm_watchdog_open_all(struct dinm_watchdog **out, const struct dinm_grid *grid,
                           const char *folder, double patience_s, void (*hung)(const char *),
                           struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_watchdog *w = NULL;
    *out = NULL;
    if (patience_s <= 0.0 || grid->size < 2) {
        return DINM_OK;
    }
    TRY(dinm_agree_all(grid, prepare(&w, grid, folder, patience_s, hung, err), err));
    dinm_watchdog_beat();
    w->has_thread = pthread_create(&w->thread, NULL, run, w) == 0;
    if (!w->has_thread) {
        status = dinm_fail(err, DINM_FAILED, "a thread for the watchdog could not be started");
    }
    TRY(dinm_agree_all(grid, status, err));
    *out = w;
    w = NULL;
out:
    dinm_watchdog_close(w);
    return status;
}

void dinm_watchdog_close(struct dinm_watchdog *w)
{
    if (w == NULL) {
        return;
    }
    if (w->has_thread) {
        atomic_store(&w->closing, true);
        pthread_join(w->thread, NULL);
    }
    free(w->path);
    free(w->seen);
    free(w->lines);
    free(w);
}
