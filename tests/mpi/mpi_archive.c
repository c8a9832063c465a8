/* The archive at any number of ranks: created, written by whoever owns a sample, read back value
 * by value, reopened, refused.
 *
 *   mpi_archive            in a temporary folder, which is removed
 *   mpi_archive FOLDER     leaves the files there for tests/golden/archive.py
 *   mpi_archive FOLDER die one rank is killed while the archive is open */
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

static struct dinm_archive_plan make_plan(const char *position, bool half)
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

/* The same in archive.py. */
static float value(size_t row, size_t layer, size_t i)
{
    return (float)((double)((row * 1009 + layer * 131 + i * 17) % 9973) / 997.0 - 5.0);
}

static size_t first_row(const struct dinm_archive_plan *plan, size_t sample)
{
    size_t row = 0;
    for (size_t i = 0; i < sample; i++) {
        row += plan->full ? (size_t)n_tokens[i] : 1;
    }
    return row;
}

/* Sample 3 stays unwritten. Odd samples are written by two ranks, layers 0..1 and 2..3, as two
 * stages would; others by one. */
static void write_sample(struct dinm_archive *a, const struct dinm_archive_plan *plan,
                         size_t sample)
{
    size_t n = plan->full ? (size_t)n_tokens[sample] : 1, row = first_row(plan, sample);
    float *states = malloc((N_LAYERS + 1) * n * D_MODEL * sizeof *states + 1);
    for (size_t layer = 0; layer <= N_LAYERS; layer++) {
        for (size_t t = 0; t < n; t++) {
            for (size_t i = 0; i < D_MODEL; i++) {
                states[(layer * n + t) * D_MODEL + i] = value(row + t, layer, i);
            }
        }
    }
    struct dinm_error err = {0};
    int owner = (int)(sample * sample) % size, other = (owner + 1) % size;
    if (sample % 2 == 0 && rank == owner) {
        CHECK(dinm_archive_write_hidden(a, sample, 0, N_LAYERS, states, &err) == DINM_OK);
    }
    if (sample % 2 == 1 && rank == owner) {
        CHECK(dinm_archive_write_hidden(a, sample, 0, 1, states, &err) == DINM_OK);
    }
    if (sample % 2 == 1 && rank == other) {
        CHECK(dinm_archive_write_hidden(a, sample, 2, 3, states + 2 * n * D_MODEL, &err) ==
              DINM_OK);
    }
    CHECK(err.status == DINM_OK);
    free(states);
}

/* Case 4 stays unwritten; case 2 has fewer losses than steps. */
static void write_case(struct dinm_archive *a, const struct dinm_archive_plan *plan, size_t i)
{
    float distances[N_LAYERS], losses[N_STEPS * 3];
    struct dinm_error err = {0};
    for (size_t l = 0; l < N_LAYERS; l++) {
        distances[l] = value(i, l, 5);
    }
    for (size_t j = 0; j < N_STEPS * 3; j++) {
        losses[j] = value(i, j, 6);
    }
    if (rank == (int)i % size) {
        CHECK(dinm_archive_write_distance(a, i, distances, (int32_t)(i % 3), &err) == DINM_OK);
        if (plan->n_steps) {
            CHECK(dinm_archive_write_loss(a, i, losses, i == 2 ? 2 : N_STEPS, &err) == DINM_OK);
        }
    }
}

static void path_of(char *path, size_t n, const char *name)
{
    snprintf(path, n, "%s/%s.h5", folder, name);
}

static bool everything_closed(void)
{
    return H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL) == 0;
}

/* Reads a whole dataset as float32 with HDF5 alone. */
static float *read_floats(hid_t file, const char *name, size_t n)
{
    hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT), space = H5Dget_space(dataset);
    float *x = calloc(n + 1, sizeof *x);
    CHECK(H5Sget_simple_extent_npoints(space) == (hssize_t)n);
    CHECK(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, x) >= 0);
    H5Sclose(space);
    H5Dclose(dataset);
    return x;
}

static float narrowed(float x, bool half)
{
    unsigned char room[4];
    dinm_narrow(room, half ? DINM_F16 : DINM_F32, &x, 1);
    dinm_widen(&x, room, half ? DINM_F16 : DINM_F32, 1);
    return x;
}

