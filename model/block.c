/* One decoder layer: attention and a feed-forward layer, each behind a norm and added to the
 * residual stream (Radford et al. 2019, Touvron et al. 2023). */
#include "model/block.h"

#include <string.h>
#include "model/activation.h"
#include "model/attention.h"
#include "model/norm.h"
#include "model/rope.h"

/* Consecutive sequences that use the same W_V. */
struct run {
    const struct dinm_matrix *down;
    size_t row, n_rows;
};

static const struct dinm_matrix *down_of(const struct dinm_block_call *call, size_t sequence)
{
    const struct dinm_edit *edit = call->rows->sequences[sequence].edit;

    return edit != NULL && edit->layer == call->layer ? &edit->down : &call->w->down;
}

/* Moves to the run that begins at sequence *next; false behind the last. */
static bool next_run(struct run *run, size_t *next, const struct dinm_block_call *call)
{
    const struct dinm_rows *rows = call->rows;

    run->row += run->n_rows;
    run->n_rows = 0;
    if (*next == rows->n_sequences) {
        return false;
    }
    run->down = down_of(call, *next);
    while (*next < rows->n_sequences && down_of(call, *next)->data == run->down->data) {
        run->n_rows += rows->sequences[(*next)++].n_rows;
    }
    return true;
}

/* The attention of a sequence whose rows stand behind n_held earlier ones. */
static struct dinm_attention attention_of(const struct dinm_block_call *call,
                                          const struct dinm_sequence *s)
{
    const struct dinm_config *c = call->config;
    const size_t n_keys = (s->kv != NULL ? s->kv->n_tokens : 0) + s->n_rows;

    return (struct dinm_attention){
        .n_rows = s->n_rows,
        .n_keys = n_keys,
        .n_heads = c->n_heads,
        .n_kv_heads = c->n_kv_heads,
        .d_head = c->d_head,
        .causal = true,
        .window = dinm_config_window(c, call->layer),
        .key_first = s->key_first,
        .key_last = s->key_last > 0 ? s->key_last : n_keys,
    };
}

/* Each sequence attends to its own keys: those of its rows, or those in its cache once its rows'
 * keys are behind them. */
static void attend(const struct dinm_block_call *call, struct dinm_block *b)
{
    const struct dinm_config *c = call->config;
    const size_t d_q = c->n_heads * c->d_head, d_kv = c->n_kv_heads * c->d_head;
    size_t row = 0;

    for (size_t i = 0; i < call->rows->n_sequences; i++) {
        const struct dinm_sequence *s = &call->rows->sequences[i];
        struct dinm_attention_call *a = &call->ws->calls[i];
        const float *k = b->k + row * d_kv, *v = b->v + row * d_kv;

        *a = (struct dinm_attention_call){.shape = attention_of(call, s),
                                          .out = b->attended + row * d_q,
                                          .q = b->q + row * d_q,
                                          .k = k,
                                          .v = v,
                                          .kv_dtype = DINM_F32,
                                          .key_stride = d_kv,
                                          .head_stride = c->d_head};
        if (s->kv != NULL) {
            if (s->from != NULL) {
                dinm_kv_copy(s->kv, call->kv_layer, s->from, s->kv->n_tokens);
            }
            const size_t at = dinm_kv_at(s->kv, call->kv_layer);

            dinm_kv_put(s->kv, call->kv_layer, k, v, s->n_rows);
            a->k = (const unsigned char *)s->kv->k + at;
            a->v = (const unsigned char *)s->kv->v + at;
            a->kv_dtype = s->kv->dtype;
            a->key_stride = c->d_head;
            a->head_stride = s->kv->capacity * c->d_head;
        }
        row += s->n_rows;
    }
    dinm_attention_forward(call->ws->calls, call->rows->n_sequences, call->ws->attention);
}

/* Copies what the caller wants to see of [n_rows][d]; `to` may be NULL. */
static void keep(float *to, const float *from, size_t n_rows, size_t d)
{
    if (to != NULL) {
        memcpy(to, from, n_rows * d * sizeof *to);
    }
}

/* q and k by their positions, forward (1) or backward (-1). */
static void rotate(const struct dinm_block_call *call, const struct dinm_block *b, int sign)
{
    const struct dinm_config *c = call->config;
    const size_t n = call->rows->n_rows;

    if (!c->learned_positions) {
        dinm_rope(b->q, call->ws->rope, sign, n, c->n_heads, c->d_head);
        dinm_rope(b->k, call->ws->rope, sign, n, c->n_kv_heads, c->d_head);
    }
}

