/*
 * Quotes: one body, one look at the supply, one reply; with a hold one
 * statement more. Which robot it is, is the core's to say.
 */

#include "ngx_coco_args.h"
#include "ngx_coco_base.h"
#include "ngx_coco_dispatch_conf.h"
#include "ngx_coco_dispatch_quote.h"
#include "ngx_coco_dispatch_trip.h"
#include "ngx_coco_pause.h"
#include "ngx_coco_query.h"
#include "ngx_coco_reply.h"
#include "ngx_coco_supply.h"
#include "ngx_coco_turn.h"
#include "coco_message.h"
#include "coco_quote.h"

#include <math.h>
#include <openssl/rand.h>


#define NGX_COCO_QUOTE_SIZE     640     /* of a reply, as a rule */
#define NGX_COCO_QUOTE_ROBOT    96      /* and of a robot that is explained */

/* What a quote may be for, ms from now. */
#define NGX_COCO_QUOTE_PAST     (60 * 1000)
#define NGX_COCO_QUOTE_AHEAD    (7 * 24 * 3600 * 1000LL)

/* How often the supply is read at once while somebody writes it, and how
 * often again, a millisecond later each. */
#define NGX_COCO_QUOTE_READS    8
#define NGX_COCO_QUOTE_ROUNDS   200

/* How often it is asked for, being emptied while it was read. */
#define NGX_COCO_QUOTE_SUPPLIES 4

/* How often another robot is tried when one was promised meanwhile. */
#define NGX_COCO_QUOTE_HOLDS    16

/* Robots explained before others have their turn. */
#define NGX_COCO_QUOTE_PIECE    2048


typedef struct {
    char                    serial[COCO_SERIAL_MAX];
    uint8_t                 serial_len;
    coco_reasons_t          reasons;
} ngx_coco_quote_robot_t;


/* POST /quote under way. */
typedef struct {
    ngx_coco_call_t        *call;
    coco_trip_t             trip;
    ngx_uint_t              hold;           /* flags */
    ngx_uint_t              explain;
    ngx_uint_t              partial;
    ngx_uint_t              rounds;
    ngx_uint_t              supplies;
    ngx_uint_t              shared;         /* the supply */
    ngx_uint_t              holds;
    ngx_coco_turn_t        *turn;           /* NULL: it did not need one */

    coco_trip_plan_t        plan;
    coco_quote_t            result;
    ngx_coco_quote_robot_t  best;           /* if there is one */
    coco_supply_state_t     seen;           /* of it */
    int64_t                 expires_at;     /* ms */
    coco_id_t               id;             /* if it is to be held */

    ngx_coco_trip_walk_t    walk;           /* of those explained */
    ngx_coco_quote_robot_t *robots;
} ngx_coco_quote_t;


static ngx_int_t ngx_coco_quote_body(ngx_http_request_t *r,
    ngx_coco_quote_t *quote, ngx_int_t *ret_rc);
static const char *ngx_coco_quote_at(const coco_json_value_t *value);
static const char *ngx_coco_quote_flag(const coco_json_value_t *value);
static ngx_int_t ngx_coco_quote_ask(ngx_http_request_t *r, void *data);
static ngx_int_t ngx_coco_quote_supply(ngx_http_request_t *r,
    const coco_fleet_index_t *index, ngx_uint_t shared, ngx_uint_t partial,
    void *data);
static ngx_int_t ngx_coco_quote_find(ngx_coco_quote_t *quote,
    const coco_fleet_index_t *index);
static ngx_int_t ngx_coco_quote_later(ngx_http_request_t *r,
    ngx_coco_quote_t *quote, ngx_coco_pause_handler_pt handler);
static ngx_int_t ngx_coco_quote_explain(ngx_http_request_t *r,
    ngx_coco_quote_t *quote, const coco_fleet_index_t *index);
static bool ngx_coco_quote_robot_read(void *data,
    const coco_fleet_index_t *index, uint32_t robot, uint32_t kept);
static ngx_int_t ngx_coco_quote_explain_piece(ngx_http_request_t *r,
    void *data);
static ngx_int_t ngx_coco_quote_read(ngx_http_request_t *r,
    ngx_coco_quote_t *quote);
static ngx_int_t ngx_coco_quote_reply(ngx_http_request_t *r,
    ngx_coco_quote_t *quote);
static ngx_int_t ngx_coco_quote_hold(ngx_http_request_t *r,
    ngx_coco_quote_t *quote);
