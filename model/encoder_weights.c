/* The encoder's weights: bound to a mapped checkpoint or to a flat array, and written back. */
#include "model/encoder_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"

/* The encoder's tensors are stored with or without the prefix of the classifier's own model. */
static const struct dinm_tensor *look_up(const struct dinm_checkpoint *c,
                                         const struct dinm_param *param)
{
    static const char prefix[] = "roberta.";
    const size_t n = sizeof prefix - 1;
    const struct dinm_tensor *t = dinm_checkpoint_find(c, param->name);
    return t == NULL && strncmp(param->name, prefix, n) == 0
               ? dinm_checkpoint_find(c, param->name + n)
               : t;
}

/* The stored tensor of table row `param`, or NULL and a sentence. */
static const struct dinm_tensor *find_tensor(const struct dinm_checkpoint *c,
                                             const struct dinm_param *param, struct dinm_error *err)
{
    const struct dinm_tensor *t = look_up(c, param);
    if (t == NULL) {
        dinm_fail(err, DINM_FAILED, "%s: tensor %s is missing", c->folder, param->name);
        return NULL;
    }
    if (t->dtype == DINM_OTHER) {
        dinm_fail(err, DINM_FAILED, "%s: tensor %s has type %s; F32, F16 or BF16 was expected",
                  c->folder, param->name, t->dtype_name);
        return NULL;
    }
    const size_t n_dims = param->n_in == 0 ? 1 : 2;
    if (t->n_dims == n_dims && t->shape[0] == (int64_t)param->n_out &&
        (n_dims == 1 || t->shape[1] == (int64_t)param->n_in)) {
        return t;
    }
    char expected[64];
    char found[192] = "";
    if (n_dims == 1) {
        snprintf(expected, sizeof expected, "[%zu]", param->n_out);
    } else {
        snprintf(expected, sizeof expected, "[%zu, %zu]", param->n_out, param->n_in);
    }
    for (size_t i = 0, n = 0; i < t->n_dims && n < sizeof found; i++) {
        n += (size_t)snprintf(found + n, sizeof found - n, "%s%lld", i == 0 ? "" : ", ",
                              (long long)t->shape[i]);
    }
    dinm_fail(err, DINM_FAILED, "%s: tensor %s has shape [%s]; config.json asks for %s", c->folder,
              param->name, found, expected);
    return NULL;
}

/* Floats of the copy that a tensor needs: vectors are used as float32, matrices as stored. */
static size_t copy_floats(const struct dinm_tensor *t)
{
    return t->n_dims == 1 && t->dtype != DINM_F32 ? ((size_t)t->shape[0] + 15) / 16 * 16 : 0;
}

static struct dinm_matrix bind_tensor(const struct dinm_param *param, const struct dinm_tensor *t,
                                      float *copy)
{
    if (copy_floats(t) == 0) {
        return (struct dinm_matrix){
            .data = t->data, .dtype = t->dtype, .n_out = param->n_out, .n_in = param->n_in};
    }
    dinm_widen(copy, t->data, t->dtype, param->n_out);
    return (struct dinm_matrix){.data = copy, .dtype = DINM_F32, .n_out = param->n_out, .n_in = 0};
}

static int bind_checkpoint(struct dinm_encoder *e, struct dinm_error *err)
{
    size_t n_floats = 0;
    const struct dinm_flat_range range = dinm_encoder_range(&e->config, e->first, e->last);
    for (size_t i = 0; i < range.n_tensors; i++) {
        struct dinm_param param = dinm_encoder_param(&e->config, range.first_tensor + i);
        const struct dinm_tensor *t = find_tensor(&e->checkpoint, &param, err);
        if (t == NULL) {
            return DINM_FAILED;
        }
        n_floats += copy_floats(t);
    }
    e->copies = dinm_alloc(n_floats, sizeof *e->copies, "the encoder's widened tensors", err);
    if (e->copies == NULL) {
        return DINM_FAILED;
    }
    n_floats = 0;
    for (size_t i = 0; i < range.n_tensors; i++) {
        struct dinm_param param = dinm_encoder_param(&e->config, range.first_tensor + i);
        const struct dinm_tensor *t = look_up(&e->checkpoint, &param);
        e->tensors[i] = bind_tensor(&param, t, e->copies + n_floats);
        n_floats += copy_floats(t);
    }
    return DINM_OK;
}

