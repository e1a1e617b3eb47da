/*
 * The zone: its memory, whether it is fresh, who keeps it so, and what has
 * changed. Must never serve what is not known to be current.
 */

#include "ngx_coco_zone_shared.h"
#include "ngx_coco_base.h"


#define NGX_COCO_ZONE_ROBOTS     10000    /* robots= unless given */
#define NGX_COCO_ZONE_BY_EPOCH   1024     /* bytes of the zone for each */
#define NGX_COCO_ZONE_LEASE      300      /* ms */
#define NGX_COCO_ZONE_PID_BITS   22       /* of a lease; Linux has no larger */

#define ngx_coco_zone_align(n)   ngx_align(n, 64)


static ngx_int_t ngx_coco_zone_argument(ngx_conf_t *cf, ngx_coco_zone_t *zone,
    ngx_str_t *value);
static ngx_int_t ngx_coco_zone_layout(ngx_coco_zone_t *zone, size_t size,
    u_char *area);
static ngx_int_t ngx_coco_zone_init(ngx_shm_zone_t *shm_zone, void *data);
static ngx_uint_t ngx_coco_zone_young(const ngx_coco_zone_t *zone,
    ngx_coco_stamp_e stamp, int64_t now);
static int64_t ngx_coco_zone_lag(const ngx_coco_zone_t *zone,
    ngx_coco_stamp_e stamp);


ngx_uint_t
ngx_coco_zone_fresh(const ngx_coco_zone_t *zone)
{
    int64_t                        now;
    const ngx_coco_zone_shared_t  *shared;

    now = ngx_coco_clock();
    shared = zone->shared;

    return ngx_coco_zone_young(zone, NGX_COCO_STAMP_CHANGES, now)
           && ngx_coco_zone_young(zone, NGX_COCO_STAMP_FEED, now)
           && shared->stamps[NGX_COCO_STAMP_CHANGES] > shared->doubt
           && !ngx_coco_zone_empty(zone);
}


static ngx_uint_t
ngx_coco_zone_young(const ngx_coco_zone_t *zone, ngx_coco_stamp_e stamp,
    int64_t now)
{
    ngx_atomic_uint_t  at;

    at = zone->shared->stamps[stamp];

    return at && now - (int64_t) at <= NGX_COCO_ZONE_STALE;
}


void
ngx_coco_zone_stamp(ngx_coco_zone_t *zone, ngx_coco_stamp_e stamp, int64_t at)
{
    ngx_atomic_t       *p;
    ngx_atomic_uint_t   old;

    p = &zone->shared->stamps[stamp];

    do {
        old = *p;

        if ((int64_t) old >= at) {
            return;
        }

    } while (!ngx_atomic_cmp_set(p, old, at));
}


void
ngx_coco_zone_doubt(ngx_coco_zone_t *zone)
{
    int64_t             now;
    ngx_atomic_uint_t   old;

    now = ngx_coco_clock();

    do {
        old = zone->shared->doubt;

        if ((int64_t) old >= now) {
            return;
        }

    } while (!ngx_atomic_cmp_set(&zone->shared->doubt, old, now));
}


/* Not the cached time: a process that was busy for a while would take a feed
 * for fresher than it is. */

