/* Whether a piece of work is worth waking the threads. */
#include "model/threads.h"

#include <omp.h>

/* About 5 microseconds of one core. */
enum { PARALLEL_FROM = 1 << 18 };

int dinm_threads_begin(size_t n_tasks, size_t n_products)
{
    const int n_threads = omp_get_max_threads();

    /* All or one: other numbers would make libgomp end threads and start them again. */
    if (n_tasks < 2 || n_products < PARALLEL_FROM) {
        omp_set_num_threads(1);
    }
    return n_threads;
}

void dinm_threads_end(int n_threads)
{
    omp_set_num_threads(n_threads);
}
