/*
 * The beacon scope: fleet_robot and the external mappings, one statement for
 * each request. Must never know who asks, HTTP or gRPC.
 */

#include "ngx_coco_dispatch_beacon.h"
#include "ngx_coco_args.h"
#include "ngx_coco_body.h"
#include "ngx_coco_message.h"
#include "ngx_coco_query.h"
#include "ngx_coco_reply.h"

#include "coco_utf8.h"
#include "coco/fleet/v1/fleet.pb-c.h"


typedef Coco__Fleet__V1__Vehicle                   ngx_coco_vehicle_t;
typedef Coco__Fleet__V1__Vehicle__ProviderVehicle  ngx_coco_vehicle_name_t;
typedef Coco__Fleet__V1__VirtualRobot              ngx_coco_virtual_robot_t;
typedef Coco__Fleet__V1__VirtualRobot__Deployed    ngx_coco_deployed_t;
typedef Coco__Fleet__V1__ExternalRobotMappings     ngx_coco_mappings_t;
typedef Coco__Fleet__V1__ExternalRobotMappings__Mapping  ngx_coco_mapping_t;


static ngx_int_t ngx_coco_beacon_vehicle_reply(ngx_http_request_t *r,
    PGresult *result, void *data);
static ngx_int_t ngx_coco_beacon_virtual_robot_reply(ngx_http_request_t *r,
    PGresult *result, void *data);
static ngx_int_t ngx_coco_beacon_mappings_params(ngx_http_request_t *r,
    ngx_coco_beacon_filter_t *filter, ngx_str_t *params, coco_error_t *err);
static ngx_int_t ngx_coco_beacon_cursor(ngx_http_request_t *r,
    ngx_str_t *cursor, ngx_str_t *params, coco_error_t *err);
static ngx_int_t ngx_coco_beacon_mappings_reply(ngx_http_request_t *r,
    PGresult *result, void *data);
static ngx_int_t ngx_coco_beacon_mappings_next(ngx_http_request_t *r,
    const ngx_coco_mapping_t *last, char **ret);
static ngx_int_t ngx_coco_beacon_name(const char *field,
    const ngx_str_t *name, coco_error_t *err);
static ngx_int_t ngx_coco_beacon_unknown(ngx_http_request_t *r);


/* A row for each mapping, one at least; the robot's columns lead. */
static ngx_coco_pg_statement_t  ngx_coco_beacon_vehicle_read = {
    ngx_string("coco_beacon_vehicle"),
    "select f.serial, f.id::text, m.provider, m.provider_vehicle_id"
    "  from coco.fleet_robot f"
    "  left join coco.external_robot_mapping m on m.serial = f.serial"
    " where f.serial = $1::text"
    " order by m.provider, m.provider_vehicle_id",
    1, NGX_COCO_PG_POINT, 0
};


/* The fields of VirtualRobot in their order, then those of Deployed. */
static ngx_coco_pg_statement_t  ngx_coco_beacon_virtual_robot_read = {
    ngx_string("coco_beacon_virtual_robot"),
    "select f.id::text, f.serial, f.healthy, f.operational_state,"
    "       f.latitude, f.longitude, f.heading, f.speed, f.battery_percent,"
    "       f.charging, f.needs_movement, f.undergoing_maintenance,"
    "       f.needs_maintenance, f.needs_pickup, f.has_food, f.driveable,"
    "       coco.to_ms(f.telemetry_ts), coco.to_ms(f.business_changed_at),"
    "       f.deployed ->> 'type', f.deployed ->> 'id',"
    "       f.deployed ->> 'latitude', f.deployed ->> 'longitude',"
    "       jsonb_typeof(f.deployed) = 'object'"
    "  from coco.fleet_robot f where f.id = $1::uuid",
    1, NGX_COCO_PG_POINT, 0
};


/* provider, serial, cursor (provider, vehicle), limit + 1; null is no
 * filter */
