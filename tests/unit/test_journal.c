/* Records and the journal's folder, one process: every truncation and every flipped bit of a file,
 * repairs, identity, lookup of records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "io/file.h"
#include "io/log.h"
#include "pipeline/journal_folder.h"
#include "pipeline/journal_record.h"

enum { N_RECORDS = 5 };
static char folder[PATH_MAX / 2];

static const char *const payloads[N_RECORDS] = {"{\"layer\": 3}", "", "DJR1DJR1DJR1DJR1",
                                                "{\"text\": \"\xc3\xa4\"}", "0123456789"};

/* Appends the test's records; ends[i] is where the i-th ends. */
static void make_records(struct dinm_buffer *b, size_t ends[N_RECORDS])
{
    for (uint64_t i = 0; i < N_RECORDS; i++) {
        assert_int_equal(dinm_journal_record_append(b, (uint32_t)i % 3, i << 33 | i, payloads[i],
                                                    strlen(payloads[i]), NULL),
                         DINM_OK);
        ends[i] = b->n_bytes;
    }
}

/* How many records are good before the first that is not, and what that one is. */
static size_t count_good(const char *bytes, size_t n_bytes, size_t *at,
                         enum dinm_journal_record_state *state)
{
    struct dinm_journal_record r;
    size_t n = 0;
    *at = 0;
    while ((*state = dinm_journal_record_next(bytes, n_bytes, at, &r)) ==
           DINM_JOURNAL_RECORD_GOOD) {
        if (n < N_RECORDS) {
            assert_int_equal(r.phase, n % 3);
            assert_true(r.unit == ((uint64_t)n << 33 | n));
            assert_int_equal(r.n_bytes, strlen(payloads[n]));
            assert_memory_equal(r.payload, payloads[n], r.n_bytes);
        }
        n++;
    }
    return n;
}

/* The bytes of one record as the header describes them. */
static void test_layout(void **state)
{
    (void)state;
    struct dinm_buffer b = {0};
    const unsigned char head[24] = {'D', 'J', 'R', '1', 2, 0, 0, 0, 8, 7, 6, 5,
                                    4,   3,   2,   1,   3, 0, 0, 0, 0, 0, 0, 0};
    assert_int_equal(dinm_journal_record_append(&b, 2, 0x0102030405060708, "abc", 3, NULL),
                     DINM_OK);
    assert_int_equal(b.n_bytes, 32 + 3 + 8);
    assert_memory_equal(b.data, head, 24);
    assert_memory_equal(b.data + 32, "abc", 3);
    uint64_t digest = dinm_digest(head, 24, 0);
    uint64_t tail = dinm_digest("abc", 3, digest);
    for (int i = 0; i < 8; i++) {
        assert_int_equal((unsigned char)b.data[24 + i], digest >> (8 * i) & 0xff);
        assert_int_equal((unsigned char)b.data[35 + i], tail >> (8 * i) & 0xff);
    }
    dinm_buffer_free(&b);
}

static void test_truncations(void **state)
{
    (void)state;
    struct dinm_buffer b = {0};
    size_t ends[N_RECORDS];
    make_records(&b, ends);
    for (size_t n = 0; n <= b.n_bytes; n++) {
        /* A copy of exactly n bytes, so that a read behind them is seen by the sanitizer. */
        char *cut = malloc(n > 0 ? n : 1);
        assert_non_null(cut);
        memcpy(cut, b.data, n);
        size_t expected = 0, at = 0;
        while (expected < N_RECORDS && ends[expected] <= n) {
            expected++;
        }
        size_t good_end = expected > 0 ? ends[expected - 1] : 0;
        enum dinm_journal_record_state end;
        assert_int_equal(count_good(cut, n, &at, &end), expected);
        assert_int_equal(at, good_end);
        assert_int_equal(end, n == good_end ? DINM_JOURNAL_RECORD_NONE : DINM_JOURNAL_RECORD_TORN);
        free(cut);
    }
    dinm_buffer_free(&b);
}

