/* Ring: items arrive whole and in order, however many go which way and in however many pieces; a
 * ring that breaks ends on all ranks with one sentence, whatever is under way. */
#include <limits.h>
#include <time.h>
#include "pipeline/ring.h"
#include "tests/mpi/expect.h"
#include "tests/unit/faults.h"
#include "tests/unit/numbers.h"

enum { N_ITEMS = 400 };

static MPI_Comm comm;
static int rank, size;

/* One item of a storm, known to all ranks. */
struct letter {
    int from, to;
    struct dinm_item_counts n;
    bool finished;
};

static struct letter letter_of(uint64_t seed, uint64_t i)
{
    static const size_t rows[] = {0, 1, 2, 30, 300};
    return (struct letter){.from = (int)pick(seed, 8 * i, (size_t)size),
                           .to = (int)pick(seed, 8 * i + 1, (size_t)size),
                           .n = {pick(seed, 8 * i + 2, 3), pick(seed, 8 * i + 3, 200),
                                 pick(seed, 8 * i + 4, 100), rows[pick(seed, 8 * i + 5, 5)],
                                 pick(seed, 8 * i + 6, 60)},
                           .finished = pick(seed, 8 * i + 7, 3) == 0};
}

/* Bytes of the arrays, a function of the number. */
static void paint(const struct dinm_item *item, uint64_t number)
{
    unsigned char *bytes = (unsigned char *)dinm_item_sequences(item);
    size_t n = (size_t)item->n_bytes - (size_t)(bytes - (const unsigned char *)item);
    for (size_t i = 0; i < n; i++) {
        bytes[i] = (unsigned char)(number * 37 + i * 11 + i / 251);
    }
}

static bool is_painted(const struct dinm_item *item, uint64_t number)
{
    const unsigned char *bytes = (unsigned char *)dinm_item_sequences(item);
    size_t n = (size_t)item->n_bytes - (size_t)(bytes - (const unsigned char *)item), i = 0;
    while (i < n && bytes[i] == (unsigned char)(number * 37 + i * 11 + i / 251)) {
        i++;
    }
    return i == n;
}

static int post(struct dinm_ring *ring, uint64_t seed, uint64_t number, struct dinm_error *err)
{
    struct letter l = letter_of(seed, number);
    struct dinm_item *item = dinm_item_new(DINM_ITEM_READ, l.n, err);
    if (item == NULL) {
        return DINM_FAILED;
    }
    item->task = number;
    item->finished = l.finished;
    paint(item, number);
    return dinm_ring_send(ring, l.to, item, err);
}

/* What came last from each rank, work and results apart. */
static void check_letter(const struct dinm_item *item, uint64_t seed, int64_t (*last)[2])
{
    struct letter l = letter_of(seed, item->task);
    int64_t *before = &last[l.from][item->finished];
    EXPECT(l.to == rank);
    EXPECT(item->n_sequences == l.n.n_sequences && item->n_ids == l.n.n_ids &&
           item->n_values == l.n.n_values && item->n_rows == l.n.n_rows);
    EXPECT(item->finished == l.finished);
    EXPECT((int64_t)item->task > *before);
    EXPECT(is_painted(item, item->task));
    *before = (int64_t)item->task;
}

/* Everyone to everyone: sends its own, takes what is there in between, then the rest. failing: the
 * allocation that fails, 0 for none. */
static int storm(struct dinm_ring *ring, uint64_t seed, uint64_t n, size_t failing,
                 struct dinm_error *err)
{
    int status = DINM_OK;
    int64_t(*last)[2] = items((size_t)size, sizeof *last);
    size_t n_expected = 0;
    memset(last, -1, (size_t)size * sizeof *last);
    fault_set(failing > 0 ? FAULT_MEMORY : FAULT_NONE, failing);
    for (uint64_t i = 0; i < n; i++) {
        struct letter l = letter_of(seed, i);
        n_expected += l.to == rank;
        if (l.from == rank) {
            TRY(post(ring, seed, i, err));
            if (pick(seed + 1, i, 4) == 0) {
                TRY(dinm_ring_progress(ring, err));
            }
        }
    }
    for (; n_expected > 0; n_expected--) {
        struct dinm_item *item;
        TRY(dinm_ring_next(ring, &item, err));
        check_letter(item, seed, last);
        free(item);
    }
    EXPECT(ring->first == NULL && ring->finished == NULL);
out:
    free(last);
    return status;
}

