/* Three counters, in shared memory or kept by rank 0; all changes are additions. */
#include "pipeline/queue.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "io/log.h"
#include "pipeline/watchdog.h"

enum cell { NEXT, DONE, LEFT, N_CELLS };
enum tag { QUESTION, ANSWER };
enum { SERVER_FIRST_NS = 50000, SERVER_MOST_NS = 1000000 };

/* On rank 0: answers the questions that are there. A question is a cell and what to add to it, the
 * answer what it held before. */
static int answer(struct dinm_queue *q, bool *any, struct dinm_error *err)
{
    int status = DINM_OK, there = 0;
    *any = false;
    for (;;) {
        MPI_Status from;
        int64_t question[2], held;
        TRY(dinm_grid_check(MPI_Iprobe(MPI_ANY_SOURCE, QUESTION, q->talk, &there, &from),
                            "MPI_Iprobe", err));
        if (!there) {
            break;
        }
        TRY(dinm_grid_check(MPI_Recv(question, 2, MPI_INT64_T, from.MPI_SOURCE, QUESTION, q->talk,
                                     MPI_STATUS_IGNORE),
                            "MPI_Recv", err));
        held = atomic_fetch_add(&q->cells[question[0]], question[1]);
        TRY(dinm_grid_check(MPI_Send(&held, 1, MPI_INT64_T, from.MPI_SOURCE, ANSWER, q->talk),
                            "MPI_Send", err));
        *any = true;
    }
out:
    return status;
}

/* The server thread of rank 0: answers until closing; sleeps longer while nobody asks. */
static void *serve(void *queue)
{
    struct dinm_queue *q = queue;
    long rest_ns = SERVER_FIRST_NS;
    while (!atomic_load(&q->closing)) {
        struct dinm_error err = {0};
        bool any = false;
        if (answer(q, &any, &err) < 0) {
            dinm_log(DINM_LOG_ERROR, "the work queue: %s", err.text);
            break;
        }
        rest_ns = any ? SERVER_FIRST_NS : rest_ns + rest_ns / 4;
        rest_ns = rest_ns < SERVER_MOST_NS ? rest_ns : SERVER_MOST_NS;
        nanosleep(&(struct timespec){.tv_nsec = rest_ns}, NULL);
    }
    return NULL;
}

/* Adds n to a cell; *before is what it held. */
static int add(struct dinm_queue *q, enum cell cell, int64_t n, int64_t *before,
               struct dinm_error *err)
{
    int status = DINM_OK;
    bool any;
    if (q->cells != NULL) {
        if (q->apart && !q->has_server) {
            TRY(answer(q, &any, err));
        }
        *before = atomic_fetch_add(&q->cells[cell], n);
        return DINM_OK;
    }
    int64_t question[2] = {(int64_t)cell, n}, held = 0;
    MPI_Request request;
    int code = MPI_Irecv(&held, 1, MPI_INT64_T, 0, ANSWER, q->talk, &request);
    if (code == MPI_SUCCESS) {
        code = MPI_Send(question, 2, MPI_INT64_T, 0, QUESTION, q->talk);
    }
    TRY(dinm_grid_finish(code, &request, "a question to the work queue", err));
    *before = held;
out:
    return status;
}

/* Collective in MPI's sense only: the cells in memory shared by all. */
static int open_shared(struct dinm_queue *q, struct dinm_error *err)
{
    int status = DINM_OK;
    int64_t *cells = NULL;
    int unit = (int)sizeof *cells;
    MPI_Aint n_bytes = q->grid->rank == 0 ? (MPI_Aint)(N_CELLS * sizeof *cells) : 0;
    TRY(dinm_grid_check(
        MPI_Win_allocate_shared(n_bytes, unit, MPI_INFO_NULL, q->grid->world, &cells, &q->window),
        "MPI_Win_allocate_shared", err));
    MPI_Win_set_errhandler(q->window, MPI_ERRORS_RETURN);
    TRY(dinm_grid_check(MPI_Win_shared_query(q->window, 0, &n_bytes, &unit, &cells),
                        "MPI_Win_shared_query", err));
    TRY(dinm_grid_check(MPI_Win_lock_all(MPI_MODE_NOCHECK, q->window), "MPI_Win_lock_all", err));
    q->cells = (_Atomic int64_t *)cells;
    for (int i = 0; i < N_CELLS && q->grid->rank == 0; i++) {
        atomic_store(&q->cells[i], 0);
    }
    TRY(dinm_grid_check(MPI_Win_sync(q->window), "MPI_Win_sync", err));
out:
    return status;
}

