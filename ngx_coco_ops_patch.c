/*
 * PATCH /robots/{serial}: what may be said, member by member, the statement,
 * and the copy in Redis that shows the operation state: it is changed before
 * the reply, so that no later read finds the old one there.
 */

#include "ngx_coco_ops_patch.h"
#include "ngx_coco_base.h"
#include "ngx_coco_body.h"
#include "ngx_coco_query.h"
#include "ngx_coco_record.h"
#include "ngx_coco_reply.h"
#include "ngx_coco_waiter.h"
#include "coco_supply.h"


#define NGX_COCO_DEPLOYED_ID_MAX  64


typedef struct {
    ngx_http_request_t    *request;
    ngx_coco_waiter_t     *waiter;
    ngx_str_t              serial;
    ngx_coco_written_t     written;
    ngx_int_t              rc;           /* NGX_DECLINED: `written` is to be
                                            replied */
} ngx_coco_ops_patch_ctx_t;


static void ngx_coco_ops_patch_written(void *data, ngx_coco_outcome_e outcome,
    PGresult *result);
static coco_state_e ngx_coco_ops_patch_state(const PGresult *result);
static void ngx_coco_ops_patch_copy(ngx_coco_ops_patch_ctx_t *patch,
    coco_state_e state);
static void ngx_coco_ops_patch_copied(void *data, ngx_coco_outcome_e outcome,
    redisReply *reply);
static void ngx_coco_ops_patch_done(ngx_http_request_t *r, void *data);
static const char *ngx_coco_patch_flag(const coco_json_value_t *value);
static const char *ngx_coco_patch_state(const coco_json_value_t *value);
static const char *ngx_coco_patch_place_type(const coco_json_value_t *value);
static const char *ngx_coco_patch_place_id(const coco_json_value_t *value);


static const ngx_coco_body_member_t  ngx_coco_patch_place[] = {
    { .name = coco_string("type"), .required = 1,
      .check = ngx_coco_patch_place_type },
    { .name = coco_string("id"), .required = 1,
      .check = ngx_coco_patch_place_id },
    { .name = coco_string("latitude"), .required = 1,
      .check = ngx_coco_body_latitude },
    { .name = coco_string("longitude"), .required = 1,
      .check = ngx_coco_body_longitude },
    { .name = { NULL, 0 } }
};


/* columns of robot_operation */
static const ngx_coco_body_member_t  ngx_coco_patch_members[] = {
    { .name = coco_string("operationState"), .column = "operation_state",
      .check = ngx_coco_patch_state },
    { .name = coco_string("needsMovement"), .column = "needs_movement",
      .check = ngx_coco_patch_flag },
    { .name = coco_string("undergoingMaintenance"),
      .column = "undergoing_maintenance", .check = ngx_coco_patch_flag },
    { .name = coco_string("needsMaintenance"), .column = "needs_maintenance",
      .check = ngx_coco_patch_flag },
    { .name = coco_string("needsPickup"), .column = "needs_pickup",
      .check = ngx_coco_patch_flag },
    { .name = coco_string("hasFood"), .column = "has_food",
      .check = ngx_coco_patch_flag },
    { .name = coco_string("driveable"), .check = ngx_coco_patch_flag },
    { .name = coco_string("deployed"), .nullable = 1,
      .members = ngx_coco_patch_place },
    { .name = { NULL, 0 } }
};


ngx_coco_pg_statement_t  ngx_coco_ops_patch = {
    ngx_string("coco_robot_patch"),
    "select status, response, coco.supply_changes($5::text) as supply"
    "  from coco.robot_patch("
    "    $1::text, $2::text, $3::text, $4::bytea, $5::text, $6::jsonb)",
    6, NGX_COCO_PG_SLOW, 0, 1
};


/* What the worker does on a change of the operation state, the same way. */
static ngx_str_t  ngx_coco_ops_patch_script = ngx_string(
    "local old = redis.call('GET', KEYS[1])\n"
    "if old then\n"
    "  redis.call('SET', KEYS[1], (string.gsub(old,\n"
    "    '\"operationState\":[^,}]*',\n"
    "    '\"operationState\":\"' .. ARGV[1] .. '\"', 1)), 'KEEPTTL')\n"
    "end\n"
    "return 1\n");


