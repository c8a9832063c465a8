/* Unit tests of decoding where prompts with different edits begin alike: below the entry layer the
 * beginning is read once, and everything is the same as without. */
#include "edited_model.h"
#include "faults.h"
#include "pipeline/decode.h"
#include "pipeline/prefix.h"
#include "pipeline/stage_private.h"

enum { N_LAYERS = 5, N_POSITIONS = 48, N_REQUESTS = 70, N_EDITS = MOST_EDITS };

/* A small model, edited matrices of several of its layers, and prompts that begin like others. */
struct world {
    struct edited_model model;
    int32_t ids[N_REQUESTS][N_POSITIONS];
    struct dinm_request requests[N_REQUESTS];
    struct dinm_generator g;
    struct dinm_stage stage; /* of the last generate(), closed */
    size_t cache_capacity;
};

/* A prompt of its own, or an earlier one up to some token and then its own; some are all of an
 * earlier one, some are no more than its beginning. With any edit, or none. */
static void make_prompt(struct world *w, size_t i, uint64_t seed)
{
    struct dinm_request *r = &w->requests[i];
    size_t like = pick(seed, 10 * i, i + 1), n = 1 + pick(seed, 10 * i + 1, N_POSITIONS);
    size_t n_like = 0;

    fill_ids(w->ids[i], N_POSITIONS, &w->model.config, seed + 1000 * i);
    if (like < i) {
        n_like = pick(seed, 10 * i + 2, w->requests[like].n_ids + 1);
        n_like = i % 4 == 0 ? w->requests[like].n_ids : n_like;
        n = i % 8 == 0 || i % 7 == 0 ? n_like : n;
        n = n > 0 ? n : 1;
        memcpy(w->ids[i], w->ids[like], n_like * sizeof *w->ids[i]);
    }
    *r = (struct dinm_request){.ids = w->ids[i],
                               .n_ids = n,
                               .edit = pick(seed, 10 * i + 3, N_EDITS + 1),
                               .max_new = pick(seed, 10 * i + 4, 12),
                               .stream = i};
    r->edit_layer = r->edit > 0 ? w->model.edits[r->edit - 1].layer : 0;
}

/* lowest: of the edited layers; they are in no order. */
static void world_open(struct world *w, struct dinm_config config, size_t lowest, uint64_t seed)
{
    *w = (struct world){0};
    config.n_layers = N_LAYERS;
    edited_model_open(&w->model, config, N_POSITIONS, N_EDITS);
    for (size_t i = 0; i < N_EDITS; i++) {
        w->model.edits[i].layer = lowest + (3 * i + seed) % (N_LAYERS - lowest);
    }
    for (size_t i = 0; i < N_REQUESTS; i++) {
        make_prompt(w, i, seed);
    }
    w->g = (struct dinm_generator){.config = &w->model.config,
                                   .sampler = {.temperature = 1.3, .top_p = 1.0, .seed = 9},
                                   .max_sequences = 2 * N_REQUESTS,
                                   .max_rows = 1024};
}

static void world_close(struct world *w)
{
    dinm_generator_close(&w->g);
    edited_model_close(&w->model);
}

/* answers: [N_REQUESTS], empty before. */
static int generate(struct world *w, struct dinm_ids *answers, struct dinm_error *err)
{
    int status = DINM_OK;

    TRY(edited_model_stage(&w->stage, &w->model, err));
    w->stage.sampler = w->g.sampler;
    TRY(dinm_generate(&w->g, &w->stage, w->requests, N_REQUESTS, answers, err));
    assert_int_equal(w->stage.n_caches, 0);
out:
    w->cache_capacity = w->stage.cache_capacity;
    struct dinm_stage counts = {.n_prompt_read = w->stage.n_prompt_read,
                                .n_prompt_shared = w->stage.n_prompt_shared,
                                .n_prompt_late = w->stage.n_prompt_late};
    dinm_stage_close(&w->stage);
    w->stage = counts;
    return status;
}

static size_t n_equal(const struct dinm_request *a, const struct dinm_request *b)
{
    size_t n = 0;

    while (n < a->n_ids && n < b->n_ids && a->ids[n] == b->ids[n]) {
        n++;
    }
    return n;
}

