/*
 * GET /supply: the rows of Postgres, and what the core's checks say of each at
 * the time of reading. Keeps no robot between requests.
 */

#include "ngx_coco_args.h"
#include "ngx_coco_dispatch_conf.h"
#include "ngx_coco_dispatch_supply.h"
#include "ngx_coco_dispatch_trip.h"
#include "ngx_coco_query.h"
#include "ngx_coco_reply.h"
#include "coco_message.h"


#define NGX_COCO_SUPPLY_ITEM_SIZE  1024

/* With a filter, rows are read so many at a time; after so many of them a page
 * ends, full or not, so that a request is bounded. */
#define NGX_COCO_SUPPLY_ROWS       500
#define NGX_COCO_SUPPLY_ROUNDS     20


/* A page under way. */
typedef struct {
    ngx_str_t             params[3];      /* serial, after, rows */
    ngx_uint_t            limit;
    ngx_flag_t            usable;         /* NGX_CONF_UNSET: no filter */
    ngx_uint_t            rows;           /* asked for at once */
    ngx_uint_t            rounds;
    ngx_array_t           items;          /* of ngx_str_t, JSON */
    ngx_str_t             last;           /* the serial that was looked at */
    ngx_str_t             next_cursor;    /* data NULL: the last page */
} ngx_coco_supply_page_t;


/* A row. */
typedef struct {
    coco_str_t            serial;
    coco_reasons_t        reasons;
    coco_json_value_t     robot;          /* a LegacyRobot */
} ngx_coco_supply_item_t;


static ngx_int_t ngx_coco_supply_list_args(ngx_http_request_t *r,
    ngx_coco_supply_page_t *page, coco_error_t *err);
static ngx_int_t ngx_coco_supply_list_ask(ngx_http_request_t *r,
    ngx_coco_supply_page_t *page);
static ngx_int_t ngx_coco_supply_list_rows(ngx_http_request_t *r,
    PGresult *result, void *data);
static ngx_int_t ngx_coco_supply_list_row(ngx_http_request_t *r,
    ngx_coco_supply_page_t *page, const PGresult *result, int row);
static ngx_int_t ngx_coco_supply_item_read(ngx_http_request_t *r,
    const PGresult *result, int row, ngx_coco_supply_item_t *item);
static ngx_int_t ngx_coco_supply_list_reply(ngx_http_request_t *r,
    ngx_coco_supply_page_t *page, ngx_uint_t more);
static void ngx_coco_supply_list_encode(coco_json_out_t *out, void *data);
static void ngx_coco_supply_item_encode(coco_json_out_t *out, void *data);


/* serial, after, rows */
static ngx_coco_pg_statement_t  ngx_coco_supply_list = {
    ngx_string("coco_supply_list"),
    "select r.id, r.data::text, coco.supply_line(r)"
    "  from coco.resource r"
    " where r.type = 'Robot' and ($1::text is null or r.id = $1::text)"
    "   and r.id > coalesce($2::text, '')"
    " order by r.id limit $3::bigint",
    3, NGX_COCO_PG_SLOW, 0
};


/* LegacyRobot, in the order of the seeds' type; serial and status are told
 * apart from it. */
static const coco_str_t  ngx_coco_supply_members[] = {
    coco_string("battery"), coco_string("lastSynced"), coco_string("healthy"),
    coco_string("deployed"), coco_string("location"),
    coco_string("futureDemand"), coco_string("activeDemand"),
    coco_string("needsMovement"), coco_string("hasFood"),
    coco_string("tripType"), coco_string("needsMaintenance"),
    coco_string("needsPickup"), coco_string("driveable"),
    coco_string("operationState"), coco_string("attemptCancellationReason"),
    coco_string("undergoingMaintenance")
};

#define NGX_COCO_SUPPLY_MEMBERS                                              \
    (sizeof(ngx_coco_supply_members) / sizeof(ngx_coco_supply_members[0]))


ngx_int_t
ngx_coco_supply_list_init(ngx_conf_t *cf)
{
    return ngx_coco_pg_statement_add(cf, &ngx_coco_supply_list);
}