/* h: [n][d_ff], the input of W_V: silu(gate) up (Shazeer 2020), or gelu(up). */
static void activate(float *h, const struct dinm_block *b, const struct dinm_config *c, size_t n)
{
    switch (c->mlp) {
    case DINM_MLP_SWIGLU:
        dinm_swiglu(h, b->gate, b->up, n * c->d_ff);
        break;
    case DINM_MLP_GELU_NEW:
        dinm_gelu_new(h, b->up, n * c->d_ff);
        break;
    }
}

/* The gradients of gate and up, in g, from dh. */
static void activate_backward(const struct dinm_block *g, const float *dh,
                              const struct dinm_block *b, const struct dinm_config *c, size_t n)
{
    switch (c->mlp) {
    case DINM_MLP_SWIGLU:
        dinm_swiglu_backward(g->gate, g->up, dh, b->gate, b->up, n * c->d_ff);
        break;
    case DINM_MLP_GELU_NEW:
        dinm_gelu_new_backward(g->up, dh, b->up, n * c->d_ff);
        break;
    }
}

/* sum: [n][d_model] = h W_V^T + b, each sequence with its own W_V. h: [n][d_ff] */
static void project_down(float *sum, const float *h, const struct dinm_block_call *call)
{
    enum { AT_ONCE = 8 };
    const struct dinm_config *c = call->config;
    struct dinm_linear_call calls[AT_ONCE];
    struct run run = {0};
    size_t n = 0;

    for (size_t next = 0; next_run(&run, &next, call);) {
        calls[n++] = (struct dinm_linear_call){sum + run.row * c->d_model, h + run.row * c->d_ff,
                                               run.down, call->w->down_bias, run.n_rows};
        if (n == AT_ONCE) {
            dinm_linear_each(calls, n);
            n = 0;
        }
    }
    dinm_linear_each(calls, n);
}

void dinm_block_forward(float *x, const struct dinm_block_call *call, struct dinm_block *b,
                        const struct dinm_taps *taps)
{
    const struct dinm_config *c = call->config;
    const struct dinm_layer_weights *w = call->w;
    struct dinm_workspace *ws = call->ws;
    const size_t n = call->rows->n_rows, d = c->d_model;
    const bool tapped = taps != NULL && taps->mid_layer == call->layer;

    /* q, k, v = norm(x) [W_q, W_k, W_v]^T + b, q and k rotated */
    keep(b->x, x, n, d);
    dinm_norm(ws->normed, x, w->attn_norm, w->attn_norm_bias, c->norm_eps, n, d);
    const struct dinm_linear_call qkv[] = {{b->q, ws->normed, &w->q, w->q_bias, n},
                                           {b->k, ws->normed, &w->k, w->k_bias, n},
                                           {b->v, ws->normed, &w->v, w->v_bias, n}};
    dinm_linear_each(qkv, 3);
    rotate(call, b, 1);

    /* x += attention(q, k, v) W_o^T + b */
    attend(call, b);
    dinm_linear(ws->sum, b->attended, &w->o, w->o_bias, n);
    dinm_add(x, ws->sum, n * d);
    keep(b->mid, x, n, d);
    keep(tapped ? taps->resid_mid : NULL, x, n, d);

    /* gate, up = norm(x) [W_gate, W_up]^T + b; h is their activation */
    dinm_norm(ws->normed, x, w->mlp_norm, w->mlp_norm_bias, c->norm_eps, n, d);
    const struct dinm_linear_call up_gate[] = {{b->up, ws->normed, &w->up, w->up_bias, n},
                                               {b->gate, ws->normed, &w->gate, w->gate_bias, n}};
    dinm_linear_each(up_gate, b->gate != NULL ? 2 : 1);
    activate(ws->h, b, c, n);
    keep(tapped ? taps->h_down : NULL, ws->h, n, c->d_ff);

    /* x += h W_V^T + b */
    project_down(ws->sum, ws->h, call);
    dinm_add(x, ws->sum, n * d);
}

/* dq, dk, dv (in the workspace's q, k, v) from the gradient in its `attended`. */
static void attend_backward(const struct dinm_block_call *call, const struct dinm_block *b)
{
    const struct dinm_config *c = call->config;
    const struct dinm_block *g = &call->ws->block;
    const size_t d_q = c->n_heads * c->d_head, d_kv = c->n_kv_heads * c->d_head;
    size_t q_at = 0, k_at = 0;

    memset(g->k, 0, call->rows->n_rows * d_kv * sizeof *g->k);
    memset(g->v, 0, call->rows->n_rows * d_kv * sizeof *g->v);
    for (size_t i = 0; i < call->rows->n_sequences; i++) {
        const struct dinm_sequence *s = &call->rows->sequences[i];
        const struct dinm_attention a = attention_of(call, s);

        dinm_attention_backward(g->q + q_at, g->k + k_at, g->v + k_at, g->attended + q_at,
                                b->q + q_at, b->k + k_at, b->v + k_at, &a, call->ws->attention);
        q_at += s->n_rows * d_q;
        k_at += s->n_rows * d_kv;
    }
}

