/* One prompt's logits and hidden states in a file of their own, for checks against other
 * programs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "io/archive_hdf.h"
#include "io/mem.h"

static int put_values(hid_t file, const char *path, const char *name, hid_t file_type, hid_t type,
                      int n_axes, const hsize_t *dims, const void *values, struct dinm_error *err)
{
    int status = DINM_OK;
    hid_t space = -1, how = -1, dataset = -1;
    HDF(space = H5Screate_simple(n_axes, dims, NULL), "make a data space");
    HDF(how = H5Pcreate(H5P_DATASET_CREATE), "make a property list");
    HDF(H5Pset_obj_track_times(how, false), "leave out times");
    HDF(dataset = H5Dcreate2(file, name, file_type, space, H5P_DEFAULT, how, H5P_DEFAULT),
        "create a dataset");
    TRY(dinm_hdf_write_rows(dataset, path, type, 0, dims[0], values, err));
out:
    dinm_hdf_close(&dataset);
    dinm_hdf_close(&how);
    dinm_hdf_close(&space);
    return status;
}

int dinm_archive_write_logits(const char *path, const float *logits, const float *hidden_states,
                              const int32_t *ids, size_t n_tokens, size_t n_vocab, size_t n_layers,
                              size_t d_model, struct dinm_error *err)
{
    int status = DINM_OK;
    const hsize_t logit_dims[] = {n_tokens, n_vocab};
    const hsize_t state_dims[] = {n_layers + 1, n_tokens, d_model};
    const hid_t f32 = H5T_IEEE_F32LE, native = H5T_NATIVE_FLOAT;
    hid_t access = -1, file = -1;
    struct dinm_buffer draft = {0};
    dinm_hdf_quiet();
    TRY(dinm_buffer_append_format(&draft, err, "%s.new", path));
    HDF(access = dinm_hdf_file_access(), "make a property list");
    HDF(file = H5Fcreate(draft.data, H5F_ACC_TRUNC, H5P_DEFAULT, access), "create the file");
    TRY(put_values(file, path, "logits", f32, native, 2, logit_dims, logits, err));
    TRY(put_values(file, path, "hidden_states", f32, native, 3, state_dims, hidden_states, err));
    TRY(put_values(file, path, "ids", H5T_STD_I32LE, H5T_NATIVE_INT32, 1, logit_dims, ids, err));
    status = H5Fclose(file) < 0 ? dinm_hdf_fail(err, "write the file", path) : DINM_OK;
    file = -1;
    if (status == DINM_OK && rename(draft.data, path) != 0) {
        status = dinm_fail_errno(err, errno, "cannot rename the new file to", path);
    }
out:
    if (file >= 0) {
        H5Fclose(file);
    }
    if (status < 0 && draft.data) {
        unlink(draft.data);
    }
    dinm_hdf_close(&access);
    dinm_buffer_free(&draft);
    return status;
}