/* Collective in MPI's sense only: the cells on rank 0, and a way to ask it. */
static int open_apart(struct dinm_queue *q, struct dinm_error *err)
{
    int status = DINM_OK;
    q->apart = true;
    TRY(dinm_grid_check(MPI_Comm_dup(q->grid->world, &q->talk), "MPI_Comm_dup", err));
    MPI_Comm_set_errhandler(q->talk, MPI_ERRORS_RETURN);
    if (q->grid->rank == 0) {
        q->cells = dinm_alloc(N_CELLS, sizeof *q->cells, "the work queue", err);
        if (q->cells == NULL) {
            TRY(DINM_FAILED);
        }
        if (q->grid->mpi_threads == MPI_THREAD_MULTIPLE) {
            q->has_server = pthread_create(&q->server, NULL, serve, q) == 0;
        }
    }
out:
    return status;
}

int dinm_queue_open_all(struct dinm_queue *q, const struct dinm_grid *grid, struct dinm_error *err)
{
    *q = (struct dinm_queue){.grid = grid, .window = MPI_WIN_NULL, .talk = MPI_COMM_NULL};
    atomic_init(&q->closing, false);
    int status = grid->node_size == grid->size ? open_shared(q, err) : open_apart(q, err);
    status = dinm_agree_all(grid, status, err);
    if (status < 0) {
        dinm_queue_close_all(q);
    }
    return status;
}

/* Collective. Nobody asks any more when this returns; until then rank 0 answers. */
static void wait_all(struct dinm_queue *q)
{
    MPI_Request request;
    int done = 0, code = MPI_Ibarrier(q->grid->world, &request);
    while (code == MPI_SUCCESS && !done) {
        bool any;
        if (q->apart && q->cells != NULL && !q->has_server) {
            answer(q, &any, NULL);
        }
        code = MPI_Test(&request, &done, MPI_STATUS_IGNORE);
        if (!done) {
            dinm_watchdog_beat();
            nanosleep(&(struct timespec){.tv_nsec = SERVER_FIRST_NS}, NULL);
        }
    }
}

void dinm_queue_close_all(struct dinm_queue *q)
{
    if (q->grid != NULL) {
        wait_all(q);
        if (q->has_server) {
            atomic_store(&q->closing, true);
            pthread_join(q->server, NULL);
        }
        if (q->apart) {
            free((void *)q->cells);
        }
        if (q->window != MPI_WIN_NULL) {
            MPI_Win_unlock_all(q->window);
            MPI_Win_free(&q->window);
        }
        if (q->talk != MPI_COMM_NULL) {
            MPI_Comm_free(&q->talk);
        }
    }
    q->grid = NULL;
}

int dinm_queue_take(struct dinm_queue *q, int64_t n, int64_t *first, struct dinm_error *err)
{
    return add(q, NEXT, n, first, err);
}

int dinm_queue_end(struct dinm_queue *q, struct dinm_error *err)
{
    int64_t before;
    return add(q, NEXT, DINM_QUEUE_END, &before, err);
}

int dinm_queue_count(struct dinm_queue *q, int64_t n, struct dinm_error *err)
{
    int64_t before;
    return add(q, DONE, n, &before, err);
}

int dinm_queue_leave(struct dinm_queue *q, struct dinm_error *err)
{
    int64_t before;
    return add(q, LEFT, 1, &before, err);
}

int dinm_queue_look(struct dinm_queue *q, int64_t *n_done, int *n_left, struct dinm_error *err)
{
    int status = DINM_OK;
    int64_t done = 0, left = 0;
    TRY(add(q, DONE, 0, &done, err));
    TRY(add(q, LEFT, 0, &left, err));
    *n_done = done;
    *n_left = (int)left;
out:
    return status;
}
