/* Stopping on purpose. A signal or the clock lets the units in flight end; whatever still runs
 * after a time of grace is given up: its journal holds all that was done. Local. */
#ifndef DINM_PIPELINE_STOP_H
#define DINM_PIPELINE_STOP_H

#include <stdbool.h>

/* One request may come by several ways within so many seconds: from the launcher, and from a batch
 * system that signals all processes of a job. */
enum { DINM_STOP_SAME_S = 2 };

/* A signal handler (SIGUSR1, SIGUSR2, SIGXCPU): from now on no unit is started, and after the grace
 * the process ends. A second request ends it at once. 0 takes the request back. */
void dinm_stop_request(int signal_number);
bool dinm_stop_requested(void);

/* Makes it the handler of these three; interrupted system calls go on. end(status): called from a
 * signal handler, ends the process; only async-signal-safe calls are allowed in it. */
void dinm_stop_catch_signals(void (*end)(int status));

/* A run begins: grace_s is the time for units in flight after a stop (0: as long as they need);
 * deadline_s: dinm_now_s() after which no unit is started, 0: none. */
void dinm_stop_begin(double grace_s, double deadline_s);
/* The run is over: nothing ends the process any more. */
void dinm_stop_end(void);

/* Not in a signal handler. Says why and ends the process, if there is a way to end it. */
void dinm_stop_hung(const char *sentence);

/* Seconds from now to the end of this batch job, by what its scheduler put into the environment
 * (Slurm: SLURM_JOB_END_TIME); 0: unknown. */
double dinm_stop_scheduled_s(void);

#endif
