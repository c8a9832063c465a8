/* The edited matrix and its optimiser, on the stage of the edited layer. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "io/mem.h"
#include "io/safetensors.h"
#include "model/activation.h"
#include "model/adam.h"
#include "pipeline/stage_edit.h"

void dinm_part_close_owner(struct dinm_part_owner *o)
{
    free(o->w);
    free(o->grad);
    free(o->m);
    free(o->v);
    free(o->resid_mid);
    free(o->h_down);
    free(o->losses);
    *o = (struct dinm_part_owner){0};
}

static const struct dinm_layer_weights *own_layer(const struct dinm_stage *stage,
                                                  const struct dinm_part *part)
{
    const struct dinm_weights *w = &stage->slice->weights;
    return &w->layers[part->model->layer - w->first];
}

static const struct dinm_matrix *own_matrix(const struct dinm_stage *stage,
                                            const struct dinm_part *part)
{
    return &own_layer(stage, part)->down;
}

int dinm_part_open_owner(struct dinm_stage *stage, struct dinm_part *part, float *x,
                         struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_slice *slice = stage->slice;
    const struct dinm_config *c = &slice->config;
    const struct dinm_matrix *own = own_matrix(stage, part);
    struct dinm_part_owner *o = &part->owner;
    struct dinm_rows rows = dinm_part_rows(part, false);
    size_t layer = (size_t)part->model->layer, n = own->n_out * own->n_in;
    o->is_owner = true;
    o->w = dinm_alloc(n, sizeof(float), "the edited matrix", err);
    o->grad = dinm_alloc(n, sizeof(float), "the edit's gradient", err);
    o->m = dinm_alloc(n, sizeof(float), "the optimiser's moments", err);
    o->v = dinm_alloc(n, sizeof(float), "the optimiser's moments", err);
    o->resid_mid = dinm_alloc(part->n_rows * c->d_model, sizeof(float), "the edit's rows", err);
    o->h_down = dinm_alloc(part->n_rows * c->d_ff, sizeof(float), "the edit's rows", err);
    o->losses = dinm_alloc(3 * (size_t)stage->settings->edit.steps, sizeof(float), "losses", err);
    bool got = o->w && o->grad && o->m && o->v && o->resid_mid && o->h_down && o->losses;
    TRY(got ? DINM_OK : DINM_FAILED);
    dinm_widen(o->w, own->data, own->dtype, n);
    o->down = *own;
    o->down.data = o->w;
    o->down.dtype = DINM_F32;
    struct dinm_taps taps = {.mid_layer = layer,
                             .resid_mid = o->resid_mid,
                             .h_down = o->h_down,
                             .after_layer = dinm_stage_between,
                             .context = stage};
    dinm_slice_forward(slice, x, &rows, slice->weights.first, layer + 1, NULL, &taps, stage->ws);
out:
    return status;
}

void dinm_part_apply(const struct dinm_stage *stage, const struct dinm_part *part, float *y)
{
    const struct dinm_part_owner *o = &part->owner;
    dinm_linear(y, o->h_down, &o->down, own_layer(stage, part)->down_bias, part->n_rows);
    dinm_add(y, o->resid_mid, part->n_rows * stage->slice->config.d_model);
}

/* Keeps W' within the L-infinity bound around W, if there is one. */
static void clamp(float *w, const struct dinm_matrix *own, float most)
{
    enum { AT_ONCE = 256 };
    float w0[AT_ONCE];
    size_t n_all = own->n_out * own->n_in, size = dinm_dtype_size(own->dtype);
    for (size_t i = 0; most > 0.0F && i < n_all; i += AT_ONCE) {
        size_t n = n_all - i < AT_ONCE ? n_all - i : AT_ONCE;
        dinm_widen(w0, (const unsigned char *)own->data + i * size, own->dtype, n);
        for (size_t j = 0; j < n; j++) {
            w[i + j] = fminf(fmaxf(w[i + j], w0[j] - most), w0[j] + most);
        }
    }
}

