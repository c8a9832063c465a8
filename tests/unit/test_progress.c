/* Progress lines: columns, units of time and rate, when they come, and what a terminal gets. */
#define _XOPEN_SOURCE 700 /* posix_openpt */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "pipeline/progress.h"

static void expect_line(size_t n_total, size_t n_before, size_t n_done, double s, bool last,
                        const char *expected)
{
    char room[DINM_PROGRESS_ROOM];
    struct dinm_progress p;
    dinm_progress_begin(&p, "locate", "cases", n_total, n_before, 0, true);
    dinm_progress_line(&p, n_done, p.start_s + s, last, room);
    assert_string_equal(room, expected);
}

static void test_last_lines(void **state)
{
    (void)state;
    expect_line(36, 0, 36, 1.2, true, "locate        36 cases           1.2 s     30.0/s");
    expect_line(1350, 0, 1350, 98.0, true, "locate      1350 cases          98.0 s     13.8/s");
    expect_line(36, 12, 36, 1.2, true,
                "locate        36 cases           1.2 s     20.0/s   (12 done before)");
    expect_line(36, 36, 36, 0.0, true,
                "locate        36 cases           0.0 s              (36 done before)");
    expect_line(36, 0, 12, 2.0, true, "locate  12 of 36 cases           2.0 s      6.0/s");
    expect_line(0, 0, 0, 0.0, true, "locate         0 cases           0.0 s");
    expect_line(1, 0, 1, 0.5, true, "locate         1 case            0.5 s      2.0/s");
    /* Never one hundred seconds, never sixty minutes. */
    expect_line(500, 0, 500, 99.96, true, "locate       500 cases      1 min 40 s      5.0/s");
    expect_line(500, 0, 500, 725.0, true, "locate       500 cases     12 min 05 s   41.4/min");
    expect_line(500, 0, 500, 3599.6, true, "locate       500 cases      1 h 00 min    8.3/min");
    expect_line(50, 0, 50, 11220.0, true, "locate        50 cases      3 h 07 min     16.0/h");
    expect_line(50, 0, 50, 7199.0, true, "locate        50 cases      2 h 00 min     25.0/h");
    expect_line(5000, 0, 5000, 0.5, true, "locate      5000 cases           0.5 s    10000/s");
}

static void test_live_lines(void **state)
{
    (void)state;
    expect_line(36, 0, 0, 0.1, false, "locate         0 of 36 cases           0.1 s");
    expect_line(36, 0, 12, 2.0, false,
                "locate        12 of 36 cases           2.0 s      6.0/s   4.0 s left");
    /* The rate is that of this run, not that of what was done before. */
    expect_line(36, 6, 12, 2.0, false,
                "locate        12 of 36 cases           2.0 s      3.0/s   8.0 s left");
    expect_line(36, 0, 36, 2.0, false, "locate        36 of 36 cases           2.0 s     18.0/s");
    expect_line(100000, 0, 1, 2.0, false,
                "locate     1 of 100000 cases           2.0 s   30.0/min   55 h 33 min left");
}

/* Five last lines have their columns one below the other. */
static void test_table(void **state)
{
    (void)state;
    const char *const names[] = {"locate", "vanilla", "edit", "judge", "report"};
    const char *const nouns[] = {"cases", "prompts", "cases", "responses", "files"};
    char rooms[5][DINM_PROGRESS_ROOM];
    for (size_t i = 0; i < 5; i++) {
        struct dinm_progress p;
        size_t n = (size_t)1 << (4 * i);
        dinm_progress_begin(&p, names[i], nouns[i], n, 0, 0, true);
        dinm_progress_line(&p, n, p.start_s + 0.3 * (double)n, true, rooms[i]);
        assert_int_equal(strlen(rooms[i]), strlen(rooms[0]));
        assert_int_equal(rooms[i][strlen(rooms[i]) - 1], 's');
        assert_memory_equal(rooms[i] + 8 + 8, " ", 1);
    }
}

/* Runs begin, `n_updates` updates pause_ns apart, end, with stderr going to `fd`. */
static void run(int fd, int rank, bool quiet, int n_updates, long pause_ns)
{
    struct dinm_progress p;
    int old = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
    dinm_progress_begin(&p, "edit", "cases", 100, 0, rank, quiet);
    for (int i = 0; i < n_updates; i++) {
        nanosleep(&(struct timespec){.tv_nsec = pause_ns}, NULL);
        dinm_progress_update(&p, (size_t)i);
    }
    p.last_s -= 10.0;
    dinm_progress_update(&p, 99);
    dinm_progress_end(&p, 100);
    dup2(old, STDERR_FILENO);
    close(old);
}

static size_t count(const char *text, char c)
{
    size_t n = 0;
    for (; *text != '\0'; text++) {
        n += *text == c;
    }
    return n;
}

static void test_plain(void **state)
{
    (void)state;
    int ends[2];
    char text[4096];
    assert_int_equal(pipe(ends), 0);
    run(ends[1], 0, false, 20, 20000000);
    ssize_t n = read(ends[0], text, sizeof text - 1);
    assert_true(n > 0);
    text[n] = '\0';
    assert_int_equal(count(text, '\n'), 2); /* one after ten seconds, and the last */
    assert_int_equal(count(text, '\r'), 0);
    assert_int_equal(count(text, '\033'), 0);
    assert_non_null(strstr(text, "99 of 100 cases"));
    assert_non_null(strstr(text, "edit         100 cases"));

    /* Quiet, or not rank 0: nothing. */
    run(ends[1], 0, true, 3, 1);
    run(ends[1], 1, false, 3, 1);
    assert_int_equal(write(ends[1], "!", 1), 1);
    assert_int_equal(read(ends[0], text, sizeof text), 1);
    close(ends[0]);
    close(ends[1]);
}

static void test_terminal(void **state)
{
    (void)state;
    char text[4096];
    int screen = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(screen >= 0);
    assert_int_equal(grantpt(screen), 0);
    assert_int_equal(unlockpt(screen), 0);
    int tty = open(ptsname(screen), O_RDWR | O_NOCTTY);
    assert_true(tty >= 0);
    run(tty, 0, false, 30, 20000000); /* 0.6 s: five or six times a line, and one more at the end */
    size_t n = 0;
    do { /* the screen's side gives what there is, in parts */
        ssize_t more = read(screen, text + n, sizeof text - 1 - n);
        assert_true(more > 0);
        n += (size_t)more;
        text[n] = '\0';
    } while (strchr(text, '\n') == NULL);
    size_t n_lines = count(text, '\033');
    assert_in_range(n_lines, 3, 8);
    /* Each line but the last ends with a carriage return alone; the terminal makes the newline of
     * the last a pair. */
    assert_int_equal(count(text, '\n'), 1);
    assert_int_equal(count(text, '\r'), n_lines);
    assert_string_equal(text + n - 2, "\r\n");
    close(tty);
    close(screen);
}

static void test_clock(void **state)
{
    (void)state;
    double before_s = dinm_now_s();
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    double passed_s = dinm_now_s() - before_s;
    assert_true(passed_s >= 0.0199 && passed_s < 5.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_lines), cmocka_unit_test(test_live_lines),
        cmocka_unit_test(test_table),      cmocka_unit_test(test_plain),
        cmocka_unit_test(test_terminal),   cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
