/*
 * The fleet in the zone: lines are applied, time passes, and what a writer
 * that died has left broken is emptied, to be loaded again. Must never hold
 * the mutex for longer than some tens of microseconds.
 */

#include "ngx_coco_zone_shared.h"


#define NGX_COCO_ZONE_BATCH   32      /* lines for each time it is locked */
#define NGX_COCO_ZONE_SWEPT   64      /* robots */
#define NGX_COCO_ZONE_SWEEPS  32      /* at a time: more are left for later */


typedef struct {
    ngx_uint_t           n;
    coco_str_t           serials[NGX_COCO_ZONE_BATCH];
    coco_supply_state_t  states[NGX_COCO_ZONE_BATCH];
} ngx_coco_zone_batch_t;


static void ngx_coco_zone_batch_read(ngx_coco_zone_t *zone, coco_str_t *lines,
    ngx_coco_zone_batch_t *batch, ngx_log_t *log);
static void ngx_coco_zone_batch_put(ngx_coco_zone_t *zone,
    const ngx_coco_zone_batch_t *batch, ngx_log_t *log);
static void ngx_coco_zone_repair(ngx_coco_zone_t *zone, ngx_log_t *log);
static void ngx_coco_zone_empty_locked(ngx_coco_zone_t *zone);


const coco_fleet_index_t *
ngx_coco_zone_fleet(const ngx_coco_zone_t *zone)
{
    return zone->fleet;
}


void
ngx_coco_zone_init_process(ngx_coco_zone_t *zone,
    const coco_supply_rules_t *rules)
{
    const coco_supply_rules_t  *now;

    zone->rules = *rules;

    if (zone->fleet == NULL) {
        return;
    }

    ngx_coco_zone_lock(zone);

    now = coco_fleet_index_rules(zone->fleet);

    /* not in the master: a configuration whose start fails changes nothing */

    if (!zone->shared->begun || now->online_ms != rules->online_ms
        || now->low_battery_percent != rules->low_battery_percent)
    {
        ngx_coco_zone_empty_locked(zone);
        zone->shared->begun = 1;
    }

    ngx_coco_zone_unlock(zone);
}


void
ngx_coco_zone_apply(ngx_coco_zone_t *zone, coco_str_t lines, ngx_log_t *log)
{
    ngx_uint_t             i;
    ngx_coco_zone_batch_t  batch;

    while (lines.len) {
        ngx_coco_zone_batch_read(zone, &lines, &batch, log);

        if (zone->fleet) {
            ngx_coco_zone_batch_put(zone, &batch, log);
        }

        /* after the fleet: a document may show what that has */

        for (i = 0; i < batch.n; i++) {
            if (batch.states[i].parts & ~COCO_SUPPLY_TELEMETRY) {
                ngx_coco_zone_invalidate(zone, batch.serials[i]);
            }
        }

        ngx_coco_metrics_add(zone->metrics, NGX_COCO_COUNTER_FEED_LINES,
                             batch.n);
    }
}


static void
ngx_coco_zone_batch_read(ngx_coco_zone_t *zone, coco_str_t *lines,
    ngx_coco_zone_batch_t *batch, ngx_log_t *log)
{
    size_t         len;
    const char    *end;
    coco_str_t     line;
    coco_error_t   err;

    batch->n = 0;

    while (lines->len && batch->n < NGX_COCO_ZONE_BATCH) {
        end = memchr(lines->data, '\n', lines->len);
        len = end ? (size_t) (end - lines->data) : lines->len;
        line = (coco_str_t) { lines->data, len };

        len += end != NULL;
        lines->data += len;
        lines->len -= len;

        if (coco_supply_line_decode(line, &batch->serials[batch->n],
                                    &batch->states[batch->n], &err)
            == COCO_OK)
        {
            batch->n++;
            continue;
        }

        ngx_coco_metrics_add(zone->metrics, NGX_COCO_COUNTER_FEED_REFUSED, 1);
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "coco: a line of the supply is refused: %s: %s; the "
                      "schema, the worker and this module should be of one "
                      "version", err.field, err.reason);
    }
}


static void
ngx_coco_zone_batch_put(ngx_coco_zone_t *zone,
    const ngx_coco_zone_batch_t *batch, ngx_log_t *log)
{
    int64_t     now;
    ngx_uint_t  i, full;

    full = 0;
    now = ngx_coco_now_ms();

    ngx_coco_zone_lock(zone);

    ngx_coco_zone_repair(zone, log);

    for (i = 0; i < batch->n; i++) {
        if (coco_fleet_index_put(zone->fleet, batch->serials[i],
                                 &batch->states[i], now)
            == COCO_ERROR
            && !zone->shared->full)
        {
            /* under the lock, too: it ends when the fleet is emptied */
            zone->shared->full = 1;
            full = 1;
        }
    }

    ngx_coco_zone_unlock(zone);

    if (full) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "coco_zone has no room for more than %uD robots: the "
                      "supply comes from Postgres; raise robots=, and the "
                      "size by %uz bytes for each",
                      zone->robots,
                      coco_fleet_index_size(zone->robots) / zone->robots);
    }
}


/* Robots that are due are few but for those that went silent together. */

void
ngx_coco_zone_sweep(ngx_coco_zone_t *zone)
{
    int64_t     now, next;
    ngx_uint_t  i;

    if (zone->fleet == NULL) {
        return;
    }

    now = ngx_coco_now_ms();
    next = now;

    for (i = 0; i < NGX_COCO_ZONE_SWEEPS && next <= now; i++) {
        ngx_coco_zone_lock(zone);

        ngx_coco_zone_repair(zone, ngx_cycle->log);
        next = coco_fleet_index_sweep(zone->fleet, now, NGX_COCO_ZONE_SWEPT);

        ngx_coco_zone_unlock(zone);
    }
}


void
ngx_coco_zone_forget(ngx_coco_zone_t *zone)
{
    if (zone->fleet) {
        ngx_coco_zone_lock(zone);
        ngx_coco_zone_empty_locked(zone);
        ngx_coco_zone_unlock(zone);
    }

    ngx_coco_zone_invalidate_all(zone);
}


/* Under the mutex. */

static void
ngx_coco_zone_repair(ngx_coco_zone_t *zone, ngx_log_t *log)
{
    if (coco_fleet_index_broken(zone->fleet)) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "coco_zone: a process died while it wrote the fleet, "
                      "which is loaded again");
        ngx_coco_zone_empty_locked(zone);
    }
}


/* Under the mutex. Nobody takes the fleet for loaded before it is emptied. */

static void
ngx_coco_zone_empty_locked(ngx_coco_zone_t *zone)
{
    (void) ngx_atomic_fetch_add(&zone->shared->loading, 1);

    coco_fleet_index_init(zone->fleet, zone->robots, &zone->rules);
    zone->shared->full = 0;

    if (zone->shared->begun) {
        ngx_coco_metrics_add(zone->metrics, NGX_COCO_COUNTER_ZONE_RESETS, 1);
    }
}


ngx_uint_t
ngx_coco_zone_loading(ngx_coco_zone_t *zone)
{
    return zone->shared->loading;
}


ngx_uint_t
ngx_coco_zone_loaded(ngx_coco_zone_t *zone, ngx_uint_t loading)
{
    zone->shared->loaded = loading;

    return zone->shared->loading == loading;
}


ngx_uint_t
ngx_coco_zone_empty(const ngx_coco_zone_t *zone)
{
    return zone->fleet && zone->shared->loaded != zone->shared->loading;
}


ngx_uint_t
ngx_coco_zone_full(const ngx_coco_zone_t *zone)
{
    return zone->shared->full;
}
