/* Continuous batching over a slice: admit, read the new prompts, then one token for everyone. */
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

int dinm_generator_open(struct dinm_generator *g, const struct dinm_slice *slice,
                        const struct dinm_tokenizer *t, const struct dinm_settings *s,
                        const char *folder, struct dinm_error *err)
{
    int status = DINM_OK;
    char *path = NULL;
    bool samples = s->generate.decoding == DINM_DECODE_SAMPLE;
    *g = (struct dinm_generator){.slice = slice, .max_sequences = 64, .max_rows = 1024};
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
    g->slice = NULL;
}

/* One sequence being answered. */
struct slot {
    size_t request; /* which */
    struct dinm_kv kv;
    int32_t next; /* the token chosen last, not yet read by the model */
    size_t n_new;
    bool fresh; /* its prompt is not read yet */
};

struct batch {
    const struct dinm_generator *g;
    const struct dinm_request *requests;
    size_t n_requests, n_admitted;
    struct dinm_ids *answers;
    struct slot *slots; /* owns: [max_sequences], the first n_slots in use */
    size_t n_slots;
    struct dinm_sequence *sequences; /* owns: [max_sequences] */
    size_t *picks;                   /* owns: [max_sequences]: last row of each sequence */
    int32_t *ids;                    /* owns: [row_capacity] */
    float *x;                        /* owns: [row_capacity][d_model] */
    float *normed;                   /* owns: [max_sequences][d_model] */
    float *logits;                   /* owns: [max_sequences][n_vocab] */
    float *room;                     /* owns: [n_vocab] */
    size_t row_capacity;
    struct dinm_workspace *ws; /* owns */
};

static int batch_open(struct batch *b, const struct dinm_generator *g,
                      const struct dinm_request *requests, size_t n, struct dinm_ids *answers,
                      struct dinm_error *err)
{
    const struct dinm_config *c = &g->slice->config;
    size_t n_slots = n < g->max_sequences ? n : g->max_sequences;
    size_t longest = n_slots;
    for (size_t i = 0; i < n; i++) {
        longest = requests[i].n_ids > longest ? requests[i].n_ids : longest;
    }
    *b = (struct batch){.g = g, .requests = requests, .n_requests = n, .answers = answers};
    b->row_capacity = longest > g->max_rows ? longest : g->max_rows;
    b->slots = dinm_alloc(n_slots, sizeof *b->slots, "the decoding batch", err);
    b->sequences = dinm_alloc(n_slots, sizeof *b->sequences, "the decoding batch", err);
    b->picks = dinm_alloc(n_slots, sizeof *b->picks, "the decoding batch", err);
    b->ids = dinm_alloc(b->row_capacity, sizeof *b->ids, "the decoding batch", err);
    b->x = dinm_alloc(b->row_capacity * c->d_model, sizeof *b->x, "the decoding batch", err);
    b->normed = dinm_alloc(n_slots * c->d_model, sizeof *b->normed, "the decoding batch", err);
    b->logits = dinm_alloc(n_slots * c->n_vocab, sizeof *b->logits, "logits", err);
    b->room = dinm_alloc(c->n_vocab, sizeof *b->room, "logits", err);
    bool got =
        b->slots && b->sequences && b->picks && b->ids && b->x && b->normed && b->logits && b->room;
    return got ? DINM_OK : DINM_FAILED;
}

static void batch_close(struct batch *b)
{
    for (size_t i = 0; b->slots && i < b->n_slots; i++) {
        dinm_kv_free(&b->slots[i].kv);
    }
    dinm_workspace_free(b->ws);
    free(b->slots);
    free(b->sequences);
    free(b->picks);
    free(b->ids);
    free(b->x);
    free(b->normed);
    free(b->logits);
    free(b->room);
}

/* Positions the sequence may come to hold; the last new token is never read. */
static size_t positions_needed(const struct dinm_request *r, size_t n_positions)
{
    size_t n = r->n_ids + r->max_new;
    return n < n_positions ? n : n_positions;
}

/* Lets waiting requests in while there are places. */
static int admit(struct batch *b, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_config *c = &b->g->slice->config;
    while (b->n_slots < b->g->max_sequences && b->n_admitted < b->n_requests) {
        const struct dinm_request *r = &b->requests[b->n_admitted];
        if (r->n_ids == 0 || r->n_ids > c->n_positions) {
            TRY(dinm_fail(err, DINM_FAILED,
                          "a prompt has %zu tokens; expected 1 to the model's %zu positions",
                          r->n_ids, c->n_positions));
        }
        if (r->max_new > 0) {
            struct slot *slot = &b->slots[b->n_slots];
            *slot = (struct slot){.request = b->n_admitted, .fresh = true};
            TRY(dinm_kv_init(&slot->kv, c, c->n_layers, positions_needed(r, c->n_positions), err));
            b->n_slots++;
        }
        b->n_admitted++;
    }
out:
    return status;
}

