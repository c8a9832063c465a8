/* pipeline/limits: /proc and /sys from a folder that looks like them. */
#include "support.h"

#include <math.h>
#include <sys/resource.h>
#include "pipeline/limits.h"

static void put(const char *root, const char *folder, const char *name, const char *text)
{
    struct dinm_buffer path = {0};
    struct dinm_error err = {0};
    assert_ok(dinm_buffer_append_format(&path, &err, "%s%s", root, folder), &err);
    assert_ok(dinm_folder_make(path.data, &err), &err);
    assert_ok(dinm_buffer_append_format(&path, &err, "/%s", name), &err);
    assert_ok(dinm_file_write(path.data, text, strlen(text), &err), &err);
    dinm_buffer_free(&path);
}

static struct dinm_limits limits_of(const char *root)
{
    struct dinm_limits limits;
    dinm_limits_read(&limits, root);
    return limits;
}

static void a_missing_file_limits_nothing(void **state)
{
    (void)state;
    char *root = new_folder();
    struct dinm_limits limits = limits_of(root);
    assert_true(isinf(limits.ram) && isinf(limits.cgroup) && isinf(limits.space));
    put(root, "/proc", "meminfo", "MemTotal:  9 kB\nMemFree: 1 kB\nMemAvailable:   2048 kB\n");
    put(root, "/proc/self", "cgroup", "");
    limits = limits_of(root);
    assert_true(limits.ram == 2048.0 * 1024.0);
    assert_true(isinf(limits.cgroup));
    put(root, "/proc", "meminfo", "MemAvailable: \n");
    assert_true(isinf(limits_of(root).ram));
    remove_folder(root);
}

/* Version 2: the narrowest of the group and those above it; pages of files can go. */
static void groups_are_walked_up(void **state)
{
    (void)state;
    char *root = new_folder();
    put(root, "/proc/self", "cgroup", "0::/job/step\n");
    put(root, "/sys/fs/cgroup/job/step", "memory.max", "max\n");
    assert_true(isinf(limits_of(root).cgroup));
    put(root, "/sys/fs/cgroup/job", "memory.max", "1000000\n");
    assert_true(limits_of(root).cgroup == 1e6);
    put(root, "/sys/fs/cgroup/job", "memory.current", "600000\n");
    assert_true(limits_of(root).cgroup == 4e5);
    put(root, "/sys/fs/cgroup/job", "memory.stat",
        "anon 300000\nfile 300000\ninactive_anon 7\ninactive_file 200000\nactive_file 50000\n");
    assert_true(limits_of(root).cgroup == 6.5e5);
    put(root, "/sys/fs/cgroup/job/step", "memory.max", "2000\n");
    assert_true(limits_of(root).cgroup == 2000.0);
    put(root, "/sys/fs/cgroup/job/step", "memory.current", "3000\n");
    assert_true(limits_of(root).cgroup == 0.0);
    remove_folder(root);
}

/* Version 1, whose "no limit" is a large number; a path that is not there leads to the top. */
static void older_groups_count_too(void **state)
{
    (void)state;
    char *root = new_folder();
    put(root, "/proc/self", "cgroup", "5:devices:/x\n4:memory:/docker/abc\n0::/\n");
    put(root, "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "9223372036854771712\n");
    assert_true(isinf(limits_of(root).cgroup));
    put(root, "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "5000000\n");
    put(root, "/sys/fs/cgroup/memory", "memory.usage_in_bytes", "2000000\n");
    put(root, "/sys/fs/cgroup/memory", "memory.stat",
        "inactive_file 1\ntotal_inactive_file 400000\ntotal_active_file 100000\n");
    assert_true(limits_of(root).cgroup == 3.5e6);
    put(root, "/sys/fs/cgroup/memory/docker/abc", "memory.limit_in_bytes", "1234567\n");
    assert_true(limits_of(root).cgroup == 1234567.0);
    remove_folder(root);
}

static void the_address_space_is_what_is_left_of_it(void **state)
{
    (void)state;
    char *root = new_folder();
    struct rlimit before, narrow;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    narrow = before;
    narrow.rlim_cur = (rlim_t)1 << 46; /* wide enough for the sanitizers */
    put(root, "/proc/self", "status", "Name:\tx\nVmPeak:\t  9 kB\nVmSize:\t    2097152 kB\n");
    if (setrlimit(RLIMIT_AS, &narrow) == 0) {
        assert_true(limits_of(root).space == 0x1p46 - 0x1p31);
        assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    }
    assert_true(isinf(limits_of(root).space) || before.rlim_cur != RLIM_INFINITY);
    remove_folder(root);
}

static void disk_is_that_of_the_nearest_folder(void **state)
{
    (void)state;
    struct dinm_error err = {0};
    double here = 0.0, deep = 0.0, relative = 0.0;
    char *root = new_folder();
    struct dinm_buffer path = {0};
    assert_ok(dinm_buffer_append_format(&path, &err, "%s/not/there/yet", root), &err);
    assert_ok(dinm_limits_disk(&here, root, &err), &err);
    assert_ok(dinm_limits_disk(&deep, path.data, &err), &err);
    assert_ok(dinm_limits_disk(&relative, "not-there", &err), &err);
    assert_true(here > 0.0 && relative > 0.0);
    assert_true(fabs(here - deep) < 0.5 * here); /* others write meanwhile */
    put(root, "", "file", "x");
    path.n_bytes = 0;
    assert_ok(dinm_buffer_append_format(&path, &err, "%s/file/below", root), &err);
    assert_failed(dinm_limits_disk(&deep, path.data, &err), DINM_FAILED, &err, "file/below");
    dinm_buffer_free(&path);
    remove_folder(root);
}

static void own_bytes_grow_with_what_is_touched(void **state)
{
    (void)state;
    enum { BYTES = 32 << 20 };
    double before = dinm_limits_own_bytes();
    unsigned char *bytes = malloc(BYTES);
    assert_non_null(bytes);
    memset(bytes, 1, BYTES);
    double grown = dinm_limits_own_bytes() - before;
    assert_true(bytes[BYTES / 2] == 1);
    assert_true(before == 0.0 || grown > 0.9 * BYTES);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_missing_file_limits_nothing),
        cmocka_unit_test(groups_are_walked_up),
        cmocka_unit_test(older_groups_count_too),
        cmocka_unit_test(the_address_space_is_what_is_left_of_it),
        cmocka_unit_test(disk_is_that_of_the_nearest_folder),
        cmocka_unit_test(own_bytes_grow_with_what_is_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
