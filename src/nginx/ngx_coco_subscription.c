/*
 * A subscription to one channel of Redis. Must never be sent a command but
 * what subscribes and what asks whether the server lives.
 */

#include "ngx_coco_subscription.h"
#include "ngx_coco_redis_conn.h"


struct ngx_coco_subscription_s {
    ngx_coco_redis_conn_t             conn;
    ngx_coco_subscription_handler_pt  handler;
    void                             *data;
};


static ngx_int_t ngx_coco_subscription_reply(void *data, redisReply *reply);
static void ngx_coco_subscription_idle(void *data);


/* The Redis client of the same server complains of what both suffer; here it
 * is told once, and as a notice. Requests may wait in a worker that leaves. */

static const ngx_coco_redis_owner_t  ngx_coco_subscription_owner = {
    "redis subscription", NGX_LOG_NOTICE, NGX_ERROR_INFO, 1,
    ngx_coco_subscription_reply, ngx_coco_subscription_idle, NULL
};


ngx_coco_subscription_t *
ngx_coco_subscription_open(ngx_pool_t *pool, ngx_coco_redis_t *redis,
    const ngx_str_t *channel, ngx_coco_subscription_handler_pt handler,
    void *data, ngx_cycle_t *cycle)
{
    ngx_str_t                 subscribe[2];
    ngx_coco_subscription_t  *sub;

    sub = ngx_pcalloc(pool, sizeof(*sub));
    if (sub == NULL) {
        return NULL;
    }

    sub->handler = handler;
    sub->data = data;

    sub->conn.owner = &ngx_coco_subscription_owner;
    sub->conn.data = sub;
    sub->conn.server = ngx_coco_redis_server(redis);

    ngx_str_set(&subscribe[0], "SUBSCRIBE");
    subscribe[1] = *channel;

    if (ngx_coco_redis_conn_init(&sub->conn, pool, cycle, 2, subscribe)
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


/* ["message", channel, text], or ["pong", ""]. */

static ngx_int_t
ngx_coco_subscription_reply(void *data, redisReply *reply)
{
    ngx_coco_subscription_t *sub = data;

    const redisReply  *kind, *text;

    if (reply->type == REDIS_REPLY_ERROR) {
        return NGX_ERROR;
    }

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 3) {
        return NGX_OK;
    }

    kind = reply->element[0];
    text = reply->element[2];

    if (kind->type == REDIS_REPLY_STRING
        && ngx_strcmp(kind->str, "message") == 0
        && text->type == REDIS_REPLY_STRING)
    {
        sub->handler(sub->data, (coco_str_t) { text->str, text->len });
    }

    return NGX_OK;
}


static void
ngx_coco_subscription_idle(void *data)
{
    ngx_coco_subscription_t *sub = data;

    (void) ngx_coco_redis_conn_ping(&sub->conn);
}
