/* A batch to decode: a small model with edited matrices, and prompts that begin like others. */
#ifndef DINM_TESTS_DECODE_WORLD_H
#define DINM_TESTS_DECODE_WORLD_H

#include "edited_model.h"
#include "faults.h"
#include "pipeline/decode.h"

enum { N_POSITIONS = 48, N_REQUESTS = 70 };

struct world {
    struct edited_model model;
    int32_t ids[N_REQUESTS][N_POSITIONS];
    struct dinm_request requests[N_REQUESTS];
    struct dinm_generator g;
    size_t n_read, n_shared, n_late, cache_capacity; /* of the last generate() */
};

/* A prompt of its own, or an earlier one up to some token and then its own; some are all of an
 * earlier one, some are no more than its beginning. With any edit, or none; mixed: also where it
 * begins like another, which it mostly shares the edit with otherwise. */
static inline void make_prompt(struct world *w, size_t i, bool mixed, uint64_t seed)
{
    struct dinm_request *r = &w->requests[i];
    size_t like = pick(seed, 10 * i, i + 1), n = 1 + pick(seed, 10 * i + 1, N_POSITIONS);
    size_t n_like = 0;

    fill_ids(w->ids[i], N_POSITIONS, &w->model.config, seed + 1000 * i);
    if (like < i) {
        n_like = pick(seed, 10 * i + 2, w->requests[like].n_ids + 1);
        n_like = i % 5 == 0 ? w->requests[like].n_ids : n_like;
        n = i % 10 == 0 || i % 7 == 0 ? n_like : n;
        n = n > 0 ? n : 1;
        memcpy(w->ids[i], w->ids[like], n_like * sizeof *w->ids[i]);
    }
    *r = (struct dinm_request){.ids = w->ids[i],
                               .n_ids = n,
                               .edit = pick(seed, 10 * i + 3, w->model.n_edits + 1),
                               .max_new = pick(seed, 10 * i + 4, 12),
                               .stream = i};
    if (like < i && !mixed && i % 4 > 0) {
        r->edit = w->requests[like].edit;
    }
    r->edit_layer = r->edit > 0 ? w->model.edits[r->edit - 1].layer : 0;
}

/* Of a model that is open. */
static inline void make_requests(struct world *w, bool mixed, uint64_t seed)
{
    for (size_t i = 0; i < N_REQUESTS; i++) {
        make_prompt(w, i, mixed, seed);
    }
    w->g = (struct dinm_generator){.config = &w->model.config,
                                   .sampler = {.temperature = 1.3, .top_p = 1.0, .seed = 9},
                                   .max_sequences = 2 * N_REQUESTS,
                                   .max_rows = 1024};
}

static inline void world_close(struct world *w)
{
    dinm_generator_close(&w->g);
    edited_model_close(&w->model);
}

/* answers: [N_REQUESTS], empty before. */
static inline int generate(struct world *w, struct dinm_ids *answers, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_stage stage;

    TRY(edited_model_stage(&stage, &w->model, err));
    stage.sampler = w->g.sampler;
    TRY(dinm_generate(&w->g, &stage, w->requests, N_REQUESTS, answers, err));
    assert_int_equal(stage.n_caches, 0);
    w->n_read = (size_t)stage.n_prompt_read;
    w->n_shared = (size_t)stage.n_prompt_shared;
    w->n_late = (size_t)stage.n_prompt_late;
    w->cache_capacity = stage.cache_capacity;
out:
    dinm_stage_close(&stage);
    return status;
}

static inline void assert_same_answers(const struct dinm_ids *a, const struct dinm_ids *b)
{
    for (size_t i = 0; i < N_REQUESTS; i++) {
        if (a[i].n_ids != b[i].n_ids ||
            (a[i].n_ids > 0 && memcmp(a[i].ids, b[i].ids, a[i].n_ids * sizeof *a[i].ids) != 0)) {
            fail_msg("request %zu: another answer, of %zu and %zu tokens", i, a[i].n_ids,
                     b[i].n_ids);
        }
    }
}

static inline void free_answers(struct dinm_ids *answers)
{
    for (size_t i = 0; i < N_REQUESTS; i++) {
        dinm_ids_free(&answers[i]);
    }
}

static inline int generate_and_forget(void *world, struct dinm_error *err)
{
    struct dinm_ids answers[N_REQUESTS] = {{0}};
    int status = generate(world, answers, err);

    free_answers(answers);
    return status;
}

/* The first n requests, in few caches, with a run for each allocation, which fails. */
static inline void fail_each_of(struct world *w, size_t n)
{
    w->g.share_prefixes = true;
    w->g.max_sequences = 5;
    for (size_t i = n; i < N_REQUESTS; i++) {
        w->requests[i].max_new = 0;
    }
    fail_each_allocation(generate_and_forget, w);
}

#endif
