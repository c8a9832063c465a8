/* Stages: a small model cut into as many stages as there are ranks reads, locates and edits as one
 * stage does that reads every prompt by itself, bit for bit; whatever fails comes back and the ring
 * goes on, or ends on all ranks. */
#include "pipeline/cut.h"
#include "pipeline/decode.h"
#include "pipeline/edit.h"
#include "pipeline/prefix.h"
#include "pipeline/stage_private.h"
#include "tests/mpi/expect.h"
#include "tests/unit/faults.h"
#include "tests/unit/reference.h"

enum { N_REQUESTS = 24, N_ALIKE = 4, N_PROMPT = 24, N_TEXT = 15, N_PICKS = 5, N_LOCATED = 5 };

static MPI_Comm comm;
static int rank, size;

/* The same on all ranks but for the slice: this rank's layers. */
struct world {
    struct dinm_config config;
    struct dinm_settings s;
    char *folder;            /* owns: a model; edits are saved beneath it */
    struct dinm_slice slice; /* owns */
    struct dinm_generator g;
    size_t chunk_bytes;
    int32_t prompts[N_REQUESTS][N_PROMPT];
};

static void set(struct world *w, const char *key, const char *value)
{
    struct dinm_error err = {0};
    assert_ok(dinm_settings_apply_text(&w->s, key, value, &err), &err);
}

/* Stage `number` of n_stages. */
static void world_open(struct world *w, size_t number, size_t n_stages, size_t chunk_bytes)
{
    struct dinm_error err = {0};
    *w = (struct world){.config = small_config(false, 2), .chunk_bytes = chunk_bytes};
    w->config.n_layers = 5;
    float *flat = random_flat(&w->config, 41);
    w->folder = model_folder(&w->config, flat, DINM_F32);
    free(flat);
    size_t first[8];
    const double costs[] = {1.0, 1.0, 1.0, 1.0, 1.0};
    assert_ok(dinm_cut_evenly(first, costs, w->config.n_layers, n_stages, &err), &err);
    assert_ok(dinm_slice_open(&w->slice, w->folder, first[number], first[number + 1], &err), &err);
    assert_ok(dinm_settings_init(&w->s, DINM_PROFILE_PAPER, &err), &err);
    set(w, "edit.lr", "1e-2");
    set(w, "edit.steps", "4");
    set(w, "edit.save", "true");
    set(w, "run.out", w->folder);
    w->g = (struct dinm_generator){.config = &w->slice.config,
                                   .sampler = {.temperature = 0.8, .top_p = 1.0, .seed = 5},
                                   .max_sequences = 6,
                                   .max_rows = 16,
                                   .share_prefixes = true};
    for (size_t i = 0; i < N_REQUESTS; i++) {
        size_t n_like = i % N_ALIKE > 0 ? i * 5 % N_PROMPT : i * 3 % N_PROMPT;
        fill_ids(w->prompts[i], N_PROMPT, &w->config, 60 + i);
        /* begins like others with its edit, or as the first of another edit */
        memcpy(w->prompts[i], w->prompts[i % N_ALIKE > 0 ? i / N_ALIKE * N_ALIKE : 0],
               n_like * sizeof(int32_t));
    }
}

static void world_close(struct world *w)
{
    dinm_slice_close(&w->slice);
    dinm_settings_free(&w->s);
    remove_folder(w->folder);
}

static void stage_open(struct dinm_stage *stage, const struct world *w, int number, int n_stages)
{
    dinm_stage_open(stage, &w->slice, &w->s, n_stages > 1 ? comm : MPI_COMM_NULL, number, n_stages,
                    w->chunk_bytes);
    stage->sampler = w->g.sampler;
}

