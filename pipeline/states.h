/* The archive of a job: OUT/activations.h5, made for its cases, opened again on resume. */
#ifndef DINM_PIPELINE_STATES_H
#define DINM_PIPELINE_STATES_H

#include <stdbool.h>
#include "pipeline/job.h"

/* Collective. Opens the archive for writing. *lost: an archive of this job was expected (cases are
 * journaled as located) but is missing or no longer readable, so a new one was made and its hidden
 * states have to be computed again. */
int dinm_states_open_all(struct dinm_job *job, bool *lost, struct dinm_error *err);
/* Collective. Puts what the journal knows of the edits' losses into a new archive. */
int dinm_states_restore_all(struct dinm_job *job, struct dinm_error *err);
/* Local, on one rank. Puts the losses of the edits' records into the archive. */
int dinm_states_put_losses(struct dinm_job *job, const struct dinm_records *edits,
                           struct dinm_error *err);
/* Collective. */
int dinm_states_close_all(struct dinm_job *job, struct dinm_error *err);

#endif
