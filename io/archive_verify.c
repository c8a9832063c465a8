/* Whether an archive found on disk is the one this job would make. */
#include <stdlib.h>
#include <string.h>
#include "io/archive_hdf.h"
#include "io/mem.h"

static int same_text(const struct dinm_archive *a, const char *name, const char *expected,
                     struct dinm_error *err)
{
    char *found = NULL;
    int status = dinm_hdf_get_text(a->file, a->path, name, &found, err);
    if (status == DINM_OK && strcmp(found, expected) != 0) {
        status =
            dinm_fail(err, DINM_FAILED, "%s: made with another %s: expected %.200s, found %.200s",
                      a->path, name, expected, found);
    }
    free(found);
    return status;
}

int dinm_hdf_same_shape(const char *path, const char *name, hid_t dataset, int n_axes,
                        const hsize_t *expected, size_t value_bytes, struct dinm_error *err)
{
    int status = DINM_OK;
    hid_t space = -1, type = -1;
    hsize_t dims[DINM_HDF_MAX_AXES] = {0};
    HDF(space = H5Dget_space(dataset), "read a dataset's shape");
    HDF(type = H5Dget_type(dataset), "read a dataset's type");
    if (H5Sget_simple_extent_ndims(space) != n_axes || H5Tget_size(type) != value_bytes) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: %s has another type or number of axes", path, name));
    }
    HDF(H5Sget_simple_extent_dims(space, dims, NULL), "read a dataset's shape");
    for (int i = 0; i < n_axes; i++) {
        if (dims[i] != expected[i]) {
            TRY(dinm_fail(err, DINM_FAILED, "%s: axis %d of %s has %llu values, expected %llu",
                          path, i, name, (unsigned long long)dims[i],
                          (unsigned long long)expected[i]));
        }
    }
out:
    dinm_hdf_close(&type);
    dinm_hdf_close(&space);
    return status;
}

/* expected: value i is expected[i / share]. */
static int same_numbers(const struct dinm_archive *a, const char *name, const int64_t *expected,
                        size_t share, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *path = a->path;
    const size_t n = 2 * a->n_cases;
    const hsize_t dims[1] = {n};
    hid_t dataset = -1;
    int64_t *found = dinm_alloc(n, sizeof *found, "a table of the archive", err);
    if (!found) {
        return DINM_FAILED;
    }
    HDF(dataset = H5Dopen2(a->file, name, H5P_DEFAULT), "open a table");
    TRY(dinm_hdf_same_shape(path, name, dataset, 1, dims, 8, err));
    TRY(dinm_hdf_read_rows(dataset, path, H5T_NATIVE_INT64, 0, n, found, err));
    for (size_t i = 0; i < n; i++) {
        if (found[i] != expected[i / share]) {
            TRY(dinm_fail(err, DINM_FAILED, "%s: %s of sample %zu: expected %lld, found %lld", path,
                          name, i, (long long)expected[i / share], (long long)found[i]));
        }
    }
out:
    dinm_hdf_close(&dataset);
    free(found);
    return status;
}

int dinm_archive_verify(const struct dinm_archive *a, const struct dinm_archive_plan *p,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    const size_t n = p->n_cases;
    TRY(same_text(a, "digest", p->digest, err));
    TRY(same_text(a, "model", p->model, err));
    TRY(same_text(a, "settings", p->settings, err));
    TRY(dinm_hdf_same_shape(a->path, "/locate/distance", a->distance, 2,
                            (hsize_t[]){n, p->n_layers}, 4, err));
    TRY(dinm_hdf_same_shape(a->path, "/locate/layer", a->layer, 1, (hsize_t[]){n}, 4, err));
    TRY(dinm_hdf_same_shape(a->path, "/edit/loss", a->loss, 3, (hsize_t[]){n, p->n_steps, 3}, 4,
                            err));
    TRY(same_numbers(a, "/samples/case_id", p->case_ids, 2, err));
    TRY(same_numbers(a, "/samples/n_tokens", p->n_tokens, 1, err));
    if (p->hidden) {
        const hsize_t dims[] = {a->offsets[2 * n], p->n_layers + 1, p->d_model};
        TRY(dinm_hdf_same_shape(a->path, "/activations/resid_post", a->hidden, 3, dims,
                                p->half ? 2 : 4, err));
    }
out:
    return status;
}
