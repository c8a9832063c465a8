/* Lines for the person who watches: stderr, one write per line, tagged with the rank if not 0. */
#ifndef DINM_IO_LOG_H
#define DINM_IO_LOG_H

enum dinm_log_level { DINM_LOG_ERROR, DINM_LOG_NOTICE, DINM_LOG_DEBUG };

/* The only process-wide state of the project. Default: DINM_LOG_NOTICE, rank 0. */
void dinm_log_set_level(enum dinm_log_level level);
void dinm_log_set_rank(int rank);

/* Printed if `level` is at most the set one. A newline is added. */
void dinm_log(enum dinm_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
