/*
 * Metrics: counters and gauges in shared memory, summed over all worker
 * processes and kept over reloads; declared once in ngx_coco_metrics.c's
 * tables, shown in Prometheus' text format. Updates take no lock.
 */

#ifndef NGX_COCO_METRICS_H
#define NGX_COCO_METRICS_H

#include "ngx_coco.h"

typedef struct ngx_coco_metrics_s  ngx_coco_metrics_t;

typedef enum {
    /* coco_webhooks_total{provider="driveu",outcome=...} */
    NGX_COCO_COUNTER_DRIVEU_ACCEPTED = 0,
    NGX_COCO_COUNTER_DRIVEU_UNAUTHORIZED,
    NGX_COCO_COUNTER_DRIVEU_UNSUPPORTED,
    NGX_COCO_COUNTER_DRIVEU_TOO_LARGE,
    NGX_COCO_COUNTER_DRIVEU_INVALID,
    NGX_COCO_COUNTER_DRIVEU_UNAVAILABLE,
    NGX_COCO_COUNTER_DRIVEU_FAILED,
    NGX_COCO_COUNTER_DRIVEU_ABANDONED,

    NGX_COCO_COUNTER_STORED,        /* coco_webhooks_stored_total */
    NGX_COCO_COUNTER_STATEMENTS,    /* coco_inbox_statements_total */

    /* coco_lid_requests_total{outcome=...} */
    NGX_COCO_COUNTER_LID_OPENED,
    NGX_COCO_COUNTER_LID_REFUSED,
    NGX_COCO_COUNTER_LID_FAILED,
    NGX_COCO_COUNTER_LID_SILENT,
    NGX_COCO_COUNTER_LID_UNAVAILABLE,
    NGX_COCO_COUNTER_LID_ABANDONED,
    NGX_COCO_COUNTERS
} ngx_coco_counter_e;

typedef enum {
    NGX_COCO_GAUGE_WAITING = 0,     /* coco_inbox_waiting */
    NGX_COCO_GAUGE_LID_WAITING,     /* coco_lid_requests_waiting */
    NGX_COCO_GAUGES
} ngx_coco_gauge_e;

/* Adds the zone to the configuration; the numbers begin with 0 when the
 * master does. */
ngx_coco_metrics_t *ngx_coco_metrics_create(ngx_conf_t *cf);

/* Where a process that serves requests begins and where it ends: it measures
 * nothing. What one that was killed measured is dropped by its successor. */
void ngx_coco_metrics_clear(ngx_coco_metrics_t *metrics);

void ngx_coco_metrics_add(ngx_coco_metrics_t *metrics,
    ngx_coco_counter_e counter, ngx_uint_t n);

/* Of this process; shown is the sum over all. */
void ngx_coco_metrics_set(ngx_coco_metrics_t *metrics, ngx_coco_gauge_e gauge,
    ngx_uint_t value);

/* The text format 0.0.4, in `pool`. */
ngx_int_t ngx_coco_metrics_encode(const ngx_coco_metrics_t *metrics,
    ngx_pool_t *pool, ngx_str_t *ret);

#endif /* NGX_COCO_METRICS_H */
