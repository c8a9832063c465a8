/* Writing safetensors: equal input gives equal bytes, and the reader accepts all that is written.
 */
#include "io/json.h"
#include "io/safetensors.h"
#include "io/safetensors_dtype.h"
#include "io/utf8.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_ALIGNMENT = 8, MAX_HEADER_BYTES = 100000000, N_ELEMENT_SIZES = 4 };

static const size_t element_sizes[N_ELEMENT_SIZES] = {8, 4, 2, 1};

static const struct dinm_safetensors_dtype *stored_dtype(const struct dinm_tensor *tensor)
{
    const char *name = tensor->dtype_name;

    return dinm_safetensors_dtype_find(name != NULL ? name : dinm_dtype_name(tensor->dtype));
}

static size_t element_size(const struct dinm_tensor *tensor)
{
    const size_t size = stored_dtype(tensor)->n_bits / 8;

    return size > 0 ? size : 1;
}

static bool is_utf8(const char *text)
{
    const size_t n_bytes = strlen(text);
    bool valid = true;

    for (size_t at = 0; at < n_bytes && valid;) {
        at += dinm_utf8_step(text + at, n_bytes - at, &valid);
    }
    return valid;
}

static int check_tensor(const struct dinm_tensor *tensor, const char *path, struct dinm_error *err)
{
    const struct dinm_safetensors_dtype *stored = stored_dtype(tensor);
    size_t n_bytes = 0;
    int status;

    if (!is_utf8(tensor->name) || strcmp(tensor->name, "__metadata__") == 0) {
        return dinm_fail(err, DINM_FAILED, "%s: '%s' cannot be the name of a tensor", path,
                         tensor->name);
    }
    if (stored == NULL || (tensor->dtype != DINM_OTHER && stored->dtype != tensor->dtype)) {
        return dinm_fail(err, DINM_FAILED, "%s: tensor '%s' has no dtype that can be stored", path,
                         tensor->name);
    }
    if (tensor->n_dims > DINM_MAX_DIMS) {
        return dinm_fail(err, DINM_FAILED, "%s: tensor '%s' has %zu dimensions, more than %d", path,
                         tensor->name, tensor->n_dims, DINM_MAX_DIMS);
    }
    TRY(dinm_safetensors_dtype_bytes(stored, tensor->shape, tensor->n_dims, tensor->name, &n_bytes,
                                     err));
    if (n_bytes != tensor->n_bytes) {
        status =
            dinm_fail(err, DINM_FAILED, "%s: tensor '%s' needs %zu bytes by its shape, but has %zu",
                      path, tensor->name, n_bytes, tensor->n_bytes);
    }
out:
    return status;
}

/* offsets: [n_tensors], where each begins in the data. Larger elements come first, so that every
 * tensor is aligned whatever their order. */
static void lay_out(size_t *offsets, const struct dinm_tensor *tensors, size_t n_tensors)
{
    size_t end = 0;

    for (int k = 0; k < N_ELEMENT_SIZES; k++) {
        for (size_t i = 0; i < n_tensors; i++) {
            if (element_size(&tensors[i]) == element_sizes[k]) {
                offsets[i] = end;
                end += tensors[i].n_bytes;
            }
        }
    }
}

static int put_metadata(struct dinm_buffer *b, const char *const *metadata, struct dinm_error *err)
{
    int status;

    TRY(dinm_buffer_append_text(b, "\"__metadata__\":{", err));
    for (size_t i = 0; metadata[i] != NULL; i += 2) {
        TRY(dinm_buffer_append_text(b, i > 0 ? "," : "", err));
        TRY(dinm_json_put_text(b, metadata[i], strlen(metadata[i]), err));
        TRY(dinm_buffer_append_text(b, ":", err));
        TRY(dinm_json_put_text(b, metadata[i + 1], strlen(metadata[i + 1]), err));
    }
    status = dinm_buffer_append_text(b, "}", err);
out:
    return status;
}

static int put_tensor(struct dinm_buffer *b, const struct dinm_tensor *tensor, size_t offset,
                      struct dinm_error *err)
{
    int status;

