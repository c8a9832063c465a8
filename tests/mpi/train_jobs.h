/* For tests of training over ranks: jobs in a folder of their own, run and compared. */
#ifndef DINM_TESTS_MPI_TRAIN_JOBS_H
#define DINM_TESTS_MPI_TRAIN_JOBS_H

#include <math.h>
#include "io/json.h"
#include "io/log.h"
#include "pipeline/train.h"
#include "tests/mpi/folder.h"
#include "tests/train_fixture.h"

static int rank, size;
static char folder[FOLDER_ROOM];

/* Writes JOB/job.json, whose data lie one folder up. Rank 0. */
static void write_job(const char *job, const char *objective, const char *rest)
{
    struct dinm_buffer text = {0};
    char name[PATH_ROOM];
    EXPECT(fixture_folder(folder, job));
    dinm_buffer_append_format(&text, NULL,
                              "{\"train\": {\"objective\": \"%s\", \"data\": \"../%s.jsonl\","
                              "\"held_out\": \"../%s_held.jsonl\", \"out\": \"out\", %s}}",
                              objective, objective, objective, rest);
    snprintf(name, sizeof name, "%s/job.json", job);
    EXPECT(fixture_write(folder, name, text.data));
    dinm_buffer_free(&text);
}

static int train_all(MPI_Comm comm, const char *job, struct dinm_error *err)
{
    char path[PATH_ROOM];
    snprintf(path, sizeof path, "%s/%s/job.json", folder, job);
    return dinm_train_all(comm, path, err);
}

/* The same file in the output of two jobs. */
static void expect_same_file(const char *a, const char *b, const char *name)
{
    char path[PATH_ROOM];
    struct dinm_buffer texts[2] = {0};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s/out/%s", folder, i == 0 ? a : b, name);
        EXPECT(dinm_file_read(path, &texts[i], NULL) == DINM_OK);
    }
    EXPECT(texts[0].n_bytes > 0 && texts[0].n_bytes == texts[1].n_bytes);
    if (texts[0].n_bytes == texts[1].n_bytes && texts[0].n_bytes > 0) {
        EXPECT(memcmp(texts[0].data, texts[1].data, texts[0].n_bytes) == 0);
    }
    dinm_buffer_free(&texts[0]);
    dinm_buffer_free(&texts[1]);
}

/* A number of a job's train.json. */
static double result_of(const char *job, const char *key)
{
    char path[PATH_ROOM];
    cJSON *tree = NULL;
    double value = NAN;
    snprintf(path, sizeof path, "%s/%s/out/train.json", folder, job);
    EXPECT(dinm_json_load(path, &tree, NULL) == DINM_OK);
    EXPECT(dinm_json_get_number((struct dinm_json){tree, path}, key, &value, NULL) == DINM_OK);
    cJSON_Delete(tree);
    return value;
}

/* Every file that two jobs leave is the same. Rank 0 looks. */
static void expect_same_output(const char *a, const char *b)
{
    static const char *const names[] = {"model.safetensors", "train.json",
                                        "loss.csv",          "config.json",
                                        "tokenizer.json",    "tokenizer_config.json"};
    for (size_t i = 0; rank == 0 && i < sizeof names / sizeof names[0]; i++) {
        expect_same_file(a, b, names[i]);
    }
}

/* MPI, the folder and the fixture in it. */
static void start_all(int *argc, char ***argv)
{
    MPI_Init(argc, argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (getenv("DINM_TEST_TALKS") == NULL) {
        dinm_log_set_level(DINM_LOG_ERROR);
    }
    make_folder_all(folder);
    if (rank == 0) {
        EXPECT(fixture_make(folder));
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

/* The program's exit status. */
static int finish_all(void)
{
    remove_folder_all(folder);
    const int verdict = verdict_all();
    MPI_Finalize();
    return verdict;
}

#endif
