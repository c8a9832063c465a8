/* Phase: every unit once, whatever the batch; going on after a stop, a failure and with records of
 * other ranks; each rank failing in turn, in each way a rank can fail. */
#include <signal.h>
#include <time.h>
#include "pipeline/phase.h"
#include "pipeline/stop.h"
#include "pipeline/progress.h"
#include "tests/mpi/folder.h"

enum fault { NO_FAULT, FAIL, SIGNAL, TOO_FEW, NOT_ASKED, NO_DISK };

/* What a unit function is to do, and what it did. */
struct script {
    const struct dinm_grid *grid;
    struct dinm_journal *journal;
    enum fault fault;
    int bad_rank;
    long unit_ns;
    int n_calls, n_units;
};

static const struct dinm_journal_part part = {"cases", 7};
static const struct dinm_identity identity = {.parts = &part, .n_parts = 1};
static const char *out; /* the test's folder */

static int put(struct script *s, size_t unit, struct dinm_sink *sink, struct dinm_error *err)
{
    struct dinm_buffer payload = {0};
    int status = dinm_buffer_append_format(&payload, err, "{\"unit\": %zu}", unit);
    if (status == DINM_OK) {
        status = dinm_sink_put(sink, unit, &payload, err);
    }
    s->n_units++;
    dinm_buffer_free(&payload);
    return status;
}

static int do_units(void *context, const size_t *units, size_t n_units, struct dinm_sink *sink,
                    struct dinm_error *err)
{
    struct script *s = context;
    bool bad = s->grid->rank == s->bad_rank;
    s->n_calls++;
    if (s->unit_ns > 0) {
        nanosleep(&(struct timespec){.tv_nsec = s->unit_ns}, NULL);
    }
    for (size_t i = 0; i < n_units; i++) {
        EXPECT(i == 0 || units[i] > units[i - 1]);
        if (bad && s->fault == FAIL) {
            return dinm_fail(err, DINM_FAILED, "unit function broke on rank %d", s->bad_rank);
        }
        if (bad && s->fault == TOO_FEW) {
            continue;
        }
        if (bad && s->fault == NO_DISK && s->journal->fd >= 0) {
            close(s->journal->fd);
        }
        int status = put(s, bad && s->fault == NOT_ASKED ? 1000000 : units[i], sink, err);
        if (status < 0) {
            return status;
        }
    }
    if (bad && s->fault == SIGNAL) {
        raise(SIGUSR1);
    }
    return DINM_OK;
}

static struct dinm_phase_plan plan_for(struct script *s, size_t n_units, size_t batch)
{
    return (struct dinm_phase_plan){.units = {.phase = DINM_EDIT, .n_units = n_units},
                                    .noun = "cases",
                                    .batch = batch,
                                    .run = do_units,
                                    .context = s,
                                    .quiet = true};
}

