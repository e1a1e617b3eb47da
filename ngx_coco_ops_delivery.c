/*
 * Deliveries over HTTP. Each change is one statement, decided by the core's
 * machine; no reply holds a PIN.
 */

#include "ngx_coco_args.h"
#include "ngx_coco_ops_delivery.h"
#include "ngx_coco_ops_delivery_body.h"
#include "ngx_coco_query.h"
#include "ngx_coco_reply.h"
#include "coco_delivery.h"
#include "coco_message.h"


#define NGX_COCO_DELIVERY_MOVES_SIZE  1024


static ngx_int_t ngx_coco_delivery_found(ngx_http_request_t *r,
    PGresult *result, void *data);
static bool ngx_coco_delivery_status(coco_str_t word);
static ngx_int_t ngx_coco_delivery_events_found(ngx_http_request_t *r,
    PGresult *result, void *data);
static bool ngx_coco_anomaly_kind(coco_str_t word);
static ngx_int_t ngx_coco_delivery_list_send(ngx_http_request_t *r,
    ngx_coco_pg_statement_t *statement, bool (*valid)(coco_str_t word),
    const char *name, const char *expected);
static ngx_int_t ngx_coco_delivery_arg_serial(ngx_http_request_t *r,
    ngx_str_t *ret, coco_error_t *err);
static ngx_coco_query_page_t *ngx_coco_delivery_page(ngx_http_request_t *r);
static void ngx_coco_delivery_row(coco_json_out_t *out,
    const PGresult *result, int row, void *data);
static ngx_int_t ngx_coco_delivery_move(ngx_http_request_t *r,
    ngx_coco_call_t *call, const ngx_coco_body_member_t *members,
    coco_delivery_event_e event);
static ngx_int_t ngx_coco_delivery_unknown(ngx_http_request_t *r);


static ngx_coco_pg_statement_t  ngx_coco_delivery_create = {
    ngx_string("coco_delivery_create"),
    "select status, response, case status when 201 then"
    "           '/deliveries/' || (response::json ->> 'id') end,"
    "       coco.supply_changes() as supply"
    "  from coco.delivery_create("
    "    $1::text, $2::text, $3::text, $4::bytea, $5::jsonb)",
    5, NGX_COCO_PG_SLOW, 0, 1
};


static ngx_coco_pg_statement_t  ngx_coco_delivery_read = {
    ngx_string("coco_delivery_read"),
    "select coco.delivery_document(d) from coco.delivery d"
    " where d.id = $1::uuid",
    1, NGX_COCO_PG_POINT, 0
};


/* status, serial, cursor (created_at, id), limit + 1; null is no filter */
static ngx_coco_pg_statement_t  ngx_coco_delivery_list = {
    ngx_string("coco_delivery_list"),
    "select coco.delivery_document(page.d), coco.to_ms((page.d).created_at),"
    "       (page.d).id::text from ("
    "select d from coco.delivery d"
    " where ($1::text is null or d.status = $1::text)"
    "   and ($2::text is null or d.serial = $2::text)"
    "   and ($3::bigint is null"
    "        or (d.created_at, d.id) < (coco.from_ms($3::bigint), $4::uuid))"
    " order by d.created_at desc, d.id desc limit $5::bigint) page"
    " order by (page.d).created_at desc, (page.d).id desc",
    5, NGX_COCO_PG_SLOW, 0
};


/* delivery, cursor (number), limit + 1 */
static ngx_coco_pg_statement_t  ngx_coco_delivery_events = {
    ngx_string("coco_delivery_events"),
    "select (select row_to_json(event)::text from (select e.id, e.status,"
    "           e.previous_status as \"previousStatus\", e.serial,"
    "           coco.to_ms(e.ts) as ts, e.reason) event), e.number, e.number"
    "  from coco.delivery_event e"
    " where e.delivery_id = $1::uuid"
    "   and e.number > coalesce($2::bigint, 0)"
    " order by e.number limit $3::bigint",
    3, NGX_COCO_PG_SLOW, 0
};


static ngx_coco_pg_statement_t  ngx_coco_delivery_change = {
    ngx_string("coco_delivery_move"),
    "select status, response, coco.supply_changes() as supply"
    "  from coco.delivery_move("
    "    $1::text, $2::text, $3::text, $4::bytea, $5::uuid, $6::jsonb,"
    "    $7::jsonb)",
    7, NGX_COCO_PG_SLOW, 0, 1
};