static void test_flipped_bits(void **state)
{
    (void)state;
    struct dinm_buffer b = {0};
    size_t ends[N_RECORDS];
    make_records(&b, ends);
    for (size_t bit = 0; bit < 8 * b.n_bytes; bit++) {
        size_t hit = 0, at = 0;
        while (ends[hit] <= bit / 8) {
            hit++;
        }
        b.data[bit / 8] = (char)(b.data[bit / 8] ^ (1 << bit % 8));
        enum dinm_journal_record_state end;
        assert_int_equal(count_good(b.data, b.n_bytes, &at, &end), hit);
        /* Only the body of the last record may pass for one that was not written to its end. */
        bool last_body = hit == N_RECORDS - 1 && bit / 8 >= ends[hit - 1] + 32;
        assert_int_equal(end, last_body ? DINM_JOURNAL_RECORD_TORN : DINM_JOURNAL_RECORD_BAD);
        b.data[bit / 8] = (char)(b.data[bit / 8] ^ (1 << bit % 8));
    }
    dinm_buffer_free(&b);
}

static char *path_of(const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int empty_folder(void **state)
{
    (void)state;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] != '.') {
            remove(path_of(entry->d_name));
        }
    }
    closedir(dir);
    return 0;
}

static void write_file(const char *name, const char *bytes, size_t n_bytes)
{
    assert_int_equal(dinm_file_write(path_of(name), bytes, n_bytes, NULL), DINM_OK);
}

static void expect_file(const char *name, const char *bytes, size_t n_bytes)
{
    struct dinm_buffer b = {0};
    assert_int_equal(dinm_file_read(path_of(name), &b, NULL), DINM_OK);
    assert_int_equal(b.n_bytes, n_bytes);
    assert_true(n_bytes == 0 || memcmp(b.data, bytes, n_bytes) == 0);
    dinm_buffer_free(&b);
}

static void read_folder(struct dinm_buffer *known)
{
    struct dinm_error err = {0};
    known->n_bytes = 0;
    assert_int_equal(dinm_journal_folder_read(folder, known, &err), DINM_OK);
    assert_string_equal(err.text, "");
}

/* After any truncation the file ends behind its last good record, and further ones follow it. */
static void test_repair_of_torn_tails(void **state)
{
    (void)state;
    struct dinm_buffer b = {0}, known = {0}, more = {0};
    size_t ends[N_RECORDS];
    make_records(&b, ends);
    for (size_t n = 0; n <= b.n_bytes; n++) {
        size_t good = 0;
        for (size_t i = 0; i < N_RECORDS && ends[i] <= n; i++) {
            good = ends[i];
        }
        write_file("group-000002.log", b.data, n);
        read_folder(&known);
        assert_int_equal(known.n_bytes, good);
        assert_true(good == 0 || memcmp(known.data, b.data, good) == 0);
        expect_file("group-000002.log", b.data, good);
        assert_false(dinm_path_exists(path_of("group-000002.log.damaged")));
    }
    dinm_buffer_free(&b);
    dinm_buffer_free(&known);
    dinm_buffer_free(&more);
}

static void test_repair_of_damage(void **state)
{
    (void)state;
    struct dinm_buffer b = {0}, known = {0};
    size_t ends[N_RECORDS];
    make_records(&b, ends);
    for (size_t at = 0; at < ends[3]; at++) { /* any byte before the last record */
        size_t good = 0;
        for (size_t i = 0; i < N_RECORDS && ends[i] <= at; i++) {
            good = ends[i];
        }
        b.data[at] = (char)~b.data[at];
        write_file("group-000002.log", b.data, b.n_bytes);
        read_folder(&known);
        assert_int_equal(known.n_bytes, good);
        expect_file("group-000002.log", b.data, good);
        expect_file("group-000002.log.damaged", b.data, b.n_bytes);
        remove(path_of("group-000002.log.damaged"));
        read_folder(&known); /* repaired: nothing more to say */
        assert_int_equal(known.n_bytes, good);
        assert_false(dinm_path_exists(path_of("group-000002.log.damaged")));
        b.data[at] = (char)~b.data[at];
    }
    /* What a power failure leaves on some file systems: the length, but zeros. */
    char zeros[100] = {0};
    size_t n = b.n_bytes;
    assert_int_equal(dinm_buffer_append(&b, zeros, sizeof zeros, NULL), DINM_OK);
    write_file("group-000002.log", b.data, b.n_bytes);
    read_folder(&known);
    assert_int_equal(known.n_bytes, n);
    dinm_buffer_free(&b);
    dinm_buffer_free(&known);
}

