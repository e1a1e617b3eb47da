/*
 * MDS 2.0 Provider, delivery robots, over HTTP (docs/mds.md, "Endpoints"):
 * what cities ask. Used by the ops module alone.
 */

#ifndef NGX_COCO_OPS_MDS_H
#define NGX_COCO_OPS_MDS_H

#include "ngx_coco.h"
#include "ngx_coco_route.h"

/* coco_mds_provider <uuid> | off; coco_mds_vehicle <name>=<value> ... | off;
 * coco_mds_url <url> | off */
char *ngx_coco_mds_provider(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_coco_mds_vehicle(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_coco_mds_url(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* To be called from the directive's handler: registers the statements. */
ngx_int_t ngx_coco_mds_init(ngx_conf_t *cf);

/* Handlers of routes. */
ngx_int_t ngx_coco_mds_vehicles_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_mds_vehicle_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_mds_statuses_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_mds_status_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_mds_recent_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_mds_historical_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_mds_trips_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
ngx_int_t ngx_coco_mds_telemetry_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);

#endif /* NGX_COCO_OPS_MDS_H */
