/* The seal: what of an archive never changes once it is made, so that a file that was damaged since
 * is known before HDF5 sees it (the library crashes on some of them).
 *
 * A text file {"bytes": N, "values": [[begin, end], ...], "digest": D}: the archive's length, the
 * parts of it that hold the values of results, ascending, and the XXH64 of all other bytes. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "io/archive_hdf.h"
#include "io/digest.h"
#include "io/file.h"
#include "io/json.h"
#include "io/mem.h"

enum { PIECE_BYTES = 1 << 20 };

void dinm_extents_free(struct dinm_extents *e)
{
    free(e->items);
    *e = (struct dinm_extents){0};
}

static int add_extent(struct dinm_extents *e, uint64_t begin, uint64_t n_bytes,
                      struct dinm_error *err)
{
    void *items = e->items;
    struct dinm_extent *last = e->n > 0 ? &e->items[e->n - 1] : NULL;
    if (n_bytes == 0) {
        return DINM_OK;
    }
    if (last != NULL && last->end == begin) {
        last->end += n_bytes;
        return DINM_OK;
    }
    if (dinm_grow(&items, &e->capacity, e->n + 1, sizeof *e->items, "an archive's seal", err) < 0) {
        return DINM_FAILED;
    }
    e->items = items;
    e->items[e->n++] = (struct dinm_extent){begin, begin + n_bytes};
    return DINM_OK;
}

/* The chunks of a dataset, row after row of them; at: the first value of one. */
static int add_chunks(struct dinm_extents *e, const char *path, hid_t dataset, hid_t how,
                      struct dinm_error *err)
{
    int status = DINM_OK;
    hid_t space = -1;
    hsize_t dims[DINM_HDF_MAX_AXES], chunk[DINM_HDF_MAX_AXES], at[DINM_HDF_MAX_AXES] = {0};
    int n_axes, axis = 0;
    HDF(space = H5Dget_space(dataset), "read a dataset's shape");
    HDF(n_axes = H5Sget_simple_extent_dims(space, dims, NULL), "read a dataset's shape");
    HDF(H5Pget_chunk(how, n_axes, chunk), "read a chunk's shape");
    while (axis >= 0) {
        unsigned mask;
        haddr_t begin;
        hsize_t n_bytes;
        HDF(H5Dget_chunk_info_by_coord(dataset, at, &mask, &begin, &n_bytes), "find a chunk");
        TRY(begin != HADDR_UNDEF ? add_extent(e, begin, n_bytes, err)
                                 : dinm_fail(err, DINM_FAILED, "%s: a chunk has no place", path));
        for (axis = n_axes - 1; axis >= 0; axis--) {
            at[axis] += chunk[axis];
            if (at[axis] < dims[axis]) {
                break;
            }
            at[axis] = 0;
        }
    }
out:
    dinm_hdf_close(&space);
    return status;
}

int dinm_extents_add(struct dinm_extents *e, const char *path, hid_t file, const char *name,
                     struct dinm_error *err)
{
    int status = DINM_OK;
    hid_t dataset = -1, how = -1;
    HDF(dataset = H5Dopen2(file, name, H5P_DEFAULT), "open a dataset");
    HDF(how = H5Dget_create_plist(dataset), "read how a dataset is stored");
    if (H5Pget_layout(how) == H5D_CHUNKED) {
        TRY(add_chunks(e, path, dataset, how, err));
    } else {
        haddr_t begin = H5Dget_offset(dataset);
        hsize_t n_bytes = H5Dget_storage_size(dataset);
        TRY(begin != HADDR_UNDEF || n_bytes == 0
                ? add_extent(e, begin, n_bytes, err)
                : dinm_fail(err, DINM_FAILED, "%s: %s has no place", path, name));
    }
out:
    dinm_hdf_close(&how);
    dinm_hdf_close(&dataset);
    return status;
}

static int compare_extents(const void *a, const void *b)
{
    uint64_t x = ((const struct dinm_extent *)a)->begin, y = ((const struct dinm_extent *)b)->begin;
    return (x > y) - (x < y);
}

/* Adds bytes [begin, end) of the file to the digest. */
static int digest_part(struct dinm_digester *digester, int fd, const char *path, uint64_t begin,
                       uint64_t end, char *piece, struct dinm_error *err)
{
    while (begin < end) {
        size_t n = end - begin < PIECE_BYTES ? (size_t)(end - begin) : PIECE_BYTES;
        ssize_t got = pread(fd, piece, n, (off_t)begin);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return dinm_fail_errno(err, errno, "cannot read", path);
        }
        if (got == 0) {
            return dinm_fail(err, DINM_FAILED, "%s: ends at byte %llu", path,
                             (unsigned long long)begin);
        }
        dinm_digester_add(digester, piece, (size_t)got);
        begin += (uint64_t)got;
    }
    return DINM_OK;
}

