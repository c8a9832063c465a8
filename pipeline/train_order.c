/* The order in which records are seen: a new shuffle for every epoch, from (seed, epoch) alone. */
#include "pipeline/train_private.h"

#include <stdlib.h>
#include "model/random.h"

/* Fisher and Yates; the draw for place i is a function of (seed, epoch, i). */
static void shuffle(struct dinm_train_order *o)
{
    for (size_t i = 0; i < o->n_records; i++) {
        o->order[i] = i;
    }
    for (size_t i = o->n_records; i > 1; i--) {
        const size_t j = (size_t)(dinm_random_uniform(o->seed, (uint64_t)o->epoch, i) * (double)i);
        const size_t record = o->order[i - 1];
        o->order[i - 1] = o->order[j];
        o->order[j] = record;
    }
}

int dinm_train_order_init(struct dinm_train_order *o, size_t n_records, uint64_t seed,
                          struct dinm_error *err)
{
    size_t *order = dinm_alloc(n_records, sizeof *order, "the order of records", err);
    if (order == NULL) {
        return DINM_FAILED;
    }
    *o = (struct dinm_train_order){.order = order, .n_records = n_records, .seed = seed};
    shuffle(o);
    return DINM_OK;
}

size_t dinm_train_order_at(struct dinm_train_order *o, int64_t place)
{
    const int64_t n = (int64_t)o->n_records;
    if (place / n != o->epoch) {
        o->epoch = place / n;
        shuffle(o);
    }
    return o->order[place % n];
}

void dinm_train_order_free(struct dinm_train_order *o)
{
    free(o->order);
    *o = (struct dinm_train_order){0};
}
