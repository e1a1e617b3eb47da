/*
 * Metrics: counters and gauges in shared memory, summed over all worker
 * processes and kept over reloads; declared once in ngx_coco_metrics.c's
 * tables, shown in Prometheus' text format. Updates take no lock.
 */

#ifndef NGX_COCO_METRICS_H
#define NGX_COCO_METRICS_H

#include "ngx_coco.h"

typedef struct ngx_coco_metrics_s  ngx_coco_metrics_t;

/* How the request of a webhook ended. */
typedef enum {
    NGX_COCO_WEBHOOK_ACCEPTED = 0,
    NGX_COCO_WEBHOOK_UNAUTHORIZED,
    NGX_COCO_WEBHOOK_UNSUPPORTED,
    NGX_COCO_WEBHOOK_TOO_LARGE,
    NGX_COCO_WEBHOOK_INVALID,
    NGX_COCO_WEBHOOK_UNAVAILABLE,
    NGX_COCO_WEBHOOK_FAILED,
    NGX_COCO_WEBHOOK_ABANDONED,
    NGX_COCO_WEBHOOKS
} ngx_coco_webhook_outcome_e;

typedef enum {
    /* coco_webhooks_total{provider=...,outcome=...}: for each
     * ngx_coco_sender_e those of ngx_coco_webhook_outcome_e, in its order */
    NGX_COCO_COUNTER_DRIVEU = 0,
    NGX_COCO_COUNTER_UBER = NGX_COCO_COUNTER_DRIVEU + NGX_COCO_WEBHOOKS,
    NGX_COCO_COUNTER_DOORDASH = NGX_COCO_COUNTER_UBER + NGX_COCO_WEBHOOKS,

    NGX_COCO_COUNTER_STORED         /* coco_webhooks_stored_total */
        = NGX_COCO_COUNTER_DOORDASH + NGX_COCO_WEBHOOKS,
    NGX_COCO_COUNTER_STATEMENTS,    /* coco_inbox_statements_total */

    /* coco_lid_requests_total{outcome=...} */
    NGX_COCO_COUNTER_LID_OPENED,
    NGX_COCO_COUNTER_LID_REFUSED,
    NGX_COCO_COUNTER_LID_FAILED,
    NGX_COCO_COUNTER_LID_SILENT,
    NGX_COCO_COUNTER_LID_UNAVAILABLE,
    NGX_COCO_COUNTER_LID_ABANDONED,

    /* coco_documents_total{document=...,outcome=...}: for each
     * ngx_coco_document_e these three, in its order */
    NGX_COCO_COUNTER_ROBOT_HIT,
    NGX_COCO_COUNTER_ROBOT_MISS,
    NGX_COCO_COUNTER_ROBOT_STALE,
    NGX_COCO_COUNTER_LABOR_HIT,
    NGX_COCO_COUNTER_LABOR_MISS,
    NGX_COCO_COUNTER_LABOR_STALE,
    NGX_COCO_COUNTER_LABOR_GRPC_HIT,
    NGX_COCO_COUNTER_LABOR_GRPC_MISS,
    NGX_COCO_COUNTER_LABOR_GRPC_STALE,

    /* coco_document_fills_total{outcome=...} */
    NGX_COCO_COUNTER_FILLS_KEPT,
    NGX_COCO_COUNTER_FILLS_OUTDATED,
    NGX_COCO_COUNTER_FILLS_TOO_LARGE,

    NGX_COCO_COUNTER_ZONE_RESETS,   /* coco_zone_resets_total */

    NGX_COCO_COUNTER_FEED_MESSAGES, /* coco_feed_messages_total */
    NGX_COCO_COUNTER_FEED_LINES,    /* coco_feed_lines_total */
    NGX_COCO_COUNTER_FEED_REFUSED,  /* coco_feed_refused_total */
    NGX_COCO_COUNTER_FEED_LOADS,    /* coco_feed_loads_total */
    NGX_COCO_COUNTER_SUPPLY_LOADS,  /* coco_supply_loads_total */

    /* coco_quotes_total{outcome=...} */
    NGX_COCO_COUNTER_QUOTES_FOUND,
    NGX_COCO_COUNTER_QUOTES_NONE,
    NGX_COCO_COUNTER_QUOTES_HELD,
    NGX_COCO_COUNTER_QUOTES_UNAVAILABLE,

    /* coco_plans_total{outcome=...} */
    NGX_COCO_COUNTER_PLANS,
    NGX_COCO_COUNTER_PLANS_FAILED,

    /* coco_grpc_calls_total{outcome=...} */
    NGX_COCO_COUNTER_GRPC_OK,
    NGX_COCO_COUNTER_GRPC_ERROR,
    NGX_COCO_COUNTERS
} ngx_coco_counter_e;

typedef enum {
    NGX_COCO_GAUGE_WAITING = 0,     /* coco_inbox_waiting */
    NGX_COCO_GAUGE_LID_WAITING,     /* coco_lid_requests_waiting */
    NGX_COCO_GAUGE_SUPPLY_WAITING,  /* coco_supply_waiting */
    NGX_COCO_GAUGES,                /* of each process */

    NGX_COCO_GAUGE_ZONE_ROBOTS = NGX_COCO_GAUGES,    /* coco_zone_robots */
    NGX_COCO_GAUGE_ZONE_CAPACITY,   /* coco_zone_capacity_robots */
    NGX_COCO_GAUGE_ZONE_FULL,       /* coco_zone_full */
    NGX_COCO_GAUGE_ZONE_FRESH,      /* coco_zone_fresh */
    NGX_COCO_GAUGE_CHANGES_LAG,     /* coco_feed_lag_milliseconds{feed=...} */
    NGX_COCO_GAUGE_FEED_LAG,
    NGX_COCO_GAUGES_ALL             /* the last ones: one for all processes */
} ngx_coco_gauge_e;

/* Adds the zone to the configuration; the numbers begin with 0 when the
 * master does. */
ngx_coco_metrics_t *ngx_coco_metrics_create(ngx_conf_t *cf);

/* Where a process that serves requests begins and where it ends: it measures
 * nothing. What one that was killed measured is dropped by its successor. */
void ngx_coco_metrics_clear(ngx_coco_metrics_t *metrics);

void ngx_coco_metrics_add(ngx_coco_metrics_t *metrics,
    ngx_coco_counter_e counter, ngx_uint_t n);

/* Of this process; shown is the sum over all. Those after NGX_COCO_GAUGES have
 * one value, of whoever set it last. */
void ngx_coco_metrics_set(ngx_coco_metrics_t *metrics, ngx_coco_gauge_e gauge,
    ngx_uint_t value);

/* The text format 0.0.4, in `pool`. */
ngx_int_t ngx_coco_metrics_encode(const ngx_coco_metrics_t *metrics,
    ngx_pool_t *pool, ngx_str_t *ret);

#endif /* NGX_COCO_METRICS_H */
