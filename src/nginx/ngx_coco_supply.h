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

/* `index` lives until the handler returns; with `shared`, somebody may write
 * it: read as coco_fleet_index.h says. NULL: neither is there; the handler
 * replies 503. `partial`: Postgres did not answer, this is what was last
 * known. Called at once, or later; ends the request's waiting by its return
 * value, which is what ngx_http_finalize_request takes (NGX_DONE: it waits
 * for something else now). */
typedef ngx_int_t (*ngx_coco_supply_handler_pt)(ngx_http_request_t *r,
    const coco_fleet_index_t *index, ngx_uint_t shared, ngx_uint_t partial,
    void *data);

/* The content handler's return value. */
ngx_int_t ngx_coco_supply(ngx_http_request_t *r,
    ngx_coco_supply_handler_pt handler, void *data);

ngx_coco_supply_t *ngx_coco_supply_create(ngx_conf_t *cf);

#endif /* NGX_COCO_SUPPLY_H */
