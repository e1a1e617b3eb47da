/*
 * What heartbeats tell beside their state: a lid that contradicts its cycle,
 * an arrival. They are noticed here and become tasks, for the lane of the
 * robots' events to judge. Runs for every heartbeat of the fleet: must never
 * cost a statement for each.
 */

#include "batch_work.h"

/* Of one robot and batch; the next batch brings the rest. */
#define COCO_WATCH_SEEN_MAX  4

/* What a robot's clock may be behind ours before its arrivals are not ours to
 * notice: a heartbeat that waited somewhere since before the departure tells
 * of an earlier visit. */
#define COCO_WATCH_SLACK_MS  60000

#define COCO_WATCH_SIZE      192    /* of a task's data */

typedef struct coco_target_s  coco_target_t;

/* A delivery under way. */
struct coco_target_s {
    coco_delivery_record_t  record;     /* id, status, places */
    int64_t                 since;      /* ms, when it departed, or its
                                           places were changed */
    bool                    arrived;
    coco_target_t          *next;
};

struct coco_watch_s {
    int             is_open;            /* below 0: not known */
    int64_t         changed_at;         /* ms, or COCO_PG_NEVER */
    bool            suspect;            /* a heartbeat has contradicted */
    coco_target_t  *targets;
};

static unsigned coco_watch_parts(const coco_group_t *g);
static coco_watch_t *coco_watch_create(coco_writer_t *w, coco_group_t *g);
static int coco_watch_target(coco_writer_t *w, coco_group_t *g,
    const PGresult *res, int row);
static int coco_watch_group(coco_writer_t *w, coco_group_t *g, size_t *rows);
static int coco_watch_lid(coco_writer_t *w, coco_watch_t *watch,
    const coco_item_t *item, size_t *seen);
static int coco_watch_arrivals(coco_writer_t *w, coco_watch_t *watch,
    const coco_item_t *item, size_t *rows);
static int coco_watch_task(coco_writer_t *w, const coco_item_t *item,
    const coco_target_t *target, coco_delivery_event_e event);


int
coco_rows_watch(coco_writer_t *w)
{
    size_t  rows = 0;

    coco_pg_rows(w->pg, COCO_S_WATCH);

    for (size_t i = 0; i < w->group_count; i++) {
        if (coco_watch_parts(&w->groups[i])) {
            coco_pg_text(w->pg, w->groups[i].serial);
            rows++;
        }
    }

    return rows > 0 ? coco_pg_send(w->pg) : -1;
}


/* All heartbeats of a group are alike, and so are its copies but for those of
 * Kafka, which are fleet's alone. */
static unsigned
coco_watch_parts(const coco_group_t *g)
{
    unsigned  parts = 0;

    for (int kind = COCO_ITEM_HEARTBEAT; kind <= COCO_ITEM_COPY; kind++) {
        for (size_t k = 0; k < g->kinds[kind].count; k++) {
            parts |= g->kinds[kind].v[k]->parts;
        }
    }

    return parts & (COCO_PART_LID | COCO_PART_DELIVERIES);
}


/* A robot without a row has a lid that was never opened. */
static coco_watch_t *
coco_watch_create(coco_writer_t *w, coco_group_t *g)
{
    if (g->watch == NULL) {
        g->watch = coco_arena_alloc(&w->arena, sizeof(*g->watch));

        if (g->watch != NULL) {
            memset(g->watch, 0, sizeof(*g->watch));
            g->watch->changed_at = COCO_PG_NEVER;
        }
    }

    return g->watch;
}


int
coco_watch_read(coco_writer_t *w, const PGresult *res)
{
    size_t         at = 0;
    coco_group_t  *g;

    for (int row = 0; row < PQntuples(res); row++) {
        g = coco_group_find(w, &at, coco_pg_get(res, row, 0));
        if (g == NULL) {
            break;
        }

        if (coco_watch_create(w, g) == NULL) {
            return COCO_ERROR;
        }

        if (coco_pg_get_bool(res, row, 1) == 1) {
            g->watch->is_open = coco_pg_get_bool(res, row, 2);
            g->watch->changed_at = coco_pg_get_time(res, row, 3);
            g->watch->suspect = coco_pg_get_bool(res, row, 4) == 1;
        }

        if (!PQgetisnull(res, row, 5)
            && coco_watch_target(w, g, res, row) != COCO_OK)
        {
            return COCO_ERROR;
        }
    }

    return COCO_OK;
}


static int
coco_watch_target(coco_writer_t *w, coco_group_t *g, const PGresult *res,
    int row)
{
    coco_target_t           *t;
    coco_delivery_record_t  *r;

    t = coco_arena_alloc(&w->arena, sizeof(*t));
    if (t == NULL) {
        return COCO_ERROR;
    }

    memset(t, 0, sizeof(*t));
    r = &t->record;
    coco_pg_get_uuid(&r->id, res, row, 5);
    r->status = coco_delivery_status_parse(coco_pg_get(res, row, 6));
    r->pickup_latitude = coco_pg_get_float(res, row, 7);
    r->pickup_longitude = coco_pg_get_float(res, row, 8);
    r->dropoff_latitude = coco_pg_get_float(res, row, 9);
    r->dropoff_longitude = coco_pg_get_float(res, row, 10);
    t->since = coco_pg_get_time(res, row, 11) - COCO_WATCH_SLACK_MS;

    t->next = g->watch->targets;
    g->watch->targets = t;

    return COCO_OK;
}