static ngx_coco_pg_statement_t  ngx_coco_beacon_mapping_list = {
    ngx_string("coco_beacon_mapping_list"),
    "select m.provider, m.provider_vehicle_id, m.serial"
    "  from coco.external_robot_mapping m"
    " where ($1::text is null or m.provider = $1::text)"
    "   and ($2::text is null or m.serial = $2::text)"
    "   and ($3::text is null or (m.provider, m.provider_vehicle_id)"
    "                            > ($3::text, $4::text))"
    " order by m.provider, m.provider_vehicle_id limit $5::bigint",
    5, NGX_COCO_PG_SLOW, 0
};


static ngx_coco_pg_statement_t  ngx_coco_beacon_mapping_put = {
    ngx_string("coco_beacon_mapping_put"),
    "select status, response from coco.mapping_put("
    "    $1::text, $2::text, $3::text, $4::bytea, $5::text, $6::text,"
    "    $7::jsonb ->> 'serial')",
    7, NGX_COCO_PG_SLOW, 0
};


static const ngx_coco_body_member_t  ngx_coco_beacon_mapping_members[] = {
    { .name = coco_string("serial"), .required = 1,
      .check = ngx_coco_body_serial },
    { .name = { NULL, 0 } }
};


ngx_int_t
ngx_coco_beacon_init(ngx_conf_t *cf)
{
    static ngx_coco_pg_statement_t *const  statements[] = {
        &ngx_coco_beacon_vehicle_read, &ngx_coco_beacon_virtual_robot_read,
        &ngx_coco_beacon_mapping_list, &ngx_coco_beacon_mapping_put, NULL
    };

    return ngx_coco_pg_statements_add(cf, statements);
}


ngx_int_t
ngx_coco_beacon_vehicle_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    return ngx_coco_beacon_vehicle(r, &call->path[0]);
}


ngx_int_t
ngx_coco_beacon_vehicle(ngx_http_request_t *r, const ngx_str_t *serial)
{
    return ngx_coco_query(r, &ngx_coco_beacon_vehicle_read, serial,
                          ngx_coco_beacon_vehicle_reply, NULL);
}


static ngx_int_t
ngx_coco_beacon_vehicle_reply(ngx_http_request_t *r, PGresult *result,
    void *data)
{
    int                        column, n;
    ngx_coco_vehicle_t         vehicle = COCO__FLEET__V1__VEHICLE__INIT;
    ngx_coco_vehicle_name_t  **names, *name;

    n = PQntuples(result);

    if (n == 0) {
        return ngx_coco_beacon_unknown(r);
    }

    column = ngx_coco_message_row(&vehicle.base, result, 0, 0);

    if (PQgetisnull(result, 0, column)) {
        return ngx_coco_message_reply(r, &vehicle.base);
    }

    names = ngx_palloc(r->pool, n * sizeof(ngx_coco_vehicle_name_t *));
    name = ngx_palloc(r->pool, n * sizeof(ngx_coco_vehicle_name_t));

    if (names == NULL || name == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    vehicle.n_provider_vehicles = n;
    vehicle.provider_vehicles = names;

    while (n--) {
        coco__fleet__v1__vehicle__provider_vehicle__init(&name[n]);
        (void) ngx_coco_message_row(&name[n].base, result, n, column);
        names[n] = &name[n];
    }

    return ngx_coco_message_reply(r, &vehicle.base);
}


ngx_int_t
ngx_coco_beacon_virtual_robot_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call)
{
    return ngx_coco_beacon_virtual_robot(r, &call->path[0]);
}


ngx_int_t
ngx_coco_beacon_virtual_robot(ngx_http_request_t *r, const ngx_str_t *id)
{
    coco_id_t  parsed;

    if (coco_id_parse(&parsed, ngx_coco_str(*id)) != COCO_OK) {
        return ngx_coco_beacon_unknown(r);
    }

    return ngx_coco_query(r, &ngx_coco_beacon_virtual_robot_read, id,
                          ngx_coco_beacon_virtual_robot_reply, NULL);
}


