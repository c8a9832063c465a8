/* An index of shards and a SentencePiece model, cut at every byte and with every bit flipped:
 * refused with a sentence, or read as something whole. */
#include "support.h"
#include "io/safetensors.h"
#include "io/tokenizer_older.h"

static const unsigned char data[3] = {1, 2, 3};

static const char index_text[] =
    "{\"metadata\":{\"total_size\":6},\"weight_map\":{\"a\":\"one.safetensors\","
    "\"b\":\"one.safetensors\",\"c\":\"two.safetensors\"}}";

/* A shard with these tensors, of 1, 2, ... bytes. */
static void write_shard(const char *folder, const char *name, const char *names)
{
    struct dinm_tensor tensors[3];
    struct dinm_error err = {0};
    char texts[3][2] = {{0}};
    char *path = dinm_path_join(folder, name, &err);
    const size_t n = strlen(names);

    for (size_t i = 0; i < n; i++) {
        texts[i][0] = names[i];
        tensors[i] =
            (struct dinm_tensor){texts[i], "U8", DINM_OTHER, 1, {(int64_t)i + 1}, data, i + 1};
    }
    assert_ok(dinm_safetensors_write(path, tensors, n, NULL, &err), &err);
    free(path);
}

/* Without the syncs of dinm_file_write, a thousand times. */
static void put(const char *path, const char *text, size_t n_bytes)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, n_bytes, file), n_bytes);
    assert_int_equal(fclose(file), 0);
}

/* Opens the folder with this index; true if it is the model as it was made. */
static bool opens(const char *folder, const char *path, const char *text, size_t n_bytes)
{
    static const char *const names[] = {"a", "b", "c"};
    struct dinm_checkpoint c = {0};
    struct dinm_error err = {0};
    int status;

    put(path, text, n_bytes);
    status = dinm_checkpoint_open(&c, folder, &err);
    if (status < 0) {
        assert_non_null(strstr(err.text, folder));
        assert_null(c.files);
        return false;
    }
    for (size_t i = 0; i < 3; i++) {
        const struct dinm_tensor *tensor = dinm_checkpoint_find(&c, names[i]);

        assert_non_null(tensor);
        assert_int_equal(tensor->n_bytes, i < 2 ? i + 1 : 1);
        assert_memory_equal(tensor->data, data, tensor->n_bytes);
    }
    assert_int_equal(c.n_files, 2);
    dinm_checkpoint_close(&c);
    return true;
}

static void damaged_index(void **state)
{
    char *folder = new_folder();
    char *path = dinm_path_join(folder, "model.safetensors.index.json", NULL);
    char text[sizeof index_text];
    size_t n_same = 0;

    (void)state;
    write_shard(folder, "one.safetensors", "ab");
    write_shard(folder, "two.safetensors", "c");
    assert_true(opens(folder, path, index_text, strlen(index_text)));
    for (size_t n = 0; n < strlen(index_text); n++) {
        assert_false(opens(folder, path, index_text, n));
    }
    memcpy(text, index_text, sizeof text);
    for (size_t bit = 0; bit < 8 * strlen(index_text); bit++) {
        text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
        n_same += opens(folder, path, text, strlen(index_text));
        text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
    }
    print_message("%zu of %zu flips mean the same\n", n_same, 8 * strlen(index_text));
    assert_in_range(n_same, 1, 8 * strlen(index_text) / 4);
    free(path);
    remove_folder(folder);
}

/* <unk>, <s>, </s>, "a", "b" and "ab" with scores, a trainer of BPE, a normalizer with a prefix. */
static const unsigned char model_bytes[] = "\x0A\x0E\x0A\x05<unk>\x15\x00\x00\x00\x00\x18\x02"
                                           "\x0A\x0C\x0A\x03<s>\x15\x00\x00\x00\x00\x18\x03"
                                           "\x0A\x0D\x0A\x04</s>\x15\x00\x00\x00\x00\x18\x03"
                                           "\x0A\x08\x0A\x01\x61\x15\x00\x00\x80\xBF"
                                           "\x0A\x08\x0A\x01\x62\x15\x00\x00\x00\xC0"
                                           "\x0A\x09\x0A\x02\x61\x62\x15\x00\x00\x00\xBF"
                                           "\x12\x02\x18\x02\x1A\x02\x18\x01";
enum { N_MODEL_BYTES = sizeof model_bytes - 1 };

/* Every block has its own size, for the sanitizers. True if it is a model; then it is whole. */
static bool parses(const unsigned char *bytes, size_t n_bytes)
{
    unsigned char *copy = malloc(n_bytes > 0 ? n_bytes : 1);
    struct dinm_spm m = {0};
    struct dinm_error err = {0};
    bool taken;

    assert_non_null(copy);
    memcpy(copy, bytes, n_bytes);
    taken = dinm_tokenizer_sentencepiece_parse(&m, "it", copy, n_bytes, &err) == DINM_OK;
    if (taken) {
        assert_true(m.vocab.n_ids > 0 && m.vocab.n_pieces == m.vocab.n_ids);
    } else {
        assert_true(strncmp(err.text, "it: ", 4) == 0);
    }
    dinm_tokenizer_sentencepiece_free(&m);
    free(copy);
    return taken;
}

static void damaged_sentencepiece(void **state)
{
    unsigned char bytes[N_MODEL_BYTES];
    size_t n_taken = 0;

    (void)state;
    memcpy(bytes, model_bytes, sizeof bytes);
    assert_true(parses(bytes, sizeof bytes));
    for (size_t n = 0; n < sizeof bytes; n++) {
        n_taken += parses(bytes, n);
    }
    /* Fields may be left out: only what ends behind the trainer is a model. */
    assert_in_range(n_taken, 0, 2);
    n_taken = 0;
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] = (unsigned char)(bytes[bit / 8] ^ (1u << bit % 8));
        n_taken += parses(bytes, sizeof bytes);
        bytes[bit / 8] = (unsigned char)(bytes[bit / 8] ^ (1u << bit % 8));
    }
    print_message("%zu of %zu flips are models\n", n_taken, 8 * sizeof bytes);
    assert_true(n_taken < 8 * sizeof bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_index),
        cmocka_unit_test(damaged_sentencepiece),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
