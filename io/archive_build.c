/* The archive as it is before any result is known: groups, datasets, scales, attributes and the
 * sample tables, made by one process from three tables. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "io/archive_make.h"
#include "io/mem.h"

hsize_t dinm_archive_n_rows(const struct dinm_archive_plan *plan)
{
    hsize_t n = 2 * (hsize_t)plan->n_cases;
    if (plan->full) {
        n = 0;
        for (size_t i = 0; i < 2 * plan->n_cases; i++) {
            n += (hsize_t)plan->n_tokens[i];
        }
    }
    return n;
}

uint64_t dinm_archive_n_bytes(const struct dinm_archive_plan *plan)
{
    uint64_t row = (uint64_t)(plan->n_layers + 1) * plan->d_model * (plan->half ? 2 : 4);
    uint64_t per_case = plan->n_layers * 4 + 4 + plan->n_steps * 12;
    return (plan->hidden ? dinm_archive_n_rows(plan) * row : 0) + plan->n_cases * per_case;
}

static int put_results(struct dinm_builder *b, struct dinm_error *err)
{
    const float nan_fill = NAN;
    const int32_t no_layer = -1;
    const struct dinm_table tables[] = {
        {.path = "/locate/distance",
         .type = H5T_IEEE_F32LE,
         .native_type = H5T_NATIVE_FLOAT,
         .n_axes = 2,
         .axes = {DINM_AXIS_CASE, DINM_AXIS_BLOCK},
         .fill = &nan_fill,
         .notes = {{"units", "1"},
                   {"long_name", "norm of the difference between the hidden states of the safe and "
                                 "the unsafe response"}}},
        {.path = "/locate/layer",
         .type = H5T_STD_I32LE,
         .native_type = H5T_NATIVE_INT32,
         .n_axes = 1,
         .axes = {DINM_AXIS_CASE},
         .fill = &no_layer,
         .notes = {{"units", "1"},
                   {"long_name", "0-based index of the edited layer among the model's layers; -1: "
                                 "not located"}}},
        {.path = "/edit/loss",
         .type = H5T_IEEE_F32LE,
         .native_type = H5T_NATIVE_FLOAT,
         .n_axes = 3,
         .axes = {DINM_AXIS_CASE, DINM_AXIS_STEP, DINM_AXIS_TERM},
         .fill = &nan_fill,
         .notes = {{"units", "nat"},
                   {"long_name", "loss before each step: mean negative log-likelihood (edit) and "
                                 "mean Kullback-Leibler divergence (constraint) per token"}}},
    };
    int status = DINM_OK;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        TRY(dinm_make_table(b, &tables[i], err));
    }
out:
    return status;
}

static int put_hidden(struct dinm_builder *b, struct dinm_error *err)
{
    int status = DINM_OK;
    const char *path = b->path;
    const struct dinm_archive_plan *p = b->plan;
    const float fill = NAN;
    hid_t type = -1;
    HDF(type = dinm_hdf_float_type(p->half), "make a number type");
    const struct dinm_table hidden = {
        .path = "/activations/resid_post",
        .type = type,
        .native_type = H5T_NATIVE_FLOAT,
        .n_axes = 3,
        .axes = {p->full ? DINM_AXIS_TOKEN : DINM_AXIS_SAMPLE, DINM_AXIS_LAYER, DINM_AXIS_D_MODEL},
        .fill = &fill,
        .notes = {{"position", p->position},
                  {"units", "1"},
                  {"long_name", "hidden states of the responses; layer l is hidden_states[l] and, "
                                "from 1, blocks.{l - 1}.hook_resid_post; NaN: not written"},
                  {"hf_name", "hidden_states[l]"},
                  {"transformer_lens_name", "blocks.{l}.hook_resid_post"}}};
    TRY(dinm_make_table(b, &hidden, err));
out:
    dinm_hdf_close(&type);
    return status;
}

/* category: [2 * n_cases] fixed-length texts. */
static int put_categories(struct dinm_builder *b, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n = b->plan->n_cases, width = 1;
    hid_t dataset = -1;
    char *texts = NULL;
    const enum dinm_axis axes[] = {DINM_AXIS_SAMPLE};
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(b->plan->categories[i]);
        width = length > width ? length : width;
    }
    texts = dinm_alloc(2 * n, width, "the categories of the archive", err);
    if (!texts) {
        return DINM_FAILED;
    }
    for (size_t i = 0; i < 2 * n; i++) {
        memcpy(texts + i * width, b->plan->categories[i / 2], strlen(b->plan->categories[i / 2]));
    }
    TRY(dinm_make_texts(b, "/samples/category", DINM_AXIS_SAMPLE, texts, width, &dataset, err));
    TRY(dinm_make_links(b, dataset, 1, axes, err));
