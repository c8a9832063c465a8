/* The job's parts opened and closed. */
#include "pipeline/job.h"

#include <stdlib.h>
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
                            size_t n_rows, size_t n_keys, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_compute_agree_all(&job->grid, job->way, err));
    TRY(dinm_grid_cut_all(&job->grid, (int64_t)n_stages, err));
    TRY(dinm_agree_all(&job->grid, open_slice(job, first, n_rows, n_keys, err), err));
    TRY(cut_judge_all(job, err));
    TRY(dinm_job_digest_all(job, err));
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