/* kind, serial, cursor (ts, id), limit + 1; null is no filter */
static ngx_coco_pg_statement_t  ngx_coco_anomaly_list = {
    ngx_string("coco_anomaly_list"),
    "select (select row_to_json(anomaly)::text from (select a.id, a.kind,"
    "           a.serial, coco.to_ms(a.ts) as ts, a.reason, a.candidates,"
    "           a.cycle_id as \"cycleId\") anomaly),"
    "       coco.to_ms(a.ts), a.id::text"
    "  from coco.anomaly a"
    " where ($1::text is null or a.kind = $1::text)"
    "   and ($2::text is null or a.serial = $2::text)"
    "   and ($3::bigint is null"
    "        or (a.ts, a.id) < (coco.from_ms($3::bigint), $4::uuid))"
    " order by a.ts desc, a.id desc limit $5::bigint",
    5, NGX_COCO_PG_SLOW, 0
};


/* The machine, a row for each event. Written while a configuration is read,
 * each time the same; not of its pool, as a refused one frees that. */
static struct {
    char    text[NGX_COCO_DELIVERY_MOVES_SIZE];
    size_t  len;
} ngx_coco_delivery_moves[COCO_DELIVERY_EVENTS];


ngx_int_t
ngx_coco_delivery_init(ngx_conf_t *cf)
{
    int              e;
    coco_json_out_t  out;

    static ngx_coco_pg_statement_t *const  statements[] = {
        &ngx_coco_delivery_create, &ngx_coco_delivery_read,
        &ngx_coco_delivery_list, &ngx_coco_delivery_events,
        &ngx_coco_delivery_change, &ngx_coco_anomaly_list, NULL
    };

    for (e = 0; e < COCO_DELIVERY_EVENTS; e++) {
        coco_json_out_init(&out, ngx_coco_delivery_moves[e].text,
                           NGX_COCO_DELIVERY_MOVES_SIZE);
        coco_delivery_moves_encode(&out, e);

        if (!coco_json_out_ok(&out)) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "coco: the moves of deliveries take %uz bytes",
                          out.len);
            return NGX_ERROR;
        }

        ngx_coco_delivery_moves[e].len = out.len;
    }

    return ngx_coco_pg_statements_add(cf, statements);
}


ngx_int_t
ngx_coco_delivery_create_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    ngx_int_t   rc;
    ngx_str_t  *params;

    params = ngx_pcalloc(r->pool, (NGX_COCO_WRITE_PARAMS + 1)
                                  * sizeof(ngx_str_t));
    if (params == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_coco_body_take(r, &call->body, ngx_coco_delivery_create_members,
                           &params[NGX_COCO_WRITE_PARAMS], &rc)
        != NGX_OK)
    {
        return rc;
    }

    return ngx_coco_query_write(r, call, &ngx_coco_delivery_create, params);
}


ngx_int_t
ngx_coco_delivery_read_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    coco_id_t  id;

    if (coco_id_parse(&id, ngx_coco_str(call->path[0])) != COCO_OK) {
        return ngx_coco_delivery_unknown(r);
    }

    return ngx_coco_query(r, &ngx_coco_delivery_read, call->path,
                          ngx_coco_delivery_found, NULL);
}


static ngx_int_t
ngx_coco_delivery_found(ngx_http_request_t *r, PGresult *result, void *data)
{
    ngx_str_t   body;
    coco_str_t  document;

    if (PQntuples(result) == 0) {
        return ngx_coco_delivery_unknown(r);
    }

    document = ngx_coco_pg_field(result, 0, 0);

    body.len = document.len;
    body.data = ngx_pnalloc(r->pool, body.len);
    if (body.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memcpy(body.data, document.data, body.len);

    return ngx_coco_reply_json(r, NGX_HTTP_OK, &body);
}


ngx_int_t
ngx_coco_delivery_list_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    return ngx_coco_delivery_list_send(r, &ngx_coco_delivery_list,
                                       ngx_coco_delivery_status,
                                       "status", "must be one of Created, "
                                       "Assigned, EnrouteToPickup, AtPickup, "
                                       "LoadedWaitingForPilot, "
                                       "EnrouteToDropoff, AtDropoff, "
                                       "Completed, Canceled");
}


