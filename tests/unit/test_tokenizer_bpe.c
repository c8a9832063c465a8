/* io/tokenizer_bpe and _merges: random models against joining pair by pair, unknown characters,
 * very long words, and no memory. */
#include "faults.h"
#include "tokenizers.h"

static uint32_t next_random(uint32_t *seed, uint32_t below)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)*seed * below) >> 32);
}

/* ---- random models ---- */

enum { N_LETTERS = 3, MOST_MERGES = 60, MOST_PIECES = N_LETTERS + MOST_MERGES, MOST_CHARS = 300 };

/* Pieces 0 to N_LETTERS - 1 are letters; merge k joins two earlier pieces to piece N_LETTERS + k,
 * unless an earlier piece has the same text: then to that one. */
struct random_model {
    char texts[MOST_PIECES][40];
    int left[MOST_MERGES], right[MOST_MERGES], whole[MOST_MERGES];
    int n_pieces, n_merges;
};

static int find_piece(const struct random_model *m, const char *text)
{
    for (int i = 0; i < m->n_pieces; i++) {
        if (strcmp(m->texts[i], text) == 0) {
            return i;
        }
    }
    return -1;
}

static void make_model(struct random_model *m, uint32_t *seed)
{
    *m = (struct random_model){.n_pieces = N_LETTERS};
    for (int i = 0; i < N_LETTERS; i++) {
        m->texts[i][0] = (char)('a' + i);
    }
    while (m->n_merges < MOST_MERGES) {
        const int a = (int)next_random(seed, (uint32_t)m->n_pieces);
        const int b = (int)next_random(seed, (uint32_t)m->n_pieces);
        char text[80];
        int whole;

        snprintf(text, sizeof text, "%s%s", m->texts[a], m->texts[b]);
        whole = strlen(text) < sizeof m->texts[0] ? find_piece(m, text) : -2;
        if (whole == -1) {
            whole = m->n_pieces++;
            memcpy(m->texts[whole], text, strlen(text) + 1);
        }
        if (whole >= 0) {
            m->left[m->n_merges] = a;
            m->right[m->n_merges] = b;
            m->whole[m->n_merges++] = whole;
        }
    }
}

static struct dinm_tokenizer *build_model(const struct random_model *m, bool pairs)
{
    struct dinm_buffer b = {0};
    struct dinm_tokenizer *t;

    assert_int_equal(dinm_buffer_append_text(&b, "{\"model\":{\"vocab\":{", NULL), DINM_OK);
    for (int i = 0; i < m->n_pieces; i++) {
        assert_int_equal(
            dinm_buffer_append_format(&b, NULL, "%s\"%s\":%d", i > 0 ? "," : "", m->texts[i], i),
            DINM_OK);
    }
    assert_int_equal(dinm_buffer_append_text(&b, "},\"merges\":[", NULL), DINM_OK);
    for (int i = 0; i < m->n_merges; i++) {
        assert_int_equal(dinm_buffer_append_format(
                             &b, NULL, pairs ? "%s[\"%s\",\"%s\"]" : "%s\"%s %s\"",
                             i > 0 ? "," : "", m->texts[m->left[i]], m->texts[m->right[i]]),
                         DINM_OK);
    }
    assert_int_equal(dinm_buffer_append_text(&b, "]}}", NULL), DINM_OK);
    t = parse_tokenizer(b.data);
    dinm_buffer_free(&b);
    return t;
}

/* The definition: again and again the known pair of lowest rank, the leftmost first. */
static size_t join_by_definition(const struct random_model *m, const char *word, size_t n,
                                 int32_t *ids)
{
    for (size_t i = 0; i < n; i++) {
        ids[i] = word[i] - 'a';
    }
    for (;;) {
        int best = -1;
        size_t at = 0;

        for (size_t i = 0; i + 1 < n; i++) {
            for (int k = m->n_merges - 1; k >= 0; k--) { /* of equal pairs the last counts */
                if (m->left[k] == ids[i] && m->right[k] == ids[i + 1]) {
                    at = best < 0 || k < best ? i : at;
                    best = best < 0 || k < best ? k : best;
                    break;
                }
            }
        }
        if (best < 0) {
            return n;
        }
        ids[at] = m->whole[best];
        memmove(ids + at + 1, ids + at + 2, (n - at - 2) * sizeof *ids);
        n--;
    }
}

