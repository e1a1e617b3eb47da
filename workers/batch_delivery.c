/*
 * What closes of lids and arrivals of robots do to deliveries: the records are
 * locked and read, the deliveries service decides, coco.delivery_apply()
 * writes. Must never decide anything itself.
 */

#include <stdlib.h>

#include "batch_work.h"
#include "metrics.h"

/* What a lid or a robot has done. */
typedef struct {
    coco_str_t                serial;
    int64_t                   at;          /* ms, the robot's clock */
    const coco_lid_close_t   *close;       /* NULL: an arrival */
    const coco_task_t        *arrival;
    bool                      repeated;    /* an event that came before */
    coco_delivery_effect_t    effect;
    coco_str_t                candidates;  /* of an anomaly, an array's text */
} coco_deed_t;

struct coco_delivery_work_s {
    coco_deed_t               *deeds;      /* by serial, time */
    size_t                     count;
    coco_delivery_record_t    *records;    /* by id */
    size_t                     record_count;
    int64_t                    now;        /* ms */
};

static coco_delivery_work_t *coco_deliveries_collect(coco_writer_t *w);
static int coco_deed_compare(const void *a, const void *b);
static int coco_deliveries_once(coco_writer_t *w);
static int coco_deliveries_lock(coco_writer_t *w);
static void coco_deliveries_robots(coco_writer_t *w);
static void coco_deliveries_repeats(coco_writer_t *w, const PGresult *res);
static int coco_deliveries_read(coco_writer_t *w, const PGresult *res);
static int coco_deliveries_apply(coco_writer_t *w);
static int coco_deliveries_close(coco_writer_t *w, coco_deed_t *deed);
static int coco_deliveries_candidates(coco_writer_t *w, coco_deed_t *deed);
static coco_delivery_record_t *coco_deliveries_find(
    coco_delivery_work_t *work, const coco_id_t *id);
static void coco_deliveries_write_moves(coco_writer_t *w);
static void coco_deliveries_write_anomalies(coco_writer_t *w);


coco_turn_e
coco_deliveries_turn(coco_writer_t *w)
{
    int          once, lock;
    coco_turn_e  rc;

    w->delivery = NULL;

    if (w->close_count + w->bus_closes.count + w->tasks.count == 0) {
        return COCO_TURN_DONE;
    }

    w->delivery = coco_deliveries_collect(w);
    if (w->delivery == NULL) {
        coco_pg_close(w->pg);
        return COCO_TURN_RETRY;
    }

    if (w->delivery->count == 0) {
        w->delivery = NULL;
        return COCO_TURN_DONE;
    }

    once = coco_deliveries_once(w);
    lock = coco_deliveries_lock(w);
    coco_deliveries_robots(w);

    rc = (coco_turn_e) coco_pg_sync(w->pg);
    if (rc != COCO_TURN_DONE) {
        return rc;
    }

    if (once >= 0) {
        coco_deliveries_repeats(w, coco_pg_result(w->pg, once));
    }

    if (coco_deliveries_read(w, coco_pg_result(w->pg, lock)) != COCO_OK
        || coco_deliveries_apply(w) != COCO_OK)
    {
        coco_pg_close(w->pg);
        return COCO_TURN_RETRY;
    }

    return COCO_TURN_DONE;
}


/* NULL: no memory. */
static coco_delivery_work_t *
coco_deliveries_collect(coco_writer_t *w)
{
    size_t                 n;
    coco_deed_t           *deed;
    coco_item_t           *item;
    coco_delivery_work_t  *work;

    n = w->close_count + w->bus_closes.count + w->tasks.count;
    work = coco_arena_alloc(&w->arena, sizeof(*work));

    if (work == NULL) {
        return NULL;
    }

    memset(work, 0, sizeof(*work));
    work->now = coco_clock_ms();
    work->deeds = coco_arena_alloc(&w->arena, n * sizeof(*work->deeds));

    if (work->deeds == NULL) {
        return NULL;
    }

    memset(work->deeds, 0, n * sizeof(*work->deeds));
    deed = work->deeds;

    for (size_t i = 0; i < w->close_count; i++) {
        (deed++)->close = &w->closes[i];
    }

    for (size_t i = 0; i < w->bus_closes.count; i++) {
        (deed++)->close = &w->bus_closes.v[i]->close;
    }

    for (size_t i = 0; i < w->tasks.count; i++) {
        item = w->tasks.v[i];

        if (item->task.task == COCO_TASK_ARRIVAL) {
            deed->serial = item->serial;
            deed->at = item->task.ts;
            (deed++)->arrival = &item->task;
        }
    }

    work->count = (size_t) (deed - work->deeds);

    for (deed = work->deeds; deed < work->deeds + work->count; deed++) {
        if (deed->close != NULL) {
            deed->serial = deed->close->serial;
            deed->at = deed->close->closed_at;
        }
    }

    qsort(work->deeds, work->count, sizeof(*work->deeds), coco_deed_compare);

    return work;
}


