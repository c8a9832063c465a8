/* For MPI tests: a check that is counted and reported with its rank, and one verdict for all. */
#ifndef DINM_TESTS_MPI_EXPECT_H
#define DINM_TESTS_MPI_EXPECT_H

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int n_failures;

static void expect_at(int line, int holds, const char *what)
{
    if (!holds) {
        int rank = 0;
        MPI_Comm_rank(MPI_COMM_WORLD, &rank);
        fprintf(stderr, "line %d, rank %d: not so: %s\n", line, rank, what);
        n_failures++;
    }
}

#define EXPECT(holds) expect_at(__LINE__, (holds) != 0, #holds)

/* The text contains the words. */
#define EXPECT_WORDS(text, words)                                                                  \
    do {                                                                                           \
        EXPECT(strstr((text), (words)) != NULL);                                                   \
        if (strstr((text), (words)) == NULL) {                                                     \
            fprintf(stderr, "    the text is: %s\n", (text));                                      \
        }                                                                                          \
    } while (0)

/* Collective over MPI_COMM_WORLD. 0 if no rank had a failure, otherwise 1, on every rank. */
static int verdict_all(void)
{
    int n = 0;
    MPI_Allreduce(&n_failures, &n, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    return n == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
