/* The open archive: every rank writes its own values in place, independently.
 *
 * One process makes the file under another name; all open it, fill the hidden states with NaN
 * together, and only then does it get its name: a file of that name is always complete. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "io/archive_hdf.h"
#include "io/dtype.h"
#include "io/mem.h"

int dinm_hdf_agree_all(MPI_Comm comm, int status, struct dinm_error *err)
{
    int worst = status, rank = 0, size = 1, first = 0;
    char text[sizeof err->text] = "";
    MPI_Comm_rank(comm, &rank);
    MPI_Comm_size(comm, &size);
    MPI_Allreduce(&status, &worst, 1, MPI_INT, MPI_MIN, comm);
    if (worst == DINM_OK) {
        return DINM_OK;
    }
    int mine = status == worst ? rank : size;
    MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, comm);
    if (rank == first && err) {
        memcpy(text, err->text, sizeof text);
    }
    MPI_Bcast(text, (int)sizeof text, MPI_CHAR, first, comm);
    if (err) {
        err->status = DINM_OK;
    }
    return dinm_fail(err, worst, "%s", text);
}

static int check_plan(const struct dinm_archive_plan *p, const char *path, struct dinm_error *err)
{
    if (p->n_cases == 0 || p->n_layers == 0 || p->d_model == 0) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: an archive of %zu cases, %zu layers and width %zu cannot be made",
                         path, p->n_cases, p->n_layers, p->d_model);
    }
    const uint64_t most = UINT64_MAX >> 4;
    uint64_t n_rows = 2 * (uint64_t)p->n_cases, width = (uint64_t)p->d_model * 4;
    for (size_t i = 0; i < 2 * p->n_cases; i++) {
        if (p->n_tokens[i] < 0 || p->n_tokens[i] > INT32_MAX) {
            return dinm_fail(err, DINM_FAILED, "%s: sample %zu has %lld tokens, expected 0 to %d",
                             path, i, (long long)p->n_tokens[i], INT32_MAX);
        }
    }
    n_rows = p->hidden && p->full ? dinm_archive_n_rows(p) : n_rows;
    if (width / 4 != p->d_model || width > DINM_HDF_CHUNK_BYTES * (uint64_t)64 ||
        p->n_layers > 1 << 20 || (n_rows && width * (p->n_layers + 1) > most / n_rows)) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: hidden states of %llu rows, %zu layers and width %zu are too large",
                         path, (unsigned long long)n_rows, p->n_layers, p->d_model);
    }
    if (p->hidden && p->full && (n_rows == 0 || !p->tokens)) {
        return dinm_fail(err, DINM_FAILED, "%s: hidden states of all tokens need tokens", path);
    }
    return DINM_OK;
}

/* Local. The archive's memory, nothing open yet. */
static int set_up(struct dinm_archive *a, const char *path, const struct dinm_archive_plan *p,
                  struct dinm_error *err)
{
    const size_t n_samples = 2 * p->n_cases;
    const size_t row_bytes = (p->n_layers + 1) * p->d_model * sizeof(float);
    a->n_cases = p->n_cases;
    a->n_layers = p->n_layers;
    a->d_model = p->d_model;
    a->n_steps = p->n_steps;
    a->full = p->full;
    a->half = p->half;
    a->path = dinm_copy_text(path, strlen(path), err);
    a->offsets = dinm_alloc(n_samples + 1, sizeof *a->offsets, "the archive's offsets", err);
    a->room_rows = p->full ? DINM_HDF_TRANSFER_BYTES / row_bytes : 1;
    a->room_rows = a->room_rows ? a->room_rows : 1;
    a->room = p->hidden ? dinm_alloc(a->room_rows, row_bytes, "the archive's buffer", err) : NULL;
    if (!a->path || !a->offsets || (p->hidden && !a->room)) {
        return DINM_FAILED;
    }
    for (size_t i = 0; i < n_samples; i++) {
        a->offsets[i + 1] = a->offsets[i] + (p->full ? (hsize_t)p->n_tokens[i] : 1);
    }
    return DINM_OK;
}