/* Two texts of unequal length, the second padded on the left. */
static int ask_locate(struct dinm_stage *stage, const struct world *w, size_t i,
                      struct dinm_error *err)
{
    size_t n = 6 + 3 * i;
    struct dinm_item *item = dinm_item_new(DINM_ITEM_LOCATE,
                                           (struct dinm_item_counts){.n_sequences = 2,
                                                                     .n_ids = 2 * n,
                                                                     .n_values = w->config.n_layers,
                                                                     .n_rows = 2 * n,
                                                                     .width = w->config.d_model},
                                           err);
    if (item == NULL) {
        return DINM_FAILED;
    }
    item->task = i;
    for (size_t side = 0; side < 2; side++) {
        dinm_item_sequences(item)[side] =
            (struct dinm_item_sequence){.n_rows = n, .key_first = side * i, .key_last = n};
        fill_ids(dinm_item_ids(item) + side * n, n, &w->config, 80 + 2 * i + side);
    }
    return dinm_stage_ask(stage, item, err);
}

/* The edit of `layer` under the number layer + 1, on texts of its own. */
static int ask_edit(struct dinm_stage *stage, const struct world *w, size_t layer,
                    struct dinm_error *err)
{
    int32_t ids[2][N_TEXT], labels[N_PICKS];
    size_t rows[N_PICKS];
    struct dinm_target t[2];
    for (size_t k = 0; k < 2; k++) {
        fill_ids(ids[k], N_TEXT, &w->config, 300 + 2 * layer + k);
        t[k] = (struct dinm_target){.ids = {ids[k], N_TEXT - layer, N_TEXT},
                                    .rows = rows,
                                    .labels = labels,
                                    .n_rows = N_PICKS};
    }
    for (size_t i = 0; i < N_PICKS; i++) {
        rows[i] = N_TEXT - layer - 1 - N_PICKS + i;
        labels[i] = ids[0][rows[i] + 1];
    }
    return dinm_edit_ask(stage, &t[0], &t[1], layer, layer + 1, layer, err);
}

/* Takes what is under way; the values of each go to out, by the items' task. The first failure is
 * returned when all are back. */
static int take_all(struct dinm_stage *stage, struct dinm_buffer *out, size_t base,
                    struct dinm_error *err)
{
    while (stage->n_asked > 0) {
        struct dinm_item *item;
        if (dinm_stage_result(stage, &item, err) < 0) {
            return DINM_FAILED;
        }
        if (item->error.status < 0) {
            dinm_fail(err, item->error.status, "%s", item->error.text);
        } else {
            dinm_buffer_append(&out[(size_t)item->task - base], dinm_item_values(item),
                               (size_t)item->n_values * sizeof(float), err);
        }
        free(item);
    }
    return err->status;
}

static int drop_all(struct dinm_stage *stage, size_t n, struct dinm_error *err)
{
    int status = DINM_OK;
    for (size_t i = 0; i < n; i++) {
        struct dinm_item *drop = dinm_item_new(DINM_ITEM_DROP, (struct dinm_item_counts){0}, err);
        TRY(drop != NULL ? DINM_OK : DINM_FAILED);
        drop->task = i + 1;
        TRY(dinm_stage_tell(stage, drop, err));
    }
out:
    return status;
}

/* requests: [N_REQUESTS] */
static void make_requests(const struct world *w, struct dinm_request *requests)
{
    for (size_t i = 0; i < N_REQUESTS; i++) {
        requests[i] = (struct dinm_request){.ids = w->prompts[i],
                                            .n_ids = 1 + (i * 7) % N_PROMPT,
                                            .edit = i / N_ALIKE % (w->config.n_layers + 1),
                                            .edit_layer = (i / N_ALIKE + w->config.n_layers) %
                                                          (w->config.n_layers + 1),
                                            .max_new = 1 + i * 5 % 9,
                                            .stream = i};
    }
}

/* Tokens that need not be read. */
static size_t count_shared(const struct world *w)
{
    struct dinm_request requests[N_REQUESTS];
    struct dinm_prefix places[N_REQUESTS];
    size_t n = 0;
    make_requests(w, requests);
    for (size_t i = 0; i < N_REQUESTS; i++) {
        places[i] = (struct dinm_prefix){.request = &requests[i]};
    }
    dinm_prefix_find(places, N_REQUESTS);
    for (size_t i = 0; i < N_REQUESTS; i++) {
        n += places[i].n_shared;
    }
    return n;
}

