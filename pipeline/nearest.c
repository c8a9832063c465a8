/* Edit distance with swaps of neighbours (optimal string alignment; Damerau 1964). */
#include "pipeline/nearest.h"

#include <string.h>

/* What stands behind so many characters of the mistyped word is equally far from all known ones. */
enum { LOOKED_AT = DINM_NEAREST_LONGEST + 1 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* before, last, now: [DINM_NEAREST_LONGEST + 1], the rows of the distance table for the prefixes of
 * `word` two characters shorter, one shorter, and of this length. */
static size_t distance(const char *word, const char *known)
{
    size_t rows[3][DINM_NEAREST_LONGEST + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    size_t n_known = strlen(known);
    for (size_t k = 0; k <= n_known; k++) {
        last[k] = k;
    }
    for (size_t i = 0; i < LOOKED_AT && word[i] != '\0'; i++) {
        now[0] = i + 1;
        for (size_t k = 1; k <= n_known; k++) {
            size_t replaced = last[k - 1] + (word[i] != known[k - 1]);
            now[k] = least(replaced, least(last[k], now[k - 1]) + 1);
            if (i > 0 && k > 1 && word[i] == known[k - 2] && word[i - 1] == known[k - 1]) {
                now[k] = least(now[k], before[k - 2] + 1);
            }
        }
        size_t *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[n_known];
}

void dinm_nearest_consider(struct dinm_nearest *nearest, const char *known)
{
    if (strlen(known) > DINM_NEAREST_LONGEST) {
        return;
    }
    /* The distance is at least the difference of the lengths. */
    size_t n = strnlen(nearest->word, LOOKED_AT), n_known = strlen(known);
    if (nearest->best != NULL && (n > n_known ? n - n_known : n_known - n) >= nearest->distance) {
        return;
    }
    size_t d = distance(nearest->word, known);
    if (nearest->best == NULL || d < nearest->distance) {
        nearest->best = known;
        nearest->distance = d;
    }
}

const char *dinm_nearest_of(const char *word, const char *const *known)
{
    struct dinm_nearest nearest = {.word = word};
    for (; *known != NULL; known++) {
        dinm_nearest_consider(&nearest, *known);
    }
    return nearest.best;
}
