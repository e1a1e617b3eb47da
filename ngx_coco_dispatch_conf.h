/*
 * What quotes and plans go by: the directives of the dispatch module, as the
 * rules that the core's planner takes. Used by the dispatch module alone.
 */

#ifndef NGX_COCO_DISPATCH_CONF_H
#define NGX_COCO_DISPATCH_CONF_H

#include "ngx_coco.h"
#include "coco_trip.h"

typedef struct {
    coco_trip_rules_t    rules;             /* complete once all is read */
    coco_supply_rules_t  supply;            /* of the base module's values */

    ngx_msec_t           dwell;             /* coco_dispatch_dwell, 120 s */
    ngx_uint_t           reach;             /* coco_dispatch_reach, 20000 m */
    ngx_array_t         *chargers;          /* of coco_place_t; NULL: none */

    ngx_msec_t           quote_lifetime;    /* coco_quote_lifetime, 60 s */
    ngx_str_t            plan_threads;      /* coco_plan_threads, default */
    ngx_thread_pool_t   *threads;           /* NULL: no location plans */
    ngx_uint_t           everywhere;        /* coco_dispatch_area off */
    ngx_uint_t           used;              /* coco_dispatch is there */
} ngx_coco_dispatch_conf_t;

extern ngx_module_t  ngx_coco_dispatch_module;

ngx_coco_dispatch_conf_t *ngx_coco_dispatch_conf(ngx_http_request_t *r);

void *ngx_coco_dispatch_create_main_conf(ngx_conf_t *cf);
char *ngx_coco_dispatch_init_main_conf(ngx_conf_t *cf, void *conf);

/* Directive handlers. A number's `post` says what it may be. */
typedef struct {
    double       min, max;
    const char  *what;                      /* "a number from 0 to 100" */
} ngx_coco_dispatch_range_t;

char *ngx_coco_dispatch_number(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* coco_dispatch_area off | lat,lon lat,lon lat,lon … */
char *ngx_coco_dispatch_area(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* coco_dispatch_charger off | lat,lon; repeatable */
char *ngx_coco_dispatch_charger(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

#endif /* NGX_COCO_DISPATCH_CONF_H */
