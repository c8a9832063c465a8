/* Training: the same bits on every number of ranks, for both objectives; every rank failing in
 * turn; the sum over parts. */
#include <math.h>

#include "pipeline/train_private.h"
#include "tests/mpi/train_jobs.h"

/* The job on all ranks and on rank 0 alone, with other threads: every file the same. */
static void compare_all(const char *objective, const char *rest)
{
    struct dinm_error err = {0};
    char text[1024];
    if (rank == 0) {
        snprintf(text, sizeof text, "%s, \"threads\": 2", rest);
        write_job("alone", objective, text);
        snprintf(text, sizeof text, "%s, \"threads\": 1", rest);
        write_job("together", objective, text);
        EXPECT(train_all(MPI_COMM_SELF, "alone", &err) == DINM_OK);
        EXPECT_WORDS(err.text, "");
    }
    MPI_Barrier(MPI_COMM_WORLD);
    EXPECT(train_all(MPI_COMM_WORLD, "together", &err) == DINM_OK);
    MPI_Barrier(MPI_COMM_WORLD);
    expect_same_output("alone", "together");
}

static void test_same_bits_all(void)
{
    const char *lm = "\"config\": \"../lm/config.json\", \"tokenizer\": \"../tokenizer\","
                     "\"steps\": 7, \"batch\": 13, \"parts\": 5, \"lr\": 0.01, \"warmup\": 2,"
                     "\"weight_decay\": 0.1, \"seed\": 4, \"max_tokens\": 24, \"every\": 4,"
                     "\"held_out_every\": 3, \"clip\": 0.5";
    const char *classify = "\"config\": \"../classify/config.json\", \"dtype\": \"bf16\","
                           "\"tokenizer\": \"../tokenizer\", \"steps\": 13, \"batch\": 16,"
                           "\"parts\": 8, \"lr\": 0.003, \"save_every\": 5";
    compare_all("lm", lm);
    if (rank == 0) {
        EXPECT(result_of("together", "steps_done") == 7.0);
        EXPECT(result_of("together", "held_out_loss") < 3.4); /* log 32 = 3.47 */
    }
    compare_all("classify", classify);
}

/* Both objectives learn what their data teach, and a checkpoint can be gone on from. */
static void test_learns_all(void)
{
    struct dinm_error err = {0};
    if (rank == 0) {
        write_job("lm_fresh", "lm",
                  "\"config\": \"../lm/config.json\", \"tokenizer\": \"../tokenizer\","
                  "\"steps\": 150, \"batch\": 16, \"parts\": 4, \"lr\": 0.01, \"warmup\": 5, "
                  "\"threads\": 1,"
                  "\"min_lr\": 0.001, \"every\": 1000");
        write_job("lm_on", "lm",
                  "\"init\": \"../lm_fresh/out\", \"steps\": 1, \"lr\": 0, \"threads\": 1, "
                  "\"dtype\": \"f16\"");
        write_job("classify_fresh", "classify",
                  "\"config\": \"../classify/config.json\", \"tokenizer\": \"../tokenizer\","
                  "\"steps\": 250, \"batch\": 16, \"parts\": 4, \"lr\": 0.005, \"warmup\": 10, "
                  "\"threads\": 1,"
                  "\"every\": 1000");
        write_job("classify_on", "classify",
                  "\"init\": \"../classify_fresh/out\", \"steps\": 1, \"lr\": 0, \"threads\": 1");
    }
    MPI_Barrier(MPI_COMM_WORLD);
    EXPECT(train_all(MPI_COMM_WORLD, "lm_fresh", &err) == DINM_OK);
    EXPECT(train_all(MPI_COMM_WORLD, "lm_on", &err) == DINM_OK);
    EXPECT(train_all(MPI_COMM_WORLD, "classify_fresh", &err) == DINM_OK);
    EXPECT(train_all(MPI_COMM_WORLD, "classify_on", &err) == DINM_OK);
    EXPECT_WORDS(err.text, "");
    if (rank == 0) {
        /* Only the first word and the end are open in the data: about 0.4 nats a token. */
        EXPECT(result_of("lm_fresh", "held_out_loss") < 0.6);
        EXPECT(result_of("lm_fresh", "held_out_loss") == result_of("lm_on", "held_out_loss"));
        EXPECT(result_of("classify_fresh", "held_out_right") == 1.0);
        EXPECT(result_of("classify_fresh", "held_out_loss") ==
               result_of("classify_on", "held_out_loss"));
    }
}

/* ---- failures ---- */

static void expect_failure_all(const char *job, int wanted, const char *words)
{
    struct dinm_error err = {0};
    EXPECT(train_all(MPI_COMM_WORLD, job, &err) == wanted);
    EXPECT_WORDS(err.text, words);
}

