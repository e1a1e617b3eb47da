/*
 * The Redis client: one connection per process, commands of all requests
 * pipelined on it. Never blocks, and calls no handler from within
 * ngx_coco_redis_send().
 */

#include "ngx_coco_redis_conn.h"
#include "ngx_coco_base.h"

#define NGX_COCO_REDIS_PORT  6379


struct ngx_coco_redis_op_s {
    ngx_coco_op_t              op;
    ngx_coco_redis_handler_pt  handler;
    void                      *data;
};

struct ngx_coco_redis_s {
    ngx_coco_redis_server_t    server;  /* configuration */

    /* of this process */
    ngx_coco_redis_conn_t      conn;
    ngx_coco_ops_t             ops;
    ngx_queue_t                line;    /* operations in the order of their
                                           commands, thus of the replies */
    ngx_pool_t                *pool;
};


static char *ngx_coco_redis_option(ngx_conf_t *cf, ngx_coco_redis_t *redis,
    ngx_str_t *value);
static void ngx_coco_redis_answer(ngx_coco_redis_op_t *op,
    ngx_coco_outcome_e outcome, redisReply *reply);
static void ngx_coco_redis_call(ngx_coco_op_t *op,
    ngx_coco_outcome_e outcome);
static ngx_int_t ngx_coco_redis_reply(void *data, redisReply *reply);
static void ngx_coco_redis_idle(void *data);
static void ngx_coco_redis_lost(void *data);


static const ngx_coco_redis_owner_t  ngx_coco_redis_owner = {
    "redis", NGX_LOG_ERR, NGX_ERROR_ERR, 0,
    ngx_coco_redis_reply, ngx_coco_redis_idle, ngx_coco_redis_lost
};


ngx_coco_redis_op_t *
ngx_coco_redis_send(ngx_coco_redis_t *redis, ngx_uint_t argc,
    const ngx_str_t *argv, ngx_msec_t timeout,
    ngx_coco_redis_handler_pt handler, void *data)
{
    ngx_int_t               rc;
    ngx_coco_redis_op_t    *op;
    ngx_coco_redis_conn_t  *conn;

    conn = &redis->conn;

    if (conn->state == NGX_COCO_REDIS_CLOSED && conn->attempts == 0) {
        ngx_coco_redis_conn_open(conn);
    }

    op = ngx_coco_op_create(&redis->ops, &redis->line, timeout);
    if (op == NULL) {
        return NULL;
    }

    op->handler = handler;
    op->data = data;

    if (conn->state != NGX_COCO_REDIS_READY && conn->attempts) {
        ngx_coco_op_end(&op->op, NGX_COCO_DOWN);
        return op;
    }

    rc = ngx_coco_redis_conn_send(conn, argc, argv);

    if (rc == NGX_BUSY) {
        ngx_coco_op_end(&op->op, NGX_COCO_FULL);
        return op;
    }

    if (rc != NGX_OK) {
        ngx_coco_op_orphan(&op->op);
        return NULL;
    }

    op->op.sent = 1;

    return op;
}


void
ngx_coco_redis_cancel(ngx_coco_redis_op_t *op)
{
    ngx_coco_op_orphan(&op->op);
}


const char *
ngx_coco_redis_reason(ngx_coco_redis_t *redis)
{
    return (redis->conn.state == NGX_COCO_REDIS_READY)
           ? "" : redis->conn.reason;
}


const ngx_coco_redis_server_t *
ngx_coco_redis_server(ngx_coco_redis_t *redis)
{
    return &redis->server;
}


ngx_coco_redis_t *
ngx_coco_redis_create(ngx_conf_t *cf)
{
    ngx_url_t          u;
    ngx_str_t         *value;
    ngx_uint_t         i;
    ngx_coco_redis_t  *redis;

    redis = ngx_pcalloc(cf->pool, sizeof(*redis));
    if (redis == NULL) {
        return NULL;
    }

    value = cf->args->elts;

    ngx_memzero(&u, sizeof(u));
    u.url = value[1];
    u.default_port = NGX_COCO_REDIS_PORT;
    u.no_resolve = 1;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK || u.uri.len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"coco_redis\": invalid address \"%V\"%s%s",
                           &u.url, u.err ? ": " : "", u.err ? u.err : "");
        return NULL;
    }

    if (u.naddrs == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"coco_redis\": \"%V\" is a name, and looking it "
                           "up would block; give an address or unix:/path",
                           &u.host);
        return NULL;
    }

    redis->server.addr = u.addrs[0];

    for (i = 2; i < cf->args->nelts; i++) {
        if (ngx_coco_redis_option(cf, redis, &value[i]) != NGX_CONF_OK) {
            return NULL;
        }
    }

    return redis;
}