static size_t layer_of(const struct dinm_request *r)
{
    return r->edit > 0 ? r->edit_layer : N_LAYERS;
}

/* Most tokens but its last that request i has in common with one that is answered and comes before
 * it: with the same edit, or of those that have another and share layers below `entry`. */
static size_t most_common(const struct world *w, size_t i, bool same, size_t entry)
{
    const struct dinm_request *r = &w->requests[i];
    size_t most = 0;

    for (size_t k = 0; k < N_REQUESTS; k++) {
        const struct dinm_request *other = &w->requests[k];
        bool fits = same
                        ? other->edit == r->edit && k < i
                        : other->edit < r->edit && layer_of(other) >= entry && layer_of(r) >= entry;

        if (other->max_new > 0 && fits && n_equal(r, other) > most) {
            most = n_equal(r, other);
        }
    }
    return most < r->n_ids ? most : r->n_ids - 1;
}

struct counts {
    size_t all, shared, late;
};

/* What there is to share; requests of one edit in the order in which they come. */
static struct counts count_rows(const struct world *w, size_t entry, size_t least)
{
    struct counts n = {0};
    struct dinm_prefix places[N_REQUESTS];
    size_t n_places = 0;

    for (size_t i = 0; i < N_REQUESTS; i++) {
        if (w->requests[i].max_new > 0) {
            places[n_places++] = (struct dinm_prefix){.request = &w->requests[i]};
        }
    }
    dinm_prefix_find(places, n_places);
    for (size_t i = 0; i < n_places; i++) {
        size_t number = (size_t)(places[i].request - w->requests);
        size_t n_late = most_common(w, number, false, entry);

        n.all += places[i].request->n_ids;
        n.shared += places[i].n_shared;
        n_late -= n_late > places[i].n_shared ? places[i].n_shared : n_late;
        n.late += n_late >= least ? n_late : 0;
    }
    return n;
}

/* The edited layer that most layers' rows are saved below. */
static size_t best_entry(const struct world *w, size_t least)
{
    size_t best = N_LAYERS, most = 0;

    for (size_t layer = 1; layer < N_LAYERS; layer++) {
        bool edited = false;

        for (size_t i = 0; i < N_REQUESTS; i++) {
            edited |= w->requests[i].max_new > 0 && w->requests[i].edit > 0 &&
                      w->requests[i].edit_layer == layer;
        }
        if (edited && layer * count_rows(w, layer, least).late > most) {
            best = layer;
            most = layer * count_rows(w, layer, least).late;
        }
    }
    return best;
}

static void assert_same_answers(const struct dinm_ids *a, const struct dinm_ids *b)
{
    for (size_t i = 0; i < N_REQUESTS; i++) {
        if (a[i].n_ids != b[i].n_ids ||
            (a[i].n_ids > 0 && memcmp(a[i].ids, b[i].ids, a[i].n_ids * sizeof *a[i].ids) != 0)) {
            fail_msg("request %zu: another answer, of %zu and %zu tokens", i, a[i].n_ids,
                     b[i].n_ids);
        }
    }
}

static void free_answers(struct dinm_ids *answers)
{
    for (size_t i = 0; i < N_REQUESTS; i++) {
        dinm_ids_free(&answers[i]);
    }
}

