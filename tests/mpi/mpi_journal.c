/* Journal over ranks: everyone learns everything, another number of ranks reads it, another job is
 * refused, a second run is kept out, damage and full disks cost only what they hit. */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "io/file.h"
#include "pipeline/journal.h"
#include "pipeline/journal_folder.h"
#include "tests/mpi/folder.h"

static const char *out; /* the test's folder */
static const struct dinm_journal_part parts[] = {
    {"settings", 1}, {"model", 2}, {"cases", UINT64_MAX}};
enum { N_PARTS = 3 };
static const struct dinm_identity identity = {.parts = parts, .n_parts = N_PARTS};

static void path_in(char path[PATH_ROOM], const char *name)
{
    snprintf(path, PATH_ROOM, "%s/journal/%s", out, name);
}

static void group_path(char path[PATH_ROOM], int number)
{
    char name[64];
    snprintf(name, sizeof name, "group-%06d.log", number);
    path_in(path, name);
}

static void open_journal(struct dinm_journal *j, const struct dinm_grid *grid, bool fresh)
{
    struct dinm_error err = {0};
    EXPECT(dinm_journal_open_all(j, grid, out, &identity, fresh, &err) == DINM_OK);
    EXPECT(strcmp(err.text, "") == 0);
}

/* Rank r's payload of a unit: lengths from nothing to far above a page. */
static size_t payload_bytes(size_t unit)
{
    return unit % 5 == 0 ? 0 : unit % 7 == 0 ? 100000 : unit;
}

static void append(struct dinm_journal *j, enum dinm_phase phase, size_t unit)
{
    struct dinm_error err = {0};
    size_t n = payload_bytes(unit);
    char *text = dinm_alloc(n + 1, 1, "a test", &err);
    EXPECT(text != NULL);
    memset(text, 'a' + (int)(unit % 26), n);
    EXPECT(dinm_journal_append(j, phase, unit, text, n, &err) == DINM_OK);
    free(text);
}

/* Which of n units of a phase are known and right. */
static size_t count_right(const struct dinm_journal *j, enum dinm_phase phase, size_t n_units)
{
    struct dinm_records r;
    size_t n_right = 0, n_found = 0;
    EXPECT(dinm_journal_records(j, phase, n_units, &r, NULL) == DINM_OK);
    for (size_t unit = 0; unit < n_units; unit++) {
        const char *text = r.payloads[unit];
        if (text != NULL) {
            char letter[2] = {(char)('a' + (int)(unit % 26)), '\0'};
            n_found++;
            n_right += strlen(text) == payload_bytes(unit) && strspn(text, letter) == strlen(text);
        }
    }
    EXPECT(n_found == r.n_done && n_right == n_found);
    dinm_records_free(&r);
    dinm_records_free(&r);
    return n_right;
}

/* All ranks hold the same bytes. */
static void expect_same_known(const struct dinm_journal *j)
{
    uint64_t digest = dinm_digest(j->known.data, j->known.n_bytes, 0), low, high;
    MPI_Allreduce(&digest, &low, 1, MPI_UINT64_T, MPI_MIN, MPI_COMM_WORLD);
    MPI_Allreduce(&digest, &high, 1, MPI_UINT64_T, MPI_MAX, MPI_COMM_WORLD);
    EXPECT(low == high);
}

