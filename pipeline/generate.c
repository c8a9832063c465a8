/* What decoding needs to know beforehand, and answers as text. */
#include "pipeline/generate.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "io/file.h"
#include "io/json.h"
#include "io/mem.h"

/* do_sample, temperature, top_p, top_k; greedy unless do_sample says otherwise. */
static int read_sampling(struct dinm_sampler *sampler, struct dinm_json j, struct dinm_error *err)
{
    int status = DINM_OK;
    bool draws = false;
    int64_t top_k = 50; /* the library's default when sampling is on and nothing is said */
    double temperature = 1.0;
    TRY(dinm_json_get_bool_or(j, "do_sample", &draws, err));
    TRY(dinm_json_get_number_or(j, "temperature", &temperature, err));
    TRY(dinm_json_get_number_or(j, "top_p", &sampler->top_p, err));
    TRY(dinm_json_get_int_or(j, "top_k", 0, INT32_MAX, &top_k, err));
    if (draws && temperature <= 0.0) {
        TRY(dinm_fail(err, DINM_FAILED,
                      "%s: temperature: expected a number above 0 to sample with, found %g",
                      j.where, temperature));
    }
    if (draws && (sampler->top_p <= 0.0 || sampler->top_p > 1.0)) {
        TRY(dinm_fail(err, DINM_FAILED,
                      "%s: top_p: expected a number above 0 and at most 1, found %g", j.where,
                      sampler->top_p));
    }
    sampler->temperature = draws ? temperature : 0.0;
    sampler->top_k = (size_t)top_k;
out:
    return status;
}

/* Reads end-of-text ids and, if asked, sampling from generation_config.json. */
static int read_generation_config(struct dinm_generator *g, const char *path, bool sampling,
                                  struct dinm_error *err)
{
    int status = DINM_OK;
    cJSON *tree = NULL;
    TRY(dinm_json_load(path, &tree, err));
    const cJSON *eos = dinm_json_find(tree, "eos_token_id");
    const cJSON *items = cJSON_IsArray(eos) ? eos->child : eos;
    for (const cJSON *item = items; item; item = cJSON_IsArray(eos) ? item->next : NULL) {
        double value = cJSON_IsNumber(item) ? item->valuedouble : -1.0;
        int32_t id = value >= 0.0 && value <= INT32_MAX ? (int32_t)value : -1;
        if (id < 0 || (double)id != value) {
            TRY(dinm_fail(err, DINM_FAILED, "%s: eos_token_id: expected token ids", path));
        }
        TRY(dinm_ids_append(&g->eos, &id, 1, err));
    }
    if (sampling) {
        TRY(read_sampling(&g->sampler, (struct dinm_json){tree, path}, err));
    }
out:
    cJSON_Delete(tree);
    return status;
}

int dinm_generator_open(struct dinm_generator *g, const struct dinm_config *config,
                        const struct dinm_tokenizer *t, const struct dinm_settings *s,
                        const char *folder, struct dinm_error *err)
{
    int status = DINM_OK;
    char *path = NULL;
    bool samples = s->generate.decoding == DINM_DECODE_SAMPLE;
    *g = (struct dinm_generator){.config = config,
                                 .max_sequences = 64,
                                 .max_rows = 1024,
                                 .share_prefixes = s->run.share_prefixes,
                                 .least_late = 16};
    g->sampler = (struct dinm_sampler){.temperature = samples ? s->generate.temperature : 0.0,
                                       .top_p = samples ? s->generate.top_p : 1.0,
                                       .seed = (uint64_t)s->generate.seed};
    int32_t eos = t ? dinm_tokenizer_eos(t) : -1;
    if (eos >= 0) {
        TRY(dinm_ids_append(&g->eos, &eos, 1, err));
    }
    path = dinm_path_join(folder, "generation_config.json", err);
    TRY(path ? DINM_OK : DINM_FAILED);
    if (dinm_path_exists(path)) {
        TRY(read_generation_config(g, path, s->generate.decoding == DINM_DECODE_CHECKPOINT, err));
    }
out:
    free(path);
    if (status < 0) {
        dinm_generator_close(g);
    }
    return status;
}

void dinm_generator_close(struct dinm_generator *g)
{
    dinm_ids_free(&g->eos);
    g->config = NULL;
}

/* Byte offset behind the first n characters of UTF-8 text. */
static size_t skip_characters(const char *text, size_t n)
{
    size_t at = 0;
    while (n > 0 && text[at] != '\0') {
        at++;
        while (((unsigned char)text[at] & 0xC0U) == 0x80U) {
            at++;
        }
        n--;
    }
    return at;
}

static size_t count_characters(const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++) {
        n += ((unsigned char)*text & 0xC0U) != 0x80U;
    }
    return n;
}

/* NUL bytes would end the text early for every reader: shown as U+FFFD. */
static int append_without_nul(struct dinm_buffer *out, const char *text, size_t n_bytes,
                              struct dinm_error *err)
{
    int status = dinm_buffer_append(out, "", 0, err);
    while (status >= 0 && n_bytes > 0) {
        size_t n = 0;
        while (n < n_bytes && text[n] != '\0') {
            n++;
        }
        status = dinm_buffer_append(out, text, n, err);
        if (status >= 0 && n < n_bytes) {
            status = dinm_buffer_append_text(out, "\xEF\xBF\xBD", err);
            n++;
        }
        text += n;
        n_bytes -= n;
    }
    return status;
}

int dinm_answer_text(const struct dinm_tokenizer *t, enum dinm_cut cut, const char *prompt_text,
                     const struct dinm_ids *prompt, const struct dinm_ids *answer,
                     struct dinm_buffer *out, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer text = {0};
    struct dinm_ids all = {0};
    size_t at = 0;
    TRY(dinm_buffer_append(&text, "", 0, err));
    if (cut == DINM_CUT_CHARACTERS) {
        TRY(dinm_ids_append(&all, prompt->ids, prompt->n_ids, err));
    }
    TRY(dinm_ids_append(&all, answer->ids, answer->n_ids, err));
    TRY(dinm_tokenizer_decode(t, all.ids, all.n_ids, true, &text, err));
    if (cut == DINM_CUT_CHARACTERS) {
        at = skip_characters(text.data, count_characters(prompt_text) + 1);
    }
    TRY(append_without_nul(out, text.data + at, text.n_bytes - at, err));
out:
    dinm_ids_free(&all);
    dinm_buffer_free(&text);
    return status;
}
