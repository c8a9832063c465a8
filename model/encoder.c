/* The encoder's forward pass, for judging (all layers share one set of activations) and for
 * training (each layer keeps its own). */
#include "model/encoder_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"
#include "model/activation.h"
#include "model/norm.h"

/* Rows that classify runs at once, unless a single text has more. */
enum { CHUNK_ROWS = 1024 };

const struct dinm_encoder_config *dinm_encoder_get_config(const struct dinm_encoder *e)
{
    return &e->config;
}

const struct dinm_matrix *dinm_encoder_layer(const struct dinm_encoder *e, size_t l)
{
    return e->tensors + (e->first == 0 ? N_EMBED_TENSORS : 0) + l * N_LAYER_TENSORS;
}

struct dinm_attention dinm_encoder_attention(const struct dinm_encoder *e, size_t n_tokens)
{
    const struct dinm_encoder_config *c = &e->config;
    return (struct dinm_attention){
        .n_rows = n_tokens,
        .n_keys = n_tokens,
        .n_heads = c->n_heads,
        .n_kv_heads = c->n_heads,
        .d_head = c->d_model / c->n_heads,
        .causal = false,
        .key_first = 0,
        .key_last = n_tokens,
    };
}

int dinm_encoder_check(const struct dinm_encoder *e, const struct dinm_texts *texts,
                       struct dinm_error *err)
{
    const size_t max = dinm_encoder_max_tokens(&e->config);
    for (size_t i = 0; i < texts->n_texts; i++) {
        if (texts->first[i + 1] <= texts->first[i]) {
            return dinm_fail(err, DINM_FAILED, "text %zu for the classifier has no tokens", i);
        }
        const size_t n = texts->first[i + 1] - texts->first[i];
        if (n > max) {
            return dinm_fail(err, DINM_FAILED,
                             "text %zu for the classifier has %zu tokens; its model takes %zu", i,
                             n, max);
        }
        for (size_t k = 0; k < n; k++) {
            const int32_t id = texts->ids[texts->first[i] - texts->first[0] + k];
            if (id < 0 || (size_t)id >= e->config.n_vocab) {
                return dinm_fail(err, DINM_FAILED,
                                 "text %zu for the classifier has token id %d; its vocabulary "
                                 "ends at %zu",
                                 i, (int)id, e->config.n_vocab - 1);
            }
        }
    }
    return DINM_OK;
}

/* Hands out room; with base NULL it only counts. */
struct carver {
    float *base;
    size_t n_floats;
};

static float *carve(struct carver *c, size_t n)
{
    float *part = c->base == NULL ? NULL : c->base + c->n_floats;
    c->n_floats += (n + 15) / 16 * 16;
    return part;
}

static void carve_layer(struct carver *c, struct dinm_encoder_acts *a, size_t n_d, size_t n_ff,
                        bool taped)
{
    a->x = carve(c, n_d);
    a->q = carve(c, n_d);
    a->k = carve(c, n_d);
    a->v = carve(c, n_d);
    a->attn = carve(c, n_d);
    a->sum_mid = carve(c, n_d);
    a->mid = carve(c, n_d);
    a->ff = carve(c, n_ff);
    a->act = taped ? carve(c, n_ff) : a->ff;
    a->sum_out = carve(c, n_d);
}

static size_t attention_scratch(const struct dinm_encoder *e, const struct dinm_texts *texts)
{
    size_t most = e->config.d_model;
    for (size_t i = 0; i < texts->n_texts; i++) {
        struct dinm_attention a = dinm_encoder_attention(e, texts->first[i + 1] - texts->first[i]);
        const size_t need = dinm_attention_scratch(&a);
        most = need > most ? need : most;
    }
    return most;
}

static size_t carve_all(struct dinm_encoder *e, float *base, const struct dinm_texts *texts,
                        bool taped)
{
    const struct dinm_encoder_config *config = &e->config;
    struct carver c = {base, 0};
    const size_t n_layers = e->last - e->first;
    const size_t n_d = texts->n_rows * config->d_model;
    const size_t n_ff = texts->n_rows * config->d_ff;
    for (size_t l = 0; l < n_layers; l++) {
        if (taped || l == 0) {
            carve_layer(&c, &e->layers[l], n_d, n_ff, taped);
        } else {
            e->layers[l] = e->layers[0];
        }
    }
    e->layers[n_layers].x = taped ? carve(&c, n_d) : e->layers[0].x;
    if (taped) {
        struct dinm_encoder_slopes *s = &e->slopes;
        float **const slopes[] = {&e->dx, &s->dsum, &s->dattn, &s->dq, &s->dk, &s->dv};
        for (size_t i = 0; i < sizeof slopes / sizeof slopes[0]; i++) {
            *slopes[i] = carve(&c, n_d);
        }
        s->dff = carve(&c, n_ff);
    }
    e->x = carve(&c, n_d);
    e->sum_embed = carve(&c, n_d);
    e->heads = carve(&c, texts->n_texts * config->d_model);
    e->hidden = carve(&c, texts->n_texts * config->d_model);
    e->dhidden = carve(&c, texts->n_texts * config->d_model);
    e->logits = carve(&c, texts->n_texts * config->n_labels);
    e->scratch = carve(&c, attention_scratch(e, texts));
    return c.n_floats;
}