static void check_storms(void)
{
    const size_t chunks[] = {0, 1, 4000, 100000, (size_t)1 << 30};
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        struct dinm_ring ring;
        struct dinm_error err = {0};
        dinm_ring_open(&ring, comm, rank, size, chunks[i]);
        for (uint64_t seed = 10; seed < 13; seed++) { /* one behind the other on the same ring */
            int status = storm(&ring, seed, N_ITEMS, 0, &err);
            EXPECT(dinm_ring_end_all(&ring, status, &err) == DINM_OK);
            EXPECT(err.status == DINM_OK);
            EXPECT(ring.sending == NULL && ring.arriving == NULL && ring.n_ended == 0);
        }
        dinm_ring_close(&ring);
        dinm_ring_close(&ring);
    }
}

/* Both ways at once, each message larger than what MPI takes without its receiver. */
static void check_crossing(void)
{
    struct dinm_ring ring;
    struct dinm_error err = {0};
    int next = (rank + 1) % size, n_back = 0;
    dinm_ring_open(&ring, comm, rank, size, (size_t)1 << 20);
    for (uint64_t i = 0; i < 8; i++) {
        struct dinm_item_counts n = {.n_rows = 1000, .width = 700};
        struct dinm_item *item = dinm_item_new(DINM_ITEM_READ, n, &err);
        item->task = i;
        paint(item, i);
        EXPECT(dinm_ring_send(&ring, next, item, &err) == DINM_OK);
    }
    for (int n_left = 16; n_left > 0; n_left--) { /* 8 from below, and my own 8 come back */
        struct dinm_item *item;
        EXPECT(dinm_ring_next(&ring, &item, &err) == DINM_OK);
        if (item->finished) {
            EXPECT((int)item->task == n_back++ && is_painted(item, item->task));
            free(item);
        } else {
            item->finished = 1;
            EXPECT(dinm_ring_send(&ring, (rank + size - 1) % size, item, &err) == DINM_OK);
        }
    }
    EXPECT(dinm_ring_end_all(&ring, DINM_OK, &err) == DINM_OK);
    EXPECT(ring.n_sent == (size > 1 ? 16 : 0));
    dinm_ring_close(&ring);
}

/* The pieces of items beyond any MPI count cover them without a gap; nothing is allocated. */
static void check_pieces(void)
{
    const size_t chunks[] = {5000, (size_t)1 << 20, (size_t)1 << 30, (size_t)1 << 40};
    const size_t bytes[] = {1,
                            5000,
                            5001,
                            ((size_t)1 << 31) - 1,
                            (size_t)1 << 31,
                            ((size_t)1 << 31) + 1,
                            ((size_t)5 << 31) + 77};
    for (size_t c = 0; c < 4; c++) {
        struct dinm_ring ring;
        dinm_ring_open(&ring, MPI_COMM_NULL, 0, 1, chunks[c]);
        for (size_t b = 0; b < sizeof bytes / sizeof *bytes; b++) {
            size_t n = dinm_ring_n_pieces(&ring, bytes[b]), at = 0, wrong = 0;
            for (size_t i = 0; i < n; i++) {
                size_t begin, length = dinm_ring_piece(&ring, bytes[b], i, &begin);
                wrong += begin != at || length == 0 || length > INT_MAX;
                at += length;
            }
            EXPECT(at == bytes[b]);
            EXPECT(wrong == 0);
            EXPECT(n == 1 || bytes[b] > ring.chunk_bytes);
        }
        dinm_ring_close(&ring);
    }
}

static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The last rank works for 0.4 s; those who wait for its item must sleep. */
static void check_sleep(void)
{
    struct dinm_ring ring;
    struct dinm_error err = {0};
    struct dinm_item *item = NULL;
    dinm_ring_open(&ring, comm, rank, size, 0);
    MPI_Barrier(comm);
    if (rank + 1 == size) {
        nanosleep(&(struct timespec){.tv_nsec = 400000000}, NULL);
        for (int to = 0; to < size; to++) {
            item = dinm_item_new(DINM_ITEM_READ, (struct dinm_item_counts){0}, &err);
            EXPECT(dinm_ring_send(&ring, to, item, &err) == DINM_OK);
        }
    }
    double before_s = cpu_s();
    EXPECT(dinm_ring_next(&ring, &item, &err) == DINM_OK);
    EXPECT(cpu_s() - before_s < 0.15);
    free(item);
    EXPECT(dinm_ring_end_all(&ring, DINM_OK, &err) == DINM_OK);
    dinm_ring_close(&ring);
}