static void check_sharing(struct dinm_config config, size_t lowest, uint64_t seed, int32_t eos,
                          size_t least)
{
    static const size_t n_sequences[] = {1, 3, 9, 2 * N_REQUESTS}, n_rows[] = {1, 7, 60, 1024};
    struct dinm_ids plain[N_REQUESTS] = {{0}};
    struct dinm_error err = {0};
    struct world w;

    world_open(&w, config, lowest, seed);
    assert_int_equal(dinm_ids_append(&w.g.eos, &eos, 1, NULL), DINM_OK);
    const struct counts n = count_rows(&w, best_entry(&w, least), least);
    w.g.least_late = least;

    assert_true(n.late > n.all / 10); /* there is something to share */
    assert_ok(generate(&w, plain, &err), &err);
    assert_int_equal(w.stage.n_prompt_read, n.all);
    assert_int_equal(w.stage.n_prompt_late, 0);
    w.g.share_prefixes = true;
    for (size_t i = 0; i < 16; i++) {
        struct dinm_ids answers[N_REQUESTS] = {{0}};

        w.g.max_sequences = n_sequences[i / 4];
        w.g.max_rows = n_rows[i % 4];
        assert_ok(generate(&w, answers, &err), &err);
        assert_same_answers(answers, plain);
        assert_int_equal(w.stage.n_prompt_shared, n.shared);
        assert_int_equal(w.stage.n_prompt_read + w.stage.n_prompt_shared + w.stage.n_prompt_late,
                         n.all);
        if (w.g.max_sequences > N_REQUESTS) {
            assert_int_equal(w.stage.n_prompt_late, n.late); /* all lenders are still there */
        }
        free_answers(answers);
    }
    free_answers(plain);
    world_close(&w);
}

static void the_lower_layers_read_once(void **state)
{
    struct dinm_config window = small_config(false, 2);

    (void)state;
    window.window = 5;
    window.window_first = 1;
    check_sharing(small_config(false, 2), 1, 1, -1, 0);
    check_sharing(small_config(false, 4), 3, 12, 7, 4);
    check_sharing(small_config(false, 2), 0, 3, -1, 9);
    check_sharing(window, 2, 22, 7, 0);
    check_sharing(gpt2_config(), 1, 31, -1, 0);
}

/* The layer that saves most, and the longest beginning that any later one with another edit has. */
static void the_entry_saves_most(void **state)
{
    struct dinm_error err = {0};

    (void)state;
    for (uint64_t seed = 1; seed < 6; seed++) {
        struct world w;
        struct dinm_prefix places[N_REQUESTS];
        size_t n = 0, entry, least = 3 * (seed - 1);

        world_open(&w, small_config(false, 2), seed % 3, seed);
        for (size_t i = 0; i < N_REQUESTS; i++) {
            if (w.requests[i].max_new > 0) {
                places[n++] = (struct dinm_prefix){.request = &w.requests[i]};
            }
        }
        dinm_prefix_find(places, n);
        assert_ok(dinm_prefix_find_entry(places, n, N_LAYERS, least, &entry, &err), &err);
        assert_int_equal(entry, best_entry(&w, least));
        for (size_t i = 0; i < n; i++) {
            size_t most = 0;

            for (size_t k = i + 1; k < n && layer_of(places[i].request) >= entry; k++) {
                size_t n_common = n_equal(places[i].request, places[k].request);

                if (places[k].request->edit != places[i].request->edit &&
                    layer_of(places[k].request) >= entry && n_common > most) {
                    most = n_common;
                }
            }
            assert_int_equal(places[i].n_kept, most);
        }
        world_close(&w);
    }
}

/* One prompt with edits of some layers. Nothing is below layer 0; what is edited too low goes its
 * own way; nobody lends to nobody. */
static void edits_below_do_not_enter(void **state)
{
    static const struct {
        size_t layers[3], entry, n_kept[3];
    } sets[] = {{{0, 0, 0}, N_LAYERS, {0, 0, 0}},
                {{0, 3, 4}, 3, {0, 6, 0}},
                {{3, 3, 1}, 3, {6, 0, 0}},
                {{2, 4, 3}, 2, {6, 6, 0}},
                {{4, 0, 0}, N_LAYERS, {0, 0, 0}}};
    struct dinm_request requests[3];
    struct dinm_prefix places[3];
    struct dinm_error err = {0};
    const int32_t ids[] = {5, 6, 7, 8, 9, 10};
    size_t entry;

    (void)state;
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
        for (size_t i = 0; i < 3; i++) {
            requests[i] = (struct dinm_request){
                .ids = ids, .n_ids = 6, .edit = i + 1, .edit_layer = sets[s].layers[i]};
            places[i] = (struct dinm_prefix){.request = &requests[i]};
        }
        dinm_prefix_find(places, 3);
        assert_ok(dinm_prefix_find_entry(places, 3, N_LAYERS, 0, &entry, &err), &err);
        assert_int_equal(entry, sets[s].entry);
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(places[i].n_kept, sets[s].n_kept[i]);
        }
    }
    assert_ok(dinm_prefix_find_entry(places, 0, N_LAYERS, 0, &entry, &err), &err);
    assert_int_equal(entry, N_LAYERS);
}

