/*
 * One robot as Operations shows it, put together from rows and cached
 * documents. Asks nobody and sends nothing.
 */

#include "ngx_coco_ops_robot.h"
#include "coco_delivery.h"
#include "coco_message.h"

#include <math.h>


static bool ngx_coco_robot_online(const ngx_coco_robot_t *robot,
    const ngx_coco_robot_view_t *view);
static void ngx_coco_robot_business_encode(coco_json_out_t *out,
    const ngx_coco_robot_t *robot);
static void ngx_coco_robot_delivery_encode(coco_json_out_t *out,
    const ngx_coco_robot_t *robot);
static void ngx_coco_robot_readiness_encode(coco_json_out_t *out,
    const ngx_coco_robot_t *robot, const ngx_coco_robot_view_t *view,
    bool online);
static void ngx_coco_robot_sources_encode(coco_json_out_t *out,
    const ngx_coco_robot_t *robot);
static void ngx_coco_robot_source_encode(coco_json_out_t *out,
    coco_str_t name, coco_str_t source, int64_t as_of);


static const coco_str_t  ngx_coco_robot_flags[NGX_COCO_FLAGS] = {
    [NGX_COCO_NEEDS_MOVEMENT] = coco_string("needsMovement"),
    [NGX_COCO_UNDERGOING_MAINTENANCE] = coco_string("undergoingMaintenance"),
    [NGX_COCO_NEEDS_MAINTENANCE] = coco_string("needsMaintenance"),
    [NGX_COCO_NEEDS_PICKUP] = coco_string("needsPickup"),
    [NGX_COCO_HAS_FOOD] = coco_string("hasFood"),
    [NGX_COCO_DRIVEABLE] = coco_string("driveable")
};


void
ngx_coco_robot_init(ngx_coco_robot_t *robot, coco_str_t serial)
{
    int  i;

    ngx_memzero(robot, sizeof(ngx_coco_robot_t));
    robot->serial = serial;

    for (i = 0; i < NGX_COCO_FLAGS; i++) {
        robot->flags[i] = COCO_UNSET;
    }
}


ngx_int_t
ngx_coco_robot_operation_read(ngx_coco_robot_t *robot, const PGresult *result,
    int row, int column, ngx_pool_t *pool)
{
    int  i;

    if (PQgetisnull(result, row, column)) {
        return NGX_DECLINED;
    }

    robot->operation_state = coco_state_parse(ngx_coco_pg_field(result, row,
                                                                column));
    column++;

    for (i = 0; i < NGX_COCO_FLAGS; i++, column++) {
        robot->flags[i] = PQgetisnull(result, row, column) ? COCO_UNSET
                          : *PQgetvalue(result, row, column) == 't';
    }

    robot->deployed = ngx_coco_pg_field(result, row, column);
    robot->changed_at = strtoll(PQgetvalue(result, row, column + 1), NULL, 10);

    return ngx_coco_pg_copy(pool, &robot->deployed);
}


ngx_int_t
ngx_coco_robot_record_read(ngx_coco_robot_t *robot, const PGresult *result,
    int row, int column, ngx_pool_t *pool)
{
    ngx_int_t   rc;
    coco_str_t  lid;

    rc = ngx_coco_record_read(&robot->hb, &lid, robot->serial, result, row,
                              column, pool);

    if (rc != NGX_OK) {
        return rc;
    }

    robot->telemetry_source = coco_string("state");

    if (robot->operation_state == COCO_STATE_NONE) {
        robot->operation_state = robot->hb.state;
    }

    if (robot->ephemeral_source.data == NULL) {
        robot->ephemeral_source = robot->telemetry_source;
        robot->ephemeral_at = robot->hb.received_at;
        robot->lid = lid;
    }

    return NGX_OK;
}


ngx_int_t
ngx_coco_robot_driveu_read(ngx_coco_robot_t *robot, const PGresult *result,
    int row, int column, ngx_pool_t *pool)
{
    robot->connectivity_source = coco_string("postgres");
    robot->connectivity_at = strtoll(PQgetvalue(result, row, column + 2), NULL,
                                     10);
    robot->remotely_controllable = *PQgetvalue(result, row, column + 1) == 't';
    robot->driveu = ngx_coco_pg_field(result, row, column);

    return ngx_coco_pg_copy(pool, &robot->driveu);
}


ngx_int_t
ngx_coco_robot_delivery_read(ngx_coco_robot_t *robot, const PGresult *result,
    int row, int column, ngx_pool_t *pool)
{
    if (PQgetisnull(result, row, column)) {
        return NGX_DECLINED;
    }

    robot->delivery_id = ngx_coco_pg_field(result, row, column);
    robot->delivery_status = coco_delivery_status_name(
                    coco_delivery_status_parse(ngx_coco_pg_field(result, row,
                                                                 column + 1)));
    robot->delivery_at = strtoll(PQgetvalue(result, row, column + 2), NULL,
                                 10);

    return ngx_coco_pg_copy(pool, &robot->delivery_id);
}