/* A robot arrives before its lid is closed there. */
static int
coco_deed_compare(const void *a, const void *b)
{
    int                 rc;
    const coco_deed_t  *x = a, *y = b;

    rc = coco_serial_compare(x->serial, y->serial);
    if (rc != 0) {
        return rc;
    }

    if (x->at != y->at) {
        return x->at < y->at ? -1 : 1;
    }

    if (x->close == NULL || y->close == NULL) {
        return (x->close != NULL) - (y->close != NULL);
    }

    return memcmp(&x->close->id, &y->close->id, sizeof(x->close->id));
}


/* The bus may bring an event again when its delivery has gone on, and another
 * has taken its place; also one that was made and applied here. */
static int
coco_deliveries_once(coco_writer_t *w)
{
    if (w->close_count + w->bus_closes.count == 0) {
        return -1;
    }

    coco_pg_rows(w->pg, COCO_S_DELIVERY_ONCE);

    for (size_t i = 0; i < w->close_count; i++) {
        coco_pg_uuid(w->pg, &w->closes[i].id);
    }

    for (size_t i = 0; i < w->bus_closes.count; i++) {
        coco_pg_uuid(w->pg, &w->bus_closes.v[i]->id);
    }

    return coco_pg_send(w->pg);
}


static int
coco_deliveries_lock(coco_writer_t *w)
{
    coco_id_t                    id;
    coco_str_t                   none = { NULL, 0 };
    const coco_deed_t           *deed;
    const coco_delivery_work_t  *work = w->delivery;

    coco_pg_rows(w->pg, COCO_S_DELIVERY_LOCK);

    for (size_t i = 0; i < work->count; i++) {
        deed = &work->deeds[i];
        coco_pg_text(w->pg, deed->close ? deed->serial : none);

        if (deed->close == NULL) {
            coco_pg_uuid(w->pg, &deed->arrival->delivery);

        } else if (coco_id_parse(&id, deed->close->data.reference)
                   == COCO_OK)
        {
            coco_pg_uuid(w->pg, &id);

        } else {
            coco_pg_uuid(w->pg, NULL);
        }
    }

    return coco_pg_send(w->pg);
}


/* All of them, before coco.delivery_apply() changes the first one. */
static void
coco_deliveries_robots(coco_writer_t *w)
{
    const coco_delivery_work_t  *work = w->delivery;

    coco_pg_rows(w->pg, COCO_S_DELIVERY_ROBOTS);

    for (size_t i = 0; i < work->count; i++) {
        coco_pg_text(w->pg, work->deeds[i].serial);
    }

    coco_pg_send(w->pg);
}


/* The result has the ids that are new, by id as the items are; those of closes
 * that are made here are among them. */
static void
coco_deliveries_repeats(coco_writer_t *w, const PGresult *res)
{
    int                   rc, row = 0;
    coco_id_t             id;
    coco_deed_t          *deed;
    coco_item_t          *item;
    coco_delivery_work_t  *work = w->delivery;

    for (size_t i = 0; i < w->bus_closes.count; i++) {
        item = w->bus_closes.v[i];

        for (rc = 1; row < PQntuples(res); row++) {
            coco_pg_get_uuid(&id, res, row, 0);
            rc = memcmp(&id, &item->id, sizeof(id));

            if (rc >= 0) {
                break;
            }
        }

        if (rc == 0) {
            continue;
        }

        for (deed = work->deeds; deed->close != &item->close; deed++) {
            /* void */
        }

        deed->repeated = true;
    }
}


static int
coco_deliveries_read(coco_writer_t *w, const PGresult *res)
{
    coco_delivery_work_t    *work = w->delivery;
    coco_delivery_record_t  *r;

    work->records = coco_arena_alloc(&w->arena, (size_t) PQntuples(res)
                                                * sizeof(*work->records));
    if (work->records == NULL) {
        return COCO_ERROR;
    }

    for (int row = 0; row < PQntuples(res); row++) {
        r = &work->records[work->record_count++];
        memset(r, 0, sizeof(*r));
        coco_pg_get_uuid(&r->id, res, row, 0);
        r->status = coco_delivery_status_parse(coco_pg_get(res, row, 1));
        r->created_at = coco_pg_get_time(res, row, 3);
        coco_pg_get_uuid(&r->loaded_cycle, res, row, 4);
        r->loaded_here = !PQgetisnull(res, row, 4);
        r->early_close_at = coco_pg_get_time(res, row, 5);
        r->loaded_at = coco_pg_get_time(res, row, 6);
        r->arrived_at = coco_pg_get_time(res, row, 7);

        /* the result goes with the next round */
        if (coco_arena_copy(&w->arena, &r->serial, coco_pg_get(res, row, 2))
            != COCO_OK)
        {
            return COCO_ERROR;
        }
    }

    return COCO_OK;
}


