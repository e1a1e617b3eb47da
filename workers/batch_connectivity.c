/*
 * DriveU's webhooks in a batch: whose they are, what they change, and what
 * heartbeats are enriched with. Must never put an older status over a newer
 * one, nor lose a webhook whose vehicle no mapping knows yet.
 */

#include <stdlib.h>

#include "batch_work.h"
#include "coco_envelope.h"

#define COCO_CONNECTIVITY_EVENT  coco_string("ConnectivityRawStatusChanged")
#define COCO_DRIVEU_SIZE         512    /* of most robots' teleoperation */

static int coco_webhook_compare(const void *a, const void *b);
static coco_turn_e coco_connectivity_find(coco_writer_t *w, bool lock,
    size_t *ret_missing);
static int coco_connectivity_found(coco_writer_t *w, const PGresult *res);
static void coco_connectivity_link(coco_writer_t *w);
static void coco_connectivity_encode(coco_json_out_t *out, const void *data);
static int coco_connectivity_next(coco_writer_t *w, const PGresult *res,
    int *row, coco_str_t *ret_driveu, bool *ret_controllable);
static void coco_connectivity_unit(coco_driveu_t *driveu, const PGresult *res,
    int row);


int
coco_connectivity_decode_item(coco_writer_t *w, coco_item_t *item, int64_t now,
    coco_error_t *err)
{
    size_t                 count;
    coco_error_t           errors[COCO_CONNECTIVITY_ERRORS];
    const coco_message_t  *m = item->message;

    if (coco_connectivity_decode(&item->webhook, m->payload, now, errors,
                                 &count) != COCO_OK)
    {
        *err = errors[0];
        return COCO_ERROR;
    }

    item->webhook.received_at = m->received_at;
    item->kind = COCO_ITEM_WEBHOOK;
    item->id = item->webhook.id;

    return COCO_OK;
}


/* As coco_driveu_apply and the statement have it. */
static int
coco_webhook_compare(const void *a, const void *b)
{
    int                         rc;
    int64_t                     p, q;
    const coco_item_t          *x = *(coco_item_t *const *) a;
    const coco_item_t          *y = *(coco_item_t *const *) b;
    const coco_connectivity_t  *c = &x->webhook, *d = &y->webhook;

    rc = coco_serial_compare(x->serial, y->serial);
    if (rc != 0) {
        return rc;
    }

    p = coco_connectivity_order_us(c);
    q = coco_connectivity_order_us(d);
    if (p != q) {
        return p < q ? -1 : 1;
    }

    if (c->time_us != d->time_us) {
        return c->time_us < d->time_us ? -1 : 1;
    }

    return memcmp(&c->id, &d->id, sizeof(c->id));
}


coco_turn_e
coco_connectivity_map(coco_writer_t *w)
{
    size_t       missing = 0;
    coco_turn_e  rc;
    coco_item_t *item;

    for (size_t i = 0; i < w->webhooks.count; i++) {
        item = w->webhooks.v[i];
        item->serial = item->webhook.vin;
        missing += item->serial.data == NULL;
    }

    for (int lock = 0; lock < 2 && missing > 0; lock++) {
        rc = coco_connectivity_find(w, lock, &missing);
        if (rc != COCO_TURN_DONE) {
            return rc;
        }
    }

    w->mapped.count = 0;

    for (size_t i = 0; i < w->webhooks.count; i++) {
        item = w->webhooks.v[i];
        item->waiting = item->serial.data == NULL;

        if (!item->waiting) {
            w->mapped.v[w->mapped.count++] = item;
        }
    }

    qsort(w->mapped.v, w->mapped.count, sizeof(*w->mapped.v),
          coco_webhook_compare);
    coco_connectivity_link(w);

    return COCO_TURN_DONE;
}


/* Asks for the mappings of those without a serial. */
static coco_turn_e
coco_connectivity_find(coco_writer_t *w, bool lock, size_t *ret_missing)
{
    int           slot;
    coco_turn_e   rc;
    coco_item_t  *item;

    if (lock) {
        coco_pg_rows(w->pg, COCO_S_MAPPINGS_LOCK);
        coco_pg_send(w->pg);
    }

    coco_pg_rows(w->pg, COCO_S_MAPPINGS);

    for (size_t i = 0; i < w->webhooks.count; i++) {
        item = w->webhooks.v[i];

        /* null maps to nothing: n stays the place in the list */
        coco_pg_text(w->pg, item->serial.data == NULL
                            ? item->webhook.uuid
                            : (coco_str_t) { NULL, 0 });
    }

    slot = coco_pg_send(w->pg);

    rc = (coco_turn_e) coco_pg_sync(w->pg);
    if (rc != COCO_TURN_DONE) {
        return rc;
    }

    if (coco_connectivity_found(w, coco_pg_result(w->pg, slot)) != COCO_OK) {
        coco_pg_close(w->pg);
        return COCO_TURN_RETRY;
    }

    *ret_missing = 0;

    for (size_t i = 0; i < w->webhooks.count; i++) {
        *ret_missing += w->webhooks.v[i]->serial.data == NULL;
    }

    return COCO_TURN_DONE;
}