/* Every value of the file but those of unwritten samples is value(), the others are NaN. */
static void check_values(const char *path, const struct dinm_archive_plan *plan,
                         const bool *written)
{
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    size_t n_rows = first_row(plan, N_SAMPLES), n_wrong = 0;
    CHECK(file >= 0);
    if (file < 0) {
        return;
    }
    float *x = read_floats(file, "/activations/resid_post", n_rows * (N_LAYERS + 1) * D_MODEL);
    for (size_t s = 0; s < N_SAMPLES; s++) {
        size_t begin = first_row(plan, s), end = first_row(plan, s + 1);
        for (size_t j = begin * 4 * D_MODEL; j < end * 4 * D_MODEL; j++) {
            float expected =
                narrowed(value(j / D_MODEL / 4, j / D_MODEL % 4, j % D_MODEL), plan->half);
            n_wrong += written[s] ? !(x[j] == expected) : !isnan(x[j]);
        }
    }
    CHECK(n_wrong == 0);
    free(x);
    x = read_floats(file, "/edit/loss", N_CASES * plan->n_steps * 3);
    for (size_t j = 0; j < N_CASES * plan->n_steps * 3; j++) {
        size_t i = j / 3 / plan->n_steps, k = j % (3 * plan->n_steps);
        CHECK(i == 4 || (i == 2 && k >= 6) ? isnan(x[j]) : x[j] == value(i, k, 6));
    }
    free(x);
    H5Fclose(file);
}

static void write_all(const char *name, const struct dinm_archive_plan *plan, MPI_Comm comm)
{
    struct dinm_error err = {0};
    struct dinm_archive *a = NULL;
    char path[600];
    bool written[N_SAMPLES];
    path_of(path, sizeof path, name);
    CHECK(dinm_archive_create_all(&a, path, comm, plan, &err) == DINM_OK);
    CHECK(err.status == DINM_OK && a != NULL);
    if (!a) {
        fprintf(stderr, "%s\n", err.text);
        return;
    }
    for (size_t s = 0; s < 6; s++) {
        written[s] = s != 3;
        if (written[s] && plan->hidden) {
            write_sample(a, plan, s);
        }
    }
    for (size_t i = 0; i < 4; i++) {
        write_case(a, plan, i);
    }
    CHECK(dinm_archive_close_all(&a, &err) == DINM_OK && a == NULL);
    CHECK(everything_closed());
    CHECK(dinm_archive_open_all(&a, path, comm, plan, &err) == DINM_OK);
    for (size_t s = 6; a && s < N_SAMPLES; s++) {
        written[s] = true;
        if (plan->hidden) {
            write_sample(a, plan, s);
        }
    }
    CHECK(dinm_archive_close_all(&a, &err) == DINM_OK);
    CHECK(everything_closed());
    if (rank == 0 && plan->hidden) {
        check_values(path, plan, written);
    }
    MPI_Barrier(comm);
}

static void test_shapes(void)
{
    struct dinm_archive_plan plan = make_plan("last", true);
    write_all("last", &plan, MPI_COMM_WORLD);
    plan = make_plan("mean", false);
    write_all("mean", &plan, MPI_COMM_WORLD);
    plan = make_plan("full", true);
    write_all("full", &plan, MPI_COMM_WORLD);
    plan.half = false;
    plan.n_steps = 0;
    write_all("nosteps", &plan, MPI_COMM_WORLD);
    plan = make_plan("last", true);
    plan.hidden = false;
    write_all("none", &plan, MPI_COMM_WORLD);
}

/* Open MPI 4.1.4 corrupts collective writes on Cartesian communicators; ours is split off. */
static void test_cartesian(void)
{
    MPI_Comm cart;
    const int dims[1] = {size}, periods[1] = {0};
    struct dinm_archive_plan plan = make_plan("last", false);
    MPI_Cart_create(MPI_COMM_WORLD, 1, dims, periods, 0, &cart);
    write_all("cart", &plan, cart);
    MPI_Comm_free(&cart);
}

