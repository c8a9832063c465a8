/* io/file: whole files or none, whichever call fails. */
#include <unistd.h>
#include "faults.h"
#include <xxhash.h>

static void expect_text(const char *path, const char *wanted)
{
    struct dinm_buffer b = {0};
    struct dinm_error err = {0};

    assert_ok(dinm_file_read(path, &b, &err), &err);
    assert_non_null(b.data);
    assert_string_equal(b.data, wanted);
    assert_int_equal(b.n_bytes, strlen(wanted));
    dinm_buffer_free(&b);
}

static void what_is_written_is_read(void **state)
{
    static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 1000000};
    char *folder = new_folder();
    char *path = dinm_path_join(folder, "f", NULL);

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct dinm_error err = {0};
        struct dinm_buffer b = {0};
        struct dinm_map map = {0};
        unsigned char *bytes = dinm_alloc(sizes[i], 1, "bytes", &err);
        uint64_t digest = 1;

        for (size_t k = 0; k < sizes[i]; k++) {
            bytes[k] = (unsigned char)(k * 31 + k / 256);
        }
        assert_ok(dinm_file_write(path, bytes, sizes[i], &err), &err);
        assert_int_equal(count_names(folder), 1);
        assert_ok(dinm_buffer_append_text(&b, "before", &err), &err);
        assert_ok(dinm_file_read(path, &b, &err), &err);
        assert_int_equal(b.n_bytes, 6 + sizes[i]);
        assert_memory_equal(b.data, "before", 6);
        assert_memory_equal(b.data + 6, bytes, sizes[i]);
        assert_ok(dinm_map_open(&map, path, &err), &err);
        assert_int_equal(map.n_bytes, sizes[i]);
        assert_true((map.data == NULL) == (sizes[i] == 0));
        assert_true(sizes[i] == 0 || memcmp(map.data, bytes, sizes[i]) == 0);
        assert_ok(dinm_file_digest(path, &digest, &err), &err);
        assert_true(digest == XXH64(bytes, sizes[i], 0));
        assert_true(digest == dinm_digest(bytes, sizes[i], 0));
        dinm_map_close(&map);
        dinm_map_close(&map);
        dinm_buffer_free(&b);
        free(bytes);
    }
    dinm_map_close(NULL);
    free(path);
    remove_folder(folder);
}

static void digest_is_the_published_one(void **state)
{
    (void)state;
    assert_true(dinm_digest("", 0, 0) == 0xEF46DB3751D8E999u);
    assert_true(dinm_digest("a", 1, 0) == 0xD24EC4F1A98C6E5Bu);
}

static void wrong_paths_are_named(void **state)
{
    char *folder = new_folder();
    char *missing = dinm_path_join(folder, "missing/file", NULL);
    char *pipe_path = dinm_path_join(folder, "pipe", NULL);
    struct dinm_buffer b = {0};
    struct dinm_map map = {0};
    struct dinm_error err[6] = {{0}};

    (void)state;
    assert_failed(dinm_file_read(missing, &b, &err[0]), DINM_FAILED, &err[0], missing);
    assert_failed(dinm_file_read(folder, &b, &err[1]), DINM_FAILED, &err[1], "Is a directory");
    assert_failed(dinm_map_open(&map, missing, &err[2]), DINM_FAILED, &err[2], missing);
    assert_failed(dinm_map_open(&map, folder, &err[3]), DINM_FAILED, &err[3], "regular file");
    assert_failed(dinm_file_write(missing, "x", 1, &err[4]), DINM_FAILED, &err[4], missing);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    assert_failed(dinm_map_open(&map, pipe_path, &err[5]), DINM_FAILED, &err[5], "regular file");
    assert_int_equal(b.n_bytes, 0);
    assert_null(map.data);
    dinm_buffer_free(&b);
    free(pipe_path);
    free(missing);
    remove_folder(folder);
}

static void unfinished_writing_leaves_no_trace(void **state)
{
    char *folder = new_folder();
    char *path = write_text(folder, "f", "old");
    struct dinm_error err = {0};
    struct dinm_writer w = {0};

    (void)state;
    assert_ok(dinm_writer_open(&w, path, &err), &err);
    assert_ok(dinm_writer_append(&w, "new", 3, &err), &err);
    assert_int_equal(count_names(folder), 2);
    expect_text(path, "old");
    dinm_writer_close(&w);
    dinm_writer_close(&w);
    dinm_writer_close(NULL);
    assert_int_equal(count_names(folder), 1);
    expect_text(path, "old");
    free(path);
    remove_folder(folder);
}

