/* Unit tests of pipeline/generate.h and decode.h: an answer is its own affair, and where it ends.
 */
#include "edited_model.h"
#include "faults.h"
#include "pipeline/decode.h"

enum { N_POSITIONS = 40, N_REQUESTS = 23, N_EDITS = 3 };

/* A small model, edited matrices for it, and requests of all kinds. */
struct world {
    struct edited_model model;
    int32_t ids[N_REQUESTS][N_POSITIONS];
    struct dinm_request requests[N_REQUESTS];
};

static void world_open(struct world *w)
{
    edited_model_open(&w->model, small_config(false, 2), N_POSITIONS, N_EDITS);
    for (size_t i = 0; i < N_REQUESTS; i++) {
        fill_ids(w->ids[i], N_POSITIONS, &w->model.config, 100 + i);
        w->requests[i] = (struct dinm_request){.ids = w->ids[i],
                                               .n_ids = 1 + pick(5, i, N_POSITIONS),
                                               .edit = i % 4, /* 0: none */
                                               .max_new = pick(6, i, 20),
                                               .stream = 1000 + i};
    }
    w->requests[4].max_new = 0;
    w->requests[7].n_ids = N_POSITIONS;
    w->requests[7].max_new = 5;
}

static void world_close(struct world *w)
{
    edited_model_close(&w->model);
}

/* text: generation_config.json, or NULL for none. */
static int open_generator(struct dinm_generator *g, const struct world *w, const char *text,
                          enum dinm_decoding decoding, struct dinm_error *err)
{
    struct dinm_settings s = {0};
    struct dinm_error bad = {0};
    char *folder = new_folder();
    int status;

    assert_ok(dinm_settings_init(&s, DINM_PROFILE_PAPER, &bad), &bad);
    s.generate.decoding = decoding;
    s.generate.temperature = 0.75;
    s.generate.top_p = 0.5;
    s.generate.seed = 11;
    if (text) {
        free(write_text(folder, "generation_config.json", text));
    }
    status = dinm_generator_open(g, &w->model.config, NULL, &s, folder, err);
    dinm_settings_free(&s);
    remove_folder(folder);
    return status;
}

static struct dinm_generator greedy(const struct world *w)
{
    return (struct dinm_generator){.config = &w->model.config,
                                   .sampler = {.top_p = 1.0},
                                   .max_sequences = 64,
                                   .max_rows = 1024};
}

/* On a stage of its own that knows the world's edits by the numbers 1 to N_EDITS. */
static int generate(const struct world *w, const struct dinm_generator *g,
                    const struct dinm_request *requests, size_t n, struct dinm_ids *answers,
                    struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_stage stage;

    TRY(edited_model_stage(&stage, &w->model, err));
    stage.sampler = g->sampler;
    TRY(dinm_generate(g, &stage, requests, n, answers, err));
    assert_int_equal(stage.n_caches, 0);
out:
    dinm_stage_close(&stage);
    return status;
}

static struct dinm_ids answer_alone(const struct world *w, const struct dinm_generator *g,
                                    const struct dinm_request *r)
{
    struct dinm_ids answer = {0};
    struct dinm_error err = {0};

    assert_ok(generate(w, g, r, 1, &answer, &err), &err);
    return answer;
}

static void assert_same_ids(const struct dinm_ids *a, const struct dinm_ids *b, size_t request)
{
    if (a->n_ids != b->n_ids ||
        (a->n_ids > 0 && memcmp(a->ids, b->ids, a->n_ids * sizeof *a->ids) != 0)) {
        fail_msg("request %zu: another answer, of %zu and %zu tokens", request, a->n_ids, b->n_ids);
    }
}

/* All requests at once give what each gives alone. */
static void compare_batch(const struct world *w, struct dinm_generator *g,
                          const struct dinm_ids *alone)
{
    struct dinm_ids answers[N_REQUESTS] = {{0}};
    struct dinm_error err = {0};

    assert_ok(generate(w, g, w->requests, N_REQUESTS, answers, &err), &err);
    for (size_t i = 0; i < N_REQUESTS; i++) {
        assert_same_ids(&answers[i], &alone[i], i);
        dinm_ids_free(&answers[i]);
    }
}

