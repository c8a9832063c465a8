/* io/tokenizer against published tokenizers (GPT-2, RoBERTa, Llama 2): 47 texts each with the ids
 * that other programs make of them. They lie in ../shared; without it these tests are skipped. */
#include "tokenizers.h"

#define FOLDER DINM_SOURCE_DIR "/../shared/data/tokenizers/"
#define SEPARATOR "\n__ggml_vocab_test__\n"

static void read_file(struct dinm_buffer *b, const char *folder, const char *name)
{
    struct dinm_error err = {0};
    char *path = dinm_path_join(folder, name, &err);

    assert_non_null(path);
    if (!dinm_path_exists(path)) {
        fprintf(stderr, "SKIPPED: %s is not there\n", path);
        free(path);
        skip();
    }
    assert_ok(dinm_file_read(path, b, &err), &err);
    free(path);
}

/* The next line of ids, without the blank at its start; nothing behind the last line. */
static const char *next_line(char **at)
{
    char *line = *at + strspn(*at, " ");
    char *end = line + strcspn(line, "\n");

    *at = *end == '\0' ? end : end + 1;
    *end = '\0';
    return line;
}

static void check_published(const char *folder, const char *stem)
{
    struct dinm_error err = {0};
    struct dinm_buffer texts = {0};
    struct dinm_buffer ids = {0};
    struct dinm_tokenizer *t = NULL;
    char name[128];
    char *lines;
    size_t n_texts = 0;

    snprintf(name, sizeof name, "%s.inp", stem);
    read_file(&texts, folder, name);
    snprintf(name, sizeof name, "%s.out", stem);
    read_file(&ids, folder, name);
    assert_ok(dinm_tokenizer_open(&t, folder, &err), &err);
    lines = ids.data;
    for (char *text = texts.data; text != NULL; n_texts++) {
        char *end = strstr(text, SEPARATOR);

        if (end != NULL) {
            *end = '\0';
        }
        assert_ids(t, text, PLAIN, next_line(&lines));
        text = end == NULL ? NULL : end + strlen(SEPARATOR);
    }
    assert_int_equal(n_texts, 47);
    dinm_tokenizer_close(t);
    dinm_buffer_free(&texts);
    dinm_buffer_free(&ids);
}

static void gpt2(void **state)
{
    (void)state;
    check_published(FOLDER "gpt2", "ggml-vocab-gpt-2.gguf");
}

static void roberta(void **state)
{
    (void)state;
    check_published(FOLDER "roberta", "ggml-vocab-roberta-bpe.gguf");
}

static void llama2(void **state)
{
    (void)state;
    check_published(FOLDER "llama2", "ggml-vocab-llama-spm.gguf");
}

static struct dinm_tokenizer *open_published(const char *folder)
{
    struct dinm_error err = {0};
    struct dinm_tokenizer *t = NULL;

    if (!dinm_path_exists(folder)) {
        fprintf(stderr, "SKIPPED: %s is not there\n", folder);
        skip();
    }
    assert_ok(dinm_tokenizer_open(&t, folder, &err), &err);
    return t;
}

static void llama2_folder_has_its_special_tokens(void **state)
{
    static const int32_t ids[] = {1, 15043, 3186, 2, 29871, 0};
    struct dinm_tokenizer *t = open_published(FOLDER "llama2");

    (void)state;
    assert_int_equal(dinm_tokenizer_bos(t), 1);
    assert_int_equal(dinm_tokenizer_eos(t), 2);
    assert_int_equal(dinm_tokenizer_pad(t), -1);
    assert_int_equal(dinm_tokenizer_n_vocab(t), 32000);
    assert_ids(t, "Hello world", SPECIAL, "1 15043 3186");
    assert_ids(t, "", SPECIAL, "1");
    assert_decodes(t, ids, 6, true, "Hello world ", 12);
    dinm_tokenizer_close(t);
}

static void roberta_puts_tokens_around(void **state)
{
    struct dinm_tokenizer *t = open_published(FOLDER "roberta");

    (void)state;
    assert_ids(t, "Hello world", SPECIAL, "0 31414 232 2");
    assert_ids(t, "Hello <mask>", CONTROL, "31414 50264");
    dinm_tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt2),
        cmocka_unit_test(roberta),
        cmocka_unit_test(llama2),
        cmocka_unit_test(llama2_folder_has_its_special_tokens),
        cmocka_unit_test(roberta_puts_tokens_around),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
