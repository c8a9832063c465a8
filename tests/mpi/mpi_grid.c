/* Grid: agreement with every rank failing in turn, sleeping waits, messages around chunk sizes, and
 * one rank after the other short of memory. */
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include "pipeline/cores.h"
#include "pipeline/grid.h"
#include "tests/mpi/expect.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

static void check_open(void)
{
    struct dinm_grid grid, none = {0};
    struct dinm_error err = {0};
    struct dinm_cores cores;
    dinm_cores_mine(&cores);
    EXPECT(dinm_grid_open_all(&grid, MPI_COMM_WORLD, 0, &err) == DINM_OK);
    int threads = 0, most = dinm_cores_count(&cores);
    MPI_Allreduce(&grid.n_threads, &threads, 1, MPI_INT, MPI_SUM, grid.node);
    EXPECT(grid.n_threads >= 1);
    EXPECT(threads <= most || grid.n_threads == 1);
    EXPECT(grid.node_size >= 1 && grid.node_size <= grid.size);
    EXPECT(grid.node_rank >= 0 && grid.node_rank < grid.node_size);
    dinm_grid_close_all(&grid);
    dinm_grid_close_all(&grid);
    dinm_grid_close_all(&none);

    EXPECT(dinm_grid_open_all(&grid, MPI_COMM_WORLD, 3, &err) == DINM_OK);
    EXPECT(grid.n_threads == 3);
    dinm_grid_close_all(&grid);

    EXPECT(dinm_grid_open_all(&grid, MPI_COMM_WORLD, -1, &err) == DINM_USAGE);
    EXPECT_WORDS(err.text, "threads is -1");
    dinm_grid_close_all(&grid);
}

static void check_agreement(const struct dinm_grid *grid)
{
    for (int bad = 0; bad < grid->size; bad++) {
        char expected[64];
        struct dinm_error err = {0};
        int status = DINM_OK;
        if (grid->rank == bad) {
            status = dinm_fail(&err, DINM_FAILED, "file of rank %d is gone", bad);
        } else if (grid->rank > bad) { /* a later rank's failure must not be the one told */
            status = dinm_fail(&err, DINM_FAILED, "later");
        } else { /* nor a milder one of an earlier rank */
            status = dinm_fail(&err, DINM_STOPPED, "milder");
        }
        snprintf(expected, sizeof expected, "file of rank %d is gone", bad);
        EXPECT(dinm_agree_all(grid, status, &err) == DINM_FAILED);
        EXPECT(err.status == DINM_FAILED);
        EXPECT(strcmp(err.text, expected) == 0);

        struct dinm_error silent = {0};
        status = grid->rank == bad ? DINM_USAGE : DINM_OK;
        EXPECT(dinm_agree_all(grid, status, &silent) == DINM_USAGE);
        snprintf(expected, sizeof expected, "rank %d failed without", bad);
        EXPECT_WORDS(silent.text, expected);
        EXPECT(dinm_agree_all(grid, status, NULL) == DINM_USAGE);

        struct dinm_error fine = {0};
        EXPECT(dinm_agree_all(grid, DINM_OK, &fine) == DINM_OK);
        EXPECT(fine.status == DINM_OK && fine.text[0] == '\0');
    }
}

/* Every number of stages that divides: each group has one rank of each stage, neighbours the same.
 */
static void check_cut(void)
{
    for (int n = 1;; n++) {
        struct dinm_grid grid;
        struct dinm_error err = {0};
        EXPECT(dinm_grid_open_all(&grid, MPI_COMM_WORLD, 1, &err) == DINM_OK);
        if (n > grid.size) {
            dinm_grid_close_all(&grid);
            break;
        }
        if (grid.size % n != 0) {
            EXPECT(dinm_grid_cut_all(&grid, n, &err) == DINM_USAGE);
            EXPECT_WORDS(err.text, "does not divide");
        } else {
            EXPECT(dinm_grid_cut_all(&grid, n, &err) == DINM_OK);
            EXPECT(grid.n_stages == n && grid.n_groups * n == grid.size);
            EXPECT(grid.stage * grid.n_groups + grid.group == grid.rank);
            EXPECT(grid.group >= 0 && grid.group < grid.n_groups);
            int group = grid.group, stage = 0, size = 1;
            if (n > 1) {
                MPI_Comm_rank(grid.stages, &stage);
                MPI_Comm_size(grid.stages, &size);
                MPI_Bcast(&group, 1, MPI_INT, 0, grid.stages);
            }
            EXPECT(stage == grid.stage && size == n && group == grid.group);
        }
        dinm_grid_close_all(&grid);
    }
}

