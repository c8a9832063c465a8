/* Equal beginnings by sorting. */
#include "pipeline/prefix.h"

#include <stdlib.h>

static size_t n_equal(const struct dinm_request *a, const struct dinm_request *b)
{
    size_t most = a->n_ids < b->n_ids ? a->n_ids : b->n_ids, n = 0;
    while (n < most && a->ids[n] == b->ids[n]) {
        n++;
    }
    return n;
}

static int compare(const void *a, const void *b)
{
    const struct dinm_request *x = ((const struct dinm_prefix *)a)->request;
    const struct dinm_request *y = ((const struct dinm_prefix *)b)->request;
    size_t n;
    if (x->edit != y->edit) {
        return x->edit < y->edit ? -1 : 1;
    }
    n = n_equal(x, y);
    if (n < x->n_ids && n < y->n_ids) {
        return x->ids[n] < y->ids[n] ? -1 : 1;
    }
    if (x->n_ids != y->n_ids) {
        return x->n_ids < y->n_ids ? -1 : 1;
    }
    return x < y ? -1 : x > y; /* equal ones in the caller's order */
}

void dinm_prefix_find(struct dinm_prefix *places, size_t n)
{
    qsort(places, n, sizeof *places, compare);
    for (size_t i = 1; i < n; i++) {
        const struct dinm_request *r = places[i].request;
        size_t n_common = 0;
        if (r->edit == places[i - 1].request->edit) {
            n_common = n_equal(r, places[i - 1].request);
        }
        places[i].n_shared = n_common < r->n_ids ? n_common : r->n_ids - 1;
    }
}
