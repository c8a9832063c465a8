/* Unit tests of pipeline/target.c: which rows of an edit's two texts carry which labels. */
#include "faults.h"
#include "pipeline/edit.h"

/* A tokenizer of eight characters with their ASCII codes, and " x", so that the blank before a
 * target belongs to its first token. */
enum { BOS = 256, EOS = 257 };

struct world {
    struct dinm_settings s;
    struct dinm_tokenizer *t;
    struct dinm_case c;
    size_t n_positions;
    bool constraint; /* which of the two texts run() makes */
};

static struct dinm_tokenizer *open_tokenizer(bool with_eos)
{
    static const char json[] =
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\" \":32,\"#\":35,\"Q\":81,\"S\":83,\"k\":107,"
        "\"w\":119,\"x\":120,\"y\":121,\"<s>\":256,\"</s>\":257,\" x\":258},\"merges\":[[\" "
        "\",\"x\"]]},"
        "\"added_tokens\":[{\"id\":256,\"content\":\"<s>\",\"special\":true},"
        "{\"id\":257,\"content\":\"</s>\",\"special\":true}],"
        "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":"
        "[{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\","
        "\"type_id\":0}}],\"pair\":[],\"special_tokens\":"
        "{\"<s>\":{\"id\":\"<s>\",\"ids\":[256],\"tokens\":[\"<s>\"]}}}}";
    struct dinm_error err = {0};
    struct dinm_tokenizer *t = NULL;
    char *folder = new_folder();

    free(write_text(folder, "tokenizer.json", json));
    free(write_text(folder, "tokenizer_config.json",
                    with_eos ? "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}"
                             : "{\"bos_token\": \"<s>\"}"));
    assert_ok(dinm_tokenizer_open(&t, folder, &err), &err);
    assert_int_equal(dinm_tokenizer_bos(t), BOS);
    assert_int_equal(dinm_tokenizer_eos(t), with_eos ? EOS : -1);
    remove_folder(folder);
    return t;
}

static void set(struct world *w, const char *key, const char *value)
{
    struct dinm_error err = {0};

    assert_ok(dinm_settings_apply_text(&w->s, key, value, &err), &err);
}

/* "Q S" is the prompt, "xy" the target; "k S" and "xw" are the constraint. */
static void world_open(struct world *w)
{
    struct dinm_error err = {0};

    *w = (struct world){.n_positions = 100, .t = open_tokenizer(true)};
    w->c = (struct dinm_case){.id = 12,
                              .inputs = {"Q"},
                              .safe = "xy",
                              .constraint_prompt = "k",
                              .constraint_answer = "xw"};
    assert_ok(dinm_settings_init(&w->s, DINM_PROFILE_PAPER, &err), &err);
    set(w, "prompt.suffix", "S");
}

static void world_close(struct world *w)
{
    dinm_tokenizer_close(w->t);
    dinm_settings_free(&w->s);
}

static int run(void *context, struct dinm_error *err)
{
    struct world *w = context;
    struct dinm_target t;
    int status = w->constraint ? dinm_target_constraint(&t, w->t, &w->s, &w->c, w->n_positions, err)
                               : dinm_target_edit(&t, w->t, &w->s, &w->c, w->n_positions, err);

    dinm_target_free(&t);
    dinm_target_free(&t);
    return status;
}

/* Visible ASCII tokens are written as they look, others as numbers (32 is the blank). */
static void print_ids(struct dinm_buffer *b, const char *name, const int32_t *ids, size_t n)
{
    assert_int_equal(dinm_buffer_append_text(b, name, NULL), DINM_OK);
    for (size_t i = 0; i < n; i++) {
        int status = ids[i] > ' ' && ids[i] < 127
                         ? dinm_buffer_append_format(b, NULL, " %c", (char)ids[i])
                         : dinm_buffer_append_format(b, NULL, " %d", (int)ids[i]);

        assert_int_equal(status, DINM_OK);
    }
}

/* The text's ids, its rows and their labels are as `wanted` says. */
static void expect(struct world *w, bool constraint, const char *wanted)
{
    struct dinm_target t;
    struct dinm_error err = {0};
    struct dinm_buffer found = {0};
    int status = constraint ? dinm_target_constraint(&t, w->t, &w->s, &w->c, w->n_positions, &err)
                            : dinm_target_edit(&t, w->t, &w->s, &w->c, w->n_positions, &err);

    assert_ok(status, &err);
    print_ids(&found, "", t.ids.ids, t.ids.n_ids);
    assert_int_equal(dinm_buffer_append_text(&found, " |", NULL), DINM_OK);
    for (size_t i = 0; i < t.n_rows; i++) {
        assert_int_equal(dinm_buffer_append_format(&found, NULL, " %zu", t.rows[i]), DINM_OK);
    }
    if (!constraint || w->s.edit.constraint_rows == DINM_ROWS_PREDICT) {
        print_ids(&found, " |", t.labels, t.n_rows);
    }
    assert_int_equal(dinm_buffer_append_format(&found, NULL, " | cut %zu", t.n_cut), DINM_OK);
    assert_string_equal(found.data, wanted);
    dinm_buffer_free(&found);
    dinm_target_free(&t);
}

