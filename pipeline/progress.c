/* Progress lines. A live line ends with a carriage return and not with a newline, so that the next
 * one, or a log line, takes its place. */
#include "pipeline/progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const double live_every_s = 0.1, plain_every_s = 10.0;

double dinm_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void dinm_progress_begin(struct dinm_progress *p, const char *name, const char *noun,
                         size_t n_total, size_t n_before, int rank, bool quiet)
{
    double now_s = dinm_now_s();
    *p = (struct dinm_progress){.name = name,
                                .noun = noun,
                                .n_total = n_total,
                                .n_before = n_before,
                                .start_s = now_s,
                                .last_s = now_s,
                                .live = isatty(STDERR_FILENO) == 1,
                                .quiet = quiet || rank != 0};
}

/* "9.8 s", "12 min 05 s", "3 h 07 min". */
static void print_time(char room[32], double s)
{
    if (s < 99.95) {
        snprintf(room, 32, "%.1f s", s > 0.0 ? s : 0.0);
    } else if (s < 3599.5) {
        int whole = (int)(s + 0.5);
        snprintf(room, 32, "%d min %02d s", whole / 60, whole % 60);
    } else {
        double minutes = (double)(long long)(s / 60.0 + 0.5);
        double hours = (double)(long long)(minutes / 60.0);
        snprintf(room, 32, "%.0f h %02.0f min", hours, minutes - 60.0 * hours);
    }
}

/* "30.1/s", "12.0/min", "3.4/h": the first unit in which the number is not small. */
static void print_rate(char room[32], double per_s)
{
    if (per_s >= 999.95) {
        snprintf(room, 32, "%.0f/s", per_s);
    } else if (per_s >= 0.95) {
        snprintf(room, 32, "%.1f/s", per_s);
    } else if (per_s * 60.0 >= 0.95) {
        snprintf(room, 32, "%.1f/min", per_s * 60.0);
    } else {
        snprintf(room, 32, "%.1f/h", per_s * 3600.0);
    }
}

void dinm_progress_line(const struct dinm_progress *p, size_t n_done, double now_s, bool last,
                        char room[DINM_PROGRESS_ROOM])
{
    char count[64], time[32], rate[32] = "", left[48] = "", before[64] = "";
    double elapsed_s = now_s - p->start_s;
    size_t n_now = n_done > p->n_before ? n_done - p->n_before : 0;
    print_time(time, elapsed_s);
    if (n_now > 0 && elapsed_s > 0.0) {
        double per_s = (double)n_now / elapsed_s;
        print_rate(rate, per_s);
        if (!last && n_done < p->n_total) {
            strcpy(left, "   ");
            print_time(left + 3, (double)(p->n_total - n_done) / per_s);
            strcat(left, " left");
        }
    }
    if (last && n_done == p->n_total) {
        snprintf(count, sizeof count, "%zu", n_done);
    } else {
        snprintf(count, sizeof count, "%zu of %zu", n_done, p->n_total);
    }
    if (last && p->n_before > 0) {
        snprintf(before, sizeof before, "   (%zu done before)", p->n_before);
    }
    size_t n_noun = strlen(p->noun);
    if (p->n_total == 1 && n_noun > 1 && p->noun[n_noun - 1] == 's') {
        n_noun--;
    }
    int n = snprintf(room, DINM_PROGRESS_ROOM, "%-8s%*s %-9.*s%12s%11s%s%s", p->name, last ? 8 : 14,
                     count, (int)n_noun, p->noun, time, rate, left, before);
    while (n > 0 && n < DINM_PROGRESS_ROOM && room[n - 1] == ' ') {
        room[--n] = '\0';
    }
}

/* One write per line, so that lines of several processes do not mix. */
static void print(const struct dinm_progress *p, size_t n_done, double now_s, bool last)
{
    char line[DINM_PROGRESS_ROOM];
    dinm_progress_line(p, n_done, now_s, last, line);
    char text[DINM_PROGRESS_ROOM + 16];
    int n = snprintf(text, sizeof text, "%s%s%s", line, p->live ? "\033[K" : "",
                     p->live && !last ? "\r" : "\n");
    if (write(STDERR_FILENO, text, (size_t)n) != n) {
        return; /* nobody watches */
    }
}

void dinm_progress_update(struct dinm_progress *p, size_t n_done)
{
    double now_s = dinm_now_s();
    if (p->quiet || now_s - p->last_s < (p->live ? live_every_s : plain_every_s)) {
        return;
    }
    p->last_s = now_s;
    print(p, n_done, now_s, false);
}

void dinm_progress_end(struct dinm_progress *p, size_t n_done)
{
    if (!p->quiet) {
        print(p, n_done, dinm_now_s(), true);
    }
}
