/* Hidden states taken over from another archive. */
#include <stdlib.h>
#include "io/archive_hdf.h"

/* The archive that is read, by each rank for itself. */
struct source {
    const char *path; /* borrows */
    hid_t file, hidden;
};

static int source_open(struct source *s, const struct dinm_archive *a, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *path = s->path;
    const hsize_t dims[] = {a->offsets[2 * a->n_cases], a->n_layers + 1, a->d_model};
    const size_t value_bytes = a->half ? 2 : 4;
    hid_t access = -1;
    TRY(dinm_hdf_check_file(path, dims[0] * dims[1] * dims[2] * value_bytes, err));
    HDF(access = dinm_hdf_file_access(), "make a property list");
    HDF(s->file = H5Fopen(path, H5F_ACC_RDONLY, access), "open the file");
    HDF(s->hidden = H5Dopen2(s->file, "/activations/resid_post", H5P_DEFAULT),
        "open /activations/resid_post");
    TRY(dinm_hdf_same_shape(path, "/activations/resid_post", s->hidden, 3, dims, value_bytes, err));
out:
    dinm_hdf_close(&access);
    return status;
}

int dinm_archive_copy_hidden_all(struct dinm_archive *a, const char *from, const char *seal,
                                 size_t first_case, size_t end_case, struct dinm_error *err)
{
    struct source s = {.path = from, .file = -1, .hidden = -1};
    int status = DINM_OK;
    dinm_hdf_quiet();
    if (a->rank == 0 && seal != NULL) {
        status = dinm_archive_check_seal(seal, from, err);
    }
    TRY(dinm_hdf_agree_all(a->comm, status, err));
    TRY(dinm_hdf_agree_all(a->comm, source_open(&s, a, err), err));
    const hsize_t end = a->offsets[2 * end_case];
    for (hsize_t row = a->offsets[2 * first_case]; status >= 0 && row < end; row += a->room_rows) {
        const hsize_t n = end - row < a->room_rows ? end - row : a->room_rows;
        status = dinm_hdf_read_rows(s.hidden, from, a->float_type, row, n, a->room, err);
        status = status < 0
                     ? status
                     : dinm_hdf_write_rows(a->hidden, a->path, a->float_type, row, n, a->room, err);
    }
    TRY(dinm_hdf_agree_all(a->comm, status, err));
out:
    dinm_hdf_close(&s.hidden);
    dinm_hdf_close(&s.file);
    return status;
}