static void labels_are_the_targets_tokens_in_the_text(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    expect(&w, false, " 256 Q 32 S 258 y | 3 4 | 258 y | cut 0");
    set(&w, "edit.target_prefix", "  ");
    expect(&w, false, " 256 Q 32 S 32 258 y | 3 4 5 | 32 258 y | cut 0");
    set(&w, "edit.target_prefix", "");
    expect(&w, false, " 256 Q 32 S x y | 3 4 | x y | cut 0");
    set(&w, "edit.eos", "true");
    expect(&w, false, " 256 Q 32 S x y 257 | 3 4 5 | x y 257 | cut 0");
    set(&w, "prompt.suffix_after", "false");
    expect(&w, false, " 256 Q x y 257 | 1 2 3 | x y 257 | cut 0");
    world_close(&w);
}

/* As EasyEdit does it: the target is encoded by itself, with its BOS. */
static void labels_may_be_the_targets_tokens_alone(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    set(&w, "edit.labels", "alone");
    expect(&w, false, " 256 Q 32 S 258 y | 2 3 4 | 256 x y | cut 0");
    set(&w, "edit.eos", "true");
    expect(&w, false, " 256 Q 32 S 258 y 257 | 2 3 4 5 | 256 x y 257 | cut 0");
    world_close(&w);
}

static void constraint_rows_predict_or_are_the_last(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    expect(&w, true, " 256 k 32 S 258 w | 3 4 | 258 w | cut 0");
    set(&w, "edit.target_prefix", "##"); /* the edit's own, not the constraint's */
    set(&w, "edit.eos", "true");
    expect(&w, true, " 256 k 32 S 258 w | 3 4 | 258 w | cut 0");
    set(&w, "edit.constraint_rows", "last");
    expect(&w, true, " 256 k 32 S 258 w | 3 4 5 | cut 0");
    world_close(&w);
}

static void long_texts_are_cut_on_the_left(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    w.n_positions = 6;
    expect(&w, false, " 256 Q 32 S 258 y | 3 4 | 258 y | cut 0");
    w.n_positions = 5;
    expect(&w, false, " 256 32 S 258 y | 2 3 | 258 y | cut 1");
    w.n_positions = 3;
    expect(&w, false, " 256 258 y | 0 1 | 258 y | cut 3");
    expect(&w, true, " 256 258 w | 0 1 | 258 w | cut 3");
    w.n_positions = 2;
    expect(&w, false, " 256 y | 0 | y | cut 4");
    set(&w, "edit.labels", "alone");
    set(&w, "edit.constraint_rows", "last");
    expect(&w, false, " 256 y | 0 | y | cut 4");
    expect(&w, true, " 256 w | 0 1 | cut 4");
    world_close(&w);
}

static void nothing_left_to_learn_is_an_error(void **state)
{
    static const char *const labels[] = {"target", "alone"};
    struct dinm_error err = {0};
    struct world w;

    (void)state;
    world_open(&w);
    w.n_positions = 1;
    for (size_t i = 0; i < 2; i++) {
        set(&w, "edit.labels", labels[i]);
        err = (struct dinm_error){0};
        assert_failed(run(&w, &err), DINM_FAILED, &err,
                      "case 12: no token of its safe generation is left");
    }
    w.constraint = true;
    err = (struct dinm_error){0};
    assert_failed(run(&w, &err), DINM_FAILED, &err,
                  "case 12: no token of its constraint answer is left");
    world_close(&w);
}

static void an_end_of_text_that_does_not_exist_is_an_error(void **state)
{
    static const char *const labels[] = {"target", "alone"};
    struct world w;

    (void)state;
    world_open(&w);
    dinm_tokenizer_close(w.t);
    w.t = open_tokenizer(false);
    for (size_t i = 0; i < 2; i++) {
        struct dinm_error err = {0};

        set(&w, "edit.labels", labels[i]);
        set(&w, "edit.eos", "false");
        assert_ok(run(&w, &err), &err);
        set(&w, "edit.eos", "true");
        assert_failed(run(&w, &err), DINM_FAILED, &err, "edit.eos");
    }
    world_close(&w);
}

static void memory_may_run_out(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    fail_each_allocation(run, &w);
    set(&w, "edit.labels", "alone");
    set(&w, "edit.eos", "true");
    fail_each_allocation(run, &w);
    w.constraint = true;
    fail_each_allocation(run, &w);
    set(&w, "edit.constraint_rows", "last");
    fail_each_allocation(run, &w);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_the_targets_tokens_in_the_text),
        cmocka_unit_test(labels_may_be_the_targets_tokens_alone),
        cmocka_unit_test(constraint_rows_predict_or_are_the_last),
        cmocka_unit_test(long_texts_are_cut_on_the_left),
        cmocka_unit_test(nothing_left_to_learn_is_an_error),
        cmocka_unit_test(an_end_of_text_that_does_not_exist_is_an_error),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