/* A process that died may have left a temporary file with our number in its name. */
static void stale_temporary_is_not_touched(void **state)
{
    char *folder = new_folder();
    char *path = dinm_path_join(folder, "f", NULL);
    char stale_name[64];
    char *stale;
    struct dinm_error err = {0};

    (void)state;
    snprintf(stale_name, sizeof stale_name, "f.%ld-0.tmp", (long)getpid());
    stale = dinm_path_join(folder, stale_name, NULL);
    assert_int_equal(symlink(path, stale), 0);
    assert_ok(dinm_file_write(path, "text", 4, &err), &err);
    expect_text(path, "text");
    assert_int_equal(count_names(folder), 2);
    free(stale);
    free(path);
    remove_folder(folder);
}

/* What a killed writer leaves goes; names that only look like it stay. */
static void temporaries_of_the_dead_are_removed(void **state)
{
    static const char *const kept[] = {"f",        "f.tmp",    "f.1-.tmp",    ".1-2.tmp",
                                       "f.-2.tmp", "f1-2.tmp", "f.1-2.tmp.h5"};
    enum { N_KEPT = sizeof kept / sizeof *kept };
    char *folder = new_folder();
    struct dinm_error err = {0};

    (void)state;
    for (size_t i = 0; i < N_KEPT; i++) {
        free(write_text(folder, kept[i], "text"));
    }
    free(write_text(folder, "f.1234567-0.tmp", "te"));
    free(write_text(folder, "job.json.21-17.tmp", ""));
    assert_int_equal(count_names(folder), N_KEPT + 2);
    assert_ok(dinm_folder_clear_temporaries(folder, &err), &err);
    assert_int_equal(count_names(folder), N_KEPT);
    remove_folder(folder);
    assert_ok(dinm_folder_clear_temporaries("/tmp/there is no such folder", &err), &err);
    assert_failed(dinm_folder_clear_temporaries("/proc/self/cmdline", &err), DINM_FAILED, &err,
                  "/proc/self/cmdline");
}

/* Whatever system call fails, the old file or the new one is there, whole, and nothing else. */
static void failing_calls_while_writing(void **state)
{
    char *folder = new_folder();
    size_t n_failed = 0;
    bool hit = true;

    (void)state;
    for (size_t nth = 1; hit; nth++) {
        char *path = write_text(folder, "f", "old");
        struct dinm_error err = {0};
        int status;

        fault_set(FAULT_SYSTEM, nth);
        status = dinm_file_write(path, "new", 3, &err);
        hit = fault_end();
        if (status != DINM_OK) {
            assert_failed(status, DINM_FAILED, &err, folder);
            assert_non_null(strstr(err.text, "Input/output error"));
            n_failed++;
        }
        assert_int_equal(count_names(folder), 1);
        /* open, write, fsync, close, rename; then the folder's open, fsync and close. */
        expect_text(path, nth <= 5 ? "old" : "new");
        assert_int_equal(status, nth <= 7 ? DINM_FAILED : DINM_OK);
        free(path);
    }
    assert_int_equal(n_failed, 7);
    remove_folder(folder);
}

static void failing_calls_while_reading(void **state)
{
    char *folder = new_folder();
    char *path = write_text(folder, "f", "text");
    bool hit = true;

    (void)state;
    for (size_t nth = 1; hit; nth++) {
        struct dinm_buffer b = {0};
        struct dinm_error err = {0};
        int status;

        assert_ok(dinm_buffer_append_text(&b, "kept", &err), &err);
        fault_set(FAULT_SYSTEM, nth);
        status = dinm_file_read(path, &b, &err);
        hit = fault_end();
        if (status == DINM_OK) {
            assert_string_equal(b.data, "kepttext");
        } else {
            assert_failed(status, DINM_FAILED, &err, path);
            assert_string_equal(b.data, "kept");
            assert_int_equal(b.n_bytes, 4);
        }
        /* open, fstat (only a hint), two reads, close. */
        assert_int_equal(status, nth == 1 || nth == 3 || nth == 4 ? DINM_FAILED : DINM_OK);
        dinm_buffer_free(&b);
    }
    free(path);
    remove_folder(folder);
}