/* One READ item on its way and back; late sequences come last. What is wrong has `part` in it. */
static void ask(struct dinm_stage *stage, size_t entry, const struct dinm_item_sequence *sequences,
                size_t n, const int32_t *const *ids, const char *part)
{
    struct dinm_item_counts counts = {.n_sequences = n, .width = stage->slice->config.d_model};
    struct dinm_error err = {0};
    struct dinm_item *item, *back;
    int32_t *to;

    for (size_t i = 0; i < n; i++) {
        counts.n_rows += (size_t)sequences[i].n_rows;
    }
    counts.n_ids = counts.n_rows;
    item = dinm_item_new(DINM_ITEM_READ, counts, &err);
    assert_non_null(item);
    item->layer = entry;
    memcpy(dinm_item_sequences(item), sequences, n * sizeof *sequences);
    to = dinm_item_ids(item);
    for (size_t i = 0; i < n; to += sequences[i++].n_rows) {
        memcpy(to, ids[i], (size_t)sequences[i].n_rows * sizeof *to);
    }
    assert_ok(dinm_stage_ask(stage, item, &err), &err);
    assert_ok(dinm_stage_result(stage, &back, &err), &err);
    assert_non_null(strstr(back->error.text, part == NULL ? "" : part));
    assert_int_equal(back->error.status, part == NULL ? DINM_OK : DINM_FAILED);
    free(back);
}

enum { N_PROMPT = 12, N_OTHER = 600, OTHER = 99 };

/* A sequence's rows [begin, end) in pieces, beside one row of another prompt each time. */
static void read_rows(struct dinm_stage *stage, size_t entry, struct dinm_item_sequence s,
                      const int32_t *ids, size_t begin, size_t end, size_t piece)
{
    const int32_t other = 3;
    struct dinm_item_sequence both[2] = {{.n_rows = 1, .slot = OTHER, .capacity = N_OTHER}};

    s.capacity = N_PROMPT;
    for (size_t at = begin; at < end; at += piece) {
        const int32_t *const pieces[] = {&other, ids + at};

        s.n_rows = end - at < piece ? end - at : piece;
        both[1] = s;
        ask(stage, entry, both, 2, pieces, NULL);
        s.n_from = 0;
    }
}

static void assert_same_keys(const struct dinm_stage *stage, uint64_t a, uint64_t b)
{
    const struct dinm_kv *x = &dinm_stage_find_cache(stage, a)->kv;
    const struct dinm_kv *y = &dinm_stage_find_cache(stage, b)->kv;
    size_t n = x->n_layers * x->n_heads * x->capacity * x->d_head;

    assert_int_equal(x->n_tokens, N_PROMPT);
    assert_int_equal(y->n_tokens, N_PROMPT);
    assert_same_bits(x->k, y->k, n);
    assert_same_bits(x->v, y->v, n);
}

/* One prompt with two edits read plainly, and with rows that enter late: lent by a sequence of
 * another edit that goes on otherwise, by one that entered late itself, and by one that copied its
 * beginning and entered late behind that. All keys and values are the same bits. */
