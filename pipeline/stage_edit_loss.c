/* The head and the losses of an edit, on the last stage. */
#include <math.h>
#include <stdlib.h>
#include "io/mem.h"
#include "pipeline/stage_edit.h"

void dinm_part_close_loss(struct dinm_part_loss *l)
{
    free(l->picks);
    free(l->labels);
    free(l->logits);
    free(l->dlogits);
    free(l->base);
    free(l->normed);
    *l = (struct dinm_part_loss){0};
}

/* Rows and labels from where the item's ids hold them. */
static void read_picks(struct dinm_part_loss *l, const struct dinm_part *part)
{
    const int32_t *from = dinm_item_ids(part->model) + part->n_rows;
    for (size_t i = 0; i < l->n[0]; i++) {
        l->picks[i] = (size_t)from[i];
        l->labels[i] = from[l->n[0] + i];
    }
    for (size_t i = 0; i < l->n[1]; i++) {
        l->picks[l->n[0] + i] = part->sequences[0].n_rows + (size_t)from[2 * l->n[0] + i];
    }
}

int dinm_part_open_loss(struct dinm_stage *stage, struct dinm_part *part, struct dinm_error *err)
{
    static const char what[] = "the edit's logits";
    const struct dinm_config *c = &stage->slice->config;
    const struct dinm_item_sequence *s = dinm_item_sequences(part->model);
    struct dinm_part_loss *l = &part->loss;
    l->n[0] = (size_t)s[0].n_picks;
    l->n[1] = part->model->n_sequences > 1 ? (size_t)s[1].n_picks : 0;
    size_t n = l->n[0] + l->n[1];
    l->picks = dinm_alloc(n, sizeof *l->picks, what, err);
    l->labels = dinm_alloc(l->n[0], sizeof *l->labels, what, err);
    l->logits = dinm_alloc(n * c->n_vocab, sizeof(float), what, err);
    l->dlogits = dinm_alloc(n * c->n_vocab, sizeof(float), what, err);
    l->base = dinm_alloc(l->n[1] * c->n_vocab, sizeof(float), what, err);
    l->normed = dinm_alloc(n * c->d_model, sizeof(float), what, err);
    if (!l->picks || !l->labels || !l->logits || !l->dlogits || !l->base || !l->normed) {
        return DINM_FAILED;
    }
    read_picks(l, part);
    return DINM_OK;
}

/* Mean of -log P_W'(label) over the first text's picked rows (equation 8). */
static double edit_loss(struct dinm_part_loss *l, double weight, size_t n_vocab)
{
    double n = (double)l->n[0];
    return dinm_loss_nll(l->dlogits, l->logits, l->labels, weight / n, l->n[0], n_vocab) / n;
}

/* Mean of KL(P_W' || P_W) over the second text's picked rows (equation 9). At the first step W' is
 * W, which gives P_W. */
static double constraint_loss(struct dinm_part_loss *l, const struct dinm_settings *s,
                              uint64_t step, size_t n_vocab)
{
    double n = (double)l->n[1];
    const float *logits = l->logits + l->n[0] * n_vocab;
    float *dlogits = s->edit.constraint_grad ? l->dlogits + l->n[0] * n_vocab : NULL;
    if (step == 1) {
        dinm_log_softmax(l->base, logits, l->n[1], n_vocab);
    }
    return dinm_loss_kl(dlogits, logits, l->base, s->edit.constraint_direction, 1.0 / n, l->n[1],
                        n_vocab) /
           n;
}

int dinm_part_take_loss(struct dinm_stage *stage, struct dinm_part *part,
                        const struct dinm_item *item, struct dinm_item **back,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_settings *s = stage->settings;
    size_t n_vocab = stage->slice->config.n_vocab;
    struct dinm_part_loss *l = &part->loss;
    double weight = s->edit.method == DINM_METHOD_DINM ? s->edit.c_edit : 1.0;
    dinm_slice_head(stage->slice, l->logits, l->normed, dinm_item_rows(item), l->picks,
                    l->n[0] + l->n[1]);
    double nll = edit_loss(l, weight, n_vocab);
    double kl = l->n[1] > 0 ? constraint_loss(l, s, item->step, n_vocab) : 0.0;
    double total = weight * nll + kl; /* equation 10 */
    bool over = !isfinite(total) || total < s->edit.stop_loss;
    *back = dinm_item_like(item, DINM_ITEM_BACK, 3, over ? 0 : part->n_back, err);
    TRY(*back != NULL ? DINM_OK : DINM_FAILED);
    const float values[3] = {(float)total, (float)nll, (float)kl};
    for (size_t i = 0; i < 3; i++) {
        dinm_item_values(*back)[i] = values[i];
    }
    if (!over) {
        /* Picks of the second text come last: without its gradient they are left out. */
        size_t n = l->n[0] + (part->n_back > part->sequences[0].n_rows ? l->n[1] : 0);
        dinm_slice_head_backward(stage->slice, dinm_item_rows(*back), l->dlogits,
                                 dinm_item_rows(item), l->picks, n, l->normed, NULL);
    }
out:
    return status;
}