/* As carve_all hands out, without a tape. */
size_t dinm_encoder_scratch_bytes(const struct dinm_encoder *e, size_t n_texts, size_t n_tokens,
                                  size_t n_longest)
{
    const struct dinm_encoder_config *config = &e->config;
    const size_t most = n_longest > CHUNK_ROWS ? n_longest : CHUNK_ROWS;
    const size_t n_rows = n_tokens < most ? n_tokens : most;
    const size_t n_d = n_rows * config->d_model;
    const size_t first[] = {0, n_longest};
    const struct dinm_texts longest = {.first = first, .n_texts = 1, .n_rows = n_longest};
    struct dinm_encoder_acts unused;
    struct carver c = {NULL, 0};

    carve_layer(&c, &unused, n_d, n_rows * config->d_ff, false);
    carve(&c, n_d);
    carve(&c, n_d);
    for (int i = 0; i < 3; i++) {
        carve(&c, n_texts * config->d_model);
    }
    carve(&c, n_texts * config->n_labels);
    carve(&c, attention_scratch(e, &longest));
    return c.n_floats * sizeof(float);
}

int dinm_encoder_reserve(struct dinm_encoder *e, const struct dinm_texts *texts, bool taped,
                         struct dinm_error *err)
{
    const size_t n_floats = carve_all(e, NULL, texts, taped);
    if (n_floats > e->room_floats) {
        float *room = dinm_alloc(n_floats, sizeof *room, "the encoder's activations", err);
        if (room == NULL) {
            return DINM_FAILED;
        }
        free(e->room);
        e->room = room;
        e->room_floats = n_floats;
    }
    carve_all(e, e->room, texts, taped);
    return DINM_OK;
}

/* y: [d_model] += row `index` of table w. room: [d_model] */
static void add_row(float *y, const struct dinm_matrix *w, size_t index, float *room)
{
    const unsigned char *row =
        (const unsigned char *)w->data + index * w->n_in * dinm_dtype_size(w->dtype);
    dinm_widen(room, row, w->dtype, w->n_in);
    for (size_t i = 0; i < w->n_in; i++) {
        y[i] += room[i];
    }
}

/* y: [n_rows][d_model] = word + position + type 0. Hugging Face counts positions over the tokens
 * that are not pad, from pad + 1; a pad token itself has position pad. */
static void embed(const struct dinm_encoder *e, float *y, const struct dinm_texts *texts)
{
    const size_t d = e->config.d_model;
    const size_t pad = (size_t)e->config.pad_id;
    memset(y, 0, texts->n_rows * d * sizeof *y);
    for (size_t i = 0; i < texts->n_texts; i++) {
        size_t position = pad;
        for (size_t k = texts->first[i]; k < texts->first[i + 1]; k++) {
            const size_t row = k - texts->first[0];
            const size_t id = (size_t)texts->ids[row];
            position += id != pad;
            add_row(y + row * d, &e->tensors[WORD], id, e->scratch);
            add_row(y + row * d, &e->tensors[POSITION], id == pad ? pad : position, e->scratch);
            add_row(y + row * d, &e->tensors[TYPE], 0, e->scratch);
        }
    }
}

static void norm(const struct dinm_encoder *e, float *y, const float *x,
                 const struct dinm_matrix *gain_and_bias, size_t n_rows)
{
    dinm_layernorm(y, x, gain_and_bias[0].data, gain_and_bias[1].data, e->config.norm_eps, n_rows,
                   e->config.d_model);
}

/* y = x w^T + b, with w and b neighbours in the table. */
static void linear(float *y, const float *x, const struct dinm_matrix *w, size_t n_rows)
{
    dinm_linear(y, x, &w[0], w[1].data, n_rows);
}

