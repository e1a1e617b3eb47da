/*
 * The Operations service over HTTP: its routes, and the list of robots. Must
 * never decide what makes a robot ready: that is the core's.
 */

#include "ngx_coco.h"
#include "ngx_coco_args.h"
#include "ngx_coco_base.h"
#include "ngx_coco_ops_conf.h"
#include "ngx_coco_ops_delivery.h"
#include "ngx_coco_ops_lid.h"
#include "ngx_coco_ops_mds.h"
#include "ngx_coco_ops_patch.h"
#include "ngx_coco_ops_read.h"
#include "ngx_coco_ops_robot.h"
#include "ngx_coco_ops_webhook.h"
#include "ngx_coco_query.h"
#include "ngx_coco_replies.h"
#include "ngx_coco_reply.h"
#include "ngx_coco_route.h"


/* GET /robots under way. */
typedef struct {
    ngx_coco_query_page_t  page;
    ngx_coco_robot_view_t  view;
} ngx_coco_ops_list_t;


static ngx_int_t ngx_coco_ops_handler(ngx_http_request_t *r);
static ngx_int_t ngx_coco_ops_list_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
static ngx_int_t ngx_coco_ops_list_filter(ngx_http_request_t *r,
    ngx_str_t *params, ngx_uint_t *limit, coco_error_t *err);
static ngx_int_t ngx_coco_ops_list_bbox(ngx_http_request_t *r,
    ngx_str_t *params, coco_error_t *err);
static void ngx_coco_ops_list_encode(coco_json_out_t *out,
    const PGresult *result, int row, void *data);
static char *ngx_coco_ops(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


/* operationState, ready, bbox (4), cursor, heard since (ms), low battery,
 * teleoperation required, limit + 1; null is no filter. What the item shows
 * and what the filter sees is the same record. DriveU's statuses are looked
 * up for the rows of the page, and for others only where they decide;
 * deliveries for the rows of the page. */
static ngx_coco_pg_statement_t  ngx_coco_ops_list = {
    ngx_string("coco_robot_list"),
    "select page.*, " NGX_COCO_ROBOT_DRIVEU ", " NGX_COCO_ROBOT_DELIVERY
    "  from ("
    "select o.serial, " NGX_COCO_ROBOT_OPERATION ", " NGX_COCO_RECORD
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

    { NGX_HTTP_POST,
      ngx_string("/uber/v1/webhook"),
      ngx_null_string,
      NGX_COCO_WEBHOOK_BODY_MAX,
      ngx_coco_ops_uber_handler,
      ngx_coco_ops_uber_check },

    { NGX_HTTP_POST,
      ngx_string("/doordash/v1/webhook"),
      ngx_null_string,
      NGX_COCO_WEBHOOK_BODY_MAX,
      ngx_coco_ops_doordash_handler,
      ngx_coco_ops_doordash_check },

    { NGX_HTTP_GET,
      ngx_string("/mds/vehicles"),
      ngx_string("mds:read"),
      0,
      ngx_coco_mds_vehicles_handler },

    { NGX_HTTP_GET,
      ngx_string("/mds/vehicles/status"),
      ngx_string("mds:read"),
      0,
      ngx_coco_mds_statuses_handler },

    { NGX_HTTP_GET,
      ngx_string("/mds/vehicles/{device_id}"),
      ngx_string("mds:read"),
      0,
      ngx_coco_mds_vehicle_handler },

    { NGX_HTTP_GET,
      ngx_string("/mds/vehicles/status/{device_id}"),
      ngx_string("mds:read"),
      0,
      ngx_coco_mds_status_handler },

    { NGX_HTTP_GET,
      ngx_string("/mds/trips"),
      ngx_string("mds:read"),
      0,
      ngx_coco_mds_trips_handler },

    { NGX_HTTP_GET,
      ngx_string("/mds/telemetry"),
      ngx_string("mds:read"),
      0,
      ngx_coco_mds_telemetry_handler },

    { NGX_HTTP_GET,
      ngx_string("/mds/events/recent"),
      ngx_string("mds:read"),
      0,
      ngx_coco_mds_recent_handler },

    { NGX_HTTP_GET,
      ngx_string("/mds/events/historical"),
      ngx_string("mds:read"),
      0,
      ngx_coco_mds_historical_handler },

    { 0, ngx_null_string, ngx_null_string, 0, NULL }
};


static ngx_command_t  ngx_coco_ops_commands[] = {

    { ngx_string("coco_ops"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_coco_ops,
      0,
      0,
      NULL },

    { ngx_string("coco_uber_signing_key"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_coco_ops_uber_signing_key,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("coco_doordash_token"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE2,
      ngx_coco_ops_doordash_token,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("coco_mds_provider"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_coco_mds_provider,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("coco_mds_vehicle"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_coco_mds_vehicle,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("coco_mds_url"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_coco_mds_url,
      NGX_HTTP_LOC_CONF_OFFSET,
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

    ngx_coco_ops_create_loc_conf,          /* create location configuration */
    ngx_coco_ops_merge_loc_conf            /* merge location configuration */
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
                                      + NGX_COCO_RECORD_COLUMNS, NULL);
    (void) ngx_coco_robot_delivery_read(&robot, result, row,
                                        1 + NGX_COCO_ROBOT_OPERATION_COLUMNS
                                        + NGX_COCO_RECORD_COLUMNS
                                        + NGX_COCO_ROBOT_DRIVEU_COLUMNS, NULL);

    ngx_coco_robot_encode(out, &robot, data);
}


static char *
ngx_coco_ops(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    static ngx_coco_pg_statement_t *const  statements[] = {
        &ngx_coco_ops_list, &ngx_coco_ops_patch, &ngx_coco_ops_lid_open,
        &ngx_coco_inbox_statement, &ngx_coco_replies_statement,
        &ngx_coco_replies_wake_statement, NULL
    };

    if (ngx_coco_ops_read_init(cf) != NGX_OK
        || ngx_coco_delivery_init(cf) != NGX_OK
        || ngx_coco_mds_init(cf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return ngx_coco_query_location(cf, ngx_coco_ops_handler, statements);
}
