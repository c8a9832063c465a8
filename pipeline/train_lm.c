/* Records of the objective "lm": texts, or prompts and responses, one a line. */
#include <string.h>

#include "pipeline/train_private.h"

/* Tokens of the text with the special tokens that the tokenizer puts before it, and none behind. */
static int encode_open(struct dinm_ids *ids, const char *text, size_t n_bytes,
                       const struct dinm_tokenizer *tokenizer, struct dinm_error *err)
{
    const struct dinm_encode_options options = {.special = true};
    const size_t first = ids->n_ids;
    if (dinm_tokenizer_encode(tokenizer, text, n_bytes, options, ids, err) < 0) {
        return DINM_FAILED;
    }
    if (ids->n_ids > first && ids->ids[ids->n_ids - 1] == dinm_tokenizer_eos(tokenizer)) {
        ids->n_ids--;
    }
    return DINM_OK;
}

/* prompt + response as one text; *n_prompt: tokens of the prompt alone. */
static int encode_pair(struct dinm_ids *ids, size_t *n_prompt, struct dinm_json line,
                       const struct dinm_tokenizer *tokenizer, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer text = {0};
    struct dinm_ids alone = {0};
    const char *prompt = NULL;
    const char *response = NULL;
    TRY(dinm_json_get_text(line, "prompt", &prompt, err));
    TRY(dinm_json_get_text(line, "response", &response, err));
    TRY(dinm_buffer_append_text(&text, prompt, err));
    TRY(dinm_buffer_append_text(&text, response, err));
    TRY(encode_open(&alone, prompt, strlen(prompt), tokenizer, err));
    TRY(encode_open(ids, text.data, text.n_bytes, tokenizer, err));
    *n_prompt = alone.n_ids;
out:
    dinm_buffer_free(&text);
    dinm_ids_free(&alone);
    return status;
}

int dinm_train_lm_read(struct dinm_train_data *data, struct dinm_json line,
                       const struct dinm_train_reader *reader, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_train_record record = {.first = data->ids.n_ids};
    const int32_t eos = dinm_tokenizer_eos(reader->tokenizer);
    const char *text = NULL;
    if (dinm_json_find(line.object, "prompt") == NULL) {
        TRY(dinm_json_get_text(line, "text", &text, err));
        TRY(encode_open(&data->ids, text, strlen(text), reader->tokenizer, err));
    } else if (dinm_json_find(line.object, "text") != NULL) {
        return dinm_fail(err, DINM_FAILED, "%s: give either text, or prompt and response",
                         line.where);
    } else {
        TRY(encode_pair(&data->ids, &record.loss_from, line, reader->tokenizer, err));
    }
    if (eos < 0) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: the tokenizer has no end-of-sequence token to learn", line.where);
    }
    TRY(dinm_ids_append(&data->ids, &eos, 1, err));
    record.loss_from = record.loss_from == 0 ? 1 : record.loss_from;
    if (data->ids.n_ids - record.first > reader->max_tokens) {
        data->ids.n_ids = record.first + reader->max_tokens;
        data->n_cut++;
    }
    if (data->ids.n_ids - record.first <= record.loss_from) {
        data->ids.n_ids = record.first;
        data->n_left_out++;
        return DINM_OK;
    }
    TRY(dinm_train_data_add(data, record, err));
out:
    return status;
}
