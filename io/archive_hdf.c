/* Calls of HDF5 whose failure becomes our one sentence. */
#include <string.h>
#include <stdlib.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include "io/archive_hdf.h"
#include "io/mem.h"

enum { LEAST_FREE_BYTES = 64 << 10, MESSAGE_ROOM = 1024 };

void dinm_hdf_quiet(void)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

/* H5Ewalk2 upward starts with the innermost message: the one that says what happened. */
static herr_t keep_innermost(unsigned n, const H5E_error2_t *entry, void *text)
{
    if (n == 0 && entry->desc != NULL) {
        char *message = text;
        strncpy(message, entry->desc, MESSAGE_ROOM - 1);
        message[MESSAGE_ROOM - 1] = '\0';
    }
    return 0;
}

/* HDF5 keeps what it could not close, and falls over it when it is shut down. */
static bool failed, unclosed;

bool dinm_archive_has_failed(void)
{
    return failed;
}

/* "file write failed: time = T, filename = 'F', ..., error message = 'REASON', buf = 0x1, ..."
 * becomes "file write failed: REASON". */
static void shorten(char *message)
{
    static const char mark[] = "error message = '";
    char *colon = strchr(message, ':'), *reason = strstr(message, mark);
    if (colon != NULL && reason != NULL && colon < reason) {
        reason += strlen(mark);
        size_t n = strcspn(reason, "'");
        memmove(colon + 2, reason, n);
        colon[2 + n] = '\0';
    }
}

/* HDF5 over MPI does not tell why a write failed. Whether the file system of the file has less room
 * than any write of ours needs. */
static bool is_disk_full(const char *path)
{
    struct statvfs info;
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? dinm_copy_text(".", 1, NULL)
                                 : dinm_copy_text(path, (size_t)(slash - path) + 1, NULL);
    bool full = folder != NULL && statvfs(folder, &info) == 0 &&
                (uint64_t)info.f_bavail * info.f_frsize < LEAST_FREE_BYTES;
    free(folder);
    return full;
}

int dinm_hdf_fail(struct dinm_error *err, const char *what, const char *path)
{
    failed = true;
    char message[MESSAGE_ROOM] = "no reason given";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, message);
    H5Eclear2(H5E_DEFAULT);
    shorten(message);
    return dinm_fail(err, DINM_FAILED, "%s: cannot %s: %sHDF5 says \"%s\"", path, what,
                     is_disk_full(path) ? "No space left on device; " : "", message);
}

void dinm_hdf_close(hid_t *id)
{
    if (*id > 0 && H5Idec_ref(*id) < 0) {
        H5Eclear2(H5E_DEFAULT);
        failed = unclosed = true;
    }
    *id = -1;
}

int dinm_hdf_check_closed(const char *path, struct dinm_error *err)
{
    return unclosed
               ? dinm_fail(err, DINM_FAILED, "%s: HDF5 could not write all of it: %s", path,
                           is_disk_full(path) ? "No space left on device" : "the disk may be full")
               : DINM_OK;
}

hid_t dinm_hdf_float_type(bool half)
{
    hid_t type = H5Tcopy(H5T_IEEE_F32LE);
    if (!half || type < 0) {
        return type;
    }
    /* 1 sign bit, 5 of exponent with bias 15, 10 of mantissa; the fields first, so that they fit
     * when the size shrinks */
    if (H5Tset_fields(type, 15, 10, 5, 0, 10) < 0 || H5Tset_size(type, 2) < 0 ||
        H5Tset_ebias(type, 15) < 0) {
        dinm_hdf_close(&type);
    }
    return type;
}

hid_t dinm_hdf_native_float_type(bool half)
{
    hid_t type = dinm_hdf_float_type(half);
    if (type >= 0 && H5Tset_order(type, H5Tget_order(H5T_NATIVE_FLOAT)) < 0) {
        dinm_hdf_close(&type);
    }
    return type;
}

