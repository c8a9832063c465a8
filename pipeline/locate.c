/* Cases out, distances in: several are under way at once if there are several stages. */
#include "pipeline/locate.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "io/json.h"
#include "io/mem.h"
#include "pipeline/record.h"

int dinm_locate_encode(struct dinm_job *job, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_cases = job->cases.n_cases;
    struct dinm_encode_options options = {.special = job->settings->locate.bos};
    int32_t bos = dinm_tokenizer_bos(job->tokenizer);
    if (dinm_tokenizer_eos(job->tokenizer) < 0) {
        return dinm_fail(err, DINM_FAILED,
                         "%s: the tokenizer names no eos_token, which pads the shorter response",
                         job->settings->model.path);
    }
    job->responses = dinm_alloc(n_cases, sizeof *job->responses, "the response texts", err);
    TRY(job->responses ? DINM_OK : DINM_FAILED);
    for (size_t i = 0; i < n_cases; i++) {
        const struct dinm_case *c = &job->cases.cases[i];
        const char *texts[2] = {c->safe, c->unsafe};
        for (int side = 0; side < 2; side++) {
            struct dinm_ids *ids = &job->responses[i].side[side];
            TRY(dinm_tokenizer_encode(job->tokenizer, texts[side], strlen(texts[side]), options,
                                      ids, err));
            if (ids->n_ids == 0) {
                TRY(dinm_fail(err, DINM_FAILED, "case %lld: its %s generation has no tokens",
                              (long long)c->id, side == 0 ? "safe" : "unsafe"));
            }
            dinm_prompt_cut(ids, job->slice.config.n_positions, bos);
        }
    }
out:
    return status;
}

/* Both texts side by side, the shorter one padded with eos; takes the case's place. */
static int ask_case(struct dinm_job *job, size_t case_index, struct dinm_error *err)
{
    const struct dinm_config *c = &job->slice.config;
    const struct dinm_response_ids *responses = &job->responses[case_index];
    int32_t pad = dinm_tokenizer_eos(job->tokenizer);
    bool left = job->settings->locate.padding == DINM_PAD_LEFT;
    size_t n_safe = responses->side[0].n_ids, n_unsafe = responses->side[1].n_ids;
    size_t n = n_safe > n_unsafe ? n_safe : n_unsafe;
    struct dinm_item *item = dinm_item_new(DINM_ITEM_LOCATE,
                                           (struct dinm_item_counts){.n_sequences = 2,
                                                                     .n_ids = 2 * n,
                                                                     .n_values = c->n_layers,
                                                                     .n_rows = 2 * n,
                                                                     .width = c->d_model},
                                           err);
    if (item == NULL) {
        return DINM_FAILED;
    }
    item->task = item->place = case_index;
    for (size_t side = 0; side < 2; side++) {
        const struct dinm_ids *ids = &responses->side[side];
        int32_t *row = dinm_item_ids(item) + side * n;
        size_t start = left ? n - ids->n_ids : 0;
        for (size_t i = 0; i < n; i++) {
            row[i] = pad;
        }
        memcpy(row + start, ids->ids, ids->n_ids * sizeof *row);
        dinm_item_sequences(item)[side] = (struct dinm_item_sequence){
            .n_rows = n, .key_first = start, .key_last = start + ids->n_ids};
    }
    return dinm_stage_ask(&job->stage, item, err);
}

/* The layer with the largest distance, the lowest among equals. */
static size_t choose_layer(const float *distances, size_t n_layers)
{
    size_t best = 0;
    for (size_t l = 1; l < n_layers; l++) {
        best = distances[l] > distances[best] ? l : best;
    }
    return best;
}

/* Closes the payload with the digest of the case's hidden states in the archive, by which a later
 * run knows that they are still what was written. */
static int put_located(struct dinm_job *job, struct dinm_sink *sink, const struct dinm_item *item,
                       struct dinm_buffer *payload, struct dinm_error *err)
{
    int status = DINM_OK;
    if (job->archive && job->settings->archive.hidden != DINM_HIDDEN_NONE) {
        TRY(dinm_buffer_append_format(payload, err, ", \"states\": \"%016" PRIx64 "\"",
                                      item->states));
    }
    TRY(dinm_buffer_append_text(payload, "}", err));
    TRY(dinm_sink_put(sink, (size_t)item->task, payload, err));
out:
    return status;
}