static bool ends_answer(const struct dinm_generator *g, int32_t id)
{
    for (size_t i = 0; i < g->eos.n_ids; i++) {
        if (g->eos.ids[i] == id) {
            return true;
        }
    }
    return false;
}

/* Runs the model over slots [first, last): whole prompts if fresh, else each one's next token. */
static int advance(struct batch *b, size_t first, size_t last, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_slice *slice = b->g->slice;
    const struct dinm_config *c = &slice->config;
    struct dinm_rows rows = {.sequences = b->sequences, .n_sequences = last - first};
    for (size_t i = first; i < last; i++) {
        struct slot *slot = &b->slots[i];
        const struct dinm_request *r = &b->requests[slot->request];
        size_t n = slot->fresh ? r->n_ids : 1;
        memcpy(b->ids + rows.n_rows, slot->fresh ? r->ids : &slot->next, n * sizeof *b->ids);
        b->sequences[i - first] =
            (struct dinm_sequence){.n_rows = n, .kv = &slot->kv, .edit = r->edit};
        rows.n_rows += n;
        b->picks[i - first] = rows.n_rows - 1;
    }
    TRY(dinm_workspace_reserve(&b->ws, c, &rows, err));
    dinm_slice_embed(slice, b->x, b->ids, rows.n_rows);
    dinm_slice_forward(slice, b->x, &rows, 0, c->n_layers, NULL, NULL, b->ws);
    dinm_slice_head(slice, b->logits, b->normed, b->x, b->picks, rows.n_sequences);
    for (size_t i = first; i < last; i++) {
        struct slot *slot = &b->slots[i];
        slot->kv.n_tokens += b->sequences[i - first].n_rows;
        slot->fresh = false;
        slot->next =
            dinm_sample(b->logits + (i - first) * c->n_vocab, &b->g->sampler,
                        b->requests[slot->request].stream, slot->n_new, b->room, c->n_vocab);
    }
out:
    return status;
}

/* Slots [first, n) are fresh: their prompts are read in as few passes as max_rows allows. */
static int read_prompts(struct batch *b, size_t first, struct dinm_error *err)
{
    int status = DINM_OK;
    while (first < b->n_slots) {
        size_t last = first;
        size_t n_rows = 0;
        while (last < b->n_slots) {
            size_t more = b->requests[b->slots[last].request].n_ids;
            if (last > first && n_rows + more > b->g->max_rows) {
                break;
            }
            n_rows += more;
            last++;
        }
        TRY(advance(b, first, last, err));
        first = last;
    }
out:
    return status;
}

/* Takes each slot's chosen token into its answer; finished slots are closed up. */
static int collect(struct batch *b, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_kept = 0;
    for (size_t i = 0; i < b->n_slots; i++) {
        struct slot *slot = &b->slots[i];
        const struct dinm_request *r = &b->requests[slot->request];
        bool done = ends_answer(b->g, slot->next);
        if (!done) {
            TRY(dinm_ids_append(&b->answers[slot->request], &slot->next, 1, err));
            slot->n_new++;
            done = slot->n_new == r->max_new || slot->kv.n_tokens == slot->kv.capacity;
        }
        if (done) {
            dinm_kv_free(&slot->kv);
        } else {
            struct slot kept = *slot;
            *slot = (struct slot){0};
            b->slots[n_kept++] = kept;
        }
    }
    b->n_slots = n_kept;
out:
    return status;
}

int dinm_generate(const struct dinm_generator *g, const struct dinm_request *requests, size_t n,
                  struct dinm_ids *answers, struct dinm_error *err)
{
    int status = DINM_OK;
    struct batch b = {0};
    TRY(batch_open(&b, g, requests, n, answers, err));
    while (b.n_slots > 0 || b.n_admitted < n) {
        size_t n_running = b.n_slots;
        TRY(admit(&b, err));
        if (n_running > 0) {
            TRY(advance(&b, 0, n_running, err));
        }
        TRY(read_prompts(&b, n_running, err));
        TRY(collect(&b, err));
    }
out:
    batch_close(&b);
    return status;
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