static int answer(struct dinm_stage *stage, const struct world *w, struct dinm_buffer *out,
                  struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_request requests[N_REQUESTS];
    struct dinm_ids answers[N_REQUESTS] = {{0}};
    make_requests(w, requests);
    TRY(dinm_generate(&w->g, stage, requests, N_REQUESTS, answers, err));
    for (size_t i = 0; i < N_REQUESTS; i++) {
        TRY(dinm_buffer_append(out, answers[i].ids, answers[i].n_ids * sizeof(int32_t), err));
    }
out:
    for (size_t i = 0; i < N_REQUESTS; i++) {
        dinm_ids_free(&answers[i]);
    }
    return status;
}

/* The deltas that the edits have saved. */
static int append_saved(const struct world *w, struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    char path[600];
    for (size_t layer = 0; layer < w->config.n_layers; layer++) {
        snprintf(path, sizeof path, "%s/edits/case-%06zu.safetensors", w->s.run.out, layer);
        struct dinm_buffer bytes = {0};
        status = dinm_file_read(path, &bytes, err);
        if (status == DINM_OK) {
            status = dinm_buffer_append(out, bytes.data, bytes.n_bytes, err);
        }
        dinm_buffer_free(&bytes);
        TRY(status);
    }
out:
    return status;
}

/* Distances, losses, answers with and without edits: all that a driver can see of its stages. */
static int work(struct dinm_stage *stage, const struct world *w, struct dinm_buffer *out,
                struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_error ignored = {0};
    struct dinm_buffer parts[2 * N_LOCATED] = {{0}};
    out->n_bytes = 0;
    for (size_t i = 0; i < N_LOCATED; i++) {
        TRY(ask_locate(stage, w, i, err));
    }
    TRY(take_all(stage, parts, 0, err));
    for (size_t layer = 0; layer < w->config.n_layers; layer++) {
        TRY(ask_edit(stage, w, layer, err));
    }
    TRY(take_all(stage, parts + N_LOCATED, 1, err));
    for (size_t i = 0; i < 2 * N_LOCATED; i++) {
        TRY(dinm_buffer_append(out, parts[i].data, parts[i].n_bytes, err));
    }
    TRY(answer(stage, w, out, err));
    TRY(drop_all(stage, w->config.n_layers, err));
    TRY(answer(stage, w, out, err)); /* nobody has an edited matrix any more */
out:
    if (status < 0) { /* the next work finds nothing of this one */
        take_all(stage, parts, 0, &(struct dinm_error){0});
        drop_all(stage, w->config.n_layers, &ignored);
    }
    for (size_t i = 0; i < 2 * N_LOCATED; i++) {
        dinm_buffer_free(&parts[i]);
    }
    return status;
}

/* What one stage gives, deltas behind it. */
static void work_alone(struct dinm_buffer *out)
{
    struct world w;
    struct dinm_stage stage;
    struct dinm_error err = {0};
    world_open(&w, 0, 1, 0);
    w.g.share_prefixes = false;
    stage_open(&stage, &w, 0, 1);
    EXPECT(work(&stage, &w, out, &err) == DINM_OK);
    EXPECT(stage.n_prompt_read > 0 && stage.n_prompt_shared == 0);
    EXPECT(append_saved(&w, out, &err) == DINM_OK);
    EXPECT(err.status == DINM_OK);
    dinm_stage_close(&stage);
    world_close(&w);
}

static bool same(const struct dinm_buffer *a, const struct dinm_buffer *b, size_t n_bytes)
{
    return a->n_bytes >= n_bytes && b->n_bytes >= n_bytes && memcmp(a->data, b->data, n_bytes) == 0;
}

/* Cut into stages, prompts read in pieces: the same bits, twice, and the same deltas from whichever
 * stage saved them. */