/* Tensor `index` of the range, with its offset within the range's own array. */
static struct dinm_param param_of(const struct dinm_encoder_config *config,
                                  const struct dinm_flat_range *range, size_t index)
{
    struct dinm_param param = dinm_encoder_param(config, range->first_tensor + index);
    param.offset -= range->first_param;
    return param;
}

int dinm_encoder_load_flat(float *flat, const struct dinm_encoder_config *config, size_t first,
                           size_t last, const struct dinm_checkpoint *checkpoint,
                           struct dinm_error *err)
{
    const struct dinm_flat_range range = dinm_encoder_range(config, first, last);
    for (size_t i = 0; i < range.n_tensors; i++) {
        const struct dinm_param param = param_of(config, &range, i);
        if (find_tensor(checkpoint, &param, err) == NULL) {
            return DINM_FAILED;
        }
    }
    for (size_t i = 0; i < range.n_tensors; i++) {
        const struct dinm_param param = param_of(config, &range, i);
        const struct dinm_tensor *t = look_up(checkpoint, &param);
        dinm_widen(flat + param.offset, t->data, t->dtype,
                   param.n_out * (param.n_in == 0 ? 1 : param.n_in));
    }
    return DINM_OK;
}

static struct dinm_encoder *make(const struct dinm_encoder_config *config, size_t first,
                                 size_t last, struct dinm_error *err)
{
    struct dinm_encoder *e = dinm_alloc(1, sizeof *e, "the encoder", err);
    if (e == NULL) {
        return NULL;
    }
    e->config = *config;
    e->first = first;
    e->last = last;
    e->tensors = dinm_alloc(dinm_encoder_range(config, first, last).n_tensors, sizeof *e->tensors,
                            "the encoder's tensor table", err);
    e->layers = dinm_alloc(last - first + 1, sizeof *e->layers, "the encoder's layers", err);
    if (e->tensors == NULL || e->layers == NULL) {
        dinm_encoder_close(e);
        return NULL;
    }
    return e;
}

int dinm_encoder_open(struct dinm_encoder **out, const char *folder, size_t first, size_t last,
                      struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_encoder *e = NULL;
    struct dinm_encoder_config config = {0};
    TRY(dinm_encoder_config_load(&config, folder, err));
    last = last > 0 ? last : config.n_layers;
    if (first >= last || last > config.n_layers) {
        return dinm_fail(err, DINM_FAILED, "%s: layers %zu to %zu were asked for, but it has %zu",
                         folder, first, last, config.n_layers);
    }
    e = make(&config, first, last, err);
    if (e == NULL) {
        return DINM_FAILED;
    }
    TRY(dinm_checkpoint_open(&e->checkpoint, folder, err));
    TRY(bind_checkpoint(e, err));
    *out = e;
    e = NULL;
out:
    dinm_encoder_close(e);
    return status;
}

int dinm_encoder_open_flat(struct dinm_encoder **out, const struct dinm_encoder_config *config,
                           size_t first, size_t last, const float *flat, struct dinm_error *err)
{
    const struct dinm_flat_range range = dinm_encoder_range(config, first, last);
    struct dinm_encoder *e = make(config, first, last, err);
    if (e == NULL) {
        return DINM_FAILED;
    }
    for (size_t i = 0; i < range.n_tensors; i++) {
        const struct dinm_param param = param_of(config, &range, i);
        e->tensors[i] = (struct dinm_matrix){.data = flat + param.offset,
                                             .dtype = DINM_F32,
                                             .n_out = param.n_out,
                                             .n_in = param.n_in};
    }
    *out = e;
    return DINM_OK;
}

void dinm_encoder_close(struct dinm_encoder *e)
{
    if (e == NULL) {
        return;
    }
    dinm_checkpoint_close(&e->checkpoint);
    free(e->tensors);
    free(e->copies);
    free(e->room);
    free(e->layers);
    free(e);
}

int dinm_encoder_write_flat(const char *folder, const float *flat,
                            const struct dinm_encoder_config *config, enum dinm_dtype dtype,
                            struct dinm_error *err)
{
    const size_t n = dinm_encoder_n_tensors(config);
    struct dinm_param *params = dinm_alloc(n, sizeof *params, "the list of tensors", err);
    int status = params == NULL ? DINM_FAILED : DINM_OK;
    for (size_t i = 0; status == DINM_OK && i < n; i++) {
        params[i] = dinm_encoder_param(config, i);
    }
    if (status == DINM_OK) {
        status =
            dinm_weights_write_from(folder, params, n, dtype, dinm_weights_from_flat, &flat, err);
    }
    free(params);
    return status;
}