/* What does not divide is refused on all ranks, with the nearest numbers that do. */
static void check_cut_refused(const struct dinm_grid *whole)
{
    const int64_t bad[] = {0, -1, whole->size + 1, (int64_t)1 << 40};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dinm_grid grid = *whole;
        struct dinm_error err = {0};
        char words[32];
        EXPECT(dinm_grid_cut_all(&grid, bad[i], &err) == DINM_USAGE);
        EXPECT(grid.n_stages == 1 && grid.n_groups == whole->n_groups);
        snprintf(words, sizeof words, "stages is %lld", (long long)bad[i]);
        EXPECT_WORDS(err.text, words);
        snprintf(words, sizeof words, "is %d", bad[i] < 1 ? 1 : whole->size);
        EXPECT_WORDS(strstr(err.text, "nearest"), words);
    }
    if (whole->size == 4) {
        struct dinm_grid grid = *whole;
        struct dinm_error err = {0};
        EXPECT(dinm_grid_cut_all(&grid, 3, &err) == DINM_USAGE);
        EXPECT_WORDS(err.text, "are 2 and 4");
        EXPECT_WORDS(err.text, "multiple of 3");
    }
}

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The last rank comes 0.4 s late; the others must have slept, not spun. */
static void check_sleep(const struct dinm_grid *grid)
{
    struct dinm_error err = {0};
    struct dinm_buffer mine = {0}, all = {0};
    for (int round = 0; round < 3; round++) {
        dinm_grid_wait_all(grid, &err);
        double before_s = cpu_s();
        if (grid->rank == grid->size - 1) {
            nanosleep(&(struct timespec){.tv_nsec = 400000000}, NULL);
        }
        if (round == 0) {
            EXPECT(dinm_grid_wait_all(grid, &err) == DINM_OK);
        } else if (round == 1) {
            EXPECT(dinm_agree_all(grid, DINM_OK, &err) == DINM_OK);
        } else {
            EXPECT(dinm_grid_gather_all(grid, &mine, &all, &err) == DINM_OK);
        }
        EXPECT(cpu_s() - before_s < 0.1);
    }
    dinm_buffer_free(&all);
}

static char letter(size_t rank, size_t i)
{
    return (char)('a' + (rank * 7 + i * i + i / 5) % 26);
}

static void fill(struct dinm_buffer *b, size_t rank, size_t n)
{
    b->n_bytes = 0;
    for (size_t i = 0; i < n; i++) {
        char c = letter(rank, i);
        EXPECT(dinm_buffer_append(b, &c, 1, NULL) == DINM_OK);
    }
}

static void check_broadcast(struct dinm_grid *grid, size_t chunk_bytes)
{
    struct dinm_error err = {0};
    struct dinm_buffer b = {0}, expected = {0};
    const size_t sizes[] = {0, 1, 15, 16, 17, 55, 0, 3};
    grid->chunk_bytes = chunk_bytes;
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        fill(&b, (size_t)grid->rank, grid->rank == 0 ? sizes[k] : 9);
        fill(&expected, 0, sizes[k]);
        EXPECT(dinm_grid_broadcast_all(grid, &b, &err) == DINM_OK);
        EXPECT(b.n_bytes == sizes[k]);
        EXPECT(sizes[k] == 0 || memcmp(b.data, expected.data, sizes[k] + 1) == 0);
    }
    dinm_buffer_free(&b);
    dinm_buffer_free(&expected);
}