static void check_batches(double temperature, int32_t eos)
{
    static const size_t n_sequences[] = {1, 3, 64}, n_rows[] = {1, 16, 1024};
    struct dinm_ids alone[N_REQUESTS];
    struct world w;
    struct dinm_generator g;

    world_open(&w);
    g = greedy(&w);
    g.sampler.temperature = temperature;
    if (eos >= 0) {
        assert_int_equal(dinm_ids_append(&g.eos, &eos, 1, NULL), DINM_OK);
    }
    for (size_t i = 0; i < N_REQUESTS; i++) {
        alone[i] = answer_alone(&w, &g, &w.requests[i]);
    }
    for (size_t i = 0; i < 9; i++) {
        g.max_sequences = n_sequences[i / 3];
        g.max_rows = n_rows[i % 3];
        compare_batch(&w, &g, alone);
    }
    for (size_t i = 0; i < N_REQUESTS; i++) {
        dinm_ids_free(&alone[i]);
    }
    dinm_generator_close(&g);
    world_close(&w);
}

static void an_answer_does_not_depend_on_the_others(void **state)
{
    (void)state;
    check_batches(0.0, -1);
    check_batches(0.0, 7);
    check_batches(1.3, -1);
    check_batches(1.3, 7);
}

/* The tokens of one request by a full forward pass for each: the largest logit, the lowest id. */
static void answers_follow_the_logits(void **state)
{
    struct world w;
    struct dinm_generator g;

    (void)state;
    world_open(&w);
    g = greedy(&w);
    for (size_t i = 0; i < N_REQUESTS; i++) {
        const struct dinm_request *r = &w.requests[i];
        struct dinm_ids answer = answer_alone(&w, &g, r);
        size_t room = N_POSITIONS - r->n_ids + 1;
        int32_t ids[N_POSITIONS + 1];
        float *logits = zeros(N_POSITIONS * w.model.config.n_vocab);

        assert_int_equal(answer.n_ids, r->max_new < room ? r->max_new : room);
        memcpy(ids, r->ids, r->n_ids * sizeof *ids);
        for (size_t k = 0; k < answer.n_ids; k++) {
            size_t n = r->n_ids + k, best = 0;
            const float *last = logits + (n - 1) * w.model.config.n_vocab;

            pass_whole(&w.model.slice, logits, ids, n,
                       r->edit > 0 ? &w.model.edits[r->edit - 1] : NULL);
            for (size_t v = 1; v < w.model.config.n_vocab; v++) {
                best = last[v] > last[best] ? v : best;
            }
            assert_int_equal(answer.ids[k], best);
            ids[n] = answer.ids[k];
        }
        free(logits);
        dinm_ids_free(&answer);
    }
    world_close(&w);
}

static void an_edit_changes_its_own_answer(void **state)
{
    struct world w;
    struct dinm_generator g;
    struct dinm_request r;
    struct dinm_ids plain;

    (void)state;
    world_open(&w);
    g = greedy(&w);
    r = (struct dinm_request){.ids = w.ids[0], .n_ids = 6, .max_new = 20};
    plain = answer_alone(&w, &g, &r);
    for (size_t i = 0; i < N_EDITS; i++) {
        struct dinm_ids edited;

        r.edit = i + 1;
        edited = answer_alone(&w, &g, &r);
        assert_int_equal(edited.n_ids, plain.n_ids);
        assert_memory_not_equal(edited.ids, plain.ids, plain.n_ids * sizeof *plain.ids);
        dinm_ids_free(&edited);
    }
    dinm_ids_free(&plain);
    world_close(&w);
}

