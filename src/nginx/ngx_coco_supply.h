/*
 * The supply for a request: the fleet of the zone while that is fresh; while
 * it is not (no zone, a full one, a feed that is cut), one that this process
 * loads from Postgres after the request came, shared by all that wait for it.
 */

#ifndef NGX_COCO_SUPPLY_H
#define NGX_COCO_SUPPLY_H

#include "ngx_coco.h"
#include "ngx_coco_feed.h"
#include "coco_fleet_index.h"

typedef struct ngx_coco_supply_s  ngx_coco_supply_t;

/* `index` lives until the handler returns; NULL: there is none, the handler
 * replies 503. `shared` is not 0: it is the zone's, which lives as long as the
 * configuration, and somebody may write it: read as coco_fleet_index.h says,
 * and see at the end that it is ngx_coco_supply_whole() still. `partial`:
 * Postgres did not answer, this is what was last known. Called at once, or
 * later; ends the request's waiting by its return value, which is what
 * ngx_http_finalize_request takes (NGX_DONE: it waits for something else now).
 * It may ask for the supply again. */
typedef ngx_int_t (*ngx_coco_supply_handler_pt)(ngx_http_request_t *r,
    const coco_fleet_index_t *index, ngx_uint_t shared, ngx_uint_t partial,
    void *data);

/* The content handler's return value. Where it is used
 * ngx_coco_feed_page_statement is among the location's. */
ngx_int_t ngx_coco_supply(ngx_http_request_t *r,
    ngx_coco_supply_handler_pt handler, void *data);

/* After a read, of a whole fleet or in pieces: it was not emptied since it was
 * given to the handler with that `shared`. False: what was read is of no use,
 * ask for the supply again. */
ngx_uint_t ngx_coco_supply_whole(ngx_http_request_t *r, ngx_uint_t shared);

ngx_coco_supply_t *ngx_coco_supply_create(ngx_conf_t *cf);

/* In a process that serves requests: what there is to ask, and the rules of
 * robots in what it loads; `zone` NULL: there is none. */
void ngx_coco_supply_init_process(ngx_coco_supply_t *supply,
    const ngx_coco_feed_backends_t *backends,
    const coco_supply_rules_t *rules, ngx_cycle_t *cycle);

/* Before the Postgres client's. */
void ngx_coco_supply_exit_process(ngx_coco_supply_t *supply);

#endif /* NGX_COCO_SUPPLY_H */
