/*
 * The Fleet scopes over gRPC: proto/coco/fleet/v1/fleet.proto.
 */

#ifndef NGX_COCO_DISPATCH_GRPC_H
#define NGX_COCO_DISPATCH_GRPC_H

#include "ngx_coco.h"

/* coco_grpc, a directive's handler */
char *ngx_coco_dispatch_grpc(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

#endif /* NGX_COCO_DISPATCH_GRPC_H */
