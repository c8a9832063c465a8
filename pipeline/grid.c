/* The ranks and how they wait for each other. Every wait is a non-blocking operation and a sleep:
 * MPI's own waiting spins, and a spinning rank takes its core from one that works. */
#include "pipeline/grid.h"

#include <limits.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "pipeline/cores.h"
#include "pipeline/watchdog.h"

enum { REST_LEAST_NS = 20000, REST_MOST_NS = 5000000, REST_SHARE = 16 };

int dinm_grid_check(int code, const char *what, struct dinm_error *err)
{
    if (code == MPI_SUCCESS) {
        return DINM_OK;
    }
    char text[MPI_MAX_ERROR_STRING] = "unknown error";
    int n = 0;
    MPI_Error_string(code, text, &n);
    return dinm_fail(err, DINM_FAILED, "%s failed: %s", what, text);
}

/* Sleeps a sixteenth of the time waited so far: short waits end at once, long ones cost little. */
int dinm_grid_finish(int code, MPI_Request *request, const char *what, struct dinm_error *err)
{
    int done = 0;
    long rest_ns = REST_LEAST_NS, waited_ns = 0;
    while (code == MPI_SUCCESS) {
        code = MPI_Test(request, &done, MPI_STATUS_IGNORE);
        if (done) {
            break;
        }
        dinm_watchdog_beat();
        nanosleep(&(struct timespec){.tv_nsec = rest_ns}, NULL);
        if (rest_ns < REST_MOST_NS) {
            waited_ns += rest_ns;
            rest_ns = waited_ns / REST_SHARE;
            rest_ns = rest_ns < REST_LEAST_NS  ? REST_LEAST_NS
                      : rest_ns < REST_MOST_NS ? rest_ns
                                               : REST_MOST_NS;
        }
    }
    return dinm_grid_check(code, what, err);
}

/* Threads for this rank: its cores, divided among the ranks of the node that share them. */
static int share_cores_all(struct dinm_grid *grid, struct dinm_error *err)
{
    int status = DINM_OK;
    int mine = omp_get_num_procs(), most = 0, sum = 0;
    struct dinm_cores own, node;
    dinm_cores_mine(&own);
    TRY(dinm_grid_check(MPI_Allreduce(own.bits, node.bits, DINM_CORES_BYTES, MPI_UNSIGNED_CHAR,
                                      MPI_BOR, grid->node),
                        "MPI_Allreduce", err));
    TRY(dinm_grid_check(MPI_Allreduce(&mine, &sum, 1, MPI_INT, MPI_SUM, grid->node),
                        "MPI_Allreduce", err));
    TRY(dinm_grid_check(MPI_Allreduce(&mine, &most, 1, MPI_INT, MPI_MAX, grid->node),
                        "MPI_Allreduce", err));
    /* OpenMP may have bound the main thread to one core: then its count knows better. */
    int n_cores = dinm_cores_count(&node);
    n_cores = n_cores > most ? n_cores : most;
    int64_t share = (int64_t)mine * n_cores / sum;
    grid->n_threads = share < 1 ? 1 : share > mine ? mine : (int)share;
out:
    return status;
}

