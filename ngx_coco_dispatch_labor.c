/*
 * The labor scope: the heartbeat cache as it stands, from the zone or from
 * Redis, and where Redis has no copy, from the state service's record. Must
 * never change a copy that is there, nor show an operation state that is over:
 * it is the zone's, and Postgres' while the zone is not fresh.
 */

#include "ngx_coco_dispatch_labor.h"
#include "ngx_coco_base.h"
#include "ngx_coco_grpc.h"
#include "ngx_coco_message.h"
#include "ngx_coco_record.h"
#include "ngx_coco_reply.h"
#include "ngx_coco_waiter.h"

#include "coco_message.h"
#include "coco/fleet/v1/fleet.pb-c.h"


/* How often the zone's record is read while somebody writes the fleet. */
#define NGX_COCO_LABOR_READS    8


typedef struct {
    ngx_http_request_t   *request;
    ngx_coco_waiter_t    *waiter;
    ngx_coco_document_e   kind;
    ngx_str_t             serial;

    ngx_coco_ticket_t     ticket;
    ngx_coco_flight_t    *flight;     /* NULL: nobody may wait for it */
    int64_t               asked;      /* ms since the epoch */
    ngx_coco_outcome_e    redis;
    ngx_coco_outcome_e    postgres;   /* for the record */
    ngx_str_t             copy;       /* data NULL: there is none */
    ngx_str_t             shared;     /* another request's document */
    int64_t               until;      /* ms since the epoch, of the copy;
                                         0: it is not to be kept */
    ngx_uint_t            known;      /* the operation state is: */
    coco_state_e          state;      /* NONE: the robot has none */
} ngx_coco_labor_t;


static ngx_int_t ngx_coco_labor_join(ngx_coco_labor_t *labor);
static void ngx_coco_labor_joined(void *data, const ngx_str_t *document);
static void ngx_coco_labor_landed(ngx_http_request_t *r, void *data);
static ngx_int_t ngx_coco_labor_ask(ngx_coco_labor_t *labor);
static void ngx_coco_labor_copy(void *data, ngx_coco_outcome_e outcome,
    redisReply *reply);
static void ngx_coco_labor_left(void *data, ngx_coco_outcome_e outcome,
    redisReply *reply);
static ngx_uint_t ngx_coco_labor_refused(ngx_coco_labor_t *labor,
    ngx_coco_outcome_e outcome, const redisReply *reply, int expected,
    const char *command);
static void ngx_coco_labor_done(ngx_http_request_t *r, void *data);
static ngx_int_t ngx_coco_labor_operation_ask(ngx_coco_labor_t *labor);
static void ngx_coco_labor_stated(ngx_http_request_t *r, void *data);
static void ngx_coco_labor_state_read(void *data, ngx_coco_outcome_e outcome,
    PGresult *result);
static ngx_int_t ngx_coco_labor_record_ask(ngx_coco_labor_t *labor);
static void ngx_coco_labor_recorded(ngx_http_request_t *r, void *data);
static void ngx_coco_labor_record_read(void *data, ngx_coco_outcome_e outcome,
    PGresult *result);
static ngx_uint_t ngx_coco_labor_rows(ngx_coco_labor_t *labor,
    ngx_coco_outcome_e outcome, const PGresult *result);
static ngx_int_t ngx_coco_labor_reply(ngx_http_request_t *r,
    ngx_coco_labor_t *labor);
static void ngx_coco_labor_state(ngx_coco_labor_t *labor,
    const ngx_coco_zone_t *zone);
static ngx_int_t ngx_coco_labor_state_set(ngx_pool_t *pool, ngx_str_t *copy,
    coco_state_e state);
static ngx_int_t ngx_coco_labor_frame(ngx_pool_t *pool, const ngx_str_t *copy,
    ngx_str_t *ret);
