/* Equal beginnings by sorting. */
#include "pipeline/prefix.h"

#include <stdlib.h>
#include "io/mem.h"

size_t dinm_prefix_n_equal(const struct dinm_request *a, const struct dinm_request *b)
{
    size_t most = a->n_ids < b->n_ids ? a->n_ids : b->n_ids, n = 0;
    while (n < most && a->ids[n] == b->ids[n]) {
        n++;
    }
    return n;
}

size_t dinm_prefix_layer(const struct dinm_request *request, size_t n_layers)
{
    return request->edit > 0 ? request->edit_layer : n_layers;
}

static int compare_tokens(const struct dinm_request *x, const struct dinm_request *y)
{
    size_t n = dinm_prefix_n_equal(x, y);
    if (n < x->n_ids && n < y->n_ids) {
        return x->ids[n] < y->ids[n] ? -1 : 1;
    }
    if (x->n_ids != y->n_ids) {
        return x->n_ids < y->n_ids ? -1 : 1;
    }
    return x < y ? -1 : x > y; /* equal ones in the caller's order */
}

static int compare(const void *a, const void *b)
{
    const struct dinm_request *x = ((const struct dinm_prefix *)a)->request;
    const struct dinm_request *y = ((const struct dinm_prefix *)b)->request;
    if (x->edit != y->edit) {
        return x->edit < y->edit ? -1 : 1;
    }
    return compare_tokens(x, y);
}

/* The first n tokens without the request's last. */
static size_t but_last(const struct dinm_request *r, size_t n)
{
    return n < r->n_ids ? n : r->n_ids - 1;
}

void dinm_prefix_find(struct dinm_prefix *places, size_t n)
{
    qsort(places, n, sizeof *places, compare);
    for (size_t i = 1; i < n; i++) {
        const struct dinm_request *r = places[i].request;
        size_t n_common = 0;
        if (r->edit == places[i - 1].request->edit) {
            n_common = dinm_prefix_n_equal(r, places[i - 1].request);
        }
        places[i].n_shared = but_last(r, n_common);
    }
}

static int compare_places(const void *a, const void *b)
{
    const struct dinm_prefix *const *x = a, *const *y = b;
    return compare_tokens((*x)->request, (*y)->request);
}

/* Rows that need not be read below `layer`: those that a prompt has in common with the one before,
 * whatever its edit, and cannot copy from one with its own, if these are not fewer than `least`.
 * by_tokens: [n] in that order */
static size_t count_late(struct dinm_prefix *const *by_tokens, size_t n, size_t n_layers,
                         size_t least, size_t layer)
{
    const struct dinm_request *before = NULL;
    size_t n_late = 0;
    for (size_t i = 0; i < n; i++) {
        const struct dinm_request *r = by_tokens[i]->request;
        if (dinm_prefix_layer(r, n_layers) < layer) {
            continue;
        }
        if (before != NULL) {
            size_t n_own = but_last(r, dinm_prefix_n_equal(r, before)) - by_tokens[i]->n_shared;
            n_late += n_own >= least ? n_own : 0;
        }
        before = r;
    }
    return n_late;
}

static size_t choose_entry(struct dinm_prefix *const *by_tokens, const struct dinm_prefix *places,
                           size_t n, size_t n_layers, size_t least)
{
    size_t entry = n_layers, most = 0;
    for (size_t i = 0; i < n; i++) {
        const struct dinm_request *r = places[i].request;
        if (r->edit > 0 && (i == 0 || r->edit != places[i - 1].request->edit)) {
            size_t n_saved =
                r->edit_layer * count_late(by_tokens, n, n_layers, least, r->edit_layer);
            if (n_saved > most) {
                most = n_saved;
                entry = r->edit_layer;
            }
        }
    }
    return entry;
}

/* n_kept of place i as far as the places on one side of it ask for it: the first that may is the
 * one that has most in common with it. */
static void keep_for(struct dinm_prefix *const *by_tokens, size_t n, size_t n_layers, size_t entry,
                     size_t i, bool forward)
{
    const struct dinm_request *own = by_tokens[i]->request;
    for (size_t k = i; forward ? ++k < n : k-- > 0;) {
        const struct dinm_request *r = by_tokens[k]->request;
        size_t n_common = dinm_prefix_n_equal(own, r);
        if (n_common <= by_tokens[i]->n_kept) {
            break;
        }
        if (r->edit > own->edit && dinm_prefix_layer(r, n_layers) >= entry) {
            by_tokens[i]->n_kept = n_common;
            break;
        }
    }
}

int dinm_prefix_find_entry(struct dinm_prefix *places, size_t n, size_t n_layers, size_t least,
                           size_t *entry_layer, struct dinm_error *err)
{
    struct dinm_prefix **by_tokens = dinm_alloc(n, sizeof(struct dinm_prefix *), "prompts", err);
    if (by_tokens == NULL) {
        return DINM_FAILED;
    }
    for (size_t i = 0; i < n; i++) {
        by_tokens[i] = &places[i];
        places[i].n_kept = 0;
    }
    qsort(by_tokens, n, sizeof(struct dinm_prefix *), compare_places);
    *entry_layer = choose_entry(by_tokens, places, n, n_layers, least);
    for (size_t i = 0; i < n && *entry_layer < n_layers; i++) {
        if (dinm_prefix_layer(by_tokens[i]->request, n_layers) >= *entry_layer) {
            keep_for(by_tokens, n, n_layers, *entry_layer, i, false);
            keep_for(by_tokens, n, n_layers, *entry_layer, i, true);
        }
    }
    free(by_tokens);
    return DINM_OK;
}
