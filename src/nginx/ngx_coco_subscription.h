/*
 * A subscription: a connection of its own to the Redis of coco_redis, on
 * which channels are listened to. What is published while there is no
 * connection is lost; what is, in all channels, comes in the order in which
 * it was published.
 */

#ifndef NGX_COCO_SUBSCRIPTION_H
#define NGX_COCO_SUBSCRIPTION_H

#include "ngx_coco.h"
#include "ngx_coco_redis.h"

typedef struct ngx_coco_subscription_s  ngx_coco_subscription_t;

/* Who listens. Arguments live until the handler returns, which must not close
 * the subscription. */
typedef struct {
    void  (*message)(void *data, coco_str_t channel, coco_str_t message);

    /* What was published before ngx_coco_subscription_ping() has come, and
     * all channels are listened to. NULL: it never asks. */
    void  (*pong)(void *data);

    /* There is no connection any more; a new one is being made. NULL: nobody
     * cares. */
    void  (*lost)(void *data);
} ngx_coco_subscriber_t;

/* In a process that serves requests: starts to connect, and does so again
 * whenever the connection is lost, until it is closed. The channels' names
 * are copied; the subscription is in `pool`. NULL: memory is out. */
ngx_coco_subscription_t *ngx_coco_subscription_open(ngx_pool_t *pool,
    ngx_coco_redis_t *redis, ngx_uint_t nchannels, const ngx_str_t *channels,
    const ngx_coco_subscriber_t *subscriber, void *data, ngx_cycle_t *cycle);
void ngx_coco_subscription_close(ngx_coco_subscription_t *sub);

/* Whether what is published from now on is likely to be heard: subscribed, or
 * about to be for the first time since the start or a loss. */
ngx_uint_t ngx_coco_subscription_up(ngx_coco_subscription_t *sub);

/* Asks whether the server still talks to us. NGX_DECLINED: it does not listen
 * yet. */
ngx_int_t ngx_coco_subscription_ping(ngx_coco_subscription_t *sub);

/* Connects anew: the server is silent (which `lost` then says, too), or the
 * next attempt is too far off. */
void ngx_coco_subscription_renew(ngx_coco_subscription_t *sub);

#endif /* NGX_COCO_SUBSCRIPTION_H */