static void the_end_of_text_ends(void **state)
{
    struct world w;
    struct dinm_generator g;
    struct dinm_request r;
    struct dinm_ids whole;

    (void)state;
    world_open(&w);
    g = greedy(&w);
    r = (struct dinm_request){.ids = w.ids[1], .n_ids = 4, .max_new = 12};
    whole = answer_alone(&w, &g, &r);
    assert_int_equal(whole.n_ids, 12);
    for (size_t k = 0; k < whole.n_ids; k++) {
        size_t first = 0;
        struct dinm_ids cut;
        const int32_t eos[] = {-5, whole.ids[k]};

        g.eos.n_ids = 0;
        assert_int_equal(dinm_ids_append(&g.eos, eos, 2, NULL), DINM_OK);
        while (whole.ids[first] != whole.ids[k]) {
            first++;
        }
        cut = answer_alone(&w, &g, &r);
        assert_int_equal(cut.n_ids, first);
        if (first > 0) {
            assert_memory_equal(cut.ids, whole.ids, first * sizeof *cut.ids);
        }
        dinm_ids_free(&cut);
    }
    dinm_ids_free(&whole);
    dinm_generator_close(&g);
    world_close(&w);
}

static void answers_are_appended(void **state)
{
    const int32_t before[] = {1, 2};
    struct world w;
    struct dinm_generator g;
    struct dinm_ids answer = {0};
    struct dinm_error err = {0};

    (void)state;
    world_open(&w);
    g = greedy(&w);
    assert_int_equal(dinm_ids_append(&answer, before, 2, NULL), DINM_OK);
    assert_ok(generate(&w, &g, &w.requests[4], 1, &answer, &err), &err);
    assert_int_equal(answer.n_ids, 2);
    assert_ok(generate(&w, &g, &w.requests[7], 1, &answer, &err), &err);
    assert_int_equal(answer.n_ids, 3); /* a full prompt: its last row still says one token */
    assert_memory_equal(answer.ids, before, sizeof before);
    assert_ok(generate(&w, &g, NULL, 0, NULL, &err), &err);
    dinm_ids_free(&answer);
    world_close(&w);
}

static void draws_depend_on_seed_and_stream(void **state)
{
    struct world w;
    struct dinm_generator g;
    struct dinm_request r;
    struct dinm_ids answers[4];

    (void)state;
    world_open(&w);
    g = greedy(&w);
    g.sampler.temperature = 1.5;
    r = (struct dinm_request){.ids = w.ids[2], .n_ids = 5, .max_new = 16, .stream = 1};
    answers[0] = answer_alone(&w, &g, &r);
    answers[1] = answer_alone(&w, &g, &r);
    r.stream = 2;
    answers[2] = answer_alone(&w, &g, &r);
    r.stream = 1;
    g.sampler.seed = 1;
    answers[3] = answer_alone(&w, &g, &r);
    assert_same_ids(&answers[0], &answers[1], 0);
    for (size_t i = 2; i < 4; i++) {
        assert_memory_not_equal(answers[0].ids, answers[i].ids, 16 * sizeof *answers[0].ids);
    }
    for (size_t i = 0; i < 4; i++) {
        dinm_ids_free(&answers[i]);
    }
    world_close(&w);
}

static void prompts_that_do_not_fit_are_errors(void **state)
{
    static const size_t wrong[] = {0, N_POSITIONS + 1};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct dinm_ids answers[N_REQUESTS] = {{0}};
        struct dinm_error err = {0};
        struct world w;
        struct dinm_generator g;
        int32_t ids[N_POSITIONS + 1] = {0};

        world_open(&w);
        g = greedy(&w);
        g.max_sequences = 3;
        w.requests[9].ids = ids;
        w.requests[9].n_ids = wrong[i];
        assert_failed(generate(&w, &g, w.requests, N_REQUESTS, answers, &err), DINM_FAILED, &err,
                      i == 0 ? "a prompt has 0 tokens" : "a prompt has 41 tokens");
        for (size_t k = 0; k < N_REQUESTS; k++) {
            dinm_ids_free(&answers[k]);
        }
        world_close(&w);
    }
}