int dinm_grid_open_all(struct dinm_grid *grid, MPI_Comm comm, int64_t threads,
                       struct dinm_error *err)
{
    int status = DINM_OK;
    *grid = (struct dinm_grid){.world = MPI_COMM_NULL,
                               .node = MPI_COMM_NULL,
                               .chunk_bytes = (size_t)1 << 30,
                               .stages = MPI_COMM_NULL,
                               .n_stages = 1};
    TRY(dinm_grid_check(MPI_Comm_dup(comm, &grid->world), "MPI_Comm_dup", err));
    MPI_Comm_set_errhandler(grid->world, MPI_ERRORS_RETURN);
    MPI_Comm_rank(grid->world, &grid->rank);
    MPI_Comm_size(grid->world, &grid->size);
    MPI_Query_thread(&grid->mpi_threads);
    TRY(dinm_grid_check(MPI_Comm_split_type(grid->world, MPI_COMM_TYPE_SHARED, grid->rank,
                                            MPI_INFO_NULL, &grid->node),
                        "MPI_Comm_split_type", err));
    MPI_Comm_set_errhandler(grid->node, MPI_ERRORS_RETURN);
    MPI_Comm_rank(grid->node, &grid->node_rank);
    MPI_Comm_size(grid->node, &grid->node_size);
    TRY(share_cores_all(grid, err));
    if (threads < 0 || threads > INT_MAX) {
        status = dinm_fail(err, DINM_USAGE, "threads is %lld, but must be 0 (automatic) to %d",
                           (long long)threads, INT_MAX);
    } else if (threads > 0) {
        grid->n_threads = (int)threads;
    }
    TRY(dinm_agree_all(grid, status, err));
    grid->group = grid->rank;
    grid->n_groups = grid->size;
out:
    if (status < 0) {
        dinm_grid_close_all(grid);
    }
    return status;
}

/* The divisors of n around `near`: *below at most, *above at least. */
static void nearest_divisors(int n, int64_t near, int *below, int *above)
{
    *below = 1;
    *above = n;
    for (int i = 1; i <= n; i++) {
        if (n % i == 0) {
            *below = i <= near ? i : *below;
            *above = i >= near && i < *above ? i : *above;
        }
    }
}

/* Says which numbers would do. */
static int refuse_cut(const struct dinm_grid *grid, int64_t n_stages, struct dinm_error *err)
{
    const char *plural = grid->size == 1 ? "" : "s";
    int below, above;
    nearest_divisors(grid->size, n_stages, &below, &above);
    if (below == above) {
        return dinm_fail(err, DINM_USAGE,
                         "stages is %lld, which does not divide the %d rank%s; the nearest that "
                         "does is %d",
                         (long long)n_stages, grid->size, plural, below);
    }
    return dinm_fail(err, DINM_USAGE,
                     "stages is %lld, which does not divide the %d rank%s; the nearest that do "
                     "are %d and %d, or start a multiple of %lld ranks",
                     (long long)n_stages, grid->size, plural, below, above, (long long)n_stages);
}

int dinm_grid_check_stages(const struct dinm_grid *grid, int64_t n_stages, struct dinm_error *err)
{
    if (n_stages < 1 || grid->size % n_stages != 0) {
        return refuse_cut(grid, n_stages, err);
    }
    return DINM_OK;
}

int dinm_grid_cut_all(struct dinm_grid *grid, int64_t n_stages, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_grid_check_stages(grid, n_stages, err)); /* the same on every rank */
    grid->n_stages = (int)n_stages;
    grid->n_groups = grid->size / grid->n_stages;
    grid->group = grid->rank % grid->n_groups;
    grid->stage = grid->rank / grid->n_groups;
    if (grid->n_stages > 1) {
        TRY(dinm_grid_check(MPI_Comm_split(grid->world, grid->group, grid->stage, &grid->stages),
                            "MPI_Comm_split", err));
        MPI_Comm_set_errhandler(grid->stages, MPI_ERRORS_RETURN);
    }
out:
    return status;
}

void dinm_grid_close_all(struct dinm_grid *grid)
{
    if (grid->size > 0 && grid->stages != MPI_COMM_NULL) {
        MPI_Comm_free(&grid->stages);
    }
    if (grid->size > 0 && grid->node != MPI_COMM_NULL) {
        MPI_Comm_free(&grid->node);
    }
    if (grid->size > 0 && grid->world != MPI_COMM_NULL) {
        MPI_Comm_free(&grid->world);
    }
    memset(grid, 0, sizeof *grid);
}