int64_t
ngx_coco_clock(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


/* The pid of the holder in the low bits, above it the time of its end. */

ngx_uint_t
ngx_coco_zone_lease(ngx_coco_zone_t *zone)
{
    int64_t            now;
    ngx_atomic_uint_t  old, new;

    if (ngx_exiting || ngx_terminate || ngx_quit) {
        ngx_coco_zone_release(zone);
        return 0;
    }

    now = ngx_coco_clock();
    old = zone->shared->lease;

    if ((old & ((1 << NGX_COCO_ZONE_PID_BITS) - 1)) != (ngx_uint_t) ngx_pid
        && (int64_t) (old >> NGX_COCO_ZONE_PID_BITS) > now)
    {
        return 0;
    }

    new = (ngx_atomic_uint_t) (now + NGX_COCO_ZONE_LEASE)
          << NGX_COCO_ZONE_PID_BITS | (ngx_atomic_uint_t) ngx_pid;

    return ngx_atomic_cmp_set(&zone->shared->lease, old, new);
}


void
ngx_coco_zone_release(ngx_coco_zone_t *zone)
{
    ngx_atomic_uint_t  old;

    old = zone->shared->lease;

    if ((old & ((1 << NGX_COCO_ZONE_PID_BITS) - 1)) == (ngx_uint_t) ngx_pid) {
        (void) ngx_atomic_cmp_set(&zone->shared->lease, old, 0);
    }
}


ngx_coco_ticket_t
ngx_coco_zone_ticket(const ngx_coco_zone_t *zone, const ngx_str_t *serial)
{
    uint32_t           hash;
    ngx_coco_ticket_t  ticket;

    hash = ngx_coco_zone_hash(serial->data, serial->len);

    ticket.generation = zone->shared->generation;
    ticket.epoch = *ngx_coco_zone_epoch(zone, hash);

    return ticket;
}


ngx_uint_t
ngx_coco_zone_current(const ngx_coco_zone_t *zone, const ngx_str_t *serial,
    const ngx_coco_ticket_t *ticket)
{
    ngx_coco_ticket_t  now;

    now = ngx_coco_zone_ticket(zone, serial);

    return now.generation == ticket->generation && now.epoch == ticket->epoch;
}


void
ngx_coco_zone_invalidate(ngx_coco_zone_t *zone, coco_str_t serial)
{
    uint32_t  hash;

    hash = ngx_coco_zone_hash((u_char *) serial.data, serial.len);

    (void) ngx_atomic_fetch_add(ngx_coco_zone_epoch(zone, hash), 1);
}


void
ngx_coco_zone_invalidate_all(ngx_coco_zone_t *zone)
{
    (void) ngx_atomic_fetch_add(&zone->shared->generation, 1);
    (void) ngx_atomic_fetch_add(&zone->shared->loading, 1);
}


void
ngx_coco_zone_observe(const ngx_coco_zone_t *zone)
{
    ngx_uint_t  robots;

    robots = zone->fleet ? coco_fleet_index_count(zone->fleet) : 0;

    ngx_coco_metrics_set(zone->metrics, NGX_COCO_GAUGE_ZONE_ROBOTS, robots);
    ngx_coco_metrics_set(zone->metrics, NGX_COCO_GAUGE_ZONE_CAPACITY,
                         zone->robots);
    ngx_coco_metrics_set(zone->metrics, NGX_COCO_GAUGE_ZONE_FULL,
                         ngx_coco_zone_full(zone));
    ngx_coco_metrics_set(zone->metrics, NGX_COCO_GAUGE_ZONE_FRESH,
                         ngx_coco_zone_fresh(zone));
    ngx_coco_metrics_set(zone->metrics, NGX_COCO_GAUGE_CHANGES_LAG,
                         ngx_coco_zone_lag(zone, NGX_COCO_STAMP_CHANGES));
    ngx_coco_metrics_set(zone->metrics, NGX_COCO_GAUGE_FEED_LAG,
                         ngx_coco_zone_lag(zone, NGX_COCO_STAMP_FEED));
}


/* Without any stamp: the time that the clock has run. */

static int64_t
ngx_coco_zone_lag(const ngx_coco_zone_t *zone, ngx_coco_stamp_e stamp)
{
    int64_t  at;

    /* before the clock: another process may stamp meanwhile */
    at = zone->shared->stamps[stamp];

    return ngx_coco_clock() - at;
}


ngx_coco_zone_t *
ngx_coco_zone_create(ngx_conf_t *cf, ngx_coco_metrics_t *metrics)
{
    ssize_t           size;
    ngx_str_t         name, *value;
    ngx_uint_t        i;
    ngx_shm_zone_t   *shm_zone;
    ngx_coco_zone_t  *zone;

    value = cf->args->elts;

    zone = ngx_pcalloc(cf->pool, sizeof(*zone));
    if (zone == NULL) {
        return NULL;
    }

    zone->metrics = metrics;
    zone->robots = NGX_COCO_ZONE_ROBOTS;

    for (i = 2; i < cf->args->nelts; i++) {
        if (ngx_coco_zone_argument(cf, zone, &value[i]) != NGX_OK) {
            return NULL;
        }
    }

    size = ngx_parse_size(&value[1]);

    /* what the pool takes for itself is less than these */

    if (size == NGX_ERROR || size < (ssize_t) (32 * ngx_pagesize)
        || ngx_coco_zone_layout(zone, size - size / 64 - 8 * ngx_pagesize,
                                NULL)
           != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"coco_zone\": size \"%V\" has no room for %uD "
                           "robots, which take %uz bytes, and a document: "
                           "give more, or fewer robots",
                           &value[1], zone->robots,
                           zone->robots ? coco_fleet_index_size(zone->robots)
                                        : 0);
        return NULL;
    }

    /* of another name when it is laid out otherwise: what is there is then
     * left to the processes that know it. So it is, by the module's address,
     * when a reload brings another binary. */

    name.data = ngx_pnalloc(cf->pool, sizeof("coco_zone_") + NGX_INT32_LEN);
    if (name.data == NULL) {
        return NULL;
    }

    name.len = ngx_sprintf(name.data, "coco_zone_%uD", zone->robots)
               - name.data;

    shm_zone = ngx_shared_memory_add(cf, &name, size, &ngx_coco_base_module);
    if (shm_zone == NULL) {
        return NULL;
    }

    shm_zone->init = ngx_coco_zone_init;
    shm_zone->data = zone;

    return zone;
}


