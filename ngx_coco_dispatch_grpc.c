/*
 * The Fleet scopes' methods: what a request's message says is handed to the
 * functions that answer HTTP, too. Nothing is answered here.
 */

#include "ngx_coco_dispatch_grpc.h"
#include "ngx_coco_args.h"
#include "ngx_coco_dispatch_beacon.h"
#include "ngx_coco_dispatch_labor.h"
#include "ngx_coco_grpc.h"
#include "ngx_coco_reply.h"
#include "ngx_coco_route.h"

#include "coco/fleet/v1/fleet.pb-c.h"


#define NGX_COCO_LABOR_SERVICE                                               \
    "/coco.fleet.v1.FleetLaborProviderScopeService/"
#define NGX_COCO_BEACON_SERVICE  "/coco.fleet.v1.FleetBeaconScopeService/"


typedef Coco__Fleet__V1__GetRequest                 ngx_coco_get_request_t;
typedef Coco__Fleet__V1__GetVehicleBySerialRequest  ngx_coco_vehicle_request_t;
typedef Coco__Fleet__V1__GetVirtualRobotRequest
                                              ngx_coco_virtual_robot_request_t;
typedef Coco__Fleet__V1__GetExternalRobotMappingsRequest
                                              ngx_coco_mappings_request_t;


static ngx_int_t ngx_coco_dispatch_grpc_handler(ngx_http_request_t *r);
static ngx_int_t ngx_coco_dispatch_grpc_get(ngx_http_request_t *r,
    const ProtobufCMessage *request);
static ngx_int_t ngx_coco_dispatch_grpc_vehicle(ngx_http_request_t *r,
    const ProtobufCMessage *request);
static ngx_int_t ngx_coco_dispatch_grpc_serial(ngx_http_request_t *r,
    const char *text, ngx_str_t *ret, ngx_int_t *ret_rc);
static ngx_int_t ngx_coco_dispatch_grpc_virtual_robot(ngx_http_request_t *r,
    const ProtobufCMessage *request);
static ngx_int_t ngx_coco_dispatch_grpc_mappings(ngx_http_request_t *r,
    const ProtobufCMessage *request);


static const ngx_coco_grpc_method_t  ngx_coco_dispatch_grpc_methods[] = {

    { ngx_string(NGX_COCO_LABOR_SERVICE "Get"),
      ngx_string("fleet:read"),
      &coco__fleet__v1__get_request__descriptor,
      ngx_coco_dispatch_grpc_get },

    { ngx_string(NGX_COCO_BEACON_SERVICE "GetVehicleBySerial"),
      ngx_string("fleet:read"),
      &coco__fleet__v1__get_vehicle_by_serial_request__descriptor,
      ngx_coco_dispatch_grpc_vehicle },

    { ngx_string(NGX_COCO_BEACON_SERVICE "GetVirtualRobot"),
      ngx_string("fleet:read"),
      &coco__fleet__v1__get_virtual_robot_request__descriptor,
      ngx_coco_dispatch_grpc_virtual_robot },

    { ngx_string(NGX_COCO_BEACON_SERVICE "GetExternalRobotMappings"),
      ngx_string("fleet:read"),
      &coco__fleet__v1__get_external_robot_mappings_request__descriptor,
      ngx_coco_dispatch_grpc_mappings },

    { ngx_null_string, ngx_null_string, NULL, NULL }
};


char *
ngx_coco_dispatch_grpc(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    if (ngx_coco_beacon_init(cf) != NGX_OK
        || ngx_coco_labor_init(cf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return ngx_coco_route_location(cf, ngx_coco_dispatch_grpc_handler);
}


static ngx_int_t
ngx_coco_dispatch_grpc_handler(ngx_http_request_t *r)
{
    return ngx_coco_grpc_handle(r, ngx_coco_dispatch_grpc_methods);
}


static ngx_int_t
ngx_coco_dispatch_grpc_get(ngx_http_request_t *r,
    const ProtobufCMessage *request)
{
    const ngx_coco_get_request_t  *get = (const void *) request;

    ngx_int_t  rc;
    ngx_str_t  serial;

    if (ngx_coco_dispatch_grpc_serial(r, get->serial, &serial, &rc) != NGX_OK)
    {
        return rc;
    }

    return ngx_coco_labor(r, &serial);
}


static ngx_int_t
ngx_coco_dispatch_grpc_vehicle(ngx_http_request_t *r,
    const ProtobufCMessage *request)
{
    const ngx_coco_vehicle_request_t  *get = (const void *) request;

    ngx_int_t  rc;
    ngx_str_t  serial;

    if (ngx_coco_dispatch_grpc_serial(r, get->serial, &serial, &rc) != NGX_OK)
    {
        return rc;
    }

    return ngx_coco_beacon_vehicle(r, &serial);
}


/* As routes check {serial}. NGX_DECLINED: refused, with *ret_rc. */

static ngx_int_t
ngx_coco_dispatch_grpc_serial(ngx_http_request_t *r, const char *text,
    ngx_str_t *ret, ngx_int_t *ret_rc)
{
    coco_error_t  err;

    *ret = ngx_coco_message_string(text);

    if (coco_serial_valid(ngx_coco_str(*ret))) {
        return NGX_OK;
    }

    (void) coco_error_set(&err, "serial", "must be 1 to 64 characters of "
                          "A-Z a-z 0-9 . _ -");
    *ret_rc = ngx_coco_reply_bad_field(r, &err);

    return NGX_DECLINED;
}


static ngx_int_t
ngx_coco_dispatch_grpc_virtual_robot(ngx_http_request_t *r,
    const ProtobufCMessage *request)
{
    const ngx_coco_virtual_robot_request_t  *get = (const void *) request;

    ngx_str_t  id;

    id = ngx_coco_message_string(get->id);

    return ngx_coco_beacon_virtual_robot(r, &id);
}


static ngx_int_t
ngx_coco_dispatch_grpc_mappings(ngx_http_request_t *r,
    const ProtobufCMessage *request)
{
    const ngx_coco_mappings_request_t  *list = (const void *) request;

    ngx_coco_beacon_filter_t  *filter;

    filter = ngx_palloc(r->pool, sizeof(ngx_coco_beacon_filter_t));
    if (filter == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    filter->provider = ngx_coco_message_string(list->provider);
    filter->serial = ngx_coco_message_string(list->serial);
    filter->cursor = ngx_coco_message_string(list->cursor);
    filter->limit = list->has_limit ? list->limit : NGX_COCO_LIMIT_DEFAULT;

    return ngx_coco_beacon_mappings(r, filter);
}
