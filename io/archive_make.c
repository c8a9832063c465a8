/* Groups, datasets, axes with scales. */
#include <stdlib.h>
#include "io/archive_make.h"
#include "io/mem.h"

static const struct {
    const char *path, *name, *meaning;
} scales[DINM_AXIS_BOUND] = {
    [DINM_AXIS_SAMPLE] = {"/sample", "sample",
                          "2 * position of the case + side (0 safe, 1 unsafe)"},
    [DINM_AXIS_CASE] = {"/case", "case", "id of the case, in the order of the case file"},
    [DINM_AXIS_LAYER] =
        {"/layer", "layer",
         "0: embeddings; 1 to L - 1: output of that block; L: output of the last block after "
         "the final norm, as the hidden_states of Hugging Face transformers"},
    [DINM_AXIS_BLOCK] = {"/locate/distance_layer", "layer", "1 to L, as in /layer"},
    [DINM_AXIS_D_MODEL] = {"/d_model", "d_model", "component of the residual stream"},
    [DINM_AXIS_STEP] = {"/step", "step", "steps done before the loss was taken"},
    [DINM_AXIS_TERM] = {"/edit/term", "term", "total = c_edit * edit + constraint"},
    [DINM_AXIS_TOKEN] = {"/token", "token", "row of /tokens"},
};

int dinm_make_group(const struct dinm_builder *b, const char *name, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *path = b->path;
    hid_t group = -1;
    HDF(group = H5Gcreate2(b->file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), "create a group");
out:
    dinm_hdf_close(&group);
    return status;
}

/* Early allocation: nothing but raw values changes after the build. No times: equal plans make
 * equal files. chunk may be NULL (contiguous), fill too (not written; zero). */
static int make_dataset(const struct dinm_builder *b, const char *name, hid_t type, int n_axes,
                        const hsize_t *dims, const hsize_t *chunk, hid_t fill_type,
                        const void *fill, bool write_fill, hid_t *dataset, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *path = b->path;
    hid_t space = -1, how = -1;
    HDF(space = H5Screate_simple(n_axes, dims, NULL), "make a data space");
    HDF(how = H5Pcreate(H5P_DATASET_CREATE), "make a property list");
    HDF(H5Pset_alloc_time(how, H5D_ALLOC_TIME_EARLY), "ask for early allocation");
    HDF(H5Pset_obj_track_times(how, false), "leave out times");
    if (chunk) {
        HDF(H5Pset_chunk(how, n_axes, chunk), "set the chunk shape");
    }
    if (fill) {
        HDF(H5Pset_fill_value(how, fill_type, fill), "set the fill value");
    }
    HDF(H5Pset_fill_time(how, write_fill ? H5D_FILL_TIME_ALLOC : H5D_FILL_TIME_NEVER),
        "set the fill time");
    HDF(*dataset = H5Dcreate2(b->file, name, type, space, H5P_DEFAULT, how, H5P_DEFAULT),
        "create a dataset");
out:
    dinm_hdf_close(&how);
    dinm_hdf_close(&space);
    return status;
}

/* *values: [n] int64 coordinates of an axis; owned by the caller. */
static int scale_values(const struct dinm_builder *b, enum dinm_axis axis, int64_t **values,
                        struct dinm_error *err)
{
    size_t n = (size_t)b->sizes[axis];
    *values = dinm_alloc(n, sizeof **values, "the coordinates of an axis", err);
    if (!*values) {
        return DINM_FAILED;
    }
    for (size_t i = 0; i < n; i++) {
        (*values)[i] =
            axis == DINM_AXIS_CASE ? b->plan->case_ids[i] : (int64_t)i + (axis == DINM_AXIS_BLOCK);
    }
    return DINM_OK;
}

int dinm_make_texts(const struct dinm_builder *b, const char *name, enum dinm_axis axis,
                    const char *texts, size_t width, hid_t *dataset, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *path = b->path;
    hid_t type = -1;
    HDF(type = H5Tcopy(H5T_C_S1), "make a text type");
    HDF(H5Tset_size(type, width), "set the width of a text type");
    HDF(H5Tset_strpad(type, H5T_STR_NULLPAD), "make a text type");
    HDF(H5Tset_cset(type, H5T_CSET_UTF8), "make a text type");
    TRY(make_dataset(b, name, type, 1, &b->sizes[axis], NULL, -1, NULL, true, dataset, err));
    TRY(dinm_hdf_write_rows(*dataset, path, type, 0, b->sizes[axis], texts, err));
out:
    dinm_hdf_close(&type);
    return status;
}

int dinm_make_scale(struct dinm_builder *b, enum dinm_axis axis, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *path = b->path;
    int64_t *values = NULL;
    hid_t *scale = &b->scales[axis];
    if (axis == DINM_AXIS_TERM) {
        TRY(dinm_make_texts(b, scales[axis].path, axis, "total\0\0\0\0\0edit\0\0\0\0\0\0constraint",
                            10, scale, err));
    } else {
        TRY(scale_values(b, axis, &values, err));
        TRY(make_dataset(b, scales[axis].path, H5T_STD_I64LE, 1, &b->sizes[axis], NULL, -1, NULL,
                         true, scale, err));
        TRY(dinm_hdf_write_rows(*scale, path, H5T_NATIVE_INT64, 0, b->sizes[axis], values, err));
    }
    HDF(H5DSset_scale(*scale, scales[axis].name), "make a dimension scale");
    TRY(dinm_hdf_put_text(*scale, path, "long_name", scales[axis].meaning, err));
out:
    free(values);
    return status;
}

int dinm_make_links(const struct dinm_builder *b, hid_t dataset, int n_axes,
                    const enum dinm_axis *axes, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *path = b->path;
    for (int i = 0; i < n_axes; i++) {
        unsigned index = (unsigned)i;
        if (axes[i] == DINM_AXIS_BOUND) {
            HDF(H5DSset_label(dataset, index, "bound"), "name an axis");
            continue;
        }
        HDF(H5DSset_label(dataset, index, scales[axes[i]].name), "name an axis");
        HDF(H5DSattach_scale(dataset, b->scales[axes[i]], index), "attach a dimension scale");
    }
out:
    return status;
}

int dinm_make_table(const struct dinm_builder *b, const struct dinm_table *t,
                    struct dinm_error *err)
{
    int status = DINM_OK;
    const char *path = b->path;
    hid_t dataset = -1;
    hsize_t dims[DINM_HDF_MAX_AXES], chunk[DINM_HDF_MAX_AXES];
    /* the hidden states are filled by all ranks together, once the file is open */
    bool large = t->axes[t->n_axes - 1] == DINM_AXIS_D_MODEL;
    for (int i = 0; i < t->n_axes; i++) {
        dims[i] = b->sizes[t->axes[i]];
    }
    if (large) {
        dinm_hdf_chunk_shape(chunk, dims, t->n_axes, H5Tget_size(t->type));
    }
    TRY(make_dataset(b, t->path, t->type, t->n_axes, dims, large ? chunk : NULL, t->native_type,
                     t->fill, !large, &dataset, err));
    if (t->values) {
        TRY(dinm_hdf_write_rows(dataset, path, t->native_type, 0, dims[0], t->values, err));
    }
    TRY(dinm_make_links(b, dataset, t->n_axes, t->axes, err));
    for (size_t i = 0; i < sizeof t->notes / sizeof t->notes[0] && t->notes[i].name; i++) {
        TRY(dinm_hdf_put_text(dataset, path, t->notes[i].name, t->notes[i].text, err));
    }
out:
    dinm_hdf_close(&dataset);
    return status;
}
