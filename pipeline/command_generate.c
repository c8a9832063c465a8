/* generate: one prompt answered, by the same decoding that a job uses. */
#include <string.h>
#include "io/json.h"
#include "io/log.h"
#include "pipeline/command_model.h"
#include "pipeline/commands.h"
#include "pipeline/decode.h"

/* New tokens if --max-new does not say. */
enum { DEFAULT_NEW = 128 };

static int answer(const struct dinm_prompted *p, const char *folder, int64_t max_new,
                  struct dinm_ids *ids, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_settings greedy = {0};
    struct dinm_generator generator = {0};
    struct dinm_stage stage = {0};
    struct dinm_request request = {.ids = p->prompt.ids,
                                   .n_ids = p->prompt.n_ids,
                                   .edit = p->down != NULL ? 1 : 0,
                                   .edit_layer = p->edit.layer,
                                   .max_new = (size_t)max_new};
    TRY(dinm_settings_init(&greedy, DINM_PROFILE_PAPER, err));
    TRY(dinm_generator_open(&generator, &p->slice.config, p->tokenizer, &greedy, folder, err));
    dinm_stage_open(&stage, &p->slice, &greedy, MPI_COMM_NULL, 0, 1, 0);
    stage.sampler = generator.sampler;
    if (p->down != NULL) {
        TRY(dinm_stage_lend(&stage, 1, &p->edit, err));
    }
    TRY(dinm_generate(&generator, &stage, &request, 1, ids, err));
out:
    dinm_stage_close(&stage);
    dinm_generator_close(&generator);
    dinm_settings_free(&greedy);
    return status;
}

static int print_json(const struct dinm_ids *ids, const struct dinm_buffer *text,
                      struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_buffer_append_text(out, "{\"ids\": [", err));
    TRY(dinm_command_put_ids(ids, ", ", out, err));
    TRY(dinm_buffer_append_text(out, "], \"text\": ", err));
    if (text->data == NULL) {
        TRY(dinm_buffer_append_text(out, "null", err));
    } else {
        TRY(dinm_json_put_text(out, text->data, text->n_bytes, err));
    }
    TRY(dinm_buffer_append_text(out, "}\n", err));
out:
    return status;
}

static int print_plain(const struct dinm_ids *ids, const struct dinm_buffer *text,
                       struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    if (text->data == NULL) {
        TRY(dinm_command_put_ids(ids, ",", out, err));
    } else {
        TRY(dinm_buffer_append(out, text->data, text->n_bytes, err));
    }
    TRY(dinm_buffer_append_text(out, "\n", err));
out:
    return status;
}

/* A model's last position may come before --max-new. */
static void warn_if_long(const struct dinm_prompted *p, int64_t max_new)
{
    size_t n_positions = p->slice.config.n_positions;
    if (p->prompt.n_ids + (size_t)max_new > n_positions) {
        dinm_log(DINM_LOG_NOTICE,
                 "the model has %zu positions and the prompt %zu tokens: the answer ends there, "
                 "before %lld new tokens",
                 n_positions, p->prompt.n_ids, (long long)max_new);
    }
}

int dinm_command_generate(const struct dinm_args *args, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_prompted p = {0};
    struct dinm_ids ids = {0};
    struct dinm_buffer text = {0}, out = {0};
    int64_t max_new = DEFAULT_NEW;
    TRY(dinm_args_int(args, "--max-new", 1, 1000000, &max_new, err));
    TRY(dinm_prompted_open(&p, args, err));
    if (dinm_args_has(args, "--max-new")) {
        warn_if_long(&p, max_new);
    }
    TRY(answer(&p, dinm_args_value(args, "--model"), max_new, &ids, err));
    if (p.tokenizer != NULL) {
        TRY(dinm_answer_text(p.tokenizer, DINM_CUT_TOKENS, p.text, &p.prompt, &ids, &text, err));
    }
    TRY(dinm_args_has(args, "--json") ? print_json(&ids, &text, &out, err)
                                      : print_plain(&ids, &text, &out, err));
    TRY(dinm_command_print(&out, err));
out:
    dinm_buffer_free(&out);
    dinm_buffer_free(&text);
    dinm_ids_free(&ids);
    dinm_prompted_close(&p);
    return status;
}
