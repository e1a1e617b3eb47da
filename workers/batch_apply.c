/*
 * The services over a batch, in memory: which messages take part, whose they
 * are, and what each service makes of them. Must never touch a socket.
 */

#include <stdlib.h>

#include "batch_work.h"

#define COCO_DETAILS_SIZE  64      /* of a row's, beside what it quotes */

static void coco_batch_sort(coco_items_t *items,
    int (*compare)(const void *a, const void *b));
static void coco_batch_group(coco_writer_t *w);
static void coco_batch_details_encode(coco_json_out_t *out, const void *data);
static void coco_batch_change(coco_writer_t *w, coco_group_t *g,
    const coco_item_t *item, const coco_state_change_t *change);


/* The order of bytes, as collate "C" has it. */
int
coco_serial_compare(coco_str_t a, coco_str_t b)
{
    int     rc;
    size_t  n;

    n = a.len < b.len ? a.len : b.len;
    rc = memcmp(a.data, b.data, n);

    return rc || a.len == b.len ? rc : a.len < b.len ? -1 : 1;
}


static int
coco_subject_compare(const void *a, const void *b)
{
    int                 rc;
    const coco_item_t  *x = *(coco_item_t *const *) a;
    const coco_item_t  *y = *(coco_item_t *const *) b;

    rc = coco_serial_compare(x->serial, y->serial);

    return rc ? rc : coco_order_compare(&x->order, &y->order);
}


static int
coco_id_compare(const void *a, const void *b)
{
    const coco_item_t  *x = *(coco_item_t *const *) a;
    const coco_item_t  *y = *(coco_item_t *const *) b;

    return memcmp(&x->id, &y->id, sizeof(x->id));
}


static int
coco_letter_compare(const void *a, const void *b)
{
    const coco_item_t  *x = *(coco_item_t *const *) a;
    const coco_item_t  *y = *(coco_item_t *const *) b;

    return memcmp(&x->letter, &y->letter, sizeof(x->letter));
}


/* The part of the batch that one transaction is to write. */
void
coco_batch_collect(coco_writer_t *w, coco_item_t *items, size_t count)
{
    coco_item_t  *item;

    for (int kind = 0; kind < COCO_ITEM_KINDS; kind++) {
        w->kinds[kind].count = 0;
    }

    w->refused.count = 0;
    w->replays.count = 0;
    w->inbox.count = 0;
    w->due.count = 0;
    w->joined_count = 0;

    for (size_t i = 0; i < count; i++) {
        item = &items[i];
        item->waiting = false;
        w->joined_count += item->same_as != NULL;

        if (strcmp(item->message->source, "replay") == 0) {
            w->replays.v[w->replays.count++] = item;

        } else if (item->refused_by != NULL && item->same_as == NULL) {
            w->refused.v[w->refused.count++] = item;
        }

        if (item->message->inbox && item->message->kind == COCO_KIND_TASK) {
            w->due.v[w->due.count++] = item;

        } else if (item->message->inbox) {
            w->inbox.v[w->inbox.count++] = item;
        }

        if (item->accepted && item->same_as == NULL
            && item->kind < COCO_ITEM_KINDS)
        {
            w->kinds[item->kind].v[w->kinds[item->kind].count++] = item;
        }
    }

    for (int kind = 0; kind < COCO_ITEM_KINDS; kind++) {
        coco_batch_sort(&w->kinds[kind], kind < COCO_ITEM_SUBJECTS
                                         ? coco_subject_compare
                                         : coco_id_compare);
    }

    coco_batch_sort(&w->refused, coco_letter_compare);
    coco_batch_group(w);
}


static void
coco_batch_sort(coco_items_t *items,
    int (*compare)(const void *a, const void *b))
{
    if (items->count > 1) {
        qsort(items->v, items->count, sizeof(*items->v), compare);
    }
}


/* Merges the subjects, each in order already. */
static void
coco_batch_group(coco_writer_t *w)
{
    size_t         at[COCO_ITEM_SUBJECTS] = { 0 };
    coco_str_t     serial;
    coco_items_t  *items;
    coco_group_t  *g;

    for (w->group_count = 0; ; w->group_count++) {
        serial = (coco_str_t) { NULL, 0 };

        for (int kind = 0; kind < COCO_ITEM_SUBJECTS; kind++) {
            items = &w->kinds[kind];

            if (at[kind] < items->count
                && (serial.data == NULL
                    || coco_serial_compare(items->v[at[kind]]->serial, serial)
                       < 0))
            {
                serial = items->v[at[kind]]->serial;
            }
        }

        if (serial.data == NULL) {
            return;
        }

        g = &w->groups[w->group_count];
        memset(g, 0, sizeof(*g));
        g->serial = serial;

        for (int kind = 0; kind < COCO_ITEM_SUBJECTS; kind++) {
            items = &w->kinds[kind];
            g->kinds[kind].v = &items->v[at[kind]];

            while (at[kind] < items->count
                   && coco_str_equal(items->v[at[kind]]->serial, serial))
            {
                g->kinds[kind].count++;
                at[kind]++;
            }
        }
    }
}