/* The records change as it goes. */
static int
coco_deliveries_apply(coco_writer_t *w)
{
    coco_deed_t             *deed;
    coco_delivery_work_t    *work = w->delivery;
    coco_delivery_record_t  *record;

    for (size_t i = 0; i < work->count; i++) {
        deed = &work->deeds[i];

        if (deed->close != NULL) {
            if (coco_deliveries_close(w, deed) != COCO_OK) {
                return COCO_ERROR;
            }
            continue;
        }

        record = coco_deliveries_find(work, &deed->arrival->delivery);

        /* another robot's by now: it has not arrived */
        if (record != NULL && coco_str_equal(record->serial, deed->serial)) {
            coco_service_deliveries_arrival(record, deed->arrival->arrival,
                                            deed->at, &deed->effect);
        }
    }

    return COCO_OK;
}


static int
coco_deliveries_close(coco_writer_t *w, coco_deed_t *deed)
{
    coco_delivery_work_t  *work = w->delivery;

    if (deed->repeated) {
        return COCO_OK;
    }

    coco_service_deliveries_close(work->records, work->record_count,
                                  deed->close, work->now, &deed->effect);

    if (deed->effect.anomaly == COCO_ANOMALY_SEVERAL_DELIVERIES) {
        return coco_deliveries_candidates(w, deed);
    }

    deed->candidates = coco_string("{}");

    return COCO_OK;
}


/* As text: arrays within an array would have to be equally long. */
static int
coco_deliveries_candidates(coco_writer_t *w, coco_deed_t *deed)
{
    char                          *p;
    size_t                         len = 1;
    const coco_delivery_work_t    *work = w->delivery;
    const coco_delivery_record_t  *r;

    p = coco_arena_alloc(&w->arena, 1 + work->record_count
                                        * (COCO_ID_TEXT_LEN + 1));
    if (p == NULL) {
        return COCO_ERROR;
    }

    for (r = work->records; r < work->records + work->record_count; r++) {
        if (coco_service_deliveries_candidate(r, deed->serial, work->now)) {
            p[len - 1] = len == 1 ? '{' : ',';
            coco_id_format(p + len, &r->id);
            len += COCO_ID_TEXT_LEN + 1;
        }
    }

    p[len - 1] = '}';
    coco_arena_trim(&w->arena, p, len);
    deed->candidates = (coco_str_t) { p, len };

    return COCO_OK;
}


static int
coco_record_compare(const void *id, const void *record)
{
    return memcmp(id, &((const coco_delivery_record_t *) record)->id,
                  sizeof(coco_id_t));
}


/* NULL: there is none. */
static coco_delivery_record_t *
coco_deliveries_find(coco_delivery_work_t *work, const coco_id_t *id)
{
    return bsearch(id, work->records, work->record_count,
                   sizeof(*work->records), coco_record_compare);
}


void
coco_deliveries_fleet(coco_writer_t *w)
{
    size_t                         rows = 0;
    const coco_delivery_effect_t  *e;

    coco_pg_rows(w->pg, COCO_S_DELIVERY_FLEET);

    for (size_t i = 0; w->delivery != NULL && i < w->delivery->count; i++) {
        e = &w->delivery->deeds[i].effect;

        if (e->to[0] != COCO_DELIVERY_NONE) {
            coco_pg_uuid(w->pg, &e->delivery->id);
            rows++;
        }
    }

    if (rows > 0) {
        coco_pg_send(w->pg);
    }
}


void
coco_deliveries_write(coco_writer_t *w)
{
    if (w->delivery == NULL) {
        return;
    }

    coco_deliveries_write_moves(w);
    coco_deliveries_write_anomalies(w);
}


coco_str_t
coco_deliveries_robot(const coco_writer_t *w, size_t *at)
{
    const coco_delivery_effect_t  *e;

    while (w->delivery != NULL && *at < w->delivery->count) {
        e = &w->delivery->deeds[(*at)++].effect;

        if (e->to[0] != COCO_DELIVERY_NONE) {
            return e->delivery->serial;
        }
    }

    return (coco_str_t) { NULL, 0 };
}


