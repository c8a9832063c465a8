/* Both responses of a case run through all layers side by side, the shorter padded with eos. */
#include "pipeline/locate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "io/json.h"
#include "io/mem.h"
#include "model/norm.h"
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

/* The two padded texts and every layer's states. */
struct reading {
    size_t n;                       /* tokens of each padded text */
    size_t start[2];                /* first real row of each text within its n */
    size_t n_real[2];
    struct dinm_sequence sequences[2];
    int32_t *ids;    /* owns: [2][n] */
    float *states;   /* owns: [n_layers + 1][2][n][d_model]: embeddings, then after each layer */
    float *normed;   /* owns: [2][n][d_model]: the last state after the final norm */
    float **taps;    /* owns: [n_layers] into states */
    float *x;        /* owns: [2][n][d_model] */
    struct dinm_workspace *ws; /* owns */
};

static void reading_close(struct reading *r)
{
    dinm_workspace_free(r->ws);
    free(r->ids);
    free(r->states);
    free(r->normed);
    free(r->taps);
    free(r->x);
}

static int reading_open(struct reading *r, const struct dinm_job *job, size_t case_index,
                        struct dinm_error *err)
{
    const struct dinm_config *c = &job->slice.config;
    const struct dinm_response_ids *responses = &job->responses[case_index];
    int32_t pad = dinm_tokenizer_eos(job->tokenizer);
    bool left = job->settings->locate.padding == DINM_PAD_LEFT;
    size_t n_safe = responses->side[0].n_ids;
    size_t n_unsafe = responses->side[1].n_ids;
    r->n = n_safe > n_unsafe ? n_safe : n_unsafe;
    size_t plane = 2 * r->n * c->d_model;
    r->ids = dinm_alloc(2 * r->n, sizeof *r->ids, "the response texts", err);
    r->states = dinm_alloc((c->n_layers + 1) * plane, sizeof *r->states, "hidden states", err);
    r->normed = dinm_alloc(plane, sizeof *r->normed, "hidden states", err);
    r->x = dinm_alloc(plane, sizeof *r->x, "hidden states", err);
    r->taps = dinm_alloc(c->n_layers, sizeof *r->taps, "hidden states", err);
    if (!r->ids || !r->states || !r->normed || !r->x || !r->taps) {
        return DINM_FAILED;
    }
    for (size_t l = 0; l < c->n_layers; l++) {
        r->taps[l] = r->states + (l + 1) * plane;
    }
    for (size_t side = 0; side < 2; side++) {
        const struct dinm_ids *ids = &responses->side[side];
        int32_t *row = r->ids + side * r->n;
        r->n_real[side] = ids->n_ids;
        r->start[side] = left ? r->n - ids->n_ids : 0;
        for (size_t i = 0; i < r->n; i++) {
            row[i] = pad;
        }
        memcpy(row + r->start[side], ids->ids, ids->n_ids * sizeof *row);
        r->sequences[side] = (struct dinm_sequence){.n_rows = r->n,
                                                    .key_first = r->start[side],
                                                    .key_last = r->start[side] + ids->n_ids};
    }
    return DINM_OK;
}

static int reading_run(struct reading *r, const struct dinm_slice *slice, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_config *c = &slice->config;
    struct dinm_rows rows = {.sequences = r->sequences, .n_sequences = 2, .n_rows = 2 * r->n};
    struct dinm_taps taps = {.resid_post = r->taps};
    size_t plane = 2 * r->n * c->d_model;
    TRY(dinm_workspace_reserve(&r->ws, c, &rows, err));
    dinm_slice_embed(slice, r->x, r->ids, rows.n_rows);
    memcpy(r->states, r->x, plane * sizeof *r->x);
    dinm_slice_forward(slice, r->x, &rows, 0, c->n_layers, NULL, &taps, r->ws);
    dinm_rmsnorm(r->normed, r->x, slice->weights.final_norm, c->norm_eps, rows.n_rows, c->d_model);
out:
    return status;
}

/* Frobenius norm of the difference of two [n] arrays. */
static float distance(const float *a, const float *b, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - (double)b[i];
        sum += d * d;
    }
    return (float)sqrt(sum);
}

/* distances: [n_layers]; returns the layer with the largest, the lowest among equals. */
static size_t measure(float *distances, const struct reading *r, const struct dinm_config *c,
                      bool final_norm)
{
    size_t half = r->n * c->d_model;
    size_t best = 0;
    for (size_t l = 0; l < c->n_layers; l++) {
        bool last = l + 1 == c->n_layers;
        const float *h = last && final_norm ? r->normed : r->taps[l];
        distances[l] = distance(h, h + half, half);
        best = distances[l] > distances[best] ? l : best;
    }
    return best;
}

/* The plane of states that the archive holds for layer l of 0..n_layers (HF's hidden_states). */
static const float *archived_plane(const struct reading *r, const struct dinm_config *c, size_t l)
{
    return l == c->n_layers ? r->normed : r->states + l * 2 * r->n * c->d_model;
}

