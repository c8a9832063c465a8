/* The decoder once more, in float64 and as plainly as it can be written, and models to try it on.
 */
#ifndef DINM_TESTS_REFERENCE_H
#define DINM_TESTS_REFERENCE_H

#include "numbers.h"
#include "model/slice.h"
#include "model/weights.h"

/* Heads that do not add up to d_model, no size a multiple of another. */
static inline struct dinm_config small_config(bool tied, size_t n_kv_heads)
{
    return (struct dinm_config){.n_layers = 3,
                                .d_model = 20,
                                .n_heads = 4,
                                .n_kv_heads = n_kv_heads,
                                .d_head = 6,
                                .d_ff = 44,
                                .n_vocab = 50,
                                .n_positions = 512,
                                .norm_eps = 1e-5f,
                                .rope_theta = 10000.0,
                                .tied = tied};
}

/* GPT-2: the reference below does not know it. */
static inline struct dinm_config gpt2_config(void)
{
    struct dinm_config c = small_config(true, 4);

    c.layout = DINM_LAYOUT_GPT2;
    c.mlp = DINM_MLP_GELU_NEW;
    c.layer_norm = c.learned_positions = true;
    c.d_head = c.d_model / c.n_heads;
    c.qkv_bias = c.o_bias = c.mlp_bias = true;
    return c;
}

/* Parameters such that activations keep a size of about 1, and norms are not all the same. */
static inline float *random_flat(const struct dinm_config *c, uint64_t seed)
{
    float *flat = normals(dinm_weights_n_params(c), 1.0, seed);

    for (size_t i = 0; i < dinm_weights_n_tensors(c); i++) {
        const struct dinm_param p = dinm_weights_param(c, i);
        const size_t n = p.n_out * (p.n_in > 0 ? p.n_in : 1);

        for (size_t j = p.offset; j < p.offset + n; j++) {
            flat[j] = p.n_in == 0 ? 1.0f + 0.2f * flat[j] : flat[j] / sqrtf((float)p.n_in);
            flat[j] *= i == 0 ? 4.0f : 1.0f;
        }
    }
    return flat;
}

/* A tensor of the flat form by its name; dies if there is none. */
static inline struct dinm_param find_param(const struct dinm_config *c, const char *name)
{
    for (size_t i = 0; i < dinm_weights_n_tensors(c); i++) {
        const struct dinm_param p = dinm_weights_param(c, i);

        if (strcmp(p.name, name) == 0) {
            return p;
        }
    }
    fail_msg("no tensor %s", name);
    return (struct dinm_param){0};
}

/* A model of float64 parameters. One layer's W_V may be replaced. */
struct reference {
    const struct dinm_config *c;
    const double *flat;
    const double *edited; /* [d_model][d_ff] or NULL */
    size_t edited_layer;
    size_t key_first, key_last; /* padding; 0, 0: none */
};

static inline const double *reference_tensor(const struct reference *m, size_t layer,
                                             const char *suffix)
{
    char name[96];

    snprintf(name, sizeof name, "model.layers.%zu.%s.weight", layer, suffix);
    return m->flat + find_param(m->c, name).offset;
}

/* y += the bias of the same name, if the model has it. */
static inline void reference_bias(double *y, const struct reference *m, size_t layer,
                                  const char *suffix)
{
    char name[96];

    snprintf(name, sizeof name, "model.layers.%zu.%s.bias", layer, suffix);
    for (size_t i = 0; i < dinm_weights_n_tensors(m->c); i++) {
        const struct dinm_param p = dinm_weights_param(m->c, i);

        for (size_t j = 0; strcmp(p.name, name) == 0 && j < p.n_out; j++) {
            y[j] += m->flat[p.offset + j];
        }
    }
}

/* y: [n_out] = w: [n_out][n_in] x */
static inline void reference_linear(double *y, const double *w, const double *x, size_t n_out,
                                    size_t n_in)
{
    for (size_t o = 0; o < n_out; o++) {
        y[o] = 0.0;
        for (size_t i = 0; i < n_in; i++) {
            y[o] += w[o * n_in + i] * x[i];
        }
    }
}

static inline void reference_norm(double *y, const double *x, const double *gain,
                                  const struct dinm_config *c)
{
    double squares = 0.0;

    for (size_t i = 0; i < c->d_model; i++) {
        squares += x[i] * x[i];
    }
    for (size_t i = 0; i < c->d_model; i++) {
        y[i] = x[i] / sqrt(squares / (double)c->d_model + (double)c->norm_eps) * gain[i];
    }
}

