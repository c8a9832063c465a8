/* A small decoder with random weights and some edited matrices, as a decoding batch uses them. */
#ifndef DINM_TESTS_EDITED_MODEL_H
#define DINM_TESTS_EDITED_MODEL_H

#include "reference.h"
#include "pipeline/stage.h"

enum { MOST_EDITS = 6 };

struct edited_model {
    struct dinm_config config;
    float *flat;
    struct dinm_slice slice;
    size_t n_edits;
    float *downs[MOST_EDITS];
    struct dinm_edit edits[MOST_EDITS]; /* edit i is of layer i, and has the number i + 1 */
};

static inline void edited_model_open(struct edited_model *m, struct dinm_config config,
                                     size_t n_positions, size_t n_edits)
{
    *m = (struct edited_model){.config = config, .n_edits = n_edits};
    m->config.n_positions = n_positions;
    m->flat = random_flat(&m->config, 3);
    m->slice = flat_slice(&m->config, m->flat);
    for (size_t i = 0; i < n_edits; i++) {
        m->downs[i] = normals(m->config.d_model * m->config.d_ff, 0.5, 70 + i);
        m->edits[i] = (struct dinm_edit){.layer = i,
                                         .down = {.data = m->downs[i],
                                                  .dtype = DINM_F32,
                                                  .n_out = m->config.d_model,
                                                  .n_in = m->config.d_ff}};
    }
}

static inline void edited_model_close(struct edited_model *m)
{
    dinm_slice_close(&m->slice);
    for (size_t i = 0; i < m->n_edits; i++) {
        free(m->downs[i]);
    }
    free(m->flat);
}

/* A stage of its own that knows the edits by their numbers; to be closed also after a failure. */
static inline int edited_model_stage(struct dinm_stage *stage, const struct edited_model *m,
                                     struct dinm_error *err)
{
    int status = DINM_OK;

    dinm_stage_open(stage, &m->slice, NULL, MPI_COMM_NULL, 0, 1, 0);
    for (size_t i = 0; i < m->n_edits; i++) {
        TRY(dinm_stage_lend(stage, i + 1, &m->edits[i], err));
    }
out:
    return status;
}

#endif
