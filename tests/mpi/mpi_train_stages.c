/* Training with layers over ranks: the same bytes for every number of groups and stages, tied and
 * separate heads, odd shapes; whichever stage fails at whichever part, all end with its sentence.
 */
#include "pipeline/train_step.h"
#include "tests/mpi/train_jobs.h"

/* Seven layers of odd shapes. */
static const char tied[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_size\": 36,"
    "\"num_hidden_layers\": 7, \"num_attention_heads\": 3, \"num_key_value_heads\": 1,"
    "\"intermediate_size\": 52, \"vocab_size\": 37, \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000,"
    "\"max_position_embeddings\": 40, \"tie_word_embeddings\": true, \"hidden_act\": \"silu\"}";
/* The same with biases and a head of its own. */
static const char separate[] =
    "{\"architectures\": [\"Qwen2ForCausalLM\"], \"model_type\": \"qwen2\", \"hidden_size\": 20,"
    "\"num_hidden_layers\": 6, \"num_attention_heads\": 2, \"num_key_value_heads\": 2,"
    "\"intermediate_size\": 28, \"vocab_size\": 33, \"rms_norm_eps\": 1e-6, \"rope_theta\": 10000,"
    "\"max_position_embeddings\": 64, \"tie_word_embeddings\": false, \"hidden_act\": \"silu\"}";

/* A classifier of six. */
static const char classifier[] =
    "{\"architectures\": [\"RobertaForSequenceClassification\"], \"model_type\": \"roberta\","
    "\"hidden_size\": 20, \"num_hidden_layers\": 6, \"num_attention_heads\": 2,"
    "\"intermediate_size\": 36, \"vocab_size\": 35, \"max_position_embeddings\": 32,"
    "\"type_vocab_size\": 1, \"layer_norm_eps\": 1e-5, \"pad_token_id\": 2, \"hidden_act\": "
    "\"gelu\"}";

/* ---- whole trainings ---- */

static const char rest[] =
    "\"tokenizer\": \"../tokenizer\", \"steps\": 5, \"batch\": 11, \"parts\": 4, \"lr\": 0.01,"
    "\"warmup\": 2, \"weight_decay\": 0.1, \"seed\": 4, \"every\": 4, \"held_out_every\": 2,"
    "\"save_every\": 2, \"clip\": 0.5";

/* A job alone on rank 0, and on all ranks in every number of stages. */
static void compare_all(const char *objective, const char *start, int most_stages)
{
    struct dinm_error err = {0};
    char text[1024];
    if (rank == 0) {
        snprintf(text, sizeof text, "%s, %s, \"threads\": 2", start, rest);
        write_job("alone", objective, text);
        EXPECT(train_all(MPI_COMM_SELF, "alone", &err) == DINM_OK);
    }
    for (int n_stages = 1; n_stages <= size && n_stages <= most_stages; n_stages++) {
        if (size % n_stages != 0) {
            continue;
        }
        if (rank == 0) {
            snprintf(text, sizeof text, "%s, %s, \"threads\": 1, \"stages\": %d", start, rest,
                     n_stages);
            write_job("together", objective, text);
        }
        MPI_Barrier(MPI_COMM_WORLD);
        EXPECT(train_all(MPI_COMM_WORLD, "together", &err) == DINM_OK);
        EXPECT(err.text[0] == '\0');
        MPI_Barrier(MPI_COMM_WORLD);
        expect_same_output("alone", "together");
        EXPECT(rank > 0 || result_of("together", "held_out_loss") > 0.0);
    }
}

static void test_same_bytes_all(void)
{
    if (rank == 0) {
        EXPECT(fixture_folder(folder, "tied") && fixture_folder(folder, "separate") &&
               fixture_folder(folder, "classifier"));
        EXPECT(fixture_write(folder, "classifier/config.json", classifier));
        EXPECT(fixture_write(folder, "tied/config.json", tied));
        EXPECT(fixture_write(folder, "separate/config.json", separate));
    }
    compare_all("lm", "\"config\": \"../tied/config.json\"", 7);
    compare_all("lm", "\"config\": \"../separate/config.json\"", 6);
    compare_all("classify", "\"config\": \"../classifier/config.json\"", 6);
    /* A checkpoint is gone on from: every stage reads its own part, the last the tied head too. */
    if (rank == 0) {
        char text[1024];
        struct dinm_error err = {0};
        snprintf(text, sizeof text, "\"config\": \"../tied/config.json\", %s", rest);
        write_job("before", "lm", text);
        EXPECT(train_all(MPI_COMM_SELF, "before", &err) == DINM_OK);
    }
    compare_all("lm", "\"init\": \"../before/out\"", 7);
}

static void test_refusals_all(void)
{
    struct dinm_error err = {0};
    char text[1024], words[64];
    if (rank == 0) {
        snprintf(text, sizeof text, "\"config\": \"../tied/config.json\", %s, \"stages\": %d", rest,
                 size + 1);
        write_job("no_cut", "lm", text);
        snprintf(text, sizeof text, "\"config\": \"../lm/config.json\", %s, \"stages\": %d", rest,
                 size);
        write_job("few_layers", "lm", text);
        snprintf(text, sizeof text, "\"config\": \"../classify/config.json\", %s, \"stages\": %d",
                 rest, size);
        write_job("few_layers_too", "classify", text);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    EXPECT(train_all(MPI_COMM_WORLD, "no_cut", &err) == DINM_USAGE);
    snprintf(words, sizeof words, "stages is %d, which does not divide the %d rank", size + 1,
             size);
    EXPECT_WORDS(err.text, words);
    if (size > 2) {
        err = (struct dinm_error){0};
        EXPECT(train_all(MPI_COMM_WORLD, "few_layers", &err) == DINM_USAGE);
        EXPECT_WORDS(err.text, "the model has only 2 layers to share");
        err = (struct dinm_error){0};
        EXPECT(train_all(MPI_COMM_WORLD, "few_layers_too", &err) == DINM_USAGE);
        EXPECT_WORDS(err.text, "the model has only 1 layers to share");
    }
}

/* Rank 0 cannot write a file before, or the one with, the weights: nobody waits for it. */
static void test_blocked_all(void)
{
    static const char *const jobs[] = {"blocked", "blocked_too"};
    static const char *const in_the_way[] = {"blocked/out/config.json/a",
                                             "blocked_too/out/model.safetensors/a"};
    static const char *const words[] = {"out/config.json", "out/model.safetensors"};
    for (size_t i = 0; i < 2; i++) {
        struct dinm_error err = {0};
        char text[1024];
        if (rank == 0) {
            snprintf(text, sizeof text, "\"config\": \"../tied/config.json\", %s, \"stages\": %d",
                     rest, size < 7 ? size : 1);
            write_job(jobs[i], "lm", text);
            EXPECT(fixture_folder(folder, in_the_way[i]));
        }
        MPI_Barrier(MPI_COMM_WORLD);
        EXPECT(train_all(MPI_COMM_WORLD, jobs[i], &err) == DINM_FAILED);
        EXPECT_WORDS(err.text, words[i]);
    }
}

/* ---- a trainer made by hand ---- */

/* Who fails, and when: in the call of this number. */
static int bad_rank, bad_call, n_calls;

static int prepare_or_fail(struct dinm_train_model *m, const struct dinm_train_lesson *lesson,
                           struct dinm_error *err)
{
    if (n_calls++ == bad_call && rank == bad_rank) {
        return dinm_fail(err, DINM_FAILED, "rank %d broke", rank);
    }
    return dinm_train_lm.prepare(m, lesson, err);
}

static struct dinm_train_objective breakable; /* dinm_train_lm with prepare_or_fail */

static int open_trainer_all(struct dinm_trainer *t, MPI_Comm comm, int n_stages, size_t chunk_bytes,
                            struct dinm_error *err)
{
    int status = DINM_OK;
    char config[PATH_ROOM], path[PATH_ROOM];
    *t = (struct dinm_trainer){0};
    t->settings = (struct dinm_train_settings){.objective = &breakable,
                                               .batch = 10,
                                               .parts = 5,
                                               .steps = 4,
                                               .lr = 0.01,
                                               .beta1 = 0.9,
                                               .beta2 = 0.99,
                                               .eps = 1e-8,
                                               .clip = 0.1,
                                               .weight_decay = 0.1};
    snprintf(config, sizeof config, "%s/tied/config.json", folder);
    snprintf(path, sizeof path, "%s/tokenizer", folder);
    TRY(dinm_train_place_open_all(&t->place, comm, 1, err));
    t->place.grid.chunk_bytes = chunk_bytes;
    TRY(dinm_train_place_cut_all(&t->place, n_stages, err));
    TRY(dinm_train_decoder.open(&t->model, &t->place.group, config, NULL, 3, err));
    TRY(dinm_train_share_ends_all(t, err));
    TRY(dinm_tokenizer_open(&t->tokenizer, path, err));
    const struct dinm_train_reader reader = {&dinm_train_lm, t->tokenizer, t->model.max_tokens, 0};
    snprintf(path, sizeof path, "%s/lm.jsonl", folder);
    TRY(dinm_train_data_load(&t->data, path, &reader, err));
    TRY(dinm_train_order_init(&t->order, t->data.n_records, 2, err));
    TRY(dinm_train_tree_init(&t->tree, &t->place.peers, 5, t->model.n_params, err));
    t->tree.compute = dinm_train_compute_part;
    t->tree.context = t;
    t->batch = dinm_alloc(10, sizeof *t->batch, "the batch", err);
    t->moments = dinm_alloc(t->model.n_params, 2 * sizeof *t->moments, "moments", err);
    TRY(t->batch == NULL || t->moments == NULL ? DINM_FAILED : DINM_OK);
out:
    return status;
}

static void close_trainer_all(struct dinm_trainer *t)
{
    dinm_train_decoder.close(&t->model);
    free(t->model.flat);
    dinm_tokenizer_close(t->tokenizer);
    dinm_train_data_free(&t->data);
    dinm_train_order_free(&t->order);
    dinm_train_pack_free(&t->pack);
    dinm_train_tree_free(&t->tree);
    free(t->batch);
    free(t->moments);
    dinm_train_place_close_all(&t->place);
}

/* Messages cut to 100 bytes; every group's weights, and the roots' moments, those of one rank. */
static void check_weights_all(int n_stages)
{
    struct dinm_trainer t, alone;
    struct dinm_error err = {0};
    bad_rank = -1;
    EXPECT(open_trainer_all(&t, MPI_COMM_WORLD, n_stages, 100, &err) == DINM_OK);
    EXPECT(open_trainer_all(&alone, MPI_COMM_SELF, 1, (size_t)1 << 30, &err) == DINM_OK);
    for (int64_t step = 1; step <= 3; step++) {
        EXPECT(dinm_train_step_all(&t, step, &err) == DINM_OK);
        EXPECT(dinm_train_step_all(&alone, step, &err) == DINM_OK);
    }
    EXPECT(err.text[0] == '\0');
    const size_t first = t.model.first_param, n = t.model.n_params;
    EXPECT(first + n <= alone.model.n_params && n > 0);
    EXPECT((n < alone.model.n_params) == (n_stages > 1));
    EXPECT(memcmp(t.model.flat, alone.model.flat + first, n * sizeof(float)) == 0);
    if (t.place.peers.rank == 0) {
        EXPECT(memcmp(t.moments, alone.moments + first, n * sizeof(float)) == 0);
        EXPECT(t.now.norm == alone.now.norm && t.now.loss == alone.now.loss);
    }
    if (t.place.group.rank == n_stages - 1 && n_stages > 1) {
        EXPECT(memcmp(t.model.shared, alone.model.flat, t.model.n_shared * sizeof(float)) == 0);
    }
    close_trainer_all(&t);
    close_trainer_all(&alone);
}

/* Rank `who` fails in its call `when`, if it has so many: all ranks end with its sentence. */
static void check_failure_all(int n_stages, int who, int when)
{
    struct dinm_trainer t;
    struct dinm_error err = {0};
    char words[64];
    int status = DINM_OK;
    bad_rank = who;
    bad_call = when;
    n_calls = 0;
    EXPECT(open_trainer_all(&t, MPI_COMM_WORLD, n_stages, (size_t)1 << 30, &err) == DINM_OK);
    for (int64_t step = 1; step <= 2 && status == DINM_OK; step++) {
        status = dinm_train_step_all(&t, step, &err);
    }
    int called = n_calls > when;
    MPI_Bcast(&called, 1, MPI_INT, who, MPI_COMM_WORLD);
    snprintf(words, sizeof words, "rank %d broke", who);
    EXPECT(status == (called ? DINM_FAILED : DINM_OK));
    EXPECT((strstr(err.text, words) != NULL) == called);
    close_trainer_all(&t);
}

/* The same while the held-out records are scored. */
static void check_score_failure_all(int n_stages, int who, int when)
{
    struct dinm_trainer t;
    struct dinm_error err = {0};
    struct dinm_train_score score = {0};
    char words[64];
    bad_rank = -1;
    EXPECT(open_trainer_all(&t, MPI_COMM_WORLD, n_stages, (size_t)1 << 30, &err) == DINM_OK);
    bad_rank = who;
    bad_call = when;
    n_calls = 0;
    EXPECT(dinm_train_score_all(&t.place, &t.settings, &t.model, &t.data, &score, &err) ==
           DINM_FAILED);
    snprintf(words, sizeof words, "rank %d broke", who);
    EXPECT_WORDS(err.text, words);
    close_trainer_all(&t);
}

static void test_stages_all(void)
{
    breakable = dinm_train_lm;
    breakable.prepare = prepare_or_fail;
    for (int n_stages = 1; n_stages <= size; n_stages++) {
        if (size % n_stages != 0) {
            continue;
        }
        check_weights_all(n_stages);
        for (int who = 0; who < size; who++) {
            for (int when = 0; when < 4; when++) {
                check_failure_all(n_stages, who, when);
            }
            check_score_failure_all(n_stages, who, 2);
        }
    }
}

int main(int argc, char **argv)
{
    start_all(&argc, &argv);
    test_same_bytes_all();
    test_refusals_all();
    test_blocked_all();
    test_stages_all();
    return finish_all();
}
