/*
 * Lids over HTTP: the newest cycle of a robot's lid, what happened to it, and
 * the request to open it. Must never decide what an event means: that is the
 * worker's.
 */

#include "ngx_coco_state_lid.h"
#include "ngx_coco_body.h"
#include "ngx_coco_command.h"
#include "ngx_coco_query.h"
#include "ngx_coco_reply.h"


#define NGX_COCO_LID_SIZE           512     /* bytes of a reply */
#define NGX_COCO_LID_REFERENCE_MAX  128     /* bytes */


/* A column of a row, and the member that shows it. */
typedef struct {
    coco_str_t  name;
    enum {
        NGX_COCO_LID_TEXT = 0,
        NGX_COCO_LID_MS,
        NGX_COCO_LID_BOOL,
        NGX_COCO_LID_JSON
    }           type;
} ngx_coco_lid_column_t;


typedef struct {
    coco_str_t       serial;
    const PGresult  *result;
} ngx_coco_lid_doc_t;


static ngx_int_t ngx_coco_state_lid_reply(ngx_http_request_t *r,
    PGresult *result, void *data);
static void ngx_coco_state_lid_encode(coco_json_out_t *out, void *data);
static void ngx_coco_state_lid_event_encode(coco_json_out_t *out,
    const PGresult *result, int row, void *data);
static void ngx_coco_state_lid_columns(coco_json_out_t *out,
    const PGresult *result, int row, const ngx_coco_lid_column_t *columns);
static const char *ngx_coco_state_lid_source(const coco_json_value_t *value);
static const char *ngx_coco_state_lid_reference(
    const coco_json_value_t *value);


/* One row, also where there was no cycle yet. */
ngx_coco_pg_statement_t  ngx_coco_state_lid_read = {
    ngx_string("coco_lid_read"),
    "select coalesce(c.state, 'IDLE'), c.id::text, c.source, c.reference_id,"
    "       coco.to_ms(c.opened_at), coco.to_ms(c.closed_at), c.trigger,"
    "       c.reason"
    "  from (values (1)) one_ left join"
    "       (select * from coco.lid_cycle where serial = $1::text"
    "         order by order_at desc, id desc limit 1) c on true",
    1, NGX_COCO_PG_POINT, 0
};

static const ngx_coco_lid_column_t  ngx_coco_lid_cycle_columns[] = {
    { coco_string("state"), NGX_COCO_LID_TEXT },
    { coco_string("cycleId"), NGX_COCO_LID_TEXT },
    { coco_string("source"), NGX_COCO_LID_TEXT },
    { coco_string("referenceId"), NGX_COCO_LID_TEXT },
    { coco_string("openedAt"), NGX_COCO_LID_MS },
    { coco_string("closedAt"), NGX_COCO_LID_MS },
    { coco_string("trigger"), NGX_COCO_LID_TEXT },
    { coco_string("reason"), NGX_COCO_LID_TEXT },
    { { NULL, 0 }, NGX_COCO_LID_TEXT }
};


/* serial, from, to, cursor (order_at, id), limit + 1; the order and the bounds
 * are those of the time that events are applied by. Its last column is the
 * cursor's. By h.id, not the text of the first column: by index, whatever the
 * plan, or each page would read all that is known of the robot. */
ngx_coco_pg_statement_t  ngx_coco_state_lid_history = {
    ngx_string("coco_lid_history"),
    "select id::text, type, coco.to_ms(ts), coco.to_ms(received_at), trigger,"
    "       source, reference_id, command_id, lid_opened, reason,"
    "       details::text, coco.to_ms(order_at)"
    "  from coco.lid_cycle_event_history h"
    " where serial = $1::text"
    "   and order_at >= coalesce(coco.from_ms($2::bigint), '-infinity')"
    "   and order_at < coalesce(coco.from_ms($3::bigint), 'infinity')"
    "   and order_at <= coalesce(coco.from_ms($4::bigint), 'infinity')"
    "   and (order_at, id)"
    "       < (coalesce(coco.from_ms($4::bigint), 'infinity'),"
    "          coalesce($5::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))"
    " order by order_at desc, h.id desc limit $6::bigint",
    6, NGX_COCO_PG_SLOW, 0
};

static const ngx_coco_lid_column_t  ngx_coco_lid_event_columns[] = {
    { coco_string("id"), NGX_COCO_LID_TEXT },
    { coco_string("type"), NGX_COCO_LID_TEXT },
    { coco_string("ts"), NGX_COCO_LID_MS },
    { coco_string("receivedAt"), NGX_COCO_LID_MS },
    { coco_string("trigger"), NGX_COCO_LID_TEXT },
    { coco_string("source"), NGX_COCO_LID_TEXT },
    { coco_string("referenceId"), NGX_COCO_LID_TEXT },
    { coco_string("commandId"), NGX_COCO_LID_TEXT },
    { coco_string("lidOpened"), NGX_COCO_LID_BOOL },
    { coco_string("reason"), NGX_COCO_LID_TEXT },
    { coco_string("details"), NGX_COCO_LID_JSON },
    { { NULL, 0 }, NGX_COCO_LID_TEXT }
};

#define NGX_COCO_LID_EVENT_ORDER                                             \
    (sizeof(ngx_coco_lid_event_columns)                                      \
     / sizeof(ngx_coco_lid_event_columns[0]) - 1)


