/* The job's parts opened and closed. */
#include "pipeline/job.h"

#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "io/mem.h"

/* This stage's layers: first is [n_stages + 1], as the plan cut them. */
static int open_slice(struct dinm_job *job, const size_t *first, size_t n_rows, size_t n_keys,
                      struct dinm_error *err)
{
    int status = DINM_OK;
    size_t stage = (size_t)job->grid.stage;
    /* Scratch for the largest of all passes at once: growing step by step takes more. */
    const struct dinm_sequence longest = {.n_rows = n_keys};
    const struct dinm_rows rows = {.sequences = &longest, .n_sequences = 1, .n_rows = n_rows};
    TRY(dinm_slice_open(&job->slice, job->settings->model.path, first[stage], first[stage + 1],
                        err));
    TRY(dinm_compute_use(&job->slice, job->way, job->grid.rank == 0, err));
    job->layers[0] = first[stage];
    job->layers[1] = first[stage + 1] - 1;
    dinm_stage_open(&job->stage, &job->slice, job->settings, job->grid.stages, job->grid.stage,
                    job->grid.n_stages, job->grid.chunk_bytes);
    job->stage.sampler = job->generator.sampler;
    TRY(dinm_workspace_reserve(&job->stage.ws, &job->slice.config, &rows, err));
out:
    return status;
}

/* Digest of the selected cases' ids, which cases.limit and cases.ids decide. */
static uint64_t digest_selection(const struct dinm_cases *cases, uint64_t seed)
{
    for (size_t i = 0; i < cases->n_cases; i++) {
        seed = dinm_digest(&cases->cases[i].id, sizeof cases->cases[i].id, seed);
    }
    return seed;
}

static int add_setting(void *details, const char *key, const char *value, struct dinm_error *err)
{
    return dinm_details_add_setting(details, key, value, err);
}

/* Rank 0's part. */
static int digest_inputs(struct dinm_job *job, struct dinm_digest_memory *memory,
                         struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_digests *d = &job->digests;
    TRY(dinm_settings_digest(job->settings, &d->settings, err));
    if (job->way != NULL) { /* another way of computing, other bits */
        d->settings = dinm_digest(job->way->name, strlen(job->way->name), d->settings);
        TRY(dinm_details_add_setting(&job->details, DINM_COMPUTE_WAY, job->way->name, err));
    }
    TRY(dinm_settings_visit(job->settings, add_setting, &job->details, err));
    TRY(dinm_digests_read(d, job->settings, memory, &job->details, err));
    d->cases = digest_selection(&job->cases, d->cases);
    d->questions = job->questions.n_questions > 0 ? d->questions : 0;
out:
    return status;
}

/* Rank 0 reads the files; the others get the numbers. */
static int digest_inputs_all(struct dinm_job *job, struct dinm_digest_memory *memory,
                             struct dinm_error *err)
{
    int status = job->grid.rank == 0 ? digest_inputs(job, memory, err) : DINM_OK;
    status = dinm_agree_all(&job->grid, status, err);
    if (status < 0) {
        return status;
    }
    struct dinm_buffer bytes = {0};
    TRY(dinm_buffer_append(&bytes, &job->digests, sizeof job->digests, err));
out:
    status = dinm_agree_all(&job->grid, status, err);
    if (status >= 0) {
        status = dinm_grid_broadcast_all(&job->grid, &bytes, err);
    }
    if (status >= 0) {
        memcpy(&job->digests, bytes.data, sizeof job->digests);
    }
    dinm_buffer_free(&bytes);
    return status;
}

/* The judge's layers over the group's ranks. */
static int cut_judge_all(struct dinm_job *job, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_grid *g = &job->grid;
    const int n = dinm_judge_model_n_stages(&job->judge, g->n_stages);
    if (n == 1) {
        return DINM_OK;
    }
    TRY(dinm_grid_check(MPI_Comm_split(g->stages, g->stage / n, g->stage, &job->judge_stages),
                        "MPI_Comm_split", err));
    MPI_Comm_set_errhandler(job->judge_stages, MPI_ERRORS_RETURN);
    status = dinm_judge_model_cut(&job->judge, job->settings, job->judge_stages, g->stage % n, n,
                                  g->chunk_bytes, err);
    TRY(dinm_agree_all(g, status, err));
out:
    return status;
}

int dinm_job_open_all(struct dinm_job *job, MPI_Comm comm, const struct dinm_settings *settings,
                      struct dinm_faults *faults, struct dinm_error *err)
{
    int status = DINM_OK;
    *job = (struct dinm_job){.settings = settings, .judge_stages = MPI_COMM_NULL};
    TRY(dinm_grid_open_all(&job->grid, comm, settings->run.threads, err));
    dinm_linear_set_threads(job->grid.n_threads);
    TRY(dinm_agree_all(&job->grid, dinm_job_open_inputs(job, faults, err), err));
out:
    return status; /* the caller closes, also on failure: closing the grid is collective */
}

int dinm_job_open_model_all(struct dinm_job *job, const size_t *first, size_t n_stages,
                            size_t n_rows, size_t n_keys, struct dinm_digest_memory *memory,
                            struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_compute_agree_all(&job->grid, job->way, err));
    TRY(dinm_grid_cut_all(&job->grid, (int64_t)n_stages, err));
    TRY(dinm_agree_all(&job->grid, open_slice(job, first, n_rows, n_keys, err), err));
    TRY(cut_judge_all(job, err));
    TRY(digest_inputs_all(job, memory, err));
out:
    return status;
}

void dinm_job_release_model(struct dinm_job *job)
{
    dinm_generator_close(&job->generator);
    dinm_stage_close(&job->stage);
    dinm_slice_close(&job->slice);
}

void dinm_job_close_all(struct dinm_job *job)
{
    struct dinm_error ignored = {0};
    if (job->archive) {
        dinm_archive_close_all(&job->archive, &ignored);
    }
    dinm_journal_close(&job->journal);
    for (int phase = 0; phase < DINM_N_PHASES; phase++) {
        dinm_records_free(&job->records[phase]);
    }
    for (size_t i = 0; job->responses && i < job->cases.n_cases; i++) {
        dinm_ids_free(&job->responses[i].side[0]);
        dinm_ids_free(&job->responses[i].side[1]);
    }
    free(job->responses);
    dinm_prompt_table_free(&job->prompts);
    dinm_job_release_model(job);
    dinm_judge_model_close(&job->judge);
    if (job->settings != NULL && job->judge_stages != MPI_COMM_NULL) {
        MPI_Comm_free(&job->judge_stages);
    }
    dinm_tokenizer_close(job->tokenizer);
    dinm_questions_free(&job->questions);
    dinm_cases_free(&job->cases);
    dinm_details_free(&job->details);
    dinm_grid_close_all(&job->grid);
    *job = (struct dinm_job){0};
}
