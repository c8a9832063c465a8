/* Unit tests of pipeline/prefix.h and of decoding that reads equal beginnings once: the same
 * answers as without, and exactly so many rows less. */
#include "decode_world.h"
#include "faults.h"
#include "pipeline/prefix.h"
#include "pipeline/stage_private.h"

static void world_open(struct world *w, struct dinm_config config, uint64_t seed)
{
    *w = (struct world){0};
    edited_model_open(&w->model, config, N_POSITIONS, 2);
    make_requests(w, false, seed);
    w->g.least_late = N_POSITIONS; /* nobody enters late: see test_decode_late */
}

/* The first n tokens of request i are those of an earlier one that is answered, too; whole: and so
 * is the rest. */
static bool is_known(const struct world *w, size_t i, size_t n, bool whole)
{
    const struct dinm_request *a = &w->requests[i];

    for (size_t k = 0; k < i; k++) {
        const struct dinm_request *b = &w->requests[k];

        if (b->max_new > 0 && a->edit == b->edit && b->n_ids >= n &&
            memcmp(a->ids, b->ids, n * sizeof *a->ids) == 0 && (!whole || b->n_ids == n)) {
            return true;
        }
    }
    return false;
}

/* Every distinct beginning once; of equal prompts the last token each time. */
static size_t count_rows(const struct world *w, size_t *n_all)
{
    size_t n_rows = 0;

    *n_all = 0;
    for (size_t i = 0; i < N_REQUESTS; i++) {
        const struct dinm_request *r = &w->requests[i];

        for (size_t n = 1; r->max_new > 0 && n <= r->n_ids; n++) {
            n_rows += !is_known(w, i, n, false) || (n == r->n_ids && is_known(w, i, n, true));
            (*n_all)++;
        }
    }
    return n_rows;
}

static void check_sharing(struct dinm_config config, uint64_t seed, int32_t eos)
{
    static const size_t n_sequences[] = {1, 3, 64}, n_rows[] = {1, 7, 1024};
    struct dinm_ids plain[N_REQUESTS] = {{0}};
    struct dinm_error err = {0};
    struct world w;
    size_t n_all, n_distinct;

    world_open(&w, config, seed);
    assert_int_equal(dinm_ids_append(&w.g.eos, &eos, 1, NULL), DINM_OK);
    n_distinct = count_rows(&w, &n_all);
    assert_true(n_distinct < n_all * 3 / 4); /* there is something to share */
    assert_ok(generate(&w, plain, &err), &err);
    assert_int_equal(w.n_read, n_all);
    assert_int_equal(w.n_shared, 0);
    w.g.share_prefixes = true;
    for (size_t i = 0; i < 9; i++) {
        struct dinm_ids answers[N_REQUESTS] = {{0}};

        w.g.max_sequences = n_sequences[i / 3];
        w.g.max_rows = n_rows[i % 3];
        assert_ok(generate(&w, answers, &err), &err);
        assert_same_answers(answers, plain);
        assert_int_equal(w.n_read, n_distinct);
        assert_int_equal(w.n_read + w.n_shared, n_all);
        free_answers(answers);
    }
    free_answers(plain);
    world_close(&w);
}

static void equal_beginnings_are_read_once(void **state)
{
    struct dinm_config window = small_config(false, 2);

    (void)state;
    window.window = 5;
    window.window_first = 1;
    for (uint64_t seed = 1; seed < 4; seed++) {
        check_sharing(small_config(false, 2), seed, -1);
        check_sharing(small_config(false, 4), seed + 10, 7);
        check_sharing(window, seed + 20, 7);
        check_sharing(gpt2_config(), seed + 30, -1);
    }
}

/* Sorted, and each with the longest beginning that any before it has. */
static void the_neighbour_begins_most_alike(void **state)
{
    struct world w;
    struct dinm_prefix places[N_REQUESTS];

    (void)state;
    world_open(&w, small_config(false, 2), 5);
    for (size_t i = 0; i < N_REQUESTS; i++) {
        places[i] = (struct dinm_prefix){.request = &w.requests[i]};
    }
    dinm_prefix_find(places, N_REQUESTS);
    assert_int_equal(places[0].n_shared, 0);
    for (size_t i = 1; i < N_REQUESTS; i++) {
        const struct dinm_request *r = places[i].request;
        size_t most = 0;

        assert_true(r->edit >= places[i - 1].request->edit);
        for (size_t k = 0; k < i; k++) {
            const struct dinm_request *b = places[k].request;
            size_t n = 0;

            while (b->edit == r->edit && n + 1 < r->n_ids && n < b->n_ids &&
                   r->ids[n] == b->ids[n]) {
                n++;
            }
            most = n > most ? n : most;
        }
        assert_int_equal(places[i].n_shared, most);
    }
    dinm_prefix_find(places, 0);
    world_close(&w);
}

/* One prompt with every edit: nothing is common. */
static void edits_are_not_mixed(void **state)
{
    struct dinm_request requests[3];
    struct dinm_prefix places[3];
    const int32_t ids[] = {5, 6, 7};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        requests[i] = (struct dinm_request){.ids = ids, .n_ids = 3, .edit = 2 - i};
        places[i] = (struct dinm_prefix){.request = &requests[i]};
    }
    dinm_prefix_find(places, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(places[i].request->edit, i);
        assert_int_equal(places[i].n_shared, 0);
    }
}