static bool
ngx_coco_delivery_status(coco_str_t word)
{
    return coco_delivery_status_parse(word) != COCO_DELIVERY_NONE;
}


ngx_int_t
ngx_coco_delivery_events_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    int64_t                 number;
    coco_id_t               id;
    ngx_int_t               rc;
    ngx_str_t              *params, key;
    coco_error_t            err;
    ngx_coco_query_page_t  *page;

    ngx_memzero(&err, sizeof(coco_error_t));

    if (coco_id_parse(&id, ngx_coco_str(call->path[0])) != COCO_OK) {
        return ngx_coco_delivery_unknown(r);
    }

    params = ngx_pcalloc(r->pool, 3 * sizeof(ngx_str_t));
    page = ngx_coco_delivery_page(r);
    if (params == NULL || page == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    params[0] = call->path[0];

    rc = ngx_coco_arg_cursor(r, &number, &key, &err);

    if (rc == NGX_OK) {
        rc = ngx_coco_query_param_int(r, number, &params[1]);
    }

    if (rc == NGX_ERROR
        || ngx_coco_arg_limit(r, &page->limit, &err) == NGX_ERROR)
    {
        return ngx_coco_reply_bad_field(r, &err);
    }

    if (ngx_coco_query_param_int(r, page->limit + 1, &params[2]) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_query(r, &ngx_coco_delivery_events, params,
                          rc == NGX_DECLINED ? ngx_coco_delivery_events_found
                                             : ngx_coco_query_page_reply,
                          page);
}


/* Every delivery has an event: that of its creation. */

static ngx_int_t
ngx_coco_delivery_events_found(ngx_http_request_t *r, PGresult *result,
    void *data)
{
    return PQntuples(result) == 0 ? ngx_coco_delivery_unknown(r)
                                : ngx_coco_query_page_reply(r, result, data);
}


ngx_int_t
ngx_coco_anomaly_list_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    return ngx_coco_delivery_list_send(r, &ngx_coco_anomaly_list,
                                       ngx_coco_anomaly_kind,
                                       "kind", "must be one of NO_DELIVERY, "
                                       "SEVERAL_DELIVERIES, NEVER_CLOSED, "
                                       "CLOSE_WITHOUT_OPEN, RESYNC");
}


static bool
ngx_coco_anomaly_kind(coco_str_t word)
{
    ngx_uint_t  i;

    /* CONTRACT, GET /anomalies */
    static const coco_str_t  kinds[] = {
        coco_string("NO_DELIVERY"), coco_string("SEVERAL_DELIVERIES"),
        coco_string("NEVER_CLOSED"), coco_string("CLOSE_WITHOUT_OPEN"),
        coco_string("RESYNC")
    };

    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (coco_str_equal(kinds[i], word)) {
            return true;
        }
    }

    return false;
}


/* Newest first, of those of a word and of a robot. */

