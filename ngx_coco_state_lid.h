/*
 * Lids over HTTP. Used by the state module alone.
 */

#ifndef NGX_COCO_STATE_LID_H
#define NGX_COCO_STATE_LID_H

#include "ngx_coco.h"
#include "ngx_coco_pg.h"
#include "ngx_coco_route.h"

extern ngx_coco_pg_statement_t  ngx_coco_state_lid_read;
extern ngx_coco_pg_statement_t  ngx_coco_state_lid_history;
extern ngx_coco_pg_statement_t  ngx_coco_state_lid_open;

ngx_int_t ngx_coco_state_lid_read_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_state_lid_history_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_state_lid_open_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);

#endif /* NGX_COCO_STATE_LID_H */
