/*
 * The supply for requests. Must never hand out a fleet whose loading began
 * before the request came, unless it says so (`partial`).
 */

#include "ngx_coco_supply.h"
#include "ngx_coco_base.h"
#include "ngx_coco_feed_pages.h"
#include "ngx_coco_pause.h"

#define NGX_COCO_SUPPLY_ROBOTS  1024    /* room at first; doubled when full */
#define NGX_COCO_SUPPLY_ALIGN   64      /* of an index' block */


/* A fleet of this process. */
typedef struct {
    void                        *block;     /* NULL: none yet */
    uint32_t                     robots;    /* it has room for */
    unsigned                     whole:1;   /* loaded to the end */
} ngx_coco_supply_fleet_t;


/* A request that waits; in its pool. */
typedef struct {
    ngx_queue_t                  link;      /* unlinked once it is called */
    ngx_coco_supply_t           *supply;
    ngx_http_request_t          *request;
    ngx_coco_supply_handler_pt   handler;
    void                        *data;
} ngx_coco_supply_wait_t;


struct ngx_coco_supply_s {
    ngx_coco_feed_backends_t     to;
    coco_supply_rules_t          rules;
    ngx_log_t                   *log;
    ngx_coco_supply_fleet_t      known;     /* the last one that was loaded */
    ngx_coco_supply_fleet_t      next;      /* being loaded; its memory is used
                                               again */
    ngx_coco_pages_t             pages;
    ngx_queue_t                  served;    /* by the load that is under way */
    ngx_queue_t                  later;     /* came after its begin */
    ngx_uint_t                   waiting;   /* requests, in both */
};


static ngx_int_t ngx_coco_supply_wait(ngx_coco_supply_t *supply,
    ngx_http_request_t *r, ngx_coco_supply_handler_pt handler, void *data);
static void ngx_coco_supply_cleanup(void *data);
static void ngx_coco_supply_count(ngx_coco_supply_t *supply, int n);
static ngx_int_t ngx_coco_supply_start(ngx_coco_supply_t *supply);
static ngx_int_t ngx_coco_supply_page(void *data, coco_str_t lines,
    coco_str_t snapshot);
static ngx_int_t ngx_coco_supply_line(ngx_coco_supply_t *supply,
    coco_str_t line);
static void ngx_coco_supply_done(void *data, ngx_uint_t whole);
static void ngx_coco_supply_call(ngx_coco_supply_t *supply,
    ngx_queue_t *waiting, ngx_uint_t whole);
static const coco_fleet_index_t *ngx_coco_supply_last(
    ngx_coco_supply_t *supply, ngx_uint_t *ret_shared);

static ngx_int_t ngx_coco_supply_fleet_room(ngx_coco_supply_t *supply,
    ngx_coco_supply_fleet_t *fleet, uint32_t robots);
static ngx_int_t ngx_coco_supply_fleet_grow(ngx_coco_supply_t *supply,
    ngx_coco_supply_fleet_t *fleet);
static void ngx_coco_supply_fleet_free(ngx_coco_supply_fleet_t *fleet);


static const ngx_coco_pages_reader_t  ngx_coco_supply_reader = {
    ngx_coco_supply_page, ngx_coco_supply_done
};


ngx_coco_supply_t *
ngx_coco_supply_create(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_coco_supply_t));
}


void
ngx_coco_supply_init_process(ngx_coco_supply_t *supply,
    const ngx_coco_feed_backends_t *backends,
    const coco_supply_rules_t *rules, ngx_cycle_t *cycle)
{
    supply->to = *backends;
    supply->rules = *rules;
    supply->log = cycle->log;

    supply->pages.pg = backends->pg;
    supply->pages.reader = &ngx_coco_supply_reader;
    supply->pages.data = supply;
    supply->pages.log = cycle->log;
    supply->pages.timeout = backends->timeout;

    ngx_queue_init(&supply->served);
    ngx_queue_init(&supply->later);
}


/* Requests are gone. */

void
ngx_coco_supply_exit_process(ngx_coco_supply_t *supply)
{
    ngx_coco_pages_cancel(&supply->pages);

    ngx_coco_supply_fleet_free(&supply->known);
    ngx_coco_supply_fleet_free(&supply->next);
}


