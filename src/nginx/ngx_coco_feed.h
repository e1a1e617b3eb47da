/*
 * Keeps the zone fresh, in the one process of this nginx that holds the lease:
 * listens to the workers' channels, polls Postgres for changes, loads the
 * fleet, and lets time pass in it.
 */

#ifndef NGX_COCO_FEED_H
#define NGX_COCO_FEED_H

#include "ngx_coco.h"
#include "ngx_coco_pg.h"
#include "ngx_coco_redis.h"
#include "ngx_coco_zone.h"

typedef struct ngx_coco_feed_s  ngx_coco_feed_t;

/* What the base module registers when both a zone and Postgres are given. */
extern ngx_coco_pg_statement_t  ngx_coco_feed_changes_statement;
extern ngx_coco_pg_statement_t  ngx_coco_feed_page_statement;

typedef struct {
    ngx_coco_zone_t     *zone;
    ngx_coco_redis_t    *redis;       /* NULL: the zone is never fresh */
    ngx_coco_pg_t       *pg;
    ngx_coco_metrics_t  *metrics;
    ngx_msec_t           timeout;     /* of a statement, ms */
} ngx_coco_feed_backends_t;

ngx_coco_feed_t *ngx_coco_feed_create(ngx_conf_t *cf);

/* In a process that serves requests, the backends being initialised. */
void ngx_coco_feed_init_process(ngx_coco_feed_t *feed,
    const ngx_coco_feed_backends_t *backends, ngx_cycle_t *cycle);

/* Before the Postgres client's. */
void ngx_coco_feed_exit_process(ngx_coco_feed_t *feed);

#endif /* NGX_COCO_FEED_H */