static ngx_int_t
ngx_coco_beacon_virtual_robot_reply(ngx_http_request_t *r, PGresult *result,
    void *data)
{
    int                       column;
    ngx_coco_deployed_t       deployed
                             = COCO__FLEET__V1__VIRTUAL_ROBOT__DEPLOYED__INIT;
    ngx_coco_virtual_robot_t  robot = COCO__FLEET__V1__VIRTUAL_ROBOT__INIT;

    if (PQntuples(result) == 0) {
        return ngx_coco_beacon_unknown(r);
    }

    column = ngx_coco_message_row(&robot.base, result, 0, 0);
    column = ngx_coco_message_row(&deployed.base, result, 0, column);

    if (*PQgetvalue(result, 0, column) == 't') {
        robot.deployed = &deployed;
    }

    return ngx_coco_message_reply(r, &robot.base);
}


ngx_int_t
ngx_coco_beacon_mappings_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    coco_error_t               err;
    ngx_coco_beacon_filter_t  *filter;

    ngx_memzero(&err, sizeof(coco_error_t));

    filter = ngx_pcalloc(r->pool, sizeof(ngx_coco_beacon_filter_t));
    if (filter == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    filter->limit = NGX_COCO_LIMIT_DEFAULT;

    if (ngx_coco_arg(r, "provider", &filter->provider) == NGX_ERROR
        || ngx_coco_arg(r, "serial", &filter->serial) == NGX_ERROR
        || ngx_coco_arg(r, "cursor", &filter->cursor) == NGX_ERROR
        || ngx_coco_arg_limit(r, &filter->limit, &err) == NGX_ERROR)
    {
        return ngx_coco_reply_bad_field(r, &err);
    }

    return ngx_coco_beacon_mappings(r, filter);
}


ngx_int_t
ngx_coco_beacon_mappings(ngx_http_request_t *r,
    ngx_coco_beacon_filter_t *filter)
{
    ngx_str_t     params[5];
    coco_error_t  err;

    ngx_memzero(&err, sizeof(coco_error_t));
    ngx_memzero(params, sizeof(params));

    if (ngx_coco_beacon_mappings_params(r, filter, params, &err) != NGX_OK) {
        return ngx_coco_reply_bad_field(r, &err);
    }

    return ngx_coco_query(r, &ngx_coco_beacon_mapping_list, params,
                          ngx_coco_beacon_mappings_reply, filter);
}


