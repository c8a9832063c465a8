/* Binding a decoder's tensors to a mapped checkpoint. */
#include "model/weights.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "io/mem.h"
#include "model/weights_table.h"

/* "[3, 4]", cut to the room. */
static const char *describe_shape(char room[96], size_t n_dims, const int64_t *shape)
{
    size_t used = (size_t)snprintf(room, 96, "[");

    for (size_t i = 0; i < n_dims && used < 96; i++) {
        used += (size_t)snprintf(room + used, 96 - used, i > 0 ? ", %lld" : "%lld",
                                 (long long)shape[i]);
    }
    if (used < 96) {
        snprintf(room + used, 96 - used, "]");
    }
    return room;
}

int dinm_weights_find(const struct dinm_tensor **out, const struct dinm_param *param,
                      const struct dinm_checkpoint *checkpoint, struct dinm_error *err)
{
    const struct dinm_tensor *t = dinm_checkpoint_find(checkpoint, param->name);
    const int64_t shape[2] = {(int64_t)param->n_out, (int64_t)param->n_in};
    const size_t n_dims = param->n_in > 0 ? 2 : 1;
    char expected[96], found[96];

    if (t == NULL) {
        return dinm_fail(err, DINM_FAILED, "%s: tensor %s is missing, expected with shape %s",
                         checkpoint->folder, param->name, describe_shape(expected, n_dims, shape));
    }
    if (t->n_dims != n_dims || t->shape[0] != shape[0] ||
        (n_dims == 2 && t->shape[1] != shape[1])) {
        return dinm_fail(err, DINM_FAILED, "%s: tensor %s: expected shape %s, found %s",
                         checkpoint->folder, param->name, describe_shape(expected, n_dims, shape),
                         describe_shape(found, t->n_dims, t->shape));
    }
    if (t->dtype == DINM_OTHER) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: tensor %s: expected elements of type F32, F16 or BF16, found %s",
                         checkpoint->folder, param->name, t->dtype_name);
    }
    if ((uintptr_t)t->data % dinm_dtype_size(t->dtype) != 0) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: tensor %s does not begin at a multiple of its element size (%zu "
                         "bytes): the file was written without padding its header",
                         checkpoint->folder, param->name, dinm_dtype_size(t->dtype));
    }
    *out = t;
    return DINM_OK;
}

/* Where the next vector that must be widened goes, made on first use. */
static int widen_vector(struct dinm_weights *w, size_t *n_widened, const float **out,
                        const struct dinm_tensor *t, size_t d_model, struct dinm_error *err)
{
    const size_t most = 2 * (w->last - w->first) + 1;

    if (w->widened == NULL) {
        w->widened = dinm_alloc(most * d_model, sizeof *w->widened, "norm weights", err);
        if (w->widened == NULL) {
            return DINM_FAILED;
        }
    }
    float *to = w->widened + (*n_widened)++ * d_model;

    dinm_widen(to, t->data, t->dtype, d_model);
    *out = to;
    return DINM_OK;
}

int dinm_weights_bind(struct dinm_weights *w, const struct dinm_config *config,
                      const struct dinm_checkpoint *checkpoint, size_t first, size_t last,
                      struct dinm_error *err)
{
    const bool tied_head = config->tied && last == config->n_layers;
    size_t n_widened = 0;
    int status = DINM_OK;

    *w = (struct dinm_weights){.first = first, .last = last};
    if (first >= last || last > config->n_layers) {
        return dinm_fail(err, DINM_FAILED, "%s: layers %zu to %zu were asked for, but it has %zu",
                         checkpoint->folder, first, last, config->n_layers);
    }
    w->layers = dinm_alloc(last - first, sizeof *w->layers, "the list of layers", err);
    TRY(w->layers != NULL ? DINM_OK : DINM_FAILED);
    for (size_t i = 0; i < dinm_weights_n_tensors(config); i++) {
        const struct dinm_param param = dinm_weights_param(config, i);
        const struct dinm_slot slot = dinm_weights_slot(w, config, i);
        const struct dinm_tensor *t = NULL;

        if (slot.matrix == NULL && slot.vector == NULL && !(i == 0 && tied_head)) {
            continue;
        }
        TRY(dinm_weights_find(&t, &param, checkpoint, err));
        if (slot.vector != NULL && t->dtype == DINM_F32) {
            *slot.vector = t->data;
        } else if (slot.vector != NULL) {
            TRY(widen_vector(w, &n_widened, slot.vector, t, param.n_out, err));
        } else {
            const struct dinm_matrix m = {
                .data = t->data, .dtype = t->dtype, .n_out = param.n_out, .n_in = param.n_in};

            w->head = i == 0 && tied_head ? m : w->head;
            if (slot.matrix != NULL) {
                *slot.matrix = m;
            }
        }
    }
out:
    if (status < 0) {
        dinm_weights_free(w);
    }
    return status;
}

void dinm_weights_free(struct dinm_weights *w)
{
    if (w == NULL) {
        return;
    }
    free(w->layers);
    free(w->widened);
    *w = (struct dinm_weights){0};
}
