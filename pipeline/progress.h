/* What the person sees while it runs. On a terminal one live line per phase with rate and time
 * left; otherwise a plain line now and then. Rank 0 prints. */
#ifndef DINM_PIPELINE_PROGRESS_H
#define DINM_PIPELINE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

struct dinm_progress {
    const char *name; /* borrows: the phase */
    const char *noun; /* borrows: its units, plural */
    size_t n_total;
    size_t n_before; /* done by an earlier run */
    double start_s, last_s;
    bool live, quiet;
};

/* Local (call on every rank; only rank 0's prints). n_total counts all units of the phase, also
 * those done before. */
void dinm_progress_begin(struct dinm_progress *p, const char *name, const char *noun,
                         size_t n_total, size_t n_before, int rank, bool quiet);
/* n_done: units known to be done, those done before included. Prints when it is time: on a terminal
 * ten times a second, otherwise every ten seconds. */
void dinm_progress_update(struct dinm_progress *p, size_t n_done);
/* The phase's last line, in columns: "locate        36 cases           1.2 s     30.1/s". */
void dinm_progress_end(struct dinm_progress *p, size_t n_done);

/* The text of a line without its end, as of now_s; `last` for the one of dinm_progress_end. */
#define DINM_PROGRESS_ROOM 256
void dinm_progress_line(const struct dinm_progress *p, size_t n_done, double now_s, bool last,
                        char room[DINM_PROGRESS_ROOM]);

/* Monotonic seconds; the origin differs between nodes. */
double dinm_now_s(void);

#endif
