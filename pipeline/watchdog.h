/* A rank that hangs is noticed: every rank says now and then that it still gets on, in a file that
 * all can read, and rank 0 looks whether all do; rank 1 looks at rank 0. */
#ifndef DINM_PIPELINE_WATCHDOG_H
#define DINM_PIPELINE_WATCHDOG_H

#include "pipeline/grid.h"

/* Local. This process gets on: called wherever work or waiting takes a step. Cheap. */
void dinm_watchdog_beat(void);

struct dinm_watchdog; /* opaque */

/* Collective over grid->world. folder: shared by all ranks, must exist; patience_s: a rank without
 * a beat for so long is given up (0: nobody looks, *w stays NULL). hung(sentence): called in a
 * thread of the rank that noticed; ends the process. Cost: a small file, a sleeping thread. */
int dinm_watchdog_open_all(struct dinm_watchdog **w, const struct dinm_grid *grid,
                           const char *folder, double patience_s,
                           void (*hung)(const char *sentence), struct dinm_error *err);
/* Local. Nobody looks any more when this returns on all ranks; safe on NULL. */
void dinm_watchdog_close(struct dinm_watchdog *w);

#endif