int
coco_watch_write(coco_writer_t *w)
{
    size_t  rows = 0;

    coco_pg_rows(w->pg, COCO_S_TASKS_PUT);

    for (size_t i = 0; i < w->group_count; i++) {
        if (coco_watch_group(w, &w->groups[i], &rows) != COCO_OK) {
            return COCO_ERROR;
        }
    }

    if (rows > 0) {
        coco_pg_send(w->pg);
    }

    return COCO_OK;
}


static int
coco_watch_group(coco_writer_t *w, coco_group_t *g, size_t *rows)
{
    size_t        seen = 0;
    coco_item_t  *item;
    coco_watch_t  none = { .changed_at = COCO_PG_NEVER }, *watch;

    watch = g->watch != NULL ? g->watch : &none;

    for (size_t k = 0; k < g->heartbeats.count; k++) {
        item = g->heartbeats.v[k];

        if (!item->newer) {
            continue;
        }

        if (coco_watch_lid(w, watch, item, &seen) != COCO_OK
            || coco_watch_arrivals(w, watch, item, rows) != COCO_OK)
        {
            return COCO_ERROR;
        }
    }

    /* one that is late tells of an arrival, too: it was there */
    for (size_t k = 0; k < g->copies.count; k++) {
        if (coco_watch_arrivals(w, watch, g->copies.v[k], rows) != COCO_OK) {
            return COCO_ERROR;
        }
    }

    *rows += seen;

    return COCO_OK;
}


/* One that contradicts, and while there is a suspect one that agrees. */
static int
coco_watch_lid(coco_writer_t *w, coco_watch_t *watch, const coco_item_t *item,
    size_t *seen)
{
    bool                     contradicts;
    const coco_heartbeat_t  *hb = &item->heartbeat;

    if (!(item->parts & COCO_PART_LID) || !hb->has_lid
        || (watch->changed_at != COCO_PG_NEVER
            && item->order.order_ms <= watch->changed_at))
    {
        return COCO_OK;
    }

    contradicts = watch->is_open >= 0 && hb->lid_open != (watch->is_open == 1);

    if ((!contradicts && !watch->suspect) || *seen == COCO_WATCH_SEEN_MAX) {
        return COCO_OK;
    }

    watch->suspect = contradicts;
    (*seen)++;

    return coco_watch_task(w, item, NULL, 0);
}


static int
coco_watch_arrivals(coco_writer_t *w, coco_watch_t *watch,
    const coco_item_t *item, size_t *rows)
{
    coco_target_t          *t;
    coco_delivery_event_e   event;

    if (!(item->parts & COCO_PART_DELIVERIES)) {
        return COCO_OK;
    }

    for (t = watch->targets; t != NULL; t = t->next) {
        if (t->arrived || item->order.order_ms < t->since
            || !coco_service_deliveries_arrived(&t->record, &item->heartbeat,
                                                &event))
        {
            continue;
        }

        t->arrived = true;
        (*rows)++;

        if (coco_watch_task(w, item, t, event) != COCO_OK) {
            return COCO_ERROR;
        }
    }

    return COCO_OK;
}


/* SEEN, or with a target ARRIVAL. COCO_ERROR: no memory. */
static int
coco_watch_task(coco_writer_t *w, const coco_item_t *item,
    const coco_target_t *target, coco_delivery_event_e event)
{
    char             *p;
    coco_id_t         id;
    coco_str_t        at, cause[4];
    coco_json_out_t   out;

    p = coco_arena_alloc(&w->arena, COCO_WATCH_SIZE);
    if (p == NULL) {
        return COCO_ERROR;
    }

    at = event == COCO_DELIVERY_ARRIVE_PICKUP ? coco_string("pickup")
                                              : coco_string("dropoff");

    coco_json_out_init(&out, p, COCO_WATCH_SIZE);
    coco_json_object_open(&out);
    coco_json_name(&out, "id");
    coco_json_id(&out, &item->heartbeat.id);

    if (target != NULL) {
        coco_json_name(&out, "delivery");
        coco_json_id(&out, &target->record.id);
        coco_json_name(&out, "at");
        coco_json_string(&out, at);

    } else {
        coco_json_name(&out, "open");
        coco_json_bool(&out, item->heartbeat.lid_open);
    }

    coco_json_name(&out, "ts");
    coco_json_int(&out, item->order.order_ms);
    coco_json_object_close(&out);

    cause[0] = target ? coco_string("ARRIVAL") : coco_string("SEEN");
    cause[1] = (coco_str_t) { (const char *) item->heartbeat.id.bytes,
                              COCO_ID_LEN };
    cause[2] = target ? (coco_str_t) { (const char *) target->record.id.bytes,
                                       COCO_ID_LEN }
                     : coco_string("");
    cause[3] = at;
    coco_id_derive(&id, cause, target ? 4 : 2);

    coco_arena_trim(&w->arena, p, out.len);
    coco_pg_uuid(w->pg, &id);
    coco_pg_text(w->pg, item->serial);
    coco_pg_text(w->pg, cause[0]);
    coco_pg_time(w->pg, item->order.order_ms);    /* due, and in order */
    coco_pg_json(w->pg, (coco_str_t) { p, out.len });

    return COCO_OK;
}
