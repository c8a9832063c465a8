/* Numbers equal texts alike: the first of each is kept, in order of first use. */
#ifndef DINM_PIPELINE_DISTINCT_H
#define DINM_PIPELINE_DISTINCT_H

#include <stddef.h>
#include "io/status.h"

/* texts: [n]. number: [n] written: which distinct text it is. first: [n] written: for each
 * distinct text the index of its first use. *n_distinct written. */
int dinm_distinct(const char *const *texts, size_t n, size_t *number, size_t *first,
                  size_t *n_distinct, struct dinm_error *err);

#endif
