/*
 * The Operations service over HTTP: robots, read from the nearest copies and
 * changed in one statement; the routes of deliveries. Must never decide what
 * makes a robot ready: that is the core's.
 */

#include "ngx_coco.h"
#include "ngx_coco_args.h"
#include "ngx_coco_base.h"
#include "ngx_coco_ops_delivery.h"
#include "ngx_coco_ops_lid.h"
#include "ngx_coco_ops_patch.h"
#include "ngx_coco_ops_robot.h"
#include "ngx_coco_query.h"
#include "ngx_coco_replies.h"
#include "ngx_coco_reply.h"
#include "ngx_coco_route.h"
#include "ngx_coco_waiter.h"


#define NGX_COCO_ROBOT_SIZE  1536

#define NGX_COCO_CACHE_KEY      "robot.heartbeat.cache."
#define NGX_COCO_EPHEMERAL_KEY  "robot.ephemeral."


/* GET /robots/{serial} under way. */
typedef struct {
    ngx_http_request_t    *request;
    ngx_coco_waiter_t     *waiter;
    ngx_coco_robot_t       robot;

    ngx_str_t              serial;
    ngx_coco_outcome_e     postgres;
    ngx_coco_outcome_e     redis;
    ngx_uint_t             known;         /* Postgres has a row of it */
} ngx_coco_ops_read_t;


/* GET /robots under way. */
typedef struct {
    ngx_coco_query_page_t  page;
    ngx_coco_robot_view_t  view;
} ngx_coco_ops_list_t;


static ngx_int_t ngx_coco_ops_handler(ngx_http_request_t *r);
static ngx_int_t ngx_coco_ops_read_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
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
static ngx_uint_t ngx_coco_ops_rows(ngx_http_request_t *r,
    ngx_coco_outcome_e outcome, const PGresult *result);
static void ngx_coco_ops_fill(ngx_coco_ops_read_t *read);
static void ngx_coco_ops_fill_copy(ngx_coco_ops_read_t *read,
    const char *prefix, int64_t left);
static void ngx_coco_ops_filled(void *data, ngx_coco_outcome_e outcome,
    redisReply *reply);
static ngx_int_t ngx_coco_ops_key(ngx_pool_t *pool, const char *prefix,
    ngx_str_t *serial, ngx_str_t *ret);
static ngx_int_t ngx_coco_ops_list_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
static ngx_int_t ngx_coco_ops_list_filter(ngx_http_request_t *r,
    ngx_str_t *params, ngx_uint_t *limit, coco_error_t *err);
static ngx_int_t ngx_coco_ops_list_bbox(ngx_http_request_t *r,
    ngx_str_t *params, coco_error_t *err);
static void ngx_coco_ops_list_encode(coco_json_out_t *out,
    const PGresult *result, int row, void *data);
static ngx_int_t ngx_coco_ops_patch_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
static char *ngx_coco_ops(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


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
    "select " NGX_COCO_ROBOT_RECORD
    "  from coco.robot_state s where s.serial = $1::text",
    1, NGX_COCO_PG_POINT, 0
};


/* operationState, ready, bbox (4), cursor, heard since (ms), low battery,
 * teleoperation required, limit + 1; null is no filter. What the item shows
 * and what the filter sees is the same record. DriveU's statuses are looked
 * up for the rows of the page, and for others only where they decide;
 * deliveries for the rows of the page. */
