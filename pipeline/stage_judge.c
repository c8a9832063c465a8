/* Texts through a stage's layers of the judge. The last stage fills in their logits. */
#include "io/mem.h"
#include "pipeline/stage_private.h"

/* Where each text begins among the item's ids, in the stage's scratch: [n_texts + 1]. */
static int lay_out(struct dinm_stage *stage, const struct dinm_item *item, struct dinm_error *err)
{
    const struct dinm_item_sequence *sequences = dinm_item_sequences(item);
    const size_t n = (size_t)item->n_sequences;
    void *first = stage->picks;
    if (dinm_grow(&first, &stage->pick_capacity, n + 1, sizeof *stage->picks, "texts", err) < 0) {
        return DINM_FAILED;
    }
    stage->picks = first;
    stage->picks[0] = 0;
    for (size_t i = 0; i < n; i++) {
        stage->picks[i + 1] = stage->picks[i] + (size_t)sequences[i].n_rows;
    }
    return DINM_OK;
}

int dinm_stage_classify(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_encoder *e = stage->encoder;
    float *x = dinm_item_rows(*item);
    TRY(lay_out(stage, *item, err));
    const struct dinm_texts texts = {dinm_item_ids(*item), stage->picks,
                                     (size_t)(*item)->n_sequences, (size_t)(*item)->n_rows};
    if (dinm_stage_is_first(stage)) {
        TRY(dinm_encoder_check(e, &texts, err));
    }
    TRY(dinm_encoder_reserve(e, &texts, false, err));
    dinm_encoder_forward(e, x, &texts, dinm_stage_between, stage);
    if (dinm_stage_is_last(stage)) {
        dinm_encoder_head(e, dinm_item_values(*item), x, &texts);
    }
    TRY(dinm_stage_pass_on(stage, item, err));
out:
    return status;
}
