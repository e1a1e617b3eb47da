/*
 * Metrics: what all worker processes count and measure, in one zone of shared
 * memory. Must never take a lock, nor make a request wait.
 */

#include "ngx_coco_metrics.h"
#include "ngx_coco_base.h"


/* of a family's help, type and one sample, bytes */
#define NGX_COCO_METRICS_ROW  512


typedef struct {
    const char  *name;
    const char  *labels;    /* with their braces */
    const char  *help;      /* NULL: the family is that of the row above */
} ngx_coco_metrics_row_t;


typedef struct {
    ngx_atomic_t  counters[NGX_COCO_COUNTERS];

    /* by the slot of the process, which alone writes there */
    ngx_atomic_t  gauges[NGX_MAX_PROCESSES][NGX_COCO_GAUGES];

    ngx_atomic_t  common[NGX_COCO_GAUGES_ALL - NGX_COCO_GAUGES];
} ngx_coco_metrics_shared_t;


struct ngx_coco_metrics_s {
    ngx_coco_metrics_shared_t  *shared;
};


static ngx_int_t ngx_coco_metrics_zone_init(ngx_shm_zone_t *zone, void *data);
static ngx_atomic_uint_t ngx_coco_metrics_gauge(
    const ngx_coco_metrics_t *metrics, ngx_uint_t gauge);
static u_char *ngx_coco_metrics_row_encode(u_char *p, u_char *last,
    const ngx_coco_metrics_row_t *row, const char *type,
    ngx_atomic_uint_t value);


#define ngx_coco_webhook_row(provider, outcome, help)                        \
    { "coco_webhooks_total",                                                 \
      "{provider=\"" provider "\",outcome=\"" outcome "\"}", help }

#define ngx_coco_webhook_rows(counter, provider, help)                       \
    [counter + NGX_COCO_WEBHOOK_ACCEPTED] =                                  \
        ngx_coco_webhook_row(provider, "accepted", help),                    \
    [counter + NGX_COCO_WEBHOOK_UNAUTHORIZED] =                              \
        ngx_coco_webhook_row(provider, "unauthorized", NULL),                \
    [counter + NGX_COCO_WEBHOOK_UNSUPPORTED] =                               \
        ngx_coco_webhook_row(provider, "unsupported_media_type", NULL),      \
    [counter + NGX_COCO_WEBHOOK_TOO_LARGE] =                                 \
        ngx_coco_webhook_row(provider, "too_large", NULL),                   \
    [counter + NGX_COCO_WEBHOOK_INVALID] =                                   \
        ngx_coco_webhook_row(provider, "invalid", NULL),                     \
    [counter + NGX_COCO_WEBHOOK_UNAVAILABLE] =                               \
        ngx_coco_webhook_row(provider, "unavailable", NULL),                 \
    [counter + NGX_COCO_WEBHOOK_FAILED] =                                    \
        ngx_coco_webhook_row(provider, "failed", NULL),                      \
    [counter + NGX_COCO_WEBHOOK_ABANDONED] =                                 \
        ngx_coco_webhook_row(provider, "abandoned", NULL)

#define ngx_coco_lid_row(outcome, help)                                      \
    { "coco_lid_requests_total", "{outcome=\"" outcome "\"}", help }

#define ngx_coco_document_row(document, outcome, help)                       \
    { "coco_documents_total",                                                \
      "{document=\"" document "\",outcome=\"" outcome "\"}", help }

#define ngx_coco_outcome_row(name, outcome, help)                            \
    { name, "{outcome=\"" outcome "\"}", help }