/* All ranks got the same status and sentence, and the sentence contains `part`. */
static void check_refused(int status, struct dinm_archive *a, const struct dinm_error *err,
                          const char *part)
{
    char first[sizeof err->text];
    memcpy(first, err->text, sizeof first);
    MPI_Bcast(first, (int)sizeof first, MPI_CHAR, 0, MPI_COMM_WORLD);
    CHECK(status == DINM_FAILED && err->status == DINM_FAILED && a == NULL);
    CHECK(strcmp(first, err->text) == 0);
    CHECK(strstr(err->text, part) != NULL);
    if (strstr(err->text, part) == NULL) {
        fprintf(stderr, "  found: %s\n", err->text);
    }
    CHECK(everything_closed());
}

static void refuse_create(const char *path, const struct dinm_archive_plan *plan, const char *part)
{
    struct dinm_error err = {0};
    struct dinm_archive *a = NULL;
    int status = dinm_archive_create_all(&a, path, MPI_COMM_WORLD, plan, &err);
    check_refused(status, a, &err, part);
    dinm_archive_close_all(&a, NULL);
}

static void refuse_open(const char *path, const struct dinm_archive_plan *plan, const char *part)
{
    struct dinm_error err = {0};
    struct dinm_archive *a = NULL;
    int status = dinm_archive_open_all(&a, path, MPI_COMM_WORLD, plan, &err);
    check_refused(status, a, &err, part);
    dinm_archive_close_all(&a, NULL);
}

static void test_refused_create(void)
{
    char path[600];
    struct dinm_archive_plan plan = make_plan("last", true);
    path_of(path, sizeof path, "no/such/folder/x");
    refuse_create(path, &plan, "No such file");
    path_of(path, sizeof path, "refused");
    plan.n_layers = rank == size - 1 ? 0 : N_LAYERS; /* one rank alone sees the fault */
    refuse_create(path, &plan, "0 layers");
    plan = make_plan("last", true);
    plan.d_model = (size_t)1 << 40;
    refuse_create(path, &plan, "too large");
    plan = make_plan("full", true);
    plan.tokens = NULL;
    refuse_create(path, &plan, "need tokens");
    CHECK(access(path, F_OK) != 0);
}

static void test_refused_open(void)
{
    char path[600];
    path_of(path, sizeof path, "last");
    struct dinm_archive_plan plan = make_plan("last", true);
    plan.digest = "another";
    refuse_open(path, &plan, "another digest");
    plan = make_plan("last", true);
    plan.settings = "{}";
    refuse_open(path, &plan, "another settings");
    plan = make_plan("last", true);
    plan.half = false;
    refuse_open(path, &plan, "another type");
    plan = make_plan("last", true);
    plan.d_model = D_MODEL / 2;
    refuse_open(path, &plan, "axis 2");
    plan.d_model = 100 * D_MODEL;
    refuse_open(path, &plan, "at least");
    plan = make_plan("last", true);
    plan.n_steps--;
    refuse_open(path, &plan, "/edit/loss");
    plan = make_plan("last", true);
    const int64_t other_ids[N_CASES] = {11, 12, 40, 8, 1000000007};
    plan.case_ids = other_ids;
    refuse_open(path, &plan, "sample 6: expected 8, found 7");
    plan = make_plan("last", true);
    path_of(path, sizeof path, "none");
    plan.d_model = 1;
    refuse_open(path, &plan, "/activations/resid_post");
    path_of(path, sizeof path, "absent");
    refuse_open(path, &plan, "No such file");
    refuse_open(folder, &plan, "regular file");
}