static void test_failures_all(void)
{
    const char *start =
        "\"config\": \"../lm/config.json\", \"tokenizer\": \"../tokenizer\", \"threads\": 1";
    char text[1024];
    struct dinm_error err = {0};
    if (rank == 0) {
        snprintf(text, sizeof text, "%s, \"steps\": 30, \"lr\": 1e3, \"weight_decay\": 1e3", start);
        write_job("diverges", "lm", text);
        snprintf(text, sizeof text, "%s, \"steps\": 3, \"lrr\": 1", start);
        write_job("bad_key", "lm", text);
        snprintf(text, sizeof text, "%s, \"steps\": 3, \"max_tokens\": 65", start);
        write_job("too_long", "lm", text);
        snprintf(text, sizeof text, "%s, \"steps\": 3, \"max_tokens\": 2", start);
        write_job("good", "lm", text);
        EXPECT(fixture_folder(folder, "blocked"));
        snprintf(text, sizeof text, "%s, \"steps\": 1", start);
        write_job("blocked", "lm", text);
        EXPECT(fixture_write(folder, "blocked/out", "a file, no folder"));
    }
    MPI_Barrier(MPI_COMM_WORLD);
    expect_failure_all("diverges", DINM_FAILED, "training stopped at step");
    expect_failure_all("bad_key", DINM_USAGE, "unknown key lrr; did you mean lr?");
    expect_failure_all("too_long", DINM_USAGE, "max_tokens is 65; the model takes 2 to 64 tokens");
    expect_failure_all("blocked", DINM_FAILED, "blocked/out");
    /* One rank alone reads a bad job: all end with its sentence. */
    for (int bad = 0; bad < size; bad++) {
        err = (struct dinm_error){0};
        EXPECT(train_all(MPI_COMM_WORLD, rank == bad ? "bad_key" : "good", &err) == DINM_USAGE);
        EXPECT_WORDS(err.text, "unknown key lrr");
    }
    EXPECT(train_all(MPI_COMM_WORLD, "good", NULL) == DINM_OK);
}

/* ---- the tree ---- */

enum { N_PARAMS = 1000 };

struct script {
    size_t bad_part;
    int n_computed;
};

static float value(size_t part, size_t i)
{
    return (float)(sin((double)(part * 7919 + i * 31 + 1)) * pow(10.0, (double)((part + i) % 9)));
}

static int compute(void *context, size_t part, float *grad, struct dinm_train_score *score,
                   int *worst, struct dinm_error *err)
{
    struct script *s = context;
    if (*worst < 0) {
        return DINM_OK;
    }
    s->n_computed++;
    if (part == s->bad_part) {
        return dinm_fail(err, DINM_FAILED, "part %zu broke", part);
    }
    for (size_t i = 0; i < N_PARAMS; i++) {
        EXPECT(grad[i] == 0.0f);
        grad[i] += value(part, i);
    }
    *score = (struct dinm_train_score){0.1 * (double)part, 1.0, 2.0};
    return DINM_OK;
}

/* The tree's own definition, by recursion. */
static float expected_sum(size_t first, size_t span, size_t n_parts, size_t i)
{
    if (span == 1) {
        return value(first, i);
    }
    const float left = expected_sum(first, span / 2, n_parts, i);
    if (first + span / 2 >= n_parts) {
        return left;
    }
    return left + expected_sum(first + span / 2, span / 2, n_parts, i);
}

static void check_tree_all(const struct dinm_grid *grid, size_t n_parts, size_t bad_part)
{
    struct dinm_train_tree tree = {0};
    struct dinm_error err = {0};
    struct script script = {.bad_part = bad_part};
    struct dinm_train_score score = {0};
    int worst = DINM_OK;
    size_t span = 1;
    size_t levels = 1;
    for (; span < n_parts; span *= 2) {
        levels++;
    }
    EXPECT(dinm_train_tree_init(&tree, grid, n_parts, N_PARAMS, &err) == DINM_OK);
    EXPECT(tree.n_slots <= tree.n_sends + levels && tree.n_sends <= levels);
    tree.compute = compute;
    tree.context = &script;
    for (int step = 0; step < 2; step++) {
        const int own = dinm_train_tree_sum_all(&tree, &score, &worst, &err);
        if (bad_part >= n_parts) {
            EXPECT(own == DINM_OK && worst == DINM_OK);
            EXPECT(grid->rank != 0 || score.n_units == (double)n_parts);
        } else {
            EXPECT(grid->rank != 0 || worst == DINM_FAILED);
            EXPECT((own == DINM_FAILED) ==
                   (bad_part * (size_t)grid->size / n_parts == (size_t)grid->rank));
        }
        for (size_t i = 0; grid->rank == 0 && bad_part >= n_parts && i < N_PARAMS; i++) {
            EXPECT(tree.slots[0][i] == expected_sum(0, span, n_parts, i));
        }
    }
    dinm_train_tree_free(&tree);
    EXPECT(bad_part < n_parts || dinm_agree_all(grid, DINM_OK, &err) == DINM_OK);
}

static void test_tree_all(void)
{
    struct dinm_grid grid = {0};
    struct dinm_error err = {0};
    EXPECT(dinm_grid_open_all(&grid, MPI_COMM_WORLD, 1, &err) == DINM_OK);
    for (size_t n_parts = 1; n_parts <= 17; n_parts++) {
        check_tree_all(&grid, n_parts, SIZE_MAX);
    }
    for (size_t bad = 0; bad < 6; bad++) {
        check_tree_all(&grid, 6, bad);
    }
    dinm_grid_close_all(&grid);
}

int main(int argc, char **argv)
{
    start_all(&argc, &argv);
    test_tree_all();
    test_same_bits_all();
    test_learns_all();
    test_failures_all();
    return finish_all();
}