coco_group_t *
coco_group_find(coco_writer_t *w, size_t *at, coco_str_t serial)
{
    /* both are in the order of bytes: one walk finds them all */
    while (*at < w->group_count) {
        if (coco_str_equal(w->groups[*at].serial, serial)) {
            return &w->groups[*at];
        }
        (*at)++;
    }

    return NULL;
}


coco_item_t *
coco_group_copy(const coco_group_t *g)
{
    for (size_t k = g->copies.count; k > 0; k--) {
        if (g->copies.v[k - 1]->parts
            & (COCO_PART_OPERATIONS | COCO_PART_TELEMETRY))
        {
            return g->copies.v[k - 1];
        }
    }

    return NULL;
}


/* Of heartbeats whose groups were enriched. COCO_ERROR: no memory. */
int
coco_batch_details(coco_writer_t *w)
{
    coco_item_t   *item;
    coco_group_t  *g;

    for (size_t i = 0; i < w->group_count; i++) {
        g = &w->groups[i];

        for (size_t k = 0; k < g->heartbeats.count; k++) {
            item = g->heartbeats.v[k];

            /* made once, unless what is known of the robot has changed */
            if (item->details.data != NULL
                && coco_str_equal(item->driveu, g->driveu))
            {
                continue;
            }

            item->driveu = g->driveu;
            item->controllable = g->controllable;

            if (coco_arena_json(&w->arena, &item->details,
                                item->heartbeat.payload.len
                                + item->driveu.len + COCO_DETAILS_SIZE,
                                coco_batch_details_encode, item)
                != COCO_OK)
            {
                return COCO_ERROR;
            }
        }
    }

    return COCO_OK;
}


static void
coco_batch_details_encode(coco_json_out_t *out, const void *data)
{
    const coco_item_t  *item = data;

    coco_heartbeat_details_encode(out, &item->heartbeat, item->controllable,
                                  item->driveu);
}


void
coco_batch_apply_state(coco_writer_t *w)
{
    coco_item_t          *item = NULL;
    coco_group_t         *g;
    coco_state_effect_t   effect;

    w->change_count = 0;

    for (size_t i = 0; i < w->group_count; i++) {
        g = &w->groups[i];

        for (size_t k = 0; k < g->heartbeats.count; k++) {
            item = g->heartbeats.v[k];
            coco_service_state_heartbeat(&g->state, &item->heartbeat,
                                         &effect);
            item->state = effect.state;
            item->newer = effect.newer;
            g->newer |= effect.newer;

            if (effect.changed) {
                coco_batch_change(w, g, item, &effect.change);
            }
        }

        if (g->heartbeats.count > 0
            && coco_order_compare(&item->order, &g->state.order) == 0)
        {
            g->newest = item;
        }

        for (size_t k = 0; k < g->state_changes.count; k++) {
            coco_batch_change(w, g, g->state_changes.v[k],
                              &g->state_changes.v[k]->state_change);
        }

        /* unless the operations service knows one */
        g->operation_state = g->heartbeats.count > 0 || g->copies.count == 0
            ? g->state.state
            : g->copies.v[g->copies.count - 1]->heartbeat.state;
    }
}


static void
coco_batch_change(coco_writer_t *w, coco_group_t *g, const coco_item_t *item,
    const coco_state_change_t *change)
{
    coco_change_t  *c;

    c = &w->changes[w->change_count++];
    memset(c, 0, sizeof(*c));
    c->group = g;
    c->item = item;
    c->change = *change;
    g->operates |= (item->parts & COCO_PART_OPERATIONS) != 0;
}


void
coco_batch_apply_operations(coco_writer_t *w)
{
    coco_change_t  *c;

    for (size_t i = 0; i < w->change_count; i++) {
        c = &w->changes[i];

        if (c->item->parts & COCO_PART_OPERATIONS) {
            coco_service_operations_state_change(&c->group->operation,
                                                 &c->change, &c->effect);
            c->group->operation_changed |= c->effect.applied;
        }
    }
}


/* Starts from blank records: the statements compare with what is stored. */
void
coco_batch_apply_fleet(coco_writer_t *w)
{
    coco_item_t    *item;
    coco_group_t   *g;
    coco_change_t  *c;

    for (int kind = COCO_ITEM_HEARTBEAT; kind <= COCO_ITEM_COPY; kind++) {
        for (size_t i = 0; i < w->group_count; i++) {
            g = &w->groups[i];

            for (size_t k = 0; k < g->kinds[kind].count; k++) {
                item = g->kinds[kind].v[k];

                if (item->parts & COCO_PART_TELEMETRY) {
                    coco_service_fleet_heartbeat(&g->fleet, &item->heartbeat);
                }
            }
        }
    }

    for (size_t i = 0; i < w->change_count; i++) {
        c = &w->changes[i];

        if (c->effect.changed && c->item->parts & COCO_PART_BUSINESS) {
            coco_service_fleet_business_change(&c->group->fleet,
                                               &c->effect.change);
        }
    }

    for (size_t i = 0; i < w->group_count; i++) {
        g = &w->groups[i];

        for (size_t k = 0; k < g->business_changes.count; k++) {
            item = g->business_changes.v[k];

            if (item->parts & COCO_PART_BUSINESS) {
                coco_service_fleet_business_change(&g->fleet,
                                                   &item->business_change);
            }
        }
    }
}
