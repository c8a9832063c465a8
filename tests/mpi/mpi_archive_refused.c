/* Archives that cannot be made or are not the expected ones: every rank learns it, with the same
 * sentence, and nobody waits for ever. */
#include "tests/mpi/archive_example.h"

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
    plan.n_layers = 0;
    plan.d_model = D_MODEL + (size_t)rank; /* each rank has a sentence of its own */
    refuse_create(path, &plan, "width 64");
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

/* Rank 0 flips a bit of a file. */
static void flip(const char *path, long at)
{
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) {
        FILE *file = fopen(path, "r+b");
        CHECK(fseek(file, at, SEEK_SET) == 0);
        int byte = fgetc(file);
        CHECK(fseek(file, at, SEEK_SET) == 0 && fputc(byte ^ 1, file) != EOF);
        fclose(file);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

/* Where the values of the three small datasets lie: [begin, end), on every rank. */
static void find_values(const char *path, long values[3][2])
{
    static const char *const names[3] = {"/locate/distance", "/locate/layer", "/edit/loss"};
    for (int i = 0; i < 3 && rank == 0; i++) {
        hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
        hid_t dataset = H5Dopen2(file, names[i], H5P_DEFAULT);
        values[i][0] = (long)H5Dget_offset(dataset);
        values[i][1] = values[i][0] + (long)H5Dget_storage_size(dataset);
        H5Dclose(dataset);
        H5Fclose(file);
    }
    MPI_Bcast(values, 6, MPI_LONG, 0, MPI_COMM_WORLD);
}

/* With a seal any flipped bit is noticed before HDF5 sees the file, but those of results. */
static void test_seal(void)
{
    char path[600], seal[600];
    struct dinm_archive_plan plan = make_plan("last", true);
    struct dinm_archive *a = NULL;
    struct stat info = {0};
    long values[3][2];
    path_of(path, sizeof path, "sealed");
    path_of(seal, sizeof seal, "seal");
    plan.seal = seal;
    plan.hidden = false; /* then only three datasets may change, each in one piece */
    CHECK(dinm_archive_create_all(&a, path, MPI_COMM_WORLD, &plan, NULL) == DINM_OK);
    CHECK(dinm_archive_close_all(&a, NULL) == DINM_OK);
    stat(path, &info);
    find_values(path, values);
    for (long at = 8; at < (long)info.st_size; at += 97) {
        struct dinm_error err = {0};
        bool is_value = false;
        for (int i = 0; i < 3; i++) {
            is_value = is_value || (at >= values[i][0] && at < values[i][1]);
        }
        flip(path, at);
        int status = dinm_archive_open_all(&a, path, MPI_COMM_WORLD, &plan, &err);
        CHECK((status == DINM_OK) == is_value);
        CHECK(is_value || strstr(err.text, "its structure was changed") != NULL);
        CHECK(dinm_archive_close_all(&a, NULL) == DINM_OK);
        flip(path, at);
    }
    if (rank == 0) {
        CHECK(truncate(path, info.st_size + 1) == 0);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    refuse_open(path, &plan, "bytes, found");
    stat(seal, &info);
    if (rank == 0) {
        CHECK(truncate(seal, info.st_size / 2) == 0);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    refuse_open(path, &plan, "seal.h5");
    if (rank == 0) {
        unlink(seal);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    refuse_open(path, &plan, "No such file");
}

static void test_bad_writes(void)
{
    char path[600];
    struct dinm_archive_plan plan = make_plan("last", true);
    struct dinm_archive *a = NULL;
    struct dinm_error err = {0};
    const float x[4 * D_MODEL] = {0};
    uint64_t digest = 7;
    path_of(path, sizeof path, "last");
    CHECK(dinm_archive_open_all(&a, path, MPI_COMM_WORLD, &plan, &err) == DINM_OK);
    CHECK(dinm_archive_write_hidden(a, N_SAMPLES, 0, 0, x, &digest, NULL) == DINM_FAILED);
    CHECK(dinm_archive_write_hidden(a, 0, 0, N_LAYERS + 1, x, &digest, NULL) == DINM_FAILED);
    CHECK(dinm_archive_write_hidden(a, 0, 2, 1, x, &digest, NULL) == DINM_FAILED);
    CHECK(digest == 7);
    CHECK(dinm_archive_write_distance(a, N_CASES, x, 0, NULL) == DINM_FAILED);
    CHECK(dinm_archive_write_loss(a, N_CASES, x, 1, NULL) == DINM_FAILED);
    CHECK(dinm_archive_write_loss(a, 0, x, N_STEPS + 1, &err) == DINM_FAILED);
    CHECK(strstr(err.text, "step 4 was to be written, the archive has 4") != NULL);
    CHECK(dinm_archive_close_all(&a, NULL) == DINM_OK);
    CHECK(dinm_archive_close_all(&a, NULL) == DINM_OK);
}

static void make(const char *name, const struct dinm_archive_plan *plan)
{
    struct dinm_archive *a = NULL;
    char path[600];
    path_of(path, sizeof path, name);
    CHECK(dinm_archive_create_all(&a, path, MPI_COMM_WORLD, plan, NULL) == DINM_OK);
    CHECK(dinm_archive_close_all(&a, NULL) == DINM_OK);
}

int main(int argc, char **argv)
{
    begin(argc, argv);
    struct dinm_archive_plan plan = make_plan("last", true);
    make("last", &plan);
    plan.hidden = false;
    make("none", &plan);
    test_refused_create();
    test_refused_open();
    test_damaged();
    test_seal();
    test_bad_writes();
    return end(argc);
}
