/*
 * When a partner may be called: a token bucket, a pause that it has asked for,
 * and a breaker that leaves one alone that only fails. Times are us, monotonic,
 * and arguments; one thread.
 */

#ifndef COCO_PARTNERS_GATE_H
#define COCO_PARTNERS_GATE_H

#include "sinks/retry.h"

/* Closed (open_until 0): calls go through. Open: none before open_until; from
 * then on one at a time, whose end closes it or opens it for longer. */
typedef struct {
    unsigned        rate;           /* calls a second, and how many at once */
    unsigned        limit;          /* failures in a row that open it */
    unsigned        open_ms;        /* at first */
    double          tokens;
    int64_t         filled_at;
    int64_t         paused_until;
    unsigned        failures;       /* in a row */
    int64_t         open_until;     /* 0: closed */
    coco_backoff_t  backoff;
} coco_partners_gate_t;

void coco_partners_gate_init(coco_partners_gate_t *gate, unsigned rate,
    unsigned limit, unsigned open_ms, int64_t now);

/* How many calls may begin while in_flight are under way. */
unsigned coco_partners_gate_room(coco_partners_gate_t *gate,
    unsigned concurrency, unsigned in_flight, int64_t now);
/* As many have begun. */
void coco_partners_gate_take(coco_partners_gate_t *gate, unsigned calls);

/* The partner has answered. */
void coco_partners_gate_passed(coco_partners_gate_t *gate);
/* It has not, or with a fault of its own; true when that opened it. */
bool coco_partners_gate_failed(coco_partners_gate_t *gate, int64_t now);
void coco_partners_gate_pause(coco_partners_gate_t *gate, int64_t until);

#endif /* COCO_PARTNERS_GATE_H */
