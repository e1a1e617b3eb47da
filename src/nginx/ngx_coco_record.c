/*
 * The record of a robot and its copies in Redis. Must never replace a copy,
 * nor put one back whose time is over.
 */

#include "ngx_coco_record.h"
#include "ngx_coco_query.h"
#include "coco_message.h"


/* Of RobotState, less the slices of the record. */
#define NGX_COCO_RECORD_STATE  512


static bool ngx_coco_record_healthy(coco_json_value_t *components);
static void ngx_coco_record_was_put(void *data, ngx_coco_outcome_e outcome,
    redisReply *reply);


ngx_int_t
ngx_coco_record_read(coco_heartbeat_t *hb, coco_str_t *ret_lid,
    coco_str_t serial, const PGresult *result, int row, int column,
    ngx_pool_t *pool)
{
    enum { HEALTHY, BATTERY, LOCATION, COMPONENTS, LID, MEMBERS };

    static const coco_str_t  names[MEMBERS] = {
        coco_string("healthy"), coco_string("battery"),
        coco_string("location"), coco_string("components"),
        coco_string("lid")
    };

    static const coco_str_t  open = coco_string("open");

    coco_str_t         details;
    coco_error_t       err;
    coco_json_value_t  object, lid, m[MEMBERS];

    if (PQgetisnull(result, row, column)) {
        return NGX_DECLINED;
    }

    ngx_memzero(hb, sizeof(coco_heartbeat_t));

    details = ngx_coco_pg_field(result, row, column + 4);

    if (ngx_coco_pg_copy(pool, &details) != NGX_OK) {
        return NGX_ERROR;
    }

    if (coco_id_parse(&hb->id, ngx_coco_pg_field(result, row, column))
        != COCO_OK
        || coco_message_read(&object, details, &err) != COCO_OK)
    {
        return NGX_DECLINED;
    }

    hb->serial = serial;
    hb->state = coco_state_parse(ngx_coco_pg_field(result, row, column + 1));
    hb->ts = strtoll(PQgetvalue(result, row, column + 2), NULL, 10);
    hb->received_at = strtoll(PQgetvalue(result, row, column + 3), NULL, 10);

    coco_message_members(&object, names, MEMBERS, m);

    if (ngx_coco_record_telemetry(hb, &m[HEALTHY], &m[BATTERY], &m[LOCATION],
                                  &m[COMPONENTS])
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (m[LID].text.data && m[LID].type == COCO_JSON_OBJECT) {
        coco_message_members(&m[LID], &open, 1, &lid);
        hb->has_lid = lid.text.data != NULL;
        hb->lid_open = hb->has_lid && lid.type == COCO_JSON_TRUE;
    }

    *ret_lid = m[LID].text;

    return NGX_OK;
}


ngx_int_t
ngx_coco_record_telemetry(coco_heartbeat_t *hb, coco_json_value_t *healthy,
    coco_json_value_t *battery, coco_json_value_t *location,
    coco_json_value_t *components)
{
    static const coco_str_t  percent = coco_string("percent");

    coco_json_value_t  level;

    if (battery->text.data == NULL || battery->type != COCO_JSON_OBJECT
        || location->text.data == NULL || location->type != COCO_JSON_OBJECT)
    {
        return NGX_DECLINED;
    }

    coco_message_members(battery, &percent, 1, &level);

    if (level.text.data == NULL || level.type != COCO_JSON_NUMBER) {
        return NGX_DECLINED;
    }

    hb->battery_percent = level.number;
    hb->battery = battery->text;
    hb->location = location->text;
    hb->components = components->text;
    hb->healthy = healthy->text.data ? healthy->type == COCO_JSON_TRUE
                                     : ngx_coco_record_healthy(components);

    return NGX_OK;
}


/* CONTRACT "Heartbeat": unless a component is ERROR. Only details lack
 * "healthy", and jsonb shows "ERROR" without escapes. */

static bool
ngx_coco_record_healthy(coco_json_value_t *components)
{
    size_t             pos;
    coco_str_t         name;
    coco_json_value_t  value;

    if (components->text.data == NULL || components->type != COCO_JSON_OBJECT)
    {
        return true;
    }

    pos = 0;

    while (coco_json_member_next(components, &pos, &name, &value)) {

        if (value.type == COCO_JSON_STRING
            && coco_str_equal(value.string, coco_string("ERROR")))
        {
            return false;
        }
    }

    return true;
}


ngx_int_t
ngx_coco_record_state(ngx_pool_t *pool, const coco_heartbeat_t *hb,
    coco_state_e operation_state, ngx_str_t *ret)
{
    coco_json_out_t  out;

    ret->len = hb->battery.len + hb->location.len + hb->components.len
               + NGX_COCO_RECORD_STATE;
    ret->data = ngx_pnalloc(pool, ret->len);
    if (ret->data == NULL) {
        return NGX_ERROR;
    }

    coco_json_out_init(&out, (char *) ret->data, ret->len);
    coco_robot_state_encode(&out, hb, operation_state);
    ret->len = out.len;

    return coco_json_out_ok(&out) ? NGX_OK : NGX_ERROR;
}


int64_t
ngx_coco_record_left(const ngx_coco_base_conf_t *conf,
    const coco_heartbeat_t *hb)
{
    return ngx_min(hb->ts, hb->received_at) + (int64_t) conf->heartbeat_ttl
           - ngx_coco_now_ms();
}


void
ngx_coco_record_put(ngx_http_request_t *r, const char *prefix,
    const coco_heartbeat_t *hb, const ngx_str_t *copy)
{
    int64_t                left;
    ngx_str_t              argv[6];
    ngx_coco_base_conf_t  *conf;

    conf = ngx_coco_base_conf(r);
    left = ngx_coco_record_left(conf, hb);

    if (left <= 0
        || ngx_coco_record_key(r->pool, prefix, hb->serial, &argv[1])
           != NGX_OK
        || ngx_coco_query_param_int(r, left, &argv[5]) != NGX_OK)
    {
        return;
    }

    ngx_str_set(&argv[0], "SET");
    argv[2] = *copy;
    ngx_str_set(&argv[3], "NX");
    ngx_str_set(&argv[4], "PX");

    (void) ngx_coco_redis_send(conf->redis, 6, argv, conf->redis_timeout,
                               ngx_coco_record_was_put, NULL);
}


static void
ngx_coco_record_was_put(void *data, ngx_coco_outcome_e outcome,
    redisReply *reply)
{
    /* a copy that could not be put back is so by the next read */
}


ngx_int_t
ngx_coco_record_key(ngx_pool_t *pool, const char *prefix, coco_str_t serial,
    ngx_str_t *ret)
{
    size_t  len;

    len = ngx_strlen(prefix);
    ret->len = len + serial.len;
    ret->data = ngx_pnalloc(pool, ret->len);
    if (ret->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(ngx_cpymem(ret->data, prefix, len), serial.data, serial.len);

    return NGX_OK;
}