hid_t dinm_hdf_file_access(void)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
#if H5_VERSION_GE(1, 10, 7)
    if (access >= 0 && H5Pset_file_locking(access, true, true) < 0) {
        dinm_hdf_close(&access);
    }
#endif
    return access;
}

static hid_t text_type(void)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type >= 0 &&
        (H5Tset_size(type, H5T_VARIABLE) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0)) {
        dinm_hdf_close(&type);
    }
    return type;
}

int dinm_hdf_put_text(hid_t object, const char *path, const char *name, const char *text,
                      struct dinm_error *err)
{
    int status = DINM_OK;
    hid_t type = -1, space = -1, attribute = -1;
    HDF(type = text_type(), "make a text type");
    HDF(space = H5Screate(H5S_SCALAR), "make a data space");
    HDF(attribute = H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT),
        "create an attribute");
    HDF(H5Awrite(attribute, type, &text), "write an attribute");
out:
    dinm_hdf_close(&attribute);
    dinm_hdf_close(&space);
    dinm_hdf_close(&type);
    return status;
}

int dinm_hdf_get_text(hid_t object, const char *path, const char *name, char **text,
                      struct dinm_error *err)
{
    int status = DINM_OK;
    hid_t type = -1, stored = -1, space = -1, attribute = -1;
    char *value = NULL;
    *text = NULL;
    htri_t exists = 0;
    HDF(exists = H5Aexists(object, name), "look for an attribute");
    if (exists) {
        HDF(attribute = H5Aopen(object, name, H5P_DEFAULT), "open an attribute");
        HDF(stored = H5Aget_type(attribute), "read an attribute's type");
        HDF(space = H5Aget_space(attribute), "read an attribute's shape");
        if (H5Tis_variable_str(stored) > 0 && H5Sget_simple_extent_npoints(space) == 1) {
            HDF(type = text_type(), "make a text type");
            HDF(H5Aread(attribute, type, &value), "read an attribute");
        }
    }
    *text = dinm_copy_text(value ? value : "", value ? strlen(value) : 0, err);
    status = *text ? DINM_OK : DINM_FAILED;
out:
    if (value) {
        H5free_memory(value);
    }
    dinm_hdf_close(&attribute);
    dinm_hdf_close(&space);
    dinm_hdf_close(&stored);
    dinm_hdf_close(&type);
    return status;
}

/* One direction or the other; rows is only written to when reading. */
static int move_rows(bool writing, hid_t dataset, const char *path, hid_t type, hsize_t first,
                     hsize_t n_rows, unsigned char *rows, struct dinm_error *err)
{
    int status = DINM_OK;
    hid_t file_space = -1, memory_space = -1;
    hsize_t dims[DINM_HDF_MAX_AXES], start[DINM_HDF_MAX_AXES] = {0};
    size_t row_bytes = H5Tget_size(type);
    HDF(file_space = H5Dget_space(dataset), "read a dataset's shape");
    int n_axes = H5Sget_simple_extent_ndims(file_space);
    if (n_axes < 1 || n_axes > DINM_HDF_MAX_AXES) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: a dataset has %d axes, expected 1 to 3", path,
                      n_axes));
    }
    HDF(H5Sget_simple_extent_dims(file_space, dims, NULL), "read a dataset's shape");
    if (n_rows > dims[0] || first > dims[0] - n_rows) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: rows %llu to %llu do not fit a dataset of %llu rows",
                      path, (unsigned long long)first, (unsigned long long)(first + n_rows),
                      (unsigned long long)dims[0]));
    }
    for (int i = 1; i < n_axes; i++) {
        row_bytes *= dims[i];
    }
    hsize_t step = row_bytes ? DINM_HDF_TRANSFER_BYTES / row_bytes : n_rows;
    step = step ? step : 1;
    for (hsize_t done = 0; row_bytes > 0 && done < n_rows; done += dims[0]) {
        dims[0] = n_rows - done < step ? n_rows - done : step;
        start[0] = first + done;
        dinm_hdf_close(&memory_space);
        HDF(memory_space = H5Screate_simple(n_axes, dims, NULL), "make a data space");
        HDF(H5Sselect_hyperslab(file_space, H5S_SELECT_SET, start, NULL, dims, NULL),
            "select rows");
        void *at = rows + done * row_bytes;
        if (writing) {
            HDF(H5Dwrite(dataset, type, memory_space, file_space, H5P_DEFAULT, at), "write");
        } else {
            HDF(H5Dread(dataset, type, memory_space, file_space, H5P_DEFAULT, at), "read");
        }
    }
