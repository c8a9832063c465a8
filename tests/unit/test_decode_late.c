/* Unit tests of decoding where prompts with different edits begin alike: below the entry layer the
 * beginning is read once, and everything is the same as without. */
#include "decode_world.h"
#include "faults.h"
#include "pipeline/prefix.h"

enum { N_LAYERS = 5 };

/* lowest: of the edited layers; they are in no order. */
static void world_open(struct world *w, struct dinm_config config, size_t lowest, uint64_t seed)
{
    *w = (struct world){0};
    config.n_layers = N_LAYERS;
    edited_model_open(&w->model, config, N_POSITIONS, MOST_EDITS);
    for (size_t i = 0; i < MOST_EDITS; i++) {
        w->model.edits[i].layer = lowest + (3 * i + seed) % (N_LAYERS - lowest);
    }
    make_requests(w, true, seed);
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
    assert_int_equal(w.n_read, n.all);
    assert_int_equal(w.n_late, 0);
    w.g.share_prefixes = true;
    for (size_t i = 0; i < 16; i++) {
        struct dinm_ids answers[N_REQUESTS] = {{0}};

        w.g.max_sequences = n_sequences[i / 4];
        w.g.max_rows = n_rows[i % 4];
        assert_ok(generate(&w, answers, &err), &err);
        assert_same_answers(answers, plain);
        assert_int_equal(w.n_shared, n.shared);
        assert_int_equal(w.n_read + w.n_shared + w.n_late, n.all);
        if (w.g.max_sequences > N_REQUESTS) {
            assert_int_equal(w.n_late, n.late); /* all lenders are still there */
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
    assert_true(w.n_late > 50);
    assert_int_equal(w.cache_capacity, 16); /* room for so many at first */
    free_answers(answers);
    world_close(&w);
}

static void memory_may_run_out(void **state)
{
    struct world w;

    (void)state;
    world_open(&w, small_config(false, 2), 2, 4);
    fail_each_of(&w, 14);
    assert_true(w.n_late > 0);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lower_layers_read_once), cmocka_unit_test(the_entry_saves_most),
        cmocka_unit_test(edits_below_do_not_enter),   cmocka_unit_test(caches_stay_few),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