ngx_int_t
ngx_coco_robot_cache_read(ngx_coco_robot_t *robot, coco_str_t text)
{
    enum { ID, TS, RECEIVED, STATE, HEALTHY, BATTERY, LOCATION, COMPONENTS,
           MEMBERS };

    static const coco_str_t  names[MEMBERS] = {
        coco_string("id"), coco_string("ts"), coco_string("receivedAt"),
        coco_string("operationState"), coco_string("healthy"),
        coco_string("battery"), coco_string("location"),
        coco_string("components")
    };

    coco_error_t        err;
    coco_heartbeat_t   *hb;
    coco_json_value_t   object, m[MEMBERS];

    hb = &robot->hb;
    ngx_memzero(hb, sizeof(coco_heartbeat_t));

    if (coco_message_read(&object, text, &err) != COCO_OK) {
        return NGX_DECLINED;
    }

    /* of a member that is not there only text is set */
    ngx_memzero(m, sizeof(m));
    coco_message_members(&object, names, MEMBERS, m);

    hb->serial = robot->serial;
    hb->state = coco_state_parse(m[STATE].string);
    hb->ts = m[TS].int64;
    hb->received_at = m[RECEIVED].int64;

    if (!m[TS].integer || !m[RECEIVED].integer
        || hb->state == COCO_STATE_NONE
        || coco_id_parse(&hb->id, m[ID].string) != COCO_OK
        || ngx_coco_record_telemetry(hb, &m[HEALTHY], &m[BATTERY],
                                     &m[LOCATION], &m[COMPONENTS])
           != NGX_OK)
    {
        return NGX_DECLINED;
    }

    robot->telemetry_source = coco_string("redis");

    return NGX_OK;
}


ngx_int_t
ngx_coco_robot_ephemeral_read(ngx_coco_robot_t *robot, coco_str_t text)
{
    enum { RECEIVED, REMOTELY, DRIVEU, LID, MEMBERS };

    static const coco_str_t  names[MEMBERS] = {
        coco_string("receivedAt"), coco_string("remotelyControllable"),
        coco_string("driveu"), coco_string("lid")
    };

    coco_error_t       err;
    coco_json_value_t  object, m[MEMBERS];

    if (coco_message_read(&object, text, &err) != COCO_OK) {
        return NGX_DECLINED;
    }

    ngx_memzero(m, sizeof(m));
    coco_message_members(&object, names, MEMBERS, m);

    if (!m[RECEIVED].integer) {
        return NGX_DECLINED;
    }

    robot->ephemeral_source = coco_string("redis");
    robot->ephemeral_at = m[RECEIVED].int64;
    robot->lid = m[LID].text;

    if (robot->connectivity_source.data == NULL) {
        robot->connectivity_source = robot->ephemeral_source;
        robot->connectivity_at = robot->ephemeral_at;
        robot->remotely_controllable = m[REMOTELY].type == COCO_JSON_TRUE;
        robot->driveu = m[DRIVEU].text;
    }

    return NGX_OK;
}


int64_t
ngx_coco_robot_valid_until(const ngx_coco_robot_t *robot,
    const ngx_coco_robot_view_t *view)
{
    int64_t  heard, until;

    until = INT64_MAX;
    heard = ngx_min(robot->hb.ts, robot->hb.received_at);

    if (ngx_coco_robot_online(robot, view)) {
        until = heard + (int64_t) view->conf->online_window;
    }

    if (coco_str_equal(robot->telemetry_source, coco_string("redis"))) {
        until = ngx_min(until, heard + (int64_t) view->conf->heartbeat_ttl);
    }

    if (coco_str_equal(robot->ephemeral_source, coco_string("redis"))) {
        until = ngx_min(until, robot->ephemeral_at
                               + (int64_t) view->conf->heartbeat_ttl);
    }

    return until;
}


static bool
ngx_coco_robot_online(const ngx_coco_robot_t *robot,
    const ngx_coco_robot_view_t *view)
{
    int64_t  heard;

    heard = ngx_min(robot->hb.ts, robot->hb.received_at);

    return robot->telemetry_source.data != NULL
           && view->now - heard <= (int64_t) view->conf->online_window;
}


void
ngx_coco_robot_encode(coco_json_out_t *out, const ngx_coco_robot_t *robot,
    const ngx_coco_robot_view_t *view)
{
    bool  online;

    online = ngx_coco_robot_online(robot, view);

    coco_json_object_open(out);
    coco_json_name(out, "serial");
    coco_json_string(out, robot->serial);
    coco_json_name(out, "operationState");
    coco_json_string(out, coco_state_name(robot->operation_state));

    coco_json_name(out, "business");
    ngx_coco_robot_business_encode(out, robot);

    coco_json_name(out, "telemetry");

    if (robot->telemetry_source.data) {
        coco_robot_state_encode(out, &robot->hb, robot->operation_state);
    } else {
        coco_json_null(out);
    }

    coco_json_name(out, "connectivity");
    coco_json_object_open(out);
    coco_json_name(out, "online");
    coco_json_bool(out, online);
    coco_json_name(out, "remotelyControllable");
    coco_json_bool(out, robot->remotely_controllable);
    coco_json_name(out, "driveu");
    coco_json_json(out, robot->driveu);
    coco_json_object_close(out);

    coco_json_name(out, "lid");
    coco_json_json(out, robot->lid);
    coco_json_name(out, "delivery");
    ngx_coco_robot_delivery_encode(out, robot);

    coco_json_name(out, "readiness");
    ngx_coco_robot_readiness_encode(out, robot, view, online);

    coco_json_name(out, "sources");
    ngx_coco_robot_sources_encode(out, robot);

    coco_json_name(out, "partial");
    coco_json_bool(out, robot->partial);
    coco_json_object_close(out);
}