static ngx_int_t
ngx_coco_delivery_list_send(ngx_http_request_t *r,
    ngx_coco_pg_statement_t *statement, bool (*valid)(coco_str_t word),
    const char *name, const char *expected)
{
    ngx_int_t               rc;
    ngx_str_t              *params;
    coco_error_t            err;
    ngx_coco_query_page_t  *page;

    ngx_memzero(&err, sizeof(coco_error_t));

    params = ngx_pcalloc(r->pool, 5 * sizeof(ngx_str_t));
    page = ngx_coco_delivery_page(r);
    if (params == NULL || page == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_coco_arg(r, name, &params[0]);

    if (rc == NGX_OK && !valid(ngx_coco_str(params[0]))) {
        rc = NGX_ERROR;
        (void) coco_error_set(&err, name, "%s", expected);
    }

    if (rc == NGX_ERROR
        || ngx_coco_delivery_arg_serial(r, &params[1], &err) == NGX_ERROR
        || ngx_coco_query_cursor(r, &params[2], &err) == NGX_ERROR
        || ngx_coco_arg_limit(r, &page->limit, &err) == NGX_ERROR)
    {
        return ngx_coco_reply_bad_field(r, &err);
    }

    return ngx_coco_query_page(r, statement, params, page);
}


static ngx_int_t
ngx_coco_delivery_arg_serial(ngx_http_request_t *r, ngx_str_t *ret,
    coco_error_t *err)
{
    ngx_int_t  rc;

    rc = ngx_coco_arg(r, "serial", ret);

    if (rc == NGX_OK && !coco_serial_valid(ngx_coco_str(*ret))) {
        (void) coco_error_set(err, "serial",
                              "must be 1 to 64 of [A-Za-z0-9._-]");
        return NGX_ERROR;
    }

    return rc;
}


/* All lists here: a document, and the two parts of the cursor. */

static ngx_coco_query_page_t *
ngx_coco_delivery_page(ngx_http_request_t *r)
{
    ngx_coco_query_page_t  *page;

    page = ngx_palloc(r->pool, sizeof(ngx_coco_query_page_t));
    if (page == NULL) {
        return NULL;
    }

    page->limit = NGX_COCO_LIMIT_DEFAULT;
    page->ms_column = 1;
    page->key_column = 2;
    page->row = ngx_coco_delivery_row;
    page->data = NULL;

    return page;
}


static void
ngx_coco_delivery_row(coco_json_out_t *out, const PGresult *result, int row,
    void *data)
{
    coco_json_json(out, ngx_coco_pg_field(result, row, 0));
}


ngx_int_t
ngx_coco_delivery_assign_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    return ngx_coco_delivery_move(r, call, ngx_coco_delivery_assign_members,
                                  COCO_DELIVERY_ASSIGN);
}


ngx_int_t
ngx_coco_delivery_depart_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    return ngx_coco_delivery_move(r, call, ngx_coco_delivery_no_members,
                                  COCO_DELIVERY_DEPART);
}


ngx_int_t
ngx_coco_delivery_arrive_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    return ngx_coco_delivery_move(r, call, ngx_coco_delivery_arrive_members,
                                  COCO_DELIVERY_ARRIVE_PICKUP);
}


ngx_int_t
ngx_coco_delivery_complete_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call)
{
    return ngx_coco_delivery_move(r, call, ngx_coco_delivery_no_members,
                                  COCO_DELIVERY_COMPLETE);
}


ngx_int_t
ngx_coco_delivery_cancel_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    return ngx_coco_delivery_move(r, call, ngx_coco_delivery_cancel_members,
                                  COCO_DELIVERY_CANCEL);
}


/* "at", where the body has it, says which of the arrivals it is. */

static ngx_int_t
ngx_coco_delivery_move(ngx_http_request_t *r, ngx_coco_call_t *call,
    const ngx_coco_body_member_t *members, coco_delivery_event_e event)
{
    coco_id_t           id;
    ngx_int_t           rc;
    ngx_str_t          *params, *own;
    coco_error_t        err;
    coco_json_value_t   object, at;

    static const coco_str_t  name = coco_string("at");

    if (coco_id_parse(&id, ngx_coco_str(call->path[0])) != COCO_OK) {
        return ngx_coco_delivery_unknown(r);
    }

    params = ngx_pcalloc(r->pool, (NGX_COCO_WRITE_PARAMS + 3)
                                  * sizeof(ngx_str_t));
    if (params == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    own = &params[NGX_COCO_WRITE_PARAMS];

    if (ngx_coco_body_take(r, &call->body, members, &own[2], &rc) != NGX_OK) {
        return rc;
    }

    if (coco_message_read(&object, ngx_coco_str(own[2]), &err) != COCO_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    coco_message_members(&object, &name, 1, &at);

    if (coco_message_has(&at)
        && coco_str_equal(at.string, coco_string("dropoff")))
    {
        event = COCO_DELIVERY_ARRIVE_DROPOFF;
    }

    own[0] = call->path[0];
    own[1].data = (u_char *) ngx_coco_delivery_moves[event].text;
    own[1].len = ngx_coco_delivery_moves[event].len;

    return ngx_coco_query_write(r, call, &ngx_coco_delivery_change, params);
}


static ngx_int_t
ngx_coco_delivery_unknown(ngx_http_request_t *r)
{
    return ngx_coco_reply_problem(r, NGX_HTTP_NOT_FOUND,
                                  "No delivery has this id.");
}
