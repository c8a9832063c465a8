/* The encoder's loss and gradient. */
#include "model/encoder_private.h"

#include <string.h>
#include "model/activation.h"
#include "model/loss.h"
#include "model/norm.h"

/* A run of neighbouring tensors and the place of their gradients. */
struct grads {
    const struct dinm_matrix *tensors; /* the run's first tensor */
    float *flat;                       /* the gradient of that tensor; the others follow it */
};

static float *grad_of(const struct grads *g, size_t slot)
{
    float *at = g->flat;
    for (size_t i = 0; i < slot; i++) {
        at += g->tensors[i].n_out * (g->tensors[i].n_in == 0 ? 1 : g->tensors[i].n_in);
    }
    return at;
}

/* For y = x w^T + b with w and b neighbours: dw += dy^T x, db += sum dy, dx (+)= dy w. */
static void linear_backward(const struct grads *g, size_t slot, float *dx, int accumulate,
                            const float *dy, const float *x, size_t n_rows)
{
    const struct dinm_matrix *w = &g->tensors[slot];
    dinm_linear_backward_weight(grad_of(g, slot), dy, x, n_rows, w->n_out, w->n_in);
    dinm_linear_backward_bias(grad_of(g, slot + 1), dy, n_rows, w->n_out);
    dinm_linear_backward_input(dx, dy, w, n_rows, accumulate);
}

/* dx: written. */
static void norm_backward(const struct grads *g, size_t slot, float *dx, const float *dy,
                          const float *x, float eps, size_t n_rows)
{
    const size_t d = g->tensors[slot].n_out;
    memset(dx, 0, n_rows * d * sizeof *dx);
    dinm_layernorm_backward(dx, grad_of(g, slot), grad_of(g, slot + 1), dy, x,
                            g->tensors[slot].data, eps, n_rows, d);
}

/* s->dx: from the gradient of the layer's output to that of its input. */
static void backward_layer(const struct dinm_encoder *e, const struct dinm_encoder_acts *a,
                           const struct grads *g, const struct dinm_texts *texts)
{
    const struct dinm_encoder_slopes *s = &e->slopes;
    const size_t n = texts->n_rows;
    const size_t d = e->config.d_model;
    const float eps = e->config.norm_eps;

    norm_backward(g, OUT_GAIN, s->dsum, s->dx, a->sum_out, eps, n);
    linear_backward(g, DOWN_WEIGHT, s->dff, 0, s->dsum, a->act, n);
    dinm_gelu_backward(s->dff, s->dff, a->ff, n * e->config.d_ff);
    linear_backward(g, UP_WEIGHT, s->dsum, 1, s->dff, a->mid, n);

    norm_backward(g, MID_GAIN, s->dx, s->dsum, a->sum_mid, eps, n);
    linear_backward(g, O_WEIGHT, s->dattn, 0, s->dx, a->attn, n);
    memset(s->dk, 0, n * d * sizeof *s->dk);
    memset(s->dv, 0, n * d * sizeof *s->dv);
    for (size_t i = 0; i < texts->n_texts; i++) {
        const size_t at = (texts->first[i] - texts->first[0]) * d;
        struct dinm_attention shape =
            dinm_encoder_attention(e, texts->first[i + 1] - texts->first[i]);
        dinm_attention_backward(s->dq + at, s->dk + at, s->dv + at, s->dattn + at, a->q + at,
                                a->k + at, a->v + at, &shape, e->scratch);
    }
    linear_backward(g, Q_WEIGHT, s->dx, 1, s->dq, a->x, n);
    linear_backward(g, K_WEIGHT, s->dx, 1, s->dk, a->x, n);
    linear_backward(g, V_WEIGHT, s->dx, 1, s->dv, a->x, n);
}

/* dy: [n_rows][d_model], gradient of the summed embeddings. */
static void backward_embed(const struct dinm_encoder *e, const struct grads *g, const float *dy,
                           const struct dinm_texts *texts)
{
    const size_t d = e->config.d_model;
    const size_t pad = (size_t)e->config.pad_id;
    float *word = grad_of(g, WORD);
    float *position = grad_of(g, POSITION);
    float *type = grad_of(g, TYPE);
    for (size_t i = 0; i < texts->n_texts; i++) {
        size_t at = pad;
        for (size_t k = texts->first[i]; k < texts->first[i + 1]; k++) {
            const size_t row = k - texts->first[0];
            const size_t id = (size_t)texts->ids[row];
            at += id != pad;
            dinm_add(word + id * d, dy + row * d, d);
            dinm_add(position + (id == pad ? pad : at) * d, dy + row * d, d);
            dinm_add(type, dy + row * d, d);
        }
    }
}

