/* For tests of training: a folder with a tokenizer, two tiny configs, and data that can be learned.
 *   tokenizer/{tokenizer.json,tokenizer_config.json}   letters, blank, the merge "ab"
 *   lm/config.json, classify/config.json
 *   lm.jsonl, classify.jsonl, and held-out parts lm_held.jsonl, classify_held.jsonl */
#ifndef DINM_TESTS_TRAIN_FIXTURE_H
#define DINM_TESTS_TRAIN_FIXTURE_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "io/mem.h"

/* <s> 0, </s> 1, <pad> 2, <unk> 3, blank 4, a..z 5..30, ab 31 */
enum { FIXTURE_N_VOCAB = 32, FIXTURE_AB = 31, FIXTURE_A = 5 };

static const char fixture_lm[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_size\": 32,"
    "\"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"num_key_value_heads\": 2,"
    "\"intermediate_size\": 48, \"vocab_size\": 32, \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000,"
    "\"max_position_embeddings\": 64, \"tie_word_embeddings\": true, \"hidden_act\": \"silu\"}";
static const char fixture_classify[] =
    "{\"architectures\": [\"RobertaForSequenceClassification\"], \"model_type\": \"roberta\","
    "\"hidden_size\": 24, \"num_hidden_layers\": 1, \"num_attention_heads\": 2,"
    "\"intermediate_size\": 40, \"vocab_size\": 32, \"max_position_embeddings\": 32,"
    "\"type_vocab_size\": 1, \"layer_norm_eps\": 1e-5, \"pad_token_id\": 2, \"hidden_act\": "
    "\"gelu\"}";

/* Writes folder/name; false and a line on stderr if that fails. */
static bool fixture_write(const char *folder, const char *name, const char *text)
{
    struct dinm_error err = {0};
    char *path = dinm_path_join(folder, name, &err);
    bool fine = path != NULL && dinm_file_write(path, text, strlen(text), &err) == DINM_OK;
    if (!fine) {
        fprintf(stderr, "fixture: %s\n", err.text);
    }
    free(path);
    return fine;
}

static bool fixture_folder(const char *folder, const char *name)
{
    struct dinm_error err = {0};
    char *path = dinm_path_join(folder, name, &err);
    bool fine = path != NULL && dinm_folder_make(path, &err) == DINM_OK;
    free(path);
    return fine;
}

static bool fixture_tokenizer(const char *folder)
{
    struct dinm_buffer b = {0};
    static const char *const special[] = {"<s>", "</s>", "<pad>", "<unk>"};
    dinm_buffer_append_text(&b, "{\"version\": \"1.0\", \"added_tokens\": [", NULL);
    for (int i = 0; i < 4; i++) {
        dinm_buffer_append_format(&b, NULL,
                                  "%s{\"id\": %d, \"content\": \"%s\", \"single_word\": false,"
                                  "\"lstrip\": false, \"rstrip\": false, \"normalized\": false,"
                                  "\"special\": true}",
                                  i == 0 ? "" : ", ", i, special[i]);
    }
    dinm_buffer_append_text(
        &b,
        "], \"normalizer\": null, \"pre_tokenizer\": null, \"decoder\": null,"
        "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\":"
        "{\"id\": \"<s>\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}],"
        "\"pair\": [{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"B\","
        "\"type_id\": 1}}], \"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [0],"
        "\"tokens\": [\"<s>\"]}}},"
        "\"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": \"<unk>\","
        "\"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": false,"
        "\"byte_fallback\": false, \"merges\": [\"a b\"], \"vocab\": {",
        NULL);
    for (int i = 0; i < 4; i++) {
        dinm_buffer_append_format(&b, NULL, "\"%s\": %d, ", special[i], i);
    }
    dinm_buffer_append_text(&b, "\" \": 4, ", NULL);
    for (int i = 0; i < 26; i++) {
        dinm_buffer_append_format(&b, NULL, "\"%c\": %d, ", 'a' + i, FIXTURE_A + i);
    }
    dinm_buffer_append_format(&b, NULL, "\"ab\": %d}}}", FIXTURE_AB);
    bool fine =
        fixture_folder(folder, "tokenizer") &&
        fixture_write(folder, "tokenizer/tokenizer.json", b.data) &&
        fixture_write(folder, "tokenizer/tokenizer_config.json",
                      "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"pad_token\": \"<pad>\","
                      "\"tokenizer_class\": \"PreTrainedTokenizerFast\"}");
    dinm_buffer_free(&b);
    return fine;
}

static unsigned fixture_draw(unsigned *state, unsigned n)
{
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 16) % n;
}

/* Words in an order in which each is followed by one other: what comes next can be learned. */
static bool fixture_lm_data(const char *folder, const char *name, unsigned seed, int n)
{
    static const char *const words[] = {"cat", "sits", "on", "mat", "abba", "runs", "by", "tree"};
    struct dinm_buffer b = {0};
    for (int i = 0; i < n; i++) {
        unsigned word = fixture_draw(&seed, 8);
        const unsigned n_words = 1 + fixture_draw(&seed, 6);
        const bool pair = fixture_draw(&seed, 3) == 0;
        dinm_buffer_append_text(
            &b, pair ? "{\"prompt\": \"say \", \"response\": \"" : "{\"text\": \"", NULL);
        for (unsigned k = 0; k < n_words; k++, word = (word + 3) % 8) {
            dinm_buffer_append_format(&b, NULL, "%s%s", k == 0 ? "" : " ", words[word]);
        }
        dinm_buffer_append_text(&b, "\"}\n", NULL);
    }
    bool fine = fixture_write(folder, name, b.data);
    dinm_buffer_free(&b);
    return fine;
}

/* Letters; the label says whether there is a q among them. */
static bool fixture_classify_data(const char *folder, const char *name, unsigned seed, int n)
{
    struct dinm_buffer b = {0};
    for (int i = 0; i < n; i++) {
        const bool label = fixture_draw(&seed, 2) == 1;
        const unsigned n_letters = 3 + fixture_draw(&seed, 18);
        const unsigned place = fixture_draw(&seed, n_letters);
        dinm_buffer_append_text(&b, "{\"text\": \"", NULL);
        for (unsigned k = 0; k < n_letters; k++) {
            const char letter = (char)('a' + fixture_draw(&seed, 16));
            dinm_buffer_append_format(&b, NULL, "%c", label && k == place ? 'q' : letter);
        }
        dinm_buffer_append_format(&b, NULL, "\", \"label\": %d}\n", label);
    }
    bool fine = fixture_write(folder, name, b.data);
    dinm_buffer_free(&b);
    return fine;
}

static bool fixture_make(const char *folder)
{
    return fixture_tokenizer(folder) && fixture_folder(folder, "lm") &&
           fixture_folder(folder, "classify") &&
           fixture_write(folder, "lm/config.json", fixture_lm) &&
           fixture_write(folder, "classify/config.json", fixture_classify) &&
           fixture_lm_data(folder, "lm.jsonl", 1, 150) &&
           fixture_lm_data(folder, "lm_held.jsonl", 2, 23) &&
           fixture_classify_data(folder, "classify.jsonl", 3, 150) &&
           fixture_classify_data(folder, "classify_held.jsonl", 4, 23);
}

#endif
