/* From targets to an item. */
#include "pipeline/edit.h"

#include <string.h>

bool dinm_edit_is_wanted(const struct dinm_settings *s)
{
    return s->edit.method == DINM_METHOD_DINM || s->edit.method == DINM_METHOD_FT_L;
}

static bool has_constraint(const struct dinm_settings *s)
{
    return s->edit.method == DINM_METHOD_DINM && s->edit.constraint;
}

/* Appends picked rows to the item's ids; returns where the next go. */
static int32_t *put_rows(int32_t *to, const struct dinm_target *t)
{
    for (size_t i = 0; i < t->n_rows; i++) {
        *to++ = (int32_t)t->rows[i];
    }
    return to;
}

int dinm_edit_ask(struct dinm_stage *stage, const struct dinm_target *edit,
                  const struct dinm_target *constraint, size_t layer, uint64_t task, uint64_t place,
                  struct dinm_error *err)
{
    const struct dinm_settings *s = stage->settings;
    const struct dinm_target *texts[2] = {edit, has_constraint(s) ? constraint : NULL};
    struct dinm_item_counts n = {.width = stage->slice->config.d_model};
    for (size_t i = 0; i < 2 && texts[i] != NULL; i++) {
        n.n_sequences++;
        n.n_rows += texts[i]->ids.n_ids;
        n.n_ids += texts[i]->ids.n_ids + (i == 0 ? 2 : 1) * texts[i]->n_rows;
    }
    struct dinm_item *item = dinm_item_new(DINM_ITEM_EDIT, n, err);
    if (item == NULL) {
        return DINM_FAILED;
    }
    item->task = task;
    item->layer = layer;
    item->place = place;
    int32_t *ids = dinm_item_ids(item);
    for (size_t i = 0; i < n.n_sequences; i++) {
        dinm_item_sequences(item)[i] =
            (struct dinm_item_sequence){.n_rows = texts[i]->ids.n_ids, .n_picks = texts[i]->n_rows};
        memcpy(ids, texts[i]->ids.ids, texts[i]->ids.n_ids * sizeof *ids);
        ids += texts[i]->ids.n_ids;
    }
    ids = put_rows(ids, edit);
    memcpy(ids, edit->labels, edit->n_rows * sizeof *ids);
    if (texts[1] != NULL) {
        put_rows(ids + edit->n_rows, constraint);
    }
    return dinm_stage_ask(stage, item, err);
}
