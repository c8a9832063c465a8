/* Everything a run works on: inputs, model, results so far. Opened by every rank alike. */
#ifndef DINM_PIPELINE_JOB_H
#define DINM_PIPELINE_JOB_H

#include <stdint.h>
#include "io/archive.h"
#include "io/cases.h"
#include "io/tokenizer.h"
#include "model/slice.h"
#include "pipeline/compute.h"
#include "pipeline/digests.h"
#include "pipeline/faults.h"
#include "pipeline/generate.h"
#include "pipeline/grid.h"
#include "pipeline/journal.h"
#include "pipeline/judge_model.h"
#include "pipeline/prompts.h"
#include "pipeline/settings.h"
#include "pipeline/stage.h"

/* Ids of the two response texts that locate a case, as they are (no padding). */
struct dinm_response_ids {
    struct dinm_ids side[2]; /* 0 safe, 1 unsafe */
};

struct dinm_job {
    const struct dinm_settings *settings; /* borrows */
    struct dinm_grid grid;                /* owns */
    struct dinm_cases cases;              /* owns */
    struct dinm_questions questions;      /* owns; empty if not measured */
    struct dinm_tokenizer *tokenizer;     /* owns: the language model's */
    struct dinm_slice slice;              /* owns until the judge phase: this stage's layers */
    const struct dinm_bf16_way *way;      /* of products in bf16; NULL: all in float32 */
    struct dinm_stage stage;              /* owns until then, too */
    struct dinm_generator generator;      /* owns until then, too */
    struct dinm_judge_model judge;        /* owns: whole, then this stage's layers */
    MPI_Comm judge_stages;                /* owns: the judge's stages; MPI_COMM_NULL with one */
    struct dinm_prompt_table prompts;     /* owns */
    struct dinm_response_ids *responses;  /* owns: [n_cases] */
    struct dinm_digests digests;
    struct dinm_details details;                /* owns: what they come from; rank 0's */
    struct dinm_journal journal;                /* owns */
    struct dinm_archive *archive;               /* owns; NULL if the file is not wanted */
    struct dinm_records records[DINM_N_PHASES]; /* owns: what each phase found */
    size_t n_layers, d_model;                   /* of the model, also after its release */
    size_t layers[2];                           /* this stage's first and last */
    double seconds[DINM_N_PHASES];              /* this rank's busy time */
    double wall_s[DINM_N_PHASES];
    uint64_t n_prompt_read, n_prompt_shared, n_prompt_late; /* this rank's, see stage.h */
};

/* Collective over comm. Reads and checks all inputs but the layers; every rank gets the same
 * status. With faults NULL the first failure ends it. Otherwise all that is wrong is listed there
 * (all tensors of both models are looked for, too), and is no failure of this function. Cost: each
 * rank reads the small files and maps the models. */
int dinm_job_open_all(struct dinm_job *job, MPI_Comm comm, const struct dinm_settings *settings,
                      struct dinm_faults *faults, struct dinm_error *err);
/* Local; its part for one rank. */
int dinm_job_open_inputs(struct dinm_job *job, struct dinm_faults *faults, struct dinm_error *err);
/* Collective. Cuts the grid and opens this rank's layers, first[stage] to first[stage + 1]; scratch
 * is reserved for n_rows that attend to n_keys at most. The judge is cut as well. memory: rank 0's,
 * of files read before, or NULL. Cost: rank 0 reads the models once. */
int dinm_job_open_model_all(struct dinm_job *job, const size_t *first, size_t n_stages,
                            size_t n_rows, size_t n_keys, struct dinm_digest_memory *memory,
                            struct dinm_error *err);
/* Collective. Safe on a zeroed job. */
void dinm_job_close_all(struct dinm_job *job);

/* Local. Language model, its tokens and tables are no longer needed: the judge gets the memory. */
void dinm_job_release_model(struct dinm_job *job);

#endif