static ngx_int_t
ngx_coco_beacon_mappings_params(ngx_http_request_t *r,
    ngx_coco_beacon_filter_t *filter, ngx_str_t *params, coco_error_t *err)
{
    if (filter->provider.data
        && ngx_coco_beacon_name("provider", &filter->provider, err) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (filter->serial.data && !coco_serial_valid(ngx_coco_str(filter->serial)))
    {
        (void) coco_error_set(err, "serial", "must be 1 to 64 characters of "
                              "A-Z a-z 0-9 . _ -");
        return NGX_ERROR;
    }

    if (filter->limit < 1 || filter->limit > NGX_COCO_LIMIT_MAX) {
        (void) coco_error_set(err, "limit",
                              "must be an integer from 1 to 500");
        return NGX_ERROR;
    }

    params[0] = filter->provider;
    params[1] = filter->serial;

    if (filter->cursor.data
        && ngx_coco_beacon_cursor(r, &filter->cursor, &params[2], err)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_coco_query_param_int(r, filter->limit + 1, &params[4]);
}


/* A cursor's number is the length of the provider's name, which leads in its
 * text. */

static ngx_int_t
ngx_coco_beacon_cursor(ngx_http_request_t *r, ngx_str_t *cursor,
    ngx_str_t *params, coco_error_t *err)
{
    int64_t       len;
    ngx_str_t     text;
    coco_error_t  unnamed;

    if (ngx_coco_cursor_decode(r, cursor, &len, &text, err) != NGX_OK) {
        return NGX_ERROR;
    }

    params[0].data = text.data;
    params[0].len = ngx_min((size_t) len, text.len);
    params[1].data = text.data + params[0].len;
    params[1].len = text.len - params[0].len;

    if (ngx_coco_beacon_name("cursor", &params[0], &unnamed) != NGX_OK
        || ngx_coco_beacon_name("cursor", &params[1], &unnamed) != NGX_OK)
    {
        (void) coco_error_set(err, "cursor",
                              "must be the nextCursor of an earlier page");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_coco_beacon_mappings_reply(ngx_http_request_t *r, PGresult *result,
    void *data)
{
    ngx_coco_beacon_filter_t  *filter = data;

    int                   i, n;
    ngx_coco_mapping_t   *item;
    ngx_coco_mappings_t   page
                          = COCO__FLEET__V1__EXTERNAL_ROBOT_MAPPINGS__INIT;

    n = ngx_min(PQntuples(result), (int) filter->limit);

    item = ngx_palloc(r->pool, (n + 1) * sizeof(ngx_coco_mapping_t));
    page.items = ngx_palloc(r->pool, (n + 1) * sizeof(ngx_coco_mapping_t *));
    page.n_items = n;

    if (item == NULL || page.items == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    for (i = 0; i < n; i++) {
        coco__fleet__v1__external_robot_mappings__mapping__init(&item[i]);
        (void) ngx_coco_message_row(&item[i].base, result, i, 0);
        page.items[i] = &item[i];
    }

    if (PQntuples(result) > n
        && ngx_coco_beacon_mappings_next(r, &item[n - 1], &page.next_cursor)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_message_reply(r, &page.base);
}


static ngx_int_t
ngx_coco_beacon_mappings_next(ngx_http_request_t *r,
    const ngx_coco_mapping_t *last, char **ret)
{
    size_t      len;
    u_char     *key;
    ngx_str_t   cursor;

    len = ngx_strlen(last->provider) + ngx_strlen(last->provider_vehicle_id);

    key = ngx_pnalloc(r->pool, len + 1);
    if (key == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(key, "%s%s", last->provider, last->provider_vehicle_id);

    if (ngx_coco_cursor_encode(r, ngx_strlen(last->provider),
                               (coco_str_t) { (char *) key, len }, &cursor)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    *ret = ngx_pnalloc(r->pool, cursor.len + 1);
    if (*ret == NULL) {
        return NGX_ERROR;
    }

    *ngx_cpymem(*ret, cursor.data, cursor.len) = '\0';

    return NGX_OK;
}


ngx_int_t
ngx_coco_beacon_mapping_put_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call)
{
    ngx_int_t     rc;
    ngx_str_t    *params;
    coco_error_t  err;

    params = ngx_pcalloc(r->pool, (NGX_COCO_WRITE_PARAMS + 3)
                                  * sizeof(ngx_str_t));
    if (params == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_coco_beacon_name("provider", &call->path[0], &err) != NGX_OK
        || ngx_coco_beacon_name("providerVehicleId", &call->path[1], &err)
           != NGX_OK)
    {
        return ngx_coco_reply_bad_field(r, &err);
    }

    params[NGX_COCO_WRITE_PARAMS] = call->path[0];
    params[NGX_COCO_WRITE_PARAMS + 1] = call->path[1];

    if (ngx_coco_body_take(r, &call->body, ngx_coco_beacon_mapping_members,
                           &params[NGX_COCO_WRITE_PARAMS + 2], &rc)
        != NGX_OK)
    {
        return rc;
    }

    return ngx_coco_query_write(r, call, &ngx_coco_beacon_mapping_put, params);
}


/* 1 to 128 bytes of UTF-8 without control characters: whatever a provider
 * may call a vehicle, and Postgres can keep. */

static ngx_int_t
ngx_coco_beacon_name(const char *field, const ngx_str_t *name,
    coco_error_t *err)
{
    size_t       n;
    const char  *p, *last;

    p = (const char *) name->data;
    last = p + name->len;
    n = name->len <= NGX_COCO_BEACON_NAME_MAX;

    while (n && p < last) {
        n = (u_char) *p >= ' ' && *p != '\x7f' ? coco_utf8_len(p, last) : 0;
        p += n;
    }

    if (n && name->len) {
        return NGX_OK;
    }

    (void) coco_error_set(err, field, "must be 1 to %d printable bytes of "
                          "UTF-8", NGX_COCO_BEACON_NAME_MAX);

    return NGX_DECLINED;
}


static ngx_int_t
ngx_coco_beacon_unknown(ngx_http_request_t *r)
{
    return ngx_coco_reply_problem(r, NGX_HTTP_NOT_FOUND,
                                  "No such robot is known to the fleet.");
}