/* dh = dx W_V, dW_V += dx^T h, run by run. */
static void down_backward(const float *dx, const struct dinm_block_call *call,
                          const struct dinm_block *b, float *dw)
{
    const struct dinm_config *c = call->config;
    struct dinm_workspace *ws = call->ws;
    struct run run = {0};

    activate(ws->h, b, c, call->rows->n_rows);
    for (size_t next = 0; next_run(&run, &next, call);) {
        const float *dy = dx + run.row * c->d_model;
        float *h = ws->h + run.row * c->d_ff;

        if (dw != NULL && run.down == &call->w->down) {
            dinm_linear_backward_weight(dw, dy, h, run.n_rows, c->d_model, c->d_ff);
        }
        dinm_linear_backward_input(h, dy, run.down, run.n_rows, 0);
    }
}

/* db: [n_out] += column sums of dy: [n][n_out], where there is a bias. */
static void add_bias_grad(float *db, const float *dy, size_t n, size_t n_out)
{
    if (db != NULL) {
        dinm_linear_backward_bias(db, dy, n, n_out);
    }
}

void dinm_block_backward(float *dx, const struct dinm_block_call *call, const struct dinm_block *b,
                         struct dinm_layer_grads *grads)
{
    const struct dinm_config *c = call->config;
    const struct dinm_layer_weights *w = call->w;
    struct dinm_workspace *ws = call->ws;
    const struct dinm_block *g = &ws->block; /* holds gradients here */
    const size_t n = call->rows->n_rows, d = c->d_model;
    const size_t d_q = c->n_heads * c->d_head, d_kv = c->n_kv_heads * c->d_head;

    /* dgate, dup from dh = dx W_V */
    down_backward(dx, call, b, grads != NULL ? grads->down : NULL);
    add_bias_grad(grads != NULL ? grads->down_bias : NULL, dx, n, d);
    activate_backward(g, ws->h, b, c, n);

    /* dnorm = dgate W_gate + dup W_up; dx += what came through the norm */
    if (b->gate != NULL) {
        dinm_linear_backward_input(ws->sum, g->gate, &w->gate, n, 0);
    }
    dinm_linear_backward_input(ws->sum, g->up, &w->up, n, b->gate != NULL);
    if (grads != NULL) {
        dinm_norm(ws->normed, b->mid, w->mlp_norm, w->mlp_norm_bias, c->norm_eps, n, d);
        add_bias_grad(grads->gate_bias, g->gate, n, c->d_ff);
        add_bias_grad(grads->up_bias, g->up, n, c->d_ff);
        dinm_linear_backward_weight(grads->gate, g->gate, ws->normed, n, c->d_ff, d);
        dinm_linear_backward_weight(grads->up, g->up, ws->normed, n, c->d_ff, d);
    }
    dinm_norm_backward(dx, grads != NULL ? grads->mlp_norm : NULL, NULL, ws->sum, b->mid,
                       w->mlp_norm, w->mlp_norm_bias, c->norm_eps, n, d);

    /* dattended = dx W_o; dq, dk, dv, rotated back */
    if (grads != NULL) {
        dinm_linear_backward_weight(grads->o, dx, b->attended, n, d, d_q);
        add_bias_grad(grads->o_bias, dx, n, d);
    }
    dinm_linear_backward_input(g->attended, dx, &w->o, n, 0);
    attend_backward(call, b);
    rotate(call, g, -1);

    /* dnorm = dq W_q + dk W_k + dv W_v; dx += what came through the norm */
    dinm_linear_backward_input(ws->sum, g->q, &w->q, n, 0);
    dinm_linear_backward_input(ws->sum, g->k, &w->k, n, 1);
    dinm_linear_backward_input(ws->sum, g->v, &w->v, n, 1);
    if (grads != NULL) {
        dinm_norm(ws->normed, b->x, w->attn_norm, w->attn_norm_bias, c->norm_eps, n, d);
        add_bias_grad(grads->q_bias, g->q, n, d_q);
        add_bias_grad(grads->k_bias, g->k, n, d_kv);
        add_bias_grad(grads->v_bias, g->v, n, d_kv);
        dinm_linear_backward_weight(grads->q, g->q, ws->normed, n, d_q, d);
        dinm_linear_backward_weight(grads->k, g->k, ws->normed, n, d_kv, d);
        dinm_linear_backward_weight(grads->v, g->v, ws->normed, n, d_kv, d);
    }
    dinm_norm_backward(dx, grads != NULL ? grads->attn_norm : NULL, NULL, ws->sum, b->x,
                       w->attn_norm, w->attn_norm_bias, c->norm_eps, n, d);
}