static inline void reference_rotate(double *x, size_t position, size_t n_heads,
                                    const struct dinm_config *c)
{
    const size_t half = c->d_head / 2;

    for (size_t h = 0; h < n_heads; h++, x += c->d_head) {
        for (size_t i = 0; i < half; i++) {
            const double angle =
                (double)position * pow(c->rope_theta, -(double)(2 * i) / (double)c->d_head);
            const double low = x[i], high = x[i + half];

            x[i] = low * cos(angle) - high * sin(angle);
            x[i + half] = high * cos(angle) + low * sin(angle);
        }
    }
}

/* out: [n_heads][d_head] of row i among n. */
static inline void reference_attend(double *out, const double *q, const double *k, const double *v,
                                    const struct reference *m, size_t row, size_t n, size_t layer)
{
    const struct dinm_config *c = m->c;
    const size_t window = c->window > 0 && layer >= c->window_first ? c->window : n;
    const size_t d = c->d_head, end = m->key_last > 0 ? m->key_last : n;
    double *p = items(n, sizeof *p);

    for (size_t h = 0; h < c->n_heads; h++) {
        const size_t kv = h / (c->n_heads / c->n_kv_heads);
        double sum = 0.0;

        for (size_t j = 0; j < n; j++) {
            p[j] = 0.0;
            if (j <= row && row - j < window && j >= m->key_first && j < end) {
                for (size_t i = 0; i < d; i++) {
                    p[j] += q[(row * c->n_heads + h) * d + i] * k[(j * c->n_kv_heads + kv) * d + i];
                }
                p[j] = exp(p[j] / sqrt((double)d));
            }
            sum += p[j];
        }
        for (size_t i = 0; i < d; i++) {
            out[h * d + i] = 0.0;
            for (size_t j = 0; j < n; j++) {
                const double weight = sum > 0.0 ? p[j] / sum : 1.0 / (double)n;

                out[h * d + i] += weight * v[(j * c->n_kv_heads + kv) * d + i];
            }
        }
    }
    free(p);
}

static inline void reference_layer(double *x, const struct reference *m, size_t layer, size_t n)
{
    const struct dinm_config *c = m->c;
    const size_t d_q = c->n_heads * c->d_head, d_kv = c->n_kv_heads * c->d_head;
    const double *down = m->edited != NULL && m->edited_layer == layer
                             ? m->edited
                             : reference_tensor(m, layer, "mlp.down_proj");
    double *q = items(n * d_q, sizeof *q), *k = items(n * d_kv, sizeof *k);
    double *v = items(n * d_kv, sizeof *v), *room = items(d_q + c->d_model, sizeof *room);
    double *gate = items(2 * c->d_ff, sizeof *gate), *up = gate + c->d_ff, *sum = room + d_q;

    for (size_t r = 0; r < n; r++) {
        reference_norm(room, x + r * c->d_model, reference_tensor(m, layer, "input_layernorm"), c);
        reference_linear(q + r * d_q, reference_tensor(m, layer, "self_attn.q_proj"), room, d_q,
                         c->d_model);
        reference_bias(q + r * d_q, m, layer, "self_attn.q_proj");
        reference_linear(k + r * d_kv, reference_tensor(m, layer, "self_attn.k_proj"), room, d_kv,
                         c->d_model);
        reference_bias(k + r * d_kv, m, layer, "self_attn.k_proj");
        reference_linear(v + r * d_kv, reference_tensor(m, layer, "self_attn.v_proj"), room, d_kv,
                         c->d_model);
        reference_bias(v + r * d_kv, m, layer, "self_attn.v_proj");
        reference_rotate(q + r * d_q, r, c->n_heads, c);
        reference_rotate(k + r * d_kv, r, c->n_kv_heads, c);
    }
    for (size_t r = 0; r < n; r++) {
        double *row = x + r * c->d_model;

        reference_attend(room, q, k, v, m, r, n, layer);
        reference_linear(sum, reference_tensor(m, layer, "self_attn.o_proj"), room, c->d_model,
                         d_q);
        reference_bias(sum, m, layer, "self_attn.o_proj");
        for (size_t i = 0; i < c->d_model; i++) {
            row[i] += sum[i];
        }
        reference_norm(room, row, reference_tensor(m, layer, "post_attention_layernorm"), c);
        reference_linear(gate, reference_tensor(m, layer, "mlp.gate_proj"), room, c->d_ff,
                         c->d_model);
        reference_bias(gate, m, layer, "mlp.gate_proj");
        reference_linear(up, reference_tensor(m, layer, "mlp.up_proj"), room, c->d_ff, c->d_model);
        reference_bias(up, m, layer, "mlp.up_proj");
        for (size_t i = 0; i < c->d_ff; i++) {
            gate[i] = gate[i] / (1.0 + exp(-gate[i])) * up[i];
        }
        reference_linear(sum, down, gate, c->d_model, c->d_ff);
        reference_bias(sum, m, layer, "mlp.down_proj");
        for (size_t i = 0; i < c->d_model; i++) {
            row[i] += sum[i];
        }
    }
    free(q);
    free(k);
    free(v);
    free(room);
    free(gate);
}

