/* The known word that is nearest to a mistyped one, by the number of characters to insert, delete,
 * replace or swap with their neighbour. For error sentences. Local. */
#ifndef DINM_PIPELINE_NEAREST_H
#define DINM_PIPELINE_NEAREST_H

#include <stddef.h>

/* Longest known word that is considered. Known words are our own tables'; the mistyped word may
 * have any length. */
enum { DINM_NEAREST_LONGEST = 63 };

struct dinm_nearest {
    const char *word; /* borrows: the mistyped word */
    const char *best; /* borrows: the nearest known word so far, or NULL */
    size_t distance;  /* of best */
};

/* Keeps `known` if it is nearer than all before it. */
void dinm_nearest_consider(struct dinm_nearest *nearest, const char *known);
/* The nearest of a NULL-terminated list. */
const char *dinm_nearest_of(const char *word, const char *const *known);

#endif
