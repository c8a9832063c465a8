/* Equal texts found by sorting: O(n log n) comparisons, no hashing, the same on every rank. */
#include "pipeline/distinct.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "io/mem.h"

struct entry {
    const char *text;
    size_t index;
};

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;
    int order = strcmp(x->text, y->text);
    if (order != 0) {
        return order;
    }
    return x->index < y->index ? -1 : x->index > y->index;
}

int dinm_distinct(const char *const *texts, size_t n, size_t *number, size_t *first,
                  size_t *n_distinct, struct dinm_error *err)
{
    struct entry *entries = dinm_alloc(n, sizeof *entries, "the list of texts", err);
    if (!entries) {
        return DINM_FAILED;
    }
    for (size_t i = 0; i < n; i++) {
        entries[i] = (struct entry){texts[i], i};
    }
    qsort(entries, n, sizeof *entries, compare_entries);
    /* number[i]: for now the index of the first text equal to text i */
    for (size_t i = 0; i < n; i++) {
        bool same = i > 0 && strcmp(entries[i].text, entries[i - 1].text) == 0;
        number[entries[i].index] = same ? number[entries[i - 1].index] : entries[i].index;
    }
    size_t n_found = 0;
    for (size_t i = 0; i < n; i++) {
        if (number[i] == i) {
            first[n_found] = i;
            number[i] = n_found++;
        } else {
            number[i] = number[number[i]]; /* its first use comes earlier and is numbered already */
        }
    }
    *n_distinct = n_found;
    free(entries);
    return DINM_OK;
}