/* Digest of the first n_bytes of the file, without the extents (ascending, within these). */
static int digest_rest(const char *path, uint64_t n_bytes, const struct dinm_extents *e,
                       uint64_t *digest, struct dinm_error *err)
{
    int status = DINM_OK;
    uint64_t at = 0;
    struct dinm_digester *digester = dinm_digester_open(0, err);
    char *piece = dinm_alloc(PIECE_BYTES, 1, "a piece of a file", err);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        TRY(dinm_fail_errno(err, errno, "cannot open", path));
    }
    TRY(digester != NULL && piece != NULL ? DINM_OK : DINM_FAILED);
    for (size_t i = 0; i < e->n; i++) {
        TRY(digest_part(digester, fd, path, at, e->items[i].begin, piece, err));
        at = e->items[i].end;
    }
    TRY(digest_part(digester, fd, path, at, n_bytes, piece, err));
    *digest = dinm_digester_value(digester);
out:
    if (fd >= 0) {
        close(fd);
    }
    free(piece);
    dinm_digester_close(digester);
    return status;
}

int dinm_archive_seal(const char *seal, const char *path, struct dinm_extents *values,
                      struct dinm_error *err)
{
    int status = DINM_OK;
    struct stat info;
    uint64_t digest = 0;
    struct dinm_buffer text = {0};
    if (stat(path, &info) != 0) {
        return dinm_fail_errno(err, errno, "cannot look at", path);
    }
    if (values->n > 1) {
        qsort(values->items, values->n, sizeof *values->items, compare_extents);
    }
    TRY(digest_rest(path, (uint64_t)info.st_size, values, &digest, err));
    TRY(dinm_buffer_append_format(&text, err, "{\"bytes\": %lld, \"values\": [",
                                  (long long)info.st_size));
    for (size_t i = 0; i < values->n; i++) {
        TRY(dinm_buffer_append_format(&text, err, "%s[%llu, %llu]", i > 0 ? ", " : "",
                                      (unsigned long long)values->items[i].begin,
                                      (unsigned long long)values->items[i].end));
    }
    TRY(dinm_buffer_append_format(&text, err, "], \"digest\": \"%016" PRIx64 "\"}\n", digest));
    TRY(dinm_file_write(seal, text.data, text.n_bytes, err));
out:
    dinm_buffer_free(&text);
    return status;
}

/* The seal's extents: ascending, apart from each other, within the n_bytes. */
static int read_extents(struct dinm_json j, int64_t n_bytes, struct dinm_extents *e,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    const cJSON *list = NULL;
    double last = 0;
    TRY(dinm_json_get_array(j, "values", &list, err));
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        const cJSON *begin = cJSON_GetArrayItem(item, 0), *end = cJSON_GetArrayItem(item, 1);
        if (!cJSON_IsNumber(begin) || !cJSON_IsNumber(end) || !(begin->valuedouble >= last) ||
            !(end->valuedouble > begin->valuedouble) || !(end->valuedouble <= (double)n_bytes)) {
            TRY(dinm_fail(err, DINM_FAILED, "%s: 'values' is not a list of parts of the archive",
                          j.where));
        }
        last = end->valuedouble;
        TRY(add_extent(e, (uint64_t)begin->valuedouble,
                       (uint64_t)last - (uint64_t)begin->valuedouble, err));
    }
out:
    return status;
}

int dinm_archive_check_seal(const char *seal, const char *path, struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *tree = NULL;
    struct stat info;
    struct dinm_extents values = {0};
    int64_t n_bytes = 0;
    const char *text = NULL;
    char room[24];
    uint64_t digest = 0;
    TRY(dinm_json_load(seal, &tree, err));
    const struct dinm_json j = {tree, seal};
    TRY(dinm_json_get_int(j, "bytes", 0, INT64_MAX, &n_bytes, err));
    TRY(dinm_json_get_text(j, "digest", &text, err));
    TRY(read_extents(j, n_bytes, &values, err));
    if (stat(path, &info) != 0) {
        TRY(dinm_fail_errno(err, errno, "cannot look at", path));
    }
    if (info.st_size != n_bytes) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: expected %lld bytes, found %lld", path,
                      (long long)n_bytes, (long long)info.st_size));
    }
    TRY(digest_rest(path, (uint64_t)n_bytes, &values, &digest, err));
    snprintf(room, sizeof room, "%016" PRIx64, digest);
    if (strcmp(room, text) != 0) {
        TRY(dinm_fail(err, DINM_FAILED, "%s: its structure was changed since it was made", path));
    }
out:
    dinm_extents_free(&values);
    cJSON_Delete(tree);
    return status;
}