out:
    dinm_hdf_close(&dataset);
    free(texts);
    return status;
}

static int put_samples(struct dinm_builder *b, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n = 2 * b->plan->n_cases;
    int64_t *case_ids = dinm_alloc(n, sizeof *case_ids, "the samples of the archive", err);
    int8_t *sides = dinm_alloc(n, sizeof *sides, "the samples of the archive", err);
    if (!case_ids || !sides) {
        status = DINM_FAILED;
        goto out;
    }
    for (size_t i = 0; i < n; i++) {
        case_ids[i] = b->plan->case_ids[i / 2];
        sides[i] = (int8_t)(i % 2);
    }
    const struct dinm_table tables[] = {
        {.path = "/samples/case_id",
         .type = H5T_STD_I64LE,
         .native_type = H5T_NATIVE_INT64,
         .n_axes = 1,
         .axes = {DINM_AXIS_SAMPLE},
         .values = case_ids},
        {.path = "/samples/side",
         .type = H5T_STD_I8LE,
         .native_type = H5T_NATIVE_INT8,
         .n_axes = 1,
         .axes = {DINM_AXIS_SAMPLE},
         .values = sides,
         .notes = {{"long_name", "0: the safe response, 1: the unsafe one"}}},
        {.path = "/samples/n_tokens",
         .type = H5T_STD_I64LE,
         .native_type = H5T_NATIVE_INT64,
         .n_axes = 1,
         .axes = {DINM_AXIS_SAMPLE},
         .values = b->plan->n_tokens,
         .notes = {{"units", "tokens"}}},
    };
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        TRY(dinm_make_table(b, &tables[i], err));
    }
    TRY(put_categories(b, err));
out:
    free(sides);
    free(case_ids);
    return status;
}

/* Full archives: which token every row is. */
static int put_tokens(struct dinm_builder *b, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_samples = 2 * b->plan->n_cases, n = (size_t)b->sizes[DINM_AXIS_TOKEN], row = 0;
    int64_t *samples = dinm_alloc(n, sizeof *samples, "the token table", err);
    int32_t *positions = dinm_alloc(n, sizeof *positions, "the token table", err);
    int64_t *offsets = dinm_alloc(n_samples + 1, sizeof *offsets, "the token table", err);
    if (!samples || !positions || !offsets) {
        status = DINM_FAILED;
        goto out;
    }
    for (size_t i = 0; i < n_samples; i++) {
        offsets[i] = (int64_t)row;
        for (int64_t j = 0; j < b->plan->n_tokens[i]; j++, row++) {
            samples[row] = (int64_t)i;
            positions[row] = (int32_t)j;
        }
    }
    offsets[n_samples] = (int64_t)row;
    const struct dinm_table tables[] = {
        {.path = "/tokens/ids",
         .type = H5T_STD_I32LE,
         .native_type = H5T_NATIVE_INT32,
         .n_axes = 1,
         .axes = {DINM_AXIS_TOKEN},
         .values = b->plan->tokens},
        {.path = "/tokens/sample",
         .type = H5T_STD_I64LE,
         .native_type = H5T_NATIVE_INT64,
         .n_axes = 1,
         .axes = {DINM_AXIS_TOKEN},
         .values = samples},
        {.path = "/tokens/position",
         .type = H5T_STD_I32LE,
         .native_type = H5T_NATIVE_INT32,
         .n_axes = 1,
         .axes = {DINM_AXIS_TOKEN},
         .values = positions},
        {.path = "/tokens/offsets",
         .type = H5T_STD_I64LE,
         .native_type = H5T_NATIVE_INT64,
         .n_axes = 1,
         .axes = {DINM_AXIS_BOUND},
         .values = offsets,
         .notes = {{"long_name", "rows offsets[i] to offsets[i + 1] belong to sample i"}}},
    };
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        TRY(dinm_make_table(b, &tables[i], err));
    }
