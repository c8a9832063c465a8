/* Guided self-scheduling (Polychronopoulos and Kuck, 1987) over units sorted by cost, or longest
 * processing time first into bins (Graham, 1969). */
#include "pipeline/deal.h"

#include <stdint.h>
#include <stdlib.h>
#include "io/mem.h"

/* Of what each worker may still expect, a guided batch is this share. */
static const double share = 0.5;

static int by_cost(const void *a, const void *b)
{
    const struct dinm_deal_unit *x = a, *y = b;
    if (x->cost != y->cost) {
        return x->cost > y->cost ? -1 : 1;
    }
    return x->number < y->number ? -1 : x->number > y->number;
}

static int by_number(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

static void end_batch(struct dinm_deal *deal, size_t end)
{
    size_t begin = deal->first[deal->n_batches];
    qsort(deal->units + begin, end - begin, sizeof *deal->units, by_number);
    deal->first[++deal->n_batches] = end;
}

/* Writes the unit's numbers to deal->units[at] and behind; returns the place behind these. */
static size_t put(struct dinm_deal *deal, size_t at, const struct dinm_deal_unit *unit)
{
    for (size_t i = 0; i <= unit->n_more; i++) {
        deal->units[at++] = unit->number + i;
    }
    return at;
}

static void guide(struct dinm_deal *deal, const struct dinm_deal_unit *units, size_t n, size_t most,
                  size_t n_workers)
{
    double left = 0.0;
    size_t end = 0;
    for (size_t i = 0; i < n; i++) {
        left += units[i].cost;
    }
    for (size_t at = 0; at < n;) {
        double wanted = share * left / (double)n_workers, sum = 0.0;
        size_t n_places = 0;
        do {
            sum += units[at].cost;
            n_places += units[at].n_places;
            end = put(deal, end, &units[at]);
            at++;
        } while (at < n && n_places + units[at].n_places <= most && sum + units[at].cost <= wanted);
        left -= sum;
        end_batch(deal, end);
    }
}

/* A batch while it is filled; those with the least cost are first in a heap. */
struct bin {
    double cost;
    size_t number, n_places;
    size_t n_units; /* those that go with others included */
};

static bool before(const struct bin *a, const struct bin *b)
{
    return a->cost < b->cost || (a->cost == b->cost && a->number < b->number);
}

static void sink(struct bin *bins, size_t n)
{
    struct bin bin = bins[0];
    size_t i = 0;
    for (size_t child = 1; child < n; child = 2 * i + 1) {
        child += child + 1 < n && before(&bins[child + 1], &bins[child]);
        if (!before(&bins[child], &bin)) {
            break;
        }
        bins[i] = bins[child];
        i = child;
    }
    bins[i] = bin;
}

/* Fills n_bins with all units, of_unit: [n_units]; a bin that has no room for the next dearest is
 * full. False: they do not fit. */
static bool fill(struct bin *bins, size_t n_bins, size_t *of_unit,
                 const struct dinm_deal_unit *units, size_t n_units, size_t most)
{
    size_t n_open = n_bins;
    for (size_t i = 0; i < n_bins; i++) {
        bins[i] = (struct bin){.number = i};
    }
    for (size_t i = 0; i < n_units; i++) {
        while (n_open > 0 && bins[0].n_units > 0 && bins[0].n_places + units[i].n_places > most) {
            struct bin full = bins[0];
            bins[0] = bins[--n_open];
            bins[n_open] = full;
            sink(bins, n_open);
        }
        if (n_open == 0) {
            return false;
        }
        of_unit[i] = bins[0].number;
        bins[0].cost += units[i].cost;
        bins[0].n_places += units[i].n_places;
        bins[0].n_units += 1 + units[i].n_more;
        sink(bins, n_open);
    }
    return true;
}

static int bins_by_cost(const void *a, const void *b)
{
    const struct bin *x = a, *y = b;
    if (x->cost != y->cost) {
        return x->cost > y->cost ? -1 : 1;
    }
    return x->number < y->number ? -1 : x->number > y->number;
}

static int balance(struct dinm_deal *deal, const struct dinm_deal_unit *units, size_t n,
                   size_t most, size_t n_workers, struct dinm_error *err)
{
    int status = DINM_OK;
    size_t n_places = 0, n_bins = 0, at = 0;
    struct bin *bins = dinm_alloc(n, sizeof *bins, "a list of batches", err);
    size_t *of_unit = dinm_alloc(n, sizeof *of_unit, "a list of units", err);
    size_t *place = dinm_alloc(n, sizeof *place, "a list of batches", err);
    TRY(bins && of_unit && place ? DINM_OK : DINM_FAILED);
    for (size_t i = 0; i < n; i++) {
        n_places += units[i].n_places;
    }
    size_t n_rounds = n_places / (most * n_workers);
    do {
        n_rounds++;
        n_bins = n_workers < n / n_rounds ? n_rounds * n_workers : n;
    } while (!fill(bins, n_bins, of_unit, units, n, most) && n_bins < n);
    qsort(bins, n_bins, sizeof *bins, bins_by_cost);
    for (size_t i = 0; i < n_bins; i++) {
        place[bins[i].number] = at;
        at += bins[i].n_units;
    }
    for (size_t i = 0; i < n; i++) {
        place[of_unit[i]] = put(deal, place[of_unit[i]], &units[i]);
    }
    for (size_t i = 0; i < n_bins; i++) {
        end_batch(deal, place[bins[i].number]);
    }
out:
    free(bins);
    free(of_unit);
    free(place);
    return status;
}

int dinm_deal_make(struct dinm_deal *deal, struct dinm_deal_unit *units, size_t n_units,
                   size_t most, size_t n_workers, bool together, struct dinm_error *err)
{
    int status = DINM_OK;
    *deal = (struct dinm_deal){.n_units = n_units};
    for (size_t i = 0; i < n_units; i++) {
        deal->n_units += units[i].n_more;
    }
    most = most > 0 ? most : 1;
    n_workers = n_workers > 0 ? n_workers : 1;
    deal->units = dinm_alloc(deal->n_units, sizeof *deal->units, "a list of units", err);
    deal->first = dinm_alloc(n_units + 1, sizeof *deal->first, "a list of batches", err);
    TRY(deal->units && deal->first ? DINM_OK : DINM_FAILED);
    if (n_units > 0) {
        qsort(units, n_units, sizeof *units, by_cost);
    }
    if (together) {
        TRY(balance(deal, units, n_units, most, n_workers, err));
    } else {
        guide(deal, units, n_units, most, n_workers);
    }
out:
    if (status < 0) {
        dinm_deal_free(deal);
    }
    return status;
}

void dinm_deal_free(struct dinm_deal *deal)
{
    free(deal->units);
    free(deal->first);
    *deal = (struct dinm_deal){0};
}