static void check_same(const struct dinm_buffer *alone, size_t chunk_bytes, size_t max_rows)
{
    struct world w;
    struct dinm_stage stage;
    struct dinm_error err = {0};
    struct dinm_buffer out = {0};
    world_open(&w, (size_t)rank, (size_t)size, chunk_bytes);
    w.g.max_rows = max_rows;
    MPI_Bcast(w.s.run.out, (int)strlen(w.s.run.out), MPI_CHAR, 0, comm); /* one folder for all */
    stage_open(&stage, &w, rank, size);
    if (rank > 0) {
        EXPECT(dinm_stage_serve_all(&stage, &err) == DINM_OK);
        EXPECT(dinm_stage_serve_all(&stage, &err) == DINM_OK);
    } else {
        EXPECT(work(&stage, &w, &out, &err) == DINM_OK);
        EXPECT(stage.n_caches == 0 && stage.n_edits == 0 && stage.parts == NULL);
        EXPECT(dinm_stage_end_all(&stage, &err) == DINM_OK);
        EXPECT(same(&out, alone, out.n_bytes));
        EXPECT(work(&stage, &w, &out, &err) == DINM_OK);
        EXPECT(dinm_stage_end_all(&stage, &err) == DINM_OK);
        EXPECT(append_saved(&w, &out, &err) == DINM_OK);
        EXPECT(out.n_bytes == alone->n_bytes && same(&out, alone, out.n_bytes));
        EXPECT(count_shared(&w) > 100 && stage.n_prompt_shared == 4 * count_shared(&w));
        EXPECT(stage.n_prompt_late > 10);
        if (getenv("DINM_TEST_VERBOSE") != NULL) {
            printf("%d stages: %llu prompt rows enter late\n", size,
                   (unsigned long long)stage.n_prompt_late);
        }
    }
    EXPECT(err.status == DINM_OK);
    if (err.status < 0) {
        fprintf(stderr, "    the text is: %s\n", err.text);
    }
    dinm_stage_close(&stage);
    MPI_Barrier(comm);
    world_close(&w);
    dinm_buffer_free(&out);
}

/* Work that fails by itself, each time followed by work that must be as if nothing had been. */
static void fail_and_go_on(struct dinm_stage *stage, struct world *w,
                           const struct dinm_buffer *alone)
{
    struct dinm_buffer out = {0};
    struct dinm_error err = {0};
    int32_t good = w->prompts[3][2];
    w->prompts[3][2] = (int32_t)w->config.n_vocab;
    EXPECT(work(stage, w, &out, &err) == DINM_FAILED);
    EXPECT_WORDS(err.text, "not in the model's vocabulary of 50");
    w->prompts[3][2] = good;
    EXPECT(stage->n_asked == 0 && stage->n_caches == 0);
    err = (struct dinm_error){0};
    EXPECT(work(stage, w, &out, &err) == DINM_OK);
    EXPECT(same(&out, alone, out.n_bytes));
    dinm_buffer_free(&out);
}

static void check_failing(const struct dinm_buffer *alone)
{
    struct world w;
    struct dinm_stage stage;
    struct dinm_error err = {0};
    world_open(&w, (size_t)rank, (size_t)size, 0);
    stage_open(&stage, &w, rank, size);
    if (rank > 0) {
        EXPECT(dinm_stage_serve_all(&stage, &err) == DINM_OK);
    } else {
        fail_and_go_on(&stage, &w, alone);
        EXPECT(dinm_stage_end_all(&stage, &err) == DINM_OK);
    }
    /* Steps that lead nowhere: every edit comes back with its reason, and nothing is left of it. */
    w.s.edit.lr = 1e300;
    if (rank > 0) {
        EXPECT(dinm_stage_serve_all(&stage, &err) == DINM_OK);
    } else {
        for (size_t layer = 0; layer < w.config.n_layers; layer++) {
            struct dinm_item *item;
            EXPECT(ask_edit(&stage, &w, layer, &err) == DINM_OK);
            EXPECT(dinm_stage_result(&stage, &item, &err) == DINM_OK);
            EXPECT(item->error.status == DINM_FAILED && item->task == layer + 1);
            EXPECT_WORDS(item->error.text, "loss of its edit");
            free(item);
        }
        EXPECT(stage.parts == NULL && stage.n_edits == 0);
        EXPECT(dinm_stage_end_all(&stage, &err) == DINM_OK);
    }
    EXPECT(err.status == DINM_OK);
    dinm_stage_close(&stage);
    MPI_Barrier(comm);
    world_close(&w);
}

