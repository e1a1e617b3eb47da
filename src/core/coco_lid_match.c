/*
 * Finds the stored cycles of a robot again among those that were walked, and
 * says what is to be written, published and looked at again. Must never
 * publish the same twice.
 */

#include <stdlib.h>

#include "coco_lid_walk.h"


static void stored_match(coco_lid_t *lid, size_t stored, bool by_close,
    int64_t edge);
static void open_told(coco_lid_t *lid, size_t stored,
    const coco_lid_cycle_t *was);
static void cycle_found(coco_lid_t *lid, coco_lid_cycle_t *cycle,
    const coco_lid_cycle_t *was);
static bool mark_seen(const coco_lid_t *lid, int64_t at,
    coco_lid_event_e event, const coco_id_t *id);
static bool cycle_same(const coco_lid_cycle_t *a, const coco_lid_cycle_t *b);
static void cycles_settle(coco_lid_t *lid, size_t stored, size_t walked,
    int64_t edge, int64_t now, const coco_lid_rules_t *rules);
static void cycle_name(const coco_lid_t *lid, coco_lid_cycle_t *cycle,
    size_t count);
static void due_add(coco_lid_t *lid, int64_t at, int64_t from);
static int cycle_compare(const void *a, const void *b);
static void position_find(coco_lid_t *lid);


void
coco_lid_match(coco_lid_t *lid, size_t stored, size_t walked, int64_t now,
    const coco_lid_rules_t *rules)
{
    int64_t  edge;

    edge = lid->until == 0 ? INT64_MAX : coco_lid_edge(lid->until, rules);

    /* a close was published under the id of its cycle: where events that come
     * late part it from its open, the id stays with the close */
    stored_match(lid, stored, true, edge);
    stored_match(lid, stored, false, edge);

    cycles_settle(lid, stored, walked, edge, now, rules);
}


/* The index of a stored cycle that was found again is NO_INDEX. */
static void
stored_match(coco_lid_t *lid, size_t stored, bool by_close, int64_t edge)
{
    size_t             i, mark;
    coco_lid_cycle_t  *was, *cycle;

    for (i = 0; i < stored; i++) {
        was = &lid->cycles[i];

        if (by_close) {
            was->stored = true;
            was->index = i;
        }

        if (was->index == COCO_LID_NO_INDEX
            || coco_lid_cycle_at(was) > edge
            || !(by_close ? was->has_close : was->has_open))
        {
            continue;
        }

        mark = by_close
               ? coco_lid_mark_find(lid, was->closed_at, COCO_LID_CLOSED,
                                    &was->close_event)
               : coco_lid_mark_find(lid, was->opened_at, COCO_LID_OPENED,
                                    &was->open_event);

        if (mark == COCO_LID_NO_INDEX
            || lid->marks[mark].cycle == COCO_LID_NO_INDEX)
        {
            continue;
        }

        cycle = &lid->cycles[stored + lid->marks[mark].cycle];

        if (!cycle->stored && coco_lid_cycle_at(cycle) <= edge) {
            cycle_found(lid, cycle, was);
            was->index = COCO_LID_NO_INDEX;

            if (was->open_published && !cycle->has_open) {
                open_told(lid, stored, was);
            }
        }
    }
}


/* The close has kept the id, and none of the opens: the part that has the
 * first of them was told of under that id, too. */
static void
open_told(coco_lid_t *lid, size_t stored, const coco_lid_cycle_t *was)
{
    size_t  mark;

    if (!was->has_open) {
        return;
    }

    mark = coco_lid_mark_find(lid, was->opened_at, COCO_LID_OPENED,
                              &was->open_event);

    if (mark != COCO_LID_NO_INDEX
        && lid->marks[mark].cycle != COCO_LID_NO_INDEX)
    {
        lid->cycles[stored + lid->marks[mark].cycle].open_published = true;
    }
}


/* was: as it is stored; NULL: it is new. */
static void
cycle_found(coco_lid_t *lid, coco_lid_cycle_t *cycle,
    const coco_lid_cycle_t *was)
{
    bool                           same_open, same_close;
    static const coco_lid_cycle_t  none;

    cycle->publish_open = was == NULL && cycle->has_open
                          && !cycle->open_published
                          && cycle->reason != COCO_LID_NEVER_CLOSED;

    if (was == NULL) {
        was = &none;

    } else {
        cycle->id = was->id;
        cycle->stored = true;
    }

    cycle->publish_close = cycle->has_close && !was->close_published;
    cycle->open_published |= was->open_published || cycle->publish_open;
    cycle->close_published = was->close_published || cycle->publish_close;
    cycle->anomaly = cycle->reason != COCO_LID_WHOLE
                     && cycle->reason != was->reason;

    same_open = was->has_open
                && coco_lid_id_equal(&cycle->open_event, &was->open_event);
    same_close = was->has_close
                 && coco_lid_id_equal(&cycle->close_event, &was->close_event);

    cycle->resynced = (cycle->has_open && !same_open
                       && mark_seen(lid, cycle->opened_at, COCO_LID_OPENED,
                                    &cycle->open_event))
                      || (cycle->has_close && !same_close
                          && mark_seen(lid, cycle->closed_at, COCO_LID_CLOSED,
                                       &cycle->close_event));

    cycle->changed = !cycle->stored || !cycle_same(cycle, was);
}


