/* T steps on one matrix: everything below its product is read once and kept. */
#include "pipeline/edit.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"
#include "model/adam.h"

/* One text above the edited layer's product. */
struct strand {
    const struct dinm_target *target; /* borrows */
    struct dinm_sequence sequence;
    struct dinm_rows rows;
    float *resid_mid; /* owns: [n][d_model] */
    float *h_down;    /* owns: [n][d_ff] */
    float *x;         /* owns: [n][d_model] */
    float *dx;        /* owns: [n][d_model] */
    float *logits;    /* owns: [n_rows][n_vocab] */
    float *dlogits;   /* owns: [n_rows][n_vocab] */
    float *base;      /* owns: [n_rows][n_vocab]: log-probabilities before the edit */
    float *normed;    /* owns: [n_rows][d_model] */
    struct dinm_tape *tape; /* owns */
};

struct edit_state {
    const struct dinm_slice *slice;
    const struct dinm_settings *s;
    size_t layer;
    struct dinm_matrix down; /* borrows w */
    float *w, *w0;           /* [d_model][d_ff]; w is the outcome's; w0 owned, for the clamp */
    float *grad, *m, *v;     /* owns: [d_model][d_ff] */
    struct strand edit, constraint;
    struct dinm_workspace *ws; /* owns */
};

void dinm_edit_outcome_free(struct dinm_edit_outcome *o)
{
    free(o->down);
    free(o->losses);
    *o = (struct dinm_edit_outcome){0};
}

static void strand_close(struct strand *a)
{
    dinm_tape_free(a->tape);
    free(a->resid_mid);
    free(a->h_down);
    free(a->x);
    free(a->dx);
    free(a->logits);
    free(a->dlogits);
    free(a->base);
    free(a->normed);
}

static int strand_open(struct strand *a, const struct dinm_slice *slice,
                       const struct dinm_target *target, size_t layer, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_config *c = &slice->config;
    size_t n = target->ids.n_ids;
    size_t n_logits = target->n_rows * c->n_vocab;
    static const char what[] = "the edit's activations";
    a->target = target;
    a->sequence = (struct dinm_sequence){.n_rows = n};
    a->rows = (struct dinm_rows){.sequences = &a->sequence, .n_sequences = 1, .n_rows = n};
    a->resid_mid = dinm_alloc(n * c->d_model, sizeof(float), what, err);
    a->h_down = dinm_alloc(n * c->d_ff, sizeof(float), what, err);
    a->x = dinm_alloc(n * c->d_model, sizeof(float), what, err);
    a->dx = dinm_alloc(n * c->d_model, sizeof(float), what, err);
    a->logits = dinm_alloc(n_logits, sizeof(float), what, err);
    a->dlogits = dinm_alloc(n_logits, sizeof(float), what, err);
    a->base = dinm_alloc(n_logits, sizeof(float), what, err);
    a->normed = dinm_alloc(target->n_rows * c->d_model, sizeof(float), what, err);
    bool got = a->resid_mid && a->h_down && a->x && a->dx && a->logits && a->dlogits && a->base &&
               a->normed;
    TRY(got ? DINM_OK : DINM_FAILED);
    TRY(dinm_tape_reserve(&a->tape, c, layer + 1, c->n_layers, n, err));
out:
    return status;
}

/* The one pass through the layers below: leaves resid_mid and h_down. */
static int strand_read(struct strand *a, struct edit_state *e, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_taps taps = {
        .mid_layer = e->layer, .resid_mid = a->resid_mid, .h_down = a->h_down};
    TRY(dinm_workspace_reserve(&e->ws, &e->slice->config, &a->rows, err));
    dinm_slice_embed(e->slice, a->x, a->target->ids.ids, a->rows.n_rows);
    dinm_slice_forward(e->slice, a->x, &a->rows, 0, e->layer + 1, NULL, &taps, e->ws);
out:
    return status;
}