int dinm_agree_all(const struct dinm_grid *grid, int status, struct dinm_error *err)
{
    /* One number orders by status first, then by rank: the least is the worst of the lowest rank.*/
    int64_t mine = (int64_t)status * grid->size + grid->rank, worst = 0;
    MPI_Request request;
    int code = MPI_Iallreduce(&mine, &worst, 1, MPI_INT64_T, MPI_MIN, grid->world, &request);
    int check = dinm_grid_finish(code, &request, "MPI_Iallreduce", err);
    if (check < 0) {
        return check;
    }
    if (worst >= 0) {
        return DINM_OK;
    }
    int root = (int)(worst % grid->size);
    root += root < 0 ? grid->size : 0;
    struct dinm_error told = {0};
    if (root == grid->rank) {
        if (err != NULL) {
            told = *err;
        }
        dinm_fail(&told, status, "rank %d failed without giving a reason", grid->rank);
        told.status = status;
    }
    code = MPI_Ibcast(&told, (int)sizeof told, MPI_BYTE, root, grid->world, &request);
    check = dinm_grid_finish(code, &request, "MPI_Ibcast", err);
    if (check < 0) {
        return check;
    }
    if (err != NULL) {
        *err = told;
    }
    return told.status;
}

int dinm_grid_wait_all(const struct dinm_grid *grid, struct dinm_error *err)
{
    MPI_Request request;
    int code = MPI_Ibarrier(grid->world, &request);
    return dinm_grid_finish(code, &request, "MPI_Ibarrier", err);
}

/* Makes *b hold n_bytes bytes of undefined content, with a NUL behind them. */
static int resize(struct dinm_buffer *b, size_t n_bytes, struct dinm_error *err)
{
    void *data = b->data;
    b->n_bytes = 0;
    if (n_bytes == SIZE_MAX) {
        return dinm_fail(err, DINM_FAILED, "a message of %zu bytes does not fit in memory",
                         n_bytes);
    }
    int status = dinm_grow(&data, &b->capacity, n_bytes + 1, 1, "a message", err);
    if (status == DINM_OK) {
        b->data = data;
        b->n_bytes = n_bytes;
        b->data[n_bytes] = '\0';
    }
    return status;
}

int dinm_grid_broadcast_all(const struct dinm_grid *grid, struct dinm_buffer *buffer,
                            struct dinm_error *err)
{
    int status = DINM_OK;
    MPI_Request request;
    uint64_t n_bytes = buffer->n_bytes;
    int code = MPI_Ibcast(&n_bytes, 1, MPI_UINT64_T, 0, grid->world, &request);
    TRY(dinm_grid_finish(code, &request, "MPI_Ibcast", err));
    if (grid->rank != 0) {
        status = resize(buffer, (size_t)n_bytes, err);
    }
    TRY(dinm_agree_all(grid, status, err));
    for (size_t at = 0; at < n_bytes;) {
        size_t n = (size_t)n_bytes - at;
        n = n < grid->chunk_bytes ? n : grid->chunk_bytes;
        code = MPI_Ibcast(buffer->data + at, (int)n, MPI_BYTE, 0, grid->world, &request);
        TRY(dinm_grid_finish(code, &request, "MPI_Ibcast", err));
        at += n;
    }
out:
    if (status < 0 && grid->rank != 0) {
        buffer->n_bytes = 0;
    }
    return status;
}

/* A gather in rounds: how much of each rank's bytes came, and what comes in this round. */
struct rounds {
    uint64_t *n_bytes; /* owns: [size] */
    size_t *at;        /* owns: [size] where the next bytes of each rank go in *everyone */
    size_t *end;       /* owns: [size] */
    int *counts;       /* owns: [size] */
    int *starts;       /* owns: [size] */
    char *room;        /* owns: what one round brings */
};