static int sum_all(int mine)
{
    int sum = 0;
    MPI_Allreduce(&mine, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    return sum;
}

static void expect_complete(const struct dinm_records *records, size_t n_units)
{
    int wrong = 0;
    for (size_t unit = 0; unit < n_units; unit++) {
        char expected[64];
        snprintf(expected, sizeof expected, "{\"unit\": %zu}", unit);
        wrong += records->payloads[unit] == NULL || strcmp(records->payloads[unit], expected) != 0;
    }
    EXPECT(wrong == 0);
    EXPECT(records->n_done == n_units && records->n_units == n_units);
}

static void open_journal(struct dinm_journal *j, const struct dinm_grid *grid, bool fresh)
{
    struct dinm_error err = {0};
    EXPECT(dinm_journal_open_all(j, grid, out, &identity, fresh, &err) == DINM_OK);
    EXPECT(strcmp(err.text, "") == 0);
}

static void check_plain(const struct dinm_grid *grid, size_t n_units, size_t batch)
{
    struct dinm_journal j;
    struct dinm_records records;
    struct dinm_error err = {0};
    struct script s = {.grid = grid, .journal = &j, .bad_rank = -1};
    struct dinm_phase_plan plan = plan_for(&s, n_units, batch);
    struct dinm_phase_time time = {.busy_s = -1.0};
    open_journal(&j, grid, true);
    EXPECT(dinm_phase_run_all(grid, &j, &plan, &records, &time, &err) == DINM_OK);
    expect_complete(&records, n_units);
    EXPECT(time.busy_s >= 0.0 && time.wall_s >= time.busy_s);
    size_t n = batch > 0 ? batch : 1;
    int n_calls = sum_all(s.n_calls);
    EXPECT(sum_all(s.n_units) == (int)n_units);
    EXPECT(n_calls >= (int)((n_units + n - 1) / n) && n_calls <= (int)n_units);
    dinm_records_free(&records);

    /* Done is done: in this run and in the next. */
    for (int again = 0; again < 2; again++) {
        EXPECT(dinm_phase_run_all(grid, &j, &plan, &records, NULL, &err) == DINM_OK);
        expect_complete(&records, n_units);
        EXPECT(sum_all(s.n_units) == (int)n_units);
        dinm_records_free(&records);
        dinm_journal_close(&j);
        MPI_Barrier(MPI_COMM_WORLD);
        open_journal(&j, grid, false);
    }
    dinm_journal_close(&j);
}

/* Puts its phase's own number of each unit. */
static int do_both(void *context, const size_t *units, size_t n_units, struct dinm_sink *sink,
                   struct dinm_error *err)
{
    struct script *s = context;
    int status = DINM_OK;
    size_t n_first = sink->plan->units.n_units;
    for (size_t i = 0; status == DINM_OK && i < n_units; i++) {
        struct dinm_buffer payload = {0};
        if (units[i] >= n_first &&
            ((units[i] - n_first) % 6 == 1 || (units[i] - n_first) % 6 == 2)) {
            EXPECT(i > 0 && units[i - 1] == units[i] - 1);
        }
        status = dinm_buffer_append_format(&payload, err, "{\"unit\": %zu}",
                                           units[i] < n_first ? units[i] : units[i] - n_first);
        status = status == DINM_OK ? dinm_sink_put(sink, units[i], &payload, err) : status;
        s->n_units++;
        dinm_buffer_free(&payload);
    }
    return status;
}

/* Two phases in one go, of which some is done before: records of their own, no unit twice. Of the
 * second, units that are alike go together by threes; every sixth is unlike the one before it. */
static void check_beside(const struct dinm_grid *grid, bool together)
{
    enum { N_EDITS = 37, N_VANILLA = 61, N_BEFORE = 7 };
    struct dinm_journal j;
    struct dinm_records records[2], before;
    struct dinm_error err = {0};
    struct script s = {.grid = grid, .journal = &j, .bad_rank = -1};
    struct dinm_phase_time time[2] = {0};
    double costs[N_VANILLA];
    bool alike[N_VANILLA];
    for (size_t i = 0; i < N_VANILLA; i++) {
        costs[i] = (double)(i % 5);
        alike[i] = i % 6 > 0;
    }
    struct dinm_phase_plan plan = plan_for(&s, N_EDITS, 16);
    open_journal(&j, grid, true);
    for (size_t i = 0; grid->rank == 0 && i < N_BEFORE; i++) {
        char text[64];
        size_t unit = 6 * i + 4; /* alike are those on both sides */
        int n = snprintf(text, sizeof text, "{\"unit\": %zu}", unit);
        EXPECT(dinm_journal_append(&j, DINM_VANILLA, unit, text, (size_t)n, &err) == DINM_OK);
    }
    EXPECT(dinm_journal_exchange_all(&j, grid, &err) == DINM_OK);
    plan.run = do_both;
    plan.units.n_places = 5;
    plan.beside = (struct dinm_phase_units){
        .phase = DINM_VANILLA, .n_units = N_VANILLA, .costs = costs, .alike = alike, .n_alike = 3};
    plan.together = together;
    EXPECT(dinm_phase_run_all(grid, &j, &plan, records, time, &err) == DINM_OK);
    expect_complete(&records[0], N_EDITS);
    expect_complete(&records[1], N_VANILLA);
    EXPECT(sum_all(s.n_units) == N_EDITS + N_VANILLA - N_BEFORE);
    EXPECT(time[0].wall_s > 0.0 && time[1].wall_s > time[0].wall_s);
    EXPECT(dinm_journal_records(&j, DINM_VANILLA, N_VANILLA, &before, &err) == DINM_OK);
    EXPECT(before.n_done == N_VANILLA);
    dinm_records_free(&before);
    dinm_records_free(&records[0]);
    dinm_records_free(&records[1]);
    dinm_journal_close(&j);
}

/* Runs with one rank at fault, then without: the second run does what the first left. */
static void check_fault(const struct dinm_grid *grid, enum fault fault, int bad_rank, int expected,
                        const char *words)
{
    struct dinm_journal j;
    struct dinm_records records;
    struct dinm_error err = {0};
    struct script s = {
        .grid = grid, .journal = &j, .fault = fault, .bad_rank = bad_rank, .unit_ns = 4000000};
    size_t n_units = 20 * (size_t)grid->size;
    struct dinm_phase_plan plan = plan_for(&s, n_units, 2);
    open_journal(&j, grid, true);
    EXPECT(dinm_phase_run_all(grid, &j, &plan, &records, NULL, &err) == expected);
    EXPECT(err.status == expected);
    EXPECT_WORDS(err.text, words);
    EXPECT(records.payloads == NULL);
    int n_first = sum_all(s.n_units);
    EXPECT(n_first < (int)n_units);
    dinm_journal_close(&j);
    MPI_Barrier(MPI_COMM_WORLD);

    dinm_stop_request(0);
    err = (struct dinm_error){0};
    s.fault = NO_FAULT;
    s.n_units = 0;
    open_journal(&j, grid, false);
    EXPECT(dinm_phase_run_all(grid, &j, &plan, &records, NULL, &err) == DINM_OK);
    expect_complete(&records, n_units);
    int n_second = sum_all(s.n_units);
    if (fault == FAIL || fault == SIGNAL || fault == TOO_FEW) { /* nothing lost, nothing doubled */
        EXPECT(n_first + n_second == (int)n_units);
    }
    dinm_records_free(&records);
    dinm_journal_close(&j);
}

static void check_faults(const struct dinm_grid *grid)
{
    for (int bad = 0; bad < grid->size; bad++) {
        char words[64];
        snprintf(words, sizeof words, "unit function broke on rank %d", bad);
        check_fault(grid, FAIL, bad, DINM_FAILED, words);
        check_fault(grid, TOO_FEW, bad, DINM_FAILED, "phase edit gave 0 results for 2 units");
        check_fault(grid, NOT_ASKED, bad, DINM_FAILED, "unit 1000000, which it was not asked for");
        snprintf(words, sizeof words, "group-%06d.log", bad);
        check_fault(grid, NO_DISK, bad, DINM_FAILED, words);
        snprintf(words, sizeof words, " of %d cases done; the same command", 20 * grid->size);
        check_fault(grid, SIGNAL, bad, DINM_STOPPED, words);
    }
}

/* A stop that comes when nothing is left to do is no stop. */
static void check_late_stop(const struct dinm_grid *grid)
{
    struct dinm_journal j;
    struct dinm_records records;
    struct dinm_error err = {0};
    struct script s = {.grid = grid, .journal = &j, .fault = SIGNAL, .bad_rank = 0};
    struct dinm_phase_plan plan = plan_for(&s, 1, 1);
    open_journal(&j, grid, true);
    s.bad_rank = grid->rank; /* whoever gets the one unit */
    EXPECT(dinm_phase_run_all(grid, &j, &plan, &records, NULL, &err) == DINM_OK);
    expect_complete(&records, 1);
    dinm_records_free(&records);
    plan.units.n_units = 3;
    EXPECT(sum_all(dinm_stop_requested()) == 1);
    /* The next phase hears it: one rank's stop is everybody's. */
    if (grid->size == 1) {
        EXPECT(dinm_phase_run_all(grid, &j, &plan, &records, NULL, &err) == DINM_STOPPED);
        EXPECT_WORDS(err.text, "with 1 of 3 cases done");
    }
    dinm_stop_request(0);
    dinm_journal_close(&j);
}

static void check_deadline(const struct dinm_grid *grid)
{
    struct dinm_journal j;
    struct dinm_records records;
    struct dinm_error err = {0};
    struct script s = {.grid = grid, .journal = &j, .bad_rank = -1, .unit_ns = 10000000};
    struct dinm_phase_plan plan = plan_for(&s, 1000, 1);
    open_journal(&j, grid, true);
    plan.deadline_s = dinm_now_s() + 0.1;
    EXPECT(dinm_phase_run_all(grid, &j, &plan, &records, NULL, &err) == DINM_STOPPED);
    EXPECT_WORDS(err.text, "stopped in phase edit with ");
    EXPECT(sum_all(s.n_units) < 1000);
    dinm_journal_close(&j);
}

/* Records of more ranks than there are now count as done. */
static void check_other_ranks(const struct dinm_grid *grid)
{
    struct dinm_journal j;
    struct dinm_records records;
    struct dinm_error err = {0};
    struct script s = {.grid = grid, .journal = &j, .bad_rank = -1};
    struct dinm_phase_plan plan = plan_for(&s, 30, 4);
    open_journal(&j, grid, true);
    if (grid->rank == 0) {
        for (size_t unit = 0; unit < 30; unit += 3) {
            char text[64];
            int n = snprintf(text, sizeof text, "{\"unit\": %zu}", unit);
            EXPECT(dinm_journal_append(&j, DINM_EDIT, unit, text, (size_t)n, &err) == DINM_OK);
        }
        char from[PATH_ROOM], to[PATH_ROOM];
        snprintf(from, sizeof from, "%s/journal/group-000000.log", out);
        snprintf(to, sizeof to, "%s/journal/group-000099.log", out);
        EXPECT(rename(from, to) == 0);
    }
    dinm_journal_close(&j);
    MPI_Barrier(MPI_COMM_WORLD);
    open_journal(&j, grid, false);
    EXPECT(dinm_phase_run_all(grid, &j, &plan, &records, NULL, &err) == DINM_OK);
    expect_complete(&records, 30);
    EXPECT(sum_all(s.n_units) == 20);
    dinm_records_free(&records);
    dinm_journal_close(&j);
}

/* How long 100 units that do nothing take. */
static void show_time(const struct dinm_grid *grid)
{
    struct dinm_journal j;
    struct dinm_records records;
    struct dinm_error err = {0};
    struct script s = {.grid = grid, .journal = &j, .bad_rank = -1};
    struct dinm_phase_plan plan = plan_for(&s, 100, 1);
    plan.quiet = false;
    open_journal(&j, grid, true);
    for (int phase = 0; phase < 3; phase++) {
        plan.units.phase = (enum dinm_phase)phase;
        MPI_Barrier(MPI_COMM_WORLD);
        double start_s = dinm_now_s();
        EXPECT(dinm_phase_run_all(grid, &j, &plan, &records, NULL, &err) == DINM_OK);
        if (grid->rank == 0) {
            fprintf(stderr, "100 trivial units at %d ranks: %.3f s\n", grid->size,
                    dinm_now_s() - start_s);
        }
        dinm_records_free(&records);
    }
    dinm_journal_close(&j);
}

static void check_all(const struct dinm_grid *grid)
{
    check_plain(grid, 0, 1);
    check_plain(grid, 1, 1);
    check_plain(grid, 41, 1);
    check_plain(grid, 41, 3);
    check_plain(grid, 12, 100);
    check_plain(grid, 5, 0);
    check_beside(grid, false);
    check_beside(grid, true);
    check_other_ranks(grid);
    check_deadline(grid);
    check_late_stop(grid);
    if (grid->size <= 8) {
        check_faults(grid);
    }
}

int main(int argc, char **argv)
{
    char folder[FOLDER_ROOM];
    int provided = 0;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
    struct dinm_grid grid;
    dinm_stop_catch_signals(NULL);
    make_folder_all(folder);
    out = folder;
    EXPECT(dinm_grid_open_all(&grid, MPI_COMM_WORLD, 1, NULL) == DINM_OK);
    if (getenv("DINM_TEST_TIMES") != NULL) {
        show_time(&grid);
    }
    check_all(&grid);
    /* As over several nodes: rank 0 answers from a thread, or between its units. */
    struct dinm_grid apart = grid;
    apart.node_size = 0;
    check_all(&apart);
    apart.mpi_threads = MPI_THREAD_SINGLE;
    check_all(&apart);
    dinm_grid_close_all(&grid);
    remove_folder_all(folder);
    int status = verdict_all();
    MPI_Finalize();
    return status;
}
