/* Whether a piece of work is worth waking the threads. Private to model/. */
#ifndef DINM_MODEL_THREADS_H
#define DINM_MODEL_THREADS_H

#include <stddef.h>

/* Before a parallel region of n_tasks tasks with n_products multiplications in all: leaves all
 * threads to it, or only the calling one if it is small. A region of one thread also keeps
 * OpenBLAS to one, which it would not within `if (0)`. Returns what dinm_threads_end takes. */
int dinm_threads_begin(size_t n_tasks, size_t n_products);
/* After the region: the number of threads is what it was. */
void dinm_threads_end(int n_threads);

#endif