/* x = resid_mid + h_down W^T, the layers above, logits of the rows that count. */
static void strand_forward(struct strand *a, struct edit_state *e, struct dinm_tape *tape)
{
    const struct dinm_config *c = &e->slice->config;
    size_t n = a->rows.n_rows * c->d_model;
    dinm_linear(a->x, a->h_down, &e->down, NULL, a->rows.n_rows);
    for (size_t i = 0; i < n; i++) {
        a->x[i] = a->resid_mid[i] + a->x[i];
    }
    dinm_slice_forward(e->slice, a->x, &a->rows, e->layer + 1, c->n_layers, tape, NULL, e->ws);
    dinm_slice_head(e->slice, a->logits, a->normed, a->x, a->target->rows, a->target->n_rows);
}

/* grad += dW, dW = dY^T h_down, from dlogits. */
static void strand_backward(struct strand *a, struct edit_state *e)
{
    const struct dinm_config *c = &e->slice->config;
    memset(a->dx, 0, a->rows.n_rows * c->d_model * sizeof *a->dx);
    dinm_slice_head_backward(e->slice, a->dx, a->dlogits, a->x, a->target->rows, a->target->n_rows,
                             a->normed, NULL);
    dinm_slice_backward(e->slice, a->dx, &a->rows, e->layer + 1, c->n_layers, a->tape, NULL, e->ws);
    dinm_linear_backward_weight(e->grad, a->dx, a->h_down, a->rows.n_rows, c->d_model, c->d_ff);
}

static bool has_constraint(const struct dinm_settings *s)
{
    return s->edit.method == DINM_METHOD_DINM && s->edit.constraint;
}

static int state_open(struct edit_state *e, struct dinm_edit_outcome *o,
                      const struct dinm_target *edit, const struct dinm_target *constraint,
                      struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_config *c = &e->slice->config;
    const struct dinm_matrix *own =
        &e->slice->weights.layers[e->layer - e->slice->weights.first].down;
    size_t n = c->d_model * c->d_ff;
    o->down = e->w = dinm_alloc(n, sizeof(float), "the edited matrix", err);
    e->w0 = dinm_alloc(n, sizeof(float), "the edited matrix", err);
    e->grad = dinm_alloc(n, sizeof(float), "the edit's gradient", err);
    e->m = dinm_alloc(n, sizeof(float), "the optimiser's moments", err);
    e->v = dinm_alloc(n, sizeof(float), "the optimiser's moments", err);
    o->losses = dinm_alloc(3 * (size_t)e->s->edit.steps, sizeof(float), "losses", err);
    TRY(e->w && e->w0 && e->grad && e->m && e->v && o->losses ? DINM_OK : DINM_FAILED);
    dinm_widen(e->w, own->data, own->dtype, n);
    memcpy(e->w0, e->w, n * sizeof *e->w);
    e->down = (struct dinm_matrix){
        .data = e->w, .dtype = DINM_F32, .n_out = c->d_model, .n_in = c->d_ff};
    TRY(strand_open(&e->edit, e->slice, edit, e->layer, err));
    TRY(strand_read(&e->edit, e, err));
    if (has_constraint(e->s)) {
        TRY(strand_open(&e->constraint, e->slice, constraint, e->layer, err));
        TRY(strand_read(&e->constraint, e, err));
        strand_forward(&e->constraint, e, NULL);
        dinm_log_softmax(e->constraint.base, e->constraint.logits, constraint->n_rows, c->n_vocab);
    }
out:
    return status;
}

static void state_close(struct edit_state *e)
{
    strand_close(&e->edit);
    strand_close(&e->constraint);
    dinm_workspace_free(e->ws);
    free(e->w0);
    free(e->grad);
    free(e->m);
    free(e->v);
}

/* L_e = -log P_W'(Y_safe | [X;S]), mean over its tokens; grad += c_edit dL_e/dW. */
static double edit_loss(struct edit_state *e, double weight)
{
    struct strand *a = &e->edit;
    double n = (double)a->target->n_rows;
    strand_forward(a, e, a->tape);
    double sum = dinm_loss_nll(a->dlogits, a->logits, a->target->labels, weight / n,
                               a->target->n_rows, e->slice->config.n_vocab);
    return sum / n;
}

