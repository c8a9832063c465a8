/* Phase locate: which layer tells a case's safe response from its unsafe one.
 * l_toxic = argmax_l || h_l(Y_safe) - h_l(Y_unsafe) ||_2 (arXiv 2403.14472, section 4). */
#ifndef DINM_PIPELINE_LOCATE_H
#define DINM_PIPELINE_LOCATE_H

#include "pipeline/job.h"
#include "pipeline/phase.h"

/* Ids of every case's two responses, cut to the model's positions. Local. */
int dinm_locate_encode(struct dinm_job *job, struct dinm_error *err);

/* One unit = one case; payload {"layer": 0-based, "distances": [n_layers], "states": digest of its
 * hidden states in the archive, if they are wanted there}. */
dinm_unit_function dinm_locate_unit; /* context: struct dinm_job * */

/* The layer to edit in that case, from the records of the finished phase and the settings
 * (fixed layers, or the first case's). *own_failure: it failed since that case was not located. */
int dinm_locate_layer(const struct dinm_job *job, size_t case_index, size_t *layer,
                      bool *own_failure, struct dinm_error *err);

#endif