ngx_int_t
ngx_coco_supply_list_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    coco_error_t             err;
    ngx_coco_supply_page_t  *page;

    ngx_memzero(&err, sizeof(coco_error_t));

    page = ngx_pcalloc(r->pool, sizeof(ngx_coco_supply_page_t));
    if (page == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    page->limit = NGX_COCO_LIMIT_DEFAULT;
    page->usable = NGX_CONF_UNSET;

    if (ngx_coco_supply_list_args(r, page, &err) != NGX_OK) {
        return ngx_coco_reply_bad_field(r, &err);
    }

    page->rows = page->usable == NGX_CONF_UNSET ? page->limit + 1
                                                : NGX_COCO_SUPPLY_ROWS;

    if (ngx_array_init(&page->items, r->pool, page->limit, sizeof(ngx_str_t))
        != NGX_OK
        || ngx_coco_query_param_int(r, page->rows, &page->params[2])
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_supply_list_ask(r, page);
}


static ngx_int_t
ngx_coco_supply_list_args(ngx_http_request_t *r, ngx_coco_supply_page_t *page,
    coco_error_t *err)
{
    int64_t    ms;
    ngx_int_t  rc;

    if (ngx_coco_trip_arg_serial(r, &page->params[0], err) != NGX_OK
        || ngx_coco_arg_bool(r, "usable", &page->usable, err) == NGX_ERROR
        || ngx_coco_arg_limit(r, &page->limit, err) == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    rc = ngx_coco_arg_cursor(r, &ms, &page->params[1], err);

    if (rc == NGX_OK && !coco_serial_valid(ngx_coco_str(page->params[1]))) {
        (void) coco_error_set(err, "cursor",
                              "must be the nextCursor of an earlier page");
        return NGX_ERROR;
    }

    return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


static ngx_int_t
ngx_coco_supply_list_ask(ngx_http_request_t *r, ngx_coco_supply_page_t *page)
{
    page->rounds++;

    return ngx_coco_query(r, &ngx_coco_supply_list, page->params,
                          ngx_coco_supply_list_rows, page);
}


static ngx_int_t
ngx_coco_supply_list_rows(ngx_http_request_t *r, PGresult *result, void *data)
{
    ngx_coco_supply_page_t  *page = data;

    int        row, n;
    ngx_int_t  rc;

    n = PQntuples(result);

    for (row = 0; row < n; row++) {
        rc = ngx_coco_supply_list_row(r, page, result, row);

        if (rc == NGX_DONE) {
            return ngx_coco_supply_list_reply(r, page, 1);
        }

        if (rc != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    if ((ngx_uint_t) n < page->rows) {
        return ngx_coco_supply_list_reply(r, page, 0);
    }

    if (page->rounds == NGX_COCO_SUPPLY_ROUNDS) {
        return ngx_coco_supply_list_reply(r, page, 1);
    }

    page->params[1] = page->last;

    return ngx_coco_supply_list_ask(r, page);
}


/* NGX_DONE: it belongs to the next page. */

static ngx_int_t
ngx_coco_supply_list_row(ngx_http_request_t *r, ngx_coco_supply_page_t *page,
    const PGresult *result, int row)
{
    ngx_str_t               *text;
    ngx_uint_t               wanted;
    ngx_coco_supply_item_t   item;

    if (ngx_coco_supply_item_read(r, result, row, &item) != NGX_OK) {
        return NGX_ERROR;
    }

    wanted = page->usable == NGX_CONF_UNSET
             || page->usable == (item.reasons == 0);

    if (wanted) {
        if (page->items.nelts == page->limit) {
            return NGX_DONE;
        }

        text = ngx_array_push(&page->items);

        if (text == NULL
            || ngx_coco_reply_fill(r, NGX_COCO_SUPPLY_ITEM_SIZE,
                                   ngx_coco_supply_item_encode, &item, text)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    page->last.len = item.serial.len;
    page->last.data = ngx_pnalloc(r->pool, item.serial.len);
    if (page->last.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(page->last.data, item.serial.data, item.serial.len);

    return NGX_OK;
}


static ngx_int_t
ngx_coco_supply_item_read(ngx_http_request_t *r, const PGresult *result,
    int row, ngx_coco_supply_item_t *item)
{
    coco_str_t                  serial;
    coco_error_t                err;
    coco_supply_state_t         state;
    ngx_coco_dispatch_conf_t   *dcf;

    dcf = ngx_coco_dispatch_conf(r);
    item->serial = ngx_coco_pg_field(result, row, 0);

    if (coco_message_read(&item->robot, ngx_coco_pg_field(result, row, 1),
                          &err)
        != COCO_OK
        || coco_supply_line_decode(ngx_coco_pg_field(result, row, 2), &serial,
                                   &state, &err)
           != COCO_OK)
    {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "coco: the resource of robot \"%*s\" is not of its "
                      "form: %s %s", item->serial.len, item->serial.data,
                      err.field, err.reason);
        return NGX_ERROR;
    }

    item->reasons = coco_supply_reasons(&state, &dcf->supply,
                                        ngx_coco_now_ms(), NULL);

    return NGX_OK;
}


static ngx_int_t
ngx_coco_supply_list_reply(ngx_http_request_t *r,
    ngx_coco_supply_page_t *page, ngx_uint_t more)
{
    if (more
        && ngx_coco_cursor_encode(r, 0, ngx_coco_str(page->last),
                                  &page->next_cursor)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_reply_encode(r, NGX_HTTP_OK,
                                 NGX_COCO_SUPPLY_ITEM_SIZE
                                 * (page->items.nelts + 1),
                                 ngx_coco_supply_list_encode, page);
}


static void
ngx_coco_supply_list_encode(coco_json_out_t *out, void *data)
{
    ngx_coco_supply_page_t  *page = data;

    ngx_str_t   *items;
    ngx_uint_t   i;

    items = page->items.elts;

    coco_json_object_open(out);
    coco_json_name(out, "items");
    coco_json_array_open(out);

    for (i = 0; i < page->items.nelts; i++) {
        coco_json_json(out, ngx_coco_str(items[i]));
    }

    coco_json_array_close(out);
    coco_json_name(out, "nextCursor");
    coco_json_string(out, ngx_coco_str(page->next_cursor));
    coco_json_object_close(out);
}


static void
ngx_coco_supply_item_encode(coco_json_out_t *out, void *data)
{
    ngx_coco_supply_item_t  *item = data;

    ngx_uint_t         i;
    coco_json_value_t  v[NGX_COCO_SUPPLY_MEMBERS];

    coco_message_members(&item->robot, ngx_coco_supply_members,
                         NGX_COCO_SUPPLY_MEMBERS, v);

    coco_json_object_open(out);
    coco_json_name(out, "serial");
    coco_json_string(out, item->serial);
    coco_json_name(out, "status");
    coco_json_string(out, item->reasons & (1u << COCO_REASON_OFFLINE)
                          ? coco_string("OFFLINE") : coco_string("ONLINE"));

    for (i = 0; i < NGX_COCO_SUPPLY_MEMBERS; i++) {
        coco_json_key(out, ngx_coco_supply_members[i].data,
                      ngx_coco_supply_members[i].len);
        coco_json_json(out, v[i].text);
    }

    coco_json_name(out, "usable");
    coco_json_bool(out, item->reasons == 0);
    ngx_coco_trip_reasons_encode(out, item->reasons);
    coco_json_object_close(out);
}
