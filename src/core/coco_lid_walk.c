/*
 * Makes the cycles of a robot's marks by walking the table in the order of
 * the robot's clock. Must never decide by the order in which the marks came.
 */

#include <stdlib.h>

#include "coco_lid_walk.h"


/* Where the walk is. */
typedef struct {
    const coco_lid_rules_t  *rules;
    coco_lid_state_e         state;
    coco_lid_cycle_t        *cycles;    /* behind the stored ones */
    size_t                   count, max;
} lid_walk_t;


static int mark_compare(const void *a, const void *b);
static int mark_rank(coco_lid_event_e event);
static int64_t walk_span_ms(const coco_lid_rules_t *rules);
static size_t walk_first(const coco_lid_t *lid, int64_t from,
    const coco_lid_rules_t *rules);
static void walk_expire(lid_walk_t *walk, int64_t at);
static int walk_step(lid_walk_t *walk, coco_lid_mark_t *mark,
    const coco_lid_mark_t *marks);
static int cycle_begin(lid_walk_t *walk);
static void open_add(coco_lid_cycle_t *cycle, const coco_lid_mark_t *mark,
    const coco_lid_mark_t *marks);
static int source_rank(coco_lid_source_e source);
static void close_add(coco_lid_cycle_t *cycle, const coco_lid_mark_t *mark,
    const coco_lid_mark_t *marks);
static void cycle_finish(coco_lid_cycle_t *cycle);


int64_t
coco_lid_span_ms(const coco_lid_rules_t *rules)
{
    /* what began cycle_ms before `from` may belong to what began as long
     * before that; whatever is walked needs the requests before it */
    return walk_span_ms(rules) + rules->cycle_ms;
}


int64_t
coco_lid_edge(int64_t until, const coco_lid_rules_t *rules)
{
    return until - rules->cycle_ms - rules->window_ms;
}


int
coco_lid_reconcile(coco_lid_t *lid, int64_t from, int64_t now,
    const coco_lid_rules_t *rules)
{
    size_t      i, first, stored = lid->cycle_count;
    lid_walk_t  walk = { .rules = rules, .state = COCO_LID_IDLE };

    qsort(lid->marks, lid->mark_count, sizeof(*lid->marks), mark_compare);
    coco_lid_link(lid->marks, lid->mark_count, rules->window_ms);

    first = walk_first(lid, from, rules);
    walk.cycles = lid->cycles + stored;
    walk.max = lid->cycle_max - stored;

    for (i = 0; i < lid->mark_count; i++) {
        lid->marks[i].cycle = COCO_LID_NO_INDEX;

        if (i < first) {
            continue;
        }

        walk_expire(&walk, lid->marks[i].at);

        if (walk_step(&walk, &lid->marks[i], lid->marks) != COCO_OK) {
            return COCO_AGAIN;
        }
    }

    walk_expire(&walk, now);

    for (i = 0; i < walk.count; i++) {
        cycle_finish(&walk.cycles[i]);
    }

    coco_lid_match(lid, stored, walk.count, now, rules);
    coco_lid_answer(lid, first, walk.cycles);
    coco_lid_pack(lid, stored, walk.count);

    return COCO_OK;
}


static int
mark_compare(const void *a, const void *b)
{
    int                     rank;
    const coco_lid_mark_t  *left = a, *right = b;

    if (left->at != right->at) {
        return left->at < right->at ? -1 : 1;
    }

    rank = mark_rank(left->event) - mark_rank(right->event);

    return rank != 0 ? rank
           : memcmp(left->id.bytes, right->id.bytes, COCO_ID_LEN);
}


/* What comes first of what happened in one millisecond. */
static int
mark_rank(coco_lid_event_e event)
{
    switch (event) {

    case COCO_LID_OPENED:
    case COCO_LID_PIN_OPENED:
    case COCO_LID_SEEN_OPEN:
        return 1;

    case COCO_LID_OPEN_FAILED:
        return 2;

    case COCO_LID_REQUEST_TIMEOUT:
        return 3;

    case COCO_LID_CLOSED:
    case COCO_LID_PIN_CLOSED:
    case COCO_LID_SEEN_CLOSED:
        return 4;

    default:
        return 0;
    }
}