void dinm_part_learn(const struct dinm_stage *stage, struct dinm_part *part, const float *dy,
                     int64_t step)
{
    const struct dinm_settings *s = stage->settings;
    const struct dinm_config *c = &stage->slice->config;
    struct dinm_part_owner *o = &part->owner;
    size_t n = c->d_model * c->d_ff;
    /* dW = dY^T h_down, equation 7's gradient, or its transpose where W is stored so */
    memset(o->grad, 0, n * sizeof *o->grad);
    if (o->down.by_input) {
        dinm_linear_backward_weight(o->grad, o->h_down, dy, part->n_back, c->d_ff, c->d_model);
    } else {
        dinm_linear_backward_weight(o->grad, dy, o->h_down, part->n_back, c->d_model, c->d_ff);
    }
    if (s->edit.optimizer == DINM_OPT_SGD) {
        dinm_sgd_step(o->w, o->grad, s->edit.lr, s->edit.weight_decay, n);
    } else {
        struct dinm_adam adam = {.lr = s->edit.lr,
                                 .beta1 = 0.9,
                                 .beta2 = 0.999,
                                 .eps = 1e-8,
                                 .weight_decay = s->edit.weight_decay,
                                 .decoupled = s->edit.optimizer == DINM_OPT_ADAMW};
        dinm_adam_step(o->w, o->m, o->v, o->grad, &adam, step, n);
    }
    clamp(o->w, own_matrix(stage, part), (float)s->edit.norm_constraint);
}

/* OUT/edits/case-NNNNNN.safetensors: the difference to the matrix's own values, float32. */
int dinm_part_save(const struct dinm_stage *stage, const struct dinm_part *part,
                   struct dinm_error *err)
{
    int status = DINM_OK;
    if (!stage->settings->edit.save) {
        return DINM_OK;
    }
    const struct dinm_matrix *own = own_matrix(stage, part);
    size_t n = own->n_out * own->n_in;
    struct dinm_buffer path = {0};
    const struct dinm_tensor *stored = dinm_weights_edited(
        &stage->slice->checkpoint, &stage->slice->config, (size_t)part->model->layer);
    float *delta = dinm_alloc(n, sizeof *delta, "the edit's delta", err);
    TRY(delta && stored ? DINM_OK : DINM_FAILED);
    dinm_widen(delta, own->data, own->dtype, n);
    for (size_t i = 0; i < n; i++) {
        delta[i] = part->owner.w[i] - delta[i];
    }
    /* Under the checkpoint's own name, in its own layout. */
    struct dinm_tensor tensor = *stored;
    tensor.dtype = DINM_F32;
    tensor.dtype_name = "F32";
    tensor.data = delta;
    tensor.n_bytes = n * sizeof *delta;
    TRY(dinm_buffer_append_format(&path, err, "%s/edits", stage->settings->run.out));
    TRY(dinm_folder_make(path.data, err));
    TRY(dinm_buffer_append_format(&path, err, "/case-%06llu.safetensors",
                                  (unsigned long long)part->model->place));
    TRY(dinm_safetensors_write(path.data, &tensor, 1, NULL, err));
out:
    dinm_buffer_free(&path);
    free(delta);
    return status;
}

/* No loss is computed behind the last step: its matrix is looked at instead. */
static bool all_finite(const float *x, size_t n)
{
    size_t i = 0;
    while (i < n && isfinite(x[i])) {
        i++;
    }
    return i == n;
}

int dinm_part_check(const struct dinm_part *part, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_part_owner *o = &part->owner;
    if (o->n_losses > 0 && !isfinite(o->losses[3 * (o->n_losses - 1)])) {
        TRY(dinm_fail(err, DINM_FAILED, "the loss of its edit is not a finite number"));
    }
    if (!all_finite(o->w, o->down.n_out * o->down.n_in)) {
        TRY(dinm_fail(err, DINM_FAILED,
                      "its edited matrix holds values that are not finite numbers"));
    }
out:
    return status;
}