static void settings_and_checkpoint_decide(void **state)
{
    static const char says[] = "{\"eos_token_id\": [7, 9], \"do_sample\": true,"
                               " \"temperature\": 0.25, \"top_p\": 0.125, \"top_k\": 3}";
    struct world w;
    struct dinm_generator g;
    struct dinm_error err = {0};

    (void)state;
    world_open(&w);
    assert_ok(open_generator(&g, &w, NULL, DINM_DECODE_CHECKPOINT, &err), &err);
    assert_int_equal(g.eos.n_ids, 0);
    assert_true(g.sampler.temperature == 0.0 && g.sampler.top_p == 1.0 && g.sampler.top_k == 0);
    dinm_generator_close(&g);
    assert_ok(open_generator(&g, &w, says, DINM_DECODE_CHECKPOINT, &err), &err);
    assert_int_equal(g.eos.n_ids, 2);
    assert_true(g.eos.ids[0] == 7 && g.eos.ids[1] == 9);
    assert_true(g.sampler.temperature == 0.25 && g.sampler.top_p == 0.125);
    assert_int_equal(g.sampler.top_k, 3);
    assert_int_equal(g.sampler.seed, 11);
    dinm_generator_close(&g);
    assert_ok(open_generator(&g, &w, says, DINM_DECODE_SAMPLE, &err), &err);
    assert_true(g.sampler.temperature == 0.75 && g.sampler.top_p == 0.5 && g.sampler.top_k == 0);
    assert_int_equal(g.eos.n_ids, 2);
    dinm_generator_close(&g);
    assert_ok(open_generator(&g, &w, says, DINM_DECODE_GREEDY, &err), &err);
    assert_true(g.sampler.temperature == 0.0);
    dinm_generator_close(&g);
    assert_ok(open_generator(&g, &w, "{\"eos_token_id\": 4, \"temperature\": 0.5}",
                             DINM_DECODE_CHECKPOINT, &err),
              &err);
    assert_true(g.sampler.temperature == 0.0); /* do_sample is off unless said */
    assert_true(g.eos.n_ids == 1 && g.eos.ids[0] == 4);
    dinm_generator_close(&g);
    dinm_generator_close(&g);
    world_close(&w);
}

static void bad_generation_configs_are_refused(void **state)
{
    static const struct {
        const char *text, *part;
    } bad[] = {{"{", "line 1"},
               {"{\"eos_token_id\": \"x\"}", "eos_token_id: expected token ids"},
               {"{\"eos_token_id\": [1, null]}", "eos_token_id: expected token ids"},
               {"{\"eos_token_id\": -1}", "eos_token_id: expected token ids"},
               {"{\"eos_token_id\": 2.5}", "eos_token_id: expected token ids"},
               {"{\"eos_token_id\": 4294967297}", "eos_token_id: expected token ids"},
               {"{\"do_sample\": 1}", "do_sample"},
               {"{\"top_k\": -1}", "top_k"},
               {"{\"do_sample\": true, \"temperature\": -1}", "temperature"},
               {"{\"do_sample\": true, \"top_p\": 0}", "top_p"},
               {"{\"do_sample\": true, \"top_p\": 1.5}", "top_p"}};
    struct world w;

    (void)state;
    world_open(&w);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct dinm_generator g;
        struct dinm_error err = {0};
        int status = open_generator(&g, &w, bad[i].text, DINM_DECODE_CHECKPOINT, &err);

        assert_failed(status, DINM_FAILED, &err, bad[i].part);
        assert_non_null(strstr(err.text, "generation_config.json"));
        assert_null(g.eos.ids);
    }
    world_close(&w);
}

static int generate_once(void *context, struct dinm_error *err)
{
    const struct world *w = context;
    const struct dinm_generator g = greedy(w);
    struct dinm_ids answers[5] = {{0}};
    int status = generate(w, &g, w->requests, 5, answers, err);

    for (size_t i = 0; i < 5; i++) {
        dinm_ids_free(&answers[i]);
    }
    return status;
}

static void memory_may_run_out(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    fail_each_allocation(generate_once, &w);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_does_not_depend_on_the_others),
        cmocka_unit_test(answers_follow_the_logits),
        cmocka_unit_test(an_edit_changes_its_own_answer),
        cmocka_unit_test(the_end_of_text_ends),
        cmocka_unit_test(answers_are_appended),
        cmocka_unit_test(draws_depend_on_seed_and_stream),
        cmocka_unit_test(prompts_that_do_not_fit_are_errors),
        cmocka_unit_test(settings_and_checkpoint_decide),
        cmocka_unit_test(bad_generation_configs_are_refused),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
