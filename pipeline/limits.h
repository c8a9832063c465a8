/* How much memory and disk this process may still take, by everything that limits it. Local. */
#ifndef DINM_PIPELINE_LIMITS_H
#define DINM_PIPELINE_LIMITS_H

#include "io/status.h"

/* Bytes; HUGE_VAL: no limit, or the system does not say. */
struct dinm_limits {
    double ram;    /* /proc/meminfo: MemAvailable of the node, page cache that can go included */
    double cgroup; /* left under the narrowest memory limit of the process's control groups */
    double space;  /* left of RLIMIT_AS, the address space of this process alone */
};

/* root: what stands before /proc and /sys, "" but in tests. A file that is not there limits
 * nothing. */
void dinm_limits_read(struct dinm_limits *limits, const char *root);

/* Bytes that the file system of `path`, or of its nearest folder that exists, has left for us. */
int dinm_limits_disk(double *bytes, const char *path, struct dinm_error *err);

/* Bytes of memory that are in use by this process alone; 0: the system does not say. */
double dinm_limits_own_bytes(void);

#endif
