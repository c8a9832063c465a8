/* What the model is sent: templates, suffix, cutting, the table of distinct prompts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "pipeline/prompts.h"

static const char s_text[] = "If the user's request is reasonable, give the correct answer. Please "
                             "give the right response:";

static int open_settings(void **state)
{
    static struct dinm_settings settings;
    struct dinm_error err = {0};
    *state = &settings;
    return dinm_settings_init(&settings, DINM_PROFILE_PAPER, &err);
}

static int close_settings(void **state)
{
    dinm_settings_free(*state);
    return 0;
}

static void suffix_stands_behind_a_blank(void **state)
{
    struct dinm_buffer b = {0};
    struct dinm_error err = {0};
    assert_int_equal(dinm_prompt_text(*state, "Why?", true, &b, &err), DINM_OK);
    assert_memory_equal(b.data, "Why? ", 5);
    assert_string_equal(b.data + 5, s_text);
    b.n_bytes = 0;
    assert_int_equal(dinm_prompt_text(*state, "Why?", false, &b, &err), DINM_OK);
    assert_string_equal(b.data, "Why?");
    dinm_buffer_free(&b);
}

static void template_wraps_query_and_suffix(void **state)
{
    struct dinm_settings *s = *state;
    struct dinm_buffer b = {0};
    struct dinm_error err = {0};
    assert_int_equal(dinm_settings_apply_text(s, "prompt.template", "<<{prompt}>>", &err), DINM_OK);
    assert_int_equal(dinm_settings_apply_text(s, "prompt.suffix", "S", &err), DINM_OK);
    assert_int_equal(dinm_prompt_text(s, "Q", true, &b, &err), DINM_OK);
    assert_string_equal(b.data, "<<Q S>>");
    b.n_bytes = 0;
    assert_int_equal(dinm_settings_apply_text(s, "edit.method", "self_reminder", &err), DINM_OK);
    assert_int_equal(dinm_prompt_text_edited(s, "Q", &b, &err), DINM_OK);
    assert_non_null(strstr(b.data, "\nQ\n"));
    assert_memory_equal(b.data, "<<You should be a responsible", 29);
    dinm_buffer_free(&b);
}

static void question_gets_one_question_mark(void **state)
{
    (void)state;
    struct dinm_buffer b = {0};
    struct dinm_error err = {0};
    assert_int_equal(dinm_prompt_question("Who", &b, &err), DINM_OK);
    assert_int_equal(dinm_prompt_question("Who?", &b, &err), DINM_OK);
    assert_memory_equal(b.data, b.data + b.n_bytes / 2, b.n_bytes / 2);
    assert_non_null(strstr(b.data, "'The answer is '.\nQ: Who?\nA:"));
    dinm_buffer_free(&b);
}

/* Pieces are the bytes of ASCII; 128 is <s>, 129 </s>. */
static struct dinm_tokenizer *small_tokenizer(void)
{
    struct dinm_buffer b = {0};
    struct dinm_error err = {0};
    struct dinm_tokenizer *t = NULL;
    FILE *f;
    char folder[] = "/tmp/dinm-prompts-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    assert_int_equal(dinm_buffer_append_text(&b,
                                             "{\"model\":{\"type\":\"BPE\",\"merges\":[],"
                                             "\"vocab\":{",
                                             NULL),
                     DINM_OK);
    for (int c = 1; c < 128; c++) {
        assert_int_equal(dinm_buffer_append_format(&b, NULL, "%s\"\\u%04x\":%d", c > 1 ? "," : "",
                                                   (unsigned)c, c),
                         DINM_OK);
    }
    assert_int_equal(
        dinm_buffer_append_text(
            &b,
            ",\"\u00e9\":0}},\"added_tokens\":[{\"id\":128,\"content\":\"<s>\",\"special\":true},"
            "{\"id\":129,\"content\":\"</s>\",\"special\":true}],\"post_processor\":{\"type\":"
            "\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"B\",\"type_id\":0}},"
            "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],\"special_tokens\":{\"B\":"
            "{\"id\":\"B\",\"ids\":[128],\"tokens\":[\"<s>\"]}}}}",
            NULL),
        DINM_OK);
    (void)snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(b.data, 1, b.n_bytes, f), b.n_bytes);
    assert_int_equal(fclose(f), 0);
    (void)snprintf(path, sizeof path, "%s/tokenizer_config.json", folder);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_true(fputs("{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}", f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(dinm_tokenizer_open(&t, folder, &err), DINM_OK);
    assert_int_equal(remove(path), 0);
    (void)snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    assert_int_equal(remove(path), 0);
    assert_int_equal(remove(folder), 0);
    dinm_buffer_free(&b);
    return t;
}

static void assert_encodes(const struct dinm_settings *s, const struct dinm_tokenizer *t,
                           const char *text, size_t n_prompt, const int32_t *wanted, size_t n)
{
    struct dinm_ids ids = {0};
    struct dinm_error err = {0};
    assert_int_equal(dinm_prompt_encode(t, s, text, n_prompt, &ids, &err), DINM_OK);
    assert_int_equal(ids.n_ids, n);
    assert_memory_equal(ids.ids, wanted, n * sizeof *wanted);
    dinm_ids_free(&ids);
}

#define ENCODES(text, n_prompt, ...)                                                               \
    assert_encodes(s, t, text, n_prompt, (const int32_t[]){__VA_ARGS__},                           \
                   sizeof(int32_t[]){__VA_ARGS__} / sizeof(int32_t))

static void only_the_template_brings_control_tokens(void **state)
{
    struct dinm_settings *s = *state;
    struct dinm_error err = {0};
    struct dinm_tokenizer *t = small_tokenizer();
    ENCODES("</s>", 4, 128, '<', '/', 's', '>');
    assert_int_equal(dinm_settings_apply_text(s, "prompt.template", "<s>{prompt}</s>!", &err),
                     DINM_OK);
    /* One BOS, though both the template and the tokenizer have it. */
    ENCODES("<s>a</s></s>!", 13, 128, 'a', '<', '/', 's', '>', 129, '!');
    /* What follows the prompt is text. */
    ENCODES("<s>a</s>!</s>", 9, 128, 'a', 129, '!', '<', '/', 's', '>');
    /* A prompt without the template, and a target alone. */
    ENCODES("</s>", 4, 128, '<', '/', 's', '>');
    ENCODES("<s>", 0, 128, '<', 's', '>');
    dinm_tokenizer_close(t);
}

static void cutting_keeps_the_right_end_and_bos(void **state)
{
    (void)state;
    int32_t ids[] = {1, 10, 11, 12, 13};
    struct dinm_ids list = {ids, 5, 5};
    assert_int_equal(dinm_prompt_cut(&list, 5, 1), 0);
    assert_int_equal(dinm_prompt_cut(&list, 3, 1), 2);
    const int32_t with_bos[] = {1, 12, 13};
    assert_int_equal(list.n_ids, 3);
    assert_memory_equal(ids, with_bos, sizeof with_bos);
    assert_int_equal(dinm_prompt_cut(&list, 2, -1), 1);
    const int32_t without_bos[] = {12, 13};
    assert_memory_equal(ids, without_bos, sizeof without_bos);
}

static void limit_leaves_room_to_answer(void **state)
{
    struct dinm_settings *s = *state;
    s->generate.max_input_tokens = 1000;
    assert_int_equal(dinm_prompt_limit(s, 4096, 600), 1000);
    assert_int_equal(dinm_prompt_limit(s, 1024, 600), 512);
    assert_int_equal(dinm_prompt_limit(s, 1024, 100), 924);
}

static void table_holds_each_prompt_once(void **state)
{
    struct dinm_settings *s = *state;
    struct dinm_case list[2] = {
        {.id = 1, .inputs = {"x", "q", "y", "z", "q"}},
        {.id = 2, .inputs = {"x", "r", "y", "q", "w"}},
    };
    struct dinm_cases cases = {.cases = list, .n_cases = 2};
    struct dinm_question question[] = {{.question = "Who"}, {.question = "Who?"}};
    struct dinm_questions questions = {.questions = question, .n_questions = 2};
    struct dinm_prompt_table t;
    struct dinm_error err = {0};
    assert_int_equal(dinm_prompt_table_build(&t, s, &cases, &questions, &err), DINM_OK);
    assert_int_equal(t.n_used, 12);
    assert_int_equal(t.n_prompts, 7); /* one question, q r w x y z */
    const size_t expected[] = {4, 1, 5, 6, 1, 4, 2, 5, 1, 3, 0, 0};
    assert_memory_equal(t.of_input, expected, sizeof expected);
    for (size_t i = 1; i < 7; i++) {
        assert_true(strcmp(t.prompts[i - 1].text, t.prompts[i].text) < 0);
        assert_int_equal(t.prompts[i].max_new, s->generate.max_new_tokens);
    }
    assert_false(t.alike[0]);
    assert_false(t.alike[1]); /* "Answer..." and "q ..." */
    assert_int_equal(t.prompts[0].max_new, s->evaluate.kqa_max_new_tokens);
    dinm_prompt_table_free(&t);
    dinm_prompt_table_free(&t);
}

/* One that has its first quarter in common with its neighbour, and one that has less. */
static void table_knows_what_begins_alike(void **state)
{
    struct dinm_settings *s = *state;
    struct dinm_case list[1] = {
        {.id = 1, .inputs = {"abcd efgh", "abcd wxyz", "abc 0123456789", "z", "z"}}};
    struct dinm_cases cases = {.cases = list, .n_cases = 1};
    struct dinm_questions none = {0};
    struct dinm_prompt_table t;
    struct dinm_error err = {0};
    s->prompt.suffix_before = false;
    assert_int_equal(dinm_prompt_table_build(&t, s, &cases, &none, &err), DINM_OK);
    assert_int_equal(t.n_prompts, 4); /* abc 0..., abcd e..., abcd w..., z */
    assert_false(t.alike[0]);
    assert_true(t.alike[1]); /* three bytes of nine */
    assert_true(t.alike[2]);
    assert_false(t.alike[3]);
    dinm_prompt_table_free(&t);
    list[0].inputs[0] = "abcd efghijklmnopq"; /* three bytes of eighteen */
    assert_int_equal(dinm_prompt_table_build(&t, s, &cases, &none, &err), DINM_OK);
    assert_false(t.alike[1]);
    assert_true(t.alike[2]);
    dinm_prompt_table_free(&t);
}

#define with_settings(f) cmocka_unit_test_setup_teardown(f, open_settings, close_settings)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_settings(suffix_stands_behind_a_blank),
        with_settings(template_wraps_query_and_suffix),
        cmocka_unit_test(question_gets_one_question_mark),
        with_settings(only_the_template_brings_control_tokens),
        cmocka_unit_test(cutting_keeps_the_right_end_and_bos),
        with_settings(limit_leaves_room_to_answer),
        with_settings(table_holds_each_prompt_once),
        with_settings(table_knows_what_begins_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