static void
ngx_coco_robot_business_encode(coco_json_out_t *out,
    const ngx_coco_robot_t *robot)
{
    int  i;

    if (!robot->has_business) {
        coco_json_null(out);
        return;
    }

    coco_json_object_open(out);

    for (i = 0; i < NGX_COCO_FLAGS; i++) {
        coco_json_key(out, ngx_coco_robot_flags[i].data,
                      ngx_coco_robot_flags[i].len);

        if (robot->flags[i] == COCO_UNSET) {
            coco_json_null(out);
        } else {
            coco_json_bool(out, robot->flags[i] == COCO_TRUE);
        }
    }

    coco_json_name(out, "deployed");
    coco_json_json(out, robot->deployed);
    coco_json_name(out, "changedAt");

    if (robot->changed_at) {
        coco_json_int(out, robot->changed_at);
    } else {
        coco_json_null(out);
    }

    coco_json_object_close(out);
}


static void
ngx_coco_robot_delivery_encode(coco_json_out_t *out,
    const ngx_coco_robot_t *robot)
{
    if (robot->delivery_id.data == NULL) {
        coco_json_null(out);
        return;
    }

    coco_json_object_open(out);
    coco_json_name(out, "id");
    coco_json_string(out, robot->delivery_id);
    coco_json_name(out, "status");
    coco_json_string(out, robot->delivery_status);
    coco_json_object_close(out);
}


/* Null when the business state is not known: nothing can be said then. */

static void
ngx_coco_robot_readiness_encode(coco_json_out_t *out,
    const ngx_coco_robot_t *robot, const ngx_coco_robot_view_t *view,
    bool online)
{
    bool                    known;
    coco_str_t              issue;
    coco_readiness_input_t  in;

    if (!robot->has_business) {
        coco_json_null(out);
        return;
    }

    known = robot->telemetry_source.data != NULL;

    in.undergoing_maintenance = robot->flags[NGX_COCO_UNDERGOING_MAINTENANCE];
    in.needs_maintenance = robot->flags[NGX_COCO_NEEDS_MAINTENANCE];
    in.needs_pickup = robot->flags[NGX_COCO_NEEDS_PICKUP];
    in.driveable = robot->flags[NGX_COCO_DRIVEABLE];
    in.operation_state = robot->operation_state;
    in.online = online;
    in.healthy = known ? robot->hb.healthy : true;
    in.battery_percent = known ? robot->hb.battery_percent : NAN;
    in.remotely_controllable = robot->remotely_controllable;
    in.low_battery_percent = view->conf->low_battery;
    in.teleoperation_required = view->conf->teleoperation;

    issue = coco_readiness_issue(&in);

    coco_json_object_open(out);
    coco_json_name(out, "ready");
    coco_json_bool(out, issue.data == NULL);
    coco_json_name(out, "issue");
    coco_json_string(out, issue);
    coco_json_object_close(out);
}


static void
ngx_coco_robot_sources_encode(coco_json_out_t *out,
    const ngx_coco_robot_t *robot)
{
    coco_json_object_open(out);

    if (robot->has_business) {
        ngx_coco_robot_source_encode(out, coco_string("business"),
                                     coco_string("postgres"),
                                     robot->changed_at);
    }

    if (robot->telemetry_source.data) {
        ngx_coco_robot_source_encode(out, coco_string("telemetry"),
                                     robot->telemetry_source,
                                     robot->hb.received_at);
    }

    if (robot->connectivity_source.data) {
        ngx_coco_robot_source_encode(out, coco_string("connectivity"),
                                     robot->connectivity_source,
                                     robot->connectivity_at);
    }

    if (robot->lid.data) {
        ngx_coco_robot_source_encode(out, coco_string("lid"),
                                     robot->ephemeral_source,
                                     robot->ephemeral_at);
    }

    if (robot->delivery_id.data) {
        ngx_coco_robot_source_encode(out, coco_string("delivery"),
                                     coco_string("postgres"),
                                     robot->delivery_at);
    }

    coco_json_object_close(out);
}


static void
ngx_coco_robot_source_encode(coco_json_out_t *out, coco_str_t name,
    coco_str_t source, int64_t as_of)
{
    coco_json_key(out, name.data, name.len);
    coco_json_object_open(out);
    coco_json_name(out, "source");
    coco_json_string(out, source);
    coco_json_name(out, "asOf");

    if (as_of) {
        coco_json_int(out, as_of);
    } else {
        coco_json_null(out);
    }

    coco_json_object_close(out);
}