/* COCO_ERROR: no memory. */
static int
coco_connectivity_found(coco_writer_t *w, const PGresult *res)
{
    coco_item_t  *item;

    for (int row = 0; row < PQntuples(res); row++) {
        item = w->webhooks.v[coco_pg_get_int64(res, row, 0) - 1];

        if (coco_arena_copy(&w->arena, &item->serial,
                            coco_pg_get(res, row, 1)) != COCO_OK)
        {
            item->serial = (coco_str_t) { NULL, 0 };
            return COCO_ERROR;
        }
    }

    return COCO_OK;
}


/* In order, the last of each unit is its newest. */
static void
coco_connectivity_link(coco_writer_t *w)
{
    coco_item_t  *item;
    coco_link_t  *link = NULL;

    w->link_count = 0;

    for (size_t i = 0; i < w->mapped.count; i++) {
        item = w->mapped.v[i];

        if (link == NULL || !coco_str_equal(link->serial, item->serial)) {
            link = &w->links[w->link_count++];
            memset(link, 0, sizeof(*link));
            link->serial = item->serial;
        }

        link->newest[item->webhook.unit] = &item->webhook;
    }
}


void
coco_connectivity_write(coco_writer_t *w)
{
    coco_pg_t                  *pg = w->pg;
    const coco_connectivity_t  *c;

    if (w->link_count == 0) {
        return;
    }

    coco_pg_rows(pg, COCO_S_DRIVEU_WRITE);

    for (size_t i = 0; i < w->link_count; i++) {
        for (int unit = 0; unit < COCO_UNITS; unit++) {
            c = w->links[i].newest[unit];

            if (c != NULL) {
                coco_pg_text(pg, w->links[i].serial);
                coco_pg_text(pg, coco_unit_name(c->unit));
                coco_pg_text(pg, c->status);
                coco_pg_text(pg, c->uuid);
                coco_pg_text(pg, c->vin);
                coco_pg_time_us(pg, c->time_us);
                coco_pg_time(pg, c->received_at);
                coco_pg_time_us(pg, coco_connectivity_order_us(c));
                coco_pg_uuid(pg, &c->id);
            }
        }
    }

    coco_pg_send(pg);
}


/* What waits, then what is done: a row is never both. */
void
coco_connectivity_inbox(coco_writer_t *w)
{
    size_t              rows = 0;
    coco_pg_t          *pg = w->pg;
    const coco_item_t  *item, *first;

    coco_pg_rows(pg, COCO_S_INBOX_WAIT);

    for (size_t i = 0; i < w->webhooks.count; i++) {
        item = w->webhooks.v[i];

        if (item->waiting) {
            coco_pg_uuid(pg, item->message->inbox ? &item->message->inbox_id
                                                  : &item->id);
            coco_pg_json(pg, item->message->payload);
            coco_pg_time(pg, item->message->received_at);
            coco_pg_text(pg, item->webhook.uuid);
            rows++;
        }
    }

    if (rows > 0) {
        coco_pg_send(pg);
    }

    coco_pg_rows(pg, COCO_S_INBOX_DONE);
    rows = 0;

    for (size_t i = 0; i < w->inbox.count; i++) {
        item = w->inbox.v[i];
        first = item->same_as ? item->same_as : item;

        if (!first->waiting) {
            coco_pg_uuid(pg, &item->message->inbox_id);
            coco_pg_text(pg, first->accepted ? coco_string("APPLIED")
                                             : coco_string("REFUSED"));
            rows++;
        }
    }

    if (rows > 0) {
        coco_pg_send(pg);
    }
}


