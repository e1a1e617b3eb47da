/*
 * A round of the emitter in memory: facts decoded, their vehicles found, and
 * what is to be told of them. Decides nothing itself: what a fact means is
 * the core's.
 */

#include <stdlib.h>
#include <sys/random.h>

#include "mds_work.h"


static void coco_emitter_fact_read(coco_emitter_fact_t *f,
    const PGresult *res, int row, int64_t floor, int64_t now);
static int coco_emitter_room(coco_emitter_round_t *r);
static int coco_emitter_take(coco_emitter_round_t *r, unsigned vehicle,
    const coco_mds_told_t *told, unsigned count);
static int coco_emitter_id(coco_id_t *ret);


int
coco_emitter_facts_read(coco_emitter_round_t *r, const PGresult *res,
    int64_t floor, int64_t now)
{
    coco_emitter_fact_t  *f;

    coco_arena_reset(&r->arena);
    r->nfacts = 0;
    r->nvehicles = 0;
    r->ntold = 0;
    r->events = 0;
    r->refused = 0;

    for (int row = 0; row < PQntuples(res); row++) {
        f = &r->facts[r->nfacts++];

        /* the rows are gone with the next round trip */
        if (coco_arena_copy(&r->arena, &f->seq, coco_pg_get(res, row, 0))
            != COCO_OK
            || coco_arena_copy(&r->arena, &f->serial,
                               coco_pg_get(res, row, 1)) != COCO_OK)
        {
            return COCO_ERROR;
        }

        coco_emitter_fact_read(f, res, row, floor, now);
    }

    return COCO_OK;
}


static void
coco_emitter_fact_read(coco_emitter_fact_t *f, const PGresult *res, int row,
    int64_t floor, int64_t now)
{
    int64_t  at;

    /* the floor last: it holds also when Postgres' clock was set back */
    at = coco_pg_get_time(res, row, 2);
    at = at > now ? now : at;
    at = at < floor ? floor : at;

    f->refused = coco_mds_fact_decode(&f->fact, coco_pg_get(res, row, 3), at,
                                      coco_pg_get(res, row, 4), &f->error)
                 != COCO_OK;
}


void
coco_emitter_refuse(coco_emitter_fact_t *f, const char *field,
    const char *reason)
{
    f->refused = true;
    (void) coco_error_set(&f->error, field, "%s", reason);
}


void
coco_emitter_vehicles_find(coco_emitter_round_t *r)
{
    coco_emitter_fact_t     *f, *end;
    coco_emitter_vehicle_t  *v = NULL;

    end = r->facts + r->nfacts;

    for (f = r->facts; f < end; f++) {
        if (f->refused
            || (v != NULL && coco_str_equal(v->serial, f->serial)))
        {
            continue;
        }

        v = &r->vehicles[r->nvehicles++];
        *v = (coco_emitter_vehicle_t) { .serial = f->serial };
    }
}


int
coco_emitter_memory_read(coco_emitter_round_t *r, const PGresult *res)
{
    unsigned                 i;
    coco_error_t             error;
    coco_emitter_fact_t     *f;
    coco_emitter_vehicle_t  *v;

    if (PQntuples(res) != (int) r->nvehicles) {
        return COCO_ERROR;
    }

    for (i = 0; i < r->nvehicles; i++) {
        v = &r->vehicles[i];
        coco_pg_get_uuid(&v->device, res, (int) i, 0);

        if (coco_mds_decode(&v->memory, coco_pg_get(res, (int) i, 1), &error)
            == COCO_OK)
        {
            continue;
        }

        /* nothing can be told of it before somebody has looked */
        v->unreadable = true;

        for (f = r->facts; f < r->facts + r->nfacts; f++) {
            if (!f->refused && coco_str_equal(f->serial, v->serial)) {
                coco_emitter_refuse(f, "memory", error.reason);
            }
        }
    }

    return COCO_OK;
}


int
coco_emitter_apply(coco_emitter_round_t *r)
{
    unsigned                 count, vehicle = 0;
    coco_mds_told_t          told[COCO_MDS_TOLD_MAX];
    coco_emitter_fact_t     *f, *end;

    end = r->facts + r->nfacts;

    for (f = r->facts; f < end; f++) {

        if (f->refused) {
            r->refused++;
            continue;
        }

        while (!coco_str_equal(r->vehicles[vehicle].serial, f->serial)) {
            vehicle++;
        }

        count = coco_mds_apply(&r->vehicles[vehicle].memory, &f->fact, told);

        if (coco_emitter_take(r, vehicle, told, count) != COCO_OK) {
            return COCO_ERROR;
        }
    }

    return COCO_OK;
}


static int
coco_emitter_take(coco_emitter_round_t *r, unsigned vehicle,
    const coco_mds_told_t *told, unsigned count)
{
    unsigned                 i;
    coco_emitter_told_t     *t;
    coco_emitter_vehicle_t  *v = &r->vehicles[vehicle];

    for (i = 0; i < count; i++) {

        if (coco_emitter_room(r) != COCO_OK) {
            return COCO_ERROR;
        }

        t = &r->told[r->ntold++];
        t->vehicle = vehicle;
        t->told = told[i];

        if (told[i].event == COCO_MDS_EVENTS) {
            continue;
        }

        if (coco_emitter_id(&t->event_id) != COCO_OK) {
            return COCO_ERROR;
        }

        r->events++;
        v->told = true;
        v->event_id = t->event_id;
        v->event_at = told[i].at;
    }

    return COCO_OK;
}


static int
coco_emitter_room(coco_emitter_round_t *r)
{
    unsigned              size;
    coco_emitter_told_t  *told;

    if (r->ntold < r->told_size) {
        return COCO_OK;
    }

    size = r->told_size > 0 ? r->told_size * 2 : COCO_EMITTER_FACTS;

    told = realloc(r->told, size * sizeof(*told));
    if (told == NULL) {
        return COCO_ERROR;
    }

    r->told = told;
    r->told_size = size;

    return COCO_OK;
}


/* A UUID of version 4: of events the standard wants no other. */
static int
coco_emitter_id(coco_id_t *ret)
{
    if (getrandom(ret->bytes, sizeof(ret->bytes), 0) != sizeof(ret->bytes)) {
        return COCO_ERROR;
    }

    ret->bytes[6] = (uint8_t) ((ret->bytes[6] & 0x0f) | 0x40);
    ret->bytes[8] = (uint8_t) ((ret->bytes[8] & 0x3f) | 0x80);

    return COCO_OK;
}
