/* What one archive knows of the cases before they are edited, taken over from another. */
#include <stdlib.h>
#include "io/archive_hdf.h"
#include "io/mem.h"

/* The archive that is read, by each rank for itself. */
struct source {
    const char *path; /* borrows */
    hid_t file, hidden, distance, layer;
};

static void source_close(struct source *s)
{
    dinm_hdf_close(&s->hidden);
    dinm_hdf_close(&s->distance);
    dinm_hdf_close(&s->layer);
    dinm_hdf_close(&s->file);
}

static int source_open(struct source *s, const struct dinm_archive *a, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *path = s->path;
    const hsize_t n = a->n_cases, n_rows = a->offsets[2 * a->n_cases];
    const uint64_t value_bytes = a->half ? 2 : 4;
    const uint64_t n_bytes =
        a->hidden < 0 ? 0
                      : (uint64_t)n_rows * (a->n_layers + 1) * (uint64_t)a->d_model * value_bytes;
    hid_t access = -1;
    TRY(dinm_hdf_check_file(path, n_bytes, err));
    HDF(access = dinm_hdf_file_access(), "make a property list");
    HDF(s->file = H5Fopen(path, H5F_ACC_RDONLY, access), "open the file");
    HDF(s->distance = H5Dopen2(s->file, "/locate/distance", H5P_DEFAULT), "open /locate/distance");
    HDF(s->layer = H5Dopen2(s->file, "/locate/layer", H5P_DEFAULT), "open /locate/layer");
    TRY(dinm_hdf_same_shape(path, "/locate/distance", s->distance, 2, (hsize_t[]){n, a->n_layers},
                            4, err));
    TRY(dinm_hdf_same_shape(path, "/locate/layer", s->layer, 1, (hsize_t[]){n}, 4, err));
    if (a->hidden >= 0) {
        const hsize_t dims[] = {n_rows, a->n_layers + 1, a->d_model};
        HDF(s->hidden = H5Dopen2(s->file, "/activations/resid_post", H5P_DEFAULT),
            "open /activations/resid_post");
        TRY(dinm_hdf_same_shape(path, "/activations/resid_post", s->hidden, 3, dims,
                                (size_t)value_bytes, err));
    }
out:
    dinm_hdf_close(&access);
    return status;
}

/* This rank's share of the hidden states. */
static int copy_hidden(struct dinm_archive *a, const struct source *s, struct dinm_error *err)
{
    int status = DINM_OK;
    hsize_t row, end;
    dinm_hdf_share(a, a->offsets[2 * a->n_cases], &row, &end);
    for (; row < end; row += a->room_rows) {
        const hsize_t n = end - row < a->room_rows ? end - row : a->room_rows;
        TRY(dinm_hdf_read_rows(s->hidden, s->path, a->float_type, row, n, a->room, err));
        TRY(dinm_hdf_write_rows(a->hidden, a->path, a->float_type, row, n, a->room, err));
    }
out:
    return status;
}

/* This rank's share of the cases' distances and layers. */
static int copy_located(struct dinm_archive *a, const struct source *s, struct dinm_error *err)
{
    int status = DINM_OK;
    hsize_t first, end;
    int32_t *layers = NULL;
    dinm_hdf_share(a, a->n_cases, &first, &end);
    const hsize_t n = end - first;
    float *distances =
        dinm_alloc((size_t)n * a->n_layers, sizeof *distances, "distances of the archive", err);
    layers = dinm_alloc((size_t)n, sizeof *layers, "layers of the archive", err);
    TRY(distances && layers ? DINM_OK : DINM_FAILED);
    if (n > 0) {
        TRY(dinm_hdf_read_rows(s->distance, s->path, H5T_NATIVE_FLOAT, first, n, distances, err));
        TRY(dinm_hdf_read_rows(s->layer, s->path, H5T_NATIVE_INT32, first, n, layers, err));
        TRY(dinm_hdf_write_rows(a->distance, a->path, H5T_NATIVE_FLOAT, first, n, distances, err));
        TRY(dinm_hdf_write_rows(a->layer, a->path, H5T_NATIVE_INT32, first, n, layers, err));
    }
out:
    free(layers);
    free(distances);
    return status;
}

int dinm_archive_copy_states_all(struct dinm_archive *a, const char *from, struct dinm_error *err)
{
    struct source s = {.path = from, .file = -1, .hidden = -1, .distance = -1, .layer = -1};
    dinm_hdf_quiet();
    int status = dinm_hdf_agree_all(a->comm, source_open(&s, a, err), err);
    if (status == DINM_OK) {
        status = a->hidden >= 0 ? copy_hidden(a, &s, err) : DINM_OK;
        status = status < 0 ? status : copy_located(a, &s, err);
        status = dinm_hdf_agree_all(a->comm, status, err);
    }
    source_close(&s);
    return status;
}
