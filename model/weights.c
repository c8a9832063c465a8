/* Binding a decoder's tensors to a mapped checkpoint. */
#include "model/weights.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static const char *const prefixes[] = {"model.", "transformer."};

/* The name behind its prefix, if it has one; else the name. */
static const char *without_prefix(const char *name)
{
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) {
            return name + strlen(prefixes[i]);
        }
    }
    return name;
}

const struct dinm_tensor *dinm_weights_look_up(const struct dinm_checkpoint *checkpoint,
                                               const char *name)
{
    const struct dinm_tensor *t = dinm_checkpoint_find(checkpoint, name);

    return t != NULL ? t : dinm_checkpoint_find(checkpoint, without_prefix(name));
}

const struct dinm_tensor *dinm_weights_edited(const struct dinm_checkpoint *checkpoint,
                                              const struct dinm_config *config, size_t layer)
{
    char name[64];

    dinm_weights_edited_name(name, config, layer);
    return dinm_weights_look_up(checkpoint, name);
}

long dinm_weights_edited_layer(const char *name)
{
    static const struct dinm_config configs[] = {{.layout = DINM_LAYOUT_LLAMA},
                                                 {.layout = DINM_LAYOUT_GPT2}};
    const char *digits = without_prefix(name);

    digits += strcspn(digits, "0123456789");
    const long layer = strtol(digits, NULL, 10);

    for (size_t i = 0; i < sizeof configs / sizeof *configs && layer >= 0; i++) {
        char again[64];

        dinm_weights_edited_name(again, &configs[i], (size_t)layer);
        if (strcmp(without_prefix(again), without_prefix(name)) == 0) {
            return layer;
        }
    }
    return -1;
}

/* The shape that the whole tensor is stored with. */
static size_t stored_shape(int64_t shape[2], const struct dinm_param *param)
{
    const int64_t n_out = (int64_t)(param->n_out * (param->n_parts > 1 ? param->n_parts : 1));

    shape[0] = param->by_input ? (int64_t)param->n_in : n_out;
    shape[1] = param->by_input ? n_out : (int64_t)param->n_in;
    return param->n_in > 0 ? 2 : 1;
}

int dinm_weights_find(const struct dinm_tensor **out, const struct dinm_param *param,
                      const struct dinm_checkpoint *checkpoint, struct dinm_error *err)
{
    const struct dinm_tensor *t = dinm_weights_look_up(checkpoint, param->name);
    int64_t shape[2];
    const size_t n_dims = stored_shape(shape, param);
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

/* Vectors that must be widened, and where they go. */
struct widening {
    size_t n_floats, n_used;
};

/* Binds one row of the table: a whole tensor, or one of the parts that lie in it side by side. */
static void bind(struct dinm_weights *w, struct dinm_slot slot, const struct dinm_param *param,
                 const struct dinm_tensor *t, struct widening *widening)
{
    const size_t size = dinm_dtype_size(t->dtype);
    const unsigned char *data = (const unsigned char *)t->data + param->part * param->n_out * size;

    if (slot.matrix != NULL) {
        *slot.matrix = (struct dinm_matrix){.data = data,
                                            .dtype = t->dtype,
                                            .n_out = param->n_out,
                                            .n_in = param->n_in,
                                            .by_input = param->by_input,
                                            .stride = param->n_parts > 1 ? (size_t)t->shape[1] : 0};
    } else if (t->dtype == DINM_F32) {
        *slot.vector = (const float *)(const void *)data;
    } else {
        float *to = w->widened + widening->n_used;

        dinm_widen(to, data, t->dtype, param->n_out);
        widening->n_used += (param->n_out + 15) / 16 * 16;
        *slot.vector = to;
    }
}

/* Finds and checks every tensor of the slice; counts what must be widened. */
static int check_tensors(struct dinm_weights *w, const struct dinm_config *config,
                         const struct dinm_checkpoint *checkpoint, struct widening *widening,
                         struct dinm_error *err)
{
    int status = DINM_OK;

    for (size_t i = 0; i < dinm_weights_n_tensors(config); i++) {
        const struct dinm_param param = dinm_weights_param(config, i);
        const struct dinm_slot slot = dinm_weights_slot(w, config, i);
        const struct dinm_tensor *t = NULL;

        if (slot.matrix == NULL && slot.vector == NULL) {
            continue;
        }
        TRY(dinm_weights_find(&t, &param, checkpoint, err));
        if (slot.vector != NULL && t->dtype != DINM_F32) {
            widening->n_floats += (param.n_out + 15) / 16 * 16;
        }
    }
out:
    return status;
}

/* The head of a tied model is its embedding, also where the slice does not begin with it. */
static int bind_tied_head(struct dinm_weights *w, const struct dinm_config *config,
                          const struct dinm_checkpoint *checkpoint, struct dinm_error *err)
{
    const struct dinm_param param = dinm_weights_param(config, 0);
    const struct dinm_tensor *t = NULL;
    int status = DINM_OK;

    TRY(dinm_weights_find(&t, &param, checkpoint, err));
    w->head = (struct dinm_matrix){
        .data = t->data, .dtype = t->dtype, .n_out = param.n_out, .n_in = param.n_in};
out:
    return status;
}

int dinm_weights_bind(struct dinm_weights *w, const struct dinm_config *config,
                      const struct dinm_checkpoint *checkpoint, size_t first, size_t last,
                      struct dinm_error *err)
{
    struct widening widening = {0};
    int status = DINM_OK;

    *w = (struct dinm_weights){.first = first, .last = last};
    if (first >= last || last > config->n_layers) {
        return dinm_fail(err, DINM_FAILED, "%s: layers %zu to %zu were asked for, but it has %zu",
                         checkpoint->folder, first, last, config->n_layers);
    }
    w->layers = dinm_alloc(last - first, sizeof *w->layers, "the list of layers", err);
    TRY(w->layers != NULL ? DINM_OK : DINM_FAILED);
    TRY(check_tensors(w, config, checkpoint, &widening, err));
    if (widening.n_floats > 0) {
        w->widened = dinm_alloc(widening.n_floats, sizeof *w->widened, "norms and biases", err);
        TRY(w->widened != NULL ? DINM_OK : DINM_FAILED);
    }
    for (size_t i = 0; i < dinm_weights_n_tensors(config); i++) {
        const struct dinm_param param = dinm_weights_param(config, i);
        const struct dinm_slot slot = dinm_weights_slot(w, config, i);

        if (slot.matrix != NULL || slot.vector != NULL) {
            bind(w, slot, &param, dinm_weights_look_up(checkpoint, param.name), &widening);
        }
    }
    if (config->tied && last == config->n_layers) {
        TRY(bind_tied_head(w, config, checkpoint, err));
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
