/* Items on their way through the stages of many groups, in simulated time. A stage works on one
 * item after the other in order of arrival; the first stage, the driver, looks at results before it
 * works: as pipeline/ring.c and stage.c do it. */
#ifndef DINM_BENCH_SCHEDULE_EVENTS_H
#define DINM_BENCH_SCHEDULE_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum schedule_kind { ITEM_LOCATE, ITEM_READ, ITEM_EDIT, ITEM_CLASSIFY };

struct schedule_item {
    struct schedule_item *next;
    enum schedule_kind kind;
    size_t group, place; /* place: the driver's own number */
    size_t hop, n_hops;  /* stages done, and to be done */
    double many_rows, few_rows, n_keys, n_matrices;
};

struct schedule_events {
    size_t n_groups, n_stages;
    /* The stage of the item's next hop, and the time that it takes there. */
    size_t (*stage_of)(void *context, const struct schedule_item *item);
    double (*seconds)(void *context, const struct schedule_item *item);
    /* An item is back at the driver, which frees it and may send others. */
    void (*result)(void *context, struct schedule_item *item);
    void *context;

    double now_s;
    double *busy_s; /* owns: [n_stages] of all groups */
    uint64_t n_events;
    struct schedule_station *stations; /* owns: [n_groups][n_stages] */
    struct schedule_list *finished;    /* owns: [n_groups] */
    struct schedule_event *heap;       /* owns: [n_heap] */
    size_t n_heap, capacity;
};

/* Allocates, or ends the program. */
void *schedule_need(size_t n, size_t size);
/* The fields above `now_s` are set already. */
void schedule_events_open(struct schedule_events *e);
void schedule_events_close(struct schedule_events *e);
/* Takes item, made by schedule_need. */
void schedule_events_send(struct schedule_events *e, struct schedule_item *item);
/* Until nothing is under way. */
void schedule_events_run(struct schedule_events *e);

#endif