static ngx_coco_pg_statement_t  ngx_coco_ops_list = {
    ngx_string("coco_robot_list"),
    "select page.*, " NGX_COCO_ROBOT_DRIVEU ", " NGX_COCO_ROBOT_DELIVERY
    "  from ("
    "select o.serial, " NGX_COCO_ROBOT_OPERATION ", " NGX_COCO_ROBOT_RECORD
    "  from coco.robot_operation o"
    "  left join coco.robot_state s on s.serial = o.serial"
    " where o.serial > coalesce($7::text, '')"
    "   and ($1::text is null or o.operation_state = $1::text)"
    "   and ($2::boolean is null or $2::boolean = (coco.readiness_issue("
    "            o.undergoing_maintenance, o.needs_maintenance,"
    "            o.needs_pickup, o.driveable,"
    "            s.order_ts >= coco.from_ms($8::bigint),"
    "            coco.heartbeat_healthy(s.details),"
    "            (s.details #>> '{battery,percent}')::double precision,"
    "            $9::double precision, o.operation_state,"
    "            case when $10::boolean then"
    "                (select d.controllable from coco.driveu(o.serial) d) end,"
    "            $10::boolean) is null))"
    "   and ($3::double precision is null"
    "        or ((s.details #>> '{location,latitude}')::double precision"
    "                between $4::double precision and $6::double precision"
    "            and case when $3::double precision <= $5::double precision"
    "                then (s.details #>> '{location,longitude}')"
    "                         ::double precision"
    "                     between $3::double precision"
    "                         and $5::double precision"
    "                else (s.details #>> '{location,longitude}')"
    "                         ::double precision"
    "                     not between $5::double precision"
    "                         and $3::double precision"
    "                end))"
    " order by o.serial limit $11::bigint) page, coco.driveu(page.serial) d"
    NGX_COCO_ROBOT_DELIVERY_JOIN("page.serial")
    " order by page.serial",
    11, NGX_COCO_PG_SLOW, 0
};


static ngx_coco_pg_statement_t  ngx_coco_ops_patch = {
    ngx_string("coco_robot_patch"),
    "select status, response, coco.supply_changes() as supply"
    "  from coco.robot_patch("
    "    $1::text, $2::text, $3::text, $4::bytea, $5::text, $6::jsonb)",
    6, NGX_COCO_PG_SLOW, 0, 1
};


static const ngx_coco_route_t  ngx_coco_ops_routes[] = {

    { NGX_HTTP_GET,
      ngx_string("/robots/{serial}"),
      ngx_string("robots:read"),
      0,
      ngx_coco_ops_read_handler },

    { NGX_HTTP_GET,
      ngx_string("/robots"),
      ngx_string("robots:read"),
      0,
      ngx_coco_ops_list_handler },

    { NGX_HTTP_PATCH,
      ngx_string("/robots/{serial}"),
      ngx_string("robots:write"),
      NGX_COCO_BODY_MAX,
      ngx_coco_ops_patch_handler },

    { NGX_HTTP_POST,
      ngx_string("/deliveries"),
      ngx_string("deliveries:write"),
      NGX_COCO_BODY_MAX,
      ngx_coco_delivery_create_handler },

    { NGX_HTTP_GET,
      ngx_string("/deliveries/{id}"),
      ngx_string("deliveries:read"),
      0,
      ngx_coco_delivery_read_handler },

    { NGX_HTTP_GET,
      ngx_string("/deliveries"),
      ngx_string("deliveries:read"),
      0,
      ngx_coco_delivery_list_handler },

    { NGX_HTTP_GET,
      ngx_string("/deliveries/{id}/events"),
      ngx_string("deliveries:read"),
      0,
      ngx_coco_delivery_events_handler },

    { NGX_HTTP_POST,
      ngx_string("/deliveries/{id}/assign"),
      ngx_string("deliveries:write"),
      NGX_COCO_BODY_MAX,
      ngx_coco_delivery_assign_handler },

    { NGX_HTTP_POST,
      ngx_string("/deliveries/{id}/depart"),
      ngx_string("deliveries:write"),
      NGX_COCO_BODY_MAX,
      ngx_coco_delivery_depart_handler },

    { NGX_HTTP_POST,
      ngx_string("/deliveries/{id}/arrive"),
      ngx_string("deliveries:write"),
      NGX_COCO_BODY_MAX,
      ngx_coco_delivery_arrive_handler },

    { NGX_HTTP_POST,
      ngx_string("/deliveries/{id}/complete"),
      ngx_string("deliveries:write"),
      NGX_COCO_BODY_MAX,
      ngx_coco_delivery_complete_handler },

    { NGX_HTTP_POST,
      ngx_string("/deliveries/{id}/cancel"),
      ngx_string("deliveries:write"),
      NGX_COCO_BODY_MAX,
      ngx_coco_delivery_cancel_handler },

    { NGX_HTTP_GET,
      ngx_string("/anomalies"),
      ngx_string("deliveries:read"),
      0,
      ngx_coco_anomaly_list_handler },

    { NGX_HTTP_POST,
      ngx_string("/open-lid-for-load"),
      ngx_string("deliveries:write"),
      NGX_COCO_BODY_MAX,
      ngx_coco_ops_lid_open_handler },

    { 0, ngx_null_string, ngx_null_string, 0, NULL }
};


