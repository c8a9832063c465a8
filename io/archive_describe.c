/* An archive in words: what is in it, of which shape, and how far it is written. */
#include <stdlib.h>
#include <string.h>
#include "io/archive_hdf.h"
#include "io/mem.h"

/* Where a walk over the file puts its words. HDF5's callbacks return a negative value to stop. */
struct walk {
    struct dinm_buffer *out; /* borrows */
    const char *path;        /* borrows */
    struct dinm_error *err;  /* borrows */
    int status;
};

static const char *type_name(hid_t type)
{
    size_t bytes = H5Tget_size(type);
    switch (H5Tget_class(type)) {
    case H5T_FLOAT:
        return bytes == 2 ? "float16" : bytes == 4 ? "float32" : bytes == 8 ? "float64" : "float";
    case H5T_INTEGER:
        return bytes == 1 ? "int8" : bytes == 4 ? "int32" : bytes == 8 ? "int64" : "integer";
    case H5T_STRING:
        return "text";
    default:
        return "other";
    }
}

/* "[2700 sample]": the axis' length and, if it has one, its name. */
static int say_axis(const struct walk *w, hid_t dataset, unsigned axis, hsize_t length)
{
    int status = DINM_OK;
    const char *path = w->path;
    struct dinm_error *err = w->err;
    char *label = NULL;
    ssize_t n = 0;
    HDF(n = H5DSget_label(dataset, axis, NULL, 0), "read an axis' name");
    if (n > 0) {
        label = dinm_alloc((size_t)n + 1, 1, "an axis' name", err);
        TRY(label ? DINM_OK : DINM_FAILED);
        HDF(H5DSget_label(dataset, axis, label, (size_t)n + 1), "read an axis' name");
    }
    TRY(dinm_buffer_append_format(w->out, err, "[%llu%s%s]", (unsigned long long)length,
                                  label ? " " : "", label ? label : ""));
out:
    free(label);
    return status;
}

static int say_shape(const struct walk *w, const char *name, hid_t dataset)
{
    int status = DINM_OK;
    const char *path = w->path;
    struct dinm_error *err = w->err;
    hid_t space = -1, type = -1;
    hsize_t dims[H5S_MAX_RANK] = {0};
    HDF(type = H5Dget_type(dataset), "read a dataset's type");
    HDF(space = H5Dget_space(dataset), "read a dataset's shape");
    int n_axes = H5Sget_simple_extent_dims(space, dims, NULL);
    HDF(n_axes, "read a dataset's shape");
    TRY(dinm_buffer_append_format(w->out, err, "  /%-24s %-8s ", name, type_name(type)));
    for (int i = 0; i < n_axes; i++) {
        TRY(say_axis(w, dataset, (unsigned)i, dims[i]));
    }
    TRY(dinm_buffer_append_text(w->out, "\n", err));
out:
    dinm_hdf_close(&space);
    dinm_hdf_close(&type);
    return status;
}

static int say_text(const struct walk *w, hid_t object, const char *indent, const char *name)
{
    char *text = NULL;
    int status = dinm_hdf_get_text(object, w->path, name, &text, w->err);
    if (status == DINM_OK && text[0] != '\0') {
        status = dinm_buffer_append_format(w->out, w->err, "%s%s: %s\n", indent, name, text);
    }
    free(text);
    return status;
}

static int say_dataset(const struct walk *w, const char *name, hid_t dataset)
{
    static const char *const notes[] = {"position", "units", "long_name", "hf_name",
                                        "transformer_lens_name"};
    int status = DINM_OK;
    TRY(say_shape(w, name, dataset));
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        TRY(say_text(w, dataset, "      ", notes[i]));
    }
out:
    return status;
}

static herr_t visit(hid_t file, const char *name, const H5O_info_t *info, void *walk)
{
    struct walk *w = walk;
    if (info->type != H5O_TYPE_DATASET) {
        return 0;
    }
    hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
    w->status = dataset < 0 ? dinm_hdf_fail(w->err, "open a dataset", w->path)
                            : say_dataset(w, name, dataset);
    dinm_hdf_close(&dataset);
    return w->status < 0 ? -1 : 0;
}

/* "  36 of 40 cases are located": what the fill value tells. */
static int say_progress(const struct walk *w, hid_t file)
{
    int status = DINM_OK;
    const char *path = w->path;
    struct dinm_error *err = w->err;
    hid_t dataset = -1, space = -1;
    int32_t *layers = NULL;
    hssize_t n = 0, n_known = 0;
    HDF(dataset = H5Dopen2(file, "/locate/layer", H5P_DEFAULT), "open /locate/layer");
    HDF(space = H5Dget_space(dataset), "read a dataset's shape");
    HDF(n = H5Sget_simple_extent_npoints(space), "read a dataset's shape");
    layers = dinm_alloc((size_t)n, sizeof *layers, "the located layers", err);
    TRY(layers ? DINM_OK : DINM_FAILED);
    TRY(dinm_hdf_read_rows(dataset, path, H5T_NATIVE_INT32, 0, (hsize_t)n, layers, err));
    for (hssize_t i = 0; i < n; i++) {
        n_known += layers[i] >= 0;
    }
    TRY(dinm_buffer_append_format(w->out, err, "  %lld of %lld cases are located\n",
                                  (long long)n_known, (long long)n));
out:
    free(layers);
    dinm_hdf_close(&space);
    dinm_hdf_close(&dataset);
    return status;
}

int dinm_archive_describe(const char *path, struct dinm_buffer *out, struct dinm_error *err)
{
    static const char *const notes[] = {"model", "digest", "version", "settings"};
    int status = DINM_OK;
    hid_t access = -1, file = -1;
    struct dinm_buffer words = {0};
    struct walk w = {.out = &words, .path = path, .err = err};
    dinm_hdf_quiet();
    TRY(dinm_hdf_check_file(path, 0, err));
    HDF(access = dinm_hdf_file_access(), "make a property list");
    HDF(file = H5Fopen(path, H5F_ACC_RDONLY, access), "open the file");
    TRY(dinm_buffer_append_format(&words, err, "%s: HDF5 archive\n", path));
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        TRY(say_text(&w, file, "  ", notes[i]));
    }
    if (H5Lexists(file, "/locate", H5P_DEFAULT) > 0 &&
        H5Lexists(file, "/locate/layer", H5P_DEFAULT) > 0) {
        TRY(say_progress(&w, file));
    }
    if (H5Ovisit(file, H5_INDEX_NAME, H5_ITER_INC, visit, &w) < 0) {
        TRY(w.status < 0 ? w.status : dinm_hdf_fail(err, "list the datasets", path));
    }
    TRY(dinm_buffer_append(out, words.data, words.n_bytes, err));
out:
    dinm_hdf_close(&file);
    dinm_hdf_close(&access);
    dinm_buffer_free(&words);
    return status;
}