/* The gradients of a run of tensors that begins with number `index` of the whole. */
static struct grads grads_from(const struct dinm_encoder *e, const struct dinm_matrix *tensors,
                               float *grad, size_t index)
{
    const size_t first = dinm_encoder_range(&e->config, e->first, e->last).first_param;
    return (struct grads){tensors, grad + dinm_encoder_param(&e->config, index).offset - first};
}

void dinm_encoder_head_backward(struct dinm_encoder *e, float *dx, float *grad,
                                const float *dlogits, const struct dinm_texts *texts)
{
    const struct dinm_encoder_slopes *s = &e->slopes;
    const size_t d = e->config.d_model;
    const size_t head = N_EMBED_TENSORS + e->config.n_layers * N_LAYER_TENSORS;
    const struct grads g = grads_from(e, dinm_encoder_layer(e, e->last - e->first), grad, head);

    linear_backward(&g, LABEL_WEIGHT, e->dhidden, 0, dlogits, e->hidden, texts->n_texts);
    for (size_t i = 0; i < texts->n_texts * d; i++) {
        e->dhidden[i] *= 1.0f - e->hidden[i] * e->hidden[i];
    }
    /* The gradient of the first tokens goes through dattn, which is free until the layers run. */
    linear_backward(&g, DENSE_WEIGHT, s->dattn, 0, e->dhidden, e->heads, texts->n_texts);
    memset(dx, 0, texts->n_rows * d * sizeof *dx);
    for (size_t i = 0; i < texts->n_texts; i++) {
        memcpy(dx + (texts->first[i] - texts->first[0]) * d, s->dattn + i * d, d * sizeof *dx);
    }
}

void dinm_encoder_backward(struct dinm_encoder *e, float *dx, float *grad,
                           const struct dinm_texts *texts)
{
    e->slopes.dx = dx;
    for (size_t l = e->last - e->first; l-- > 0;) {
        const size_t index = N_EMBED_TENSORS + (e->first + l) * N_LAYER_TENSORS;
        const struct grads g = grads_from(e, dinm_encoder_layer(e, l), grad, index);
        backward_layer(e, &e->layers[l], &g, texts);
    }
    if (e->first == 0) {
        const struct grads g = {e->tensors, grad};
        norm_backward(&g, EMBED_GAIN, e->slopes.dsum, dx, e->sum_embed, e->config.norm_eps,
                      texts->n_rows);
        backward_embed(e, &g, e->slopes.dsum, texts);
    }
}

int dinm_encoder_train(struct dinm_encoder *e, double *loss, size_t *n_right, float *grad,
                       double scale, const int32_t *ids, const size_t *first, const int32_t *labels,
                       size_t n_texts, struct dinm_error *err)
{
    int status = DINM_OK;
    const size_t n_labels = e->config.n_labels;
    struct dinm_texts texts = {ids + first[0], first, n_texts, first[n_texts] - first[0]};
    TRY(dinm_encoder_check(e, &texts, err));
    for (size_t i = 0; i < n_texts; i++) {
        if (labels[i] < 0 || (size_t)labels[i] >= n_labels) {
            return dinm_fail(err, DINM_FAILED,
                             "text %zu for the classifier has label %d; its model has labels 0 "
                             "to %zu",
                             i, (int)labels[i], n_labels - 1);
        }
    }
    TRY(dinm_encoder_reserve(e, &texts, grad != NULL, err));
    dinm_encoder_forward(e, e->x, &texts, NULL, NULL);
    dinm_encoder_head(e, e->logits, e->x, &texts);
    *n_right = dinm_loss_count_right(e->logits, labels, n_texts, n_labels);
    *loss =
        dinm_loss_nll(grad == NULL ? NULL : e->logits, e->logits, labels, scale, n_texts, n_labels);
    if (grad != NULL) {
        dinm_encoder_head_backward(e, e->dx, grad, e->logits, &texts);
        dinm_encoder_backward(e, e->dx, grad, &texts);
    }
out:
    return status;
}
