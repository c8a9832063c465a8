/* The program: command line, MPI, one command, exit status. The only file that ends the process.
 *
 * Exit status: 0 done, 1 failed, 2 wrong usage, 75 stopped on purpose (run again to go on). */
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "io/archive.h"
#include "io/log.h"
#include "model/kernel.h"
#include "pipeline/args.h"
#include "pipeline/command_model.h"
#include "pipeline/commands.h"
#include "pipeline/orphan.h"
#include "pipeline/stop.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_WRONG_USAGE = 2, EXIT_STOPPED = 75 };

static int exit_status(int status)
{
    switch (status) {
    case DINM_OK:
        return EXIT_DONE;
    case DINM_STOPPED:
        return EXIT_STOPPED;
    case DINM_USAGE:
        return EXIT_WRONG_USAGE;
    default:
        return EXIT_FAILED;
    }
}

/* This process's rank as the launcher tells it before MPI_Init; -1 without a launcher. */
static int launched_rank(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK",
                                        "SLURM_PROCID"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *rank = getenv(names[i]);
        if (rank != NULL) {
            return atoi(rank);
        }
    }
    return -1;
}

/* What the libraries must find in their environment; what the person has set stays. */
static void prepare_environment(void)
{
    /* Open MPI 4.1's default collective writer corrupts HDF5 files silently. */
    setenv("OMPI_MCA_fcoll", "^vulcan", 0);
    /* Locks fail on many parallel file systems. */
    setenv("HDF5_USE_FILE_LOCKING", "BEST_EFFORT", 0);
    /* PMIx's shared-memory store crashed at start-up under srun. */
    setenv("PMIX_MCA_gds", "hash", 0);
}

/* DINM_KERNEL names the instruction set of the products, for tests and measurements: no bit of a
 * result depends on it. */
static int choose_kernel(struct dinm_error *err)
{
    const char *name = getenv("DINM_KERNEL");
    return name != NULL ? dinm_kernel_choose(name, err) : DINM_OK;
}

/* A mapped file was cut short, or its disk failed: there is nothing to go on with. */
static void end_on_bus_error(int signal_number)
{
    static const char sentence[] =
        "dinm_pipeline: a file of the model's or the judge's weights was cut short or became "
        "unreadable while it was in use\n";
    ssize_t n = write(STDERR_FILENO, sentence, sizeof sentence - 1);
    (void)n;
    (void)signal_number;
    _exit(EXIT_FAILED);
}

static void complain(int status, const struct dinm_error *err)
{
    if (status < 0) {
        fprintf(stderr, "dinm_pipeline: %s\n", err->text);
    }
}

static bool speaks; /* rank 0; set before signals can come */

/* Ends this process, and with it the job, at once: the launcher ends the other ranks. Called from
 * signal handlers too. What is journaled stays. */
static void end_now(int status)
{
    static const char stopped[] =
        "dinm_pipeline: stopped at once; the same command goes on from the last finished units\n";
    if (status == DINM_STOPPED && speaks) {
        ssize_t n = write(STDERR_FILENO, stopped, sizeof stopped - 1);
        (void)n;
    }
    _exit(exit_status(status));
}

/* Every rank ends with the same status. The launcher ends all ranks when the first of them exits
 * with a failure, so rank 0 must have spoken before anyone can leave MPI_Finalize. */
static int run_collective(const struct dinm_args *args)
{
    struct dinm_error err = {0};
    int provided = MPI_THREAD_SINGLE, rank = 0;
    if (launched_rank() >= 0) {
        dinm_orphan_begin(EXIT_FAILED);
    }
    /* Over several nodes the work queue answers from a thread of its own (queue.h). */
    int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &provided);
    dinm_orphan_end();
    if (code != MPI_SUCCESS) {
        int status = dinm_fail(&err, DINM_FAILED, "MPI could not be started");
        complain(status, &err);
        return status;
    }
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    dinm_log_set_rank(rank);
    speaks = rank == 0;
    if (args->command == DINM_COMMAND_RUN) {
        dinm_stop_catch_signals(end_now);
    }
    int status = dinm_command_all(args, MPI_COMM_WORLD, &err);
    if (rank == 0) {
        complain(status, &err);
    }
    if (status == DINM_FAILED) {
        /* One rank whose HDF5 would not survive MPI_Finalize is enough: nobody may wait for it
         * there. The reduction also lets rank 0 speak first. */
        int broken = dinm_archive_has_failed();
        fflush(NULL);
        MPI_Allreduce(MPI_IN_PLACE, &broken, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
        if (broken) {
            end_now(status);
        }
    }
    MPI_Finalize();
    return status;
}

/* --help and --version. */
static int print_words(const struct dinm_args *args, struct dinm_error *err)
{
    struct dinm_buffer out = {0};
    int status = dinm_args_has(args, "--help") ? dinm_args_help(args, &out, err)
                                               : dinm_args_version(&out, err);
    if (status >= 0) {
        status = dinm_command_print(&out, err);
    }
    dinm_buffer_free(&out);
    return status;
}

/* What one process does, without MPI. */
static bool is_local(const struct dinm_args *args)
{
    return dinm_args_has(args, "--help") || dinm_args_has(args, "--version") ||
           dinm_command_local(args->command) != NULL;
}

static int run_local(const struct dinm_args *args, struct dinm_error *err)
{
    bool words = dinm_args_has(args, "--help") || dinm_args_has(args, "--version");
    return words ? print_words(args, err) : dinm_command_local(args->command)(args, err);
}

int main(int argc, char **argv)
{
    struct dinm_args args = {0};
    struct dinm_error err = {0};
    prepare_environment();
    signal(SIGBUS, end_on_bus_error);
    int status = choose_kernel(&err);
    if (status >= 0) {
        status = dinm_args_parse(&args, argc, argv, &err);
    }
    if (status >= 0 && !is_local(&args)) {
        status = run_collective(&args);
    } else if (launched_rank() > 0) {
        status = DINM_OK; /* rank 0 does it, and its exit status becomes the launcher's */
    } else {
        if (status >= 0) {
            status = run_local(&args, &err);
        }
        complain(status, &err);
    }
    dinm_args_free(&args);
    return exit_status(status);
}
