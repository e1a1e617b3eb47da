/*
 * A subscription: a connection of its own to the Redis of coco_redis, on
 * which one channel is listened to. What is published while there is no
 * connection is lost, so a message is a hint, never the truth.
 */

#ifndef NGX_COCO_SUBSCRIPTION_H
#define NGX_COCO_SUBSCRIPTION_H

#include "ngx_coco.h"
#include "ngx_coco_redis.h"

typedef struct ngx_coco_subscription_s  ngx_coco_subscription_t;

/* Called for each message; it lives until the handler returns. */
typedef void (*ngx_coco_subscription_handler_pt)(void *data,
    coco_str_t message);

/* In a process that serves requests: starts to connect, and does so again
 * whenever the connection is lost, until the process exits. The channel's
 * name is copied; the subscription is in `pool`. NULL: memory is out. */
ngx_coco_subscription_t *ngx_coco_subscription_open(ngx_pool_t *pool,
    ngx_coco_redis_t *redis, const ngx_str_t *channel,
    ngx_coco_subscription_handler_pt handler, void *data, ngx_cycle_t *cycle);
void ngx_coco_subscription_close(ngx_coco_subscription_t *sub);

/* Whether what is published from now on is likely to be heard: subscribed, or
 * about to be for the first time since the start or a loss. */
ngx_uint_t ngx_coco_subscription_up(ngx_coco_subscription_t *sub);

#endif /* NGX_COCO_SUBSCRIPTION_H */