static void
coco_deliveries_write_move(coco_pg_t *pg, const coco_deed_t *deed,
    coco_delivery_status_e from, coco_delivery_status_e to)
{
    const coco_lid_close_t  *close = deed->close;

    coco_pg_uuid(pg, &deed->effect.delivery->id);
    coco_pg_text(pg, coco_delivery_status_name(from));
    coco_pg_text(pg, coco_delivery_status_name(to));
    coco_pg_time(pg, deed->at);
    coco_pg_uuid(pg, close ? &close->data.cycle : NULL);
    coco_pg_time(pg, deed->effect.early ? deed->at : COCO_PG_NEVER);
}


static void
coco_deliveries_write_moves(coco_writer_t *w)
{
    size_t                         rows = 0;
    coco_delivery_status_e         from;
    const coco_deed_t             *deed;
    const coco_delivery_effect_t  *e;

    coco_pg_rows(w->pg, COCO_S_DELIVERY_APPLY);

    for (size_t i = 0; i < w->delivery->count; i++) {
        deed = &w->delivery->deeds[i];
        e = &deed->effect;
        from = e->from;

        if (e->early) {
            coco_deliveries_write_move(w->pg, deed, from, from);
            rows++;
        }

        for (int k = 0; k < 2 && e->to[k] != COCO_DELIVERY_NONE; k++) {
            coco_deliveries_write_move(w->pg, deed, from, e->to[k]);
            from = e->to[k];
            rows++;
        }
    }

    if (rows > 0) {
        coco_pg_send(w->pg);
    }
}


static void
coco_deliveries_write_anomalies(coco_writer_t *w)
{
    size_t              rows = 0;
    coco_id_t           id;
    coco_str_t          cause[3];
    const char         *reason;
    const coco_deed_t  *deed;

    coco_pg_rows(w->pg, COCO_S_DELIVERY_ANOMALIES);

    for (size_t i = 0; i < w->delivery->count; i++) {
        deed = &w->delivery->deeds[i];

        if (deed->effect.anomaly == COCO_ANOMALY_NONE) {
            continue;
        }

        reason = deed->effect.reason;
        cause[0] = coco_string("anomaly");
        cause[1] = coco_anomaly_name(deed->effect.anomaly);
        cause[2] = (coco_str_t) { (const char *) deed->close->data.cycle.bytes,
                                  COCO_ID_LEN };
        coco_id_derive(&id, cause, 3);

        coco_pg_uuid(w->pg, &id);
        coco_pg_text(w->pg, cause[1]);
        coco_pg_text(w->pg, deed->serial);
        coco_pg_time(w->pg, deed->at);
        coco_pg_text(w->pg, (coco_str_t) { reason, strlen(reason) });
        coco_pg_uuid(w->pg, &deed->close->data.cycle);
        coco_pg_text(w->pg, deed->candidates);
        rows++;
    }

    if (rows > 0) {
        coco_pg_send(w->pg);
    }
}


void
coco_deliveries_count(coco_writer_t *w)
{
    uint64_t                       moves = 0, anomalies = 0;
    const coco_delivery_effect_t  *e;

    for (size_t i = 0; w->delivery != NULL && i < w->delivery->count; i++) {
        e = &w->delivery->deeds[i].effect;
        anomalies += e->anomaly != COCO_ANOMALY_NONE;
        moves += (e->to[0] != COCO_DELIVERY_NONE)
                 + (e->to[1] != COCO_DELIVERY_NONE);
    }

    coco_metrics_add(COCO_M_DELIVERY_EVENTS, w->options->metrics_lane, moves);
    coco_metrics_add(COCO_M_ANOMALIES, w->options->metrics_lane, anomalies);
}


coco_str_t
coco_deliveries_next(const coco_writer_t *w, size_t *at, bool *ret_parked)
{
    coco_str_t          serial = { NULL, 0 };
    const coco_deed_t  *deed;

    *ret_parked = false;

    for ( /* void */ ; w->delivery != NULL && *at < w->delivery->count;
         (*at)++)
    {
        deed = &w->delivery->deeds[*at];

        if (deed->effect.to[0] == COCO_DELIVERY_NONE) {
            continue;
        }

        if (serial.data != NULL && !coco_str_equal(serial, deed->serial)) {
            break;
        }

        serial = deed->serial;
        *ret_parked |= deed->effect.to[0] == COCO_DELIVERY_AT_PICKUP;
    }

    return serial;
}
