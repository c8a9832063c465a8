/* Reading a saved edit. */
#include "pipeline/delta.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The layer in "model.layers.N.mlp.down_proj.weight", or -1 for another name. */
static long layer_of(const char *name)
{
    static const char before[] = "model.layers.";
    char again[64];
    if (strncmp(name, before, strlen(before)) != 0) {
        return -1;
    }
    long layer = strtol(name + strlen(before), NULL, 10);
    snprintf(again, sizeof again, "model.layers.%ld.mlp.down_proj.weight", layer);
    return layer >= 0 && strcmp(again, name) == 0 ? layer : -1;
}

int dinm_delta_open(struct dinm_delta *delta, const char *path, struct dinm_error *err)
{
    int status = DINM_OK;
    *delta = (struct dinm_delta){0};
    TRY(dinm_safetensors_open(&delta->file, path, err));
    long layer = delta->file.n_tensors == 1 ? layer_of(delta->file.tensors[0].name) : -1;
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
    if (shape[0] != (int64_t)w->n_out || shape[1] != (int64_t)w->n_in) {
        dinm_fail(err, DINM_FAILED,
                  "%s: %s: expected the model's shape [%zu][%zu], found [%lld][%lld]", path,
                  delta->tensor->name, w->n_out, w->n_in, (long long)shape[0], (long long)shape[1]);
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