static ngx_int_t ngx_coco_quote_held(ngx_http_request_t *r, PGresult *result,
    void *data);
static ngx_int_t ngx_coco_quote_lost(ngx_http_request_t *r,
    ngx_coco_quote_t *quote, PGresult *result);
static void ngx_coco_quote_encode(coco_json_out_t *out, void *data);
static void ngx_coco_quote_encode_rejected(coco_json_out_t *out,
    const ngx_coco_quote_t *quote);
static void ngx_coco_quote_encode_robots(coco_json_out_t *out,
    const ngx_coco_quote_t *quote);
static double ngx_coco_quote_tenths(double value);


static ngx_coco_pg_statement_t  ngx_coco_quote_hold_statement = {
    ngx_string("coco_quote_hold"),
    "select status, response, coco.supply_changes() as supply"
    "  from coco.quote_hold("
    "    $1::text, $2::text, $3::text, $4::bytea, $5::uuid, $6::text,"
    "    $7::bigint, $8::bigint, $9::bigint, $10::text)",
    10, NGX_COCO_PG_SLOW, 0, 1
};


static ngx_coco_pg_statement_t  ngx_coco_quote_release_statement = {
    ngx_string("coco_quote_release"),
    "select status, response, coco.supply_changes() as supply"
    "  from coco.quote_release("
    "    $1::text, $2::text, $3::text, $4::bytea, $5::uuid)",
    5, NGX_COCO_PG_SLOW, 0, 1
};


static const ngx_coco_body_member_t  ngx_coco_quote_members[] = {
    { .name = coco_string("pickup"), .required = 1,
      .members = ngx_coco_trip_place },
    { .name = coco_string("dropoff"), .required = 1,
      .members = ngx_coco_trip_place },
    { .name = coco_string("at"), .nullable = 1,
      .check = ngx_coco_quote_at },
    { .name = coco_string("hold"), .nullable = 1,
      .check = ngx_coco_quote_flag },
    { .name = { NULL, 0 } }
};


ngx_int_t
ngx_coco_quote_init(ngx_conf_t *cf)
{
    static ngx_coco_pg_statement_t *const  statements[] = {
        &ngx_coco_quote_hold_statement, &ngx_coco_quote_release_statement,
        &ngx_coco_feed_page_statement, NULL
    };

    return ngx_coco_pg_statements_add(cf, statements);
}


ngx_int_t
ngx_coco_quote_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    ngx_int_t          rc;
    ngx_str_t          explain;
    coco_error_t       err;
    ngx_coco_quote_t  *quote;

    static const ngx_str_t  scopes[] = {
        ngx_string("dispatch:read"), ngx_string("dispatch:write")
    };

    quote = ngx_palloc(r->pool, sizeof(ngx_coco_quote_t));
    if (quote == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    quote->call = call;
    quote->explain = 0;
    quote->rounds = 0;
    quote->holds = 0;
    quote->turn = NULL;

    rc = r->args.len ? ngx_coco_arg(r, "explain", &explain) : NGX_DECLINED;

    if (rc == NGX_OK) {
        quote->explain = explain.len == 1 && explain.data[0] == '1';

        if (!quote->explain && (explain.len != 1 || explain.data[0] != '0')) {
            (void) coco_error_set(&err, "explain", "must be 0 or 1");
            return ngx_coco_reply_bad_field(r, &err);
        }

    } else if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_coco_quote_body(r, quote, &rc) != NGX_OK) {
        return rc;
    }

    if (!(call->caller.scopes & ((ngx_uint_t) 1 << quote->hold))
        && ngx_coco_auth_check(r, &scopes[quote->hold], &call->caller, &rc)
           != NGX_OK)
    {
        return rc;
    }

    return ngx_coco_quote_ask(r, quote);
}


