/* One step of a training: the batch's gradient, AdamW on the roots, the new weights to all. */
#include "pipeline/train_step.h"

#include <math.h>
#include "model/adam.h"

int dinm_train_compute_part(void *context, size_t part, float *grad, struct dinm_train_score *score,
                            int *worst, struct dinm_error *err)
{
    struct dinm_trainer *t = context;
    const size_t n = (size_t)t->settings.batch;
    const size_t n_parts = (size_t)t->settings.parts;
    const size_t first = part * n / n_parts;
    const size_t end = (part + 1) * n / n_parts;
    const struct dinm_train_lesson lesson = {&t->pack, grad, t->scale};
    int status = DINM_OK;
    if (*worst == DINM_OK) {
        status = dinm_train_pack_fill(&t->pack, &t->data, t->batch + first, end - first, err);
    }
    return dinm_train_learn_all(&t->model, t->settings.objective, &lesson, score, status, worst,
                                err);
}

/* The records of this step's batch; returns their tokens. */
static size_t choose_batch(struct dinm_trainer *t, int64_t step)
{
    size_t n_tokens = 0;
    size_t n_units = 0;
    for (int64_t i = 0; i < t->settings.batch; i++) {
        const size_t index = dinm_train_order_at(&t->order, (step - 1) * t->settings.batch + i);
        const struct dinm_train_record *record = &t->data.records[index];
        t->batch[i] = index;
        n_tokens += record->n_tokens;
        n_units += t->settings.objective->n_units(record);
    }
    t->scale = 1.0 / (double)n_units;
    return n_tokens;
}

/* Linear warm-up to lr, then half a cosine down to min_lr at the last step. */
static double learning_rate(const struct dinm_train_settings *s, int64_t step)
{
    const double pi = 3.141592653589793;
    if (step <= s->warmup) {
        return s->lr * (double)step / (double)s->warmup;
    }
    const double span = (double)(s->steps - s->warmup);
    const double share = (double)(step - s->warmup) / span;
    return s->min_lr + 0.5 * (s->lr - s->min_lr) * (1.0 + cos(pi * share));
}

/* What the stages know together. */
struct totals {
    double status;  /* the worst */
    double squares; /* of the gradient, summed in the order of the flat array */
    double loss, n_units;
};

/* Collective over a group. One running sum goes from the first stage to the last, and back to all:
 * the additions are those of a single stage. */
static int add_up_all(const struct dinm_trainer *t, struct totals *totals,
                      const struct dinm_train_score *score, int worst, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_grid *group = &t->place.group;
    const float *grad = t->tree.slots[0];
    struct totals now = {.status = DINM_OK};
    if (group->rank > 0) {
        TRY(dinm_train_receive(group, group->rank - 1, &now, sizeof now, err));
    }
    now.status = fmin(now.status, worst);
    for (size_t i = 0; i < t->model.n_params; i++) {
        now.squares += (double)grad[i] * (double)grad[i];
    }
    now.loss += score->loss; /* zero but on the last stage */
    now.n_units += score->n_units;
    if (group->rank < group->size - 1) {
        TRY(dinm_train_send(group, group->rank + 1, &now, sizeof now, err));
    }
    TRY(dinm_train_share_all(group, group->size - 1, &now, sizeof now, err));
    *totals = now;
out:
    return status;
}

/* AdamW on all tensors; weight decay on matrices alone. grad is scaled to the clipped norm. */
static void update(struct dinm_trainer *t, float *grad, double norm, double lr, int64_t step)
{
    const struct dinm_train_settings *s = &t->settings;
    struct dinm_train_model *m = &t->model;
    if (s->clip > 0.0 && norm > s->clip) {
        const float factor = (float)(s->clip / norm);
        for (size_t i = 0; i < m->n_params; i++) {
            grad[i] *= factor;
        }
    }
    for (size_t i = 0; i < m->n_tensors; i++) {
        const struct dinm_param p = s->objective->kind->param(m, i);
        const struct dinm_adam adam = {
            .lr = lr,
            .beta1 = s->beta1,
            .beta2 = s->beta2,
            .eps = s->eps,
            .weight_decay = p.n_in > 0 ? s->weight_decay : 0.0,
            .decoupled = true,
        };
        dinm_adam_step(m->flat + p.offset, t->moments + p.offset,
                       t->moments + m->n_params + p.offset, grad + p.offset, &adam, step,
                       p.n_out * (p.n_in > 0 ? p.n_in : 1));
    }
}

/* Collective over the roots: from the summed gradient to new weights. All roots judge the same
 * numbers and so come to the same end; *worst becomes that of all roots. */
static int take_step_all(struct dinm_trainer *t, int64_t step, size_t n_tokens,
                         const struct dinm_train_score *sum, int *worst, struct dinm_error *err)
{
    int status = DINM_OK;
    struct totals totals;
    TRY(add_up_all(t, &totals, sum, *worst, err));
    *worst = (int)totals.status;
    if (*worst < 0) {
        return DINM_OK;
    }
    const double lr = learning_rate(&t->settings, step);
    const double loss = totals.loss / totals.n_units;
    const double norm = sqrt(totals.squares);
    if (!isfinite(loss) || !isfinite(norm)) {
        return dinm_fail(err, DINM_FAILED,
                         "training stopped at step %lld: the %s is not finite (%g); a smaller lr "
                         "or clip may help",
                         (long long)step, isfinite(loss) ? "gradient's norm" : "loss",
                         isfinite(loss) ? norm : loss);
    }
    update(t, t->tree.slots[0], norm, lr, step);
    t->now = (struct dinm_train_step){step, n_tokens, lr, norm, loss};
out:
    return status;
}

int dinm_train_share_ends_all(struct dinm_trainer *t, struct dinm_error *err)
{
    const struct dinm_grid *group = &t->place.group;
    const size_t n_bytes = t->model.n_shared * sizeof *t->model.shared;
    if (group->size > 1 && group->rank == 0) {
        return dinm_train_send(group, group->size - 1, t->model.shared, n_bytes, err);
    }
    if (group->size > 1 && group->rank == group->size - 1) {
        return dinm_train_receive(group, 0, t->model.shared, n_bytes, err);
    }
    return DINM_OK;
}

int dinm_train_step_all(struct dinm_trainer *t, int64_t step, struct dinm_error *err)
{
    struct dinm_train_score sum = {0};
    int worst = DINM_OK;
    const size_t n_tokens = choose_batch(t, step);
    int mine = dinm_train_tree_sum_all(&t->tree, &sum, &worst, err);
    mine = t->status < mine ? t->status : mine;
    worst = mine < worst ? mine : worst;
    if (t->place.peers.rank == 0) {
        const int status = take_step_all(t, step, n_tokens, &sum, &worst, err);
        mine = status < mine ? status : mine;
    }
    /* The verdict goes out before the weights; only a failure costs an agreement. */
    int verdict = mine < worst ? mine : worst;
    const int shared = dinm_train_share_all(&t->place.peers, 0, &verdict, sizeof verdict, err);
    if (shared < 0 || verdict < 0) {
        return dinm_agree_all(&t->place.grid, mine < shared ? mine : shared, err);
    }
    int status = dinm_train_share_all(&t->place.peers, 0, t->model.flat,
                                      t->model.n_params * sizeof *t->model.flat, err);
    return status < 0 ? status : dinm_train_share_ends_all(t, err);
}