static int print_located(struct dinm_buffer *payload, size_t layer, const float *distances,
                         size_t n_layers, struct dinm_error *err)
{
    int status = DINM_OK;
    TRY(dinm_buffer_append_format(payload, err, "{\"layer\": %zu, \"distances\": [", layer));
    for (size_t l = 0; l < n_layers; l++) {
        TRY(dinm_buffer_append_text(payload, l == 0 ? "" : ", ", err));
        TRY(dinm_json_put_float(payload, distances[l], err));
    }
    TRY(dinm_buffer_append_text(payload, "]", err));
out:
    return status;
}

/* The first layer whose distance is not a finite number; n_layers if there is none. */
static size_t first_broken(const float *distances, size_t n_layers)
{
    size_t l = 0;
    while (l < n_layers && isfinite(distances[l])) {
        l++;
    }
    return l;
}

/* A case is back: journals it. */
static int take_case(struct dinm_job *job, const struct dinm_item *item, struct dinm_sink *sink,
                     struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_layers = job->slice.config.n_layers, case_index = (size_t)item->task;
    const float *distances = dinm_item_values(item);
    struct dinm_buffer payload = {0};
    if (item->error.status < 0) {
        TRY(dinm_fail(err, item->error.status, "%s", item->error.text));
    }
    size_t layer = choose_layer(distances, n_layers);
    size_t broken = first_broken(distances, n_layers);
    if (broken < n_layers) {
        TRY(dinm_buffer_append_format(
            &payload, err, "{\"failed\": \"its hidden states are not finite after layer %zu\"",
            broken));
    } else {
        TRY(job->archive ? dinm_archive_write_distance(job->archive, case_index, distances,
                                                       (int32_t)layer, err)
                         : DINM_OK);
        TRY(print_located(&payload, layer, distances, n_layers, err));
    }
    TRY(put_located(job, sink, item, &payload, err));
out:
    dinm_buffer_free(&payload);
    return status;
}

int dinm_locate_unit(void *context, const size_t *units, size_t n_units, struct dinm_sink *sink,
                     struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_job *job = context;
    size_t most = job->stage.ring.n_stages > 1 ? 4 * (size_t)job->stage.ring.n_stages : 1;
    size_t n = n_units; /* fewer if it is over before */
    for (size_t n_asked = 0, n_done = 0; n_done < n;) {
        struct dinm_item *item;
        n = n_asked > 0 && dinm_sink_is_over(sink) ? n_asked : n;
        if (n_asked < n && n_asked - n_done < most) {
            TRY(ask_case(job, units[n_asked++], err));
            continue;
        }
        TRY(dinm_stage_result(&job->stage, &item, err));
        status = take_case(job, item, sink, err);
        free(item);
        TRY(status);
        n_done++;
    }
    TRY(n < n_units ? dinm_fail(err, DINM_STOPPED, "stopped in phase locate") : DINM_OK);
out:
    return status;
}

int dinm_locate_layer(const struct dinm_job *job, size_t case_index, size_t *layer,
                      bool *own_failure, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_settings *s = job->settings;
    cJSON *tree = NULL;
    int64_t found = 0;
    int64_t n_layers = (int64_t)job->slice.config.n_layers;
    *own_failure = false;
    if (s->locate.n_layers > 0) {
        found = s->locate.layers[0];
    } else {
        size_t unit = s->locate.when == DINM_LOCATE_FIRST ? 0 : case_index;
        TRY(dinm_record_parse(&job->records[DINM_LOCATE], unit, &tree, err));
        struct dinm_json j = {tree, "the journal's record of phase locate"};
        const char *reason = dinm_record_failure(tree);
        *own_failure = reason != NULL;
        TRY(reason ? dinm_fail(err, DINM_FAILED, "%s", reason) : DINM_OK);
        TRY(dinm_json_get_int(j, "layer", 0, n_layers - 1, &found, err));
    }
    *layer = (size_t)found;
out:
    cJSON_Delete(tree);
    return status;
}
