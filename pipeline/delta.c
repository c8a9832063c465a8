/* Reading a saved edit. */
#include "pipeline/delta.h"

#include <stdlib.h>

int dinm_delta_open(struct dinm_delta *delta, const char *path, struct dinm_error *err)
{
    int status = DINM_OK;
    *delta = (struct dinm_delta){0};
    TRY(dinm_safetensors_open(&delta->file, path, err));
    long layer = delta->file.n_tensors == 1 ? dinm_weights_edited_layer(delta->file.tensors[0].name) : -1;
    if (layer < 0) {
        TRY(dinm_fail(err, DINM_FAILED,
                      "%s: expected one tensor named like model.layers.3.mlp.down_proj.weight, "
                      "found %zu tensors, the first named %s",
                      path, delta->file.n_tensors,
                      delta->file.n_tensors > 0 ? delta->file.tensors[0].name : "nothing"));
    }
    delta->tensor = &delta->file.tensors[0];
    delta->layer = (size_t)layer;
    if (delta->tensor->dtype == DINM_OTHER || delta->tensor->n_dims != 2) {
        TRY(dinm_fail(err, DINM_FAILED,
                      "%s: %s: expected a matrix of F32, F16 or BF16, found %zu dimensions of %s",
                      path, delta->tensor->name, delta->tensor->n_dims, delta->tensor->dtype_name));
    }
out:
    if (status < 0) {
        dinm_delta_close(delta);
    }
    return status;
}

void dinm_delta_close(struct dinm_delta *delta)
{
    dinm_safetensors_close(&delta->file);
    *delta = (struct dinm_delta){0};
}

float *dinm_delta_add(const struct dinm_delta *delta, const char *path, const struct dinm_matrix *w,
                      struct dinm_error *err)
{
    const int64_t *shape = delta->tensor->shape;
    size_t n_rows = w->by_input ? w->n_in : w->n_out, n_cols = w->by_input ? w->n_out : w->n_in;
    if (shape[0] != (int64_t)n_rows || shape[1] != (int64_t)n_cols) {
        dinm_fail(err, DINM_FAILED,
                  "%s: %s: expected the model's shape [%zu][%zu], found [%lld][%lld]", path,
                  delta->tensor->name, n_rows, n_cols, (long long)shape[0], (long long)shape[1]);
        return NULL;
    }
    size_t n = w->n_out * w->n_in;
    float *y = dinm_alloc(n, sizeof *y, "the edited matrix", err);
    float *difference = dinm_alloc(n, sizeof *difference, "the edit", err);
    if (y == NULL || difference == NULL) {
        free(y);
        free(difference);
        return NULL;
    }
    dinm_widen(y, w->data, w->dtype, n);
    dinm_widen(difference, delta->tensor->data, delta->tensor->dtype, n);
    for (size_t i = 0; i < n; i++) {
        y[i] += difference[i];
    }
    free(difference);
    return y;
}
