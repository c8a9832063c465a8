/* The safe and the unsafe response side by side through a stage's layers: what each layer leaves is
 * measured and, where it is wanted, written into the archive at once; only one layer's states are
 * held. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"
#include "pipeline/stage_private.h"

/* One case on its way through the layers. */
struct reading {
    struct dinm_stage *stage;
    const struct dinm_item_sequence *sides; /* [2]: key_first and key_last bound the real rows */
    float *distances;                       /* [n_layers] */
    size_t n;                               /* rows of each padded text */
    float *normed;                          /* owns: [2][n][d_model], on the last stage */
    float *kept[2]; /* owns: [planes][n_kept][d_model]: what the archive gets of each side */
    size_t n_kept[2];
    size_t n_planes; /* filled so far */
};

static void reading_close(struct reading *r)
{
    free(r->normed);
    free(r->kept[0]);
    free(r->kept[1]);
}

static size_t n_real_of(const struct dinm_item_sequence *side)
{
    return (size_t)(side->key_last - side->key_first);
}

static int reading_open(struct reading *r, struct dinm_stage *stage, const struct dinm_item *item,
                        struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_slice *slice = stage->slice;
    enum dinm_archive_hidden kind = stage->settings->archive.hidden;
    size_t n_planes = slice->weights.last - slice->weights.first + 1;
    size_t d = slice->config.d_model;
    *r = (struct reading){.stage = stage,
                          .sides = dinm_item_sequences(item),
                          .distances = dinm_item_values(item),
                          .n = (size_t)dinm_item_sequences(item)->n_rows};
    if (dinm_stage_is_last(stage)) {
        r->normed = dinm_alloc(2 * r->n * d, sizeof *r->normed, "hidden states", err);
        TRY(r->normed ? DINM_OK : DINM_FAILED);
    }
    for (size_t side = 0; side < 2 && stage->archive && kind != DINM_HIDDEN_NONE; side++) {
        r->n_kept[side] = kind == DINM_HIDDEN_FULL ? n_real_of(&r->sides[side]) : 1;
        r->kept[side] =
            dinm_alloc(n_planes * r->n_kept[side] * d, sizeof(float), "hidden states", err);
        TRY(r->kept[side] ? DINM_OK : DINM_FAILED);
    }
out:
    return status;
}

/* What archive.hidden wants of one side's rows: all real ones, the last, or their mean. */
static void keep_side(float *to, const float *real, size_t n_real, enum dinm_archive_hidden kind,
                      size_t d)
{
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

/* Keeps what the archive wants of x: [2][n][d_model]. */
static void keep_plane(struct reading *r, const float *x)
{
    size_t d = r->stage->slice->config.d_model;
    for (size_t side = 0; side < 2 && r->kept[side]; side++) {
        const float *real = x + (side * r->n + (size_t)r->sides[side].key_first) * d;
        keep_side(r->kept[side] + r->n_planes * r->n_kept[side] * d, real,
                  n_real_of(&r->sides[side]), r->stage->settings->archive.hidden, d);
    }
    r->n_planes++;
}

/* || a - b ||_2 over all rows, padding included (METHOD section 1). a, b: [n] */
static float distance(const float *a, const float *b, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - (double)b[i];
        sum += d * d;
    }
    return (float)sqrt(sum);
}

/* A layer has left x: [2][n][d_model]. */
static void see_layer(void *context, size_t layer, const float *x)
{
    struct reading *r = context;
    const struct dinm_slice *slice = r->stage->slice;
    const struct dinm_config *c = &slice->config;
    size_t half = r->n * c->d_model;
    bool last = layer + 1 == c->n_layers;
    const float *measured = x;
    if (last) {
        dinm_slice_final_norm(slice, r->normed, x, 2 * r->n);
        measured = r->stage->settings->locate.final_norm ? r->normed : x;
    }
    r->distances[layer] = distance(measured, measured + half, half);
    keep_plane(r, last ? r->normed : x); /* as Hugging Face's hidden_states */
    dinm_stage_between(r->stage, layer, x);
}

static int archive_sides(struct reading *r, struct dinm_item *item, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_weights *w = &r->stage->slice->weights;
    size_t first = w->first == 0 ? 0 : w->first + 1; /* plane 0 holds the embeddings */
    for (size_t side = 0; side < 2 && r->kept[side]; side++) {
        TRY(dinm_archive_write_hidden(r->stage->archive, 2 * (size_t)item->place + side, first,
                                      w->last, r->kept[side], &item->states, err));
    }
out:
    return status;
}

int dinm_stage_locate(struct dinm_stage *stage, struct dinm_item **item, struct dinm_error *err)
{
    int status = DINM_OK;
    const struct dinm_slice *slice = stage->slice;
    const struct dinm_weights *w = &slice->weights;
    struct reading r = {0};
    struct dinm_sequence sequences[2];
    struct dinm_rows rows = {.sequences = sequences, .n_sequences = 2};
    struct dinm_taps taps = {.after_layer = see_layer, .context = &r};
    TRY(reading_open(&r, stage, *item, err));
    for (size_t side = 0; side < 2; side++) {
        sequences[side] = (struct dinm_sequence){.n_rows = r.n,
                                                 .key_first = (size_t)r.sides[side].key_first,
                                                 .key_last = (size_t)r.sides[side].key_last};
        rows.n_rows += r.n;
    }
    TRY(dinm_workspace_reserve(&stage->ws, &slice->config, &rows, err));
    if (dinm_stage_is_first(stage)) {
        TRY(dinm_stage_embed(stage, *item, &rows, err));
        keep_plane(&r, dinm_item_rows(*item));
    }
    dinm_slice_forward(slice, dinm_item_rows(*item), &rows, w->first, w->last, NULL, &taps,
                       stage->ws);
    TRY(archive_sides(&r, *item, err));
    TRY(dinm_stage_pass_on(stage, item, err));
out:
    reading_close(&r);
    return status;
}
