/*
 * GET /robots/{serial}: the document in the zone, or put together from the
 * nearest copies, and kept. Must never keep what is partial.
 */

#include "ngx_coco_ops_read.h"
#include "ngx_coco_base.h"
#include "ngx_coco_ops_robot.h"
#include "ngx_coco_query.h"
#include "ngx_coco_reply.h"
#include "ngx_coco_waiter.h"


#define NGX_COCO_ROBOT_SIZE  1536


/* GET /robots/{serial} under way. */
typedef struct {
    ngx_http_request_t    *request;
    ngx_coco_waiter_t     *waiter;
    ngx_coco_robot_t       robot;
    ngx_coco_robot_view_t  view;          /* once it is replied */

    ngx_str_t              serial;
    ngx_coco_outcome_e     postgres;
    ngx_coco_outcome_e     redis;
    ngx_uint_t             known;         /* Postgres has a row of it */

    ngx_coco_ticket_t      ticket;        /* where there is a zone */
    ngx_coco_flight_t     *flight;        /* NULL: nobody may wait for it */
    ngx_str_t              document;      /* another request's */
} ngx_coco_ops_read_t;


static ngx_int_t ngx_coco_ops_read_document(ngx_coco_ops_read_t *read);
static void ngx_coco_ops_read_shared(void *data, const ngx_str_t *document);
static void ngx_coco_ops_read_waited(ngx_http_request_t *r, void *data);
static ngx_int_t ngx_coco_ops_read_send(ngx_coco_ops_read_t *read);
static void ngx_coco_ops_read_operation(void *data,
    ngx_coco_outcome_e outcome, PGresult *result);
static void ngx_coco_ops_read_redis(void *data, ngx_coco_outcome_e outcome,
    redisReply *reply);
static void ngx_coco_ops_read_first(ngx_http_request_t *r, void *data);
static void ngx_coco_ops_read_record(void *data, ngx_coco_outcome_e outcome,
    PGresult *result);
static void ngx_coco_ops_read_done(ngx_http_request_t *r, void *data);
static ngx_int_t ngx_coco_ops_read_reply(ngx_coco_ops_read_t *read);
static void ngx_coco_ops_read_encode(coco_json_out_t *out, void *data);
static void ngx_coco_ops_read_keep(ngx_coco_ops_read_t *read,
    const ngx_str_t *document);
static ngx_uint_t ngx_coco_ops_read_rows(ngx_http_request_t *r,
    ngx_coco_outcome_e outcome, const PGresult *result);
static void ngx_coco_ops_fill(ngx_coco_ops_read_t *read);


static ngx_str_t  ngx_coco_ops_hit = ngx_string("HIT");
static ngx_str_t  ngx_coco_ops_miss = ngx_string("MISS");


/* One row, also of a robot that is not known. */
static ngx_coco_pg_statement_t  ngx_coco_ops_operation = {
    ngx_string("coco_robot_operation"),
    "select " NGX_COCO_ROBOT_OPERATION ", " NGX_COCO_ROBOT_DRIVEU
    "     , " NGX_COCO_ROBOT_DELIVERY
    "  from coco.driveu($1::text) d"
    "  left join coco.robot_operation o on o.serial = $1::text"
    NGX_COCO_ROBOT_DELIVERY_JOIN("$1::text"),
    1, NGX_COCO_PG_POINT, 0
};


static ngx_coco_pg_statement_t  ngx_coco_ops_record = {
    ngx_string("coco_robot_record"),
    "select " NGX_COCO_RECORD
    "  from coco.robot_state s where s.serial = $1::text",
    1, NGX_COCO_PG_POINT, 0
};