static void failing_calls_while_mapping(void **state)
{
    char *folder = new_folder();
    char *path = write_text(folder, "f", "text");
    bool hit = true;

    (void)state;
    for (size_t nth = 1; hit; nth++) {
        struct dinm_map map = {0};
        struct dinm_error err = {0};
        int status;

        fault_set(FAULT_SYSTEM, nth);
        status = dinm_map_open(&map, path, &err);
        hit = fault_end();
        assert_int_equal(status, nth <= 3 ? DINM_FAILED : DINM_OK); /* open, fstat, mmap */
        assert_int_equal(map.data != NULL, status == DINM_OK);
        assert_true(status == DINM_OK || strstr(err.text, path) != NULL);
        dinm_map_close(&map);
    }
    free(path);
    remove_folder(folder);
}

static int write_and_read(void *context, struct dinm_error *err)
{
    struct dinm_buffer b = {0};
    char *path = dinm_path_join(context, "f", err);
    char *deep = dinm_path_join(context, "a/b", err);
    int status = path == NULL || deep == NULL ? DINM_FAILED : DINM_OK;

    TRY(status);
    TRY(dinm_folder_make(deep, err));
    TRY(dinm_file_write(path, "text", 4, err));
    TRY(dinm_file_read(path, &b, err));
out:
    dinm_buffer_free(&b);
    free(path);
    free(deep);
    return status;
}

static void lack_of_memory_is_an_error(void **state)
{
    char *folder = new_folder();

    (void)state;
    fail_each_allocation(write_and_read, folder);
    assert_int_equal(count_names(folder), 2);
    remove_folder(folder);
}

static void folders_are_made(void **state)
{
    static const char *const names[] = {"a/b/c", "a/b/c", "a//d/", "e", ".", "a/../g"};
    char *folder = new_folder();
    char *file = write_text(folder, "file", "");
    struct dinm_error err = {0};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = dinm_path_join(folder, names[i], &err);

        assert_ok(dinm_folder_make(path, &err), &err);
        assert_true(dinm_path_is_folder(path));
        free(path);
    }
    assert_true(dinm_path_exists(file) && !dinm_path_is_folder(file));
    assert_failed(dinm_folder_make(file, &err), DINM_FAILED, &err, file);
    err = (struct dinm_error){0};
    assert_failed(dinm_folder_make("", &err), DINM_FAILED, &err, "empty");
    err = (struct dinm_error){0};
    fault_set(FAULT_SYSTEM, 1);
    assert_failed(dinm_folder_make("/dinm-never-made", &err), DINM_FAILED, &err, "/dinm-never");
    assert_true(fault_end());
    free(file);
    remove_folder(folder);
}

static void paths_are_joined(void **state)
{
    static const char *const rows[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"}, {"/", "b", "/b"}, {"a", "", "a/"}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *path = dinm_path_join(rows[i][0], rows[i][1], NULL);

        assert_string_equal(path, rows[i][2]);
        free(path);
    }
}

/* A file that is cut short while it is mapped: said where it is checked, and a read of a part that
 * is no longer there ends in a sentence, not in a signal. */
static void shrinking_files_are_noticed(void **state)
{
    char *folder = new_folder(), *path = write_text(folder, "f", "0123456789");
    struct dinm_map map = {0};
    struct dinm_buffer part = {0};
    struct dinm_error err = {0};

    (void)state;
    assert_ok(dinm_map_open(&map, path, &err), &err);
    assert_ok(dinm_map_check(&map, path, &err), &err);
    assert_ok(dinm_file_read_part(path, 3, 4, &part, &err), &err);
    assert_string_equal(part.data, "3456");
    assert_int_equal(truncate(path, 5), 0);
    assert_failed(dinm_map_check(&map, path, &err), DINM_FAILED, &err,
                  "had 10 bytes when it was opened and has 5 now");
    err = (struct dinm_error){0};
    assert_failed(dinm_file_read_part(path, 3, 4, &part, &err), DINM_FAILED, &err,
                  "ends at byte 5, where 2 more were expected");
    assert_string_equal(part.data, "3456"); /* what was read before is untouched */
    dinm_map_close(&map);
    dinm_buffer_free(&part);
    remove_folder(folder);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shrinking_files_are_noticed),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(digest_is_the_published_one),
        cmocka_unit_test(wrong_paths_are_named),
        cmocka_unit_test(unfinished_writing_leaves_no_trace),
        cmocka_unit_test(stale_temporary_is_not_touched),
        cmocka_unit_test(temporaries_of_the_dead_are_removed),
        cmocka_unit_test(failing_calls_while_writing),
        cmocka_unit_test(failing_calls_while_reading),
        cmocka_unit_test(failing_calls_while_mapping),
        cmocka_unit_test(lack_of_memory_is_an_error),
        cmocka_unit_test(folders_are_made),
        cmocka_unit_test(paths_are_joined),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
