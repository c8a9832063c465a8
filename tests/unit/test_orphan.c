/* pipeline/orphan: a process whose parent ends is gone soon after, if it was watched then. */
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>
#include "support.h"
#include "pipeline/orphan.h"

/* A child's child that watches, or has stopped to, holds a pipe open; the child ends. Returns
 * whether the pipe is closed within two seconds. */
static bool ends_with_its_parent(bool watched)
{
    int ends[2], ready[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (fork() == 0) {
            close(ends[0]);
            dinm_orphan_begin(1);
            if (!watched) {
                dinm_orphan_end();
            }
            close(ready[1]);
            sleep(4);
            _exit(0);
        }
        char byte;
        close(ready[1]);
        ssize_t n = read(ready[0], &byte, 1); /* ends when the other has begun */
        _exit(n == 0 ? 0 : 1);
    }
    close(ends[1]);
    close(ready[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    struct pollfd look = {.fd = ends[0], .events = POLLIN};
    bool closed = poll(&look, 1, 2000) == 1;
    close(ends[0]);
    close(ready[0]);
    return closed;
}

static void an_orphan_ends(void **state)
{
    (void)state;
    assert_true(ends_with_its_parent(true));
}

static void who_is_no_longer_watched_goes_on(void **state)
{
    (void)state;
    assert_false(ends_with_its_parent(false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_orphan_ends),
        cmocka_unit_test(who_is_no_longer_watched_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
