/*
 * The workers that a feed has heard of, and when. A worker that says nothing
 * may have something to say that it cannot: while one is silent, nobody knows
 * whether the zone is fresh.
 */

#ifndef NGX_COCO_FEED_WORKERS_H
#define NGX_COCO_FEED_WORKERS_H

#include "ngx_coco.h"

#define NGX_COCO_WORKER_NAME_MAX  96    /* bytes */
#define NGX_COCO_WORKERS_MAX      64

typedef struct {
    int64_t     heard;                  /* ms, ngx_coco_clock() */
    size_t      len;
    u_char      name[NGX_COCO_WORKER_NAME_MAX];
} ngx_coco_feed_worker_t;

typedef struct {
    ngx_uint_t              count;
    ngx_coco_feed_worker_t  workers[NGX_COCO_WORKERS_MAX];
} ngx_coco_feed_workers_t;

/* Without `beat` it has told something, which does not say that it has nothing
 * else to tell: another of its connections may hang. NGX_ERROR: it is no name,
 * or there are too many to know them all. */
ngx_int_t ngx_coco_feed_workers_hear(ngx_coco_feed_workers_t *workers,
    coco_str_t name, int64_t at, ngx_uint_t beat);

/* It is going away, and owes nothing. */
void ngx_coco_feed_workers_bye(ngx_coco_feed_workers_t *workers,
    coco_str_t name);

/* Those that have been silent since `at` will not come back. Returns how many
 * there were. */
ngx_uint_t ngx_coco_feed_workers_forget(ngx_coco_feed_workers_t *workers,
    int64_t at);

/* The one that has been silent for longest; NULL: none is known. */
const ngx_coco_feed_worker_t *ngx_coco_feed_workers_silent(
    const ngx_coco_feed_workers_t *workers);

#endif /* NGX_COCO_FEED_WORKERS_H */