static void random_words_are_joined_as_defined(void **state)
{
    struct random_model m;
    uint32_t seed = 5;

    (void)state;
    for (int model = 0; model < 40; model++) {
        struct dinm_tokenizer *t;

        make_model(&m, &seed);
        t = build_model(&m, model % 2 == 0);
        for (int round = 0; round < 60; round++) {
            const size_t n = next_random(&seed, round % 3 == 0 ? MOST_CHARS : 40);
            char word[MOST_CHARS];
            int32_t wanted[MOST_CHARS];
            struct dinm_ids found;
            size_t n_wanted;

            for (size_t i = 0; i < n; i++) {
                word[i] = (char)('a' + next_random(&seed, round % 2 == 0 ? 2 : N_LETTERS));
            }
            n_wanted = join_by_definition(&m, word, n, wanted);
            found = encode_bytes(t, word, n, PLAIN);
            assert_int_equal(found.n_ids, n_wanted);
            if (n_wanted > 0) {
                assert_memory_equal(found.ids, wanted, n_wanted * sizeof *wanted);
            }
            dinm_ids_free(&found);
        }
        dinm_tokenizer_close(t);
    }
}

/* ---- unknown characters ---- */

#define VOCAB "\"<unk>\":0,\"a\":1,\"b\":2"
#define MODEL(vocab, keys) "{\"model\":{\"vocab\":{" vocab "},\"merges\":[]" keys "}}"

static void unknown_characters(void **state)
{
    static const struct {
        const char *json, *text, *ids;
    } cases[] = {
        {MODEL(VOCAB, ""), "axxb", "1 2"},
        {MODEL(VOCAB, ",\"unk_token\":\"<unk>\""), "axxb", "1 0 0 2"},
        {MODEL(VOCAB, ",\"unk_token\":\"<unk>\",\"fuse_unk\":true"), "axxbx", "1 0 2 0"},
        {MODEL(VOCAB ",\"<0xC3>\":3,\"<0xA9>\":4",
               ",\"unk_token\":\"<unk>\",\"byte_fallback\":true"),
         "a\xC3\xA9"
         "b",
         "1 3 4 2"},
        {MODEL(VOCAB ",\"<0xC3>\":3", ",\"unk_token\":\"<unk>\",\"byte_fallback\":true"),
         "a\xC3\xA9"
         "b",
         "1 0 2"},
        {MODEL(VOCAB ",\"<0x0A>\":3", ",\"byte_fallback\":true"), "\n\n", "3 3"},
        {MODEL(VOCAB ",\"<0x0A>\":3", ""), "\n", ""},
        /* As in the reference, bytes overtake unknown characters that wait to be fused. */
        {MODEL(VOCAB ",\"<0x0A>\":3",
               ",\"unk_token\":\"<unk>\",\"fuse_unk\":true,\"byte_fallback\":true"),
         "x\nxa", "3 0 1"},
        {MODEL(VOCAB ",\"<0x0A>\":3", ",\"unk_token\":\"<unk>\",\"byte_fallback\":true"), "x\n\nxa",
         "3 3 0 0 1"},
        {MODEL("\"\\u4e2d\":7", ""), "\xE4\xB8\xAD", "7"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dinm_tokenizer *t = parse_tokenizer(cases[i].json);

        assert_ids(t, cases[i].text, PLAIN, cases[i].ids);
        dinm_tokenizer_close(t);
    }
}

static void a_missing_unknown_token_is_an_error(void **state)
{
    struct dinm_tokenizer *t = parse_tokenizer(
        "{\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"model\":{\"vocab\":{\"a\":0},"
        "\"merges\":[],\"unk_token\":\"[UNK]\"}}");
    struct dinm_error err = {0};
    struct dinm_ids ids = {0};
    const int32_t before = 9;

    (void)state;
    assert_ids(t, "aa", PLAIN, "0 0");
    assert_ok(dinm_ids_append(&ids, &before, 1, &err), &err);
    assert_failed(dinm_tokenizer_encode(t, "a ax", 4, (struct dinm_encode_options){0}, &ids, &err),
                  DINM_FAILED, &err, "[UNK]");
    assert_int_equal(ids.n_ids, 1);
    dinm_ids_free(&ids);
    dinm_tokenizer_close(t);
}

/* ---- long words ---- */

/* One word of 1 MB: quadratic work would take hours. */
static void a_long_word_takes_no_quadratic_time(void **state)
{
    enum { N = 1 << 20 };
    struct dinm_tokenizer *t =
        parse_tokenizer("{\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"aa\":2,"
                        "\"aab\":3,\"aabaab\":4},\"merges\":[\"a a\",\"aa b\","
                        "\"aab aab\"]}}");
    char *text = malloc(N);
    struct dinm_ids ids;

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < N; i++) {
        text[i] = i % 3 == 2 ? 'b' : 'a';
    }
    ids = encode_bytes(t, text, N, PLAIN);
    assert_int_equal(ids.n_ids, N / 6 + 2); /* ... aabaab aab a */
    assert_int_equal(ids.ids[0], 4);
    assert_int_equal(ids.ids[ids.n_ids - 2], 3);
    assert_int_equal(ids.ids[ids.n_ids - 1], 0);
    dinm_ids_free(&ids);
    dinm_tokenizer_close(t);
    free(text);
}