/* L_c = KL(P_W' || P_W) on the constraint's rows, mean over them. */
static double constraint_loss(struct edit_state *e)
{
    struct strand *a = &e->constraint;
    bool grad = e->s->edit.constraint_grad;
    double n = (double)a->target->n_rows;
    strand_forward(a, e, grad ? a->tape : NULL);
    double sum = dinm_loss_kl(grad ? a->dlogits : NULL, a->logits, a->base,
                              e->s->edit.constraint_direction, 1.0 / n, a->target->n_rows,
                              e->slice->config.n_vocab);
    return sum / n;
}

static void optimise(struct edit_state *e, int64_t step)
{
    const struct dinm_settings *s = e->s;
    size_t n = e->down.n_out * e->down.n_in;
    if (s->edit.optimizer == DINM_OPT_SGD) {
        dinm_sgd_step(e->w, e->grad, s->edit.lr, s->edit.weight_decay, n);
    } else {
        struct dinm_adam adam = {.lr = s->edit.lr,
                                 .beta1 = 0.9,
                                 .beta2 = 0.999,
                                 .eps = 1e-8,
                                 .weight_decay = s->edit.weight_decay,
                                 .decoupled = s->edit.optimizer == DINM_OPT_ADAMW};
        dinm_adam_step(e->w, e->m, e->v, e->grad, &adam, step, n);
    }
    float most = (float)s->edit.norm_constraint; /* L-infinity bound on the delta; 0: none */
    for (size_t i = 0; most > 0.0F && i < n; i++) {
        e->w[i] = fminf(fmaxf(e->w[i], e->w0[i] - most), e->w0[i] + most);
    }
}

/* One step: losses, gradient, update. Returns false when the edit is over. */
static bool step(struct edit_state *e, struct dinm_edit_outcome *o, int64_t number)
{
    const struct dinm_settings *s = e->s;
    size_t n = e->down.n_out * e->down.n_in;
    double weight = s->edit.method == DINM_METHOD_DINM ? s->edit.c_edit : 1.0;
    double nll = edit_loss(e, weight);
    double kl = has_constraint(s) ? constraint_loss(e) : 0.0;
    double total = weight * nll + kl; /* equation 10 */
    float *logged = o->losses + 3 * o->n_losses++;
    logged[0] = (float)total;
    logged[1] = (float)nll;
    logged[2] = (float)kl;
    if (!isfinite(total)) {
        o->failed = "the loss of its edit is not a finite number";
        return false;
    }
    if (total < s->edit.stop_loss) {
        return false;
    }
    memset(e->grad, 0, n * sizeof *e->grad);
    strand_backward(&e->edit, e);
    if (has_constraint(s) && s->edit.constraint_grad) {
        strand_backward(&e->constraint, e);
    }
    optimise(e, number);
    return true;
}

/* No loss is computed behind the last step: its matrix is looked at instead. */
static bool all_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            return false;
        }
    }
    return true;
}

int dinm_edit_make(struct dinm_edit_outcome *o, const struct dinm_slice *slice,
                   const struct dinm_settings *s, const struct dinm_target *edit,
                   const struct dinm_target *constraint, size_t layer, struct dinm_error *err)
{
    int status = DINM_OK;
    struct edit_state e = {.slice = slice, .s = s, .layer = layer};
    *o = (struct dinm_edit_outcome){0};
    if (s->edit.method != DINM_METHOD_DINM && s->edit.method != DINM_METHOD_FT_L) {
        return DINM_OK; /* a method without new weights */
    }
    TRY(state_open(&e, o, edit, constraint, err));
    for (int64_t i = 1; i <= s->edit.steps && step(&e, o, i); i++) {
    }
    if (!o->failed && !all_finite(e.w, e.down.n_out * e.down.n_in)) {
        o->failed = "its edited matrix holds values that are not finite numbers";
    }
    o->edit = (struct dinm_edit){.layer = layer, .down = e.down};
out:
    state_close(&e);
    if (status < 0) {
        dinm_edit_outcome_free(o);
    }
    return status;
}
