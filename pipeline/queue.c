/* Three counters in a window of rank 0: shared memory on one node, where MPI's own fetch-and-add
 * may take a lock whose holder has just lost its core; MPI one-sided over several nodes. All
 * changes are additions: MPI promises that concurrent accumulations of one cell are atomic only if
 * they are the same operation. */
#include "pipeline/queue.h"

#include <string.h>

enum cell { NEXT, DONE, LEFT, N_CELLS };

/* Adds `n` to a cell of rank 0; *before is what it held. */
static int add(struct dinm_queue *q, enum cell cell, int64_t n, int64_t *before,
               struct dinm_error *err)
{
    int status = DINM_OK;
    int64_t held = 0;
    if (q->shared != NULL) {
        *before = atomic_fetch_add(&q->shared[cell], n);
        return DINM_OK;
    }
    TRY(dinm_grid_check(
        MPI_Fetch_and_op(&n, &held, MPI_INT64_T, 0, (MPI_Aint)cell, MPI_SUM, q->window),
        "MPI_Fetch_and_op", err));
    TRY(dinm_grid_check(MPI_Win_flush(0, q->window), "MPI_Win_flush", err));
    *before = held;
out:
    return status;
}

/* Collective in MPI's sense only: makes the window, zeroed. */
static int allocate(struct dinm_queue *q, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_grid *grid = q->grid;
    int64_t *cells = NULL;
    MPI_Aint n_bytes = grid->rank == 0 ? (MPI_Aint)(N_CELLS * sizeof *cells) : 0;
    int unit = (int)sizeof *cells;
    if (grid->node_size == grid->size) {
        TRY(dinm_grid_check(
            MPI_Win_allocate_shared(n_bytes, unit, MPI_INFO_NULL, grid->world, &cells, &q->window),
            "MPI_Win_allocate_shared", err));
        TRY(dinm_grid_check(MPI_Win_shared_query(q->window, 0, &n_bytes, &unit, &cells),
                            "MPI_Win_shared_query", err));
        q->shared = (_Atomic int64_t *)cells;
    } else {
        TRY(dinm_grid_check(
            MPI_Win_allocate(n_bytes, unit, MPI_INFO_NULL, grid->world, &cells, &q->window),
            "MPI_Win_allocate", err));
    }
    MPI_Win_set_errhandler(q->window, MPI_ERRORS_RETURN);
    TRY(dinm_grid_check(MPI_Win_lock_all(MPI_MODE_NOCHECK, q->window), "MPI_Win_lock_all", err));
    if (grid->rank == 0) {
        memset(cells, 0, N_CELLS * sizeof *cells);
    }
    TRY(dinm_grid_check(MPI_Win_sync(q->window), "MPI_Win_sync", err));
out:
    return status;
}

int dinm_queue_open_all(struct dinm_queue *q, const struct dinm_grid *grid, struct dinm_error *err)
{
    *q = (struct dinm_queue){.window = MPI_WIN_NULL, .grid = grid};
    int status = dinm_agree_all(grid, allocate(q, err), err);
    if (status < 0) {
        /* A window that not all ranks have cannot be freed, which is collective; the job ends. */
        *q = (struct dinm_queue){.window = MPI_WIN_NULL};
    }
    return status;
}

void dinm_queue_close_all(struct dinm_queue *q)
{
    if (q->grid != NULL && q->window != MPI_WIN_NULL) {
        MPI_Win_unlock_all(q->window);
        dinm_grid_wait_all(q->grid, NULL);
        MPI_Win_free(&q->window);
    }
    *q = (struct dinm_queue){.window = MPI_WIN_NULL};
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