/* The driver ends while work of every kind is under way. */
static void check_ending(void)
{
    struct world w;
    struct dinm_stage stage;
    struct dinm_error err = {0};
    world_open(&w, (size_t)rank, (size_t)size, 0);
    stage_open(&stage, &w, rank, size);
    for (size_t round = 0; round < 4; round++) {
        if (rank > 0) {
            EXPECT(dinm_stage_serve_all(&stage, &err) == DINM_OK);
        } else {
            for (size_t i = 0; i < N_LOCATED; i++) {
                EXPECT(ask_locate(&stage, &w, i, &err) == DINM_OK);
                EXPECT(ask_edit(&stage, &w, i, &err) == DINM_OK);
            }
            for (size_t i = 0; i < round; i++) {
                struct dinm_item *item;
                EXPECT(dinm_stage_result(&stage, &item, &err) == DINM_OK);
                free(item);
            }
            EXPECT(dinm_stage_end_all(&stage, &err) == DINM_OK);
        }
        EXPECT(stage.n_asked == 0 && stage.n_edits == 0 && stage.parts == NULL);
        EXPECT(stage.ring.first == NULL && stage.ring.finished == NULL);
    }
    dinm_stage_close(&stage);
    MPI_Barrier(comm);
    world_close(&w);
}

/* The driver's part with one allocation failing somewhere: the first work that is not hit, or comes
 * behind the failure, is right. Returns the ring's outcome. */
static int work_twice(struct dinm_stage *stage, struct world *w, const struct dinm_buffer *alone,
                      struct dinm_error *err)
{
    struct dinm_buffer out = {0};
    int n_failed = 0;
    for (int round = 0; round < 2; round++) {
        struct dinm_error failure = {0};
        if (work(stage, w, &out, &failure) < 0) {
            EXPECT_WORDS(failure.text, "not enough memory");
            n_failed++;
        } else {
            EXPECT(same(&out, alone, out.n_bytes));
        }
    }
    dinm_buffer_free(&out);
    int status = dinm_stage_end_all(stage, err);
    EXPECT(n_failed < 2 || status < 0); /* one failure spoils one work, or the ring */
    return status;
}

/* Rank `poor` has no memory for its n-th allocation. */
static void check_memory(const struct dinm_buffer *alone, int poor)
{
    struct world w;
    int hit = 1, n_broken = 0, n_hit = 0;
    MPI_Allreduce(MPI_IN_PLACE, &n_failures, 1, MPI_INT, MPI_MAX, comm); /* all go on, or none */
    world_open(&w, (size_t)rank, (size_t)size, 0);
    for (size_t nth = 1; hit && n_failures == 0; nth += 1 + nth / 4) {
        struct dinm_stage stage;
        struct dinm_error err = {0};
        stage_open(&stage, &w, rank, size);
        fault_set(rank == poor ? FAULT_MEMORY : FAULT_NONE, nth);
        int status =
            rank == 0 ? work_twice(&stage, &w, alone, &err) : dinm_stage_serve_all(&stage, &err);
        hit = fault_end();
        MPI_Bcast(&hit, 1, MPI_INT, poor, comm);
        EXPECT(status == DINM_OK || hit);
        if (status < 0) {
            EXPECT_WORDS(err.text, "not enough memory");
        }
        n_hit += hit;
        n_broken += status < 0;
        dinm_stage_close(&stage);
        MPI_Allreduce(MPI_IN_PLACE, &n_failures, 1, MPI_INT, MPI_MAX, comm);
    }
    /* What is missing for a message breaks the ring; for the work itself, only the work. */
    EXPECT(n_hit > 5 && (poor > 0 || n_broken < n_hit));
    if (rank == 0 && getenv("DINM_TEST_VERBOSE") != NULL) {
        printf("rank %d poor: %d failures, %d of them broke the ring\n", poor, n_hit, n_broken);
    }
    world_close(&w);
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    struct dinm_buffer alone = {0};
    work_alone(&alone);
    check_same(&alone, 0, 16);
    check_same(&alone, (size_t)1 << 30, 3);
    check_failing(&alone);
    check_ending();
    for (int poor = 0; poor < size; poor++) {
        check_memory(&alone, poor);
    }
    dinm_buffer_free(&alone);
    int status = verdict_all();
    MPI_Comm_free(&comm);
    MPI_Finalize();
    return status;
}