/* Writes one side's hidden states as archive.hidden says. */
static int archive_side(const struct dinm_job *job, const struct reading *r, size_t case_index,
                        size_t side, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_config *c = &job->slice.config;
    enum dinm_archive_hidden kind = job->settings->archive.hidden;
    size_t d = c->d_model;
    size_t n_real = r->n_real[side];
    size_t n_kept = kind == DINM_HIDDEN_FULL ? n_real : 1;
    float *out = dinm_alloc((c->n_layers + 1) * n_kept * d, sizeof *out, "hidden states", err);
    TRY(out ? DINM_OK : DINM_FAILED);
    for (size_t l = 0; l <= c->n_layers; l++) {
        const float *real = archived_plane(r, c, l) + (side * r->n + r->start[side]) * d;
        float *to = out + l * n_kept * d;
        if (kind == DINM_HIDDEN_FULL) {
            memcpy(to, real, n_real * d * sizeof *to);
        } else if (kind == DINM_HIDDEN_LAST) {
            memcpy(to, real + (n_real - 1) * d, d * sizeof *to);
        } else {
            for (size_t j = 0; j < d; j++) {
                double sum = 0.0;
                for (size_t i = 0; i < n_real; i++) {
                    sum += (double)real[i * d + j];
                }
                to[j] = (float)(sum / (double)n_real);
            }
        }
    }
    TRY(dinm_archive_write_hidden(job->archive, 2 * case_index + side, 0, c->n_layers, out, err));
out:
    free(out);
    return status;
}

static int put_located(struct dinm_sink *sink, size_t unit, size_t layer, const float *distances,
                       size_t n_layers, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_buffer payload = {0};
    TRY(dinm_buffer_append_format(&payload, err, "{\"layer\": %zu, \"distances\": [", layer));
    for (size_t l = 0; l < n_layers; l++) {
        TRY(dinm_buffer_append_text(&payload, l == 0 ? "" : ", ", err));
        TRY(dinm_json_put_float(&payload, distances[l], err));
    }
    TRY(dinm_buffer_append_text(&payload, "]}", err));
    TRY(dinm_sink_put(sink, unit, &payload, err));
out:
    dinm_buffer_free(&payload);
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

static int locate_case(struct dinm_job *job, size_t case_index, struct dinm_sink *sink,
                       struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_config *c = &job->slice.config;
    struct reading r = {0};
    float *distances = dinm_alloc(c->n_layers, sizeof *distances, "distances", err);
    TRY(distances ? DINM_OK : DINM_FAILED);
    TRY(reading_open(&r, job, case_index, err));
    TRY(reading_run(&r, &job->slice, err));
    size_t layer = measure(distances, &r, c, job->settings->locate.final_norm);
    size_t broken = first_broken(distances, c->n_layers);
    if (broken < c->n_layers) {
        TRY(dinm_record_put_failure(sink, case_index, err,
                                    "its hidden states are not finite after layer %zu", broken));
        goto out;
    }
    if (job->archive) {
        for (size_t side = 0; job->settings->archive.hidden != DINM_HIDDEN_NONE && side < 2;
             side++) {
            TRY(archive_side(job, &r, case_index, side, err));
        }
        TRY(dinm_archive_write_distance(job->archive, case_index, distances, (int32_t)layer, err));
    }
    TRY(put_located(sink, case_index, layer, distances, c->n_layers, err));
out:
    reading_close(&r);
    free(distances);
    return status;
}

int dinm_locate_unit(void *context, const size_t *units, size_t n_units, struct dinm_sink *sink,
                     struct dinm_error *err)
{
    int status = DINM_OK;
    for (size_t i = 0; i < n_units; i++) {
        TRY(locate_case(context, units[i], sink, err));
    }
out:
    return status;
}

int dinm_locate_layer(const struct dinm_job *job, size_t case_index, size_t *layer,
                      struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_settings *s = job->settings;
    cJSON *tree = NULL;
    int64_t found = 0;
    int64_t n_layers = (int64_t)job->slice.config.n_layers;
    if (s->locate.n_layers > 0) {
        found = s->locate.layers[0];
    } else {
        size_t unit = s->locate.when == DINM_LOCATE_FIRST ? 0 : case_index;
        TRY(dinm_record_parse(&job->records[DINM_LOCATE], unit, &tree, err));
        struct dinm_json j = {tree, "the journal's record of phase locate"};
        const char *reason = dinm_record_failure(tree);
        TRY(reason ? dinm_fail(err, DINM_FAILED, "%s", reason) : DINM_OK);
        TRY(dinm_json_get_int(j, "layer", 0, n_layers - 1, &found, err));
    }
    *layer = (size_t)found;
out:
    cJSON_Delete(tree);
    return status;
}