ngx_int_t
ngx_coco_supply(ngx_http_request_t *r, ngx_coco_supply_handler_pt handler,
    void *data)
{
    ngx_uint_t                 shared;
    ngx_coco_zone_t           *zone;
    ngx_coco_supply_t         *supply;
    const coco_fleet_index_t  *index;

    supply = ngx_coco_base_conf(r)->supply;
    zone = supply->to.zone;

    index = zone ? ngx_coco_zone_fleet(zone) : NULL;

    if (index) {
        /* first: it may be emptied from here on */
        shared = ngx_coco_zone_loading(zone);

        if (ngx_coco_zone_fresh(zone) && !ngx_coco_zone_full(zone)) {
            return handler(r, index, shared, 0, data);
        }
    }

    return ngx_coco_supply_wait(supply, r, handler, data);
}


ngx_uint_t
ngx_coco_supply_whole(ngx_http_request_t *r, ngx_uint_t shared)
{
    return shared == 0
           || ngx_coco_zone_loading(ngx_coco_base_conf(r)->supply->to.zone)
              == shared;
}


static ngx_int_t
ngx_coco_supply_wait(ngx_coco_supply_t *supply, ngx_http_request_t *r,
    ngx_coco_supply_handler_pt handler, void *data)
{
    ngx_http_cleanup_t      *cln;
    ngx_coco_supply_wait_t  *wait;

    wait = ngx_palloc(r->pool, sizeof(*wait));
    if (wait == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    wait->supply = supply;
    wait->request = r;
    wait->handler = handler;
    wait->data = data;

    ngx_queue_insert_tail(&supply->later, &wait->link);

    if (supply->pages.op == NULL && ngx_coco_supply_start(supply) != NGX_OK) {
        ngx_queue_remove(&wait->link);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_coco_supply_cleanup;
    cln->data = wait;

    ngx_coco_supply_count(supply, 1);

    r->connection->log->action = "waiting for the supply";

    return ngx_coco_wait(r);
}


static void
ngx_coco_supply_cleanup(void *data)
{
    ngx_coco_supply_wait_t *wait = data;

    if (wait->request) {
        wait->request = NULL;
        ngx_queue_remove(&wait->link);
        ngx_coco_supply_count(wait->supply, -1);
    }
}


static void
ngx_coco_supply_count(ngx_coco_supply_t *supply, int n)
{
    supply->waiting += n;

    ngx_coco_metrics_set(supply->to.metrics, NGX_COCO_GAUGE_SUPPLY_WAITING,
                         supply->waiting);
}


/* For those that wait until now. */

static ngx_int_t
ngx_coco_supply_start(ngx_coco_supply_t *supply)
{
    supply->next.whole = 0;

    if (ngx_coco_supply_fleet_room(supply, &supply->next,
                                   supply->known.robots)
        != NGX_OK
        || ngx_coco_pages_start(&supply->pages, NULL) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_queue_add(&supply->served, &supply->later);
    ngx_queue_init(&supply->later);

    return NGX_OK;
}


static ngx_int_t
ngx_coco_supply_page(void *data, coco_str_t lines, coco_str_t snapshot)
{
    ngx_coco_supply_t *supply = data;

    const char  *end;
    coco_str_t   line;

    while (lines.len) {

        end = memchr(lines.data, LF, lines.len);
        if (end == NULL) {
            break;
        }

        line.data = lines.data;
        line.len = end - lines.data;

        lines.data = end + 1;
        lines.len -= line.len + 1;

        if (ngx_coco_supply_line(supply, line) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* NGX_ERROR: memory is out. */

static ngx_int_t
ngx_coco_supply_line(ngx_coco_supply_t *supply, coco_str_t line)
{
    coco_str_t           serial;
    coco_error_t         err;
    coco_supply_state_t  state;

    if (coco_supply_line_decode(line, &serial, &state, &err) != COCO_OK) {
        ngx_log_error(NGX_LOG_ERR, supply->log, 0,
                      "a robot of coco.resource is left out: \"%*s\": %s",
                      line.len, line.data, err.reason);
        return NGX_OK;
    }

    while (coco_fleet_index_put(supply->next.block, serial, &state,
                                ngx_coco_now_ms())
           == COCO_ERROR)
    {
        if (ngx_coco_supply_fleet_grow(supply, &supply->next) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_coco_supply_done(void *data, ngx_uint_t whole)
{
    ngx_coco_supply_t *supply = data;

    ngx_queue_t              waiting;
    ngx_coco_supply_fleet_t  fleet;

    if (whole) {
        fleet = supply->known;
        supply->known = supply->next;
        supply->known.whole = 1;
        supply->next = fleet;

        ngx_coco_metrics_add(supply->to.metrics,
                             NGX_COCO_COUNTER_SUPPLY_LOADS, 1);
    }

    /* handlers may ask again, and so begin the next one */

    ngx_queue_init(&waiting);
    ngx_queue_add(&waiting, &supply->served);
    ngx_queue_init(&supply->served);

    ngx_coco_supply_call(supply, &waiting, whole);

    if (supply->pages.op == NULL && !ngx_queue_empty(&supply->later)
        && ngx_coco_supply_start(supply) != NGX_OK)
    {
        ngx_queue_add(&waiting, &supply->later);
        ngx_queue_init(&supply->later);

        ngx_coco_supply_call(supply, &waiting, 0);
    }
}


static void
ngx_coco_supply_call(ngx_coco_supply_t *supply, ngx_queue_t *waiting,
    ngx_uint_t whole)
{
    ngx_int_t                  rc;
    ngx_uint_t                 shared;
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_coco_supply_wait_t    *wait;
    const coco_fleet_index_t  *index;

    while (!ngx_queue_empty(waiting)) {

        wait = ngx_queue_data(ngx_queue_head(waiting), ngx_coco_supply_wait_t,
                              link);
        r = wait->request;
        c = r->connection;

        ngx_coco_supply_cleanup(wait);

        shared = 0;
        index = whole ? supply->known.block
                      : ngx_coco_supply_last(supply, &shared);

        ngx_http_set_log_request(c->log, r);
        c->log->action = "sending to client";

        rc = wait->handler(r, index, shared, !whole, wait->data);

        ngx_http_finalize_request(r, rc);
        ngx_http_run_posted_requests(c);
    }
}


/* What was last known: by the zone while it knows the fleet, otherwise by this
 * process, otherwise by a zone that is to be loaded anew. */

static const coco_fleet_index_t *
ngx_coco_supply_last(ngx_coco_supply_t *supply, ngx_uint_t *ret_shared)
{
    ngx_uint_t                 shared;
    ngx_coco_zone_t           *zone;
    const coco_fleet_index_t  *index;

    zone = supply->to.zone;
    index = zone && !ngx_coco_zone_full(zone) ? ngx_coco_zone_fleet(zone)
                                              : NULL;
    shared = index ? ngx_coco_zone_loading(zone) : 0;

    if (index && (!ngx_coco_zone_empty(zone)
                  || (!supply->known.whole
                      && coco_fleet_index_count(index) > 0)))
    {
        *ret_shared = shared;
        return index;
    }

    if (!supply->known.whole) {
        return NULL;
    }

    (void) coco_fleet_index_sweep(supply->known.block, ngx_coco_now_ms(),
                                  supply->known.robots);

    return supply->known.block;
}


/* An empty fleet with that much room, at least. */

static ngx_int_t
ngx_coco_supply_fleet_room(ngx_coco_supply_t *supply,
    ngx_coco_supply_fleet_t *fleet, uint32_t robots)
{
    size_t  size;

    robots = ngx_max(robots, NGX_COCO_SUPPLY_ROBOTS);

    if (fleet->robots < robots) {
        size = coco_fleet_index_size(robots);

        ngx_coco_supply_fleet_free(fleet);

        fleet->block = ngx_memalign(NGX_COCO_SUPPLY_ALIGN, size, supply->log);
        if (fleet->block == NULL) {
            return NGX_ERROR;
        }

        /* an index counts on from what was there */
        ngx_memzero(fleet->block, size);
        fleet->robots = robots;
    }

    coco_fleet_index_init(fleet->block, fleet->robots, &supply->rules);

    return NGX_OK;
}


/* Twice the room, with the robots that are there. */

static ngx_int_t
ngx_coco_supply_fleet_grow(ngx_coco_supply_t *supply,
    ngx_coco_supply_fleet_t *fleet)
{
    int64_t                  now;
    uint32_t                 i;
    ngx_coco_supply_fleet_t  larger;

    if (fleet->robots > COCO_ROBOT_NONE / 2
        || coco_fleet_index_size(fleet->robots * 2) == 0)
    {
        return NGX_ERROR;
    }

    ngx_memzero(&larger, sizeof(larger));

    if (ngx_coco_supply_fleet_room(supply, &larger, fleet->robots * 2)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    now = ngx_coco_now_ms();

    for (i = 0; i < coco_fleet_index_count(fleet->block); i++) {
        (void) coco_fleet_index_put(larger.block,
                                    coco_fleet_index_serial(fleet->block, i),
                                    coco_fleet_index_state(fleet->block, i),
                                    now);
    }

    ngx_coco_supply_fleet_free(fleet);
    *fleet = larger;

    return NGX_OK;
}


static void
ngx_coco_supply_fleet_free(ngx_coco_supply_fleet_t *fleet)
{
    if (fleet->block) {
        ngx_free(fleet->block);
    }

    ngx_memzero(fleet, sizeof(*fleet));
}