static void check_exchange(const struct dinm_grid *grid)
{
    struct dinm_journal j, none = {0};
    struct dinm_error err = {0};
    size_t size = (size_t)grid->size, n_units = 6 * size;
    open_journal(&j, grid, true);
    for (size_t i = 0; i < 6; i++) {
        append(&j, i < 3 ? DINM_LOCATE : DINM_JUDGE, i * size + (size_t)grid->rank);
    }
    EXPECT(count_right(&j, DINM_LOCATE, n_units) == 0);
    EXPECT(dinm_journal_exchange_all(&j, grid, &err) == DINM_OK);
    EXPECT(count_right(&j, DINM_LOCATE, n_units) == 3 * size);
    EXPECT(count_right(&j, DINM_JUDGE, n_units) == 3 * size);
    EXPECT(count_right(&j, DINM_EDIT, n_units) == 0);
    expect_same_known(&j);
    /* Only the last rank has something new. */
    if (grid->rank == grid->size - 1) {
        append(&j, DINM_EDIT, 1);
    }
    EXPECT(dinm_journal_exchange_all(&j, grid, &err) == DINM_OK);
    size_t n_known = j.known.n_bytes;
    EXPECT(dinm_journal_exchange_all(&j, grid, &err) == DINM_OK);
    EXPECT(j.known.n_bytes == n_known); /* nothing new, nothing twice */
    EXPECT(count_right(&j, DINM_EDIT, 2) == 1);
    expect_same_known(&j);
    dinm_journal_close(&j);
    dinm_journal_close(&j);
    dinm_journal_close(&none);
    MPI_Barrier(MPI_COMM_WORLD);

    /* The next run, of more ranks than left files here: the file of the last is under a higher
     * number. */
    if (grid->rank == grid->size - 1) {
        char from[PATH_ROOM], to[PATH_ROOM];
        group_path(from, grid->rank);
        group_path(to, 1000000);
        EXPECT(rename(from, to) == 0);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    open_journal(&j, grid, false);
    EXPECT(count_right(&j, DINM_LOCATE, n_units) == 3 * size);
    EXPECT(count_right(&j, DINM_JUDGE, n_units) == 3 * size);
    EXPECT(count_right(&j, DINM_EDIT, 2) == 1);
    expect_same_known(&j);
    dinm_journal_close(&j);
    MPI_Barrier(MPI_COMM_WORLD);
}

static void check_identity(const struct dinm_grid *grid)
{
    struct dinm_journal j;
    struct dinm_error err = {0};
    char path[PATH_ROOM];
    struct dinm_journal_part other[N_PARTS + 1] = {
        {"settings", 1}, {"model", 3}, {"cases", 0}, {"judge", 5}};
    const struct dinm_identity changed = {.parts = other, .n_parts = N_PARTS + 1};
    const struct dinm_identity fewer = {.parts = parts, .n_parts = N_PARTS - 1};
    open_journal(&j, grid, true);
    append(&j, DINM_LOCATE, 1);
    dinm_journal_close(&j);
    MPI_Barrier(MPI_COMM_WORLD);
    EXPECT(dinm_journal_open_all(&j, grid, out, &changed, false, &err) == DINM_FAILED);
    EXPECT_WORDS(err.text, "belongs to another job, which differs in: model, cases, judge; use "
                           "--fresh");
    EXPECT(j.folder == NULL && j.known.data == NULL);
    dinm_journal_close(&j);
    err = (struct dinm_error){0};
    EXPECT(dinm_journal_open_all(&j, grid, out, &fewer, false, &err) == DINM_FAILED);
    EXPECT_WORDS(err.text, "differs in: cases; use");

    /* A fresh start takes over, and leaves alone what is not a journal's. */
    path_in(path, "notes.txt");
    if (grid->rank == 0) {
        EXPECT(dinm_file_write(path, "mine", 4, NULL) == DINM_OK);
    }
    err = (struct dinm_error){0};
    EXPECT(dinm_journal_open_all(&j, grid, out, &changed, true, &err) == DINM_OK);
    EXPECT(j.known.n_bytes == 0);
    EXPECT(dinm_path_exists(path));
    dinm_journal_close(&j);
    MPI_Barrier(MPI_COMM_WORLD);

    /* Records without an identity. */
    if (grid->rank == 0) {
        group_path(path, 0);
        EXPECT(dinm_file_write(path, "", 0, NULL) == DINM_OK);
        path_in(path, "id.json");
        EXPECT(unlink(path) == 0);
    }
    EXPECT(dinm_journal_open_all(&j, grid, out, &identity, false, &err) == DINM_FAILED);
    EXPECT_WORDS(err.text, "no id.json");
    /* An identity that is none. */
    if (grid->rank == 0) {
        EXPECT(dinm_file_write(path, "{\"parts\": 3}", 12, NULL) == DINM_OK);
    }
    err = (struct dinm_error){0};
    EXPECT(dinm_journal_open_all(&j, grid, out, &identity, false, &err) == DINM_FAILED);
    EXPECT_WORDS(err.text, "id.json");
    /* OUT/journal cannot be made. */
    err = (struct dinm_error){0};
    EXPECT(dinm_journal_open_all(&j, grid, path, &identity, false, &err) == DINM_FAILED);
    EXPECT_WORDS(err.text, "id.json");
}

static void check_lock(const struct dinm_grid *grid)
{
    struct dinm_journal j;
    char folder[PATH_ROOM];
    open_journal(&j, grid, true);
    snprintf(folder, sizeof folder, "%s/journal", out);
    for (int held = 1; held >= 0 && grid->rank == 0; held--) {
        pid_t child = fork();
        if (child == 0) { /* a second run */
            int fd = -1;
            struct dinm_error err = {0};
            int status = dinm_journal_folder_lock(folder, &fd, &err);
            _exit(status == DINM_OK && fd >= 0                                  ? 0
                  : status == DINM_FAILED && strstr(err.text, "in use") != NULL ? 1
                                                                                : 2);
        }
        int result = 0;
        EXPECT(child > 0 && waitpid(child, &result, 0) == child);
        EXPECT(WIFEXITED(result) && WEXITSTATUS(result) == held);
        dinm_journal_close(&j);
    }
    dinm_journal_close(&j);
    MPI_Barrier(MPI_COMM_WORLD);
}

/* Each rank's file in turn is cut within its last record, then damaged in its first. */
static void check_damage(const struct dinm_grid *grid)
{
    struct dinm_journal j;
    char path[PATH_ROOM];
    size_t size = (size_t)grid->size, n_units = 4 * size;
    for (int hit = 0; hit < grid->size && hit < 4; hit++) {
        open_journal(&j, grid, true);
        for (size_t i = 0; i < 4; i++) {
            append(&j, DINM_VANILLA, i * size + (size_t)grid->rank);
        }
        dinm_journal_close(&j);
        MPI_Barrier(MPI_COMM_WORLD);
        group_path(path, hit);
        if (grid->rank == 0) {
            struct dinm_buffer b = {0};
            EXPECT(dinm_file_read(path, &b, NULL) == DINM_OK);
            EXPECT(truncate(path, (off_t)b.n_bytes - 3) == 0);
            dinm_buffer_free(&b);
        }
        open_journal(&j, grid, false);
        EXPECT(count_right(&j, DINM_VANILLA, n_units) == n_units - 1);
        expect_same_known(&j);
        if (grid->rank == hit) { /* the lost unit is done again, behind the good ones */
            append(&j, DINM_VANILLA, 3 * size + (size_t)hit);
        }
        dinm_journal_close(&j);
        MPI_Barrier(MPI_COMM_WORLD);
        open_journal(&j, grid, false);
        EXPECT(count_right(&j, DINM_VANILLA, n_units) == n_units);
        dinm_journal_close(&j);
        MPI_Barrier(MPI_COMM_WORLD);
        if (grid->rank == 0) {
            struct dinm_buffer b = {0};
            EXPECT(dinm_file_read(path, &b, NULL) == DINM_OK);
            b.data[9] ^= 4;
            EXPECT(dinm_file_write(path, b.data, b.n_bytes, NULL) == DINM_OK);
            dinm_buffer_free(&b);
        }
        open_journal(&j, grid, false);
        EXPECT(count_right(&j, DINM_VANILLA, n_units) == n_units - 4);
        dinm_journal_close(&j);
        MPI_Barrier(MPI_COMM_WORLD);
    }
}

/* A disk that is full in the middle of a record of one rank, then has room again. */
static void check_full_disk(const struct dinm_grid *grid)
{
    struct dinm_journal j;
    struct rlimit old, tight;
    struct dinm_error err = {0};
    char text[1000];
    memset(text, 'x', sizeof text);
    signal(SIGXFSZ, SIG_IGN);
    for (int poor = 0; poor < grid->size && poor < 4; poor++) {
        open_journal(&j, grid, true);
        append(&j, DINM_EDIT, 3);
        append(&j, DINM_EDIT, 1);
        getrlimit(RLIMIT_FSIZE, &old);
        tight = old;
        tight.rlim_cur = 500;
        if (grid->rank == poor) {
            setrlimit(RLIMIT_FSIZE, &tight);
            int status = dinm_journal_append(&j, DINM_EDIT, 2, text, sizeof text, &err);
            setrlimit(RLIMIT_FSIZE, &old);
            EXPECT(status == DINM_FAILED);
            EXPECT_WORDS(err.text, "group-");
            append(&j, DINM_EDIT, 4);
            status = dinm_journal_append(&j, DINM_EDIT, 9, "a\0b", 3, &err);
            EXPECT(status == DINM_FAILED);
        }
        err = (struct dinm_error){0};
        EXPECT(dinm_journal_exchange_all(&j, grid, &err) == DINM_OK);
        EXPECT(count_right(&j, DINM_EDIT, 20) == 3);
        dinm_journal_close(&j);
        MPI_Barrier(MPI_COMM_WORLD);
        open_journal(&j, grid, false);
        EXPECT(count_right(&j, DINM_EDIT, 20) == 3);
        dinm_journal_close(&j);
        MPI_Barrier(MPI_COMM_WORLD);
    }
}

/* Each rank in turn cannot sync: all learn it, none goes on into the gather. */
static void check_exchange_failure(const struct dinm_grid *grid)
{
    for (int bad = 0; bad < grid->size && bad < 8; bad++) {
        struct dinm_journal j;
        struct dinm_error err = {0};
        char expected[64];
        open_journal(&j, grid, true);
        append(&j, DINM_EDIT, (size_t)grid->rank);
        if (grid->rank == bad) {
            close(j.fd);
        }
        EXPECT(dinm_journal_exchange_all(&j, grid, &err) == DINM_FAILED);
        snprintf(expected, sizeof expected, "group-%06d.log", bad);
        EXPECT_WORDS(err.text, "cannot sync");
        EXPECT_WORDS(err.text, expected);
        if (grid->rank == bad) {
            j.unsynced = false; /* known: keeps the log of this test quiet */
            j.fd = -1;
        }
        dinm_journal_close(&j);
        MPI_Barrier(MPI_COMM_WORLD);
    }
}

int main(int argc, char **argv)
{
    char folder[FOLDER_ROOM];
    MPI_Init(&argc, &argv);
    struct dinm_grid grid;
    make_folder_all(folder);
    out = folder;
    EXPECT(dinm_grid_open_all(&grid, MPI_COMM_WORLD, 1, NULL) == DINM_OK);
    check_exchange(&grid);
    grid.chunk_bytes = 7001 * (size_t)grid.size; /* many rounds, the last not full */
    check_exchange(&grid);
    grid.chunk_bytes = (size_t)1 << 30;
    check_identity(&grid);
    check_lock(&grid);
    check_damage(&grid);
    check_full_disk(&grid);
    check_exchange_failure(&grid);
    dinm_grid_close_all(&grid);
    remove_folder_all(folder);
    int status = verdict_all();
    MPI_Finalize();
    return status;
}