/* Is it one that heartbeats have shown? */
static bool
mark_seen(const coco_lid_t *lid, int64_t at, coco_lid_event_e event,
    const coco_id_t *id)
{
    const coco_lid_mark_t  *mark;

    mark = &lid->marks[coco_lid_mark_find(lid, at, event, id)];

    return mark->event == COCO_LID_SEEN_OPEN
           || mark->event == COCO_LID_SEEN_CLOSED;
}


/* In all that is stored. */
static bool
cycle_same(const coco_lid_cycle_t *a, const coco_lid_cycle_t *b)
{
    return a->state == b->state && a->source == b->source
           && (a->reference.data == NULL) == (b->reference.data == NULL)
           && coco_str_equal(a->reference, b->reference)
           && a->trigger == b->trigger
           && a->has_command == b->has_command
           && (!a->has_command || coco_lid_id_equal(&a->command, &b->command))
           && a->opened_at == b->opened_at && a->closed_at == b->closed_at
           && a->reason == b->reason
           && a->has_open == b->has_open && a->has_close == b->has_close
           && (!a->has_open
               || coco_lid_id_equal(&a->open_event, &b->open_event))
           && (!a->has_close
               || coco_lid_id_equal(&a->close_event, &b->close_event))
           && a->open_published == b->open_published
           && a->close_published == b->close_published;
}


/* Gives the cycles of the walk their place among those that come out, behind
 * the stored ones that were left alone; those that wait, and those beyond the
 * edge, have none. */
static void
cycles_settle(coco_lid_t *lid, size_t stored, size_t walked, int64_t edge,
    int64_t now, const coco_lid_rules_t *rules)
{
    size_t             i, place = 0;
    coco_lid_cycle_t  *cycle;

    lid->due_at = lid->due_from = COCO_NEVER;

    for (i = 0; i < stored; i++) {
        place += lid->cycles[i].index != COCO_LID_NO_INDEX;
    }

    for (i = stored; i < stored + walked; i++) {
        cycle = &lid->cycles[i];
        cycle->index = COCO_LID_NO_INDEX;

        if (coco_lid_cycle_at(cycle) > edge) {
            continue;
        }

        if (!cycle->stored) {
            if (cycle->reason == COCO_LID_CLOSE_WITHOUT_OPEN
                && now < cycle->wait_until)
            {
                due_add(lid, cycle->wait_until, cycle->closed_at);
                continue;
            }

            cycle_name(lid, cycle, stored + walked);
            cycle_found(lid, cycle, NULL);
        }

        if (cycle->state == COCO_LID_INIT) {
            due_add(lid, cycle->opened_at + rules->cycle_ms + 1,
                    cycle->opened_at);
        }

        cycle->index = place++;
    }
}


/* By the mark that made it; by that name again when a cycle that this mark
 * once made has it, which is another one now. */
static void
cycle_name(const coco_lid_t *lid, coco_lid_cycle_t *cycle, size_t count)
{
    size_t      i;
    coco_id_t   id;
    coco_str_t  cause[] = { coco_string("lid cycle"), lid->serial,
                            { (char *) id.bytes, COCO_ID_LEN } };

    id = cycle->has_open ? cycle->open_event : cycle->close_event;

    do {
        coco_id_derive(&id, cause, 3);

        for (i = 0; i < count; i++) {
            if (coco_lid_id_equal(&lid->cycles[i].id, &id)) {
                break;
            }
        }

    } while (i < count);

    cycle->id = id;
}


static void
due_add(coco_lid_t *lid, int64_t at, int64_t from)
{
    if (lid->due_at == COCO_NEVER || at < lid->due_at) {
        lid->due_at = at;
    }

    if (lid->due_from == COCO_NEVER || from < lid->due_from) {
        lid->due_from = from;
    }
}


void
coco_lid_pack(coco_lid_t *lid, size_t stored, size_t walked)
{
    size_t             i, left = 0, count;
    coco_lid_cycle_t  *cycle;

    for (i = 0; i < stored; i++) {
        cycle = &lid->cycles[i];

        if (cycle->index != COCO_LID_NO_INDEX) {
            cycle->changed = cycle->anomaly = cycle->resynced = false;
            cycle->publish_open = cycle->publish_close = false;
            lid->cycles[left++] = *cycle;
        }
    }

    qsort(lid->cycles, left, sizeof(*lid->cycles), cycle_compare);

    count = left;

    for (i = stored; i < stored + walked; i++) {
        if (lid->cycles[i].index != COCO_LID_NO_INDEX) {
            lid->cycles[count++] = lid->cycles[i];
        }
    }

    lid->cycle_count = count;

    position_find(lid);
}


static int
cycle_compare(const void *a, const void *b)
{
    const coco_lid_cycle_t  *left = a, *right = b;

    if (coco_lid_cycle_at(left) != coco_lid_cycle_at(right)) {
        return coco_lid_cycle_at(left) < coco_lid_cycle_at(right) ? -1 : 1;
    }

    return memcmp(left->id.bytes, right->id.bytes, COCO_ID_LEN);
}


static void
position_find(coco_lid_t *lid)
{
    const coco_lid_cycle_t  *last;

    lid->known = true;
    lid->is_open = false;
    lid->changed_at = COCO_NEVER;

    if (lid->cycle_count == 0) {
        return;
    }

    last = &lid->cycles[lid->cycle_count - 1];

    lid->known = last->reason != COCO_LID_NEVER_CLOSED;
    lid->is_open = last->state == COCO_LID_INIT;
    lid->changed_at = last->has_close ? last->closed_at : last->opened_at;
}