static char *
ngx_coco_redis_option(ngx_conf_t *cf, ngx_coco_redis_t *redis,
    ngx_str_t *value)
{
    ngx_str_t  file;

    if (ngx_strncmp(value->data, "db=", 3) == 0) {
        redis->server.db = ngx_atoi(value->data + 3, value->len - 3);

        if (redis->server.db != NGX_ERROR) {
            return NGX_CONF_OK;
        }

    } else if (ngx_strncmp(value->data, "password_file=", 14) == 0) {
        file.data = value->data + 14;
        file.len = value->len - 14;

        return ngx_coco_secret_read(cf, &file, &redis->server.password);
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"coco_redis\": invalid parameter \"%V\"", value);
    return NGX_CONF_ERROR;
}


ngx_int_t
ngx_coco_redis_init_process(ngx_coco_redis_t *redis, ngx_cycle_t *cycle)
{
    ngx_coco_redis_conn_t  *conn;

    static ngx_str_t  ping = ngx_string("PING");

    conn = &redis->conn;
    conn->owner = &ngx_coco_redis_owner;
    conn->data = redis;
    conn->server = &redis->server;

    redis->pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, cycle->log);
    if (redis->pool == NULL) {
        return NGX_ERROR;
    }

    ngx_coco_ops_init(&redis->ops, redis->pool, &conn->log,
                      sizeof(ngx_coco_redis_op_t), ngx_coco_redis_call);
    ngx_queue_init(&redis->line);

    return ngx_coco_redis_conn_init(conn, redis->pool, cycle, 1, &ping);
}


void
ngx_coco_redis_exit_process(ngx_coco_redis_t *redis)
{
    if (redis->pool == NULL) {
        return;
    }

    ngx_coco_redis_conn_done(&redis->conn);
    ngx_coco_ops_done(&redis->ops);

    ngx_destroy_pool(redis->pool);
    redis->pool = NULL;
}


static void
ngx_coco_redis_answer(ngx_coco_redis_op_t *op, ngx_coco_outcome_e outcome,
    redisReply *reply)
{
    void                       *data;
    ngx_coco_redis_handler_pt   handler;

    data = op->data;
    handler = op->op.live ? op->handler : NULL;

    ngx_coco_op_orphan(&op->op);

    if (handler) {
        handler(data, outcome, reply);
    }
}


static void
ngx_coco_redis_call(ngx_coco_op_t *op, ngx_coco_outcome_e outcome)
{
    ngx_coco_redis_answer((ngx_coco_redis_op_t *) op, outcome, NULL);
}


static ngx_int_t
ngx_coco_redis_reply(void *data, redisReply *reply)
{
    ngx_coco_redis_t *redis = data;

    ngx_coco_redis_op_t  *op;

    if (ngx_queue_empty(&redis->line)) {
        return NGX_ERROR;
    }

    op = ngx_queue_data(ngx_queue_head(&redis->line), ngx_coco_redis_op_t,
                        op.link);
    op->op.sent = 0;

    ngx_coco_redis_answer(op, NGX_COCO_DONE, reply);

    return NGX_OK;
}


static void
ngx_coco_redis_idle(void *data)
{
    ngx_coco_redis_t *redis = data;

    ngx_coco_redis_op_t  *op;

    op = ngx_coco_op_create_orphan(&redis->ops, &redis->line);

    if (op == NULL) {
        return;
    }

    if (ngx_coco_redis_conn_ping(&redis->conn) != NGX_OK) {
        ngx_coco_op_orphan(&op->op);
        return;
    }

    op->op.sent = 1;
}


static void
ngx_coco_redis_lost(void *data)
{
    ngx_coco_redis_t *redis = data;

    ngx_queue_t  *q;

    while (!ngx_queue_empty(&redis->line)) {
        q = ngx_queue_head(&redis->line);
        ngx_coco_op_end(ngx_queue_data(q, ngx_coco_op_t, link),
                        NGX_COCO_DOWN);
    }
}
