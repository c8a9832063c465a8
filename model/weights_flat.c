/* A decoder's parameters as one float32 array, for training: binding, initial values, files. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"
#include "model/random.h"
#include "model/weights_table.h"

/* Tensor `index` of the range, with its offset within the range's own array. */
static struct dinm_param param_of(const struct dinm_config *config,
                                  const struct dinm_flat_range *range, size_t index)
{
    struct dinm_param param = dinm_weights_param(config, range->first_tensor + index);

    param.offset -= range->first_param;
    return param;
}

int dinm_weights_bind_flat(struct dinm_weights *w, const struct dinm_config *config, size_t first,
                           size_t last, const float *flat, struct dinm_error *err)
{
    const struct dinm_flat_range range = dinm_weights_range(config, first, last);

    *w = (struct dinm_weights){.first = first, .last = last};
    w->layers = dinm_alloc(last - first, sizeof *w->layers, "the list of layers", err);
    if (w->layers == NULL) {
        return DINM_FAILED;
    }
    for (size_t i = 0; i < range.n_tensors; i++) {
        const struct dinm_param param = param_of(config, &range, i);
        const struct dinm_slot slot = dinm_weights_slot(w, config, range.first_tensor + i);
        const float *at = flat + param.offset;

        if (slot.vector != NULL) {
            *slot.vector = at;
        } else {
            *slot.matrix = (struct dinm_matrix){
                .data = at, .dtype = DINM_F32, .n_out = param.n_out, .n_in = param.n_in};
        }
    }
    if (config->tied && last == config->n_layers) {
        w->head = w->embed;
    }
    return DINM_OK;
}

void dinm_weights_init_flat(float *flat, const struct dinm_config *config, size_t first,
                            size_t last, uint64_t seed)
{
    const struct dinm_flat_range range = dinm_weights_range(config, first, last);
    const double deviation = 0.02;

    for (size_t i = 0; i < range.n_tensors; i++) {
        const struct dinm_param param = param_of(config, &range, i);
        const double scale = dinm_weights_adds_to_residual(config, range.first_tensor + i)
                                 ? deviation / sqrt(2.0 * (double)config->n_layers)
                                 : deviation;

        for (size_t j = param.offset; j < param.offset + dinm_param_size(&param); j++) {
            const uint64_t index = range.first_param + j;

            flat[j] = param.is_bias     ? 0.0f
                      : param.n_in == 0 ? 1.0f
                                        : (float)(scale * dinm_random_normal(seed, 0, index));
        }
    }
}

int dinm_weights_load_flat(float *flat, const struct dinm_config *config, size_t first, size_t last,
                           const struct dinm_checkpoint *checkpoint, struct dinm_error *err)
{
    const struct dinm_flat_range range = dinm_weights_range(config, first, last);
    int status = DINM_OK;

    for (size_t i = 0; i < range.n_tensors; i++) {
        const struct dinm_param param = param_of(config, &range, i);
        const struct dinm_tensor *t = NULL;

        TRY(dinm_weights_find(&t, &param, checkpoint, err));
        dinm_widen(flat + param.offset, t->data, t->dtype, dinm_param_size(&param));
    }
out:
    return status;
}

/* A file being written from a source. */
struct stream {
    const struct dinm_param *params;
    enum dinm_dtype dtype;
    dinm_weights_source *source;
    void *context;
    unsigned char *narrow; /* owns: the largest tensor in dtype */
};

static int next_tensor(void *context, size_t i, const void **data, struct dinm_error *err)
{
    struct stream *s = context;
    const float *values = NULL;
    int status = DINM_OK;

    TRY(s->source(s->context, i, &s->params[i], &values, err));
    dinm_narrow(s->narrow, s->dtype, values, dinm_param_size(&s->params[i]));
    *data = s->narrow;
out:
    return status;
}

int dinm_weights_write_from(const char *folder, const struct dinm_param *params, size_t n,
                            enum dinm_dtype dtype, dinm_weights_source *source, void *context,
                            struct dinm_error *err)
{
    static const char *const metadata[] = {"format", "pt", NULL};
    const size_t size = dinm_dtype_size(dtype);
    struct stream stream = {params, dtype, source, context, NULL};
    struct dinm_tensor *tensors = dinm_alloc(n, sizeof *tensors, "the list of tensors", err);
    char *path = dinm_path_join(folder, "model.safetensors", err);
    size_t largest = 0;
    int status = DINM_OK;

    TRY(tensors && path ? DINM_OK : DINM_FAILED);
    for (size_t i = 0; i < n; i++) {
        const size_t n_floats = dinm_param_size(&params[i]);

        largest = n_floats > largest ? n_floats : largest;
        tensors[i] = (struct dinm_tensor){
            .name = params[i].name,
            .dtype_name = dinm_dtype_name(dtype),
            .dtype = dtype,
            .n_dims = params[i].n_in > 0 ? 2 : 1,
            .shape = {(int64_t)params[i].n_out, (int64_t)params[i].n_in},
            .n_bytes = n_floats * size,
        };
    }
    stream.narrow = dinm_alloc(largest, size, "the weights to be written", err);
    TRY(stream.narrow ? DINM_OK : DINM_FAILED);
    TRY(dinm_safetensors_write_from(path, tensors, n, metadata, next_tensor, &stream, err));
out:
    free(tensors);
    free(stream.narrow);
    free(path);
    return status;
}

int dinm_weights_from_flat(void *context, size_t i, const struct dinm_param *param,
                           const float **values, struct dinm_error *err)
{
    const float *const *flat = context;

    (void)i;
    (void)err;
    *values = *flat + param->offset;
    return DINM_OK;
}

int dinm_weights_write_flat(const char *folder, const float *flat, const struct dinm_config *config,
                            enum dinm_dtype dtype, struct dinm_error *err)
{
    const size_t n = dinm_weights_n_tensors(config);
    struct dinm_param *params = dinm_alloc(n, sizeof *params, "the list of tensors", err);
    int status = params == NULL ? DINM_FAILED : DINM_OK;

    for (size_t i = 0; status == DINM_OK && i < n; i++) {
        params[i] = dinm_weights_param(config, i);
    }
    if (status == DINM_OK) {
        status =
            dinm_weights_write_from(folder, params, n, dtype, dinm_weights_from_flat, &flat, err);
    }
    free(params);
    return status;
}

int dinm_grads_bind_flat(struct dinm_grads *g, const struct dinm_config *config, size_t first,
                         size_t last, float *flat, struct dinm_error *err)
{
    const struct dinm_flat_range range = dinm_weights_range(config, first, last);

    *g = (struct dinm_grads){.first = first, .last = last};
    g->layers = dinm_alloc(last - first, sizeof *g->layers, "the list of gradients", err);
    if (g->layers == NULL) {
        return DINM_FAILED;
    }
    for (size_t i = 0; i < range.n_tensors; i++) {
        *dinm_grads_slot(g, config, range.first_tensor + i) =
            flat + param_of(config, &range, i).offset;
    }
    if (config->tied && last == config->n_layers) {
        g->head = g->embed;
    }
    return DINM_OK;
}

void dinm_grads_free(struct dinm_grads *g)
{
    if (g == NULL) {
        return;
    }
    free(g->layers);
    *g = (struct dinm_grads){0};
}
