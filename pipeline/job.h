/* Everything a run works on: inputs, model, results so far. Opened by every rank alike. */
#ifndef DINM_PIPELINE_JOB_H
#define DINM_PIPELINE_JOB_H

#include <stdint.h>
#include "io/archive.h"
#include "io/cases.h"
#include "io/tokenizer.h"
#include "model/slice.h"
#include "pipeline/generate.h"
#include "pipeline/grid.h"
#include "pipeline/journal.h"
#include "pipeline/judge_model.h"
#include "pipeline/prompts.h"
#include "pipeline/settings.h"
#include "pipeline/stage.h"

struct dinm_digests {
    uint64_t settings, model, tokenizer, judge, cases, questions;
};

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
    struct dinm_stage stage;              /* owns until then, too */
    struct dinm_generator generator;      /* owns until then, too */
    struct dinm_judge_model judge;        /* owns */
    struct dinm_prompt_table prompts;     /* owns */
    struct dinm_response_ids *responses;  /* owns: [n_cases] */
    struct dinm_digests digests;
    struct dinm_journal journal; /* owns */
    struct dinm_archive *archive; /* owns; NULL if the file is not wanted */
    struct dinm_records records[DINM_N_PHASES]; /* owns: what each phase found */
    size_t n_layers, d_model;                   /* of the model, also after its release */
    double seconds[DINM_N_PHASES];              /* this rank's busy time */
    double wall_s[DINM_N_PHASES];
};

/* Collective over comm. Reads and checks all inputs; every rank gets the same status. Cost: each
 * rank reads the small files and maps the model; rank 0 reads the model once for its digest. */
int dinm_job_open_all(struct dinm_job *job, MPI_Comm comm, const struct dinm_settings *settings,
                      struct dinm_error *err);
/* Collective. Safe on a zeroed job. */
void dinm_job_close_all(struct dinm_job *job);

/* Local. Language model, its tokens and tables are no longer needed: the judge gets the memory. */
void dinm_job_release_model(struct dinm_job *job);

/* Local. Appends the digests as a JSON object. */
int dinm_job_print_digests(const struct dinm_job *job, struct dinm_buffer *out,
                           struct dinm_error *err);

#endif