/* Each rank in turn gives up in the middle of a storm; the others wait for items that never come.
 */
static void check_failing(size_t chunk_bytes)
{
    for (int bad = 0; bad < size; bad++) {
        struct dinm_ring ring;
        struct dinm_error err = {0};
        char words[64];
        int status;
        dinm_ring_open(&ring, comm, rank, size, chunk_bytes);
        if (rank == bad) {
            for (uint64_t i = 0; i < N_ITEMS / 2; i++) {
                if (letter_of(77, i).from == rank) {
                    EXPECT(post(&ring, 77, i, &err) == DINM_OK);
                }
            }
            status = dinm_fail(&err, DINM_FAILED, "the disk of rank %d is full", bad);
        } else {
            status = storm(&ring, 77, N_ITEMS, 0, &err);
        }
        status = dinm_ring_end_all(&ring, status, &err);
        snprintf(words, sizeof words, "the disk of rank %d is full", bad);
        EXPECT(status == DINM_FAILED);
        EXPECT_WORDS(err.text, words);
        struct dinm_item *item;
        EXPECT(dinm_ring_next(&ring, &item, &err) == DINM_FAILED); /* and so it stays */
        dinm_ring_close(&ring);
    }
}

/* One rank in turn has no memory for its n-th allocation, until a storm needs no more. */
static void check_memory(int poor, size_t chunk_bytes)
{
    int hit = 1;
    for (size_t nth = 1; hit && n_failures == 0; nth += 1 + nth / 8) {
        struct dinm_ring ring;
        struct dinm_error err = {0};
        dinm_ring_open(&ring, comm, rank, size, chunk_bytes);
        int status = storm(&ring, 5, 60, rank == poor ? nth : 0, &err);
        hit = rank == poor && fault_end();
        status = dinm_ring_end_all(&ring, status, &err);
        MPI_Bcast(&hit, 1, MPI_INT, poor, comm);
        EXPECT(status == (hit ? DINM_FAILED : DINM_OK));
        if (hit) {
            EXPECT_WORDS(err.text, "not enough memory");
        }
        dinm_ring_close(&ring);
        MPI_Allreduce(MPI_IN_PLACE, &n_failures, 1, MPI_INT, MPI_MAX, comm);
    }
}

/* Started with the word "large": one item beyond 2^31 bytes goes to the next rank and is looked at.
 */
static void check_large(void)
{
    struct dinm_ring ring;
    struct dinm_error err = {0};
    struct dinm_item *item;
    const struct dinm_item_counts n = {.n_rows = 540000, .width = 1000};
    dinm_ring_open(&ring, comm, rank, size, (size_t)1 << 30);
    if (rank == 0) {
        item = dinm_item_new(DINM_ITEM_READ, n, &err);
        paint(item, 3);
        EXPECT(item->n_bytes > (uint64_t)INT_MAX);
        EXPECT(dinm_ring_send(&ring, size - 1, item, &err) == DINM_OK);
    }
    if (rank == size - 1) {
        EXPECT(dinm_ring_next(&ring, &item, &err) == DINM_OK);
        EXPECT(is_painted(item, 3));
        free(item);
    }
    EXPECT(dinm_ring_end_all(&ring, DINM_OK, &err) == DINM_OK);
    dinm_ring_close(&ring);
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    if (argc > 1 && strcmp(argv[1], "large") == 0) {
        check_large();
    } else {
        check_storms();
        check_crossing();
        check_pieces();
        check_sleep();
        check_failing(0);
        check_failing((size_t)1 << 30);
        for (int poor = 0; poor < size; poor++) {
            check_memory(poor, 0);
            check_memory(poor, (size_t)1 << 30);
        }
    }
    int status = verdict_all();
    MPI_Comm_free(&comm);
    MPI_Finalize();
    return status;
}
