/* Stopping on purpose: what signals do, and when they end the process. */
#include "support.h"

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include "io/status.h"
#include "pipeline/progress.h"
#include "pipeline/stop.h"

static volatile sig_atomic_t n_ends, end_status;

static void note_end(int status)
{
    n_ends++;
    end_status = status;
}

static int begin(void **state)
{
    (void)state;
    n_ends = 0;
    end_status = 0;
    dinm_stop_request(0);
    dinm_stop_catch_signals(note_end);
    return 0;
}

/* Sleeps on through signals. */
static void sleep_s(double s)
{
    const double until = dinm_now_s() + s;
    while (dinm_now_s() < until) {
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}

static void asks_each_signal(void **state)
{
    (void)state;
    const int signals[] = {SIGUSR1, SIGUSR2, SIGXCPU};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        dinm_stop_request(0);
        assert_false(dinm_stop_requested());
        raise(signals[i]);
        assert_true(dinm_stop_requested());
        assert_int_equal(n_ends, 0);
    }
}

/* The launcher and the batch system may both bring one request. */
static void takes_repeats_for_one_request(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        raise(SIGUSR1);
    }
    assert_int_equal(n_ends, 0);
    assert_true(dinm_stop_requested());
}

static void ends_at_the_second_request(void **state)
{
    (void)state;
    raise(SIGUSR1);
    sleep_s(DINM_STOP_SAME_S + 0.1);
    assert_int_equal(n_ends, 0);
    raise(SIGUSR2);
    assert_int_equal(n_ends, 1);
    assert_int_equal(end_status, DINM_STOPPED);
}

static void ends_after_the_grace(void **state)
{
    (void)state;
    dinm_stop_begin(0.3, 0.0);
    raise(SIGUSR1);
    sleep_s(0.1);
    /* A repeat does not begin the grace anew. */
    raise(SIGUSR1);
    assert_int_equal(n_ends, 0);
    sleep_s(0.25);
    assert_int_equal(n_ends, 1);
    assert_int_equal(end_status, DINM_STOPPED);
    dinm_stop_end();
}

static void ends_a_grace_after_the_deadline(void **state)
{
    (void)state;
    dinm_stop_begin(0.1, dinm_now_s() + 0.2);
    sleep_s(0.1);
    assert_int_equal(n_ends, 0);
    sleep_s(0.3);
    assert_int_equal(n_ends, 1);
    dinm_stop_end();
}

static void ends_nothing_after_the_run(void **state)
{
    (void)state;
    dinm_stop_begin(0.1, dinm_now_s());
    dinm_stop_end();
    sleep_s(0.2);
    assert_int_equal(n_ends, 0);
}

static void reads_the_end_of_a_slurm_job(void **state)
{
    (void)state;
    char text[32];
    unsetenv("SLURM_JOB_END_TIME");
    assert_true(dinm_stop_scheduled_s() <= 0.0);
    snprintf(text, sizeof text, "%lld", (long long)time(NULL) + 100);
    setenv("SLURM_JOB_END_TIME", text, 1);
    assert_true(dinm_stop_scheduled_s() > 95.0 && dinm_stop_scheduled_s() <= 100.0);
    setenv("SLURM_JOB_END_TIME", "1", 1);
    assert_true(dinm_stop_scheduled_s() <= 0.0);
    setenv("SLURM_JOB_END_TIME", "99999999999 soon", 1);
    assert_true(dinm_stop_scheduled_s() <= 0.0);
    unsetenv("SLURM_JOB_END_TIME");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(asks_each_signal, begin),
        cmocka_unit_test_setup(takes_repeats_for_one_request, begin),
        cmocka_unit_test_setup(ends_at_the_second_request, begin),
        cmocka_unit_test_setup(ends_after_the_grace, begin),
        cmocka_unit_test_setup(ends_a_grace_after_the_deadline, begin),
        cmocka_unit_test_setup(ends_nothing_after_the_run, begin),
        cmocka_unit_test_setup(reads_the_end_of_a_slurm_job, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
