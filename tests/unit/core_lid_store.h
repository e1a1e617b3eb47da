/*
 * A worker in small for the tests of the lid: a history by id, the cycles,
 * what is due, and what was published, kept as the worker keeps them. Notes
 * the first promise that is broken, and never mends it.
 */

#ifndef CORE_LID_STORE_H
#define CORE_LID_STORE_H

#include <stdio.h>
#include <stdlib.h>

#include "coco_lid.h"

#define STORE_MAX  256

typedef struct {
    coco_id_t           cycle;
    bool                close;      /* Robots.LidClose and LidCycle.Complete */
    coco_lid_source_e   source;
    coco_str_t          reference;
} lid_published_t;

typedef struct lid_store_s {
    coco_lid_rules_t    rules;
    int64_t             due_at, due_from;
    size_t              mark_count, cycle_count, published_count;
    size_t              anomalies, resyncs;
    bool                bounded;    /* looks no further than it has to */
    size_t              given;      /* marks */
    coco_lid_mark_t     marks[STORE_MAX];
    coco_lid_cycle_t    cycles[STORE_MAX];
    lid_published_t     published[2 * STORE_MAX];

    /* of the last look */
    coco_lid_t          lid;
    coco_lid_answer_t   answers[STORE_MAX];
    coco_lid_mark_t     given_marks[STORE_MAX];
    coco_lid_cycle_t    given_cycles[2 * STORE_MAX];

    /* spoils what is stored, to prove that the checks see it */
    void              (*spoil)(struct lid_store_s *store);

    char                fault[200];
} lid_store_t;


static inline void
store_init(lid_store_t *store, int64_t window_ms, int64_t cycle_ms)
{
    memset(store, 0, sizeof(*store));
    store->rules = (coco_lid_rules_t) { window_ms, cycle_ms };
    store->due_at = store->due_from = COCO_NEVER;
}


static inline void
store_fault(lid_store_t *store, const char *what)
{
    if (store->fault[0] == '\0') {
        snprintf(store->fault, sizeof(store->fault), "%s", what);
    }
}


static inline bool
store_id_equal(const coco_id_t *a, const coco_id_t *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}


static inline void
store_publish(lid_store_t *store, const coco_lid_cycle_t *cycle, bool close)
{
    size_t            i;
    lid_published_t  *published;

    for (i = 0; i < store->published_count; i++) {
        published = &store->published[i];

        if (store_id_equal(&published->cycle, &cycle->id)
            && (published->close == close || !close))
        {
            store_fault(store, published->close == close
                               ? "an event was published twice"
                               : "LidOpen was published after LidClose");
        }
    }

    if (close ? !cycle->has_close : !cycle->has_open) {
        store_fault(store, "an event was published of what never was");
    }

    if (close && cycle->state != COCO_LID_COMPLETE) {
        store_fault(store, "LidClose of a cycle that is not complete");
    }

    store->published[store->published_count++] = (lid_published_t) {
        cycle->id, close, cycle->source, cycle->reference
    };
}


static inline void
store_write(lid_store_t *store, const coco_lid_cycle_t *cycle)
{
    size_t  i;

    for (i = 0; i < store->cycle_count; i++) {
        if (store_id_equal(&store->cycles[i].id, &cycle->id)) {
            break;
        }
    }

    if ((i < store->cycle_count) != cycle->stored) {
        store_fault(store, "stored does not say whether there is a row");
    }

    store->cycle_count += i == store->cycle_count;
    store->cycles[i] = *cycle;
}


/* Looks at the robot as a transaction of the worker does. */
static inline void
store_look(lid_store_t *store, int64_t from, int64_t to, int64_t now)
{
    size_t             i, stored;
    int64_t            since, until, at;
    coco_lid_t        *lid = &store->lid;
    coco_lid_cycle_t  *cycle;

    if (store->due_at != COCO_NEVER && store->due_from < from) {
        from = store->due_from;
    }

    since = from - coco_lid_span_ms(&store->rules);
    until = store->bounded ? to + 2 * coco_lid_span_ms(&store->rules)
                           : INT64_MAX;

    *lid = (coco_lid_t) {
        .serial = coco_string("R-1"),
        .until = store->bounded ? until : 0,
        .marks = store->given_marks,
        .cycles = store->given_cycles,
        .answers = store->answers
    };

    for (i = 0; i < store->mark_count; i++) {
        at = store->marks[i].at;

        if (at >= since && at <= until) {
            lid->marks[lid->mark_count++] = store->marks[i];
        }
    }

    for (i = 0; i < store->cycle_count; i++) {
        cycle = &store->cycles[i];

        at = cycle->has_open ? cycle->opened_at : cycle->closed_at;

        if (at >= since && at <= until) {
            lid->cycles[lid->cycle_count++] = *cycle;
        }
    }

    store->given = lid->mark_count;
    stored = lid->cycle_count;
    lid->cycle_max = stored + lid->mark_count;

    if (coco_lid_reconcile(lid, from, now, &store->rules) != COCO_OK) {
        store_fault(store, "stored cycles and marks are not enough room");
        return;
    }

    if (lid->cycle_count < stored) {
        store_fault(store, "a stored cycle has gone");
    }

    if (lid->due_at != COCO_NEVER && lid->due_at <= now) {
        store_fault(store, "due at once again");
    }

    store->due_at = lid->due_at;
    store->due_from = lid->due_from;

    for (i = 0; i < lid->cycle_count; i++) {
        cycle = &lid->cycles[i];

        if (!cycle->changed) {
            if (cycle->publish_open || cycle->publish_close
                || cycle->anomaly || cycle->resynced)
            {
                store_fault(store, "something follows from no change");
            }

            continue;
        }

        store_write(store, cycle);
        store->anomalies += cycle->anomaly;
        store->resyncs += cycle->resynced;

        if (cycle->publish_open) {
            store_publish(store, cycle, false);
        }

        if (cycle->publish_close) {
            store_publish(store, cycle, true);
        }
    }

    if (store->spoil != NULL) {
        store->spoil(store);
    }
}


/* One transaction with some marks; those known by their id are nothing new. */
static inline void
store_apply(lid_store_t *store, const coco_lid_mark_t *marks, size_t count,
    int64_t now)
{
    size_t            i, k;
    int64_t           from = COCO_NEVER, to = COCO_NEVER;
    coco_lid_mark_t  *mark;

    for (i = 0; i < count; i++) {
        for (k = 0; k < store->mark_count; k++) {
            if (store_id_equal(&store->marks[k].id, &marks[i].id)) {
                break;
            }
        }

        if (k < store->mark_count) {
            continue;
        }

        if (store->mark_count == STORE_MAX) {
            store_fault(store, "the test's history is full");
            return;
        }

        mark = &store->marks[store->mark_count++];
        *mark = marks[i];

        mark->wait_until = mark->event == COCO_LID_CLOSED
                           || mark->event == COCO_LID_PIN_CLOSED
                           ? now + store->rules.window_ms : COCO_NEVER;

        if (from == COCO_NEVER || mark->at < from) {
            from = mark->at;
        }

        if (mark->at > to) {
            to = mark->at;
        }
    }

    if (from != COCO_NEVER) {
        store_look(store, from, to, now);
    }
}


/* All that is due up to `now`, each at its time. */
static inline void
store_wait(lid_store_t *store, int64_t now)
{
    while (store->fault[0] == '\0' && store->due_at != COCO_NEVER
           && store->due_at <= now)
    {
        store_look(store, store->due_from, store->due_from, store->due_at);
    }
}

#endif /* CORE_LID_STORE_H */
