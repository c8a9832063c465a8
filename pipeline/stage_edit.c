/* How an edit goes over the stages. EDIT: the texts are read up to the owner, the stage of the
 * edited layer. From there T times: STEP goes up to the last stage, BACK comes down with losses and
 * gradient, and the owner changes its matrix. Whatever fails comes to the owner, which alone tells
 * the driver; the stages above are told to forget. */
#include "pipeline/stage_edit.h"

#include <stdlib.h>
#include <string.h>
#include "io/mem.h"

struct dinm_rows dinm_part_rows(const struct dinm_part *part, bool backward)
{
    bool one =
        part->model->n_sequences == 1 || (backward && part->n_back == part->sequences[0].n_rows);
    return (struct dinm_rows){.sequences = part->sequences,
                              .n_sequences = one ? 1 : 2,
                              .n_rows = backward ? part->n_back : part->n_rows};
}

static void part_free(struct dinm_part *part)
{
    dinm_part_close_loss(&part->loss);
    dinm_part_close_owner(&part->owner);
    dinm_tape_free(part->tape);
    free(part->model);
    free(part);
}

void dinm_stage_free_parts(struct dinm_stage *stage)
{
    while (stage->parts != NULL) {
        struct dinm_part *part = stage->parts;
        stage->parts = part->next;
        part_free(part);
    }
}

static struct dinm_part *find_part(const struct dinm_stage *stage, uint64_t task)
{
    struct dinm_part *part = stage->parts;
    while (part != NULL && part->model->task != task) {
        part = part->next;
    }
    return part;
}

static void forget_part(struct dinm_stage *stage, uint64_t task)
{
    struct dinm_part **at = &stage->parts;
    while (*at != NULL && (*at)->model->task != task) {
        at = &(*at)->next;
    }
    if (*at != NULL) {
        struct dinm_part *part = *at;
        *at = part->next;
        part_free(part);
    }
}

/* A part for layers [first, last) from an item that brought the texts. */
static int open_part(struct dinm_stage *stage, struct dinm_part **out, const struct dinm_item *item,
                     size_t first, size_t last, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_item_sequence *s = dinm_item_sequences(item);
    struct dinm_part *part = dinm_alloc(1, sizeof *part, "an edit", err);
    TRY(part != NULL ? DINM_OK : DINM_FAILED);
    part->model = dinm_item_like(item, DINM_ITEM_EDIT, 0, 0, err);
    TRY(part->model != NULL ? DINM_OK : DINM_FAILED);
    for (size_t i = 0; i < item->n_sequences; i++) {
        part->sequences[i] = (struct dinm_sequence){.n_rows = (size_t)s[i].n_rows};
        part->n_rows += (size_t)s[i].n_rows;
    }
    bool both = stage->settings->edit.constraint_grad;
    part->n_back = both ? part->n_rows : part->sequences[0].n_rows;
    part->first = first;
    part->last = last;
    TRY(dinm_tape_reserve(&part->tape, &stage->slice->config, first, last, part->n_rows, err));
    if (dinm_stage_is_last(stage)) {
        TRY(dinm_part_open_loss(stage, part, err));
    }
    part->next = stage->parts;
    stage->parts = part;
    *out = part;
    part = NULL;
out:
    if (part != NULL) {
        part_free(part);
    }
    return status;
}

/* Sends *item, which carries a failure, to the owner. */
static int report(struct dinm_stage *stage, struct dinm_item **item,
                  const struct dinm_error *failure, struct dinm_error *err)
{
    (*item)->kind = DINM_ITEM_BACK;
    (*item)->error = *failure;
    dinm_item_drop_rows(*item);
    return dinm_stage_send(stage, (int)(*item)->owner, item, err);
}

/* Rows through the part's layers, then on; from the last stage back to where they came from. */
static int run_up(struct dinm_stage *stage, struct dinm_part *part, struct dinm_item **item,
                  struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_slice *slice = stage->slice;
    const struct dinm_taps taps = {.after_layer = dinm_stage_between, .context = stage};
    struct dinm_rows rows = dinm_part_rows(part, false);
    struct dinm_item *back = NULL;
    TRY(dinm_workspace_reserve(&stage->ws, &slice->config, &rows, err));
    dinm_slice_forward(slice, dinm_item_rows(*item), &rows, part->first, part->last, part->tape,
                       &taps, stage->ws);
    if (!dinm_stage_is_last(stage)) {
        TRY(dinm_stage_send(stage, stage->ring.stage + 1, item, err));
        goto out;
    }
    TRY(dinm_part_take_loss(stage, part, *item, &back, err));
    free(*item);
    *item = back;
    back = NULL;
    TRY(dinm_stage_send(stage, stage->ring.stage, item, err)); /* as if it came from above */
out:
    free(back);
    return status;
}

/* Owner: the next step begins. */
static int begin_step(struct dinm_stage *stage, struct dinm_part *part, uint64_t step,
                      struct dinm_error *err)
{
    int status = DINM_OK;
    part->model->step = step;
    struct dinm_item *item = dinm_item_like(part->model, DINM_ITEM_STEP, 0, part->n_rows, err);
    TRY(item != NULL ? DINM_OK : DINM_FAILED);
    dinm_part_apply(stage, part, dinm_item_rows(item));
    TRY(run_up(stage, part, &item, err));
out:
    free(item);
    return status;
}