/* Never more caches than sequences may be open, and one. */
static void caches_stay_few(void **state)
{
    struct dinm_ids answers[N_REQUESTS] = {{0}};
    struct dinm_error err = {0};
    struct world w;

    (void)state;
    world_open(&w, small_config(false, 2), 6);
    w.g.share_prefixes = true;
    w.g.max_sequences = 15;
    w.g.max_rows = 16;
    for (size_t i = 0; i < N_REQUESTS; i++) {
        w.requests[i].max_new = 1; /* answered while the rows of others have to wait */
    }
    assert_ok(generate(&w, answers, &err), &err);
    assert_int_equal(w.cache_capacity, 16); /* room for so many at first */
    free_answers(answers);
    world_close(&w);
}

/* Bits of states, keys and values of a sequence whose first n positions are copied: together with
 * the sequence that they come from, or behind it. */
static void compare_bits(const struct world *w, size_t n, bool together)
{
    enum { N = 30 };
    const struct dinm_config *c = &w->model.config;
    const size_t d = c->d_model, n_kv = c->n_layers * N_POSITIONS * c->n_kv_heads * c->d_head;
    struct dinm_kv kv[3];
    struct dinm_error err = {0};
    int32_t ids[2 * N];
    float *x = zeros(2 * N * d), *y = zeros(N * d), *logits = zeros(2 * N * c->n_vocab);

    for (size_t i = 0; i < 3; i++) {
        assert_ok(dinm_kv_init(&kv[i], c, DINM_F32, c->n_layers, N_POSITIONS, &err), &err);
    }
    fill_ids(ids, 2 * N, c, 77);
    memcpy(ids + N, ids, n * sizeof *ids);
    const struct dinm_sequence alone = {.n_rows = N, .kv = &kv[2]};
    pass(&w->model.slice, logits, y, ids + N, &(struct dinm_rows){&alone, 1, N}, NULL);
    kv[1].n_tokens = n;
    memmove(ids + N, ids + N + n, (N - n) * sizeof *ids);
    struct dinm_sequence both[2] = {{.n_rows = N, .kv = &kv[0]},
                                    {.n_rows = N - n, .kv = &kv[1], .from = &kv[0]}};
    if (together) {
        pass(&w->model.slice, logits, x, ids, &(struct dinm_rows){both, 2, 2 * N - n}, NULL);
    } else {
        pass(&w->model.slice, logits, x, ids, &(struct dinm_rows){both, 1, N}, NULL);
        pass(&w->model.slice, logits, x + N * d, ids + N, &(struct dinm_rows){both + 1, 1, N - n},
             NULL);
    }
    assert_same_bits(x + N * d, y + n * d, (N - n) * d);
    assert_same_bits(kv[1].k, kv[2].k, n_kv);
    assert_same_bits(kv[1].v, kv[2].v, n_kv);
    for (size_t i = 0; i < 3; i++) {
        dinm_kv_free(&kv[i]);
    }
    free(x);
    free(y);
    free(logits);
}

static void copied_positions_are_the_same_bits(void **state)
{
    struct world w;

    (void)state;
    world_open(&w, small_config(false, 2), 8);
    w.model.config.window = w.model.slice.config.window = 6;
    for (size_t n = 1; n < 30; n++) {
        compare_bits(&w, n, false);
        compare_bits(&w, n, true);
    }
    world_close(&w);
}

/* What comes back of an item whose second sequence copies n positions of slot `from`; the first
 * holds 4 rows. */
static void ask_copy(struct dinm_stage *stage, uint64_t from, uint64_t n, const char *part)
{
    struct dinm_item_counts counts = {.n_sequences = 2, .n_ids = 6, .n_rows = 6, .width = 20};
    struct dinm_error err = {0};
    struct dinm_item *item = dinm_item_new(DINM_ITEM_READ, counts, &err), *back;

    assert_non_null(item);
    dinm_item_sequences(item)[0] =
        (struct dinm_item_sequence){.n_rows = 4, .slot = stage->n_slots, .capacity = 9};
    dinm_item_sequences(item)[1] = (struct dinm_item_sequence){.n_rows = 2,
                                                               .slot = stage->n_slots + 1,
                                                               .capacity = 9,
                                                               .from = stage->n_slots + from,
                                                               .n_from = n};
    stage->n_slots += 2;
    assert_ok(dinm_stage_ask(stage, item, &err), &err);
    assert_ok(dinm_stage_result(stage, &back, &err), &err);
    assert_int_equal(back->error.status, part == NULL ? DINM_OK : DINM_FAILED);
    assert_non_null(strstr(back->error.text, part == NULL ? "" : part));
    free(back);
}

static void what_is_not_there_is_not_copied(void **state)
{
    struct dinm_error err = {0};
    struct dinm_stage stage;
    struct world w;

    (void)state;
    world_open(&w, small_config(false, 2), 8);
    assert_ok(edited_model_stage(&stage, &w.model, &err), &err);
    ask_copy(&stage, 0, 4, NULL);
    ask_copy(&stage, 0, 5, "begin like another of 5 positions; that has 4");
    ask_copy(&stage, 99, 3, "begin like another of 3 positions; that has 0");
    ask_copy(&stage, 0, 8, "outgrown its cache of 9 positions");
    dinm_stage_close(&stage);
    world_close(&w);
}

static void memory_may_run_out(void **state)
{
    struct world w;

    (void)state;
    world_open(&w, small_config(false, 2), 4);
    fail_each_of(&w, 12);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_beginnings_are_read_once),
        cmocka_unit_test(the_neighbour_begins_most_alike),
        cmocka_unit_test(edits_are_not_mixed),
        cmocka_unit_test(caches_stay_few),
        cmocka_unit_test(copied_positions_are_the_same_bits),
        cmocka_unit_test(what_is_not_there_is_not_copied),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
