/* Which keys a row of attention sees; shared by attention.c and attention_backward.c. */
#ifndef DINM_MODEL_ATTENTION_REACH_H
#define DINM_MODEL_ATTENTION_REACH_H

#include <stdbool.h>
#include <stddef.h>
#include "model/attention.h"

struct dinm_reach {
    size_t first, last; /* keys [first, last), never empty */
    bool uniform;       /* the row sees nothing: it takes all keys alike */
};

struct dinm_reach dinm_attention_reach(const struct dinm_attention *a, size_t row);

/* Floats of scratch that the backward pass needs per thread. */
size_t dinm_attention_backward_room(const struct dinm_attention *a);

#endif