static ngx_int_t
ngx_coco_zone_argument(ngx_conf_t *cf, ngx_coco_zone_t *zone,
    ngx_str_t *value)
{
    ngx_int_t  n;

    if (ngx_strncmp(value->data, "robots=", 7) == 0) {
        n = ngx_atoi(value->data + 7, value->len - 7);

        if (n == 0 || (n > 0 && n < (ngx_int_t) COCO_ROBOT_NONE
                       && coco_fleet_index_size(n)))
        {
            zone->robots = n;
            return NGX_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"coco_zone\": invalid parameter \"%V\"", value);

    return NGX_ERROR;
}


/* NGX_DECLINED: the area is too small. NULL: would one of the size do? */

static ngx_int_t
ngx_coco_zone_layout(ngx_coco_zone_t *zone, size_t size, u_char *area)
{
    size_t  epochs, fleet, large, set;

    for (zone->nepochs = 64;
         zone->nepochs * NGX_COCO_ZONE_BY_EPOCH * 2 <= size;
         zone->nepochs *= 2)
    {
        /* void */
    }

    epochs = ngx_coco_zone_align(sizeof(ngx_coco_zone_shared_t));
    fleet = epochs + ngx_coco_zone_align(zone->nepochs
                                         * sizeof(ngx_atomic_t));
    large = fleet;

    if (zone->robots) {
        large += ngx_coco_zone_align(coco_fleet_index_size(zone->robots));
    }

    set = NGX_COCO_ZONE_WAYS * (NGX_COCO_ZONE_LARGE
                                + NGX_COCO_ZONE_SETS_SMALL
                                  * NGX_COCO_ZONE_SMALL);

    if (large > size || set > size - large) {
        return NGX_DECLINED;
    }

    zone->large.size = NGX_COCO_ZONE_LARGE;
    zone->large.sets = (size - large) / set;

    zone->small.size = NGX_COCO_ZONE_SMALL;
    zone->small.sets = zone->large.sets * NGX_COCO_ZONE_SETS_SMALL;

    if (area == NULL) {
        return NGX_OK;
    }

    zone->shared = (ngx_coco_zone_shared_t *) area;
    zone->epochs = (ngx_atomic_t *) (area + epochs);
    zone->fleet = zone->robots ? (coco_fleet_index_t *) (area + fleet) : NULL;
    zone->large.slots = area + large;
    zone->small.slots = zone->large.slots + zone->large.sets
                        * NGX_COCO_ZONE_WAYS * NGX_COCO_ZONE_LARGE;

    return NGX_OK;
}


static ngx_int_t
ngx_coco_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    size_t                   size;
    ngx_coco_zone_t         *zone;
    ngx_coco_zone_shared_t  *shared;

    zone = shm_zone->data;
    zone->pool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (data == NULL && !shm_zone->shm.exists) {
        size = zone->pool->pfree * ngx_pagesize;

        shared = ngx_slab_alloc(zone->pool, size);
        if (shared == NULL) {
            return NGX_ERROR;
        }

        ngx_memzero(shared, size);
        shared->size = size;
        zone->pool->data = shared;
    }

    shared = zone->pool->data;

    if (ngx_coco_zone_layout(zone, shared->size, (u_char *) shared)
        != NGX_OK)
    {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "\"coco_zone\" is too small by a page: give more");
        return NGX_ERROR;
    }

    return NGX_OK;
}