ngx_coco_pg_statement_t  ngx_coco_state_lid_open = {
    ngx_string("coco_lid_open"),
    "select status, response from coco.lid_open("
    "    $1::text, $2::text, $3::text, $4::bytea, $5::text,"
    "    $6::jsonb ->> 'source', $6::jsonb ->> 'referenceId',"
    "    $7::bigint, $8::text)",
    8, NGX_COCO_PG_SLOW, 0
};

static const ngx_coco_body_member_t  ngx_coco_lid_open_members[] = {
    { .name = coco_string("source"), .check = ngx_coco_state_lid_source,
      .required = 1 },
    { .name = coco_string("referenceId"),
      .check = ngx_coco_state_lid_reference, .nullable = 1 },
    { .name = { NULL, 0 } }
};


ngx_int_t
ngx_coco_state_lid_read_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    return ngx_coco_query(r, &ngx_coco_state_lid_read, call->path,
                          ngx_coco_state_lid_reply, call);
}


static ngx_int_t
ngx_coco_state_lid_reply(ngx_http_request_t *r, PGresult *result, void *data)
{
    ngx_coco_call_t *call = data;

    ngx_coco_lid_doc_t  doc;

    doc.serial = ngx_coco_str(call->path[0]);
    doc.result = result;

    return ngx_coco_reply_encode(r, NGX_HTTP_OK, NGX_COCO_LID_SIZE,
                                 ngx_coco_state_lid_encode, &doc);
}


static void
ngx_coco_state_lid_encode(coco_json_out_t *out, void *data)
{
    ngx_coco_lid_doc_t *doc = data;

    coco_json_object_open(out);
    coco_json_name(out, "serial");
    coco_json_string(out, doc->serial);
    ngx_coco_state_lid_columns(out, doc->result, 0,
                               ngx_coco_lid_cycle_columns);
    coco_json_object_close(out);
}


ngx_int_t
ngx_coco_state_lid_history_handler(ngx_http_request_t *r,
    ngx_coco_call_t *call)
{
    return ngx_coco_query_history(r, call, &ngx_coco_state_lid_history,
                                  NGX_COCO_LID_EVENT_ORDER,
                                  ngx_coco_state_lid_event_encode);
}


static void
ngx_coco_state_lid_event_encode(coco_json_out_t *out, const PGresult *result,
    int row, void *data)
{
    coco_json_object_open(out);
    ngx_coco_state_lid_columns(out, result, row, ngx_coco_lid_event_columns);
    coco_json_object_close(out);
}


static void
ngx_coco_state_lid_columns(coco_json_out_t *out, const PGresult *result,
    int row, const ngx_coco_lid_column_t *columns)
{
    int         i;
    coco_str_t  field;

    for (i = 0; columns[i].name.data; i++) {
        coco_json_key(out, columns[i].name.data, columns[i].name.len);

        field = ngx_coco_pg_field(result, row, i);

        if (field.data == NULL) {
            coco_json_null(out);

        } else if (columns[i].type == NGX_COCO_LID_TEXT) {
            coco_json_string(out, field);

        } else if (columns[i].type == NGX_COCO_LID_BOOL) {
            coco_json_bool(out, field.data[0] == 't');

        } else {
            /* a number's text, or JSON */
            coco_json_json(out, field);
        }
    }
}


ngx_int_t
ngx_coco_state_lid_open_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    ngx_int_t            rc;
    ngx_str_t           *params;
    ngx_coco_command_t  *command;

    command = ngx_coco_command_begin(r);
    params = ngx_pcalloc(r->pool, ngx_coco_state_lid_open.nparams
                                  * sizeof(ngx_str_t));
    if (command == NULL || params == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    params[NGX_COCO_WRITE_PARAMS] = call->path[0];

    if (ngx_coco_body_take(r, &call->body, ngx_coco_lid_open_members,
                           &params[NGX_COCO_WRITE_PARAMS + 1], &rc)
        != NGX_OK)
    {
        return rc;
    }

    return ngx_coco_command_open_lid(command, call, &ngx_coco_state_lid_open,
                                     params);
}


static const char *
ngx_coco_state_lid_source(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_STRING
           && (coco_str_equal(value->string, coco_string("QR"))
               || coco_str_equal(value->string, coco_string("PIN"))
               || coco_str_equal(value->string, coco_string("PINLESS"))
               || coco_str_equal(value->string, coco_string("OPERATOR")))
           ? NULL : "must be QR, PIN, PINLESS or OPERATOR";
}


/* The JSON reader lets control characters pass only where they are escaped,
 * but for DEL. */

static const char *
ngx_coco_state_lid_reference(const coco_json_value_t *value)
{
    char        buf[6 * NGX_COCO_LID_REFERENCE_MAX];
    size_t      i;
    coco_str_t  text;

    static const char  wrong[] = "must be a string of 1 to 128 bytes without "
                                 "control characters, or null";

    if (!ngx_coco_body_string(value, NGX_COCO_LID_REFERENCE_MAX)) {
        return wrong;
    }

    text = coco_json_unescape(value, buf);

    for (i = 0; i < text.len; i++) {
        if ((u_char) text.data[i] < 0x20 || text.data[i] == 0x7f) {
            return wrong;
        }
    }

    return NULL;
}
