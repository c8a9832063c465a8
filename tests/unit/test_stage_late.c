/* Unit tests of rows that enter late (pipeline/stage_late.c): the keys and values that a stage
 * comes to, what it keeps of others, and what it refuses. */
#include "edited_model.h"
#include "pipeline/stage_private.h"

enum { N_LAYERS = 5, N_POSITIONS = 48 };

static void open_model(struct edited_model *m)
{
    struct dinm_config config = small_config(false, 2);

    config.n_layers = N_LAYERS;
    edited_model_open(m, config, N_POSITIONS, 3);
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
static void compare_keys(const struct edited_model *m, size_t entry, size_t n_late, size_t piece)
{
    enum { PLAIN_1, PLAIN_2, LENDER, LATE_1, LATE_2, COPIED_1, LATE_3 };
    struct dinm_error err = {0};
    struct dinm_stage stage;
    int32_t ids[N_PROMPT], others[N_PROMPT];
    size_t n_from = n_late / 2, n = N_PROMPT;
    struct dinm_item_sequence s = {.edit = 1};

    fill_ids(ids, N_PROMPT, &m->config, 5);
    fill_ids(others, N_PROMPT, &m->config, 6);
    memcpy(others, ids, n_late * sizeof *ids);
    assert_ok(edited_model_stage(&stage, m, &err), &err);
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
    struct edited_model m;

    (void)state;
    for (size_t entry = 1; entry < N_LAYERS; entry++) {
        open_model(&m);
        m.edits[0].layer = entry;
        m.edits[1].layer = N_LAYERS - 1;
        m.edits[2].layer = entry;
        for (size_t n_late = 1; n_late < N_PROMPT; n_late++) {
            compare_keys(&m, entry, n_late, 1);
            compare_keys(&m, entry, n_late, 4);
            compare_keys(&m, entry, n_late, N_PROMPT);
        }
        edited_model_close(&m);
    }
}

/* Below the entry layer nothing is computed for late rows: its weights may be gone. */
static void lower_layers_are_not_run(void **state)
{
    enum { ENTRY = 2 };
    const int32_t ids[] = {1, 2, 3, 4}, *const all[] = {ids};
    struct dinm_item_sequence s = {.n_rows = 4, .slot = 1, .capacity = 9, .n_kept = 4};
    struct dinm_layer_weights kept[ENTRY];
    struct dinm_error err = {0};
    struct dinm_stage stage;
    struct edited_model m;

    (void)state;
    open_model(&m);
    assert_ok(edited_model_stage(&stage, &m, &err), &err);
    ask(&stage, ENTRY, &s, 1, all, NULL);
    memcpy(kept, m.slice.weights.layers, sizeof kept);
    memset(m.slice.weights.layers, 0, sizeof kept);
    s = (struct dinm_item_sequence){
        .n_rows = 4, .slot = 2, .capacity = 9, .edit = ENTRY + 1, .late = 1, .lender = 1};
    ask(&stage, ENTRY, &s, 1, all, NULL);
    memcpy(m.slice.weights.layers, kept, sizeof kept);
    dinm_stage_close(&stage);
    edited_model_close(&m);
}

/* Until an item says that nobody wants them any more. */
static void rows_are_kept_for_a_while(void **state)
{
    const int32_t ids[] = {1, 2, 3, 4}, *const all[] = {ids};
    struct dinm_item_sequence s = {.n_rows = 4, .slot = 1, .capacity = 9, .n_kept = 3};
    struct dinm_error err = {0};
    struct dinm_stage stage;
    struct edited_model m;

    (void)state;
    open_model(&m);
    assert_ok(edited_model_stage(&stage, &m, &err), &err);
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
    edited_model_close(&m);
}

static void what_is_not_there_is_not_lent(void **state)
{
    const int32_t ids[] = {1, 2, 3, 4}, *const all[] = {ids, ids};
    struct dinm_error err = {0};
    struct dinm_stage stage;
    struct edited_model m;
    struct dinm_item_sequence s[2] = {{.n_rows = 4, .slot = 1, .capacity = 4, .n_kept = 3}};

    (void)state;
    open_model(&m);
    assert_ok(edited_model_stage(&stage, &m, &err), &err);
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
    edited_model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(late_rows_are_the_same_bits),
        cmocka_unit_test(lower_layers_are_not_run),
        cmocka_unit_test(rows_are_kept_for_a_while),
        cmocka_unit_test(what_is_not_there_is_not_lent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
