/* The one table of a decoder's tensors, as model/weights*.c walk it. */
#ifndef DINM_MODEL_WEIGHTS_TABLE_H
#define DINM_MODEL_WEIGHTS_TABLE_H

#include <stdbool.h>
#include "model/weights.h"

/* Where a tensor of the table is bound: one of the two is set, or none if it lies outside of the
 * slice. */
struct dinm_slot {
    struct dinm_matrix *matrix;
    const float **vector;
};
struct dinm_slot dinm_weights_slot(struct dinm_weights *w, const struct dinm_config *config,
                                   size_t index);
/* The same for gradients; NULL outside of the slice. */
float **dinm_grads_slot(struct dinm_grads *g, const struct dinm_config *config, size_t index);

/* o and down add to the residual stream; their initial values are scaled down. */
bool dinm_weights_adds_to_residual(const struct dinm_config *config, size_t index);

/* The full name of the row that DINM edits in a layer. */
void dinm_weights_edited_name(char name[64], const struct dinm_config *config, size_t layer);

/* Floats of a tensor. */
size_t dinm_param_size(const struct dinm_param *param);

/* The checkpoint's tensor of that name, or without its prefix "model." or "transformer."; NULL. */
const struct dinm_tensor *dinm_weights_look_up(const struct dinm_checkpoint *checkpoint,
                                               const char *name);
/* The checkpoint's tensor for a row of the table (all of a fused one), its shape, element type and
 * alignment checked. */
int dinm_weights_find(const struct dinm_tensor **out, const struct dinm_param *param,
                      const struct dinm_checkpoint *checkpoint, struct dinm_error *err);

#endif