static ngx_int_t
ngx_coco_quote_body(ngx_http_request_t *r, ngx_coco_quote_t *quote,
    ngx_int_t *ret_rc)
{
    ngx_array_t        errors;
    coco_error_t       err;
    coco_json_value_t  body, v[4];

    static const coco_str_t  names[] = {
        coco_string("pickup"), coco_string("dropoff"), coco_string("at"),
        coco_string("hold")
    };

    if (coco_message_read(&body, ngx_coco_str(quote->call->body), &err)
        != COCO_OK)
    {
        *ret_rc = ngx_coco_reply_bad_field(r, &err);
        return NGX_DECLINED;
    }

    if (ngx_array_init(&errors, r->pool, 1, sizeof(coco_error_t)) != NGX_OK
        || ngx_coco_body_check(&body, ngx_coco_quote_members, "", &errors)
           != NGX_OK)
    {
        *ret_rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return NGX_DECLINED;
    }

    if (errors.nelts) {
        *ret_rc = ngx_coco_reply_bad_fields(r, errors.elts, errors.nelts);
        return NGX_DECLINED;
    }

    coco_message_members(&body, names, 4, v);

    ngx_coco_trip_place_read(&v[0], &quote->trip.pickup);
    ngx_coco_trip_place_read(&v[1], &quote->trip.dropoff);
    quote->trip.ready_at = coco_message_has(&v[2]) ? v[2].int64 : 0;
    quote->hold = coco_message_has(&v[3]) && v[3].type == COCO_JSON_TRUE;

    return NGX_OK;
}


static const char *
ngx_coco_quote_at(const coco_json_value_t *value)
{
    int64_t  now;

    now = ngx_coco_now_ms();

    return value->type == COCO_JSON_NUMBER && value->integer
           && value->int64 >= now - NGX_COCO_QUOTE_PAST
           && value->int64 <= now + NGX_COCO_QUOTE_AHEAD
           ? NULL : "must be milliseconds since the epoch, from a minute ago "
                    "to a week ahead";
}


static const char *
ngx_coco_quote_flag(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_TRUE || value->type == COCO_JSON_FALSE
           ? NULL : "must be true or false";
}


static ngx_int_t
ngx_coco_quote_ask(ngx_http_request_t *r, void *data)
{
    return ngx_coco_supply(r, ngx_coco_quote_supply, data);
}


static ngx_int_t
ngx_coco_quote_supply(ngx_http_request_t *r, const coco_fleet_index_t *index,
    ngx_uint_t shared, ngx_uint_t partial, void *data)
{
    ngx_coco_quote_t  *quote = data;

    int64_t                    now;
    ngx_coco_dispatch_conf_t  *dcf;

    if (index == NULL) {
        ngx_coco_metrics_add(ngx_coco_base_conf(r)->metrics,
                             NGX_COCO_COUNTER_QUOTES_UNAVAILABLE, 1);
        return ngx_coco_reply_unavailable(r, "Postgres", NGX_COCO_DOWN);
    }

    dcf = ngx_coco_dispatch_conf(r);
    now = ngx_coco_now_ms();

    quote->shared = shared;
    quote->partial = partial;
    quote->expires_at = now + dcf->quote_lifetime;
    coco_trip_plan(&quote->plan, &dcf->rules, &quote->trip, now);

    if (ngx_coco_quote_find(quote, index) != NGX_OK) {
        return ngx_coco_quote_later(r, quote, ngx_coco_quote_ask);
    }

    return quote->explain ? ngx_coco_quote_explain(r, quote, index)
                          : ngx_coco_quote_read(r, quote);
}


/* NGX_AGAIN: somebody kept writing. */

static ngx_int_t
ngx_coco_quote_find(ngx_coco_quote_t *quote, const coco_fleet_index_t *index)
{
    uint32_t    robot;
    uint64_t    begun;
    ngx_uint_t  i;
    coco_str_t  serial;

    for (i = 0; i < NGX_COCO_QUOTE_READS; i++) {
        begun = coco_fleet_index_begin(index);

        if (begun & 1) {
            ngx_cpu_pause();
            continue;
        }

        coco_quote(index, &quote->plan, &quote->result);
        robot = quote->result.robot;

        if (robot != COCO_ROBOT_NONE) {
            serial = coco_fleet_index_serial(index, robot);
            quote->best.serial_len = ngx_min(serial.len, COCO_SERIAL_MAX);
            ngx_memcpy(quote->best.serial, serial.data,
                       quote->best.serial_len);

            if (quote->hold) {
                quote->seen = *coco_fleet_index_state(index, robot);
            }
        }

        if (coco_fleet_index_end(index, begun)) {
            return NGX_OK;
        }
    }

    return NGX_AGAIN;
}


/* Gives way to who writes the supply. */

static ngx_int_t
ngx_coco_quote_later(ngx_http_request_t *r, ngx_coco_quote_t *quote,
    ngx_coco_pause_handler_pt handler)
{
    if (quote->rounds++ == NGX_COCO_QUOTE_ROUNDS) {
        ngx_coco_metrics_add(ngx_coco_base_conf(r)->metrics,
                             NGX_COCO_COUNTER_QUOTES_UNAVAILABLE, 1);
        return ngx_coco_trip_busy(r, "The supply keeps changing; try again.");
    }

    return ngx_coco_pause(r, 1, handler, quote);
}


