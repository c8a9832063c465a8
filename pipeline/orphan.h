/* The start under a launcher that may die: Open MPI 4.1's ranks end with their launcher once
 * MPI_Init is through, but wait for ever within it. Local. */
#ifndef DINM_PIPELINE_ORPHAN_H
#define DINM_PIPELINE_ORPHAN_H

/* Until dinm_orphan_end the process ends with `status` within a second of its parent's end. Without
 * a thread to watch (no memory) it starts unwatched. */
void dinm_orphan_begin(int status);
void dinm_orphan_end(void);

#endif