size_t
coco_lid_mark_find(const coco_lid_t *lid, int64_t at, coco_lid_event_e event,
    const coco_id_t *id)
{
    const coco_lid_mark_t  *found;
    const coco_lid_mark_t   key = { .at = at, .event = event, .id = *id };

    if (lid->mark_count == 0) {
        return COCO_LID_NO_INDEX;
    }

    found = bsearch(&key, lid->marks, lid->mark_count, sizeof(key),
                    mark_compare);

    return found != NULL ? (size_t) (found - lid->marks) : COCO_LID_NO_INDEX;
}


/* How far before `from` the walk may begin. */
static int64_t
walk_span_ms(const coco_lid_rules_t *rules)
{
    return 2 * rules->cycle_ms + 3 * rules->window_ms;
}


/*
 * The walk begins, with no cycle standing, at the newest cycle that began too
 * early to be changed by what is new. Without one, all cycles that began
 * before that are older than the span, and so are over.
 */
static size_t
walk_first(const coco_lid_t *lid, int64_t from, const coco_lid_rules_t *rules)
{
    size_t                   i, mark, first = COCO_LID_NO_INDEX;
    const coco_lid_cycle_t  *cycle;

    for (i = 0; i < lid->cycle_count; i++) {
        cycle = &lid->cycles[i];

        if (coco_lid_cycle_at(cycle) >= from - rules->cycle_ms
            || coco_lid_cycle_at(cycle) < from - walk_span_ms(rules))
        {
            continue;
        }

        mark = cycle->has_open
               ? coco_lid_mark_find(lid, cycle->opened_at, COCO_LID_OPENED,
                                    &cycle->open_event)
               : coco_lid_mark_find(lid, cycle->closed_at, COCO_LID_CLOSED,
                                    &cycle->close_event);

        if (mark != COCO_LID_NO_INDEX
            && (first == COCO_LID_NO_INDEX || mark > first))
        {
            first = mark;
        }
    }

    if (first != COCO_LID_NO_INDEX) {
        return first;
    }

    for (i = 0; i < lid->mark_count; i++) {
        if (lid->marks[i].at >= from - rules->cycle_ms - rules->window_ms) {
            break;
        }
    }

    return i;
}


/* The time has come to `at`. */
static void
walk_expire(lid_walk_t *walk, int64_t at)
{
    coco_lid_cycle_t             *cycle;
    const coco_lid_transition_t  *way;

    if (walk->count == 0) {
        return;
    }

    cycle = &walk->cycles[walk->count - 1];

    if (!((walk->state == COCO_LID_INIT
           && at - cycle->opened_at > walk->rules->cycle_ms)
          || (walk->state == COCO_LID_COMPLETE
              && at - cycle->closed_at > walk->rules->window_ms)))
    {
        return;
    }

    way = &coco_lid_transitions[walk->state][COCO_LID_EXPIRY];

    if (way->action == COCO_LID_DO_EXPIRE) {
        cycle->state = COCO_LID_COMPLETE;
        cycle->reason = COCO_LID_NEVER_CLOSED;
    }

    walk->state = way->next;
}


static int
walk_step(lid_walk_t *walk, coco_lid_mark_t *mark,
    const coco_lid_mark_t *marks)
{
    coco_lid_cycle_t             *cycle;
    const coco_lid_transition_t  *way;

    way = &coco_lid_transitions[walk->state][mark->event];

    switch (way->action) {

    case COCO_LID_DO_BEGIN:
    case COCO_LID_DO_WAIT:
        if (cycle_begin(walk) != COCO_OK) {
            return COCO_AGAIN;
        }

        break;

    case COCO_LID_DO_JOIN:
    case COCO_LID_DO_END:
        break;

    default:
        walk->state = way->next;
        return COCO_OK;
    }

    mark->cycle = walk->count - 1;
    cycle = &walk->cycles[mark->cycle];
    walk->state = cycle->state = way->next;

    if (way->next == COCO_LID_INIT) {
        open_add(cycle, mark, marks);

    } else {
        close_add(cycle, mark, marks);
    }

    return COCO_OK;
}


static int
cycle_begin(lid_walk_t *walk)
{
    if (walk->count == walk->max) {
        return COCO_AGAIN;
    }

    walk->cycles[walk->count++] = (coco_lid_cycle_t) {
        .opened_at = COCO_NEVER,
        .closed_at = COCO_NEVER
    };

    return COCO_OK;
}


