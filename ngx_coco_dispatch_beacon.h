/*
 * FleetBeaconScope: which of our robots a provider means, and what we know of
 * it. Each function answers with JSON or, to a call, with a message, and
 * returns what ngx_http_finalize_request takes.
 */

#ifndef NGX_COCO_DISPATCH_BEACON_H
#define NGX_COCO_DISPATCH_BEACON_H

#include "ngx_coco.h"
#include "ngx_coco_route.h"

/* A provider's name, or that of its vehicle, bytes. */
#define NGX_COCO_BEACON_NAME_MAX  128

/* The vehicle of a serial, and the one of an id; 404 when nobody knows it. */
ngx_int_t ngx_coco_beacon_vehicle(ngx_http_request_t *r,
    const ngx_str_t *serial);
ngx_int_t ngx_coco_beacon_virtual_robot(ngx_http_request_t *r,
    const ngx_str_t *id);

/* A page of mappings; data NULL is no filter, and the first page. */
typedef struct {
    ngx_str_t   provider;
    ngx_str_t   serial;
    ngx_str_t   cursor;
    ngx_uint_t  limit;
} ngx_coco_beacon_filter_t;

ngx_int_t ngx_coco_beacon_mappings(ngx_http_request_t *r,
    ngx_coco_beacon_filter_t *filter);

/* Registers the statements; from a directive's handler. */
ngx_int_t ngx_coco_beacon_init(ngx_conf_t *cf);

/* GET /fleet/v1/beacon/robots/{serial} */
ngx_int_t ngx_coco_beacon_vehicle_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);

/* GET /fleet/v1/beacon/virtual-robots/{id} */
ngx_int_t ngx_coco_beacon_virtual_robot_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);

/* GET /fleet/v1/beacon/external-mappings?provider=&serial=&limit=&cursor= */
ngx_int_t ngx_coco_beacon_mappings_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);

/* PUT /fleet/v1/beacon/external-mappings/{provider}/{providerVehicleId} */
ngx_int_t ngx_coco_beacon_mapping_put_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);

#endif /* NGX_COCO_DISPATCH_BEACON_H */
