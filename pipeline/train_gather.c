/* The whole model's weights on rank 0, one tensor after another: never more than one tensor of the
 * other stages is held. */
#include <stdlib.h>

#include "pipeline/train_private.h"

static size_t n_floats(const struct dinm_param *p)
{
    return p->n_out * (p->n_in == 0 ? 1 : p->n_in);
}

int dinm_train_gather_open(struct dinm_train_gather *g, const struct dinm_train_model *m,
                           const struct dinm_train_kind *kind, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t largest = 0;
    *g = (struct dinm_train_gather){.model = m, .end = m->n_tensors};
    g->params = dinm_alloc(m->n_all_tensors, sizeof *g->params, "the list of tensors", err);
    TRY(g->params == NULL ? DINM_FAILED : DINM_OK);
    for (size_t i = 0; i < m->n_all_tensors; i++) {
        g->params[i] = kind->whole_param(m, i);
        largest = n_floats(&g->params[i]) > largest ? n_floats(&g->params[i]) : largest;
    }
    if (m->group->size > 1) {
        g->room = dinm_alloc(largest, sizeof *g->room, "a tensor of another stage", err);
        TRY(g->room == NULL ? DINM_FAILED : DINM_OK);
    }
    g->digester = dinm_digester_open(0, err);
    TRY(g->digester == NULL ? DINM_FAILED : DINM_OK);
out:
    return status;
}

void dinm_train_gather_close(struct dinm_train_gather *g)
{
    free(g->params);
    free(g->room);
    dinm_digester_close(g->digester);
    *g = (struct dinm_train_gather){0};
}

int dinm_train_gather_next(void *context, size_t i, const struct dinm_param *param,
                           const float **values, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_train_gather *g = context;
    const struct dinm_train_model *m = g->model;
    const size_t n_bytes = n_floats(param) * sizeof **values;
    if (i == g->end) {
        uint64_t n_tensors = 0;
        TRY(dinm_train_receive(m->group, ++g->stage, &n_tensors, sizeof n_tensors, err));
        g->end += (size_t)n_tensors;
    }
    if (g->stage > 0) {
        TRY(dinm_train_receive(m->group, g->stage, g->room, n_bytes, err));
    }
    *values = g->stage > 0 ? g->room : m->flat + param->offset; /* stage 0 begins with the first */
    dinm_digester_add(g->digester, *values, n_bytes);
    g->n_taken++;
out:
    return status;
}

int dinm_train_gather_rest(struct dinm_train_gather *g, struct dinm_error *err)
{
    int status = DINM_OK;
    const float *values;
    while (g->model->group->size > 1 && g->n_taken < g->model->n_all_tensors) {
        TRY(dinm_train_gather_next(g, g->n_taken, &g->params[g->n_taken], &values, err));
    }
out:
    return status;
}

int dinm_train_gather_send(const struct dinm_train_model *m, const struct dinm_train_kind *kind,
                           struct dinm_error *err)
{
    int status = DINM_OK;
    const uint64_t n_tensors = m->n_tensors;
    TRY(dinm_train_send(m->group, 0, &n_tensors, sizeof n_tensors, err));
    for (size_t i = 0; i < m->n_tensors; i++) {
        const struct dinm_param p = kind->param(m, i);
        TRY(dinm_train_send(m->group, 0, m->flat + p.offset, n_floats(&p) * sizeof *m->flat, err));
    }
out:
    return status;
}