    TRY(dinm_json_put_text(b, tensor->name, strlen(tensor->name), err));
    TRY(dinm_buffer_append_format(b, err, ":{\"dtype\":\"%s\",\"shape\":[",
                                  stored_dtype(tensor)->name));
    for (size_t i = 0; i < tensor->n_dims; i++) {
        TRY(dinm_buffer_append_format(b, err, "%s%" PRId64, i > 0 ? "," : "", tensor->shape[i]));
    }
    status = dinm_buffer_append_format(b, err, "],\"data_offsets\":[%zu,%zu]}", offset,
                                       offset + tensor->n_bytes);
out:
    return status;
}

/* Length and JSON, padded with blanks so that the data begin at a multiple of 8. */
static int put_header(struct dinm_buffer *b, const struct dinm_tensor *tensors,
                      const size_t *offsets, size_t n_tensors, const char *const *metadata,
                      struct dinm_error *err)
{
    unsigned char prefix[HEADER_ALIGNMENT] = {0};
    size_t length;
    int status;

    TRY(dinm_buffer_append(b, prefix, sizeof prefix, err));
    TRY(dinm_buffer_append_text(b, "{", err));
    if (metadata != NULL) {
        TRY(put_metadata(b, metadata, err));
    }
    for (size_t i = 0; i < n_tensors; i++) {
        TRY(dinm_buffer_append_text(b, i > 0 || metadata != NULL ? "," : "", err));
        TRY(put_tensor(b, &tensors[i], offsets[i], err));
    }
    TRY(dinm_buffer_append_text(b, "}", err));
    while (b->n_bytes % HEADER_ALIGNMENT != 0) {
        TRY(dinm_buffer_append_text(b, " ", err));
    }
    length = b->n_bytes - sizeof prefix;
    for (size_t i = 0; i < sizeof prefix; i++) {
        b->data[i] = (char)(unsigned char)(length >> (8 * i));
    }
out:
    return status;
}

/* A strict reading finds what would be refused later, such as a name that appears twice. */
static int check_header(const struct dinm_buffer *header, const char *path, struct dinm_error *err)
{
    cJSON *tree = NULL;
    int status;

    if (header->n_bytes - HEADER_ALIGNMENT > MAX_HEADER_BYTES) {
        return dinm_fail(err, DINM_FAILED, "%s: the header would have more than %d bytes", path,
                         MAX_HEADER_BYTES);
    }
    status = dinm_json_parse(path, header->data + HEADER_ALIGNMENT,
                             header->n_bytes - HEADER_ALIGNMENT, &tree, err);
    cJSON_Delete(tree);
    return status;
}

int dinm_safetensors_write_from(const char *path, const struct dinm_tensor *tensors,
                                size_t n_tensors, const char *const *metadata,
                                dinm_safetensors_next *next, void *context, struct dinm_error *err)
{
    struct dinm_buffer header = {0};
    struct dinm_writer file = {0};
    size_t *offsets = dinm_alloc(n_tensors, sizeof *offsets, "a file's layout", err);
    int status = offsets == NULL ? DINM_FAILED : DINM_OK;

    TRY(status);
    for (size_t i = 0; i < n_tensors; i++) {
        TRY(check_tensor(&tensors[i], path, err));
    }
    lay_out(offsets, tensors, n_tensors);
    TRY(put_header(&header, tensors, offsets, n_tensors, metadata, err));
    TRY(check_header(&header, path, err));
    TRY(dinm_writer_open(&file, path, err));
    TRY(dinm_writer_append(&file, header.data, header.n_bytes, err));
    for (int k = 0; k < N_ELEMENT_SIZES; k++) {
        for (size_t i = 0; i < n_tensors; i++) {
            if (element_size(&tensors[i]) == element_sizes[k]) {
                const void *data = NULL;

                TRY(next(context, i, &data, err));
                TRY(dinm_writer_append(&file, data, tensors[i].n_bytes, err));
            }
        }
    }
    TRY(dinm_writer_commit(&file, err));
out:
    dinm_writer_close(&file);
    dinm_buffer_free(&header);
    free(offsets);
    return status;
}

/* context: where the tensors are. */
static int own_data(void *context, size_t i, const void **data, struct dinm_error *err)
{
    const struct dinm_tensor *const *tensors = context;

    (void)err;
    *data = (*tensors)[i].data;
    return DINM_OK;
}

int dinm_safetensors_write(const char *path, const struct dinm_tensor *tensors, size_t n_tensors,
                           const char *const *metadata, struct dinm_error *err)
{
    return dinm_safetensors_write_from(path, tensors, n_tensors, metadata, own_data, &tensors, err);
}
