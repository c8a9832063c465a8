/* Results into the open archive: each call independent, by any rank, at any time. */
#include <string.h>
#include "io/archive_hdf.h"
#include "io/dtype.h"
#include "io/file.h"

static int check_index(const struct dinm_archive *a, const char *what, size_t i, size_t n,
                       struct dinm_error *err)
{
    if (i >= n) {
        return dinm_fail(err, DINM_FAILED, "%s: %s %zu was to be written, the archive has %zu",
                         a->path, what, i, n);
    }
    return DINM_OK;
}

/* Rows [first_row, first_row + n) of resid_post, layers [first, last], from a->room. */
static int write_block(struct dinm_archive *a, hsize_t first_row, hsize_t n, size_t first,
                       size_t last, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *path = a->path;
    const hsize_t start[3] = {first_row, first, 0};
    const hsize_t count[3] = {n, last - first + 1, a->d_model};
    hid_t memory = -1, file = -1;
    HDF(memory = H5Screate_simple(3, count, NULL), "make a data space");
    HDF(file = H5Dget_space(a->hidden), "read a dataset's shape");
    HDF(H5Sselect_hyperslab(file, H5S_SELECT_SET, start, NULL, count, NULL), "select a sample");
    HDF(H5Dwrite(a->hidden, a->float_type, memory, file, H5P_DEFAULT, a->room),
        "write hidden states");
out:
    dinm_hdf_close(&file);
    dinm_hdf_close(&memory);
    return status;
}

/* Digest of n rows from first_row on, layers [first, last], in a->room. Every row of every layer
 * has its own, seeded with its place in the dataset, so that they may be added up in any order. */
static uint64_t digest_block(const struct dinm_archive *a, hsize_t first_row, size_t n,
                             size_t first, size_t last)
{
    const size_t n_planes = last - first + 1;
    const size_t plane_bytes = a->d_model * dinm_dtype_size(a->half ? DINM_F16 : DINM_F32);
    uint64_t sum = 0;
    for (size_t row = 0; row < n; row++) {
        for (size_t plane = 0; plane < n_planes; plane++) {
            uint64_t place = (first_row + row) * (a->n_layers + 1) + first + plane;
            sum +=
                dinm_digest(a->room + (row * n_planes + plane) * plane_bytes, plane_bytes, place);
        }
    }
    return sum;
}

int dinm_archive_digest_hidden(struct dinm_archive *a, size_t sample, uint64_t *digest,
                               struct dinm_error *err)
{
    int status = DINM_OK;
    dinm_hdf_quiet();
    TRY(check_index(a, "sample", sample, 2 * a->n_cases, err));
    for (hsize_t row = a->offsets[sample]; row < a->offsets[sample + 1]; row += a->room_rows) {
        const hsize_t left = a->offsets[sample + 1] - row;
        const size_t n = left < a->room_rows ? (size_t)left : a->room_rows;
        TRY(dinm_hdf_read_rows(a->hidden, a->path, a->float_type, row, n, a->room, err));
        *digest += digest_block(a, row, n, 0, a->n_layers);
    }
out:
    return status;
}

int dinm_archive_write_hidden(struct dinm_archive *a, size_t sample, size_t first, size_t last,
                              const float *states, uint64_t *digest, struct dinm_error *err)
{
    int status = DINM_OK;
    const size_t d = a->d_model, n_planes = last - first + 1;
    const enum dinm_dtype dtype = a->half ? DINM_F16 : DINM_F32;
    const size_t plane_bytes = d * dinm_dtype_size(dtype);
    dinm_hdf_quiet();
    TRY(check_index(a, "sample", sample, 2 * a->n_cases, err));
    TRY(check_index(a, "layer", last, a->n_layers + 1, err));
    if (a->hidden < 0 || first > last) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: layers %zu to %zu were to be written to %s", a->path,
                      first, last, a->hidden < 0 ? "an archive without hidden states" : "it"));
    }
    const size_t n_rows = (size_t)(a->offsets[sample + 1] - a->offsets[sample]);
    for (size_t done = 0; done < n_rows; done += a->room_rows) {
        const size_t n = n_rows - done < a->room_rows ? n_rows - done : a->room_rows;
        /* room[row][plane] = states[plane][done + row] */
        for (size_t row = 0; row < n; row++) {
            for (size_t plane = 0; plane < n_planes; plane++) {
                dinm_narrow(a->room + (row * n_planes + plane) * plane_bytes, dtype,
                            states + (plane * n_rows + done + row) * d, d);
            }
        }
        *digest += digest_block(a, a->offsets[sample] + done, n, first, last);
        TRY(write_block(a, a->offsets[sample] + done, n, first, last, err));
    }
out:
    return status;
}

int dinm_archive_write_distance(struct dinm_archive *a, size_t case_index, const float *distances,
                                int32_t layer, struct dinm_error *err)
{
    int status = DINM_OK;
    dinm_hdf_quiet();
    TRY(check_index(a, "case", case_index, a->n_cases, err));
    TRY(dinm_hdf_write_rows(a->distance, a->path, H5T_NATIVE_FLOAT, case_index, 1, distances, err));
    TRY(dinm_hdf_write_rows(a->layer, a->path, H5T_NATIVE_INT32, case_index, 1, &layer, err));
out:
    return status;
}

int dinm_archive_write_loss(struct dinm_archive *a, size_t case_index, const float *losses,
                            size_t n, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *path = a->path;
    const hsize_t start[3] = {case_index, 0, 0}, count[3] = {1, n, 3};
    hid_t memory = -1, file = -1;
    dinm_hdf_quiet();
    TRY(check_index(a, "case", case_index, a->n_cases, err));
    if (n == 0) {
        return DINM_OK;
    }
    TRY(check_index(a, "step", n - 1, a->n_steps, err));
    HDF(memory = H5Screate_simple(3, count, NULL), "make a data space");
    HDF(file = H5Dget_space(a->loss), "read a dataset's shape");
    HDF(H5Sselect_hyperslab(file, H5S_SELECT_SET, start, NULL, count, NULL), "select a case");
    HDF(H5Dwrite(a->loss, H5T_NATIVE_FLOAT, memory, file, H5P_DEFAULT, losses), "write losses");
out:
    dinm_hdf_close(&file);
    dinm_hdf_close(&memory);
    return status;
}
