/* A thread that asks who the parent is: an orphan gets another one. */
#include "pipeline/orphan.h"

#include <pthread.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t ended;
    pthread_t thread;
    bool watches, over;
    pid_t parent;
    int status;
} watch = {.mutex = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER};

static void *look(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&watch.mutex);
    while (!watch.over) {
        struct timespec until;
        if (getppid() != watch.parent) {
            _exit(watch.status);
        }
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 200000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&watch.ended, &watch.mutex, &until);
    }
    pthread_mutex_unlock(&watch.mutex);
    return NULL;
}

void dinm_orphan_begin(int status)
{
    watch.parent = getppid();
    watch.status = status;
    watch.over = false;
    watch.watches = pthread_create(&watch.thread, NULL, look, NULL) == 0;
}

void dinm_orphan_end(void)
{
    if (watch.watches) {
        pthread_mutex_lock(&watch.mutex);
        watch.over = true;
        pthread_cond_signal(&watch.ended);
        pthread_mutex_unlock(&watch.mutex);
        pthread_join(watch.thread, NULL);
        watch.watches = false;
    }
}
