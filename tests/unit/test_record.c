/* Unit tests of pipeline/record.h: payloads there and back, failures, units that are missing. */
#include <fcntl.h>
#include "faults.h"
#include "io/json.h"
#include "pipeline/journal_record.h"
#include "pipeline/record.h"

/* A sink for units 2 and 5 of phase edit, over a journal file in a folder of its own. */
struct world {
    struct dinm_journal journal;
    struct dinm_phase_plan plan;
    struct dinm_sink sink;
    char *folder;
    const char *reason;
};
static const size_t units[] = {2, 5};

static void world_open(struct world *w)
{
    *w = (struct world){.folder = new_folder(), .reason = "why"};
    w->journal.path = dinm_path_join(w->folder, "log", NULL);
    w->journal.fd = open(w->journal.path, O_RDWR | O_CREAT | O_EXCL, 0600);
    assert_true(w->journal.fd >= 0);
    w->plan.units = (struct dinm_phase_units){.phase = DINM_EDIT, .n_units = 6};
    w->sink = (struct dinm_sink){
        .journal = &w->journal, .plan = &w->plan, .units = units, .n_units = 2};
}

static void world_close(struct world *w)
{
    close(w->journal.fd);
    free(w->journal.path);
    dinm_buffer_free(&w->journal.fresh);
    remove_folder(w->folder);
}

/* What stands in the journal's file behind `at`, as a text of its own. */
static char *next_payload(const struct world *w, size_t *at, uint64_t unit)
{
    struct dinm_journal_record r;
    char bytes[8192];
    ssize_t n = pread(w->journal.fd, bytes, sizeof bytes, 0);

    assert_true(n > 0);
    assert_int_equal(dinm_journal_record_next(bytes, (size_t)n, at, &r), DINM_JOURNAL_RECORD_GOOD);
    assert_int_equal(r.phase, DINM_EDIT);
    assert_true(r.unit == unit);
    return dinm_copy_text(r.payload, r.n_bytes, NULL);
}

static void a_reason_comes_back(void **state)
{
    static const char *const reasons[] = {"the \"loss\"\n\tof layer 3 \\ is no number", "l\xc3\xa4"
                                                                                        "uft"};
    struct world w;
    size_t at = 0;

    (void)state;
    world_open(&w);
    for (size_t i = 0; i < 2; i++) {
        struct dinm_error err = {0};
        struct dinm_records records = {.n_units = 1};
        char *payload;
        cJSON *tree = NULL;

        assert_ok(dinm_record_put_failure(&w.sink, units[i], &err, "%s (%d)", reasons[i], 7), &err);
        assert_int_equal(w.sink.n_put, i + 1);
        payload = next_payload(&w, &at, units[i]);
        records.payloads = &payload;
        assert_ok(dinm_record_parse(&records, 0, &tree, &err), &err);
        assert_memory_equal(dinm_record_failure(tree), reasons[i], strlen(reasons[i]));
        assert_string_equal(dinm_record_failure(tree) + strlen(reasons[i]), " (7)");
        cJSON_Delete(tree);
        free(payload);
    }
    world_close(&w);
}

/* A success has no reason, whatever stands under that name inside of it. */
static void other_payloads_have_no_reason(void **state)
{
    static char payload[] = "{\"layer\": 3, \"answers\": [{\"failed\": \"no\"}]}";
    char *payloads[] = {payload};
    const struct dinm_records records = {.payloads = payloads, .n_units = 1};
    struct dinm_error err = {0};
    cJSON *tree = NULL;

    (void)state;
    assert_ok(dinm_record_parse(&records, 0, &tree, &err), &err);
    assert_null(dinm_record_failure(tree));
    cJSON_Delete(tree);
}

static void missing_and_broken_units_are_errors(void **state)
{
    static char broken[] = "{\"layer\": ";
    char *payloads[] = {NULL, broken};
    const struct dinm_records records = {.payloads = payloads, .n_units = 2};
    static const char *const parts[] = {"no record of unit 0", "the journal",
                                        "no record of unit 2"};

    (void)state;
    for (size_t unit = 0; unit < 3; unit++) {
        struct dinm_error err = {0};
        cJSON *tree = NULL;

        assert_failed(dinm_record_parse(&records, unit, &tree, &err), DINM_FAILED, &err,
                      parts[unit]);
        assert_null(tree);
    }
}

static void units_not_handed_out_are_refused(void **state)
{
    struct world w;
    struct dinm_error err = {0};

    (void)state;
    world_open(&w);
    assert_failed(dinm_record_put_failure(&w.sink, 3, &err, "why"), DINM_FAILED, &err, "unit 3");
    assert_int_equal(w.sink.n_put, 0);
    assert_int_equal(lseek(w.journal.fd, 0, SEEK_END), 0);
    world_close(&w);
}

static int put_once(void *context, struct dinm_error *err)
{
    struct world *w = context;

    dinm_buffer_free(&w->journal.fresh);
    return dinm_record_put_failure(&w->sink, 5, err, "%s", w->reason);
}

static void memory_may_run_out(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    fail_each_allocation(put_once, &w);
    assert_int_equal(w.sink.n_put, 1);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reason_comes_back),
        cmocka_unit_test(other_payloads_have_no_reason),
        cmocka_unit_test(missing_and_broken_units_are_errors),
        cmocka_unit_test(units_not_handed_out_are_refused),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