static ngx_command_t  ngx_coco_ops_commands[] = {

    { ngx_string("coco_ops"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_coco_ops,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_coco_ops_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_coco_ops_module = {
    NGX_MODULE_V1,
    &ngx_coco_ops_module_ctx,              /* module context */
    ngx_coco_ops_commands,                 /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_coco_ops_handler(ngx_http_request_t *r)
{
    return ngx_coco_route_handle(r, ngx_coco_ops_routes);
}


static ngx_int_t
ngx_coco_ops_read_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    ngx_coco_ops_read_t   *read;
    ngx_coco_base_conf_t  *conf;

    conf = ngx_coco_base_conf(r);

    read = ngx_pcalloc(r->pool, sizeof(ngx_coco_ops_read_t));
    if (read == NULL) {
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

    if (read->waiter == NULL || ngx_coco_ops_read_send(read) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_waiter_wait(read->waiter);
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

    if (ngx_coco_ops_key(pool, NGX_COCO_CACHE_KEY, &read->serial, &argv[1])
        != NGX_OK
        || ngx_coco_ops_key(pool, NGX_COCO_EPHEMERAL_KEY, &read->serial,
                            &argv[2])
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

    if (!ngx_coco_ops_rows(read->request, outcome, result)) {
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

    if (!ngx_coco_ops_rows(read->request, outcome, result)) {
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

    return ngx_coco_reply_encode(r, NGX_HTTP_OK, NGX_COCO_ROBOT_SIZE,
                                 ngx_coco_ops_read_encode, read);
}


static void
ngx_coco_ops_read_encode(coco_json_out_t *out, void *data)
{
    ngx_coco_ops_read_t  *read = data;

    ngx_coco_robot_view_t  view;

    view.conf = ngx_coco_base_conf(read->request);
    view.now = ngx_coco_now_ms();

    ngx_coco_robot_encode(out, &read->robot, &view);
}


static ngx_uint_t
ngx_coco_ops_rows(ngx_http_request_t *r, ngx_coco_outcome_e outcome,
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
    int64_t                left;
    coco_heartbeat_t      *hb;
    ngx_coco_base_conf_t  *conf;

    hb = &read->robot.hb;
    conf = ngx_coco_base_conf(read->request);

    left = ngx_min(hb->ts, hb->received_at) + (int64_t) conf->heartbeat_ttl
           - ngx_coco_now_ms();

    if (left > 0) {
        ngx_coco_ops_fill_copy(read, NGX_COCO_CACHE_KEY, left);
        ngx_coco_ops_fill_copy(read, NGX_COCO_EPHEMERAL_KEY, left);
    }
}


/* SET NX with the time that remains: a newer copy of the worker's is never
 * replaced, and the request does not wait. */

static void
ngx_coco_ops_fill_copy(ngx_coco_ops_read_t *read, const char *prefix,
    int64_t left)
{
    ngx_str_t              argv[6];
    coco_json_out_t        out;
    coco_heartbeat_t      *hb;
    ngx_http_request_t    *r;
    ngx_coco_base_conf_t  *conf;

    r = read->request;
    hb = &read->robot.hb;
    conf = ngx_coco_base_conf(r);

    argv[2].len = hb->battery.len + hb->location.len + hb->components.len
                  + read->robot.driveu.len + 512;
    argv[2].data = ngx_pnalloc(r->pool, argv[2].len);

    if (argv[2].data == NULL
        || ngx_coco_ops_key(r->pool, prefix, &read->serial, &argv[1])
           != NGX_OK
        || ngx_coco_query_param_int(r, left, &argv[5]) != NGX_OK)
    {
        return;
    }

    coco_json_out_init(&out, (char *) argv[2].data, argv[2].len);

    if (ngx_strcmp(prefix, NGX_COCO_CACHE_KEY) == 0) {
        coco_robot_state_encode(&out, hb, read->robot.operation_state);

    } else {
        coco_ephemeral_encode(&out, hb, read->robot.remotely_controllable,
                              read->robot.driveu);
    }

    if (!coco_json_out_ok(&out)) {
        return;
    }

    argv[2].len = out.len;
    ngx_str_set(&argv[0], "SET");
    ngx_str_set(&argv[3], "NX");
    ngx_str_set(&argv[4], "PX");

    (void) ngx_coco_redis_send(conf->redis, 6, argv, conf->redis_timeout,
                               ngx_coco_ops_filled, NULL);
}


static void
ngx_coco_ops_filled(void *data, ngx_coco_outcome_e outcome,
    redisReply *reply)
{
    /* a copy that could not be filled is filled by the next read */
}


static ngx_int_t
ngx_coco_ops_key(ngx_pool_t *pool, const char *prefix, ngx_str_t *serial,
    ngx_str_t *ret)
{
    ret->len = ngx_strlen(prefix) + serial->len;
    ret->data = ngx_pnalloc(pool, ret->len);
    if (ret->data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(ret->data, "%s%V", prefix, serial);

    return NGX_OK;
}


static ngx_int_t
ngx_coco_ops_list_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    ngx_str_t             *params;
    coco_error_t           err;
    ngx_coco_ops_list_t   *list;
    ngx_coco_base_conf_t  *conf;

    static ngx_str_t  yes = ngx_string("true"), no = ngx_string("false");

    ngx_memzero(&err, sizeof(coco_error_t));
    conf = ngx_coco_base_conf(r);

    params = ngx_pcalloc(r->pool, 11 * sizeof(ngx_str_t));
    list = ngx_pcalloc(r->pool, sizeof(ngx_coco_ops_list_t));
    if (params == NULL || list == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    list->view.conf = conf;
    list->view.now = ngx_coco_now_ms();

    list->page.limit = NGX_COCO_LIMIT_DEFAULT;
    list->page.ms_column = -1;
    list->page.key_column = 0;
    list->page.row = ngx_coco_ops_list_encode;
    list->page.data = &list->view;

    if (ngx_coco_ops_list_filter(r, params, &list->page.limit, &err)
        != NGX_OK)
    {
        return ngx_coco_reply_bad_field(r, &err);
    }

    params[9] = conf->teleoperation ? yes : no;

    if (ngx_coco_query_param_int(r, list->view.now - conf->online_window,
                                 &params[7])
        != NGX_OK
        || ngx_coco_query_param_int(r, conf->low_battery, &params[8])
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_query_page(r, &ngx_coco_ops_list, params, &list->page);
}


static ngx_int_t
ngx_coco_ops_list_filter(ngx_http_request_t *r, ngx_str_t *params,
    ngx_uint_t *limit, coco_error_t *err)
{
    int64_t     ms;
    ngx_int_t   rc;
    ngx_flag_t  ready;

    rc = ngx_coco_arg(r, "operationState", &params[0]);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_OK
        && coco_state_parse(ngx_coco_str(params[0])) == COCO_STATE_NONE)
    {
        (void) coco_error_set(err, "operationState", "must be one of "
                              "GROUNDED, ON_TRIP, PARKED, OFF_DUTY, "
                              "DEPLOYED");
        return NGX_ERROR;
    }

    rc = ngx_coco_arg_bool(r, "ready", &ready, err);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_OK) {
        params[1].data = (u_char *) (ready ? "t" : "f");
        params[1].len = 1;
    }

    if (ngx_coco_ops_list_bbox(r, &params[2], err) == NGX_ERROR
        || ngx_coco_arg_limit(r, limit, err) == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    rc = ngx_coco_arg_cursor(r, &ms, &params[6], err);

    if (rc == NGX_OK && !coco_serial_valid(ngx_coco_str(params[6]))) {
        (void) coco_error_set(err, "cursor",
                              "must be the nextCursor of an earlier page");
        return NGX_ERROR;
    }

    return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


static ngx_int_t
ngx_coco_ops_list_bbox(ngx_http_request_t *r, ngx_str_t *params,
    coco_error_t *err)
{
    ngx_int_t        rc;
    ngx_uint_t       i;
    coco_json_out_t  out;
    ngx_coco_bbox_t  bbox;

    rc = ngx_coco_arg_bbox(r, &bbox, err);
    if (rc != NGX_OK) {
        return rc;
    }

    const double  n[4] = { bbox.min_lon, bbox.min_lat,
                           bbox.max_lon, bbox.max_lat };

    for (i = 0; i < 4; i++) {
        params[i].data = ngx_pnalloc(r->pool, 32);
        if (params[i].data == NULL) {
            return NGX_ERROR;
        }

        coco_json_out_init(&out, (char *) params[i].data, 32);
        coco_json_double(&out, n[i]);
        params[i].len = out.len;
    }

    return NGX_OK;
}


static void
ngx_coco_ops_list_encode(coco_json_out_t *out, const PGresult *result,
    int row, void *data)
{
    ngx_coco_robot_t  robot;

    ngx_coco_robot_init(&robot, ngx_coco_pg_field(result, row, 0));
    robot.has_business = true;

    (void) ngx_coco_robot_operation_read(&robot, result, row, 1, NULL);
    (void) ngx_coco_robot_record_read(&robot, result, row,
                                      1 + NGX_COCO_ROBOT_OPERATION_COLUMNS,
                                      NULL);
    (void) ngx_coco_robot_driveu_read(&robot, result, row,
                                      1 + NGX_COCO_ROBOT_OPERATION_COLUMNS
                                      + NGX_COCO_ROBOT_RECORD_COLUMNS, NULL);
    (void) ngx_coco_robot_delivery_read(&robot, result, row,
                                        1 + NGX_COCO_ROBOT_OPERATION_COLUMNS
                                        + NGX_COCO_ROBOT_RECORD_COLUMNS
                                        + NGX_COCO_ROBOT_DRIVEU_COLUMNS, NULL);

    ngx_coco_robot_encode(out, &robot, data);
}


static ngx_int_t
ngx_coco_ops_patch_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    ngx_int_t      rc;
    ngx_str_t     *params, *changes;
    coco_error_t   err;

    params = ngx_pcalloc(r->pool, (NGX_COCO_WRITE_PARAMS + 2)
                                  * sizeof(ngx_str_t));
    if (params == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    params[NGX_COCO_WRITE_PARAMS] = call->path[0];
    changes = &params[NGX_COCO_WRITE_PARAMS + 1];

    if (ngx_coco_body_take(r, &call->body, ngx_coco_patch_members, changes,
                           &rc)
        != NGX_OK)
    {
        return rc;
    }

    if (changes->len == sizeof("{}") - 1) {
        (void) coco_error_set(&err, "", "at least one member must be given");
        return ngx_coco_reply_bad_field(r, &err);
    }

    return ngx_coco_query_write(r, call, &ngx_coco_ops_patch, params);
}


static char *
ngx_coco_ops(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    static ngx_coco_pg_statement_t *const  statements[] = {
        &ngx_coco_ops_operation, &ngx_coco_ops_record, &ngx_coco_ops_list,
        &ngx_coco_ops_patch, &ngx_coco_ops_lid_open,
        &ngx_coco_replies_statement, &ngx_coco_replies_wake_statement, NULL
    };

    if (ngx_coco_delivery_init(cf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return ngx_coco_query_location(cf, ngx_coco_ops_handler, statements);
}
