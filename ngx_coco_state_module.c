/*
 * The State service over HTTP: a robot's current state, its history, and the
 * messages that were set aside. Reads what the worker wrote; must never
 * interpret a payload. DriveU's webhooks and lids have files of their own.
 */

#include "ngx_coco.h"
#include "ngx_coco_args.h"
#include "ngx_coco_pg.h"
#include "ngx_coco_query.h"
#include "ngx_coco_replies.h"
#include "ngx_coco_reply.h"
#include "ngx_coco_route.h"
#include "ngx_coco_state_driveu.h"
#include "ngx_coco_state_lid.h"
#include "coco_utf8.h"


#define NGX_COCO_STATE_SIZE  2048


typedef struct {
    coco_str_t        serial;
    const PGresult   *result;
} ngx_coco_state_doc_t;


static ngx_int_t ngx_coco_state_handler(ngx_http_request_t *r);
static ngx_int_t ngx_coco_state_read_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
static ngx_int_t ngx_coco_state_read_reply(ngx_http_request_t *r,
    PGresult *result, void *data);
static void ngx_coco_state_encode(coco_json_out_t *out, void *data);
static ngx_int_t ngx_coco_state_history_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
static void ngx_coco_state_history_encode(coco_json_out_t *out,
    const PGresult *result, int row, void *data);
static ngx_int_t ngx_coco_state_dead_letters_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
static void ngx_coco_state_dead_letter_encode(coco_json_out_t *out,
    const PGresult *result, int row, void *data);
static void ngx_coco_state_payload_encode(coco_json_out_t *out,
    ngx_http_request_t *r, coco_str_t payload);
static ngx_int_t ngx_coco_state_replay_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call);
static void ngx_coco_state_put_ms(coco_json_out_t *out,
    const PGresult *result, int row, int column);
