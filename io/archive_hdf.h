/* What the archive's files share: calls of HDF5 whose failure becomes our one sentence. Private to
 * io/archive*. */
#ifndef DINM_IO_ARCHIVE_HDF_H
#define DINM_IO_ARCHIVE_HDF_H

#include <hdf5.h>
#include <hdf5_hl.h>
#include <stdbool.h>
#include "io/archive.h"

/* Leaves the enclosing function through its `out:` label when `call` is negative; needs `status`,
 * `err` and `path` (the file's name). `what` completes "cannot <what>". */
#define HDF(call, what)                                                                            \
    do {                                                                                           \
        if ((call) < 0) {                                                                          \
            status = dinm_hdf_fail(err, what, path);                                               \
            goto out;                                                                              \
        }                                                                                          \
    } while (0)

struct dinm_archive {
    MPI_Comm comm; /* owns: without topology, errors return */
    int rank, size;
    char *path; /* owns */
    size_t n_cases, n_layers, d_model, n_steps;
    bool full, half;
    hsize_t *offsets; /* owns: [2 * n_cases + 1] first row of each sample in resid_post */
    hid_t file, hidden, distance, layer, loss; /* own; hidden is -1 without hidden states */
    hid_t float_type;                          /* owns: of resid_post, in memory */
    unsigned char *room; /* owns: [room_rows][n_layers + 1][d_model] of float_type */
    size_t room_rows;
};

enum {
    DINM_HDF_TRANSFER_BYTES = 16 << 20, /* of one H5Dwrite: far below the 2 GiB that break */
    DINM_HDF_CHUNK_BYTES = 1 << 20,     /* h5py's chunk cache holds one such chunk */
    DINM_HDF_MAX_AXES = 3
};

/* Collective over comm. The worst status of all ranks, and the sentence of the first rank that has
 * it. Cost: one reduction, and on failure a second one and a broadcast. */
int dinm_hdf_agree_all(MPI_Comm comm, int status, struct dinm_error *err);

/* HDF5 prints nothing by itself from here on. Called by every public function. */
void dinm_hdf_quiet(void);
/* "<path>: cannot <what>: <HDF5's innermost message>"; DINM_FAILED. Empties HDF5's error stack. */
int dinm_hdf_fail(struct dinm_error *err, const char *what, const char *path);

/* Closes the identifier of any kind; safe below 0, and twice. What HDF5 still had to write may fail
 * here: whoever closes a file asks dinm_hdf_check_closed before calling it whole. */
void dinm_hdf_close(hid_t *id);
int dinm_hdf_check_closed(const char *path, struct dinm_error *err);

/* File type of a value: IEEE binary16 or binary32, little-endian, as NumPy's float16 and float32.
 * To be closed. */
hid_t dinm_hdf_float_type(bool half);
/* The same in this machine's byte order. */
hid_t dinm_hdf_native_float_type(bool half);
/* Access through the plain POSIX driver; locks only where the file system has them. */
hid_t dinm_hdf_file_access(void);

/* A scalar UTF-8 text of any length. */
int dinm_hdf_put_text(hid_t object, const char *path, const char *name, const char *text,
                      struct dinm_error *err);
/* *text: allocated, "" if the attribute is absent or no text. */
int dinm_hdf_get_text(hid_t object, const char *path, const char *name, char **text,
                      struct dinm_error *err);

/* Writes or reads rows [first, first + n_rows) of the first axis, whole rows, at most
 * DINM_HDF_TRANSFER_BYTES at a time. rows: [n_rows][...] of `type`. */
int dinm_hdf_write_rows(hid_t dataset, const char *path, hid_t type, hsize_t first, hsize_t n_rows,
                        const void *rows, struct dinm_error *err);
int dinm_hdf_read_rows(hid_t dataset, const char *path, hid_t type, hsize_t first, hsize_t n_rows,
                       void *rows, struct dinm_error *err);

/* Chunks of whole rows of the last axis, as square as possible over the other two: one sample and
 * one layer cost about the same to read. dims, chunk: [n_axes]. */
void dinm_hdf_chunk_shape(hsize_t *chunk, const hsize_t *dims, int n_axes, size_t value_bytes);

/* The dataset has exactly these axes, and values of so many bytes. */
int dinm_hdf_same_shape(const char *path, const char *name, hid_t dataset, int n_axes,
                        const hsize_t *expected, size_t value_bytes, struct dinm_error *err);

/* The file `path` is regular, begins with HDF5's signature and has at least n_bytes. */
int dinm_hdf_check_file(const char *path, uint64_t n_bytes, struct dinm_error *err);

/* Rows of /activations/resid_post: samples, or all their tokens. */
hsize_t dinm_archive_n_rows(const struct dinm_archive_plan *plan);
/* Bytes of the values in the file; the file has at least these. */
uint64_t dinm_archive_n_bytes(const struct dinm_archive_plan *plan);
/* Local. Makes the complete file but the values of resid_post, and its seal where the plan names
 * one. */
int dinm_archive_build(const char *path, const struct dinm_archive_plan *plan,
                       struct dinm_error *err);

/* Bytes [begin, end) of a file. Begins zeroed. */
struct dinm_extent {
    uint64_t begin, end;
};
struct dinm_extents {
    struct dinm_extent *items; /* owns: [n] */
    size_t n, capacity;
};
void dinm_extents_free(struct dinm_extents *e);
/* Where the values of a dataset lie. Cost: one look-up per chunk. */
int dinm_extents_add(struct dinm_extents *e, const char *path, hid_t file, const char *name,
                     struct dinm_error *err);
/* Local. Writes the file `seal` about the archive at `path`, which is closed; `values` are the
 * bytes that may change, and are sorted. Cost: all other bytes are read. */
int dinm_archive_seal(const char *seal, const char *path, struct dinm_extents *values,
                      struct dinm_error *err);
/* Local. The file is as long and has the structure that the seal says. Knows no HDF5. Same cost. */
int dinm_archive_check_seal(const char *seal, const char *path, struct dinm_error *err);

/* Local. The open file is the one that create_all makes from this plan. */
int dinm_archive_verify(const struct dinm_archive *a, const struct dinm_archive_plan *p,
                        struct dinm_error *err);

#endif