static const ngx_coco_metrics_row_t  ngx_coco_metrics_counters[] = {
    ngx_coco_webhook_rows(NGX_COCO_COUNTER_DRIVEU, "driveu",
        "Webhooks by how their request ended."),
    ngx_coco_webhook_rows(NGX_COCO_COUNTER_UBER, "uber", NULL),
    ngx_coco_webhook_rows(NGX_COCO_COUNTER_DOORDASH, "doordash", NULL),

    [NGX_COCO_COUNTER_STORED] = { "coco_webhooks_stored_total", "",
        "Webhooks that were stored and not known before." },
    [NGX_COCO_COUNTER_STATEMENTS] = { "coco_inbox_statements_total", "",
        "Statements that stored webhooks, each one commit." },

    [NGX_COCO_COUNTER_LID_OPENED] = ngx_coco_lid_row("opened",
        "Requests to open a lid by how they ended."),
    [NGX_COCO_COUNTER_LID_REFUSED] = ngx_coco_lid_row("refused", NULL),
    [NGX_COCO_COUNTER_LID_FAILED] = ngx_coco_lid_row("failed", NULL),
    [NGX_COCO_COUNTER_LID_SILENT] = ngx_coco_lid_row("silent", NULL),
    [NGX_COCO_COUNTER_LID_UNAVAILABLE] =
        ngx_coco_lid_row("unavailable", NULL),
    [NGX_COCO_COUNTER_LID_ABANDONED] = ngx_coco_lid_row("abandoned", NULL),

    [NGX_COCO_COUNTER_ROBOT_HIT] = ngx_coco_document_row("robot", "hit",
        "Documents asked for by what the zone said."),
    [NGX_COCO_COUNTER_ROBOT_MISS] =
        ngx_coco_document_row("robot", "miss", NULL),
    [NGX_COCO_COUNTER_ROBOT_STALE] =
        ngx_coco_document_row("robot", "stale", NULL),
    [NGX_COCO_COUNTER_LABOR_HIT] =
        ngx_coco_document_row("labor", "hit", NULL),
    [NGX_COCO_COUNTER_LABOR_MISS] =
        ngx_coco_document_row("labor", "miss", NULL),
    [NGX_COCO_COUNTER_LABOR_STALE] =
        ngx_coco_document_row("labor", "stale", NULL),
    [NGX_COCO_COUNTER_LABOR_GRPC_HIT] =
        ngx_coco_document_row("labor_grpc", "hit", NULL),
    [NGX_COCO_COUNTER_LABOR_GRPC_MISS] =
        ngx_coco_document_row("labor_grpc", "miss", NULL),
    [NGX_COCO_COUNTER_LABOR_GRPC_STALE] =
        ngx_coco_document_row("labor_grpc", "stale", NULL),

    [NGX_COCO_COUNTER_FILLS_KEPT] =
        ngx_coco_outcome_row("coco_document_fills_total", "kept",
        "Documents offered to the zone by what became of them."),
    [NGX_COCO_COUNTER_FILLS_OUTDATED] =
        ngx_coco_outcome_row("coco_document_fills_total", "outdated", NULL),
    [NGX_COCO_COUNTER_FILLS_TOO_LARGE] =
        ngx_coco_outcome_row("coco_document_fills_total", "too_large", NULL),

    [NGX_COCO_COUNTER_ZONE_RESETS] = { "coco_zone_resets_total", "",
        "Times the fleet of the zone was emptied after it had begun." },

    [NGX_COCO_COUNTER_FEED_MESSAGES] = { "coco_feed_messages_total", "",
        "Messages of the workers that were taken." },
    [NGX_COCO_COUNTER_FEED_LINES] = { "coco_feed_lines_total", "",
        "Lines that were applied to the fleet of the zone." },
    [NGX_COCO_COUNTER_FEED_REFUSED] = { "coco_feed_refused_total", "",
        "Lines that were none." },
    [NGX_COCO_COUNTER_FEED_LOADS] = { "coco_feed_loads_total", "",
        "Times the fleet was loaded into the zone." },
    [NGX_COCO_COUNTER_SUPPLY_LOADS] = { "coco_supply_loads_total", "",
        "Times a process loaded the fleet for its own requests." },

    [NGX_COCO_COUNTER_QUOTES_FOUND] =
        ngx_coco_outcome_row("coco_quotes_total", "found",
        "Quotes by how they ended."),
    [NGX_COCO_COUNTER_QUOTES_NONE] =
        ngx_coco_outcome_row("coco_quotes_total", "none", NULL),
    [NGX_COCO_COUNTER_QUOTES_HELD] =
        ngx_coco_outcome_row("coco_quotes_total", "held", NULL),
    [NGX_COCO_COUNTER_QUOTES_UNAVAILABLE] =
        ngx_coco_outcome_row("coco_quotes_total", "unavailable", NULL),

    [NGX_COCO_COUNTER_PLANS] =
        ngx_coco_outcome_row("coco_plans_total", "made",
        "Plans by how they ended."),
    [NGX_COCO_COUNTER_PLANS_FAILED] =
        ngx_coco_outcome_row("coco_plans_total", "failed", NULL),

    [NGX_COCO_COUNTER_GRPC_OK] =
        ngx_coco_outcome_row("coco_grpc_calls_total", "ok",
        "Calls over gRPC by how they ended."),
    [NGX_COCO_COUNTER_GRPC_ERROR] =
        ngx_coco_outcome_row("coco_grpc_calls_total", "error", NULL),
};

static const ngx_coco_metrics_row_t  ngx_coco_metrics_gauges[] = {
    [NGX_COCO_GAUGE_WAITING] = { "coco_inbox_waiting", "",
        "Webhooks that wait for the next statement." },
    [NGX_COCO_GAUGE_LID_WAITING] = { "coco_lid_requests_waiting", "",
        "Requests that wait for a robot to open its lid." },
    [NGX_COCO_GAUGE_SUPPLY_WAITING] = { "coco_supply_waiting", "",
        "Requests that wait for a load of their process." },

    [NGX_COCO_GAUGE_ZONE_ROBOTS] = { "coco_zone_robots", "",
        "Robots that the zone holds." },
    [NGX_COCO_GAUGE_ZONE_CAPACITY] = { "coco_zone_capacity_robots", "",
        "Robots that the zone has room for." },
    [NGX_COCO_GAUGE_ZONE_FULL] = { "coco_zone_full", "",
        "Whether a robot was refused for want of room." },
    [NGX_COCO_GAUGE_ZONE_FRESH] = { "coco_zone_fresh", "",
        "Whether the zone is served from." },
    [NGX_COCO_GAUGE_CHANGES_LAG] = { "coco_feed_lag_milliseconds",
        "{feed=\"changes\"}",
        "Time since all was known that a feed had to bring." },
    [NGX_COCO_GAUGE_FEED_LAG] = { "coco_feed_lag_milliseconds",
        "{feed=\"workers\"}", NULL },
};