/* How many bytes a rank sends in the k-th case: nothing, a little, one rank far more than all. */
static size_t n_sent(size_t k, size_t rank, size_t size)
{
    const size_t sizes[] = {
        0, 1, rank, (rank * 37) % 50, rank == size - 1 ? 300 : 0, rank == 0 ? 301 : rank % 2, 64};
    return sizes[k];
}

static void check_gather(struct dinm_grid *grid, size_t chunk_bytes)
{
    struct dinm_error err = {0};
    struct dinm_buffer mine = {0}, all = {0};
    size_t size = (size_t)grid->size, me = (size_t)grid->rank;
    grid->chunk_bytes = chunk_bytes;
    for (size_t k = 0; k < 7; k++) {
        fill(&mine, me, n_sent(k, me, size));
        EXPECT(dinm_grid_gather_all(grid, &mine, &all, &err) == DINM_OK);
        size_t at = 0;
        int wrong = 0;
        for (size_t rank = 0; rank < size; rank++) {
            for (size_t i = 0; i < n_sent(k, rank, size); i++, at++) {
                wrong += at >= all.n_bytes || all.data[at] != letter(rank, i);
            }
        }
        EXPECT(wrong == 0);
        EXPECT(all.n_bytes == at);
        EXPECT(all.data[at] == '\0');
    }
    dinm_buffer_free(&mine);
    dinm_buffer_free(&all);
}

/* One rank in turn may use only 8 MiB more than now; 64 MiB are on their way to it. */
static void check_memory(struct dinm_grid *grid)
{
#ifdef SANITIZED
    (void)grid;
#else
    size_t n = (size_t)64 << 20;
    for (int poor = 1; poor < grid->size && poor < 4; poor++) {
        struct dinm_error err = {0};
        struct dinm_buffer b = {0}, all = {0};
        struct rlimit old;
        getrlimit(RLIMIT_AS, &old);
        grid->chunk_bytes = (size_t)1 << 30;
        if (grid->rank == 0) {
            b.data = dinm_alloc(n, 1, "a test", &err);
            b.n_bytes = b.data != NULL ? n : 0;
        }
        EXPECT(err.status == DINM_OK);
        if (grid->rank == poor) {
            long pages = 0;
            FILE *file = fopen("/proc/self/statm", "r");
            EXPECT(file != NULL && fscanf(file, "%ld", &pages) == 1);
            fclose(file);
            struct rlimit tight = {(rlim_t)(pages * sysconf(_SC_PAGESIZE)) + (8 << 20),
                                   old.rlim_max};
            setrlimit(RLIMIT_AS, &tight);
        }
        EXPECT(dinm_grid_broadcast_all(grid, &b, &err) == DINM_FAILED);
        EXPECT_WORDS(err.text, "memory");
        EXPECT(grid->rank == 0 || b.n_bytes == 0);
        err = (struct dinm_error){0};
        EXPECT(dinm_grid_gather_all(grid, &b, &all, &err) == DINM_FAILED);
        EXPECT_WORDS(err.text, "memory");
        EXPECT(all.n_bytes == 0);
        setrlimit(RLIMIT_AS, &old);
        EXPECT(dinm_grid_wait_all(grid, NULL) == DINM_OK);
        dinm_buffer_free(&b);
        dinm_buffer_free(&all);
    }
#endif
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    struct dinm_grid grid;
    check_open();
    EXPECT(dinm_grid_open_all(&grid, MPI_COMM_WORLD, 1, NULL) == DINM_OK);
    check_agreement(&grid);
    check_cut();
    check_cut_refused(&grid);
    check_sleep(&grid);
    const size_t chunks[] = {1, 5, 16, 64, (size_t)1 << 30};
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        check_broadcast(&grid, chunks[i]);
        check_gather(&grid, chunks[i]);
    }
    check_memory(&grid);
    dinm_grid_close_all(&grid);
    int status = verdict_all();
    MPI_Finalize();
    return status;
}
