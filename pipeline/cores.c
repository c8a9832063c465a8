/* Which cores this process may run on, as the scheduler says. Linux only: elsewhere none is named,
 * and the ranks fall back on the count that OpenMP gives. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "pipeline/cores.h"

#include <limits.h>
#include <string.h>
#ifdef __linux__
#include <sched.h>
#endif

void dinm_cores_mine(struct dinm_cores *cores)
{
    memset(cores, 0, sizeof *cores);
#ifdef __linux__
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return;
    }
    for (size_t core = 0; core < DINM_CORES_BYTES * CHAR_BIT && core < CPU_SETSIZE; core++) {
        if (CPU_ISSET(core, &set)) {
            cores->bits[core / CHAR_BIT] |= (unsigned char)(1u << (core % CHAR_BIT));
        }
    }
#endif
}

int dinm_cores_count(const struct dinm_cores *cores)
{
    int n = 0;
    for (size_t i = 0; i < DINM_CORES_BYTES; i++) {
        for (unsigned bits = cores->bits[i]; bits != 0; bits &= bits - 1) {
            n++;
        }
    }
    return n;
}