/* Owner: the edit is over, well or not. */
static int end_edit(struct dinm_stage *stage, struct dinm_part *part,
                    const struct dinm_error *failure, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_part_owner *o = &part->owner;
    const uint64_t task = part->model->task;
    struct dinm_item *result = dinm_item_like(part->model, DINM_ITEM_EDIT, 3 * o->n_losses, 0, err);
    TRY(result != NULL ? DINM_OK : DINM_FAILED);
    result->error = *failure;
    struct dinm_item *forget = dinm_item_new(DINM_ITEM_FORGET, (struct dinm_item_counts){0}, err);
    TRY(forget != NULL ? DINM_OK : DINM_FAILED);
    forget->task = task;
    TRY(dinm_stage_tell_on(stage, &forget, err));
    if (result->error.status == DINM_OK && dinm_part_check(part, &result->error) < 0) {
        result->own_failure = 1;
    }
    if (result->error.status == DINM_OK &&
        dinm_part_save(stage, part, &result->error) == DINM_OK) {
        struct dinm_edit edit = {.layer = (size_t)result->layer, .down = o->down};
        memcpy(dinm_item_values(result), o->losses, 3 * o->n_losses * sizeof *o->losses);
        result->step = o->n_losses;
        dinm_stage_keep_edit(stage, task, &edit, o->w, &result->error);
        o->w = NULL;
    }
    TRY(dinm_stage_finish(stage, &result, err));
out:
    free(result);
    forget_part(stage, task);
    return status;
}

/* Owner: a step's losses and gradient are here. */
static int end_step(struct dinm_stage *stage, struct dinm_part *part, struct dinm_item **item,
                    struct dinm_error *err)
{
    struct dinm_part_owner *o = &part->owner;
    struct dinm_item *back = *item;
    struct dinm_error failure = back->error;
    bool over = failure.status < 0 || back->n_rows == 0;
    if (failure.status == DINM_OK) {
        memcpy(o->losses + 3 * o->n_losses++, dinm_item_values(back), 3 * sizeof *o->losses);
    }
    if (!over) {
        dinm_part_learn(stage, part, dinm_item_rows(back), (int64_t)back->step);
        over = back->step >= (uint64_t)stage->settings->edit.steps;
    }
    if (!over && begin_step(stage, part, back->step + 1, &failure) < 0) {
        over = true;
    }
    free(back);
    *item = NULL;
    return over ? end_edit(stage, part, &failure, err) : DINM_OK;
}

int dinm_stage_back(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_error failure = {0};
    struct dinm_part *part = find_part(stage, (*item)->task);
    if (part == NULL) {
        free(*item); /* said twice: the edit has failed already */
        *item = NULL;
        return DINM_OK;
    }
    if ((*item)->n_rows > 0) {
        struct dinm_rows rows = dinm_part_rows(part, true);
        status = dinm_workspace_reserve(&stage->ws, &stage->slice->config, &rows, &failure);
        if (status < 0) {
            return report(stage, item, &failure, err);
        }
        dinm_slice_backward(stage->slice, dinm_item_rows(*item), &rows, part->first, part->last,
                            part->tape, NULL, stage->ws);
    }
    if (part->owner.is_owner) {
        return end_step(stage, part, item, err);
    }
    int to = (*item)->n_rows > 0 ? stage->ring.stage - 1 : (int)(*item)->owner;
    return dinm_stage_send(stage, to, item, err);
}

int dinm_stage_step(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err)
{
    const struct dinm_weights *w = &stage->slice->weights;
    struct dinm_error failure = {0};
    struct dinm_part *part = find_part(stage, (*item)->task);
    int status = DINM_OK;
    if (part == NULL) {
        status = open_part(stage, &part, *item, w->first, w->last, &failure);
    }
    if (status == DINM_OK) {
        status = run_up(stage, part, item, &failure);
    }
    if (status < 0) {
        return *item != NULL ? report(stage, item, &failure, err)
                             : dinm_fail(err, status, "%s", failure.text);
    }
    return DINM_OK;
}

int dinm_stage_edit(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_weights *w = &stage->slice->weights;
    const struct dinm_taps taps = {.after_layer = dinm_stage_between, .context = stage};
    size_t layer = (size_t)(*item)->layer;
    bool owner = layer >= w->first && layer < w->last;
    struct dinm_part *part = NULL;
    if (owner) {
        (*item)->owner = (uint64_t)stage->ring.stage;
    }
    /* Below the owner the part serves for its rows only. */
    TRY(open_part(stage, &part, *item, owner ? layer + 1 : w->last, w->last, err));
    struct dinm_rows rows = dinm_part_rows(part, false);
    TRY(dinm_workspace_reserve(&stage->ws, &stage->slice->config, &rows, err));
    if (dinm_stage_is_first(stage)) {
        TRY(dinm_stage_embed(stage, *item, &rows, err));
    }
    if (!owner) {
        dinm_slice_forward(stage->slice, dinm_item_rows(*item), &rows, w->first, w->last, NULL,
                           &taps, stage->ws);
        forget_part(stage, (*item)->task);
        return dinm_stage_pass_on(stage, item, err);
    }
    TRY(dinm_part_open_owner(stage, part, dinm_item_rows(*item), err));
    TRY(begin_step(stage, part, 1, err));
    free(*item);
    *item = NULL;
out:
    if (status < 0 && part != NULL) {
        forget_part(stage, (*item)->task);
    }
    return status;
}

int dinm_stage_forget(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err)
{
    forget_part(stage, (*item)->task);
    return dinm_stage_tell_on(stage, item, err);
}