out:
    free(offsets);
    free(positions);
    free(samples);
    return status;
}

static int put_root_notes(const struct dinm_builder *b, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_note notes[] = {{"model", b->plan->model},
                                      {"digest", b->plan->digest},
                                      {"version", b->plan->version},
                                      {"settings", b->plan->settings}};
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        TRY(dinm_hdf_put_text(b->file, b->path, notes[i].name, notes[i].text, err));
    }
out:
    return status;
}

static int put_all(struct dinm_builder *b, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_archive_plan *p = b->plan;
    TRY(put_root_notes(b, err));
    TRY(dinm_make_group(b, "/samples", err));
    TRY(dinm_make_group(b, "/locate", err));
    TRY(dinm_make_group(b, "/edit", err));
    for (enum dinm_axis axis = DINM_AXIS_SAMPLE; axis < DINM_AXIS_BOUND; axis++) {
        bool hidden_only =
            axis == DINM_AXIS_LAYER || axis == DINM_AXIS_D_MODEL || axis == DINM_AXIS_TOKEN;
        if ((p->hidden || !hidden_only) && (p->full || axis != DINM_AXIS_TOKEN)) {
            TRY(dinm_make_scale(b, axis, err));
        }
    }
    TRY(put_samples(b, err));
    TRY(put_results(b, err));
    if (p->hidden) {
        TRY(dinm_make_group(b, "/activations", err));
        TRY(put_hidden(b, err));
    }
    if (p->hidden && p->full) {
        TRY(dinm_make_group(b, "/tokens", err));
        TRY(put_tokens(b, err));
    }
out:
    return status;
}

/* The parts of the file that results are written to. */
static int list_values(const struct dinm_builder *b, struct dinm_extents *values,
                       struct dinm_error *err)
{
    static const char *const names[] = {"/locate/distance", "/locate/layer", "/edit/loss",
                                        "/activations/resid_post"};
    int status = DINM_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names - !b->plan->hidden; i++) {
        TRY(dinm_extents_add(values, b->path, b->file, names[i], err));
    }
out:
    return status;
}

int dinm_archive_build(const char *path, const struct dinm_archive_plan *plan,
                       struct dinm_error *err)
{
    int status = DINM_OK;
    hid_t access = -1;
    size_t n = plan->n_cases;
    struct dinm_extents values = {0};
    struct dinm_builder b = {
        .plan = plan,
        .path = path,
        .file = -1,
        .sizes = {[DINM_AXIS_SAMPLE] = 2 * n,
                  [DINM_AXIS_CASE] = n,
                  [DINM_AXIS_LAYER] = plan->n_layers + 1,
                  [DINM_AXIS_BLOCK] = plan->n_layers,
                  [DINM_AXIS_D_MODEL] = plan->d_model,
                  [DINM_AXIS_STEP] = plan->n_steps,
                  [DINM_AXIS_TERM] = 3,
                  [DINM_AXIS_BOUND] = 2 * n + 1,
                  [DINM_AXIS_TOKEN] = plan->full ? dinm_archive_n_rows(plan) : 0}};
    for (int i = 0; i < DINM_N_AXES; i++) {
        b.scales[i] = -1;
    }
    HDF(access = dinm_hdf_file_access(), "make a property list");
    HDF(b.file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access), "create the file");
    TRY(put_all(&b, err));
    if (plan->seal != NULL) {
        TRY(list_values(&b, &values, err));
    }
    HDF(H5Fflush(b.file, H5F_SCOPE_GLOBAL), "write the file");
out:
    for (int i = 0; i < DINM_N_AXES; i++) {
        dinm_hdf_close(&b.scales[i]);
    }
    if (b.file >= 0 && H5Fclose(b.file) < 0 && status == DINM_OK) {
        status = dinm_hdf_fail(err, "close the file", path);
    }
    dinm_hdf_close(&access);
    status = status < 0 ? status : dinm_hdf_check_closed(path, err);
    if (status == DINM_OK && plan->seal != NULL) {
        status = dinm_archive_seal(plan->seal, path, &values, err);
    }
    dinm_extents_free(&values);
    return status;
}
