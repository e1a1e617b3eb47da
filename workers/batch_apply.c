/*
 * The services over a batch, in memory: which messages take part, whose they
 * are, and what each service makes of them. Must never touch a socket.
 */

#include <stdlib.h>

#include "batch_work.h"

static void coco_batch_group(coco_writer_t *w);
static int coco_batch_details(coco_writer_t *w, coco_item_t *item);


static int
coco_item_compare(const void *a, const void *b)
{
    int                 rc;
    size_t              n;
    const coco_item_t  *x = *(coco_item_t *const *) a;
    const coco_item_t  *y = *(coco_item_t *const *) b;
    coco_str_t          s = x->heartbeat.serial, t = y->heartbeat.serial;

    n = s.len < t.len ? s.len : t.len;
    rc = memcmp(s.data, t.data, n);
    if (rc == 0 && s.len != t.len) {
        rc = s.len < t.len ? -1 : 1;
    }

    return rc ? rc : coco_order_compare(&x->order, &y->order);
}


static int
coco_event_compare(const void *a, const void *b)
{
    const coco_item_t  *x = *(coco_item_t *const *) a;
    const coco_item_t  *y = *(coco_item_t *const *) b;

    return memcmp(&x->event.id, &y->event.id, sizeof(x->event.id));
}


static int
coco_letter_compare(const void *a, const void *b)
{
    const coco_item_t  *x = *(coco_item_t *const *) a;
    const coco_item_t  *y = *(coco_item_t *const *) b;

    return memcmp(&x->letter, &y->letter, sizeof(x->letter));
}


/* The part of the batch that one transaction is to write. */
int
coco_batch_collect(coco_writer_t *w, coco_item_t *items, size_t count)
{
    coco_item_t  *item;

    w->heartbeat_count = 0;
    w->event_count = 0;
    w->refused_count = 0;
    w->replay_count = 0;
    w->change_count = 0;
    w->joined_count = 0;

    for (size_t i = 0; i < count; i++) {
        item = &items[i];
        w->joined_count += item->same_as != NULL;

        if (strcmp(item->message->source, "replay") == 0) {
            w->replays[w->replay_count++] = item;

        } else if (item->refused_by != NULL && item->same_as == NULL) {
            w->refused[w->refused_count++] = item;
        }

        if (!item->accepted || item->same_as != NULL) {
            continue;
        }

        if (item->message->kind == COCO_KIND_HEARTBEAT) {
            w->heartbeats[w->heartbeat_count++] = item;

        } else {
            w->events[w->event_count++] = item;
        }
    }

    qsort(w->heartbeats, w->heartbeat_count, sizeof(*w->heartbeats),
          coco_item_compare);
    qsort(w->events, w->event_count, sizeof(*w->events), coco_event_compare);
    qsort(w->refused, w->refused_count, sizeof(*w->refused),
          coco_letter_compare);

    coco_batch_group(w);

    for (size_t i = 0; i < w->heartbeat_count; i++) {
        if (coco_batch_details(w, w->heartbeats[i]) != COCO_OK) {
            return COCO_ERROR;
        }
    }

    return COCO_OK;
}


static void
coco_batch_group(coco_writer_t *w)
{
    coco_item_t   *item;
    coco_group_t  *g = NULL;

    w->group_count = 0;

    for (size_t i = 0; i < w->heartbeat_count; i++) {
        item = w->heartbeats[i];

        if (g == NULL || !coco_str_equal(g->serial, item->heartbeat.serial)) {
            g = &w->groups[w->group_count++];
            memset(g, 0, sizeof(*g));
            g->serial = item->heartbeat.serial;
            g->items = &w->heartbeats[i];
        }

        g->count++;
    }
}


static int
coco_batch_details(coco_writer_t *w, coco_item_t *item)
{
    char             *p;
    size_t            size;
    coco_json_out_t   out;

    if (item->details.data != NULL) {
        return COCO_OK;
    }

    size = item->heartbeat.payload.len + 64;

    for ( ;; ) {
        p = coco_arena_alloc(&w->arena, size);
        if (p == NULL) {
            return COCO_ERROR;
        }

        coco_json_out_init(&out, p, size);
        coco_heartbeat_details_encode(&out, &item->heartbeat, false,
                                      (coco_str_t) { NULL, 0 });

        if (coco_json_out_ok(&out)) {
            break;
        }

        size = out.len;
    }

    coco_arena_trim(&w->arena, p, out.len);
    item->details = (coco_str_t) { p, out.len };

    return COCO_OK;
}


void
coco_batch_apply_state(coco_writer_t *w)
{
    coco_item_t          *item;
    coco_group_t         *g;
    coco_change_t        *c;
    coco_state_effect_t   effect;

    w->change_count = 0;

    for (size_t i = 0; i < w->group_count; i++) {
        g = &w->groups[i];

        for (size_t k = 0; k < g->count; k++) {
            item = g->items[k];
            coco_service_state_heartbeat(&g->state, &item->heartbeat,
                                         &effect);
            item->state = effect.state;
            item->newer = effect.newer;
            g->newer |= effect.newer;

            if (effect.changed) {
                c = &w->changes[w->change_count++];
                memset(c, 0, sizeof(*c));
                c->group = g;
                c->no_fleet = item->no_fleet;
                c->change = effect.change;
                g->changes = true;
            }
        }

        g->current = coco_order_compare(&g->items[g->count - 1]->order,
                                        &g->state.order) == 0;
        g->operation_state = g->state.state;
    }
}


void
coco_batch_apply_operations(coco_writer_t *w)
{
    coco_change_t  *c;

    for (size_t i = 0; i < w->change_count; i++) {
        c = &w->changes[i];
        coco_service_operations_state_change(&c->group->operation, &c->change,
                                             &c->effect);
        c->group->operation_changed |= c->effect.applied;
    }
}


/* Starts from blank records: the statements compare with what is stored. */
void
coco_batch_apply_fleet(coco_writer_t *w)
{
    coco_group_t   *g;
    coco_change_t  *c;

    for (size_t i = 0; i < w->group_count; i++) {
        g = &w->groups[i];

        for (size_t k = 0; k < g->count; k++) {
            if (!g->items[k]->no_fleet) {
                coco_service_fleet_heartbeat(&g->fleet,
                                             &g->items[k]->heartbeat);
            }
        }
    }

    for (size_t i = 0; i < w->change_count; i++) {
        c = &w->changes[i];

        if (c->effect.changed && !c->no_fleet) {
            coco_service_fleet_business_change(&c->group->fleet,
                                               &c->effect.change);
        }
    }
}
