/* activations.h5: hidden states, distances and losses for h5py, xarray and pandas, written in
 * parallel by the ranks that own them.
 *
 * Default file format, chunks of at most 1 MiB, transfers of at most 1 GiB, no filters. Rank 0
 * makes and allocates every dataset under a temporary name; all ranks open it, fill and flush it
 * before it gets its name. Afterwards only raw data is written in place, independently: a kill
 * leaves a file that opens. Only io/archive*.c and its private headers include hdf5.h. */
#ifndef DINM_IO_ARCHIVE_H
#define DINM_IO_ARCHIVE_H

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "io/status.h"

/* What is in the file; all arrays are the same on every rank. sample = 2 * case + side. */
struct dinm_archive_plan {
    size_t n_cases, n_layers, d_model, n_steps; /* n_steps: rows of /edit/loss per case */
    bool hidden;                                /* /activations/resid_post exists */
    bool full;                                  /* per token instead of per sample */
    bool half;                                  /* float16 instead of float32 */
    const char *position;                       /* "last", "mean" or "full": an attribute */
    const int64_t *case_ids;                    /* [n_cases] */
    const char *const *categories;              /* [n_cases] */
    const int64_t *n_tokens;                    /* [2 * n_cases] real tokens of each sample */
    const int32_t *tokens; /* full only: ids of all samples one after another */
    const char *model, *digest, *version, *settings; /* root attributes; settings is JSON */
    /* Path of a small file that says how long the archive is and how all of it looks but the
     * values of results: create_all writes it, open_all checks it on rank 0. NULL: none. */
    const char *seal;
};

struct dinm_archive; /* opaque */

/* Collective over comm (never a Cartesian one). Creates the file (replacing one of that name), all
 * groups, datasets, scales, attributes and the sample tables, then flushes:
 *   /activations/resid_post  [sample][layer 0..L][d_model], or full [token][layer][d_model]
 *   /samples/{case_id,side,category,n_tokens}, full: /tokens/{ids,sample,position,offsets}
 *   /locate/distance [case][layer 1..L] f32 (NaN until written), /locate/layer [case] i32 (-1)
 *   /edit/loss [case][step][total, edit, constraint] f32 (NaN until written)
 * Cost: the whole file is allocated. Fails before anything is made if the plan is wrong. */
int dinm_archive_create_all(struct dinm_archive **out, const char *path, MPI_Comm comm,
                            const struct dinm_archive_plan *plan, struct dinm_error *err);

/* Local, any rank, any time. states: [n_layers + 1][n][d_model] float32; n = 1 unless full, then
 * the sample's n_tokens. Layers [first, last] of 0..n_layers may be a part: states then has
 * last - first + 1 planes. The digest of what is stored is added to *digest: the sum over any parts
 * is that of the whole. */
int dinm_archive_write_hidden(struct dinm_archive *a, size_t sample, size_t first, size_t last,
                              const float *states, uint64_t *digest, struct dinm_error *err);
/* Local. Adds the digest of all that is stored of a sample to *digest. Cost: it is read. */
int dinm_archive_digest_hidden(struct dinm_archive *a, size_t sample, uint64_t *digest,
                               struct dinm_error *err);
/* distances: [n_layers] float32; layer: 0-based index into the model's layers. */
int dinm_archive_write_distance(struct dinm_archive *a, size_t case_index, const float *distances,
                                int32_t layer, struct dinm_error *err);
/* losses: [n][3] float32, n at most n_steps. */
int dinm_archive_write_loss(struct dinm_archive *a, size_t case_index, const float *losses,
                            size_t n, struct dinm_error *err);

/* Collective. The hidden states of cases [first_case, end_case), which are this rank's share,
 * become those of the archive `from`: of the same cases, in the same form. seal: the file that was
 * written about it; NULL: none. Fails before anything is written if it is damaged or has another
 * shape. Cost: the share is read and written. */
int dinm_archive_copy_hidden_all(struct dinm_archive *a, const char *from, const char *seal,
                                 size_t first_case, size_t end_case, struct dinm_error *err);

/* Collective. Flushes and closes; safe on NULL. Returns the same status on every rank. */
int dinm_archive_close_all(struct dinm_archive **a, struct dinm_error *err);
/* Collective. Opens a file made by create_all with an equal plan for more writing (resume);
 * DINM_FAILED if it is not that file. Checks size, signature and seal before HDF5 sees it. */
int dinm_archive_open_all(struct dinm_archive **out, const char *path, MPI_Comm comm,
                          const struct dinm_archive_plan *plan, struct dinm_error *err);

/* Local. Whether any call of HDF5 has failed: the library may then not survive MPI_Finalize, which
 * shuts it down. */
bool dinm_archive_has_failed(void);

/* Local. Writes a file with float32 datasets "logits" [n_tokens][n_vocab] and "hidden_states"
 * [n_layers + 1][n_tokens][d_model], and "ids" [n_tokens] int32. */
int dinm_archive_write_logits(const char *path, const float *logits, const float *hidden_states,
                              const int32_t *ids, size_t n_tokens, size_t n_vocab, size_t n_layers,
                              size_t d_model, struct dinm_error *err);

/* Local. Describes any archive of ours in words (groups, shapes, attributes). */
struct dinm_buffer;
int dinm_archive_describe(const char *path, struct dinm_buffer *out, struct dinm_error *err);

#endif
