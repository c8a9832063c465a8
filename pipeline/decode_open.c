/* The decoding batch before the first item: lanes, and the order in which requests enter. */
#include <stdlib.h>
#include "io/mem.h"
#include "pipeline/decode_private.h"
#include "pipeline/prefix.h"

void dinm_decode_close(struct dinm_decode *d)
{
    if (d == NULL) {
        return;
    }
    for (size_t i = 0; d->lanes && i < d->n_lanes; i++) {
        free(d->lanes[i].sequences);
    }
    free(d->lanes);
    free(d->sequences);
    free(d->closing);
    free(d);
}

/* One lane for each stage and one that is between two of them. More would leave fewer rows in each,
 * and a stage reads its weights once for all rows of a lane. */
size_t dinm_decode_n_lanes(size_t n_stages)
{
    return n_stages > 1 ? n_stages + 1 : 1;
}

/* A stage holds that part of each cache that belongs to its layers: so many stages have room for so
 * many times as many. */
size_t dinm_decode_most(const struct dinm_generator *g, size_t n_stages)
{
    size_t n_lanes = dinm_decode_n_lanes(n_stages), most = g->max_sequences * n_stages;
    return most > n_lanes ? most / n_lanes * n_lanes : n_lanes;
}

static int open_lanes(struct dinm_decode *d, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_stages = (size_t)d->stage->ring.n_stages;
    d->n_lanes = dinm_decode_n_lanes(n_stages);
    d->most = dinm_decode_most(d->g, n_stages) / d->n_lanes;
    d->lanes = dinm_alloc(d->n_lanes, sizeof *d->lanes, "the decoding batch", err);
    d->closing = dinm_alloc(3 * d->most, sizeof *d->closing, "the decoding batch", err);
    TRY(d->lanes && d->closing ? DINM_OK : DINM_FAILED);
    for (size_t i = 0; i < d->n_lanes; i++) {
        d->lanes[i].sequences = dinm_alloc(d->most, sizeof(size_t), "the decoding batch", err);
        TRY(d->lanes[i].sequences ? DINM_OK : DINM_FAILED);
    }
out:
    return status;
}

/* The last in the order of requests. */
static void add_sequence(struct dinm_decode *d, const struct dinm_prefix *place)
{
    const struct dinm_request *r = place->request;
    size_t n_positions = d->g->config->n_positions, n = r->n_ids + r->max_new;
    d->sequences[d->n] = (struct sequence){.request = r,
                                           .answer = place->answer,
                                           .slot = d->stage->n_slots++,
                                           /* The last new token is never read. */
                                           .capacity = n < n_positions ? n : n_positions,
                                           .n_shared = place->n_shared,
                                           .n_kept = place->n_kept};
    if (place->n_shared > 0) {
        d->sequences[d->n].from = d->n - 1;
        d->sequences[d->n - 1].n_borrowers++;
    }
    d->n++;
}

/* Those that want an answer, in the order in which they enter. */
static int open_sequences(struct dinm_decode *d, const struct dinm_request *requests, size_t n,
                          struct dinm_ids *answers, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_places = 0, n_positions = d->g->config->n_positions;
    struct dinm_prefix *places = dinm_alloc(n, sizeof *places, "prompts", err);
    d->sequences = dinm_alloc(n, sizeof *d->sequences, "prompts", err);
    TRY(places && d->sequences ? DINM_OK : DINM_FAILED);
    for (size_t i = 0; i < n; i++) {
        if (requests[i].n_ids == 0 || requests[i].n_ids > n_positions) {
            TRY(dinm_fail(err, DINM_FAILED,
                          "a prompt has %zu tokens; expected 1 to the model's %zu positions",
                          requests[i].n_ids, n_positions));
        }
        if (requests[i].max_new > 0) {
            places[n_places++] =
                (struct dinm_prefix){.request = &requests[i], .answer = &answers[i]};
        }
    }
    d->entry_layer = d->g->config->n_layers;
    if (d->g->share_prefixes) {
        dinm_prefix_find(places, n_places);
        TRY(dinm_prefix_find_entry(places, n_places, d->g->config->n_layers, d->g->least_late,
                                   &d->entry_layer, err));
    }
    for (size_t i = 0; i < n_places; i++) {
        add_sequence(d, &places[i]);
    }
    d->n_unanswered = d->n_unbegun = d->n;
out:
    free(places);
    return status;
}

int dinm_decode_open(struct dinm_decode **out, const struct dinm_generator *g,
                     struct dinm_stage *stage, const struct dinm_request *requests, size_t n,
                     struct dinm_ids *answers, struct dinm_error *err)
{
    int status = DINM_OK;
    struct dinm_decode *d = dinm_alloc(1, sizeof *d, "the decoding batch", err);
    TRY(d ? DINM_OK : DINM_FAILED);
    *d = (struct dinm_decode){.g = g, .stage = stage};
    TRY(open_lanes(d, err));
    TRY(open_sequences(d, requests, n, answers, err));
    *out = d;
    d = NULL;
out:
    dinm_decode_close(d);
    return status;
}
