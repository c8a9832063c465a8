/* The parts an archive is made of: groups, datasets of numbers or texts, axes with scales. Private
 * to io/archive*. */
#ifndef DINM_IO_ARCHIVE_MAKE_H
#define DINM_IO_ARCHIVE_MAKE_H

#include "io/archive_hdf.h"

/* The axes of all datasets, each with a scale dataset in the root (or beside its only user). */
enum dinm_axis {
    DINM_AXIS_SAMPLE,
    DINM_AXIS_CASE,
    DINM_AXIS_LAYER,
    DINM_AXIS_BLOCK, /* layers without the embeddings: 1..L */
    DINM_AXIS_D_MODEL,
    DINM_AXIS_STEP,
    DINM_AXIS_TERM,
    DINM_AXIS_TOKEN,
    DINM_AXIS_BOUND, /* offsets: one more than samples; no scale */
    DINM_N_AXES
};

struct dinm_builder {
    const struct dinm_archive_plan *plan; /* borrows */
    const char *path;                     /* borrows */
    hid_t file;
    hsize_t sizes[DINM_N_AXES];
    hid_t scales[DINM_N_AXES];
};

struct dinm_note {
    const char *name, *text;
};

/* One dataset of numbers. values: all of them in native_type, or NULL: the fill value. */
struct dinm_table {
    const char *path;
    hid_t type, native_type;
    int n_axes;
    enum dinm_axis axes[DINM_HDF_MAX_AXES];
    const void *values, *fill;
    struct dinm_note notes[5];
};

int dinm_make_group(const struct dinm_builder *b, const char *name, struct dinm_error *err);
int dinm_make_scale(struct dinm_builder *b, enum dinm_axis axis, struct dinm_error *err);
/* Names every axis of the dataset and ties it to its scale. axes: [n_axes]. */
int dinm_make_links(const struct dinm_builder *b, hid_t dataset, int n_axes,
                    const enum dinm_axis *axes, struct dinm_error *err);
/* texts: [size of axis][width] bytes, padded with NUL; as fixed-length texts: variable ones cannot
 * be written in parallel, and readers of every kind know these. *dataset is to be closed. */
int dinm_make_texts(const struct dinm_builder *b, const char *name, enum dinm_axis axis,
                    const char *texts, size_t width, hid_t *dataset, struct dinm_error *err);
int dinm_make_table(const struct dinm_builder *b, const struct dinm_table *t,
                    struct dinm_error *err);

#endif