static ngx_int_t ngx_coco_labor_send(ngx_http_request_t *r,
    ngx_coco_document_e kind, ngx_str_t *document, const char *cache);


static ngx_coco_pg_statement_t  ngx_coco_labor_operation = {
    ngx_string("coco_labor_operation"),
    "select o.operation_state from coco.robot_operation o"
    " where o.serial = $1::text",
    1, NGX_COCO_PG_POINT, 0
};


static ngx_coco_pg_statement_t  ngx_coco_labor_record = {
    ngx_string("coco_labor_record"),
    "select " NGX_COCO_RECORD ", o.operation_state"
    "  from coco.robot_state s"
    "  left join coco.robot_operation o on o.serial = s.serial"
    " where s.serial = $1::text",
    1, NGX_COCO_PG_POINT, 0
};


ngx_int_t
ngx_coco_labor_init(ngx_conf_t *cf)
{
    return ngx_coco_pg_statement_add(cf, &ngx_coco_labor_operation) == NGX_OK
           && ngx_coco_pg_statement_add(cf, &ngx_coco_labor_record) == NGX_OK
           ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_coco_labor_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    return ngx_coco_labor(r, &call->path[0]);
}


ngx_int_t
ngx_coco_labor(ngx_http_request_t *r, ngx_str_t *serial)
{
    ngx_int_t              rc;
    ngx_str_t              document;
    ngx_coco_labor_t      *labor;
    ngx_coco_document_e    kind;
    ngx_coco_base_conf_t  *conf;

    conf = ngx_coco_base_conf(r);
    kind = ngx_coco_grpc_call(r) ? NGX_COCO_DOCUMENT_LABOR_GRPC
                                 : NGX_COCO_DOCUMENT_LABOR;

    if (conf->zone
        && ngx_coco_zone_document(conf->zone, kind, serial, r->pool, &document)
           == NGX_OK)
    {
        return ngx_coco_labor_send(r, kind, &document, "HIT");
    }

    if (conf->redis == NULL && conf->pg == NULL) {
        return ngx_coco_reply_unavailable(r, "Redis", NGX_COCO_DOWN);
    }

    labor = ngx_pcalloc(r->pool, sizeof(ngx_coco_labor_t));
    if (labor == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    labor->request = r;
    labor->kind = kind;
    labor->serial = *serial;

    labor->waiter = ngx_coco_waiter_create(r, ngx_coco_labor_done, labor);
    if (labor->waiter == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = conf->zone ? ngx_coco_labor_join(labor) : NGX_DECLINED;

    if (rc == NGX_DECLINED) {
        rc = ngx_coco_labor_ask(labor);
    }

    return rc == NGX_OK ? ngx_coco_waiter_wait(labor->waiter)
                        : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


/* NGX_DECLINED: this request asks, and while the zone is fresh others may
 * wait for what it gets. */

static ngx_int_t
ngx_coco_labor_join(ngx_coco_labor_t *labor)
{
    ngx_int_t           rc;
    ngx_coco_zone_t    *zone;
    ngx_coco_ticket_t   ticket;

    zone = ngx_coco_base_conf(labor->request)->zone;

    if (!ngx_coco_zone_fresh(zone)) {
        return NGX_DECLINED;
    }

    rc = ngx_coco_waiter_flight(labor->waiter, labor->kind, &labor->serial,
                                ngx_coco_labor_joined);

    if (rc == NGX_OK) {
        ngx_coco_waiter_done_set(labor->waiter, ngx_coco_labor_landed);

    } else if (rc == NGX_DECLINED) {
        ticket = ngx_coco_zone_ticket(zone, &labor->serial);
        labor->flight = ngx_coco_flight_begin(labor->request, labor->kind,
                                              &labor->serial, &ticket);
        rc = labor->flight ? NGX_DECLINED : NGX_ERROR;
    }

    return rc;
}


static void
ngx_coco_labor_joined(void *data, const ngx_str_t *document)
{
    ngx_coco_labor_t  *labor = data;

    if (document) {
        labor->shared.data = ngx_pstrdup(labor->request->pool,
                                         (ngx_str_t *) document);
        labor->shared.len = document->len;
    }
}


static void
ngx_coco_labor_landed(ngx_http_request_t *r, void *data)
{
    ngx_coco_labor_t  *labor = data;

    if (labor->shared.data) {
        ngx_coco_waiter_finalize(labor->waiter,
                                 ngx_coco_labor_send(r, labor->kind,
                                                     &labor->shared, "MISS"));
        return;
    }

    /* what the other one found is no document */

    ngx_coco_waiter_done_set(labor->waiter, ngx_coco_labor_done);

    if (ngx_coco_labor_ask(labor) != NGX_OK) {
        ngx_coco_waiter_finalize(labor->waiter,
                                 NGX_HTTP_INTERNAL_SERVER_ERROR);
    }
}


/* The copy and what remains of its time, in one write. Of the time that a call
 * has, half is Postgres', in case Redis does not answer. */

static ngx_int_t
ngx_coco_labor_ask(ngx_coco_labor_t *labor)
{
    ngx_msec_t             timeout;
    ngx_str_t              argv[2];
    ngx_coco_base_conf_t  *conf;

    conf = ngx_coco_base_conf(labor->request);

    if (conf->zone) {
        labor->ticket = ngx_coco_zone_ticket(conf->zone, &labor->serial);
    }

    if (conf->redis == NULL) {
        labor->redis = NGX_COCO_DOWN;
        return ngx_coco_labor_record_ask(labor);
    }

    labor->asked = ngx_coco_now_ms();

    timeout = ngx_coco_grpc_left(labor->request, 2 * conf->redis_timeout) / 2;
    ngx_coco_waiter_timeout_set(labor->waiter, ngx_max(timeout, 1));

    ngx_str_set(&argv[0], "GET");

    if (ngx_coco_record_key(labor->request->pool, NGX_COCO_CACHE_KEY,
                            ngx_coco_str(labor->serial), &argv[1])
        != NGX_OK
        || ngx_coco_waiter_redis(labor->waiter, 2, argv, ngx_coco_labor_copy)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_set(&argv[0], "PTTL");

    return ngx_coco_waiter_redis(labor->waiter, 2, argv, ngx_coco_labor_left);
}


static void
ngx_coco_labor_copy(void *data, ngx_coco_outcome_e outcome, redisReply *reply)
{
    ngx_coco_labor_t  *labor = data;

    if ((outcome == NGX_COCO_DONE && reply->type == REDIS_REPLY_NIL)
        || ngx_coco_labor_refused(labor, outcome, reply, REDIS_REPLY_STRING,
                                  "GET"))
    {
        return;
    }

    labor->copy.data = ngx_pnalloc(labor->request->pool, reply->len + 1);
    if (labor->copy.data == NULL) {
        labor->redis = NGX_COCO_DOWN;
        return;
    }

    labor->copy.len = reply->len;
    ngx_memcpy(labor->copy.data, reply->str, reply->len);
}


static void
ngx_coco_labor_left(void *data, ngx_coco_outcome_e outcome, redisReply *reply)
{
    ngx_coco_labor_t  *labor = data;

    if (ngx_coco_labor_refused(labor, outcome, reply, REDIS_REPLY_INTEGER,
                               "PTTL"))
    {
        return;
    }

    if (reply->integer >= 0) {
        labor->until = labor->asked + reply->integer;

    } else if (reply->integer == -1) {
        labor->until = INT64_MAX;
    }
}


static ngx_uint_t
ngx_coco_labor_refused(ngx_coco_labor_t *labor, ngx_coco_outcome_e outcome,
    const redisReply *reply, int expected, const char *command)
{
    if (outcome != NGX_COCO_DONE) {
        labor->redis = outcome;
        return 1;
    }

    if (reply->type == expected) {
        return 0;
    }

    ngx_log_error(NGX_LOG_ERR, labor->request->connection->log, 0,
                  "coco: redis refused %s: %s", command,
                  reply->type == REDIS_REPLY_ERROR ? reply->str : "-");

    labor->redis = NGX_COCO_DOWN;

    return 1;
}


static void
ngx_coco_labor_done(ngx_http_request_t *r, void *data)
{
    ngx_coco_labor_t  *labor = data;

    ngx_int_t              rc;
    ngx_coco_base_conf_t  *conf;

    conf = ngx_coco_base_conf(r);

    if (labor->redis != NGX_COCO_DONE) {
        ngx_str_null(&labor->copy);
    }

    if (labor->copy.data) {
        ngx_coco_labor_state(labor, conf->zone);

        if (labor->known || conf->pg == NULL) {
            ngx_coco_labor_stated(r, labor);
            return;
        }

        rc = ngx_coco_labor_operation_ask(labor);

    } else if (conf->pg) {
        rc = ngx_coco_labor_record_ask(labor);

    } else {
        ngx_coco_labor_recorded(r, labor);
        return;
    }

    if (rc != NGX_OK) {
        ngx_coco_waiter_finalize(labor->waiter,
                                 NGX_HTTP_INTERNAL_SERVER_ERROR);
    }
}


/* That of the copy may be older: some changes reach it by the worker alone, or
 * are overtaken there by a heartbeat. It waits for Postgres no longer than for
 * Redis, and then stands as it is. */

static ngx_int_t
ngx_coco_labor_operation_ask(ngx_coco_labor_t *labor)
{
    ngx_coco_base_conf_t  *conf;

    conf = ngx_coco_base_conf(labor->request);

    ngx_coco_waiter_timeout_set(labor->waiter, conf->redis_timeout);
    ngx_coco_waiter_done_set(labor->waiter, ngx_coco_labor_stated);

    return ngx_coco_waiter_pg(labor->waiter, &ngx_coco_labor_operation,
                              &labor->serial, ngx_coco_labor_state_read);
}


static void
ngx_coco_labor_stated(ngx_http_request_t *r, void *data)
{
    ngx_coco_labor_t  *labor = data;

    ngx_coco_waiter_finalize(labor->waiter, ngx_coco_labor_reply(r, labor));
}


/* Without an answer the copy stands as it is. */

static void
ngx_coco_labor_state_read(void *data, ngx_coco_outcome_e outcome,
    PGresult *result)
{
    ngx_coco_labor_t  *labor = data;

    if (!ngx_coco_labor_rows(labor, outcome, result)) {
        return;
    }

    labor->known = 1;

    if (PQntuples(result)) {
        labor->state = coco_state_parse(ngx_coco_pg_field(result, 0, 0));
    }
}


static ngx_int_t
ngx_coco_labor_record_ask(ngx_coco_labor_t *labor)
{
    ngx_coco_waiter_timeout_set(labor->waiter,
                    ngx_coco_base_conf(labor->request)->postgres_timeout);
    ngx_coco_waiter_done_set(labor->waiter, ngx_coco_labor_recorded);

    return ngx_coco_waiter_pg(labor->waiter, &ngx_coco_labor_record,
                              &labor->serial, ngx_coco_labor_record_read);
}


static void
ngx_coco_labor_recorded(ngx_http_request_t *r, void *data)
{
    ngx_coco_labor_t  *labor = data;

    ngx_int_t              rc;
    ngx_coco_base_conf_t  *conf;

    conf = ngx_coco_base_conf(r);

    if (labor->copy.data) {
        rc = ngx_coco_labor_reply(r, labor);

    } else if (labor->postgres != NGX_COCO_DONE) {
        rc = ngx_coco_reply_unavailable(r, "Postgres", labor->postgres);

    } else if (conf->pg == NULL && labor->redis != NGX_COCO_DONE) {
        rc = ngx_coco_reply_unavailable(r, "Redis", labor->redis);

    } else {
        rc = ngx_coco_reply_problem(r, NGX_HTTP_NOT_FOUND,
                                    "No heartbeat of this serial was heard, "
                                    "or the last one has expired.");
    }

    ngx_coco_waiter_finalize(labor->waiter, rc);
}


/* What the copy would be, for as long as it would be one. */

static void
ngx_coco_labor_record_read(void *data, ngx_coco_outcome_e outcome,
    PGresult *result)
{
    ngx_coco_labor_t  *labor = data;

    int64_t              left;
    coco_str_t           lid;
    coco_state_e         state;
    coco_heartbeat_t     hb;
    ngx_http_request_t  *r;

    r = labor->request;

    if (!ngx_coco_labor_rows(labor, outcome, result)) {
        labor->postgres = outcome != NGX_COCO_DONE ? outcome : NGX_COCO_DOWN;
        return;
    }

    if (PQntuples(result) == 0
        || ngx_coco_record_read(&hb, &lid, ngx_coco_str(labor->serial),
                                result, 0, 0, NULL)
           != NGX_OK)
    {
        return;
    }

    left = ngx_coco_record_left(ngx_coco_base_conf(r), &hb);

    if (left <= 0) {
        return;
    }

    state = coco_state_parse(ngx_coco_pg_field(result, 0,
                                               NGX_COCO_RECORD_COLUMNS));

    if (ngx_coco_record_state(r->pool, &hb,
                              state != COCO_STATE_NONE ? state : hb.state,
                              &labor->copy)
        != NGX_OK)
    {
        ngx_str_null(&labor->copy);
        labor->postgres = NGX_COCO_DOWN;
        return;
    }

    labor->known = 1;
    labor->until = ngx_coco_now_ms() + left;

    if (labor->redis == NGX_COCO_DONE) {
        ngx_coco_record_put(r, NGX_COCO_CACHE_KEY, &hb, &labor->copy);
    }
}


static ngx_uint_t
ngx_coco_labor_rows(ngx_coco_labor_t *labor, ngx_coco_outcome_e outcome,
    const PGresult *result)
{
    if (outcome != NGX_COCO_DONE) {
        return 0;
    }

    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        return 1;
    }

    ngx_log_error(NGX_LOG_ERR, labor->request->connection->log, 0,
                  "coco: postgres refused a statement of the labor row: %s",
                  PQresultErrorMessage(result));

    return 0;
}


static ngx_int_t
ngx_coco_labor_reply(ngx_http_request_t *r, ngx_coco_labor_t *labor)
{
    ngx_int_t         rc;
    ngx_str_t         document;
    ngx_coco_zone_t  *zone;

    zone = ngx_coco_base_conf(r)->zone;

    if (labor->state != COCO_STATE_NONE
        && ngx_coco_labor_state_set(r->pool, &labor->copy, labor->state)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    document = labor->copy;

    if (labor->kind == NGX_COCO_DOCUMENT_LABOR_GRPC) {
        rc = ngx_coco_labor_frame(r->pool, &labor->copy, &document);

        if (rc != NGX_OK) {
            ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                          "coco: the copy of robot \"%V\" in redis is not of "
                          "its form", &labor->serial);
            return ngx_coco_reply_problem(r, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                          "The robot's copy is not of its "
                                          "form; the server's log has more.");
        }
    }

    if (zone && labor->known && labor->until) {
        ngx_coco_zone_document_put(zone, labor->kind, &labor->serial,
                                   &labor->ticket, &document, labor->until);

        if (labor->flight) {
            ngx_coco_flight_end(labor->flight, &document);
        }
    }

    return ngx_coco_labor_send(r, labor->kind, &document, "MISS");
}


/* The operation state of the zone's record, which a change of this host has
 * already reached. */

static void
ngx_coco_labor_state(ngx_coco_labor_t *labor, const ngx_coco_zone_t *zone)
{
    uint32_t                    robot;
    uint64_t                    begun;
    ngx_uint_t                  i;
    coco_state_e                state;
    const coco_fleet_index_t   *fleet;
    const coco_supply_state_t  *known;

    if (zone == NULL || !ngx_coco_zone_fresh(zone)) {
        return;
    }

    fleet = ngx_coco_zone_fleet(zone);

    if (fleet == NULL || ngx_coco_zone_full(zone)) {
        return;
    }

    for (i = 0; i < NGX_COCO_LABOR_READS; i++) {

        begun = coco_fleet_index_begin(fleet);

        if (begun & 1) {
            ngx_cpu_pause();
            continue;
        }

        state = COCO_STATE_NONE;
        robot = coco_fleet_index_find(fleet, ngx_coco_str(labor->serial));

        if (robot != COCO_ROBOT_NONE) {
            known = coco_fleet_index_state(fleet, robot);

            if (known->parts & COCO_SUPPLY_BUSINESS) {
                state = known->business.operation_state;
            }
        }

        if (coco_fleet_index_end(fleet, begun)) {
            labor->state = state;
            labor->known = 1;
            return;
        }
    }
}


/* Puts it in the place of the copy's; the rest stays byte by byte. */

static ngx_int_t
ngx_coco_labor_state_set(ngx_pool_t *pool, ngx_str_t *copy,
    coco_state_e state)
{
    char               *at;
    u_char             *p;
    ngx_str_t           text;
    coco_str_t          name;
    coco_error_t        err;
    coco_json_value_t   object, member;

    static const coco_str_t  names[] = { coco_string("operationState") };

    if (coco_message_read(&object, ngx_coco_str(*copy), &err) != COCO_OK) {
        return NGX_OK;
    }

    coco_message_members(&object, names, 1, &member);
    name = coco_state_name(state);

    if (member.text.data == NULL || member.type != COCO_JSON_STRING
        || coco_str_equal(member.string, name))
    {
        return NGX_OK;
    }

    text.data = ngx_pnalloc(pool, copy->len + name.len + 2);
    if (text.data == NULL) {
        return NGX_ERROR;
    }

    at = (char *) member.string.data;

    p = ngx_cpymem(text.data, copy->data, (u_char *) at - copy->data);
    p = ngx_cpymem(p, name.data, name.len);
    at += member.string.len;
    p = ngx_cpymem(p, at, copy->data + copy->len - (u_char *) at);
    text.len = p - text.data;

    *copy = text;

    return NGX_OK;
}


static ngx_int_t
ngx_coco_labor_frame(ngx_pool_t *pool, const ngx_str_t *copy, ngx_str_t *ret)
{
    ngx_int_t                   rc;
    coco_error_t                err;
    coco_json_value_t           object;
    Coco__Fleet__V1__RobotState state = COCO__FLEET__V1__ROBOT_STATE__INIT;

    if (coco_message_read(&object, ngx_coco_str(*copy), &err) != COCO_OK) {
        return NGX_DECLINED;
    }

    rc = ngx_coco_message_read(pool, &state.base, &object);

    return rc == NGX_OK ? ngx_coco_message_frame(pool, &state.base, ret) : rc;
}


static ngx_int_t
ngx_coco_labor_send(ngx_http_request_t *r, ngx_coco_document_e kind,
    ngx_str_t *document, const char *cache)
{
    ngx_str_t  value;

    value.data = (u_char *) cache;
    value.len = ngx_strlen(cache);

    if (ngx_coco_reply_header(r, "X-Coco-Cache", &value) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return kind == NGX_COCO_DOCUMENT_LABOR_GRPC
           ? ngx_coco_grpc_reply(r, document)
           : ngx_coco_reply_json(r, NGX_HTTP_OK, document);
}