/* Collective over a->comm: opens file and datasets for writing by all. */
static int attach_all(struct dinm_archive *a, const char *path, const struct dinm_archive_plan *p,
                      struct dinm_error *err)
{
    int status = DINM_OK;
    hid_t access = -1;
    HDF(a->float_type = dinm_hdf_native_float_type(p->half), "make a number type");
    HDF(access = dinm_hdf_file_access(), "make a property list");
    HDF(H5Pset_fapl_mpio(access, a->comm, MPI_INFO_NULL), "use MPI");
    HDF(a->file = H5Fopen(path, H5F_ACC_RDWR, access), "open the file");
    HDF(a->distance = H5Dopen2(a->file, "/locate/distance", H5P_DEFAULT), "open /locate/distance");
    HDF(a->layer = H5Dopen2(a->file, "/locate/layer", H5P_DEFAULT), "open /locate/layer");
    HDF(a->loss = H5Dopen2(a->file, "/edit/loss", H5P_DEFAULT), "open /edit/loss");
    if (p->hidden) {
        HDF(a->hidden = H5Dopen2(a->file, "/activations/resid_post", H5P_DEFAULT),
            "open /activations/resid_post");
    }
out:
    dinm_hdf_close(&access);
    return status;
}

/* Local. This rank's share of resid_post becomes NaN; it also finds a full disk at the start. */
static int fill_share(struct dinm_archive *a, struct dinm_error *err)
{
    const float nan_value = NAN;
    const size_t row_values = (a->n_layers + 1) * a->d_model;
    const size_t value_bytes = a->half ? 2 : 4;
    const hsize_t n_rows = a->offsets[2 * a->n_cases];
    const hsize_t rank = (hsize_t)a->rank, size = (hsize_t)a->size;
    hsize_t row = n_rows / size * rank + (rank < n_rows % size ? rank : n_rows % size);
    hsize_t end = row + n_rows / size + (rank < n_rows % size);
    int status = DINM_OK;
    for (size_t i = 0; i < a->room_rows * row_values; i++) {
        dinm_narrow(a->room + i * value_bytes, a->half ? DINM_F16 : DINM_F32, &nan_value, 1);
    }
    for (; row < end && status == DINM_OK; row += a->room_rows) {
        hsize_t n = end - row < a->room_rows ? end - row : a->room_rows;
        status = dinm_hdf_write_rows(a->hidden, a->path, a->float_type, row, n, a->room, err);
    }
    return status;
}

/* Collective. A private communicator: HDF5 must not get a Cartesian one, and a duplicate would
 * keep the topology. */
static int begin_all(struct dinm_archive **out, const char *path, MPI_Comm comm,
                     const struct dinm_archive_plan *plan, struct dinm_error *err)
{
    int status = DINM_OK, rank = 0;
    MPI_Comm_rank(comm, &rank);
    struct dinm_archive *a = dinm_alloc(1, sizeof *a, "the archive", err);
    *out = NULL;
    dinm_hdf_quiet();
    status = dinm_hdf_agree_all(comm, a ? check_plan(plan, path, err) : DINM_FAILED, err);
    if (status < 0) {
        free(a);
        return status;
    }
    a->file = a->hidden = a->distance = a->layer = a->loss = a->float_type = -1;
    if (MPI_Comm_split(comm, 0, rank, &a->comm) != MPI_SUCCESS) {
        free(a);
        return dinm_fail(err, DINM_FAILED, "%s: MPI made no communicator for the archive", path);
    }
    MPI_Comm_set_errhandler(a->comm, MPI_ERRORS_RETURN);
    MPI_Comm_rank(a->comm, &a->rank);
    MPI_Comm_size(a->comm, &a->size);
    *out = a;
    return dinm_hdf_agree_all(a->comm, set_up(a, path, plan, err), err);
}

