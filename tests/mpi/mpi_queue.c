/* Queue: every number goes out once and in order, an end stops everybody, and nobody waits for a
 * rank 0 that computes. */
#include <time.h>
#include "pipeline/progress.h"
#include "pipeline/queue.h"
#include "tests/mpi/expect.h"

enum { N_NUMBERS = 2000 };

static void check_handing_out(const struct dinm_grid *grid, int64_t batch)
{
    static int mine[N_NUMBERS], all[N_NUMBERS];
    struct dinm_queue q;
    struct dinm_error err = {0};
    int64_t before = -1, n_mine = 0, n_done = -1;
    int n_left = 0;
    memset(mine, 0, sizeof mine);
    EXPECT(dinm_queue_open_all(&q, grid, &err) == DINM_OK);
    for (;;) {
        int64_t first = -1;
        EXPECT(dinm_queue_take(&q, batch, &first, &err) == DINM_OK);
        EXPECT(first > before);
        EXPECT(first % batch == 0);
        before = first;
        if (first < 0 || first >= N_NUMBERS) {
            break;
        }
        for (int64_t i = first; i < first + batch && i < N_NUMBERS; i++, n_mine++) {
            mine[i]++;
        }
    }
    EXPECT(dinm_queue_count(&q, n_mine, &err) == DINM_OK);
    EXPECT(dinm_queue_leave(&q, &err) == DINM_OK);
    while (grid->rank == 0 && n_left < grid->size) {
        EXPECT(dinm_queue_look(&q, &n_done, &n_left, &err) == DINM_OK);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    EXPECT(grid->rank != 0 || n_done == N_NUMBERS);
    EXPECT(grid->rank != 0 || n_left == grid->size);
    MPI_Allreduce(mine, all, N_NUMBERS, MPI_INT, MPI_SUM, grid->world);
    int wrong = 0;
    for (int i = 0; i < N_NUMBERS; i++) {
        wrong += all[i] != 1;
    }
    EXPECT(wrong == 0);
    dinm_queue_close_all(&q);
    dinm_queue_close_all(&q);
}

/* All add at the same moment, over and over: nothing may get lost. */
static void check_contention(const struct dinm_grid *grid)
{
    enum { N_TAKES = 3000000 };
    struct dinm_queue q;
    struct dinm_error err = {0};
    int64_t first = -1, n_takes = grid->size <= 8 ? N_TAKES : N_TAKES / grid->size;
    EXPECT(dinm_queue_open_all(&q, grid, &err) == DINM_OK);
    MPI_Barrier(grid->world);
    for (int64_t i = 0; i < n_takes; i++) {
        dinm_queue_take(&q, 3, &first, &err);
    }
    dinm_grid_wait_all(grid, &err);
    EXPECT(dinm_queue_take(&q, 0, &first, &err) == DINM_OK);
    EXPECT(first == 3 * n_takes * grid->size);
    dinm_queue_close_all(&q);
}

static void check_end(const struct dinm_grid *grid)
{
    for (int who = 0; who < grid->size; who++) {
        struct dinm_queue q;
        struct dinm_error err = {0};
        int64_t first = -1;
        EXPECT(dinm_queue_open_all(&q, grid, &err) == DINM_OK);
        EXPECT(dinm_queue_take(&q, 1, &first, &err) == DINM_OK);
        EXPECT(first >= 0 && first < grid->size);
        dinm_grid_wait_all(grid, &err);
        if (grid->rank == who) {
            EXPECT(dinm_queue_end(&q, &err) == DINM_OK);
        }
        dinm_grid_wait_all(grid, &err);
        EXPECT(dinm_queue_take(&q, 1000, &first, &err) == DINM_OK);
        EXPECT(first >= DINM_QUEUE_END);
        for (int i = 0; i < 100; i++) { /* an end by all, over and over, must not wrap around */
            EXPECT(dinm_queue_end(&q, &err) == DINM_OK);
        }
        EXPECT(dinm_queue_take(&q, 1, &first, &err) == DINM_OK);
        EXPECT(first >= DINM_QUEUE_END);
        dinm_queue_close_all(&q);
    }
}

/* Rank 0 computes and does not call MPI. */
static void check_busy_rank_0(const struct dinm_grid *grid)
{
    struct dinm_queue q;
    struct dinm_error err = {0};
    EXPECT(dinm_queue_open_all(&q, grid, &err) == DINM_OK);
    double start_s = dinm_now_s(), worst_s = 0.0;
    if (grid->rank == 0) {
        while (dinm_now_s() < start_s + 1.5) {
        }
    } else {
        int64_t before = -1, first = 0;
        while (dinm_now_s() < start_s + 1.0) {
            double take_s = dinm_now_s();
            EXPECT(dinm_queue_take(&q, 1, &first, &err) == DINM_OK);
            take_s = dinm_now_s() - take_s;
            worst_s = take_s > worst_s ? take_s : worst_s;
            EXPECT(first > before);
            before = first;
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
        }
    }
    EXPECT(worst_s < 0.4);
    if (getenv("DINM_TEST_TIMES") != NULL && grid->rank == grid->size - 1) {
        fprintf(stderr, "longest take while rank 0 computes: %.4f s\n", worst_s);
    }
    dinm_grid_wait_all(grid, &err);
    dinm_queue_close_all(&q);
}

int main(int argc, char **argv)
{
    int provided = 0;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    struct dinm_grid grid;
    struct dinm_queue none = {0};
    EXPECT(dinm_grid_open_all(&grid, MPI_COMM_WORLD, 1, NULL) == DINM_OK);
    EXPECT(grid.mpi_threads == provided);
    check_handing_out(&grid, 1);
    check_handing_out(&grid, 7);
    check_contention(&grid);
    check_end(&grid);
    check_busy_rank_0(&grid);
    /* As over several nodes, with and without a thread that answers. */
    struct dinm_grid apart = grid;
    apart.node_size = 0;
    check_handing_out(&apart, 7);
    check_end(&apart);
    if (provided == MPI_THREAD_MULTIPLE) {
        check_busy_rank_0(&apart);
    }
    apart.mpi_threads = MPI_THREAD_SINGLE;
    check_handing_out(&apart, 7);
    dinm_queue_close_all(&none);
    dinm_grid_close_all(&grid);
    int status = verdict_all();
    MPI_Finalize();
    return status;
}