ngx_int_t
ngx_coco_ops_read_init(ngx_conf_t *cf)
{
    return ngx_coco_pg_statement_add(cf, &ngx_coco_ops_operation) == NGX_OK
           && ngx_coco_pg_statement_add(cf, &ngx_coco_ops_record) == NGX_OK
           ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_coco_ops_read_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    ngx_int_t              rc;
    ngx_str_t              document;
    ngx_coco_ops_read_t   *read;
    ngx_coco_base_conf_t  *conf;

    conf = ngx_coco_base_conf(r);

    if (conf->zone
        && ngx_coco_zone_document(conf->zone, NGX_COCO_DOCUMENT_ROBOT,
                                  &call->path[0], r->pool, &document)
           == NGX_OK)
    {
        return ngx_coco_reply_header(r, "X-Coco-Cache", &ngx_coco_ops_hit)
               == NGX_OK ? ngx_coco_reply_json(r, NGX_HTTP_OK, &document)
                         : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    read = ngx_pcalloc(r->pool, sizeof(ngx_coco_ops_read_t));

    if (read == NULL
        || ngx_coco_reply_header(r, "X-Coco-Cache", &ngx_coco_ops_miss)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    read->request = r;
    read->serial = call->path[0];
    ngx_coco_robot_init(&read->robot, ngx_coco_str(call->path[0]));
    read->postgres = NGX_COCO_DOWN;
    read->redis = NGX_COCO_DOWN;

    if (conf->pg == NULL && conf->redis == NULL) {
        return ngx_coco_reply_unavailable(r, "Postgres", NGX_COCO_DOWN);
    }

    read->waiter = ngx_coco_waiter_create(r, ngx_coco_ops_read_first, read);
    if (read->waiter == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = conf->zone ? ngx_coco_ops_read_document(read) : NGX_DECLINED;

    if (rc == NGX_DECLINED) {
        rc = ngx_coco_ops_read_send(read);
    }

    return rc == NGX_OK ? ngx_coco_waiter_wait(read->waiter)
                        : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


/* NGX_DECLINED: this request asks the backends, maybe for others, too. What
 * is not fresh cannot be told from what has changed: then each asks. */

static ngx_int_t
ngx_coco_ops_read_document(ngx_coco_ops_read_t *read)
{
    ngx_int_t         rc;
    ngx_coco_zone_t  *zone;

    zone = ngx_coco_base_conf(read->request)->zone;
    read->ticket = ngx_coco_zone_ticket(zone, &read->serial);

    if (!ngx_coco_zone_fresh(zone)) {
        return NGX_DECLINED;
    }

    rc = ngx_coco_waiter_flight(read->waiter, NGX_COCO_DOCUMENT_ROBOT,
                                &read->serial, ngx_coco_ops_read_shared);

    if (rc == NGX_OK) {
        ngx_coco_waiter_done_set(read->waiter, ngx_coco_ops_read_waited);
        return NGX_OK;
    }

    if (rc == NGX_DECLINED) {
        read->flight = ngx_coco_flight_begin(read->request,
                                             NGX_COCO_DOCUMENT_ROBOT,
                                             &read->serial, &read->ticket);
        rc = read->flight ? NGX_DECLINED : NGX_ERROR;
    }

    return rc;
}


static void
ngx_coco_ops_read_shared(void *data, const ngx_str_t *document)
{
    ngx_coco_ops_read_t  *read = data;

    if (document) {
        read->document.data = ngx_pstrdup(read->request->pool,
                                          (ngx_str_t *) document);
        read->document.len = document->len;
    }
}


static void
ngx_coco_ops_read_waited(ngx_http_request_t *r, void *data)
{
    ngx_coco_ops_read_t  *read = data;

    if (read->document.data) {
        ngx_coco_waiter_finalize(read->waiter,
                                 ngx_coco_reply_json(r, NGX_HTTP_OK,
                                                     &read->document));
        return;
    }

    /* what the other one found is no document: not again for others */

    read->ticket = ngx_coco_zone_ticket(ngx_coco_base_conf(r)->zone,
                                        &read->serial);
    ngx_coco_waiter_done_set(read->waiter, ngx_coco_ops_read_first);

    if (ngx_coco_ops_read_send(read) != NGX_OK) {
        ngx_coco_waiter_finalize(read->waiter,
                                 NGX_HTTP_INTERNAL_SERVER_ERROR);
    }
}


/* The business state and the copies are asked for at the same time. */

static ngx_int_t
ngx_coco_ops_read_send(ngx_coco_ops_read_t *read)
{
    ngx_str_t              argv[3];
    ngx_pool_t            *pool;
    ngx_coco_base_conf_t  *conf;

    pool = read->request->pool;
    conf = ngx_coco_base_conf(read->request);

    if (conf->pg
        && ngx_coco_waiter_pg(read->waiter, &ngx_coco_ops_operation,
                              &read->serial, ngx_coco_ops_read_operation)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (conf->redis == NULL) {
        return NGX_OK;
    }

    ngx_str_set(&argv[0], "MGET");

    if (ngx_coco_record_key(pool, NGX_COCO_CACHE_KEY, read->robot.serial,
                            &argv[1])
        != NGX_OK
        || ngx_coco_record_key(pool, NGX_COCO_EPHEMERAL_KEY,
                               read->robot.serial, &argv[2])
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_coco_waiter_redis(read->waiter, 3, argv,
                                 ngx_coco_ops_read_redis);
}


static void
ngx_coco_ops_read_operation(void *data, ngx_coco_outcome_e outcome,
    PGresult *result)
{
    ngx_coco_ops_read_t  *read = data;

    read->postgres = outcome;

    if (!ngx_coco_ops_read_rows(read->request, outcome, result)) {
        read->postgres = outcome == NGX_COCO_DONE ? NGX_COCO_DOWN : outcome;
        return;
    }

    read->robot.has_business = true;

    read->known = ngx_coco_robot_operation_read(&read->robot, result, 0, 0,
                                                read->request->pool)
                  == NGX_OK;

    if (ngx_coco_robot_driveu_read(&read->robot, result, 0,
                                   NGX_COCO_ROBOT_OPERATION_COLUMNS,
                                   read->request->pool)
        != NGX_OK
        || ngx_coco_robot_delivery_read(&read->robot, result, 0,
                                        NGX_COCO_ROBOT_OPERATION_COLUMNS
                                        + NGX_COCO_ROBOT_DRIVEU_COLUMNS,
                                        read->request->pool)
           == NGX_ERROR)
    {
        read->postgres = NGX_COCO_DOWN;
    }
}


static void
ngx_coco_ops_read_redis(void *data, ngx_coco_outcome_e outcome,
    redisReply *reply)
{
    ngx_coco_ops_read_t  *read = data;

    size_t        i;
    u_char       *p;
    coco_str_t    text;
    redisReply   *element;

    read->redis = outcome;

    if (outcome != NGX_COCO_DONE) {
        return;
    }

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
        ngx_log_error(NGX_LOG_ERR, read->request->connection->log, 0,
                      "coco: redis refused MGET: %s",
                      reply->type == REDIS_REPLY_ERROR ? reply->str : "-");
        read->redis = NGX_COCO_DOWN;
        return;
    }

    for (i = 0; i < 2; i++) {
        element = reply->element[i];

        if (element->type != REDIS_REPLY_STRING) {
            continue;
        }

        p = ngx_pnalloc(read->request->pool, element->len);
        if (p == NULL) {
            return;
        }

        ngx_memcpy(p, element->str, element->len);
        text = (coco_str_t) { (char *) p, element->len };

        if ((i == 0 ? ngx_coco_robot_cache_read(&read->robot, text)
                    : ngx_coco_robot_ephemeral_read(&read->robot, text))
            != NGX_OK)
        {
            ngx_log_error(NGX_LOG_WARN, read->request->connection->log, 0,
                          "coco: a copy of robot \"%V\" in redis is not of "
                          "its form", &read->serial);
        }
    }
}


/* What the copies did not have is read from the state service's record; so
 * is whether a robot without a business state exists at all. */

static void
ngx_coco_ops_read_first(ngx_http_request_t *r, void *data)
{
    ngx_coco_ops_read_t  *read = data;

    if (read->postgres == NGX_COCO_DONE
        && (!read->known || read->robot.telemetry_source.data == NULL
            || read->robot.ephemeral_source.data == NULL))
    {
        ngx_coco_waiter_done_set(read->waiter, ngx_coco_ops_read_done);

        if (ngx_coco_waiter_pg(read->waiter, &ngx_coco_ops_record,
                               &read->serial, ngx_coco_ops_read_record)
            != NGX_OK)
        {
            ngx_coco_waiter_finalize(read->waiter,
                                     NGX_HTTP_INTERNAL_SERVER_ERROR);
        }

        return;
    }

    ngx_coco_ops_read_done(r, data);
}


static void
ngx_coco_ops_read_record(void *data, ngx_coco_outcome_e outcome,
    PGresult *result)
{
    ngx_coco_ops_read_t  *read = data;

    coco_heartbeat_t   hb;
    coco_str_t         cached;
    ngx_coco_robot_t  *robot;

    if (!ngx_coco_ops_read_rows(read->request, outcome, result)) {
        read->postgres = outcome == NGX_COCO_DONE ? NGX_COCO_DOWN : outcome;
        return;
    }

    if (PQntuples(result) == 0) {
        return;
    }

    read->known = 1;

    robot = &read->robot;
    hb = robot->hb;
    cached = robot->telemetry_source;

    if (ngx_coco_robot_record_read(robot, result, 0, 0, read->request->pool)
        == NGX_OK
        && read->redis == NGX_COCO_DONE)
    {
        ngx_coco_ops_fill(read);
    }

    if (cached.data) {
        robot->hb = hb;
        robot->telemetry_source = cached;
    }
}


static void
ngx_coco_ops_read_done(ngx_http_request_t *r, void *data)
{
    ngx_coco_ops_read_t  *read = data;

    ngx_coco_waiter_finalize(read->waiter, ngx_coco_ops_read_reply(read));
}


static ngx_int_t
ngx_coco_ops_read_reply(ngx_coco_ops_read_t *read)
{
    ngx_http_request_t  *r = read->request;
    ngx_coco_robot_t    *robot = &read->robot;

    ngx_str_t  document;

    if (read->postgres == NGX_COCO_DONE && !read->known) {
        return ngx_coco_reply_problem(r, NGX_HTTP_NOT_FOUND,
                                      "No robot has this serial.");
    }

    /* without Postgres a robot is known by its copies only */

    if (!read->known && robot->telemetry_source.data == NULL) {
        return ngx_coco_reply_unavailable(r, "Postgres", read->postgres);
    }

    if (!robot->has_business) {
        robot->operation_state = robot->hb.state;
    }

    robot->partial = read->postgres != NGX_COCO_DONE
                     || read->redis != NGX_COCO_DONE;

    read->view.conf = ngx_coco_base_conf(r);
    read->view.now = ngx_coco_now_ms();

    if (ngx_coco_reply_fill(r, NGX_COCO_ROBOT_SIZE, ngx_coco_ops_read_encode,
                            read, &document)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (read->view.conf->zone && !robot->partial) {
        ngx_coco_ops_read_keep(read, &document);
    }

    return ngx_coco_reply_json(r, NGX_HTTP_OK, &document);
}


static void
ngx_coco_ops_read_encode(coco_json_out_t *out, void *data)
{
    ngx_coco_ops_read_t  *read = data;

    ngx_coco_robot_encode(out, &read->robot, &read->view);
}


static void
ngx_coco_ops_read_keep(ngx_coco_ops_read_t *read, const ngx_str_t *document)
{
    ngx_coco_zone_document_put(read->view.conf->zone, NGX_COCO_DOCUMENT_ROBOT,
                               &read->serial, &read->ticket, document,
                               ngx_coco_robot_valid_until(&read->robot,
                                                          &read->view));
    if (read->flight) {
        ngx_coco_flight_end(read->flight, document);
    }
}


static ngx_uint_t
ngx_coco_ops_read_rows(ngx_http_request_t *r, ngx_coco_outcome_e outcome,
    const PGresult *result)
{
    if (outcome != NGX_COCO_DONE) {
        return 0;
    }

    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "coco: postgres refused a statement: %s",
                      PQresultErrorMessage(result));
        return 0;
    }

    return 1;
}


/* Both copies, as the worker would have written them. */

static void
ngx_coco_ops_fill(ngx_coco_ops_read_t *read)
{
    ngx_str_t            copy;
    coco_json_out_t      out;
    ngx_pool_t          *pool;
    ngx_http_request_t  *r;
    coco_heartbeat_t    *hb;

    r = read->request;
    pool = r->pool;
    hb = &read->robot.hb;

    if (ngx_coco_record_state(pool, hb, read->robot.operation_state, &copy)
        == NGX_OK)
    {
        ngx_coco_record_put(r, NGX_COCO_CACHE_KEY, hb, &copy);
    }

    copy.len = hb->components.len + read->robot.driveu.len + 512;
    copy.data = ngx_pnalloc(pool, copy.len);
    if (copy.data == NULL) {
        return;
    }

    coco_json_out_init(&out, (char *) copy.data, copy.len);
    coco_ephemeral_encode(&out, hb, read->robot.remotely_controllable,
                          read->robot.driveu);
    copy.len = out.len;

    if (coco_json_out_ok(&out)) {
        ngx_coco_record_put(r, NGX_COCO_EPHEMERAL_KEY, hb, &copy);
    }
}