/* The zone's supply lives as long as the configuration: it may be explained
 * in pieces. Another one is gone when this returns, and nobody writes it. */

static ngx_int_t
ngx_coco_quote_explain(ngx_http_request_t *r, ngx_coco_quote_t *quote,
    const coco_fleet_index_t *index)
{
    uint32_t  count;

    count = ngx_min(coco_fleet_index_count(index),
                    coco_fleet_index_capacity(index));

    quote->robots = ngx_palloc(r->pool,
                               count * sizeof(ngx_coco_quote_robot_t) + 1);
    if (quote->robots == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    quote->walk.index = index;
    quote->walk.next = 0;
    quote->walk.last = count;
    quote->walk.kept = 0;
    quote->walk.read = ngx_coco_quote_robot_read;
    quote->walk.data = quote;

    if (quote->shared) {
        return ngx_coco_quote_explain_piece(r, quote);
    }

    (void) ngx_coco_trip_walk(&quote->walk, count);

    return ngx_coco_quote_reply(r, quote);
}


static bool
ngx_coco_quote_robot_read(void *data, const coco_fleet_index_t *index,
    uint32_t robot, uint32_t kept)
{
    ngx_coco_quote_t  *quote = data;

    coco_str_t               serial;
    coco_trip_cost_t         cost;
    ngx_coco_quote_robot_t  *explained;

    serial = coco_fleet_index_serial(index, robot);
    explained = &quote->robots[kept];

    explained->serial_len = ngx_min(serial.len, COCO_SERIAL_MAX);
    ngx_memcpy(explained->serial, serial.data, explained->serial_len);
    explained->reasons = coco_quote_explain(index, robot, &quote->plan,
                                            &cost);

    return true;
}


static ngx_int_t
ngx_coco_quote_explain_piece(ngx_http_request_t *r, void *data)
{
    ngx_coco_quote_t  *quote = data;

    uint32_t  begun;

    begun = quote->walk.next;

    if (ngx_coco_trip_walk(&quote->walk, NGX_COCO_QUOTE_PIECE) == NGX_OK) {
        return ngx_coco_quote_read(r, quote);
    }

    if (quote->walk.next > begun) {
        quote->rounds = 0;
    }

    return ngx_coco_quote_later(r, quote, ngx_coco_quote_explain_piece);
}


/* In a fleet that was emptied there was no robot, or not the best. */

static ngx_int_t
ngx_coco_quote_read(ngx_http_request_t *r, ngx_coco_quote_t *quote)
{
    if (ngx_coco_supply_whole(r, quote->shared)) {
        return ngx_coco_quote_reply(r, quote);
    }

    if (++quote->supplies == NGX_COCO_QUOTE_SUPPLIES) {
        ngx_coco_metrics_add(ngx_coco_base_conf(r)->metrics,
                             NGX_COCO_COUNTER_QUOTES_UNAVAILABLE, 1);
        return ngx_coco_trip_busy(r, "The supply keeps being emptied; try "
                                  "again.");
    }

    return ngx_coco_quote_ask(r, quote);
}


static ngx_int_t
ngx_coco_quote_reply(ngx_http_request_t *r, ngx_coco_quote_t *quote)
{
    size_t                 size;
    ngx_coco_base_conf_t  *bcf;

    if (quote->hold) {
        return ngx_coco_quote_hold(r, quote);
    }

    bcf = ngx_coco_base_conf(r);
    ngx_coco_metrics_add(bcf->metrics,
                         quote->result.robot == COCO_ROBOT_NONE
                         ? NGX_COCO_COUNTER_QUOTES_NONE
                         : NGX_COCO_COUNTER_QUOTES_FOUND, 1);

    size = NGX_COCO_QUOTE_SIZE;

    if (quote->explain) {
        size += quote->walk.kept * NGX_COCO_QUOTE_ROBOT;
    }

    return ngx_coco_reply_encode(r, NGX_HTTP_OK, size, ngx_coco_quote_encode,
                                 quote);
}


/* Also when there is no robot: the Idempotency-Key may be that of a quote
 * that was answered before. */

static ngx_int_t
ngx_coco_quote_hold(ngx_http_request_t *r, ngx_coco_quote_t *quote)
{
    ngx_int_t   rc;
    ngx_str_t  *params, *own;
    u_char      id[COCO_ID_TEXT_LEN];

    params = ngx_pcalloc(r->pool, (NGX_COCO_WRITE_PARAMS + 6)
                                  * sizeof(ngx_str_t));
    if (params == NULL
        || RAND_bytes(quote->id.bytes, sizeof(quote->id.bytes)) != 1)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* RFC 9562, version 4 */

    quote->id.bytes[6] = (quote->id.bytes[6] & 0x0f) | 0x40;
    quote->id.bytes[8] = (quote->id.bytes[8] & 0x3f) | 0x80;

    if (ngx_coco_query_write_params(r, quote->call, params, &rc) != NGX_OK) {
        return rc;
    }

    own = &params[NGX_COCO_WRITE_PARAMS];

    coco_id_format((char *) id, &quote->id);
    own[0].data = id;
    own[0].len = COCO_ID_TEXT_LEN;

    if (quote->result.robot != COCO_ROBOT_NONE) {
        own[1].data = (u_char *) quote->best.serial;
        own[1].len = quote->best.serial_len;

        if (ngx_coco_query_param_int(r,
                                     quote->seen.parts & COCO_SUPPLY_BUSINESS
                                     ? quote->seen.business.changed_at : 0,
                                     &own[2])
            != NGX_OK
            || ngx_coco_query_param_int(r, quote->seen.demand.version, &own[3])
               != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    if (ngx_coco_query_param_int(r, quote->expires_at, &own[4]) != NGX_OK
        || ngx_coco_reply_fill(r, NGX_COCO_QUOTE_SIZE, ngx_coco_quote_encode,
                               quote, &own[5])
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_query(r, &ngx_coco_quote_hold_statement, params,
                          ngx_coco_quote_held, quote);
}


static ngx_int_t
ngx_coco_quote_held(ngx_http_request_t *r, PGresult *result, void *data)
{
    ngx_coco_quote_t  *quote = data;

    if (ngx_coco_query_int(result, 0, 0) == NGX_HTTP_CONFLICT) {
        return ngx_coco_quote_lost(r, quote, result);
    }

    if (quote->turn) {
        ngx_coco_turn_give(quote->turn);
    }

    ngx_coco_metrics_add(ngx_coco_base_conf(r)->metrics,
                         quote->result.robot == COCO_ROBOT_NONE
                         ? NGX_COCO_COUNTER_QUOTES_NONE
                         : NGX_COCO_COUNTER_QUOTES_HELD, 1);

    return ngx_coco_query_write_reply(r, result, NULL);
}


/* The robot is not as it was seen: the answer is its line. Once that is in the
 * zone, the next quote knows of it; without a fresh zone it is made from a
 * supply that is loaded from now on. All that have lost a robot would choose
 * the same next one and lose again, all but one: they take turns. */

static ngx_int_t
ngx_coco_quote_lost(ngx_http_request_t *r, ngx_coco_quote_t *quote,
    PGresult *result)
{
    char                   lines[COCO_SUPPLY_LINE_MAX + 1];
    coco_str_t             line;
    ngx_coco_base_conf_t  *bcf;

    bcf = ngx_coco_base_conf(r);

    if (++quote->holds == NGX_COCO_QUOTE_HOLDS) {
        ngx_coco_metrics_add(bcf->metrics,
                             NGX_COCO_COUNTER_QUOTES_UNAVAILABLE, 1);
        return ngx_coco_trip_busy(r, "Each robot that could be quoted was "
                                  "promised to somebody else meanwhile; try "
                                  "again.");
    }

    line = ngx_coco_pg_field(result, 0, 1);

    if (bcf->zone && line.len > 0 && line.len < sizeof(lines)) {
        *ngx_cpymem(lines, line.data, line.len) = '\n';
        ngx_coco_zone_apply(bcf->zone,
                            (coco_str_t) { lines, line.len + 1 },
                            r->connection->log);
    }

    return quote->turn ? ngx_coco_quote_ask(r, quote)
                       : ngx_coco_turn_take(r, ngx_coco_quote_ask, quote,
                                            &quote->turn);
}


static void
ngx_coco_quote_encode(coco_json_out_t *out, void *data)
{
    ngx_coco_quote_t  *quote = data;

    coco_str_t                serial;
    const coco_trip_cost_t   *cost;

    cost = &quote->result.cost;

    coco_json_object_open(out);
    coco_json_name(out, "feasible");

    if (quote->result.robot != COCO_ROBOT_NONE) {
        serial = (coco_str_t) { quote->best.serial, quote->best.serial_len };

        coco_json_bool(out, true);
        coco_json_name(out, "serial");
        coco_json_string(out, serial);
        coco_json_name(out, "pickupEtaSeconds");
        coco_json_int(out, llround(cost->pickup_eta));
        coco_json_name(out, "dropoffEtaSeconds");
        coco_json_int(out, llround(cost->dropoff_eta));
        coco_json_name(out, "distanceMeters");
        coco_json_double(out, ngx_coco_quote_tenths(cost->meters));
        coco_json_name(out, "batteryAtEndPercent");
        coco_json_double(out, ngx_coco_quote_tenths(cost->battery_at_end));

        if (quote->hold) {
            coco_json_name(out, "quoteId");
            coco_json_id(out, &quote->id);
        }

    } else {
        coco_json_bool(out, false);
        coco_json_name(out, "serial");
        coco_json_null(out);
        coco_json_name(out, "pickupEtaSeconds");
        coco_json_null(out);
        coco_json_name(out, "dropoffEtaSeconds");
        coco_json_null(out);
        coco_json_name(out, "distanceMeters");
        coco_json_null(out);
        coco_json_name(out, "batteryAtEndPercent");
        coco_json_null(out);
    }

    coco_json_name(out, "expiresAt");
    coco_json_int(out, quote->expires_at);

    ngx_coco_quote_encode_rejected(out, quote);

    if (quote->explain) {
        ngx_coco_quote_encode_robots(out, quote);
    }

    if (quote->partial) {
        coco_json_name(out, "partial");
        coco_json_bool(out, true);
    }

    coco_json_object_close(out);
}


/* Of those explained, when all are. */

static void
ngx_coco_quote_encode_rejected(coco_json_out_t *out,
    const ngx_coco_quote_t *quote)
{
    uint32_t         i;
    coco_str_t       name;
    ngx_uint_t       reason;
    uint32_t         counted[COCO_REASONS];
    const uint32_t  *rejected;

    rejected = quote->result.rejected;

    if (quote->explain) {
        ngx_memzero(counted, sizeof(counted));

        for (i = 0; i < quote->walk.kept; i++) {
            for (reason = 0; reason < COCO_REASONS; reason++) {
                counted[reason] += (quote->robots[i].reasons >> reason) & 1;
            }
        }

        rejected = counted;
    }

    coco_json_name(out, "rejected");
    coco_json_object_open(out);

    for (reason = 0; reason < COCO_REASONS; reason++) {
        if (rejected[reason]) {
            name = coco_reason_name(reason);
            coco_json_key(out, name.data, name.len);
            coco_json_int(out, rejected[reason]);
        }
    }

    coco_json_object_close(out);
}


static void
ngx_coco_quote_encode_robots(coco_json_out_t *out,
    const ngx_coco_quote_t *quote)
{
    uint32_t                       i;
    coco_str_t                     serial;
    const ngx_coco_quote_robot_t  *robot;

    coco_json_name(out, "robots");
    coco_json_array_open(out);

    for (i = 0; i < quote->walk.kept; i++) {
        robot = &quote->robots[i];
        serial = (coco_str_t) { robot->serial, robot->serial_len };

        coco_json_object_open(out);
        coco_json_name(out, "serial");
        coco_json_string(out, serial);
        ngx_coco_trip_reasons_encode(out, robot->reasons);
        coco_json_object_close(out);
    }

    coco_json_array_close(out);
}


static double
ngx_coco_quote_tenths(double value)
{
    return round(value * 10) / 10;
}


ngx_int_t
ngx_coco_quote_release_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    coco_id_t   id;
    ngx_str_t  *params;

    if (coco_id_parse(&id, ngx_coco_str(call->path[0])) != COCO_OK) {
        return ngx_coco_reply_problem(r, NGX_HTTP_NOT_FOUND,
                                      "No quote with this id holds a robot.");
    }

    params = ngx_pcalloc(r->pool, (NGX_COCO_WRITE_PARAMS + 1)
                                  * sizeof(ngx_str_t));
    if (params == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    params[NGX_COCO_WRITE_PARAMS] = call->path[0];

    return ngx_coco_query_write(r, call, &ngx_coco_quote_release_statement,
                                params);
}
