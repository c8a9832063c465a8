/* safetensors files: https://github.com/huggingface/safetensors (format description).
 *
 * 8-byte little-endian header length, JSON header, raw little-endian data. The reader checks
 * everything the format promises before it hands out a pointer: header at most 100 MB and within
 * the file, strict JSON that begins with '{', known dtype, byte count = product of shape and
 * dtype without overflow, ranges without hole or overlap that end at the file's end. Tensors of a
 * dtype that we compute with must begin at a multiple of their element's size. */
#ifndef DINM_IO_SAFETENSORS_H
#define DINM_IO_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>
#include "io/dtype.h"
#include "io/file.h"
#include "io/status.h"

enum { DINM_MAX_DIMS = 8 };

struct dinm_tensor {
    const char *name;       /* borrows from the file's owner */
    const char *dtype_name; /* as in the file; in a write NULL stands for the name of `dtype` */
    enum dinm_dtype dtype;
    size_t n_dims;
    int64_t shape[DINM_MAX_DIMS];
    const void *data; /* borrows: row-major, little-endian; NULL if it holds no bytes */
    size_t n_bytes;
};

struct dinm_safetensors {
    struct dinm_map map;         /* owns */
    struct dinm_tensor *tensors; /* owns: [n_tensors], sorted by name */
    size_t n_tensors;
    char *names; /* owns the storage of names */
};

int dinm_safetensors_open(struct dinm_safetensors *st, const char *path, struct dinm_error *err);
/* The same from memory aligned to 8 bytes that outlives st (nothing is mapped); `name` for errors.
 */
int dinm_safetensors_parse(struct dinm_safetensors *st, const char *name, const void *bytes,
                           size_t n_bytes, struct dinm_error *err);
const struct dinm_tensor *dinm_safetensors_find(const struct dinm_safetensors *st,
                                                const char *name);
void dinm_safetensors_close(struct dinm_safetensors *st);

/* Writes tensors in the given order, those of larger elements first so that all are aligned
 * (temporary name, fsync, rename). `data` is in the tensor's dtype. metadata: pairs key, value
 * ended by NULL, or NULL. Equal input gives equal bytes. Refused: what the reader would refuse. */
int dinm_safetensors_write(const char *path, const struct dinm_tensor *tensors, size_t n_tensors,
                           const char *const *metadata, struct dinm_error *err);

/* The same, each tensor's bytes when its turn comes: next gives those of tensor i, good until it is
 * called again; `data` of the tensors is not looked at. */
typedef int dinm_safetensors_next(void *context, size_t i, const void **data,
                                  struct dinm_error *err);
int dinm_safetensors_write_from(const char *path, const struct dinm_tensor *tensors,
                                size_t n_tensors, const char *const *metadata,
                                dinm_safetensors_next *next, void *context, struct dinm_error *err);

/* All tensor files of a model folder: model.safetensors, or the shards that
 * model.safetensors.index.json names. */
struct dinm_checkpoint {
    char *folder;                   /* owns */
    struct dinm_safetensors *files; /* owns: [n_files] */
    char **paths;                   /* owns: [n_files] */
    size_t n_files;                 /* in the order of their names */
};
int dinm_checkpoint_open(struct dinm_checkpoint *c, const char *folder, struct dinm_error *err);
/* NULL if no file has it. */
const struct dinm_tensor *dinm_checkpoint_find(const struct dinm_checkpoint *c, const char *name);
void dinm_checkpoint_close(struct dinm_checkpoint *c);

#endif