out:
    dinm_hdf_close(&memory_space);
    dinm_hdf_close(&file_space);
    return status;
}

int dinm_hdf_write_rows(hid_t dataset, const char *path, hid_t type, hsize_t first, hsize_t n_rows,
                        const void *rows, struct dinm_error *err)
{
    return move_rows(true, dataset, path, type, first, n_rows, (unsigned char *)rows, err);
}

int dinm_hdf_read_rows(hid_t dataset, const char *path, hid_t type, hsize_t first, hsize_t n_rows,
                       void *rows, struct dinm_error *err)
{
    return move_rows(false, dataset, path, type, first, n_rows, rows, err);
}

/* The width in (width / 2, width] whose chunks stick out least over an axis of n values. */
static hsize_t fitting_width(hsize_t n, hsize_t width)
{
    hsize_t best = width;
    for (hsize_t w = width; w > width / 2; w--) {
        if ((n + w - 1) / w * w < (n + best - 1) / best * best) {
            best = w;
        }
    }
    return best;
}

void dinm_hdf_chunk_shape(hsize_t *chunk, const hsize_t *dims, int n_axes, size_t value_bytes)
{
    /* a quarter of the largest chunk: what is read in vain stays small */
    const hsize_t aim = DINM_HDF_CHUNK_BYTES / 4 / value_bytes;
    const hsize_t most = DINM_HDF_CHUNK_BYTES / value_bytes;
    int last = n_axes - 1;
    hsize_t n = dims[last] < most ? dims[last] : most;
    bool grown = true;
    for (int i = 0; i < last; i++) {
        chunk[i] = 1;
    }
    chunk[last] = n;
    while (grown) {
        grown = false;
        for (int i = 0; i < last; i++) {
            hsize_t wider = 2 * chunk[i] < dims[i] ? 2 * chunk[i] : dims[i];
            if (wider > chunk[i] && n / chunk[i] * wider <= aim) {
                n = n / chunk[i] * wider;
                chunk[i] = wider;
                grown = true;
            }
        }
    }
    for (int i = 0; i < last; i++) {
        chunk[i] = fitting_width(dims[i], chunk[i]);
    }
}

int dinm_hdf_check_file(const char *path, uint64_t n_bytes, struct dinm_error *err)
{
    static const unsigned char signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    unsigned char head[8] = {0};
    struct stat info;
    if (stat(path, &info) != 0) {
        return dinm_fail_errno(err, errno, "cannot look at", path);
    }
    if (!S_ISREG(info.st_mode)) {
        return dinm_fail(err, DINM_FAILED, "%s: expected a regular file, found something else",
                         path);
    }
    if ((uint64_t)info.st_size < n_bytes) {
        return dinm_fail(err, DINM_FAILED, "%s: expected at least %llu bytes, found %lld", path,
                         (unsigned long long)n_bytes, (long long)info.st_size);
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return dinm_fail_errno(err, errno, "cannot open", path);
    }
    ssize_t n_read = read(fd, head, sizeof head);
    int code = errno;
    close(fd);
    if (n_read < 0) {
        return dinm_fail_errno(err, code, "cannot read", path);
    }
    if (n_read != (ssize_t)sizeof head || memcmp(head, signature, sizeof head) != 0) {
        return dinm_fail(err, DINM_FAILED, "%s: not an HDF5 file: its first 8 bytes differ", path);
    }
    return DINM_OK;
}
