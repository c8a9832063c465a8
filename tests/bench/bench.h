/* What the programs that measure have in common: the clock, memory, and the median of turns. */
#ifndef DINM_TESTS_BENCH_H
#define DINM_TESTS_BENCH_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Ends the program, since there is nothing to measure. */
static inline void stop_if(bool failed, const char *text)
{
    if (failed) {
        fprintf(stderr, "%s\n", text);
        exit(1);
    }
}

/* [n] of `size` bytes, at a multiple of 64. */
static inline void *room(size_t n, size_t size)
{
    void *p = aligned_alloc(64, (n * size + 63) / 64 * 64);

    stop_if(p == NULL, "no memory");
    return p;
}

static inline int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Sorts s: [n]. */
static inline double median(double *s, size_t n)
{
    qsort(s, n, sizeof *s, by_size);
    return s[n / 2];
}

#endif
