/* Texts in, texts out: encode, cut, decode together, back to text. */
#include "pipeline/answer.h"

#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "io/json.h"
#include "io/mem.h"
#include "pipeline/decode.h"

void dinm_replies_free(struct dinm_reply *replies, size_t n)
{
    for (size_t i = 0; replies && i < n; i++) {
        free(replies[i].text);
        replies[i] = (struct dinm_reply){0};
    }
}

/* prompts: [n] appended to; requests: [n] written, borrowing from prompts. */
static int encode_asks(const struct dinm_job *job, const struct dinm_ask *asks, size_t n,
                       struct dinm_ids *prompts, struct dinm_request *requests,
                       struct dinm_reply *replies, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_settings *s = job->settings;
    int32_t bos = dinm_tokenizer_bos(job->tokenizer);
    for (size_t i = 0; i < n; i++) {
        size_t limit = dinm_prompt_limit(s, job->slice.config.n_positions, asks[i].max_new);
        TRY(dinm_prompt_encode(job->tokenizer, s, asks[i].text, strlen(asks[i].text), &prompts[i],
                               err));
        replies[i].n_cut = dinm_prompt_cut(&prompts[i], limit, bos);
        requests[i] = (struct dinm_request){.ids = prompts[i].ids,
                                            .n_ids = prompts[i].n_ids,
                                            .edit = asks[i].edit,
                                            .edit_layer = asks[i].edit_layer,
                                            .max_new = asks[i].max_new,
                                            .stream = asks[i].stream};
    }
out:
    return status;
}

int dinm_answer(struct dinm_job *job, const struct dinm_ask *asks, size_t n,
                struct dinm_reply *replies, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_ids *prompts = dinm_alloc(n, sizeof *prompts, "prompts", err);
    struct dinm_ids *answers = dinm_alloc(n, sizeof *answers, "answers", err);
    struct dinm_request *requests = dinm_alloc(n, sizeof *requests, "prompts", err);
    struct dinm_buffer text = {0};
    TRY(prompts && answers && requests ? DINM_OK : DINM_FAILED);
    TRY(encode_asks(job, asks, n, prompts, requests, replies, err));
    TRY(dinm_generate(&job->generator, &job->stage, requests, n, answers, err));
    for (size_t i = 0; i < n; i++) {
        text.n_bytes = 0;
        TRY(dinm_answer_text(job->tokenizer, job->settings->generate.cut, asks[i].text, &prompts[i],
                             &answers[i], &text, err));
        replies[i].text = dinm_copy_text(text.data, text.n_bytes, err);
        replies[i].n_tokens = answers[i].n_ids;
        TRY(replies[i].text ? DINM_OK : DINM_FAILED);
    }
out:
    for (size_t i = 0; i < n; i++) {
        if (prompts) {
            dinm_ids_free(&prompts[i]);
        }
        if (answers) {
            dinm_ids_free(&answers[i]);
        }
    }
    free(prompts);
    free(answers);
    free(requests);
    dinm_buffer_free(&text);
    return status;
}

int dinm_reply_print(const struct dinm_reply *reply, struct dinm_buffer *out,
                     struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_buffer_append_text(out, "{\"response\": ", err));
    TRY(dinm_json_put_text(out, reply->text, strlen(reply->text), err));
    TRY(dinm_buffer_append_format(out, err, ", \"n_tokens\": %zu, \"cut\": %zu}", reply->n_tokens,
                                  reply->n_cut));
out:
    return status;
}

struct dinm_ask dinm_vanilla_ask(const struct dinm_job *job, size_t prompt)
{
    const struct dinm_prompt *p = &job->prompts.prompts[prompt];
    return (struct dinm_ask){
        .text = p->text, .max_new = p->max_new, .stream = dinm_digest(p->text, strlen(p->text), 0)};
}

int dinm_vanilla_put(struct dinm_sink *sink, size_t unit, const struct dinm_reply *reply,
                     struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer payload = {0};
    TRY(dinm_reply_print(reply, &payload, err));
    TRY(dinm_sink_put(sink, unit, &payload, err));
out:
    dinm_buffer_free(&payload);
    return status;
}

int dinm_vanilla_unit(void *context, const size_t *units, size_t n_units, struct dinm_sink *sink,
                      struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_job *job = context;
    struct dinm_ask *asks = dinm_alloc(n_units, sizeof *asks, "prompts", err);
    struct dinm_reply *replies = dinm_alloc(n_units, sizeof *replies, "answers", err);
    TRY(asks && replies ? DINM_OK : DINM_FAILED);
    for (size_t i = 0; i < n_units; i++) {
        asks[i] = dinm_vanilla_ask(job, units[i]);
    }
    TRY(dinm_answer(job, asks, n_units, replies, err));
    for (size_t i = 0; i < n_units; i++) {
        TRY(dinm_vanilla_put(sink, units[i], &replies[i], err));
    }
out:
    dinm_replies_free(replies, n_units);
    free(replies);
    free(asks);
    return status;
}