/* Who opened it: the first who can load, before an operator, before nobody
 * known, before heartbeats; for what: he, else the first who said. */
static void
open_add(coco_lid_cycle_t *cycle, const coco_lid_mark_t *mark,
    const coco_lid_mark_t *marks)
{
    bool                    better;
    coco_lid_source_e       source = COCO_SOURCE_NONE;
    coco_lid_trigger_e      trigger = COCO_TRIGGER_OTHER;
    const coco_lid_mark_t  *request = NULL;

    if (mark->event == COCO_LID_SEEN_OPEN) {
        source = COCO_SOURCE_RESYNC;

    } else if (mark->request != COCO_LID_NO_INDEX) {
        request = &marks[mark->request];
        source = request->source;
        trigger = COCO_TRIGGER_COMMAND;

    } else if (mark->event == COCO_LID_PIN_OPENED) {
        source = COCO_SOURCE_MAGIC_LID;
        trigger = COCO_TRIGGER_PIN_ENTRY_CONFIRM;
    }

    if (mark->trigger != COCO_TRIGGER_NONE) {
        trigger = mark->trigger;
    }

    better = !cycle->has_open
             || source_rank(source) > source_rank(cycle->source);

    if (!cycle->has_open) {
        cycle->has_open = true;
        cycle->open_event = mark->id;
        cycle->opened_at = mark->at;
    }

    if (better) {
        cycle->source = source;
    }

    if (trigger > cycle->open_trigger) {
        cycle->open_trigger = trigger;
    }

    if (request == NULL) {
        return;
    }

    if (request->reference.data != NULL
        && (better || cycle->reference.data == NULL))
    {
        cycle->reference = request->reference;
    }

    if (request->has_command && (better || !cycle->has_command)) {
        cycle->has_command = true;
        cycle->command = request->command;
    }
}


static int
source_rank(coco_lid_source_e source)
{
    switch (source) {

    case COCO_SOURCE_RESYNC:
        return 0;

    case COCO_SOURCE_NONE:
        return 1;

    case COCO_SOURCE_OPERATOR:
        return 2;

    default:
        return 3;
    }
}


/* resynced is, until the cycle is finished: only heartbeats saw it close. */
static void
close_add(coco_lid_cycle_t *cycle, const coco_lid_mark_t *mark,
    const coco_lid_mark_t *marks)
{
    bool                    seen = mark->event == COCO_LID_SEEN_CLOSED;
    coco_lid_trigger_e      trigger = mark->trigger;
    const coco_lid_mark_t  *request;

    if (trigger == COCO_TRIGGER_NONE) {
        trigger = mark->event == COCO_LID_PIN_CLOSED
                  ? COCO_TRIGGER_PIN_ENTRY_CONFIRM : COCO_TRIGGER_OTHER;
    }

    if (trigger > cycle->trigger) {
        cycle->trigger = trigger;
    }

    if (cycle->has_close) {
        cycle->resynced &= seen;

        if (mark->wait_until < cycle->wait_until) {
            cycle->wait_until = mark->wait_until;
        }

        return;
    }

    cycle->has_close = true;
    cycle->close_event = mark->id;
    cycle->closed_at = mark->at;
    cycle->wait_until = mark->wait_until;
    cycle->resynced = seen;

    if (cycle->has_open) {
        cycle->reason = COCO_LID_WHOLE;
        return;
    }

    cycle->reason = COCO_LID_CLOSE_WITHOUT_OPEN;

    if (mark->request != COCO_LID_NO_INDEX) {
        request = &marks[mark->request];
        cycle->source = request->source;
        cycle->reference = request->reference;
        cycle->has_command = request->has_command;
        cycle->command = request->command;
    }
}


static void
cycle_finish(coco_lid_cycle_t *cycle)
{
    if (!cycle->has_close) {
        cycle->trigger = cycle->open_trigger;
    }

    /* an operator's cycle loads nothing, whoever saw it close */
    if (cycle->resynced && cycle->source != COCO_SOURCE_OPERATOR) {
        cycle->source = COCO_SOURCE_RESYNC;
    }

    cycle->resynced = false;
    cycle->stored = false;
}
