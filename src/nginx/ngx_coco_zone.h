/*
 * The shared memory of coco_zone: the fleet as the planner needs it
 * (coco_fleet_index.h), documents ready to send, and what says whether they
 * may be: stamps, epochs, and the lease of the process that keeps them fresh.
 *
 * A stamp is the time up to which a feed is known to have brought everything.
 * Changes are polled for in Postgres: that is the proof that no write of this
 * or another host was missed. Telemetry and invalidations come by Redis from
 * the workers. When one of the stamps is older than NGX_COCO_ZONE_STALE,
 * nothing is served from the zone.
 */

#ifndef NGX_COCO_ZONE_H
#define NGX_COCO_ZONE_H

#include "ngx_coco.h"
#include "ngx_coco_metrics.h"
#include "coco_fleet_index.h"

typedef struct ngx_coco_zone_s  ngx_coco_zone_t;

#define NGX_COCO_ZONE_STALE  500          /* ms */

typedef enum {
    NGX_COCO_STAMP_CHANGES = 0,           /* Postgres */
    NGX_COCO_STAMP_FEED,                  /* Redis, the workers */
    NGX_COCO_STAMPS
} ngx_coco_stamp_e;

/* coco_zone size [robots=number]: from its handler; NULL after an error was
 * logged. The documents have what the robots leave. */
ngx_coco_zone_t *ngx_coco_zone_create(ngx_conf_t *cf,
    ngx_coco_metrics_t *metrics);

/* In a process that serves requests. The fleet is emptied when it was begun
 * with other rules. */
void ngx_coco_zone_init_process(ngx_coco_zone_t *zone,
    const coco_supply_rules_t *rules);

/* Sets the metrics that the zone's state is read from. */
void ngx_coco_zone_observe(const ngx_coco_zone_t *zone);

/* --- freshness ------------------------------------------------------------ */

/* Both stamps are young enough, and the fleet was loaded: documents and
 * supply may be served. */
ngx_uint_t ngx_coco_zone_fresh(const ngx_coco_zone_t *zone);

/* What was known at `at` (ms, ngx_coco_clock()) is in the zone. Never moves
 * back, nor past a doubt that came since `at`. */
void ngx_coco_zone_stamp(ngx_coco_zone_t *zone, ngx_coco_stamp_e stamp,
    int64_t at);

/* A write may have been committed, and nobody knows: nothing is served from
 * the zone before changes were polled for, begun after this. */
void ngx_coco_zone_doubt(ngx_coco_zone_t *zone);

/* The clock of stamps, ms: monotonic, the same for all processes. */
int64_t ngx_coco_clock(void);

/* --- the lease ------------------------------------------------------------ */

/* To be called every 100 ms: true while this process keeps the zone fresh. It
 * passes to another when it is given up or was not renewed for 300 ms. */
ngx_uint_t ngx_coco_zone_lease(ngx_coco_zone_t *zone);
void ngx_coco_zone_release(ngx_coco_zone_t *zone);

/* --- supply --------------------------------------------------------------- */

/* NULL: there is none (robots=0). Readers as coco_fleet_index.h says. */
const coco_fleet_index_t *ngx_coco_zone_fleet(const ngx_coco_zone_t *zone);

/* Lines (coco_supply.h), each with its newline, into the fleet; the documents
 * of their robots are dropped unless only telemetry is meant by `feed`, which
 * drops them by its invalidations. A full zone, and a line that is none, are
 * counted; the first is logged once. */
void ngx_coco_zone_apply(ngx_coco_zone_t *zone, coco_str_t lines,
    ngx_log_t *log);

/* Lets time pass in the fleet, in the holder of the lease, with each renewal:
 * coco_fleet_index_sweep(), in bounded pieces under the lock. */
void ngx_coco_zone_sweep(ngx_coco_zone_t *zone);

/* What is known is of another database: the fleet is emptied, the documents
 * are dropped, and it has to be loaded. */
void ngx_coco_zone_forget(ngx_coco_zone_t *zone);

/* The fleet was loaded, whole, from what was committed at a time after `at`;
 * until the first time it is not fresh. False after another process has found
 * it broken or forgotten it meanwhile: load again. `loading` is what
 * ngx_coco_zone_loading() returned at the start: never 0 when there is a fleet,
 * and another one each time that it is emptied, before it is. */
ngx_uint_t ngx_coco_zone_loading(ngx_coco_zone_t *zone);
ngx_uint_t ngx_coco_zone_loaded(ngx_coco_zone_t *zone, ngx_uint_t loading);

/* Has it to be loaded: never was, was found broken, or forgotten? */
ngx_uint_t ngx_coco_zone_empty(const ngx_coco_zone_t *zone);

/* Not all robots had room: the zone does not hold the fleet, and no supply is
 * served from it (documents are). */
ngx_uint_t ngx_coco_zone_full(const ngx_coco_zone_t *zone);

/* --- epochs --------------------------------------------------------------- */

/* When a document's parts were begun to be asked for. */
typedef struct {
    ngx_atomic_uint_t  generation, epoch;
} ngx_coco_ticket_t;

ngx_coco_ticket_t ngx_coco_zone_ticket(const ngx_coco_zone_t *zone,
    const ngx_str_t *serial);

/* The robot has not changed since. */
ngx_uint_t ngx_coco_zone_current(const ngx_coco_zone_t *zone,
    const ngx_str_t *serial, const ngx_coco_ticket_t *ticket);

/* The robot has changed; all may have (the feed was subscribed to anew, or
 * said so: then the telemetry is to be loaded again, too). */
void ngx_coco_zone_invalidate(ngx_coco_zone_t *zone, coco_str_t serial);
void ngx_coco_zone_invalidate_all(ngx_coco_zone_t *zone);

/* --- documents ------------------------------------------------------------ */

typedef enum {
    NGX_COCO_DOCUMENT_ROBOT = 0,          /* GET /robots/{serial} */
    NGX_COCO_DOCUMENT_LABOR,              /* GET /fleet/v1/labor/… */
    NGX_COCO_DOCUMENT_LABOR_GRPC,         /* its message, in protobuf */
    NGX_COCO_DOCUMENTS
} ngx_coco_document_e;

/* A copy in `pool`. NGX_DECLINED: none that may be served now; the caller
 * asks the backends. Counts the hit or the miss. */
ngx_int_t ngx_coco_zone_document(ngx_coco_zone_t *zone,
    ngx_coco_document_e kind, const ngx_str_t *serial, ngx_pool_t *pool,
    ngx_str_t *ret);

/* Keeps a document made since `ticket`, up to and including valid_until (ms
 * since the epoch, INT64_MAX: until it is dropped), unless the robot has
 * changed since. */
void ngx_coco_zone_document_put(ngx_coco_zone_t *zone,
    ngx_coco_document_e kind, const ngx_str_t *serial,
    const ngx_coco_ticket_t *ticket, const ngx_str_t *document,
    int64_t valid_until);

#endif /* NGX_COCO_ZONE_H */