/* The name while the file is being made. */
static char *name_of_draft(const char *path, struct dinm_error *err)
{
    struct dinm_buffer name = {0};
    if (dinm_buffer_append_text(&name, path, err) < 0 ||
        dinm_buffer_append_text(&name, ".new", err) < 0) {
        dinm_buffer_free(&name);
    }
    return name.data;
}

int dinm_archive_create_all(struct dinm_archive **out, const char *path, MPI_Comm comm,
                            const struct dinm_archive_plan *plan, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_archive *a = NULL;
    char *draft = name_of_draft(path, err);
    *out = NULL;
    TRY(dinm_hdf_agree_all(comm, draft ? DINM_OK : DINM_FAILED, err));
    TRY(begin_all(&a, path, comm, plan, err));
    TRY(dinm_hdf_agree_all(a->comm, a->rank ? DINM_OK : dinm_archive_build(draft, plan, err), err));
    /* a rank that does not see the file must say so before the others wait for it in H5Fopen */
    TRY(dinm_hdf_agree_all(a->comm, dinm_hdf_check_file(draft, dinm_archive_n_bytes(plan), err),
                           err));
    TRY(dinm_hdf_agree_all(a->comm, attach_all(a, draft, plan, err), err));
    TRY(dinm_hdf_agree_all(a->comm, plan->hidden ? fill_share(a, err) : DINM_OK, err));
    status = H5Fflush(a->file, H5F_SCOPE_GLOBAL) < 0 ? dinm_hdf_fail(err, "write the file", path)
                                                     : DINM_OK;
    if (status == DINM_OK && a->rank == 0 && rename(draft, path) != 0) {
        status = dinm_fail_errno(err, errno, "cannot rename the new archive to", path);
    }
    TRY(dinm_hdf_agree_all(a->comm, status, err));
    *out = a;
    a = NULL;
out:
    if (a) {
        if (a->rank == 0) {
            unlink(draft);
        }
        dinm_archive_close_all(&a, NULL);
    }
    free(draft);
    return status;
}

int dinm_archive_open_all(struct dinm_archive **out, const char *path, MPI_Comm comm,
                          const struct dinm_archive_plan *plan, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_archive *a = NULL;
    *out = NULL;
    TRY(begin_all(&a, path, comm, plan, err));
    status = dinm_hdf_check_file(path, dinm_archive_n_bytes(plan), err);
    if (status == DINM_OK && a->rank == 0 && plan->seal != NULL) {
        status = dinm_archive_check_seal(plan->seal, path, err);
    }
    TRY(dinm_hdf_agree_all(a->comm, status, err));
    TRY(dinm_hdf_agree_all(a->comm, attach_all(a, path, plan, err), err));
    TRY(dinm_hdf_agree_all(a->comm, dinm_archive_verify(a, plan, err), err));
    *out = a;
    a = NULL;
out:
    dinm_archive_close_all(&a, NULL);
    return status;
}

int dinm_archive_close_all(struct dinm_archive **archive, struct dinm_error *err)
{
    struct dinm_archive *a = *archive;
    int status = DINM_OK;
    *archive = NULL;
    if (!a) {
        return DINM_OK;
    }
    if (a->file >= 0 && H5Fflush(a->file, H5F_SCOPE_GLOBAL) < 0) {
        status = dinm_hdf_fail(err, "write the file", a->path);
    }
    dinm_hdf_close(&a->hidden);
    dinm_hdf_close(&a->loss);
    dinm_hdf_close(&a->layer);
    dinm_hdf_close(&a->distance);
    dinm_hdf_close(&a->float_type);
    if (a->file >= 0 && H5Fclose(a->file) < 0 && status == DINM_OK) {
        status = dinm_hdf_fail(err, "close the file", a->path);
    }
    status = status < 0 ? status : dinm_hdf_check_closed(a->path, err);
    status = dinm_hdf_agree_all(a->comm, status, err);
    MPI_Comm_free(&a->comm);
    free(a->room);
    free(a->offsets);
    free(a->path);
    free(a);
    return status;
}