/* One layer: fills a from a->x and leaves the next layer's input in y (which may be a->x). */
static void forward_layer(const struct dinm_encoder *e, float *y, const struct dinm_encoder_acts *a,
                          const struct dinm_matrix *w, const struct dinm_texts *texts)
{
    const size_t n = texts->n_rows;
    const size_t d = e->config.d_model;
    linear(a->q, a->x, &w[Q_WEIGHT], n);
    linear(a->k, a->x, &w[K_WEIGHT], n);
    linear(a->v, a->x, &w[V_WEIGHT], n);
    for (size_t i = 0; i < texts->n_texts; i++) {
        const size_t at = (texts->first[i] - texts->first[0]) * d;
        const struct dinm_attention_call call = {
            .shape = dinm_encoder_attention(e, texts->first[i + 1] - texts->first[i]),
            .out = a->attn + at,
            .q = a->q + at,
            .k = a->k + at,
            .v = a->v + at,
            .kv_dtype = DINM_F32,
            .key_stride = d,
            .head_stride = d / e->config.n_heads};
        dinm_attention_forward(&call, 1, e->scratch);
    }
    linear(a->sum_mid, a->attn, &w[O_WEIGHT], n);
    dinm_add(a->sum_mid, a->x, n * d);
    norm(e, a->mid, a->sum_mid, &w[MID_GAIN], n);

    linear(a->ff, a->mid, &w[UP_WEIGHT], n);
    dinm_gelu(a->act, a->ff, n * e->config.d_ff);
    linear(a->sum_out, a->act, &w[DOWN_WEIGHT], n);
    dinm_add(a->sum_out, a->mid, n * d);
    norm(e, y, a->sum_out, &w[OUT_GAIN], n);
}

void dinm_encoder_forward(struct dinm_encoder *e, float *x, const struct dinm_texts *texts,
                          dinm_encoder_listener *listener, void *context)
{
    const size_t n_layers = e->last - e->first;
    const size_t n_bytes = texts->n_rows * e->config.d_model * sizeof *x;
    if (e->first == 0) {
        embed(e, e->sum_embed, texts);
        norm(e, e->layers[0].x, e->sum_embed, &e->tensors[EMBED_GAIN], texts->n_rows);
    } else {
        memcpy(e->layers[0].x, x, n_bytes);
    }
    for (size_t l = 0; l < n_layers; l++) {
        forward_layer(e, e->layers[l + 1].x, &e->layers[l], dinm_encoder_layer(e, l), texts);
        if (listener != NULL) {
            listener(context, e->first + l, e->layers[l + 1].x);
        }
    }
    memcpy(x, e->layers[n_layers].x, n_bytes);
}

void dinm_encoder_head(struct dinm_encoder *e, float *logits, const float *x,
                       const struct dinm_texts *texts)
{
    const size_t d = e->config.d_model;
    for (size_t i = 0; i < texts->n_texts; i++) {
        memcpy(e->heads + i * d, x + (texts->first[i] - texts->first[0]) * d, d * sizeof *x);
    }
    /* logits = W_label tanh(W_dense x_0 + b_dense) + b_label */
    const struct dinm_matrix *w = dinm_encoder_layer(e, e->last - e->first);
    linear(e->hidden, e->heads, &w[DENSE_WEIGHT], texts->n_texts);
    for (size_t i = 0; i < texts->n_texts * d; i++) {
        e->hidden[i] = (float)tanh((double)e->hidden[i]);
    }
    linear(logits, e->hidden, &w[LABEL_WEIGHT], texts->n_texts);
}

int dinm_encoder_classify(struct dinm_encoder *e, float *logits, const int32_t *ids,
                          const size_t *first, size_t n_texts, struct dinm_error *err)
{
    int status = DINM_OK;
    if (n_texts == 0) {
        return DINM_OK;
    }
    struct dinm_texts all = {ids + first[0], first, n_texts, first[n_texts] - first[0]};
    TRY(dinm_encoder_check(e, &all, err));
    for (size_t i = 0; i < n_texts;) {
        size_t end = i + 1;
        while (end < n_texts && first[end + 1] - first[i] <= CHUNK_ROWS) {
            end++;
        }
        struct dinm_texts some = {ids + first[i], first + i, end - i, first[end] - first[i]};
        TRY(dinm_encoder_reserve(e, &some, false, err));
        dinm_encoder_forward(e, e->x, &some, NULL, NULL);
        dinm_encoder_head(e, logits + i * e->config.n_labels, e->x, &some);
        i = end;
    }
out:
    return status;
}
