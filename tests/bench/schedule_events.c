/* A heap of the ends of work, earliest first; equal times in the order in which they were begun. */
#include "tests/bench/schedule_events.h"

#include <stdio.h>
#include <stdlib.h>

struct schedule_list {
    struct schedule_item *first, *last;
};

struct schedule_station {
    struct schedule_list waiting;
    struct schedule_item *busy;
};

struct schedule_event {
    double at_s;
    uint64_t number;
    size_t group, stage;
};

void *schedule_need(size_t n, size_t size)
{
    void *p = calloc(n > 0 ? n : 1, size);
    if (p == NULL) {
        fprintf(stderr, "no memory for the simulation\n");
        exit(1);
    }
    return p;
}

void schedule_events_open(struct schedule_events *e)
{
    e->stations = schedule_need(e->n_groups * e->n_stages, sizeof *e->stations);
    e->finished = schedule_need(e->n_groups, sizeof *e->finished);
    e->busy_s = schedule_need(e->n_stages, sizeof *e->busy_s);
}

void schedule_events_close(struct schedule_events *e)
{
    free(e->stations);
    free(e->finished);
    free(e->heap);
    free(e->busy_s);
}

static bool earlier(const struct schedule_event *a, const struct schedule_event *b)
{
    return a->at_s < b->at_s || (a->at_s == b->at_s && a->number < b->number);
}

static void push(struct schedule_events *e, struct schedule_event event)
{
    if (e->n_heap == e->capacity) {
        e->capacity = 2 * e->capacity + 1024;
        e->heap = realloc(e->heap, e->capacity * sizeof *e->heap);
        if (e->heap == NULL) {
            fprintf(stderr, "no memory for the simulation\n");
            exit(1);
        }
    }
    size_t i = e->n_heap++;
    for (; i > 0 && earlier(&event, &e->heap[(i - 1) / 2]); i = (i - 1) / 2) {
        e->heap[i] = e->heap[(i - 1) / 2];
    }
    e->heap[i] = event;
}

static struct schedule_event pop(struct schedule_events *e)
{
    struct schedule_event top = e->heap[0], last = e->heap[--e->n_heap];
    size_t i = 0;
    for (size_t child = 1; child < e->n_heap; child = 2 * i + 1) {
        child += child + 1 < e->n_heap && earlier(&e->heap[child + 1], &e->heap[child]);
        if (!earlier(&e->heap[child], &last)) {
            break;
        }
        e->heap[i] = e->heap[child];
        i = child;
    }
    e->heap[i] = last;
    return top;
}

static void append(struct schedule_list *list, struct schedule_item *item)
{
    item->next = NULL;
    if (list->first == NULL) {
        list->first = item;
    } else {
        list->last->next = item;
    }
    list->last = item;
}

static struct schedule_item *take_first(struct schedule_list *list)
{
    struct schedule_item *item = list->first;
    if (item != NULL) {
        list->first = item->next;
    }
    return item;
}

/* The stage begins what waits there, if it is free. */
static void begin(struct schedule_events *e, size_t group, size_t stage)
{
    struct schedule_station *s = &e->stations[group * e->n_stages + stage];
    if (s->busy == NULL && (s->busy = take_first(&s->waiting)) != NULL) {
        double t = e->seconds(e->context, s->busy);
        e->busy_s[stage] += t;
        push(e, (struct schedule_event){e->now_s + t, e->n_events++, group, stage});
    }
}

void schedule_events_send(struct schedule_events *e, struct schedule_item *item)
{
    size_t group = item->group, stage = e->stage_of(e->context, item);
    append(&e->stations[group * e->n_stages + stage].waiting, item);
    if (stage > 0 || e->finished[group].first == NULL) {
        begin(e, group, stage);
    }
}

static void step(struct schedule_events *e)
{
    struct schedule_event event = pop(e);
    struct schedule_station *s = &e->stations[event.group * e->n_stages];
    struct schedule_item *item = s[event.stage].busy;
    e->now_s = event.at_s;
    s[event.stage].busy = NULL;
    if (++item->hop == item->n_hops) {
        append(&e->finished[event.group], item);
    } else {
        schedule_events_send(e, item);
    }
    while (s[0].busy == NULL && (item = take_first(&e->finished[event.group])) != NULL) {
        e->result(e->context, item);
    }
    begin(e, event.group, 0);
    begin(e, event.group, event.stage);
}

void schedule_events_run(struct schedule_events *e)
{
    while (e->n_heap > 0) {
        step(e);
    }
}
