/*
 * Requests that command a robot and are answered when it has reported: 200,
 * 409 with its reason, 504 when it stays silent.
 */

#ifndef NGX_COCO_COMMAND_H
#define NGX_COCO_COMMAND_H

#include "ngx_coco.h"
#include "ngx_coco_pg.h"
#include "ngx_coco_replies.h"
#include "ngx_coco_route.h"

typedef struct ngx_coco_command_s  ngx_coco_command_t;

/* To be called first by a route's handler: from now on the request is counted
 * by how it ends. NULL: memory is out. */
ngx_coco_command_t *ngx_coco_command_begin(ngx_http_request_t *r);

/*
 * Sends a statement whose first parameters are those of a write (see
 * ngx_coco_query.h) and whose last two, put in here as well, are the time to
 * wait (ms) and the channel that is to be told. What it returns is final, or
 * (202, the command's id), and then the command's outcome is waited for.
 * `params` are in r->pool. The location has ngx_coco_replies_statement among
 * its own. Returns what ngx_http_finalize_request takes.
 */
ngx_int_t ngx_coco_command_open_lid(ngx_coco_command_t *command,
    ngx_coco_call_t *call, ngx_coco_pg_statement_t *statement,
    ngx_str_t *params);

#endif /* NGX_COCO_COMMAND_H */