/* ---- no memory ---- */

static const char everything[] =
    "{\"added_tokens\":[{\"id\":3,\"content\":\"<s>\",\"special\":true,\"lstrip\":true},"
    "{\"id\":4,\"content\":\"Xy\",\"single_word\":true}],"
    "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Lowercase\"},"
    "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"b+\"},\"content\":\"b\"}]},"
    "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Metaspace\"},"
    "{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Contiguous\"},"
    "{\"type\":\"ByteLevel\"}]},"
    "\"post_processor\":{\"type\":\"RobertaProcessing\",\"cls\":[\"a\",0],\"sep\":[\"b\",1]},"
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":"
    "{\"String\":\"b\"},\"content\":\"c\"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},"
    "{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":1},{\"type\":\"ByteLevel\"},"
    "{\"type\":\"Metaspace\"}]},"
    "\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"],\"unk_token\":\"a\"}}";

static int whole_way(void *context, struct dinm_error *err)
{
    static const char text[] = "ab  <s> bb Xy aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct dinm_tokenizer *t = NULL;
    struct dinm_ids ids = {0};
    struct dinm_buffer back = {0};
    int status;

    (void)context;
    TRY(dinm_tokenizer_parse(&t, "test", everything, strlen(everything), err));
    TRY(dinm_tokenizer_encode(t, text, strlen(text),
                              (struct dinm_encode_options){.special = true, .control = true}, &ids,
                              err));
    TRY(dinm_tokenizer_decode(t, ids.ids, ids.n_ids, false, &back, err));
out:
    dinm_tokenizer_close(t);
    dinm_ids_free(&ids);
    dinm_buffer_free(&back);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    fault_cjson();
    fail_each_allocation(whole_way, NULL);
    cJSON_InitHooks(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_words_are_joined_as_defined),
        cmocka_unit_test(unknown_characters),
        cmocka_unit_test(a_missing_unknown_token_is_an_error),
        cmocka_unit_test(a_long_word_takes_no_quadratic_time),
        cmocka_unit_test(every_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
