/* The block's layout: the struct, then sequences, ids, values and rows, each at a multiple of 64
 * bytes. */
#include "pipeline/item.h"

#include <string.h>
#include "io/mem.h"

enum { ALIGNMENT = 64 };

/* Where each array begins; the last is the end. SIZE_MAX: too large. */
struct layout {
    size_t sequences, ids, values, rows, end;
};

static size_t behind(size_t at, size_t n, size_t size)
{
    if (at == SIZE_MAX || (size > 0 && n > (SIZE_MAX / 2 - at) / size)) {
        return SIZE_MAX;
    }
    return (at + n * size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static struct layout lay_out(struct dinm_item_counts n)
{
    struct layout l;
    size_t row_bytes =
        behind(0, n.width, sizeof(float)) == SIZE_MAX ? SIZE_MAX / 2 : n.width * sizeof(float);
    l.sequences = behind(sizeof(struct dinm_item), 0, 0);
    l.ids = behind(l.sequences, n.n_sequences, sizeof(struct dinm_item_sequence));
    l.values = behind(l.ids, n.n_ids, sizeof(int32_t));
    l.rows = behind(l.values, n.n_values, sizeof(float));
    l.end = behind(l.rows, n.n_rows, row_bytes);
    return l;
}

static struct layout layout_of(const struct dinm_item *item)
{
    return lay_out((struct dinm_item_counts){(size_t)item->n_sequences, (size_t)item->n_ids,
                                             (size_t)item->n_values, (size_t)item->n_rows,
                                             (size_t)item->width});
}

struct dinm_item *dinm_item_new(enum dinm_item_kind kind, struct dinm_item_counts counts,
                                struct dinm_error *err)
{
    const struct layout l = lay_out(counts);
    struct dinm_item *item = dinm_alloc(l.end, 1, "work for the next layers", err);
    if (item != NULL) {
        item->n_bytes = l.end;
        item->kind = kind;
        item->n_sequences = counts.n_sequences;
        item->n_ids = counts.n_ids;
        item->n_values = counts.n_values;
        item->n_rows = counts.n_rows;
        item->width = counts.width;
    }
    return item;
}

struct dinm_item *dinm_item_like(const struct dinm_item *model, enum dinm_item_kind kind,
                                 size_t n_values, size_t n_rows, struct dinm_error *err)
{
    const struct dinm_item_counts counts = {(size_t)model->n_sequences, (size_t)model->n_ids,
                                            n_values, n_rows, (size_t)model->width};
    struct dinm_item *item = dinm_item_new(kind, counts, err);
    if (item != NULL) {
        item->task = model->task;
        item->layer = model->layer;
        item->step = model->step;
        item->owner = model->owner;
        item->place = model->place;
        memcpy(dinm_item_sequences(item), dinm_item_sequences(model),
               counts.n_sequences * sizeof(struct dinm_item_sequence));
        memcpy(dinm_item_ids(item), dinm_item_ids(model), counts.n_ids * sizeof(int32_t));
    }
    return item;
}

bool dinm_item_is_whole(const struct dinm_item *item, size_t n_bytes)
{
    return n_bytes >= sizeof *item && item->n_bytes == n_bytes && item->kind <= DINM_ITEM_END &&
           layout_of(item).end == n_bytes;
}

void dinm_item_drop_rows(struct dinm_item *item)
{
    item->n_rows = 0;
    item->n_bytes = layout_of(item).end;
}

static void *at(const struct dinm_item *item, size_t offset)
{
    return (unsigned char *)item + offset;
}

struct dinm_item_sequence *dinm_item_sequences(const struct dinm_item *item)
{
    return at(item, layout_of(item).sequences);
}

int32_t *dinm_item_ids(const struct dinm_item *item)
{
    return at(item, layout_of(item).ids);
}

float *dinm_item_values(const struct dinm_item *item)
{
    return at(item, layout_of(item).values);
}

float *dinm_item_rows(const struct dinm_item *item)
{
    return at(item, layout_of(item).rows);
}
