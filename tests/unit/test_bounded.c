/* What a file makes the readers allocate is bounded by its size, whatever it claims. All bytes ever
 * asked for are counted, not only those held at one time. */
#include "faults.h"
#include "io/cases.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "io/tokenizer.h"
#include "io/tokenizer_older.h"

/* Per byte of a file, in the worst case: a tree's node for each "1,", or the slots of a merge. And
 * what is asked for whatever the file: buffers for reading, and the tables of a tokenizer. */
enum { BYTES_PER_BYTE = 128, BYTES_ANYWAY = 1 << 17 };

static void assert_bounded(size_t before, size_t n_bytes)
{
    const size_t spent = fault.n_bytes - before;

    if (spent > BYTES_ANYWAY + BYTES_PER_BYTE * n_bytes) {
        fail_msg("%zu bytes were asked for to read %zu", spent, n_bytes);
    }
}

/* `unit` n times, between `head` and `tail`. */
static struct dinm_buffer repeated(const char *head, const char *unit, size_t n, const char *tail)
{
    struct dinm_buffer text = {0};
    struct dinm_error err = {0};

    assert_ok(dinm_buffer_append_text(&text, head, &err), &err);
    for (size_t i = 0; i < n; i++) {
        assert_ok(dinm_buffer_append_text(&text, unit, &err), &err);
    }
    assert_ok(dinm_buffer_append_text(&text, tail, &err), &err);
    return text;
}

/* Takes the text. It is read as JSON, as cases, as a tokenizer and as a SentencePiece model. */
static void read_as_all(struct dinm_buffer text)
{
    struct dinm_error err = {0};
    struct dinm_tokenizer *t = NULL;
    struct dinm_cases cases = {0};
    struct dinm_spm model = {0};
    cJSON *tree = NULL;
    size_t before = fault.n_bytes;

    dinm_json_parse("it", text.data, text.n_bytes, &tree, &err);
    assert_bounded(before, text.n_bytes);
    before = fault.n_bytes;
    dinm_cases_parse(&cases, "it", text.data, text.n_bytes, &err);
    assert_bounded(before, text.n_bytes);
    before = fault.n_bytes;
    dinm_tokenizer_parse(&t, "it", text.data, text.n_bytes, &err);
    assert_bounded(before, text.n_bytes);
    before = fault.n_bytes;
    dinm_tokenizer_sentencepiece_parse(&model, "it", text.data, text.n_bytes, &err);
    assert_bounded(before, text.n_bytes);
    cJSON_Delete(tree);
    dinm_cases_free(&cases);
    dinm_tokenizer_close(t);
    dinm_tokenizer_sentencepiece_free(&model);
    dinm_buffer_free(&text);
}

static void trees_are_bounded(void **state)
{
    (void)state;
    fault_cjson();
    read_as_all(repeated("", "[", 1000000, ""));
    read_as_all(repeated("", "{\"\":", 300000, ""));
    read_as_all(repeated("[", "[],", 200000, "0]"));
    read_as_all(repeated("[", "1,", 200000, "0]"));
    read_as_all(repeated("[", "\"\",", 200000, "0]"));
    read_as_all(repeated("{", "\"\":0,", 200000, "\"a\":0}"));
    read_as_all(repeated("\"", "\\u0000", 100000, "\""));
    read_as_all(repeated("", "1", 1000000, ""));
}

static void tokenizers_are_bounded(void **state)
{
    static const char head[] = "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"aa\":1},"
                               "\"merges\":[";
    static const char *const claims[] = {
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":2147483646},\"merges\":[]}}",
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":4503599627370496},\"merges\":[]}}",
        ("{\"added_tokens\":[{\"id\":2147483646,\"content\":\"<s>\",\"special\":true}],"
         "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}")};

    (void)state;
    fault_cjson();
    read_as_all(repeated(head, "\"a a\",", 20000, "\"a a\"]}}"));
    read_as_all(repeated(head, "[\"a\",\"a\"],", 20000, "[\"a\",\"a\"]]}}"));
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
        read_as_all(repeated(claims[i], "", 0, ""));
    }
    /* A piece, a text and a number that say they are longer than the file. */
    read_as_all(repeated("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F", "", 0, ""));
    read_as_all(repeated("\x0A\x07\x0A\xFF\xFF\xFF\xFF\x7F", "", 0, ""));
    read_as_all(repeated("\x0A\x02\x18\xFF", "", 0, ""));
    read_as_all(repeated("",
                         "\x0A\x03\x0A\x01"
                         "a",
                         50000, ""));
}

/* A file of n_bytes, most of it a hole, that begins with `header` and claims it has header_bytes.
 */
static void open_safetensors(const char *header, uint64_t header_bytes, int64_t n_bytes,
                             const char *part)
{
    struct dinm_safetensors st = {0};
    struct dinm_error err = {0};
    struct dinm_buffer bytes = {0};
    char *folder = new_folder();
    char *path = dinm_path_join(folder, "model.safetensors", &err);
    size_t before;
    int status;

    for (int i = 0; i < 8; i++) {
        const char byte = (char)(header_bytes >> 8 * i & 0xFF);

        assert_ok(dinm_buffer_append(&bytes, &byte, 1, &err), &err);
    }
    assert_ok(dinm_buffer_append_text(&bytes, header, &err), &err);
    assert_ok(dinm_file_write(path, bytes.data, bytes.n_bytes, &err), &err);
    if (n_bytes > 0) {
        assert_int_equal(truncate(path, n_bytes), 0);
    }
    before = fault.n_bytes;
    status = dinm_safetensors_open(&st, path, &err);
    assert_bounded(before, bytes.n_bytes);
    if (part == NULL) {
        assert_ok(status, &err);
    } else {
        assert_failed(status, DINM_FAILED, &err, part);
    }
    dinm_safetensors_close(&st);
    dinm_buffer_free(&bytes);
    free(path);
    remove_folder(folder);
}

#define ENTRY(shape, end)                                                                          \
    "{\"a\":{\"dtype\":\"U8\",\"shape\":" shape ",\"data_offsets\":[0," end "]}}"

static void checkpoints_are_bounded(void **state)
{
    static const char large[] = ENTRY("[4294967296,2]", "8589934592");

    (void)state;
    fault_cjson();
    open_safetensors("{}", 99999999, 0, "but only 2 follow");
    open_safetensors("{}", UINT64_MAX, 0, "more than the 100000000 that are allowed");
    open_safetensors(ENTRY("[4503599627370496]", "4503599627370496"),
                     strlen(ENTRY("[4503599627370496]", "4503599627370496")), 0,
                     "are not within the 0 bytes");
    open_safetensors(ENTRY("[4503599627370496,4096]", "0"),
                     strlen(ENTRY("[4503599627370496,4096]", "0")), 0,
                     "more elements than can be counted");
    /* 8 GiB of weights cost no memory, since they are mapped. */
    open_safetensors(large, strlen(large), (int64_t)strlen(large) + 8 + 8589934592, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_are_bounded),
        cmocka_unit_test(tokenizers_are_bounded),
        cmocka_unit_test(checkpoints_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
