/*
 * POST /open-lid-for-load: the lid of the robot that a delivery is to be
 * loaded into. Must never open one for a delivery that is loaded or over.
 */

#include "ngx_coco_ops_lid.h"
#include "ngx_coco_body.h"
#include "ngx_coco_command.h"
#include "ngx_coco_query.h"


static const char *ngx_coco_ops_lid_delivery(const coco_json_value_t *value);


ngx_coco_pg_statement_t  ngx_coco_ops_lid_open = {
    ngx_string("coco_lid_open_for_load"),
    "select status, response from coco.lid_open_for_load("
    "    $1::text, $2::text, $3::text, $4::bytea,"
    "    ($5::jsonb ->> 'deliveryId')::uuid, $6::bigint, $7::text)",
    7, NGX_COCO_PG_SLOW, 0
};

static const ngx_coco_body_member_t  ngx_coco_ops_lid_members[] = {
    { .name = coco_string("deliveryId"), .check = ngx_coco_ops_lid_delivery,
      .required = 1 },
    { .name = { NULL, 0 } }
};


ngx_int_t
ngx_coco_ops_lid_open_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    ngx_int_t            rc;
    ngx_str_t           *params;
    ngx_coco_command_t  *command;

    command = ngx_coco_command_begin(r);
    params = ngx_pcalloc(r->pool, ngx_coco_ops_lid_open.nparams
                                  * sizeof(ngx_str_t));
    if (command == NULL || params == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_coco_body_take(r, &call->body, ngx_coco_ops_lid_members,
                           &params[NGX_COCO_WRITE_PARAMS], &rc)
        != NGX_OK)
    {
        return rc;
    }

    return ngx_coco_command_open_lid(command, call, &ngx_coco_ops_lid_open,
                                     params);
}


static const char *
ngx_coco_ops_lid_delivery(const coco_json_value_t *value)
{
    coco_id_t  id;

    return value->type == COCO_JSON_STRING
           && coco_id_parse(&id, value->string) == COCO_OK
           ? NULL : "must be a delivery's id, a UUID";
}
