/* Reading safetensors: a file is believed only after everything in its header was checked. */
#include "io/safetensors.h"
#include "io/json.h"
#include "io/safetensors_dtype.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { PREFIX_BYTES = 8, MAX_HEADER_BYTES = 100000000 };

/* Bytes [begin, end) of the data, and whose they are. */
struct range {
    size_t begin, end;
    const char *name;
};

static int compare_ranges(const void *left, const void *right)
{
    const struct range *a = left;
    const struct range *b = right;

    if (a->begin != b->begin) {
        return a->begin < b->begin ? -1 : 1;
    }
    return (a->end > b->end) - (a->end < b->end);
}

static int compare_tensors(const void *left, const void *right)
{
    const struct dinm_tensor *a = left;
    const struct dinm_tensor *b = right;

    return strcmp(a->name, b->name);
}

/* bytes = 8-byte length, header, data, n_bytes in all; only the length is looked at. */
static int find_length(const char *name, const unsigned char *bytes, size_t n_bytes,
                       size_t *header_bytes, struct dinm_error *err)
{
    uint64_t length = 0;

    if (n_bytes < PREFIX_BYTES) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: a safetensors file has at least 8 bytes, this one has %zu", name,
                         n_bytes);
    }
    for (int i = PREFIX_BYTES - 1; i >= 0; i--) {
        length = length << 8 | bytes[i];
    }
    if (length > MAX_HEADER_BYTES) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: this is no safetensors file: its header would have %" PRIu64
                         " bytes, more than the %d that are allowed",
                         name, length, MAX_HEADER_BYTES);
    }
    if (length > n_bytes - PREFIX_BYTES) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: the file is cut short: its header has %" PRIu64
                         " bytes, but only %zu follow",
                         name, length, n_bytes - PREFIX_BYTES);
    }
    *header_bytes = (size_t)length;
    return DINM_OK;
}

/* The same, and the header's first character. */
static int find_header(const char *name, const unsigned char *bytes, size_t n_bytes,
                       size_t *header_bytes, struct dinm_error *err)
{
    int status;

    TRY(find_length(name, bytes, n_bytes, header_bytes, err));
    if (*header_bytes == 0 || bytes[PREFIX_BYTES] != '{') {
        status =
            dinm_fail(err, DINM_FAILED, "%s: the safetensors header does not begin with {", name);
    }
out:
    return status;
}

/* Items of a JSON array as integers of at least 0. */
static int read_integers(const cJSON *array, const char *what, const char *where, int64_t *out,
                         struct dinm_error *err)
{
    const cJSON *item;
    size_t n = 0;

    cJSON_ArrayForEach(item, array)
    {
        char room[64];
        const double value = cJSON_IsNumber(item) ? item->valuedouble : -1.0;

        /* Below 2^53 a double holds integers exactly. */
        if (!(value >= 0.0 && value < 0x1p53 && value == (double)(int64_t)value)) {
            return dinm_fail(err, DINM_FAILED,
                             "%s: '%s' must hold integers of at least 0, found %s", where, what,
                             dinm_json_describe(item, room));
        }
        out[n++] = (int64_t)value;
    }
    return DINM_OK;
}

static int read_shape(struct dinm_tensor *tensor, struct dinm_json entry, struct dinm_error *err)
{
    const cJSON *shape = NULL;
    int status;
    int n_dims;

    TRY(dinm_json_get_array(entry, "shape", &shape, err));
    n_dims = cJSON_GetArraySize(shape);
    if (n_dims > DINM_MAX_DIMS) {
        return dinm_fail(err, DINM_FAILED, "%s: %d dimensions, more than the %d that are supported",
                         entry.where, n_dims, DINM_MAX_DIMS);
    }
    tensor->n_dims = (size_t)n_dims;
    status = read_integers(shape, "shape", entry.where, tensor->shape, err);
out:
    return status;
}

static int read_range(struct range *range, struct dinm_json entry, size_t data_bytes,
                      struct dinm_error *err)
{
    const cJSON *offsets = NULL;
    int64_t ends[2] = {0, 0};
    int status;

    TRY(dinm_json_get_array(entry, "data_offsets", &offsets, err));
    if (cJSON_GetArraySize(offsets) != 2) {
        return dinm_fail(err, DINM_FAILED, "%s: 'data_offsets' must hold 2 integers, found %d",
                         entry.where, cJSON_GetArraySize(offsets));
    }
    TRY(read_integers(offsets, "data_offsets", entry.where, ends, err));
    if (ends[0] > ends[1] || (uint64_t)ends[1] > data_bytes) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: data_offsets [%" PRId64 ", %" PRId64
                         "] are not within the %zu bytes of data in the file (is it cut short?)",
                         entry.where, ends[0], ends[1], data_bytes);
    }
    range->begin = (size_t)ends[0];
    range->end = (size_t)ends[1];