/* Files count in order of their numbers; other names do not count at all. */
static void test_which_files(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t unit;
        bool counts;
    } files[] = {{"group-000010.log", 10, true},
                 {"group-000002.log", 2, true},
                 {"group-1000000.log", 99, true},
                 {"group-0000003.log", 50, false},
                 {"group-00004.log", 51, false},
                 {"group-000005.log.bak", 52, false},
                 {"group-000006.log.damaged", 53, false},
                 {"xgroup-000007.log", 54, false},
                 {"group-.log", 55, false},
                 {"group--00008.log", 56, false},
                 {"group-99999999999999999999.log", 57, false}};
    const uint64_t order[] = {2, 10, 99};
    struct dinm_buffer b = {0}, known = {0};
    enum { N_FILES = sizeof files / sizeof *files };
    for (size_t i = 0; i < N_FILES; i++) {
        b.n_bytes = 0;
        assert_int_equal(dinm_journal_record_append(&b, 0, files[i].unit, "x", 1, NULL), DINM_OK);
        write_file(files[i].name, b.data, b.n_bytes);
    }
    read_folder(&known);
    struct dinm_journal_record r;
    size_t at = 0, n = 0;
    while (dinm_journal_record_next(known.data, known.n_bytes, &at, &r) ==
           DINM_JOURNAL_RECORD_GOOD) {
        assert_true(n < 3 && r.unit == order[n]);
        n++;
    }
    assert_int_equal(n, 3);

    /* Starting over removes just these, their damaged copies and the identity. */
    write_file("id.json", "{}", 2);
    write_file("lock", "", 0);
    assert_int_equal(dinm_journal_folder_clear(folder, NULL), DINM_OK);
    assert_int_equal(dinm_journal_folder_clear(folder, NULL), DINM_OK);
    for (size_t i = 0; i < N_FILES; i++) {
        bool gone = files[i].counts || strstr(files[i].name, ".damaged") != NULL;
        assert_int_equal(dinm_path_exists(path_of(files[i].name)), !gone);
    }
    assert_false(dinm_path_exists(path_of("id.json")));
    assert_true(dinm_path_exists(path_of("lock")));
    dinm_buffer_free(&b);
    dinm_buffer_free(&known);
}

static void test_identity(void **state)
{
    (void)state;
    struct dinm_journal_part parts[] = {{"settings", 1}, {"cases", 0xfedcba9876543210}};
    const struct dinm_identity id = {.parts = parts, .n_parts = 2};
    struct dinm_error err = {0};
    struct dinm_buffer b = {0};
    assert_int_equal(dinm_journal_folder_identify(folder, "out", &id, &err), DINM_OK);
    assert_int_equal(dinm_file_read(path_of("id.json"), &b, NULL), DINM_OK);
    assert_non_null(strstr(b.data, "\"settings\": \"0000000000000001\""));
    assert_non_null(strstr(b.data, "\"cases\": \"fedcba9876543210\""));
    assert_int_equal(dinm_journal_folder_identify(folder, "out", &id, &err), DINM_OK);
    parts[0].digest = 2;
    assert_int_equal(dinm_journal_folder_identify(folder, "out", &id, &err), DINM_FAILED);
    assert_string_equal(err.text, "out belongs to another job, which differs in: settings; use "
                                  "--fresh to start over or another --out");
    parts[0].digest = 1;
    /* Every truncation of the identity is refused, not overwritten. */
    for (size_t n = 0; n + 1 < b.n_bytes; n++) {
        err = (struct dinm_error){0};
        write_file("id.json", b.data, n);
        assert_int_equal(dinm_journal_folder_identify(folder, "out", &id, &err), DINM_FAILED);
        assert_non_null(strstr(err.text, "id.json"));
        expect_file("id.json", b.data, n);
    }
    dinm_buffer_free(&b);
}

