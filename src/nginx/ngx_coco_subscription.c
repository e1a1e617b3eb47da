/*
 * A subscription to channels of Redis. Must never be sent a command but what
 * subscribes and what asks whether the server lives.
 */

#include "ngx_coco_subscription.h"
#include "ngx_coco_redis_conn.h"

#define NGX_COCO_CHANNELS_MAX  4


struct ngx_coco_subscription_s {
    ngx_coco_redis_conn_t         conn;
    const ngx_coco_subscriber_t  *subscriber;
    void                         *data;
};


static ngx_int_t ngx_coco_subscription_reply(void *data, redisReply *reply);
static void ngx_coco_subscription_idle(void *data);
static void ngx_coco_subscription_lost(void *data);


/* The Redis client of the same server complains of what both suffer; here it
 * is told once, and as a notice. Requests may wait in a worker that leaves. */

static const ngx_coco_redis_owner_t  ngx_coco_subscription_owner = {
    "redis subscription", NGX_LOG_NOTICE, NGX_ERROR_INFO, 1,
    ngx_coco_subscription_reply, ngx_coco_subscription_idle,
    ngx_coco_subscription_lost
};


ngx_coco_subscription_t *
ngx_coco_subscription_open(ngx_pool_t *pool, ngx_coco_redis_t *redis,
    ngx_uint_t nchannels, const ngx_str_t *channels,
    const ngx_coco_subscriber_t *subscriber, void *data, ngx_cycle_t *cycle)
{
    ngx_str_t                 subscribe[1 + NGX_COCO_CHANNELS_MAX];
    ngx_uint_t                i;
    ngx_coco_subscription_t  *sub;

    sub = ngx_pcalloc(pool, sizeof(*sub));
    if (sub == NULL) {
        return NULL;
    }

    sub->subscriber = subscriber;
    sub->data = data;

    sub->conn.owner = &ngx_coco_subscription_owner;
    sub->conn.data = sub;
    sub->conn.server = ngx_coco_redis_server(redis);

    ngx_str_set(&subscribe[0], "SUBSCRIBE");

    for (i = 0; i < nchannels && i < NGX_COCO_CHANNELS_MAX; i++) {
        subscribe[1 + i] = channels[i];
    }

    if (ngx_coco_redis_conn_init(&sub->conn, pool, cycle, 1 + i, subscribe)
        != NGX_OK)
    {
        return NULL;
    }

    return sub;
}


void
ngx_coco_subscription_close(ngx_coco_subscription_t *sub)
{
    ngx_coco_redis_conn_done(&sub->conn);
}


ngx_uint_t
ngx_coco_subscription_up(ngx_coco_subscription_t *sub)
{
    return sub->conn.state == NGX_COCO_REDIS_READY || sub->conn.attempts == 0;
}


ngx_int_t
ngx_coco_subscription_ping(ngx_coco_subscription_t *sub)
{
    if (sub->conn.state != NGX_COCO_REDIS_READY) {
        return NGX_DECLINED;
    }

    return ngx_coco_redis_conn_ping(&sub->conn);
}


void
ngx_coco_subscription_renew(ngx_coco_subscription_t *sub)
{
    ngx_coco_redis_conn_renew(&sub->conn);
}


/* ["message", channel, text], or ["pong", ""]. */

static ngx_int_t
ngx_coco_subscription_reply(void *data, redisReply *reply)
{
    ngx_coco_subscription_t *sub = data;

    const redisReply  *kind, *channel, *text;

    if (reply->type == REDIS_REPLY_ERROR) {
        return NGX_ERROR;
    }

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 2
        || reply->element[0]->type != REDIS_REPLY_STRING)
    {
        return NGX_OK;
    }

    kind = reply->element[0];

    if (reply->elements == 2 && ngx_strcmp(kind->str, "pong") == 0) {

        if (sub->subscriber->pong) {
            sub->subscriber->pong(sub->data);
        }

        return NGX_OK;
    }

    if (reply->elements != 3 || ngx_strcmp(kind->str, "message") != 0) {
        return NGX_OK;
    }

    channel = reply->element[1];
    text = reply->element[2];

    if (channel->type == REDIS_REPLY_STRING && text->type == REDIS_REPLY_STRING)
    {
        sub->subscriber->message(sub->data,
                                 (coco_str_t) { channel->str, channel->len },
                                 (coco_str_t) { text->str, text->len });
    }

    return NGX_OK;
}


static void
ngx_coco_subscription_idle(void *data)
{
    ngx_coco_subscription_t *sub = data;

    (void) ngx_coco_redis_conn_ping(&sub->conn);
}


static void
ngx_coco_subscription_lost(void *data)
{
    ngx_coco_subscription_t *sub = data;

    if (sub->subscriber->lost) {
        sub->subscriber->lost(sub->data);
    }
}
