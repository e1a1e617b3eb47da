/*
 * The base module: the http-level configuration that all three modules
 * share (backends, keys, limits), and the clients of this process.
 */

#ifndef NGX_COCO_BASE_H
#define NGX_COCO_BASE_H

#include "ngx_coco.h"
#include "ngx_coco_redis.h"
#include "ngx_coco_pg.h"
#include "ngx_coco_inbox.h"
#include "ngx_coco_metrics.h"
#include "ngx_coco_replies.h"
#include "ngx_coco_zone.h"
#include "ngx_coco_feed.h"
#include "ngx_coco_flight.h"
#include "ngx_coco_supply.h"

typedef struct ngx_coco_auth_s  ngx_coco_auth_t;    /* ngx_coco_auth.h */

typedef struct {
    ngx_coco_redis_t    *redis;            /* NULL: coco_redis not given */
    ngx_coco_pg_t       *pg;               /* NULL: coco_postgres not given */
    ngx_coco_inbox_t    *inbox;            /* for use when pg is given */
    ngx_coco_replies_t  *replies;          /* for use when pg is given */
    ngx_coco_auth_t     *auth;             /* never NULL */
    ngx_coco_metrics_t  *metrics;          /* never NULL */
    ngx_coco_zone_t     *zone;             /* NULL: coco_zone not given */
    ngx_coco_flights_t  *flights;          /* never NULL */
    ngx_coco_feed_t     *feed;             /* NULL: no zone, or no pg */
    ngx_coco_supply_t   *supply;           /* for use when pg is given */

    ngx_msec_t           redis_timeout;    /* coco_redis_timeout, 250 ms */
    ngx_msec_t           postgres_timeout; /* coco_postgres_timeout, 2 s */
    ngx_msec_t           online_window;    /* coco_online_window, 60 s */
    ngx_msec_t           heartbeat_ttl;    /* coco_heartbeat_ttl, 120 s */
    ngx_msec_t           lid_timeout;      /* coco_lid_timeout, 10 s */
    ngx_str_t            edge;             /* coco_edge, the host's name */
    ngx_uint_t           low_battery;      /* coco_low_battery, 15 percent */
    ngx_flag_t           teleoperation;    /* coco_require_teleoperation */

    ngx_array_t         *statements;       /* of ngx_coco_pg_statement_t * */
} ngx_coco_base_conf_t;

/* A shared object is called after its first module: ngx_coco_module.so. */
#define ngx_coco_base_module  ngx_coco_module
extern ngx_module_t  ngx_coco_base_module;

/* The first line of a file, without what ends it; `file` is relative to the
 * prefix. NGX_CONF_ERROR after an error was logged. */
char *ngx_coco_secret_read(ngx_conf_t *cf, ngx_str_t *file,
    ngx_str_t *ret_secret);

ngx_coco_base_conf_t *ngx_coco_base_conf(ngx_http_request_t *r);
ngx_coco_base_conf_t *ngx_coco_base_conf_get(ngx_conf_t *cf);

#endif /* NGX_COCO_BASE_H */