static void test_lookup(void **state)
{
    (void)state;
    struct dinm_journal j = {.rank = 1, .fd = -1, .lock_fd = -1};
    struct dinm_records r;
    assert_int_equal(dinm_journal_records(&j, DINM_EDIT, 0, &r, NULL), DINM_OK);
    assert_int_equal(r.n_done, 0);
    dinm_records_free(&r);
    assert_int_equal(dinm_journal_records(&j, DINM_EDIT, 4, &r, NULL), DINM_OK);
    assert_true(r.n_done == 0 && r.n_units == 4 && r.payloads[3] == NULL);
    dinm_records_free(&r);

    const struct {
        enum dinm_phase phase;
        uint64_t unit;
        const char *text;
    } known[] = {{DINM_EDIT, 2, "first"},    {DINM_JUDGE, 1, "other phase"},
                 {DINM_EDIT, 0, ""},         {DINM_EDIT, 2, "second"},
                 {DINM_EDIT, 4, "beyond"},   {DINM_EDIT, UINT64_MAX, "far beyond"},
                 {DINM_EDIT, 3, "the last"}, {(enum dinm_phase)77, 1, "unknown phase"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        assert_int_equal(dinm_journal_record_append(&j.known, (uint32_t)known[i].phase,
                                                    known[i].unit, known[i].text,
                                                    strlen(known[i].text), NULL),
                         DINM_OK);
    }
    assert_int_equal(dinm_journal_records(&j, DINM_EDIT, 4, &r, NULL), DINM_OK);
    assert_int_equal(r.n_done, 3);
    assert_string_equal(r.payloads[0], "");
    assert_null(r.payloads[1]);
    assert_string_equal(r.payloads[2], "first");
    assert_string_equal(r.payloads[3], "the last");
    dinm_records_free(&r);
    dinm_buffer_free(&j.known);
}

/* What is said, on rank 0 only, when a unit has two different results, or results have no unit. */
static void test_notices(void **state)
{
    (void)state;
    char name[] = "journal";
    for (int rank = 0; rank < 2; rank++) {
        struct dinm_journal j = {.rank = rank, .fd = -1, .lock_fd = -1, .folder = name};
        struct dinm_records r;
        const char *const texts[] = {"a", "a", "b", "c"};
        for (size_t i = 0; i < 4; i++) {
            assert_int_equal(
                dinm_journal_record_append(&j.known, DINM_EDIT, i < 3 ? 0 : 9, texts[i], 1, NULL),
                DINM_OK);
        }
        fflush(stderr);
        int old = dup(STDERR_FILENO);
        int file = open(path_of("stderr"), O_RDWR | O_CREAT | O_TRUNC, 0600);
        assert_true(old >= 0 && file >= 0);
        dup2(file, STDERR_FILENO);
        int status = dinm_journal_records(&j, DINM_EDIT, 3, &r, NULL);
        dup2(old, STDERR_FILENO);
        close(old);
        close(file);
        assert_int_equal(status, DINM_OK);
        dinm_records_free(&r);
        dinm_buffer_free(&j.known);
        struct dinm_buffer b = {0};
        assert_int_equal(dinm_file_read(path_of("stderr"), &b, NULL), DINM_OK);
        if (rank == 0) {
            assert_non_null(strstr(b.data, "journal holds 1 edit results that differ"));
            assert_non_null(strstr(b.data, "journal holds 1 edit results beyond the 3 units"));
        } else {
            assert_int_equal(b.n_bytes, 0);
        }
        dinm_buffer_free(&b);
    }
}

static void test_unreadable(void **state)
{
    (void)state;
    struct dinm_error err = {0};
    struct dinm_buffer known = {0};
    assert_int_equal(dinm_journal_folder_read("/nowhere/at/all", &known, &err), DINM_FAILED);
    assert_non_null(strstr(err.text, "/nowhere/at/all"));
    err = (struct dinm_error){0};
    int fd = 5;
    assert_int_equal(dinm_journal_folder_lock("/nowhere/at/all", &fd, &err), DINM_FAILED);
    assert_int_equal(fd, -1);
    /* A folder where a file should be. */
    err = (struct dinm_error){0};
    assert_int_equal(mkdir(path_of("group-000000.log"), 0700), 0);
    assert_int_equal(dinm_journal_folder_read(folder, &known, &err), DINM_FAILED);
    assert_non_null(strstr(err.text, "group-000000.log"));
    err = (struct dinm_error){0};
    assert_int_equal(dinm_journal_folder_clear(folder, &err), DINM_FAILED);
    assert_non_null(strstr(err.text, "cannot remove"));
    dinm_buffer_free(&known);
}

int main(void)
{
    const char *parent = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/dinm-test-XXXXXX", parent != NULL ? parent : "/tmp");
    if (mkdtemp(folder) == NULL) {
        return EXIT_FAILURE;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test_setup(test_repair_of_torn_tails, empty_folder),
        cmocka_unit_test_setup(test_repair_of_damage, empty_folder),
        cmocka_unit_test_setup(test_which_files, empty_folder),
        cmocka_unit_test_setup(test_identity, empty_folder),
        cmocka_unit_test(test_lookup),
        cmocka_unit_test_setup(test_notices, empty_folder),
        cmocka_unit_test_setup(test_unreadable, empty_folder),
    };
    dinm_log_set_level(DINM_LOG_NOTICE);
    int n_failed = cmocka_run_group_tests(tests, NULL, NULL);
    empty_folder(NULL);
    rmdir(folder);
    return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