static void compare_keys(const struct world *w, size_t entry, size_t n_late, size_t piece)
{
    enum { PLAIN_1, PLAIN_2, LENDER, LATE_1, LATE_2, COPIED_1, LATE_3 };
    struct dinm_error err = {0};
    struct dinm_stage stage;
    int32_t ids[N_PROMPT], others[N_PROMPT];
    size_t n_from = n_late / 2, n = N_PROMPT;
    struct dinm_item_sequence s = {.edit = 1};

    fill_ids(ids, N_PROMPT, &w->model.config, 5);
    fill_ids(others, N_PROMPT, &w->model.config, 6);
    memcpy(others, ids, n_late * sizeof *ids);
    assert_ok(edited_model_stage(&stage, &w->model, &err), &err);
    for (uint64_t edit = 1; edit <= 2; edit++) {
        s = (struct dinm_item_sequence){.slot = edit == 1 ? PLAIN_1 : PLAIN_2, .edit = edit};
        read_rows(&stage, N_LAYERS, s, ids, 0, n, n);
    }
    s = (struct dinm_item_sequence){.slot = LENDER, .edit = 3, .n_kept = n_late};
    read_rows(&stage, entry, s, others, 0, n, piece);
    s = (struct dinm_item_sequence){
        .slot = LATE_1, .edit = 1, .n_kept = n_late, .late = 1, .lender = LENDER};
    read_rows(&stage, entry, s, ids, 0, n_late, piece);
    s.late = 0;
    read_rows(&stage, entry, s, ids, n_late, n, piece);
    s = (struct dinm_item_sequence){.slot = LATE_2, .edit = 2, .late = 1, .lender = LATE_1};
    read_rows(&stage, entry, s, ids, 0, n_late, piece);
    s.late = 0;
    read_rows(&stage, entry, s, ids, n_late, n, piece);
    s = (struct dinm_item_sequence){.slot = COPIED_1,
                                    .edit = 1,
                                    .n_kept = n_late,
                                    .from = LATE_1,
                                    .n_from = n_from,
                                    .late = 1,
                                    .lender = LENDER};
    read_rows(&stage, entry, s, ids, n_from, n_late, piece);
    s.late = s.n_from = 0;
    read_rows(&stage, entry, s, ids, n_late, n, piece);
    s = (struct dinm_item_sequence){.slot = LATE_3, .edit = 2, .late = 1, .lender = COPIED_1};
    read_rows(&stage, entry, s, ids, 0, n_late, n);
    s.late = 0;
    read_rows(&stage, entry, s, ids, n_late, n, n);
    assert_same_keys(&stage, LATE_1, PLAIN_1);
    assert_same_keys(&stage, COPIED_1, PLAIN_1);
    assert_same_keys(&stage, LATE_2, PLAIN_2);
    assert_same_keys(&stage, LATE_3, PLAIN_2);
    dinm_stage_close(&stage);
}

static void late_rows_are_the_same_bits(void **state)
{
    struct world w;

    (void)state;
    for (size_t entry = 1; entry < N_LAYERS; entry++) {
        world_open(&w, small_config(false, 2), 0, 8);
        w.model.edits[0].layer = entry;
        w.model.edits[1].layer = N_LAYERS - 1;
        w.model.edits[2].layer = entry;
        for (size_t n_late = 1; n_late < N_PROMPT; n_late++) {
            compare_keys(&w, entry, n_late, 1);
            compare_keys(&w, entry, n_late, 4);
            compare_keys(&w, entry, n_late, N_PROMPT);
        }
        world_close(&w);
    }
}

/* Until an item says that nobody wants them any more. */
static void rows_are_kept_for_a_while(void **state)
{
    const int32_t ids[] = {1, 2, 3, 4}, *const all[] = {ids};
    struct dinm_item_sequence s = {.n_rows = 4, .slot = 1, .capacity = 9, .n_kept = 3};
    struct dinm_error err = {0};
    struct dinm_stage stage;
    struct world w;

    (void)state;
    world_open(&w, small_config(false, 2), 0, 8);
    assert_ok(edited_model_stage(&stage, &w.model, &err), &err);
    ask(&stage, N_LAYERS, &s, 1, all, NULL); /* by another stage */
    assert_int_equal(dinm_stage_find_cache(&stage, 1)->n_kept, 0);
    s.slot = 2;
    ask(&stage, 2, &s, 1, all, NULL);
    s.n_rows = 1;
    ask(&stage, 2, &s, 1, all, NULL);
    assert_int_equal(dinm_stage_find_cache(&stage, 2)->n_kept, 3);
    assert_non_null(dinm_stage_find_cache(&stage, 2)->kept);
    s.n_kept = 0;
    ask(&stage, N_LAYERS, &s, 1, all, NULL);
    assert_int_equal(dinm_stage_find_cache(&stage, 2)->n_kept, 0);
    assert_null(dinm_stage_find_cache(&stage, 2)->kept);
    dinm_stage_close(&stage);
    world_close(&w);
}

