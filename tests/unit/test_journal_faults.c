/* The journal of one rank with the first, second, ... allocation or system call failing: the
 * failure is told, and what was acknowledged is there when the journal is opened again. */
#include "faults.h"
#include <mpi.h>
#include "io/log.h"
#include "pipeline/journal.h"
#include "pipeline/phase.h"

enum { N_UNITS = 3 };

struct scene {
    struct dinm_grid grid;
    char *out;
    bool fresh;
    size_t n_acknowledged;
};

static const struct dinm_journal_part part = {"cases", 11};
static const struct dinm_identity identity = {.parts = &part, .n_parts = 1};

static int work(struct scene *s, struct dinm_journal *j, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_records records = {0};
    s->n_acknowledged = 0;
    for (uint64_t unit = 0; unit < N_UNITS; unit++) {
        char text[200];
        memset(text, 'a' + (int)unit, sizeof text);
        TRY(dinm_journal_append(j, DINM_EDIT, unit, text, sizeof text, err));
        s->n_acknowledged++;
    }
    TRY(dinm_journal_exchange_all(j, &s->grid, err));
    TRY(dinm_journal_records(j, DINM_EDIT, N_UNITS, &records, err));
    assert_int_equal(records.n_done, N_UNITS);
out:
    dinm_records_free(&records);
    return status;
}

static int run(void *context, struct dinm_error *err)
{
    struct scene *s = context;
    struct dinm_journal j;
    s->n_acknowledged = 0;
    int status = dinm_journal_open_all(&j, &s->grid, s->out, &identity, s->fresh, err);
    if (status == DINM_OK) {
        status = work(s, &j, err);
    }
    dinm_journal_close(&j);
    return status;
}

/* How many whole and right records the journal holds; opening it must succeed. */
static size_t count_known(const struct scene *s)
{
    struct dinm_journal j;
    struct dinm_records records;
    struct dinm_error err = {0};
    size_t n = 0;
    assert_ok(dinm_journal_open_all(&j, &s->grid, s->out, &identity, false, &err), &err);
    assert_ok(dinm_journal_records(&j, DINM_EDIT, N_UNITS, &records, &err), &err);
    for (size_t unit = 0; unit < N_UNITS; unit++) {
        const char *text = records.payloads[unit];
        if (text != NULL) {
            char letter[2] = {(char)('a' + (int)unit), '\0'};
            assert_int_equal(strlen(text), 200);
            assert_int_equal(strspn(text, letter), 200);
            n++;
        }
    }
    dinm_records_free(&records);
    dinm_journal_close(&j);
    return n;
}

static void test_memory(void **state)
{
    struct scene *s = *state;
    fault_cjson();
    for (int fresh = 1; fresh >= 0; fresh--) {
        s->fresh = fresh != 0;
        fail_each_allocation(run, s);
        assert_int_equal(count_known(s), N_UNITS);
    }
}

static void test_system_calls(void **state)
{
    struct scene *s = *state;
    for (int fresh = 1; fresh >= 0; fresh--) {
        size_t n_failed = 0;
        s->fresh = fresh != 0;
        for (size_t nth = 1;; nth++) {
            struct dinm_error err = {0};
            fault_set(FAULT_SYSTEM, nth);
            int status = run(s, &err);
            bool hit = fault_end();
            assert_true(count_known(s) >= s->n_acknowledged);
            if (!hit) {
                assert_ok(status, &err);
                break;
            }
            /* A failing close behind a read or a sync loses nothing and may pass. */
            if (status != DINM_OK) {
                n_failed++;
                assert_int_equal(status, DINM_FAILED);
                assert_non_null(strstr(err.text, "Input/output error"));
            }
        }
        assert_true(n_failed >= 5);
    }
}

/* A phase of one rank. */
static int put_unit(void *context, const size_t *units, size_t n_units, struct dinm_sink *sink,
                    struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer payload = {0};
    (void)context;
    for (size_t i = 0; i < n_units; i++) {
        payload.n_bytes = 0;
        TRY(dinm_buffer_append_format(&payload, err, "{\"unit\": %zu}", units[i]));
        TRY(dinm_sink_put(sink, units[i], &payload, err));
    }
out:
    dinm_buffer_free(&payload);
    return status;
}

static int run_phase(void *context, struct dinm_error *err)
{
    struct scene *s = context;
    struct dinm_journal j;
    struct dinm_records records = {0};
    const struct dinm_phase_plan plan = {.units = {.phase = DINM_JUDGE, .n_units = 5},
                                         .noun = "responses",
                                         .batch = 2,
                                         .run = put_unit,
                                         .quiet = true};
    int status = dinm_journal_open_all(&j, &s->grid, s->out, &identity, s->fresh, err);
    if (status == DINM_OK) {
        status = dinm_phase_run_all(&s->grid, &j, &plan, &records, NULL, err);
        assert_int_equal(records.n_done, status == DINM_OK ? 5 : 0);
    }
    dinm_records_free(&records);
    dinm_journal_close(&j);
    return status;
}

static void test_phase(void **state)
{
    struct scene *s = *state;
    s->fresh = true;
    fail_each_allocation(run_phase, s);
}

static int open_scene(void **state)
{
    static struct scene s;
    struct dinm_error err = {0};
    assert_ok(dinm_grid_open_all(&s.grid, MPI_COMM_WORLD, 1, &err), &err);
    s.out = new_folder();
    *state = &s;
    return 0;
}

static int close_scene(void **state)
{
    struct scene *s = *state;
    dinm_grid_close_all(&s->grid);
    remove_folder(s->out);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_memory, open_scene, close_scene),
        cmocka_unit_test_setup_teardown(test_system_calls, open_scene, close_scene),
        cmocka_unit_test_setup_teardown(test_phase, open_scene, close_scene),
    };
    MPI_Init(&argc, &argv);
    dinm_log_set_level(DINM_LOG_ERROR);
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    MPI_Finalize();
    return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
