/*
 * POST /driveu/webhook and its configuration. Used by the state module alone.
 */

#ifndef NGX_COCO_STATE_DRIVEU_H
#define NGX_COCO_STATE_DRIVEU_H

#include "ngx_coco.h"
#include "ngx_coco_route.h"

/* CONTRACT "Bodies" */
#define NGX_COCO_DRIVEU_BODY_MAX  (64 * 1024)

/* A location's configuration of the state module. */
typedef struct {
    ngx_array_t  *secrets;     /* digests; NULL: none, all are refused */
    ngx_str_t     header;      /* where the secret comes */
} ngx_coco_state_loc_conf_t;

extern ngx_module_t  ngx_coco_state_module;

/* coco_driveu_secret <file>, repeatable; coco_driveu_header <name> */
char *ngx_coco_state_driveu_secret(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_coco_state_driveu_header(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

void *ngx_coco_state_create_loc_conf(ngx_conf_t *cf);
char *ngx_coco_state_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);

/* The route's check: the shared secret. */
ngx_int_t ngx_coco_state_driveu_check(ngx_http_request_t *r,
    ngx_int_t *ret_rc);

ngx_int_t ngx_coco_state_driveu_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);

#endif /* NGX_COCO_STATE_DRIVEU_H */
