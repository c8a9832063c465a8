/* The archive at any number of ranks: created, written by whoever owns a sample, read back value
 * by value, reopened, described.
 *
 *   mpi_archive            in a temporary folder, which is removed
 *   mpi_archive FOLDER     leaves the files there for tests/golden/archive.py
 *   mpi_archive FOLDER die one rank is killed while the archive is open */
#include "tests/mpi/archive_example.h"

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

static uint64_t digests[N_SAMPLES]; /* of what this rank wrote */

/* The digests of the parts that ranks wrote add up to that of what is read. */
static void check_digests(struct dinm_archive *a, const bool *written, size_t n_samples)
{
    struct dinm_error err = {0};
    MPI_Allreduce(MPI_IN_PLACE, digests, N_SAMPLES, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    for (size_t s = 0; s < n_samples; s++) {
        uint64_t digest = 0;
        CHECK(dinm_archive_digest_hidden(a, s, &digest, &err) == DINM_OK);
        CHECK((digest == digests[s]) == written[s]);
    }
    memset(digests, 0, sizeof digests);
    CHECK(dinm_archive_digest_hidden(a, N_SAMPLES, digests, NULL) == DINM_FAILED);
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
        CHECK(dinm_archive_write_hidden(a, sample, 0, N_LAYERS, states, &digests[sample], &err) ==
              DINM_OK);
    }
    if (sample % 2 == 1 && rank == owner) {
        CHECK(dinm_archive_write_hidden(a, sample, 0, 1, states, &digests[sample], &err) ==
              DINM_OK);
    }
    if (sample % 2 == 1 && rank == other) {
        CHECK(dinm_archive_write_hidden(a, sample, 2, 3, states + 2 * n * D_MODEL, &digests[sample],
                                        &err) == DINM_OK);
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
    if (a && plan->hidden) {
        check_digests(a, written, 6);
    }
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
    char seal[600];
    struct dinm_archive_plan plan = make_plan("last", true);
    path_of(seal, sizeof seal, "seal");
    plan.seal = seal;
    write_all("last", &plan, MPI_COMM_WORLD);
    plan = make_plan("mean", false);
    write_all("mean", &plan, MPI_COMM_WORLD);
    plan = make_plan("full", true);
    plan.seal = seal;
    write_all("full", &plan, MPI_COMM_WORLD);
    plan.half = false;
    plan.n_steps = 0;
    write_all("nosteps", &plan, MPI_COMM_WORLD);
    plan = make_plan("last", true);
    plan.hidden = false;
    write_all("none", &plan, MPI_COMM_WORLD);
}

/* Both files have the same values of n floats, NaNs in the same places. */
static void check_equal(hid_t a, hid_t b, const char *name, size_t n)
{
    float *x = read_floats(a, name, n), *y = read_floats(b, name, n);
    size_t n_wrong = 0, n_known = 0;
    for (size_t i = 0; i < n; i++) {
        const bool known = !isnan(x[i]);
        n_wrong += (size_t)(known ? x[i] != y[i] : !isnan(y[i]));
        n_known += known;
    }
    CHECK(n_wrong == 0 && n_known > 0);
    free(x);
    free(y);
}

/* Every rank copies its share of the cases. */
static int copy_hidden(struct dinm_archive *a, const char *from, const char *seal,
                       struct dinm_error *err)
{
    const size_t first = N_CASES * (size_t)rank / (size_t)size;
    const size_t end = N_CASES * ((size_t)rank + 1) / (size_t)size;
    return dinm_archive_copy_hidden_all(a, from, seal, first, end, err);
}

/* An archive with another number of steps takes over the hidden states of one of the same cases. */
static void copy_states(const char *name, const char *position, bool half, const char *seal)
{
    struct dinm_error err = {0};
    struct dinm_archive *a = NULL;
    char from[600], to[600];
    struct dinm_archive_plan plan = make_plan(position, half);
    plan.n_steps = N_STEPS + 1;
    path_of(from, sizeof from, name);
    path_of(to, sizeof to, "copy");
    CHECK(dinm_archive_create_all(&a, to, MPI_COMM_WORLD, &plan, &err) == DINM_OK);
    CHECK(copy_hidden(a, from, seal, &err) == DINM_OK);
    CHECK(dinm_archive_close_all(&a, &err) == DINM_OK);
    CHECK(everything_closed());
    if (rank == 0) {
        hid_t files[2] = {H5Fopen(from, H5F_ACC_RDONLY, H5P_DEFAULT),
                          H5Fopen(to, H5F_ACC_RDONLY, H5P_DEFAULT)};
        const size_t n_rows = first_row(&plan, N_SAMPLES);
        check_equal(files[0], files[1], "/activations/resid_post",
                    n_rows * (N_LAYERS + 1) * D_MODEL);
        float *distances = read_floats(files[1], "/locate/distance", N_CASES * N_LAYERS);
        for (size_t i = 0; i < N_CASES * N_LAYERS; i++) {
            CHECK(isnan(distances[i]));
        }
        free(distances);
        H5Fclose(files[0]);
        H5Fclose(files[1]);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static void refuse_copy(const char *name, const struct dinm_archive_plan *plan, const char *seal,
                        const char *part)
{
    struct dinm_error err = {0};
    struct dinm_archive *a = NULL;
    char from[600], to[600];
    path_of(from, sizeof from, name);
    path_of(to, sizeof to, "copy");
    CHECK(dinm_archive_create_all(&a, to, MPI_COMM_WORLD, plan, &err) == DINM_OK);
    CHECK(copy_hidden(a, from, seal, &err) == DINM_FAILED);
    CHECK(strstr(err.text, part) != NULL && strstr(err.text, name) != NULL);
    CHECK(dinm_archive_close_all(&a, NULL) == DINM_OK);
    CHECK(everything_closed());
}

static void test_copy(void)
{
    char seal[600]; /* the last archive that had one was "nosteps" */
    path_of(seal, sizeof seal, "seal");
    copy_states("last", "last", true, NULL);
    copy_states("mean", "mean", false, NULL);
    copy_states("full", "full", true, NULL);
    copy_states("nosteps", "full", false, seal);
    struct dinm_archive_plan plan = make_plan("last", false);
    refuse_copy("last", &plan, NULL, "another type");
    refuse_copy("last", &plan, seal, "bytes");
    plan = make_plan("full", true);
    refuse_copy("last", &plan, NULL, "at least");
    plan = make_plan("last", true);
    refuse_copy("full", &plan, NULL, "axis 0");
    refuse_copy("none", &plan, NULL, "/activations/resid_post");
    plan.d_model = D_MODEL / 2;
    refuse_copy("last", &plan, NULL, "axis 2");
    refuse_copy("absent", &plan, NULL, "No such file");
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

static void test_describe(void)
{
    static const char *const parts[] = {
        "  model: tiny \"model\"\n",
        "  4 of 5 cases are located\n",
        "  /activations/resid_post   float16  [10 sample][4 layer][64 d_model]\n",
        "      position: last\n",
        "  /edit/loss                float32  [5 case][4 step][3 term]\n",
        "  /samples/category         text     [10 sample]\n",
        "  /samples/side             int8     [10 sample]\n"};
    struct dinm_buffer words = {0};
    struct dinm_error err = {0};
    char path[600];
    path_of(path, sizeof path, "last");
    CHECK(dinm_archive_describe(path, &words, &err) == DINM_OK);
    for (size_t i = 0; words.data && i < sizeof parts / sizeof parts[0]; i++) {
        CHECK(strstr(words.data, parts[i]) != NULL);
    }
    path_of(path, sizeof path, "logits");
    MPI_Barrier(MPI_COMM_WORLD);
    words.n_bytes = 0;
    CHECK(dinm_archive_describe(path, &words, &err) == DINM_OK);
    CHECK(words.data && strstr(words.data, "/hidden_states            float32  [4][3][64]\n"));
    CHECK(dinm_archive_describe(folder, &words, &err) == DINM_FAILED);
    CHECK(strstr(err.text, "regular file") != NULL);
    CHECK(everything_closed());
    dinm_buffer_free(&words);
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

int main(int argc, char **argv)
{
    begin(argc, argv);
    if (argc > 2 && strcmp(argv[2], "die") == 0) {
        die();
    }
    test_shapes();
    test_copy();
    test_cartesian();
    test_logits();
    test_describe();
    return end(argc);
}