int
coco_connectivity_outbox(coco_writer_t *w, int *ret_slot)
{
    char                       *p;
    size_t                      size;
    coco_id_t                   id;
    coco_str_t                  cause[2];
    coco_json_out_t             out;
    const coco_item_t          *item;
    const coco_connectivity_t  *c;

    *ret_slot = -1;

    if (w->mapped.count == 0) {
        return COCO_OK;
    }

    coco_pg_rows(w->pg, COCO_S_OUTBOX);

    for (size_t i = 0; i < w->mapped.count; i++) {
        item = w->mapped.v[i];
        c = &item->webhook;

        cause[0] = COCO_CONNECTIVITY_EVENT;
        cause[1] = (coco_str_t) { (const char *) c->id.bytes, COCO_ID_LEN };
        coco_id_derive(&id, cause, 2);

        /* of names and numbers, and of strings without escapes */
        size = 512 + c->status.len + c->uuid.len;

        p = coco_arena_alloc(&w->arena, size);
        if (p == NULL) {
            return COCO_ERROR;
        }

        coco_json_out_init(&out, p, size);
        coco_envelope_open(&out, &id, COCO_CONNECTIVITY_EVENT, item->serial,
                           c->time_us / 1000);
        coco_connectivity_event_encode(&out, c);
        coco_json_object_close(&out);

        if (!coco_json_out_ok(&out)) {
            return COCO_ERROR;
        }

        coco_arena_trim(&w->arena, p, out.len);
        coco_rows_outbox_row(w->pg, &id, COCO_CONNECTIVITY_EVENT,
                             item->serial, (coco_str_t) { p, out.len }, NULL);
    }

    *ret_slot = coco_pg_send(w->pg);

    return COCO_OK;
}


/*
 * Of two transactions that change two units of a robot neither may see the
 * other's: what is read after the commit, by whoever commits last, is whole.
 */
int
coco_connectivity_read(coco_writer_t *w)
{
    int          slot;
    size_t       at = 0;
    PGresult    *res;
    coco_str_t   serial;

    coco_pg_rows(w->pg, COCO_S_DRIVEU);

    for (size_t i = 0; i < w->link_count; i++) {
        coco_pg_text(w->pg, w->links[i].serial);
    }

    slot = coco_pg_send(w->pg);

    if (coco_pg_sync(w->pg) != COCO_PG_DONE) {
        return COCO_ERROR;
    }

    res = coco_pg_result(w->pg, slot);

    for (int row = 0; row < PQntuples(res); /* void */ ) {
        serial = coco_pg_get(res, row, 0);

        while (at < w->link_count
               && !coco_str_equal(w->links[at].serial, serial))
        {
            at++;
        }

        if (at == w->link_count) {
            break;
        }

        if (coco_connectivity_next(w, res, &row, &w->links[at].driveu,
                                   &w->links[at].controllable) != COCO_OK)
        {
            return COCO_ERROR;
        }
    }

    return COCO_OK;
}


int
coco_connectivity_enrich(coco_writer_t *w, const PGresult *res)
{
    size_t         at = 0;
    coco_group_t  *g;

    for (int row = 0; row < PQntuples(res); /* void */ ) {
        g = coco_group_find(w, &at, coco_pg_get(res, row, 0));

        if (g == NULL) {
            break;
        }

        if (coco_connectivity_next(w, res, &row, &g->driveu, &g->controllable)
            != COCO_OK)
        {
            return COCO_ERROR;
        }
    }

    return COCO_OK;
}


/* Moves *row past the units of its robot. COCO_ERROR: no memory. */
static int
coco_connectivity_next(coco_writer_t *w, const PGresult *res, int *row,
    coco_str_t *ret_driveu, bool *ret_controllable)
{
    coco_str_t     serial;
    coco_driveu_t  driveu = { 0 };

    serial = coco_pg_get(res, *row, 0);

    do {
        coco_connectivity_unit(&driveu, res, (*row)++);
    } while (*row < PQntuples(res)
             && coco_str_equal(coco_pg_get(res, *row, 0), serial));

    *ret_controllable = coco_remotely_controllable(&driveu);

    return coco_arena_json(&w->arena, ret_driveu, COCO_DRIVEU_SIZE,
                           coco_connectivity_encode, &driveu);
}


/* The strings are the result's. */
static void
coco_connectivity_unit(coco_driveu_t *driveu, const PGresult *res, int row)
{
    coco_unit_e          unit;
    coco_unit_status_t  *s;

    if (coco_unit_parse(&unit, coco_pg_get(res, row, 1)) != COCO_OK) {
        return;
    }

    s = &driveu->units[unit];
    s->known = true;
    s->status = coco_pg_get(res, row, 2);
    s->uuid = coco_pg_get(res, row, 3);
    s->time_us = coco_pg_get_time_us(res, row, 4);
    s->order_us = coco_pg_get_time_us(res, row, 5);
    coco_pg_get_uuid(&s->id, res, row, 6);
}


static void
coco_connectivity_encode(coco_json_out_t *out, const void *data)
{
    coco_driveu_encode(out, data);
}