static int rounds_open(struct rounds *r, int size, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n = (size_t)size;
    *r = (struct rounds){0};
    if ((r->n_bytes = dinm_alloc(n, sizeof *r->n_bytes, "a gather", err)) == NULL ||
        (r->at = dinm_alloc(n, sizeof *r->at, "a gather", err)) == NULL ||
        (r->end = dinm_alloc(n, sizeof *r->end, "a gather", err)) == NULL ||
        (r->counts = dinm_alloc(n, sizeof *r->counts, "a gather", err)) == NULL ||
        (r->starts = dinm_alloc(n, sizeof *r->starts, "a gather", err)) == NULL) {
        status = DINM_FAILED;
    }
    return status;
}

static void rounds_close(struct rounds *r)
{
    free(r->n_bytes);
    free(r->at);
    free(r->end);
    free(r->counts);
    free(r->starts);
    free(r->room);
}

/* Local. Places every rank's bytes in *everyone and makes room for one round. */
static int rounds_place(struct rounds *r, const struct dinm_grid *grid,
                        struct dinm_buffer *everyone, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t total = 0;
    for (int i = 0; i < grid->size; i++) {
        if (r->n_bytes[i] > SIZE_MAX - total) {
            return dinm_fail(err, DINM_FAILED, "the ranks' messages together do not fit in memory");
        }
        r->at[i] = total;
        total += (size_t)r->n_bytes[i];
        r->end[i] = total;
    }
    TRY(resize(everyone, total, err));
    r->room = dinm_alloc(total < grid->chunk_bytes ? total : grid->chunk_bytes, 1, "a gather", err);
    if (r->room == NULL) {
        status = DINM_FAILED;
    }
out:
    return status;
}

/* Collective. One round: at most `share` bytes of each rank. */
static int round_all(struct rounds *r, const struct dinm_grid *grid, size_t share,
                     const struct dinm_buffer *mine, struct dinm_buffer *everyone,
                     struct dinm_error *err)
{
    int start = 0;
    for (int i = 0; i < grid->size; i++) {
        size_t left = r->end[i] - r->at[i];
        r->counts[i] = (int)(left < share ? left : share);
        r->starts[i] = start;
        start += r->counts[i];
    }
    size_t sent = mine->n_bytes - (r->end[grid->rank] - r->at[grid->rank]);
    const char *from = mine->data == NULL ? r->room : mine->data + sent;
    MPI_Request request;
    int code = MPI_Iallgatherv(from, r->counts[grid->rank], MPI_BYTE, r->room, r->counts, r->starts,
                               MPI_BYTE, grid->world, &request);
    int status = dinm_grid_finish(code, &request, "MPI_Iallgatherv", err);
    for (int i = 0; status == DINM_OK && i < grid->size; i++) {
        memcpy(everyone->data + r->at[i], r->room + r->starts[i], (size_t)r->counts[i]);
        r->at[i] += (size_t)r->counts[i];
    }
    return status;
}

int dinm_grid_gather_all(const struct dinm_grid *grid, const struct dinm_buffer *mine,
                         struct dinm_buffer *everyone, struct dinm_error *err)
{
    struct rounds r;
    MPI_Request request;
    uint64_t n_bytes = mine->n_bytes, most = 0;
    int status = rounds_open(&r, grid->size, err);
    TRY(dinm_agree_all(grid, status, err));
    int code = MPI_Iallgather(&n_bytes, 1, MPI_UINT64_T, r.n_bytes, 1, MPI_UINT64_T, grid->world,
                              &request);
    TRY(dinm_grid_finish(code, &request, "MPI_Iallgather", err));
    status = rounds_place(&r, grid, everyone, err);
    TRY(dinm_agree_all(grid, status, err));
    for (int i = 0; i < grid->size; i++) {
        most = r.n_bytes[i] > most ? r.n_bytes[i] : most;
    }
    size_t share = grid->chunk_bytes / (size_t)grid->size;
    share = share > 0 ? share : 1;
    for (uint64_t done = 0; done < most; done += share) {
        TRY(round_all(&r, grid, share, mine, everyone, err));
    }
out:
    if (status < 0) {
        everyone->n_bytes = 0;
    }
    rounds_close(&r);
    return status;
}
