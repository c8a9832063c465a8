/* Results of a phase taken over from an earlier run whose inputs and settings give the same. */
#ifndef DINM_PIPELINE_REUSE_H
#define DINM_PIPELINE_REUSE_H

#include <stdbool.h>
#include "pipeline/job.h"

/* Collective over the job's grid. Journals what `donor`, the output folder of a finished run, knows
 * of this phase and this job does not, and brings the archive up to it: states and distances for
 * phase locate, losses for phase edit. The caller answers for equal settings
 * (dinm_settings_digest_of). Nothing is taken where the phase is complete already, the donor's is
 * not, its files were others, or its archive is damaged (with a notice). again: [n_cases] of phase
 * locate, see states.h. *n_taken: units. Cost: rank 0 reads the donor's journal, all ranks copy the
 * archive. */
int dinm_reuse_all(struct dinm_job *job, enum dinm_phase phase, size_t n_units, const char *donor,
                   bool *again, size_t *n_taken, struct dinm_error *err);

#endif
