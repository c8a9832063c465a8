/* Signals and the clock. */
#include "pipeline/stop.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include "io/log.h"
#include "io/status.h"
#include "pipeline/progress.h"

/* Written by signal handlers: */
static volatile sig_atomic_t stop_requested, requested_at_s;
/* Set while no signal can come: */
static volatile sig_atomic_t grace_ms;
static void (*volatile end_process)(int status);

static void set_timer(long ms)
{
    const struct itimerval timer = {.it_value = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

/* Whole seconds of a clock that only goes forward; allowed in signal handlers. */
static sig_atomic_t seconds(void)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (sig_atomic_t)now.tv_sec;
}

void dinm_stop_request(int signal_number)
{
    const int code = errno;
    if (signal_number == 0) {
        stop_requested = 0;
        return;
    }
    if (stop_requested) {
        if (seconds() - requested_at_s >= DINM_STOP_SAME_S && end_process != NULL) {
            end_process(DINM_STOPPED);
        }
        errno = code;
        return;
    }
    requested_at_s = seconds();
    stop_requested = 1;
    if (grace_ms > 0) {
        set_timer(grace_ms);
    }
    errno = code;
}

bool dinm_stop_requested(void)
{
    return stop_requested != 0;
}

/* The grace is over. */
static void give_up(int signal_number)
{
    (void)signal_number;
    if (end_process != NULL) {
        end_process(DINM_STOPPED);
    }
}

void dinm_stop_catch_signals(void (*end)(int status))
{
    const int signals[] = {SIGUSR1, SIGUSR2, SIGXCPU};
    struct sigaction action = {.sa_handler = dinm_stop_request, .sa_flags = SA_RESTART};
    end_process = end;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        sigaction(signals[i], &action, NULL);
    }
    action.sa_handler = give_up;
    sigaction(SIGALRM, &action, NULL);
}

void dinm_stop_begin(double grace_s, double deadline_s)
{
    grace_ms = (sig_atomic_t)(1000.0 * grace_s);
    if (end_process != NULL && grace_ms > 0 && deadline_s > 0.0) {
        const double left_s = deadline_s - dinm_now_s();
        set_timer((long)(1000.0 * (left_s > 0.0 ? left_s : 0.0)) + grace_ms);
    }
}

void dinm_stop_end(void)
{
    grace_ms = 0;
    set_timer(0);
}

void dinm_stop_hung(const char *sentence)
{
    dinm_log(DINM_LOG_ERROR, "%s", sentence);
    if (end_process != NULL) {
        end_process(DINM_FAILED);
    }
}

double dinm_stop_scheduled_s(void)
{
    const char *text = getenv("SLURM_JOB_END_TIME");
    char *end = NULL;
    const long long at = text != NULL ? strtoll(text, &end, 10) : 0;
    const long long now = (long long)time(NULL);
    return at > now && *end == '\0' ? (double)(at - now) : 0.0;
}