static void what_is_not_there_is_not_lent(void **state)
{
    const int32_t ids[] = {1, 2, 3, 4}, *const all[] = {ids, ids};
    struct dinm_error err = {0};
    struct dinm_stage stage;
    struct world w;
    struct dinm_item_sequence s[2] = {{.n_rows = 4, .slot = 1, .capacity = 4, .n_kept = 3}};

    (void)state;
    world_open(&w, small_config(false, 2), 0, 8);
    assert_ok(edited_model_stage(&stage, &w.model, &err), &err);
    ask(&stage, 2, s, 1, all, NULL);
    s[0] =
        (struct dinm_item_sequence){.n_rows = 4, .slot = 2, .capacity = 9, .late = 1, .lender = 1};
    ask(&stage, 2, s, 1, all, "enter late with 4 rows of another; that lends 3");
    s[0].slot = 3;
    s[0].n_rows = 3;
    ask(&stage, 2, s, 1, all, NULL);
    s[0].slot = 4;
    s[0].lender = 77;
    ask(&stage, 2, s, 1, all, "enter late with 3 rows of another; that lends 0");
    s[0] = (struct dinm_item_sequence){
        .n_rows = 1, .slot = 5, .capacity = 9, .from = 3, .n_from = 2, .n_kept = 2};
    ask(&stage, 2, s, 1, all, "keep 2 rows of another; that keeps 0");
    s[0] = (struct dinm_item_sequence){.n_rows = 4, .slot = 6, .capacity = 4, .n_kept = 3};
    s[1] =
        (struct dinm_item_sequence){.n_rows = 1, .slot = 7, .capacity = 4, .late = 1, .lender = 6};
    ask(&stage, 2, s, 2, all, "enter late with 1 rows of another; that lends 0"); /* not yet */
    dinm_stage_close(&stage);
    world_close(&w);
}

/* Never more caches than sequences may be open, and one. */
static void caches_stay_few(void **state)
{
    struct dinm_ids answers[N_REQUESTS] = {{0}};
    struct dinm_error err = {0};
    struct world w;

    (void)state;
    world_open(&w, small_config(false, 2), 2, 6);
    w.g.share_prefixes = true;
    w.g.max_sequences = 15;
    w.g.max_rows = 16;
    for (size_t i = 0; i < N_REQUESTS; i++) {
        w.requests[i].max_new = 1; /* answered while the rows of others have to wait */
    }
    assert_ok(generate(&w, answers, &err), &err);
    assert_true(w.stage.n_prompt_late > 50);
    assert_int_equal(w.cache_capacity, 16); /* room for so many at first */
    free_answers(answers);
    world_close(&w);
}

static int generate_shared(void *context, struct dinm_error *err)
{
    struct world *w = context;
    struct dinm_ids answers[N_REQUESTS] = {{0}};
    int status = generate(w, answers, err);

    free_answers(answers);
    return status;
}

static void memory_may_run_out(void **state)
{
    struct world w;

    (void)state;
    world_open(&w, small_config(false, 2), 2, 4);
    w.g.share_prefixes = true;
    w.g.max_sequences = 5;
    for (size_t i = 14; i < N_REQUESTS; i++) {
        w.requests[i].max_new = 0; /* few, for there is a run for each allocation */
    }
    fail_each_allocation(generate_shared, &w);
    assert_true(w.stage.n_prompt_late > 0);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lower_layers_read_once),
        cmocka_unit_test(the_entry_saves_most),
        cmocka_unit_test(edits_below_do_not_enter),
        cmocka_unit_test(late_rows_are_the_same_bits),
        cmocka_unit_test(rows_are_kept_for_a_while),
        cmocka_unit_test(what_is_not_there_is_not_lent),
        cmocka_unit_test(caches_stay_few),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