/* A file cut anywhere, or of other content, is refused and never crashes. */
static void test_damaged(void)
{
    char path[600], whole[600];
    struct dinm_archive_plan plan = make_plan("last", true);
    path_of(whole, sizeof whole, "last");
    path_of(path, sizeof path, "damaged");
    struct stat info = {0};
    stat(whole, &info);
    for (int i = 0; i < 12; i++) {
        if (rank == 0) {
            size_t n = (size_t)info.st_size, keep = n * (size_t)i / 12;
            unsigned char *bytes = malloc(n);
            FILE *in = fopen(whole, "rb"), *file = fopen(path, "wb");
            CHECK(fread(bytes, 1, n, in) == n && fwrite(bytes, 1, keep, file) == keep);
            fclose(in);
            fclose(file);
            free(bytes);
        }
        MPI_Barrier(MPI_COMM_WORLD);
        refuse_open(path, &plan, "damaged.h5");
    }
    if (rank == 0) {
        FILE *file = fopen(path, "wb");
        for (long i = 0; i < (long)info.st_size; i++) {
            fputc('x', file);
        }
        fclose(file);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    refuse_open(path, &plan, "first 8 bytes");
    if (rank == 0) {
        unlink(path);
    }
}

static void test_bad_writes(void)
{
    char path[600];
    struct dinm_archive_plan plan = make_plan("last", true);
    struct dinm_archive *a = NULL;
    struct dinm_error err = {0};
    const float x[4 * D_MODEL] = {0};
    path_of(path, sizeof path, "last");
    CHECK(dinm_archive_open_all(&a, path, MPI_COMM_WORLD, &plan, &err) == DINM_OK);
    CHECK(dinm_archive_write_hidden(a, N_SAMPLES, 0, 0, x, NULL) == DINM_FAILED);
    CHECK(dinm_archive_write_hidden(a, 0, 0, N_LAYERS + 1, x, NULL) == DINM_FAILED);
    CHECK(dinm_archive_write_hidden(a, 0, 2, 1, x, NULL) == DINM_FAILED);
    CHECK(dinm_archive_write_distance(a, N_CASES, x, 0, NULL) == DINM_FAILED);
    CHECK(dinm_archive_write_loss(a, N_CASES, x, 1, NULL) == DINM_FAILED);
    CHECK(dinm_archive_write_loss(a, 0, x, N_STEPS + 1, &err) == DINM_FAILED);
    CHECK(strstr(err.text, "step 4 was to be written, the archive has 4") != NULL);
    CHECK(dinm_archive_close_all(&a, NULL) == DINM_OK);
    CHECK(dinm_archive_close_all(&a, NULL) == DINM_OK);
}

static void test_logits(void)
{
    enum { N = 3, N_VOCAB = 7 };
    float logits[N * N_VOCAB], states[(N_LAYERS + 1) * N * D_MODEL];
    const int32_t ids[N] = {5, 0, -1};
    char path[600];
    struct dinm_error err = {0};
    for (size_t i = 0; i < N * N_VOCAB; i++) {
        logits[i] = value(0, 0, i);
    }
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        states[i] = value(1, 0, i);
    }
    if (rank != size - 1) {
        return;
    }
    path_of(path, sizeof path, "logits");
    CHECK(dinm_archive_write_logits(path, logits, states, ids, N, N_VOCAB, N_LAYERS, D_MODEL,
                                    &err) == DINM_OK);
    path_of(path, sizeof path, "no/such/folder/x");
    CHECK(dinm_archive_write_logits(path, logits, states, ids, N, N_VOCAB, N_LAYERS, D_MODEL,
                                    &err) == DINM_FAILED);
    CHECK(strstr(err.text, "No such file") != NULL);
    CHECK(everything_closed());
}

/* A rank is killed between two writes; archive.py then opens the file. */
static void die(void)
{
    char path[600];
    struct dinm_archive_plan plan = make_plan("last", true);
    struct dinm_archive *a = NULL;
    path_of(path, sizeof path, "killed");
    CHECK(dinm_archive_create_all(&a, path, MPI_COMM_WORLD, &plan, NULL) == DINM_OK);
    write_sample(a, &plan, 0);
    write_sample(a, &plan, 1);
    MPI_Barrier(MPI_COMM_WORLD);
    raise(SIGKILL);
}

static void remove_folder(void)
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

int main(int argc, char **argv)
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
    if (argc > 2 && strcmp(argv[2], "die") == 0) {
        die();
    }
    test_shapes();
    test_cartesian();
    test_refused_create();
    test_refused_open();
    test_damaged();
    test_bad_writes();
    test_logits();
    MPI_Barrier(MPI_COMM_WORLD);
    if (argc < 2 && rank == 0) {
        remove_folder();
    }
    MPI_Allreduce(MPI_IN_PLACE, &n_bad, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    MPI_Finalize();
    return n_bad ? 1 : 0;
}