/* logits: [n][n_vocab]. */
static inline void reference_forward(double *logits, const struct reference *m, const int32_t *ids,
                                     size_t n)
{
    const struct dinm_config *c = m->c;
    const double *embed = m->flat + find_param(c, "model.embed_tokens.weight").offset;
    const double *gain = m->flat + find_param(c, "model.norm.weight").offset;
    const double *head = c->tied ? embed : m->flat + find_param(c, "lm_head.weight").offset;
    double *x = items(n * c->d_model, sizeof *x);

    for (size_t r = 0; r < n; r++) {
        memcpy(x + r * c->d_model, embed + (size_t)ids[r] * c->d_model, c->d_model * sizeof *x);
    }
    for (size_t l = 0; l < c->n_layers; l++) {
        reference_layer(x, m, l, n);
    }
    for (size_t r = 0; r < n; r++) {
        double *row = x + r * c->d_model;

        reference_norm(row, row, gain, c);
        reference_linear(logits + r * c->n_vocab, head, row, c->n_vocab, c->d_model);
    }
    free(x);
}

/* A slice of all layers over flat; close with free_slice. */
static inline struct dinm_slice flat_slice(const struct dinm_config *c, const float *flat)
{
    struct dinm_slice slice = {.config = *c};
    struct dinm_error err = {0};

    assert_ok(dinm_weights_bind_flat(&slice.weights, c, 0, c->n_layers, flat, &err), &err);
    return slice;
}

/* A model folder holding flat in dtype; remove it with remove_folder. */
static inline char *model_folder(const struct dinm_config *c, const float *flat,
                                 enum dinm_dtype dtype)
{
    char *folder = new_folder(), text[512];
    struct dinm_error err = {0};

    snprintf(text, sizeof text,
             "{\"model_type\": \"llama\", \"num_hidden_layers\": %zu, \"hidden_size\": %zu,"
             " \"num_attention_heads\": %zu, \"num_key_value_heads\": %zu, \"head_dim\": %zu,"
             " \"intermediate_size\": %zu, \"vocab_size\": %zu, \"rms_norm_eps\": 1e-5,"
             " \"rope_theta\": %g, \"tie_word_embeddings\": %s}",
             c->n_layers, c->d_model, c->n_heads, c->n_kv_heads, c->d_head, c->d_ff, c->n_vocab,
             c->rope_theta, c->tied ? "true" : "false");
    free(write_text(folder, "config.json", text));
    assert_ok(dinm_weights_write_flat(folder, flat, c, dtype, &err), &err);
    return folder;
}

/* ids: [n] at random. */
static inline void fill_ids(int32_t *ids, size_t n, const struct dinm_config *c, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        ids[i] = (int32_t)pick(seed, i, c->n_vocab);
    }
}

/* One pass of these rows through all layers; logits: [n_rows][n_vocab]. x is left in `x`. */
static inline void pass(const struct dinm_slice *s, float *logits, float *x, const int32_t *ids,
                        const struct dinm_rows *rows, const struct dinm_taps *taps)
{
    struct dinm_workspace *ws = NULL;
    struct dinm_error err = {0};
    float *normed = zeros(rows->n_rows * s->config.d_model);

    assert_ok(dinm_workspace_reserve(&ws, &s->config, rows, &err), &err);
    dinm_slice_embed(s, x, ids, rows);
    dinm_slice_forward(s, x, rows, 0, s->config.n_layers, NULL, taps, ws);
    dinm_slice_head(s, logits, normed, x, NULL, rows->n_rows);
    dinm_workspace_free(ws);
    free(normed);
}

/* The whole sequence at once, without a cache. */
static inline void pass_whole(const struct dinm_slice *s, float *logits, const int32_t *ids,
                              size_t n, const struct dinm_edit *edit)
{
    const struct dinm_sequence sequence = {.n_rows = n, .edit = edit};
    float *x = zeros(n * s->config.d_model);

    pass(s, logits, x, ids, &(struct dinm_rows){&sequence, 1, n}, NULL);
    free(x);
}

#endif