out:
    return status;
}

static int check_keys(struct dinm_json entry, struct dinm_error *err)
{
    const cJSON *member;
    char room[64];

    if (!cJSON_IsObject(entry.object)) {
        return dinm_fail(err, DINM_FAILED, "%s: expected an object, found %s", entry.where,
                         dinm_json_describe(entry.object, room));
    }
    cJSON_ArrayForEach(member, entry.object)
    {
        if (strcmp(member->string, "dtype") != 0 && strcmp(member->string, "shape") != 0 &&
            strcmp(member->string, "data_offsets") != 0) {
            return dinm_fail(err, DINM_FAILED,
                             "%s: unknown key '%s'; a tensor has dtype, shape and data_offsets",
                             entry.where, member->string);
        }
    }
    return DINM_OK;
}

/* One entry of the header; data: [data_bytes]. tensor->name is set. */
static int read_tensor(struct dinm_tensor *tensor, struct range *range, struct dinm_json entry,
                       const unsigned char *data, size_t data_bytes, struct dinm_error *err)
{
    const struct dinm_safetensors_dtype *stored = NULL;
    const char *dtype_name = NULL;
    size_t n_bytes = 0;
    int status;

    TRY(check_keys(entry, err));
    TRY(dinm_json_get_text(entry, "dtype", &dtype_name, err));
    stored = dinm_safetensors_dtype_find(dtype_name);
    if (stored == NULL) {
        return dinm_fail(err, DINM_FAILED, "%s: unknown dtype '%s'", entry.where, dtype_name);
    }
    tensor->dtype = stored->dtype;
    tensor->dtype_name = stored->name;
    TRY(read_shape(tensor, entry, err));
    TRY(read_range(range, entry, data_bytes, err));
    TRY(dinm_safetensors_dtype_bytes(stored, tensor->shape, tensor->n_dims, entry.where, &n_bytes,
                                     err));
    if (n_bytes != range->end - range->begin) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: shape and dtype need %zu bytes, but data_offsets span %zu",
                         entry.where, n_bytes, range->end - range->begin);
    }
    range->name = tensor->name;
    tensor->n_bytes = n_bytes;
    tensor->data = n_bytes > 0 ? data + range->begin : NULL;
    if (tensor->dtype != DINM_OTHER &&
        (uintptr_t)tensor->data % dinm_dtype_size(tensor->dtype) != 0) {
        status = dinm_fail(err, DINM_FAILED,
                           "%s: its data begin at a place that is not a multiple of its elements' "
                           "size; load and save the file once with a current safetensors library",
                           entry.where);
    }
out:
    return status;
}

static int check_metadata(const cJSON *metadata, const char *name, struct dinm_error *err)
{
    const cJSON *member;
    char room[64];

    if (!cJSON_IsObject(metadata)) {
        return dinm_fail(err, DINM_FAILED, "%s: '__metadata__' must be an object, found %s", name,
                         dinm_json_describe(metadata, room));
    }
    cJSON_ArrayForEach(member, metadata)
    {
        if (!cJSON_IsString(member)) {
            return dinm_fail(err, DINM_FAILED,
                             "%s: '__metadata__' must hold strings, but '%s' is %s", name,
                             member->string, dinm_json_describe(member, room));
        }
    }
    return DINM_OK;
}

/* Sorts the ranges and checks that they tile the data. */
static int check_ranges(struct range *ranges, size_t n, size_t data_bytes, const char *name,
                        struct dinm_error *err)
{
    size_t end = 0;

    if (n > 1) {
        qsort(ranges, n, sizeof *ranges, compare_ranges);
    }
    for (size_t i = 0; i < n; i++) {
        if (ranges[i].begin != end) {
            return dinm_fail(
                err, DINM_FAILED,
                "%s: tensor '%s' begins at byte %zu of the data, but the one before it "
                "ends at %zu",
                name, ranges[i].name, ranges[i].begin, end);
        }
        end = ranges[i].end;
    }
    if (end != data_bytes) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: the tensors end at byte %zu of the data, but the file holds %zu",
                         name, end, data_bytes);
    }
    return DINM_OK;
}

/* Room for as many tensors as the header has members, and for their names. */
static int allocate(struct dinm_safetensors *st, struct range **ranges, const cJSON *header,
                    struct dinm_error *err)
{
    const cJSON *member;
    size_t n = 0;
    size_t n_bytes = 0;

