/* What the tests of the archive share: a plan, a folder, checks that count. */
#ifndef DINM_TESTS_ARCHIVE_EXAMPLE_H
#define DINM_TESTS_ARCHIVE_EXAMPLE_H

#include <dirent.h>
#include <fcntl.h>
#include <hdf5.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "io/archive.h"
#include "io/dtype.h"
#include "io/mem.h"

enum { N_CASES = 5, N_LAYERS = 3, N_STEPS = 4, D_MODEL = 64, N_SAMPLES = 2 * N_CASES };

static int rank, size, n_bad;
static char folder[512];

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "rank %d, line %d: %s\n", rank, __LINE__, #condition);                 \
            n_bad++;                                                                               \
        }                                                                                          \
    } while (0)

static const int64_t case_ids[N_CASES] = {11, 12, 40, 7, 1000000007};
static const char *const categories[N_CASES] = {"physical harm", "Political Sensitivity", "a",
                                                "d\xc3\xa9mo", "a"};
/* the first sample is longer than one transfer of a full archive, one is empty */
static const int64_t n_tokens[N_SAMPLES] = {20000, 3, 1, 5, 2, 0, 4, 4, 1, 2};
static int32_t tokens[20022];

static inline struct dinm_archive_plan make_plan(const char *position, bool half)
{
    struct dinm_archive_plan plan = {.n_cases = N_CASES,
                                     .n_layers = N_LAYERS,
                                     .d_model = D_MODEL,
                                     .n_steps = N_STEPS,
                                     .hidden = true,
                                     .half = half,
                                     .full = strcmp(position, "full") == 0,
                                     .position = position,
                                     .case_ids = case_ids,
                                     .categories = categories,
                                     .n_tokens = n_tokens,
                                     .tokens = tokens,
                                     .model = "tiny \"model\"",
                                     .digest = "0123456789abcdef",
                                     .version = "1.2.3",
                                     .settings = "{\"edit\": {\"lr\": 5e-4}}"};
    return plan;
}

static inline void path_of(char *path, size_t n, const char *name)
{
    snprintf(path, n, "%s/%s.h5", folder, name);
}

static inline bool everything_closed(void)
{
    return H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL) == 0;
}

static inline void remove_folder(void)
{
    DIR *dir = opendir(folder);
    char path[1024];
    for (struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.') {
            CHECK(strstr(entry->d_name, ".new") == NULL);
            unlink(path);
        }
    }
    if (dir) {
        closedir(dir);
    }
    rmdir(folder);
}

static inline void begin(int argc, char **argv)
{
    setenv("OMPI_MCA_fcoll", "^vulcan", 0);
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    snprintf(folder, sizeof folder, "%s", argc > 1 ? argv[1] : "/tmp/mpi_archive_XXXXXX");
    if (argc < 2 && rank == 0) {
        CHECK(mkdtemp(folder) != NULL);
    }
    MPI_Bcast(folder, (int)sizeof folder, MPI_CHAR, 0, MPI_COMM_WORLD);
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        tokens[i] = (int32_t)(i * 7 % 32000);
    }
}

/* The exit status, the same on every rank. A folder that was given stays. */
static inline int end(int argc)
{
    MPI_Barrier(MPI_COMM_WORLD);
    if (argc < 2 && rank == 0) {
        remove_folder();
    }
    MPI_Allreduce(MPI_IN_PLACE, &n_bad, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    MPI_Finalize();
    return n_bad ? 1 : 0;
}

#endif