static char *ngx_coco_state(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


static ngx_coco_pg_statement_t  ngx_coco_state_read = {
    ngx_string("coco_state_read"),
    "select s.state, coco.to_ms(s.ts), coco.to_ms(s.received_at),"
    "       s.details::text, d.document, d.controllable"
    "  from coco.robot_state s, coco.driveu($1::text) d"
    " where s.serial = $1::text",
    1, NGX_COCO_PG_POINT, 0
};


/* serial, from, to, cursor (date, id), limit + 1. The bounds are plain
 * comparisons, so that partitions are pruned and the key's index walked. */
static ngx_coco_pg_statement_t  ngx_coco_state_history = {
    ngx_string("coco_state_history"),
    "with bounds as (select"
    "    coalesce(coco.from_ms($2::bigint), '-infinity') as lower,"
    "    coalesce(coco.from_ms($3::bigint), 'infinity') as upper,"
    "    coalesce(coco.from_ms($4::bigint), 'infinity') as date,"
    "    coalesce($5::uuid,"
    "             'ffffffff-ffff-ffff-ffff-ffffffffffff') as id)"
    "select id::text, coco.to_ms(date), coco.to_ms(received_at), state,"
    "       details::text from ("
    "    (select * from coco.state_history where serial = $1::text"
    "        and date >= (select lower from bounds)"
    "        and date < (select upper from bounds)"
    "        and date <= (select date from bounds)"
    "        and (date, id) < ((select date from bounds),"
    "                          (select id from bounds))"
    "      order by date desc, id desc limit $6::bigint)"
    "    union all"
    "    (select * from coco.state_history_late where serial = $1::text"
    "        and date >= (select lower from bounds)"
    "        and date < (select upper from bounds)"
    "        and (date, id) < ((select date from bounds),"
    "                          (select id from bounds))"
    "      order by date desc, id desc limit $6::bigint)) both_"
    " order by date desc, id desc limit $6::bigint",
    6, NGX_COCO_PG_SLOW, 0
};


/* Binary, for the payload; everything else is text or null. A list shows the
 * first MiB of a payload: the table keeps it whole. */
static ngx_coco_pg_statement_t  ngx_coco_state_dead_letters = {
    ngx_string("coco_dead_letters"),
    "select id::text, source, service, topic, field, reason,"
    "       substr(payload, 1, 1048576), coco.to_ms(received_at)::text,"
    "       coco.to_ms(replayed_at)::text, replay_outcome,"
    "       octet_length(payload)::text"
    "  from coco.dead_letter d"
    " where (received_at, id)"
    "       < (coalesce(coco.from_ms($1::bigint), 'infinity'),"
    "          coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))"
    " order by d.received_at desc, d.id desc limit $3::bigint",
    3, NGX_COCO_PG_SLOW, 1
};


static ngx_coco_pg_statement_t  ngx_coco_state_replay = {
    ngx_string("coco_dead_letter_replay"),
    "select status, response from coco.dead_letter_replay("
    "    $1::text, $2::text, $3::text, $4::bytea, $5::uuid)",
    5, NGX_COCO_PG_SLOW, 0
};


static const ngx_coco_route_t  ngx_coco_state_routes[] = {

    { NGX_HTTP_GET,
      ngx_string("/state/{serial}"),
      ngx_string("state:read"),
      0,
      ngx_coco_state_read_handler },

    { NGX_HTTP_GET,
      ngx_string("/state/{serial}/history"),
      ngx_string("state:read"),
      0,
      ngx_coco_state_history_handler },

    { NGX_HTTP_GET,
      ngx_string("/state/{serial}/lid"),
      ngx_string("state:read"),
      0,
      ngx_coco_state_lid_read_handler },

    { NGX_HTTP_GET,
      ngx_string("/state/{serial}/lid/history"),
      ngx_string("state:read"),
      0,
      ngx_coco_state_lid_history_handler },

    { NGX_HTTP_POST,
      ngx_string("/state/{serial}/lid/open"),
      ngx_string("lid:write"),
      NGX_COCO_BODY_MAX,
      ngx_coco_state_lid_open_handler },

    { NGX_HTTP_GET,
      ngx_string("/dead-letters"),
      ngx_string("admin"),
      0,
      ngx_coco_state_dead_letters_handler },

    { NGX_HTTP_POST,
      ngx_string("/dead-letters/{id}/replay"),
      ngx_string("admin"),
      NGX_COCO_BODY_MAX,
      ngx_coco_state_replay_handler },

    { NGX_HTTP_POST,
      ngx_string("/driveu/webhook"),
      ngx_null_string,
      NGX_COCO_DRIVEU_BODY_MAX,
      ngx_coco_state_driveu_handler,
      ngx_coco_state_driveu_check },

    { 0, ngx_null_string, ngx_null_string, 0, NULL }
};


static ngx_command_t  ngx_coco_state_commands[] = {

    { ngx_string("coco_state"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_coco_state,
      0,
      0,
      NULL },

    { ngx_string("coco_driveu_secret"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_coco_state_driveu_secret,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("coco_driveu_header"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_coco_state_driveu_header,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_coco_state_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_coco_state_create_loc_conf,        /* create location configuration */
    ngx_coco_state_merge_loc_conf          /* merge location configuration */
};


ngx_module_t  ngx_coco_state_module = {
    NGX_MODULE_V1,
    &ngx_coco_state_module_ctx,            /* module context */
    ngx_coco_state_commands,               /* module directives */
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
ngx_coco_state_handler(ngx_http_request_t *r)
{
    return ngx_coco_route_handle(r, ngx_coco_state_routes);
}


static ngx_int_t
ngx_coco_state_read_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    return ngx_coco_query(r, &ngx_coco_state_read, call->path,
                          ngx_coco_state_read_reply, call);
}


static ngx_int_t
ngx_coco_state_read_reply(ngx_http_request_t *r, PGresult *result, void *data)
{
    ngx_coco_call_t  *call = data;

    ngx_coco_state_doc_t  doc;

    if (PQntuples(result) == 0) {
        return ngx_coco_reply_problem(r, NGX_HTTP_NOT_FOUND,
                                      "No heartbeat of this serial is known.");
    }

    doc.serial = ngx_coco_str(call->path[0]);
    doc.result = result;

    return ngx_coco_reply_encode(r, NGX_HTTP_OK, NGX_COCO_STATE_SIZE,
                                 ngx_coco_state_encode, &doc);
}


static void
ngx_coco_state_encode(coco_json_out_t *out, void *data)
{
    ngx_coco_state_doc_t  *doc = data;

    coco_json_object_open(out);
    coco_json_name(out, "serial");
    coco_json_string(out, doc->serial);
    coco_json_name(out, "state");
    coco_json_string(out, ngx_coco_pg_field(doc->result, 0, 0));
    coco_json_name(out, "ts");
    ngx_coco_state_put_ms(out, doc->result, 0, 1);
    coco_json_name(out, "receivedAt");
    ngx_coco_state_put_ms(out, doc->result, 0, 2);
    coco_json_name(out, "details");
    coco_json_json(out, ngx_coco_pg_field(doc->result, 0, 3));
    coco_json_name(out, "driveu");
    coco_json_json(out, ngx_coco_pg_field(doc->result, 0, 4));
    coco_json_name(out, "remotelyControllable");
    coco_json_bool(out, *PQgetvalue(doc->result, 0, 5) == 't');
    coco_json_object_close(out);
}


static ngx_int_t
ngx_coco_state_history_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    return ngx_coco_query_history(r, call, &ngx_coco_state_history, 1,
                                  ngx_coco_state_history_encode);
}


static void
ngx_coco_state_history_encode(coco_json_out_t *out, const PGresult *result,
    int row, void *data)
{
    ngx_coco_call_t  *call = data;

    coco_json_object_open(out);
    coco_json_name(out, "id");
    coco_json_string(out, ngx_coco_pg_field(result, row, 0));
    coco_json_name(out, "serial");
    coco_json_string(out, ngx_coco_str(call->path[0]));
    coco_json_name(out, "date");
    ngx_coco_state_put_ms(out, result, row, 1);
    coco_json_name(out, "ts");
    ngx_coco_state_put_ms(out, result, row, 1);
    coco_json_name(out, "receivedAt");
    ngx_coco_state_put_ms(out, result, row, 2);
    coco_json_name(out, "state");
    coco_json_string(out, ngx_coco_pg_field(result, row, 3));
    coco_json_name(out, "details");
    coco_json_json(out, ngx_coco_pg_field(result, row, 4));
    coco_json_object_close(out);
}


static ngx_int_t
ngx_coco_state_dead_letters_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call)
{
    ngx_str_t              *params;
    coco_error_t            err;
    ngx_coco_query_page_t  *page;

    ngx_memzero(&err, sizeof(coco_error_t));

    params = ngx_pcalloc(r->pool, 3 * sizeof(ngx_str_t));
    page = ngx_palloc(r->pool, sizeof(ngx_coco_query_page_t));
    if (params == NULL || page == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    page->limit = NGX_COCO_LIMIT_DEFAULT;
    page->ms_column = 7;
    page->key_column = 0;
    page->row = ngx_coco_state_dead_letter_encode;
    page->data = r;

    if (ngx_coco_arg_limit(r, &page->limit, &err) == NGX_ERROR
        || ngx_coco_query_cursor(r, params, &err) == NGX_ERROR)
    {
        return ngx_coco_reply_bad_field(r, &err);
    }

    return ngx_coco_query_page(r, &ngx_coco_state_dead_letters, params, page);
}


static void
ngx_coco_state_dead_letter_encode(coco_json_out_t *out,
    const PGresult *result, int row, void *data)
{
    int  i;

    static const coco_str_t  names[] = {
        coco_string("id"), coco_string("source"), coco_string("service"),
        coco_string("topic"), coco_string("field"), coco_string("reason")
    };

    coco_json_object_open(out);

    for (i = 0; i < 6; i++) {
        coco_json_key(out, names[i].data, names[i].len);
        coco_json_string(out, ngx_coco_pg_field(result, row, i));
    }

    ngx_coco_state_payload_encode(out, data,
                                  ngx_coco_pg_field(result, row, 6));

    coco_json_name(out, "payloadBytes");
    ngx_coco_state_put_ms(out, result, row, 10);
    coco_json_name(out, "receivedAt");
    ngx_coco_state_put_ms(out, result, row, 7);
    coco_json_name(out, "replayedAt");
    ngx_coco_state_put_ms(out, result, row, 8);
    coco_json_name(out, "replayOutcome");
    coco_json_string(out, ngx_coco_pg_field(result, row, 9));
    coco_json_object_close(out);
}


/* As text where it is text, else in base64; payloadEncoding says which. */

static void
ngx_coco_state_payload_encode(coco_json_out_t *out, ngx_http_request_t *r,
    coco_str_t payload)
{
    size_t       n;
    ngx_str_t    raw, base64;
    const char  *p, *end;

    p = payload.data;
    end = p + payload.len;

    while (p < end && (n = coco_utf8_len(p, end)) != 0) {
        p += n;
    }

    coco_json_name(out, "payload");

    if (p == end) {
        coco_json_string(out, payload);
        coco_json_name(out, "payloadEncoding");
        coco_json_string(out, coco_string("utf-8"));
        return;
    }

    raw.data = (u_char *) payload.data;
    raw.len = payload.len;
    base64.data = ngx_pnalloc(r->pool, ngx_base64_encoded_length(raw.len));

    if (base64.data) {
        ngx_encode_base64(&base64, &raw);
        coco_json_string(out, ngx_coco_str(base64));
    } else {
        coco_json_null(out);
    }

    coco_json_name(out, "payloadEncoding");
    coco_json_string(out, coco_string("base64"));
}


static ngx_int_t
ngx_coco_state_replay_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    coco_id_t   id;
    ngx_str_t  *params;

    if (coco_id_parse(&id, ngx_coco_str(call->path[0])) != COCO_OK) {
        return ngx_coco_reply_problem(r, NGX_HTTP_NOT_FOUND,
                                      "No dead letter has this id.");
    }

    params = ngx_pcalloc(r->pool, (NGX_COCO_WRITE_PARAMS + 1)
                                  * sizeof(ngx_str_t));
    if (params == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    params[NGX_COCO_WRITE_PARAMS] = call->path[0];

    return ngx_coco_query_write(r, call, &ngx_coco_state_replay, params);
}


/* A time in text, null when it is null. */

static void
ngx_coco_state_put_ms(coco_json_out_t *out, const PGresult *result, int row,
    int column)
{
    if (PQgetisnull(result, row, column)) {
        coco_json_null(out);
    } else {
        coco_json_int(out, ngx_coco_query_int(result, row, column));
    }
}


static char *
ngx_coco_state(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    static ngx_coco_pg_statement_t *const  statements[] = {
        &ngx_coco_state_read, &ngx_coco_state_history,
        &ngx_coco_state_dead_letters, &ngx_coco_state_replay,
        &ngx_coco_state_lid_read, &ngx_coco_state_lid_history,
        &ngx_coco_state_lid_open, &ngx_coco_replies_statement,
        &ngx_coco_replies_wake_statement, &ngx_coco_inbox_statement, NULL
    };

    return ngx_coco_query_location(cf, ngx_coco_state_handler, statements);
}