    cJSON_ArrayForEach(member, header)
    {
        n++;
        n_bytes += strlen(member->string) + 1;
    }
    st->tensors = dinm_alloc(n, sizeof *st->tensors, "the tensors of a file", err);
    st->names = dinm_alloc(n_bytes, 1, "the names of tensors", err);
    *ranges = dinm_alloc(n, sizeof **ranges, "the tensors of a file", err);
    return st->tensors == NULL || st->names == NULL || *ranges == NULL ? DINM_FAILED : DINM_OK;
}

static int read_header(struct dinm_safetensors *st, const cJSON *header, const char *name,
                       const unsigned char *data, size_t data_bytes, struct dinm_error *err)
{
    struct dinm_buffer where = {0};
    struct range *ranges = NULL;
    const cJSON *member;
    char *names;
    int status;

    TRY(allocate(st, &ranges, header, err));
    names = st->names;
    cJSON_ArrayForEach(member, header)
    {
        struct dinm_tensor *tensor = &st->tensors[st->n_tensors];
        const size_t n_bytes = strlen(member->string) + 1;

        if (strcmp(member->string, "__metadata__") == 0) {
            TRY(check_metadata(member, name, err));
            continue;
        }
        where.n_bytes = 0;
        TRY(dinm_buffer_append_format(&where, err, "%s: tensor '%s'", name, member->string));
        tensor->name = memcpy(names, member->string, n_bytes);
        names += n_bytes;
        TRY(read_tensor(tensor, &ranges[st->n_tensors], (struct dinm_json){member, where.data},
                        data, data_bytes, err));
        st->n_tensors++;
    }
    TRY(check_ranges(ranges, st->n_tensors, data_bytes, name, err));
    if (st->n_tensors > 1) {
        qsort(st->tensors, st->n_tensors, sizeof *st->tensors, compare_tensors);
    }
out:
    free(ranges);
    dinm_buffer_free(&where);
    return status;
}

/* start: the file's first bytes, at least its header; bytes: [n_bytes] all of it, not looked at. */
static int parse(struct dinm_safetensors *st, const char *name, const void *start,
                 const unsigned char *bytes, size_t n_bytes, struct dinm_error *err)
{
    size_t header_bytes = 0;
    cJSON *header = NULL;
    int status;

    *st = (struct dinm_safetensors){0};
    TRY(find_header(name, start, n_bytes, &header_bytes, err));
    TRY(dinm_json_parse(name, (const char *)start + PREFIX_BYTES, header_bytes, &header, err));
    status = read_header(st, header, name, bytes + PREFIX_BYTES + header_bytes,
                         n_bytes - PREFIX_BYTES - header_bytes, err);
out:
    cJSON_Delete(header);
    if (status < 0) {
        dinm_safetensors_close(st);
    }
    return status;
}

int dinm_safetensors_parse(struct dinm_safetensors *st, const char *name, const void *bytes,
                           size_t n_bytes, struct dinm_error *err)
{
    return parse(st, name, bytes, bytes, n_bytes, err);
}

/* The header is read, not looked at through the mapping: should the file be cut short meanwhile, a
 * read ends early, where a look would end the process. */
static int read_start(struct dinm_buffer *start, const char *path, size_t n_bytes,
                      struct dinm_error *err)
{
    size_t header_bytes = 0;
    int status = DINM_OK;

    TRY(dinm_file_read_part(path, 0, n_bytes < PREFIX_BYTES ? n_bytes : PREFIX_BYTES, start, err));
    TRY(find_length(path, (const unsigned char *)start->data, n_bytes, &header_bytes, err));
    TRY(dinm_file_read_part(path, PREFIX_BYTES, header_bytes, start, err));
out:
    return status;
}

int dinm_safetensors_open(struct dinm_safetensors *st, const char *path, struct dinm_error *err)
{
    struct dinm_map map = {0};
    struct dinm_buffer start = {0};
    int status;

    *st = (struct dinm_safetensors){0};
    TRY(dinm_map_open(&map, path, err));
    TRY(read_start(&start, path, map.n_bytes, err));
    TRY(parse(st, path, start.data, map.data, map.n_bytes, err));
    TRY(dinm_map_check(&map, path, err));
    st->map = map;
    map = (struct dinm_map){0};
out:
    if (status < 0) {
        dinm_safetensors_close(st);
    }
    dinm_buffer_free(&start);
    dinm_map_close(&map);
    return status;
}

const struct dinm_tensor *dinm_safetensors_find(const struct dinm_safetensors *st, const char *name)
{
    const struct dinm_tensor key = {.name = name};

    return st->n_tensors == 0
               ? NULL
               : bsearch(&key, st->tensors, st->n_tensors, sizeof *st->tensors, compare_tensors);
}

void dinm_safetensors_close(struct dinm_safetensors *st)
{
    if (st != NULL) {
        dinm_map_close(&st->map);
        free(st->tensors);
        free(st->names);
        *st = (struct dinm_safetensors){0};
    }
}
