/* The ranks: who is on which node, how many threads each may use, and agreement between them.
 *
 * A rank that waits here sleeps between looks (20 us at first, 5 ms at most), so that 64 ranks on
 * two cores leave the cores to those that compute. */
#ifndef DINM_PIPELINE_GRID_H
#define DINM_PIPELINE_GRID_H

#include <mpi.h>
#include <stddef.h>
#include <stdint.h>
#include "io/mem.h"
#include "io/status.h"

struct dinm_grid {
    MPI_Comm world; /* owns: duplicate of the communicator given */
    MPI_Comm node;  /* owns: ranks that share memory */
    int rank, size;
    int node_rank, node_size;
    int n_threads; /* per rank */
    /* After dinm_grid_cut_all: stages of consecutive layers, groups that hold the model once. */
    MPI_Comm stages; /* owns: this rank's group; rank = stage. NULL with one stage */
    int stage, n_stages, group, n_groups;
    int mpi_threads;    /* what MPI_Query_thread says: may a second thread call MPI? */
    size_t chunk_bytes; /* most bytes of one message; 1 GiB, tests make it small */
};

/* Collective over comm. threads = 0: a fair share of the cores that the ranks of the node may run
 * on, at least 1. Error handlers return. Cost: one dup, one split, two small reductions. */
int dinm_grid_open_all(struct dinm_grid *grid, MPI_Comm comm, int64_t threads,
                       struct dinm_error *err);
/* Local. DINM_USAGE if so many stages do not divide the ranks. */
int dinm_grid_check_stages(const struct dinm_grid *grid, int64_t n_stages, struct dinm_error *err);
/* Collective. Cuts the ranks into groups of n_stages: stage = rank / n_groups, so that a node or a
 * socket, whose ranks are neighbours, holds few layers. A number that does not divide the ranks is
 * DINM_USAGE. Cost: one split. */
int dinm_grid_cut_all(struct dinm_grid *grid, int64_t n_stages, struct dinm_error *err);
/* Collective. Safe on a zeroed grid, and twice. */
void dinm_grid_close_all(struct dinm_grid *grid);

/* Collective over grid->world. Every rank passes its local status; all return the worst one, and
 * where it is not DINM_OK every rank's err holds the sentence of the lowest rank that has it.
 * Cost: one reduction, on failure a broadcast. */
int dinm_agree_all(const struct dinm_grid *grid, int status, struct dinm_error *err);

/* Collective. A barrier whose waiting ranks sleep. */
int dinm_grid_wait_all(const struct dinm_grid *grid, struct dinm_error *err);

/* Collective. *buffer of rank 0 replaces that of all others, whatever its size. On failure it is
 * empty on the others. Cost: a size, an agreement, the bytes. */
int dinm_grid_broadcast_all(const struct dinm_grid *grid, struct dinm_buffer *buffer,
                            struct dinm_error *err);
/* Collective. *everyone becomes every rank's bytes in rank order, on all ranks, whatever their
 * size; on failure it is empty. Cost: the sizes, an agreement, the bytes. */
int dinm_grid_gather_all(const struct dinm_grid *grid, const struct dinm_buffer *mine,
                         struct dinm_buffer *everyone, struct dinm_error *err);

/* Local. Turns what an MPI function returned into a status; `what` is its name. */
int dinm_grid_check(int code, const char *what, struct dinm_error *err);
/* Local. Completes *request, which an MPI function started returning `code`, and sleeps the while.
 */
int dinm_grid_finish(int code, MPI_Request *request, const char *what, struct dinm_error *err);

#endif
