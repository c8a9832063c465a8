/* The judge cut into as many stages as there are ranks gives the verdicts of the whole, bit for
 * bit; a stage without memory ends the judging with one sentence on all ranks, or is told. */
#include "tests/mpi/expect.h"
#include "tests/unit/faults.h"
#include "tests/unit/judge_files.h"

enum { N_LAYERS = 5, N_TEXTS = 900, N_LETTERS = 12 };

static MPI_Comm comm;
static int rank, size;
static char texts[N_TEXTS][N_LETTERS + 1];
static const char *list[N_TEXTS];

/* Letters, of any number; every eleventh text is empty. */
static void make_texts(void)
{
    unsigned seed = 3;
    for (size_t i = 0; i < N_TEXTS; i++) {
        seed = seed * 1664525u + 1013904223u;
        const size_t n = i % 11 == 0 ? 0 : 1 + (seed >> 16) % N_LETTERS;
        for (size_t k = 0; k < n; k++) {
            seed = seed * 1664525u + 1013904223u;
            texts[i][k] = (char)('a' + (seed >> 16) % 4);
        }
        list[i] = texts[i];
    }
}

/* This rank's stage of the judge. */
static void cut(struct dinm_judge_model *m, const struct files *f, size_t chunk_bytes)
{
    struct dinm_error err = {0};
    assert_ok(dinm_judge_model_open(m, &f->settings, &err), &err);
    EXPECT(dinm_judge_model_n_stages(m, size) == size);
    assert_ok(dinm_judge_model_cut(m, &f->settings, comm, rank, size, chunk_bytes, &err), &err);
}

/* The driver asks, the others serve. Returns what the ring came to; *judged: what the driver did.
 */
static int judge_all(struct dinm_judge_model *m, struct dinm_verdict *verdicts, int *judged,
                     struct dinm_error *failure, struct dinm_error *err)
{
    if (rank > 0) {
        return dinm_stage_serve_all(&m->stage, err);
    }
    *judged = dinm_judge_texts(m, list, N_TEXTS, verdicts, failure);
    return dinm_stage_end_all(&m->stage, err);
}

static bool same(const struct dinm_verdict *a, const struct dinm_verdict *b)
{
    return memcmp(a, b, N_TEXTS * sizeof *a) == 0;
}

/* Twice with one model, with messages in one piece and in many. */
static void check_same(const struct files *f, const struct dinm_verdict *whole)
{
    for (int pieces = 0; pieces < 2; pieces++) {
        struct dinm_judge_model m = {0};
        cut(&m, f, pieces ? 0 : (size_t)1 << 30);
        for (int round = 0; round < 2; round++) {
            struct dinm_error failure = {0}, err = {0};
            struct dinm_verdict verdicts[N_TEXTS];
            int judged = DINM_OK;
            memset(verdicts, 0, sizeof verdicts);
            EXPECT(judge_all(&m, verdicts, &judged, &failure, &err) == DINM_OK);
            EXPECT(judged == DINM_OK && err.text[0] == '\0' && failure.text[0] == '\0');
            EXPECT(rank > 0 || same(verdicts, whole));
            EXPECT(m.stage.n_items > 5 * (uint64_t)(round + 1));
        }
        dinm_judge_model_close(&m);
        MPI_Barrier(comm);
    }
}

/* Rank `poor` has no memory for its n-th allocation; then all is well again. */
static void check_memory(const struct files *f, const struct dinm_verdict *whole, int poor)
{
    int hit = 1, n_hit = 0;
    MPI_Allreduce(MPI_IN_PLACE, &n_failures, 1, MPI_INT, MPI_MAX, comm); /* all or nobody goes on */
    for (size_t nth = 1; hit && n_failures == 0; nth += 1 + nth / 4) {
        struct dinm_judge_model m = {0};
        struct dinm_error failure = {0}, err = {0};
        struct dinm_verdict verdicts[N_TEXTS];
        int judged = DINM_OK;
        cut(&m, f, (size_t)1 << 30);
        fault_set(rank == poor ? FAULT_MEMORY : FAULT_NONE, nth);
        const int status = judge_all(&m, verdicts, &judged, &failure, &err);
        hit = fault_end();
        MPI_Bcast(&hit, 1, MPI_INT, poor, comm);
        MPI_Bcast(&judged, 1, MPI_INT, 0, comm);
        EXPECT(hit == (judged < 0 || status < 0));
        if (status < 0) {
            EXPECT_WORDS(err.text, "not enough memory");
        } else if (rank == 0 && judged < 0) {
            EXPECT_WORDS(failure.text, "not enough memory");
        }
        EXPECT(hit || rank > 0 || same(verdicts, whole));
        n_hit += hit;
        dinm_judge_model_close(&m);
        MPI_Allreduce(MPI_IN_PLACE, &n_failures, 1, MPI_INT, MPI_MAX, comm);
    }
    EXPECT(n_hit > 3);
}

/* How a group of more ranks than layers is cut. */
static void check_n_stages(const struct files *f)
{
    static const int expected[][2] = {{1, 1}, {2, 2}, {3, 3}, {4, 4},  {5, 5},  {6, 3},
                                      {7, 1}, {8, 4}, {9, 3}, {10, 5}, {12, 4}, {25, 5}};
    struct dinm_error err = {0};
    struct dinm_judge_model m = {0};
    EXPECT(dinm_judge_model_n_stages(&m, 6) == 1); /* refusal */
    assert_ok(dinm_judge_model_open(&m, &f->settings, &err), &err);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        EXPECT(dinm_judge_model_n_stages(&m, expected[i][0]) == expected[i][1]);
    }
    dinm_judge_model_close(&m);
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    struct files f = {0};
    struct dinm_error err = {0};
    struct dinm_judge_model m = {0};
    struct dinm_verdict whole[N_TEXTS];
    make_texts();
    make_files(&f, N_LAYERS);
    check_n_stages(&f);
    assert_ok(dinm_judge_model_open(&m, &f.settings, &err), &err);
    for (size_t i = 0; i < N_TEXTS; i++) { /* each by itself */
        assert_ok(dinm_judge_texts(&m, &list[i], 1, &whole[i], &err), &err);
    }
    dinm_judge_model_close(&m);
    check_same(&f, whole);
    for (int poor = 0; poor < size; poor++) {
        check_memory(&f, whole, poor);
    }
    remove_files(&f);
    int status = verdict_all();
    MPI_Comm_free(&comm);
    MPI_Finalize();
    return status;
}
