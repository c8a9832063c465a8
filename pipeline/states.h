/* The archive of a job: OUT/activations.h5, made for its cases, opened again on resume. */
#ifndef DINM_PIPELINE_STATES_H
#define DINM_PIPELINE_STATES_H

#include <stdbool.h>
#include "pipeline/job.h"

/* Collective. Opens the archive for writing, and puts into it what the journal knows of distances
 * and losses. Then again[i] says that case i, although it is journaled as located, has to be
 * located again: its hidden states in the archive are not those that were written, or all are lost,
 * since the archive was missing or damaged and a new one was made. again: [n_cases], the same on
 * every rank. A notice says what was found. Cost on resume: the hidden states of located cases are
 * read. */
int dinm_states_open_all(struct dinm_job *job, bool *again, struct dinm_error *err);
/* Collective. Two steps of taking results over from the finished run in the folder `donor`, whose
 * journal's records are copied in between. copy_all: its hidden states become this archive's; fails
 * before anything is written if its archive is damaged or another. accept_all: what the journal
 * knows of the phase goes into the archive; of phase locate, again[i] then says of every case
 * whether it has to be located again all the same, since its hidden states are not those of the
 * record. Cost: each rank reads and writes its share of the hidden states, and reads it once more.
 */
int dinm_states_copy_all(struct dinm_job *job, const char *donor, struct dinm_error *err);
int dinm_states_accept_all(struct dinm_job *job, enum dinm_phase phase, bool *again,
                           struct dinm_error *err);
/* Collective. */
int dinm_states_close_all(struct dinm_job *job, struct dinm_error *err);

#endif