ngx_coco_metrics_t *
ngx_coco_metrics_create(ngx_conf_t *cf)
{
    ngx_shm_zone_t      *zone;
    ngx_coco_metrics_t  *metrics;

    static ngx_str_t  name = ngx_string("coco_metrics");

    metrics = ngx_pcalloc(cf->pool, sizeof(*metrics));
    if (metrics == NULL) {
        return NULL;
    }

    /* the least that holds a slab pool and the numbers, on pages of 4 KiB */

    zone = ngx_shared_memory_add(cf, &name, 8 * ngx_pagesize,
                                 &ngx_coco_base_module);
    if (zone == NULL) {
        return NULL;
    }

    zone->init = ngx_coco_metrics_zone_init;
    zone->data = metrics;

    return metrics;
}


static ngx_int_t
ngx_coco_metrics_zone_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_coco_metrics_t  *old = data;

    ngx_slab_pool_t     *pool;
    ngx_coco_metrics_t  *metrics;

    metrics = zone->data;

    if (old) {
        metrics->shared = old->shared;
        return NGX_OK;
    }

    pool = (ngx_slab_pool_t *) zone->shm.addr;

    if (zone->shm.exists) {
        metrics->shared = pool->data;
        return NGX_OK;
    }

    metrics->shared = ngx_slab_calloc(pool, sizeof(*metrics->shared));
    if (metrics->shared == NULL) {
        return NGX_ERROR;
    }

    pool->data = metrics->shared;

    return NGX_OK;
}


void
ngx_coco_metrics_clear(ngx_coco_metrics_t *metrics)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_COCO_GAUGES; i++) {
        ngx_coco_metrics_set(metrics, i, 0);
    }
}


void
ngx_coco_metrics_add(ngx_coco_metrics_t *metrics, ngx_coco_counter_e counter,
    ngx_uint_t n)
{
    (void) ngx_atomic_fetch_add(&metrics->shared->counters[counter], n);
}


void
ngx_coco_metrics_set(ngx_coco_metrics_t *metrics, ngx_coco_gauge_e gauge,
    ngx_uint_t value)
{
    if (gauge < NGX_COCO_GAUGES) {
        metrics->shared->gauges[ngx_process_slot][gauge] = value;

    } else {
        metrics->shared->common[gauge - NGX_COCO_GAUGES] = value;
    }
}


ngx_int_t
ngx_coco_metrics_encode(const ngx_coco_metrics_t *metrics, ngx_pool_t *pool,
    ngx_str_t *ret)
{
    u_char      *p, *last;
    size_t       size;
    ngx_uint_t   i;

    size = (NGX_COCO_COUNTERS + NGX_COCO_GAUGES_ALL) * NGX_COCO_METRICS_ROW;

    ret->data = ngx_pnalloc(pool, size);
    if (ret->data == NULL) {
        return NGX_ERROR;
    }

    p = ret->data;
    last = p + size;

    for (i = 0; i < NGX_COCO_COUNTERS; i++) {
        p = ngx_coco_metrics_row_encode(p, last, &ngx_coco_metrics_counters[i],
                                        "counter",
                                        metrics->shared->counters[i]);
    }

    for (i = 0; i < NGX_COCO_GAUGES_ALL; i++) {
        p = ngx_coco_metrics_row_encode(p, last, &ngx_coco_metrics_gauges[i],
                                        "gauge",
                                        ngx_coco_metrics_gauge(metrics, i));
    }

    ret->len = p - ret->data;

    return NGX_OK;
}


static ngx_atomic_uint_t
ngx_coco_metrics_gauge(const ngx_coco_metrics_t *metrics, ngx_uint_t gauge)
{
    ngx_uint_t         slot;
    ngx_atomic_uint_t  sum;

    if (gauge >= NGX_COCO_GAUGES) {
        return metrics->shared->common[gauge - NGX_COCO_GAUGES];
    }

    sum = 0;

    for (slot = 0; slot < NGX_MAX_PROCESSES; slot++) {
        sum += metrics->shared->gauges[slot][gauge];
    }

    return sum;
}


static u_char *
ngx_coco_metrics_row_encode(u_char *p, u_char *last,
    const ngx_coco_metrics_row_t *row, const char *type,
    ngx_atomic_uint_t value)
{
    if (row->help) {
        p = ngx_slprintf(p, last, "# HELP %s %s\n# TYPE %s %s\n",
                         row->name, row->help, row->name, type);
    }

    return ngx_slprintf(p, last, "%s%s %uA\n", row->name, row->labels, value);
}
