/*
 * What quotes, plans and demands have in common: trips in bodies, and robots
 * that are read while somebody may write them. Used by the dispatch module
 * alone.
 */

#ifndef NGX_COCO_DISPATCH_TRIP_H
#define NGX_COCO_DISPATCH_TRIP_H

#include "ngx_coco.h"
#include "ngx_coco_body.h"
#include "coco_fleet_index.h"
#include "coco_json_write.h"
#include "coco_trip.h"

/* A place, {"latitude","longitude"}; a time, ms since the epoch. */
extern const ngx_coco_body_member_t  ngx_coco_trip_place[];
const char *ngx_coco_trip_time(const coco_json_value_t *value);

/* Of a checked object {"latitude","longitude"}. */
void ngx_coco_trip_place_read(const coco_json_value_t *value,
    coco_place_t *ret);

/* The argument serial; leaves *ret alone when it is absent. NGX_OK, or
 * NGX_ERROR with err as ngx_coco_arg_time() leaves it. */
ngx_int_t ngx_coco_trip_arg_serial(ngx_http_request_t *r, ngx_str_t *ret,
    coco_error_t *err);

/* Robots read one by one, each as nobody wrote it meanwhile. */
typedef struct {
    const coco_fleet_index_t  *index;
    uint32_t                   next;
    uint32_t                   last;      /* behind the last one */
    uint32_t                   kept;

    /* Copies a robot to place `kept`; false: it is not wanted. May be told
     * nonsense, and then is called again. */
    bool                     (*read)(void *data,
                                     const coco_fleet_index_t *index,
                                     uint32_t robot, uint32_t kept);
    void                      *data;
} ngx_coco_trip_walk_t;

/* Of `robots` at most: NGX_OK: that was the last. NGX_AGAIN: there are more,
 * or somebody is writing; give way, and call again. */
ngx_int_t ngx_coco_trip_walk(ngx_coco_trip_walk_t *walk, ngx_uint_t robots);

/* "reasons":["OFFLINE",…] */
void ngx_coco_trip_reasons_encode(coco_json_out_t *out,
    coco_reasons_t reasons);

/* 503 with Retry-After. */
ngx_int_t ngx_coco_trip_busy(ngx_http_request_t *r, const char *detail);

#endif /* NGX_COCO_DISPATCH_TRIP_H */