ngx_int_t
ngx_coco_ops_patch_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    ngx_int_t              rc;
    ngx_str_t             *params, *changes;
    coco_error_t           err;
    ngx_coco_ops_patch_ctx_t  *patch;

    params = ngx_pcalloc(r->pool, (NGX_COCO_WRITE_PARAMS + 2)
                                  * sizeof(ngx_str_t));
    patch = ngx_pcalloc(r->pool, sizeof(ngx_coco_ops_patch_ctx_t));
    if (params == NULL || patch == NULL) {
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

    if (ngx_coco_query_write_params(r, call, params, &rc) != NGX_OK) {
        return rc;
    }

    if (ngx_coco_base_conf(r)->pg == NULL) {
        return ngx_coco_reply_unavailable(r, "Postgres", NGX_COCO_DOWN);
    }

    patch->request = r;
    patch->serial = call->path[0];
    patch->waiter = ngx_coco_waiter_create(r, ngx_coco_ops_patch_done, patch);

    if (patch->waiter == NULL
        || ngx_coco_waiter_pg(patch->waiter, &ngx_coco_ops_patch, params,
                              ngx_coco_ops_patch_written)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_waiter_wait(patch->waiter);
}


static void
ngx_coco_ops_patch_written(void *data, ngx_coco_outcome_e outcome,
    PGresult *result)
{
    ngx_coco_ops_patch_ctx_t  *patch = data;

    coco_state_e  state;

    if (ngx_coco_query_check(patch->request, outcome, result, &patch->rc)
        != NGX_OK)
    {
        return;
    }

    if (ngx_coco_query_written(patch->request, result, &patch->written)
        != NGX_OK)
    {
        patch->rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return;
    }

    patch->rc = NGX_DECLINED;
    state = ngx_coco_ops_patch_state(result);

    if (state != COCO_STATE_NONE
        && ngx_coco_base_conf(patch->request)->redis)
    {
        ngx_coco_ops_patch_copy(patch, state);
    }
}


/* That of the robot's line, not of the body: the response may be that of an
 * earlier request, and the state another one since. NONE: it has none. */

static coco_state_e
ngx_coco_ops_patch_state(const PGresult *result)
{
    coco_str_t           line, serial;
    coco_error_t         err;
    coco_supply_state_t  supply;

    line = ngx_coco_pg_field(result, 0, PQfnumber(result, "supply"));

    /* its newline */

    if (line.len == 0) {
        return COCO_STATE_NONE;
    }

    line.len--;

    return coco_supply_line_decode(line, &serial, &supply, &err) == COCO_OK
           && (supply.parts & COCO_SUPPLY_BUSINESS)
           ? supply.business.operation_state : COCO_STATE_NONE;
}


static void
ngx_coco_ops_patch_copy(ngx_coco_ops_patch_ctx_t *patch, coco_state_e state)
{
    ngx_str_t   argv[5];
    coco_str_t  name;

    /* the change is committed: without Redis the copy expires */

    if (ngx_coco_record_key(patch->request->pool, NGX_COCO_CACHE_KEY,
                            ngx_coco_str(patch->serial), &argv[3])
        != NGX_OK)
    {
        return;
    }

    name = coco_state_name(state);

    ngx_str_set(&argv[0], "EVAL");
    argv[1] = ngx_coco_ops_patch_script;
    ngx_str_set(&argv[2], "1");
    argv[4].data = (u_char *) name.data;
    argv[4].len = name.len;

    (void) ngx_coco_waiter_redis(patch->waiter, 5, argv,
                                 ngx_coco_ops_patch_copied);
}


static void
ngx_coco_ops_patch_copied(void *data, ngx_coco_outcome_e outcome,
    redisReply *reply)
{
    ngx_coco_ops_patch_ctx_t  *patch = data;

    ngx_coco_base_conf_t  *conf;

    conf = ngx_coco_base_conf(patch->request);

    /* a document may have been made of the old copy meanwhile */

    if (conf->zone) {
        ngx_coco_zone_invalidate(conf->zone, ngx_coco_str(patch->serial));
    }
}


static void
ngx_coco_ops_patch_done(ngx_http_request_t *r, void *data)
{
    ngx_coco_ops_patch_ctx_t  *patch = data;

    ngx_int_t  rc;

    rc = patch->rc == NGX_DECLINED
         ? ngx_coco_query_written_reply(r, &patch->written) : patch->rc;

    ngx_coco_waiter_finalize(patch->waiter, rc);
}


static const char *
ngx_coco_patch_flag(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_TRUE || value->type == COCO_JSON_FALSE
           || value->type == COCO_JSON_NULL
           ? NULL : "must be true, false, or null to clear it";
}


static const char *
ngx_coco_patch_state(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_STRING
           && coco_state_parse(value->string) != COCO_STATE_NONE
           ? NULL : "must be one of GROUNDED, ON_TRIP, PARKED, OFF_DUTY, "
                    "DEPLOYED";
}


static const char *
ngx_coco_patch_place_type(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_STRING
           && (coco_str_equal(value->string, coco_string("PARKING_LOT"))
               || coco_str_equal(value->string, coco_string("MRO"))
               || coco_str_equal(value->string, coco_string("POD")))
           ? NULL : "must be PARKING_LOT, MRO or POD";
}


static const char *
ngx_coco_patch_place_id(const coco_json_value_t *value)
{
    return ngx_coco_body_string(value, NGX_COCO_DEPLOYED_ID_MAX)
           ? NULL : "must be a string of 1 to 64 bytes";
}
