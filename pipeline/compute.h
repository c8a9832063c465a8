/* The setting model.compute: how products with the language model's matrices are computed. */
#ifndef DINM_PIPELINE_COMPUTE_H
#define DINM_PIPELINE_COMPUTE_H

#include "model/linear_bf16.h"
#include "model/slice.h"
#include "pipeline/grid.h"
#include "pipeline/settings.h"

/* What the name of a way is called where it decides results. */
#define DINM_COMPUTE_WAY "products in bf16 by"

/* Local. *way: how this processor and build multiply in bf16; NULL where products are in float32.
 * The environment's DINM_BF16 names a way, for tests and measurements. DINM_USAGE if none can be
 * gone. */
int dinm_compute_find(const struct dinm_bf16_way **way, enum dinm_compute compute,
                      struct dinm_error *err);
/* Collective over the grid. Fails on every rank if one goes another way than rank 0: its bits would
 * differ. Cost: a broadcast of a name. */
int dinm_compute_agree_all(const struct dinm_grid *grid, const struct dinm_bf16_way *way,
                           struct dinm_error *err);
/* Local. From now on the slice multiplies so. Says on stderr, if `speaks`, what stays in float32
 * because it is stored otherwise. */
int dinm_compute_use(struct dinm_slice *slice, const struct dinm_bf16_way *way, bool speaks,
                     struct dinm_error *err);
/* Local. Bytes that this takes for layers [first, last). */
size_t dinm_compute_bytes(const struct dinm_bf16_way *way, const struct dinm_config *config,
                          size_t last);

#endif
