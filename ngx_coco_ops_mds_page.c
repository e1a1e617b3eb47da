/*
 * What is near realtime in MDS: vehicles, where they are, and what happened to
 * them lately. Pages with links both ways, by keys and not by number, so that
 * none is shown twice or left out while others come and go.
 */

#include "ngx_coco_ops_mds.h"
#include "ngx_coco_ops_mds_page.h"
#include "ngx_coco_ops_mds_reply.h"
#include "ngx_coco_ops_mds_rows.h"
#include "ngx_coco_args.h"
#include "ngx_coco_query.h"
#include "ngx_coco_reply.h"


#define NGX_COCO_MDS_PAGE_ROWS    500
#define NGX_COCO_MDS_PAGE_SIZE    65536
#define NGX_COCO_MDS_PAGE_PARAMS  5

/* ms; what is older is no longer recent. A page that is asked for by a link
 * may be of what was so when the first one was. */
#define NGX_COCO_MDS_RECENT  (14 * 86400 * INT64_C(1000))
#define NGX_COCO_MDS_GRACE   (86400 * INT64_C(1000))

/* ms; how often the emitter looks for what is new, at least */
#define NGX_COCO_MDS_TTL  1000

/* A cursor's number: from its key on, or before it. */
#define NGX_COCO_MDS_FORWARD  0
#define NGX_COCO_MDS_BACK     1

/* The columns of all statements here; those of the objects follow. */
#define NGX_COCO_MDS_UP_TO  0
#define NGX_COCO_MDS_KEY    1
#define NGX_COCO_MDS_ITEM   2


typedef void (*ngx_coco_mds_item_pt)(coco_json_out_t *out,
    const ngx_coco_mds_conf_t *conf, const PGresult *result, int row);

typedef struct {
    const char               *name;         /* of the array */
    ngx_coco_mds_item_pt      item;
    ngx_coco_pg_statement_t  *forward;
    ngx_coco_pg_statement_t  *back;
    ngx_uint_t                latency;      /* last_updated, ttl */
} ngx_coco_mds_list_t;

typedef struct {
    const ngx_coco_mds_list_t  *list;
    const ngx_coco_mds_conf_t  *conf;
    int64_t                     now;        /* ms */
    ngx_uint_t                  back;       /* asked for from its end */
    ngx_str_t                   cursor;     /* its key; empty: first page */
    ngx_str_t                   args;       /* of the links, the cursor less */
    ngx_uint_t                  one;        /* a vehicle: no links */

    /* once it has come */
    const PGresult             *result;
    int                         first, end; /* rows that are shown */
    ngx_str_t                   links[3];   /* first, prev, next; or empty */
} ngx_coco_mds_page_t;


static ngx_int_t ngx_coco_mds_list(ngx_http_request_t *r,
    const ngx_coco_mds_list_t *list);
static ngx_int_t ngx_coco_mds_one(ngx_http_request_t *r,
    ngx_coco_call_t *call, const ngx_coco_mds_list_t *list,
    ngx_coco_pg_statement_t *statement);
static ngx_int_t ngx_coco_mds_one_reply(ngx_http_request_t *r,
    PGresult *result, void *data);
static ngx_coco_mds_page_t *ngx_coco_mds_page(ngx_http_request_t *r,
    const ngx_coco_mds_list_t *list, ngx_int_t *ret_rc);
static ngx_int_t ngx_coco_mds_page_cursor(ngx_http_request_t *r,
    ngx_coco_mds_page_t *page, coco_error_t *err);
static ngx_int_t ngx_coco_mds_page_reply(ngx_http_request_t *r,
    PGresult *result, void *data);
static ngx_int_t ngx_coco_mds_page_links(ngx_http_request_t *r,
    ngx_coco_mds_page_t *page, ngx_uint_t more);
static ngx_int_t ngx_coco_mds_page_link(ngx_http_request_t *r,
    ngx_coco_mds_page_t *page, int direction, coco_str_t key, ngx_str_t *ret);
static ngx_int_t ngx_coco_mds_page_send(ngx_http_request_t *r,
    ngx_coco_mds_page_t *page);
static void ngx_coco_mds_page_encode(coco_json_out_t *out, void *data);
static void ngx_coco_mds_page_links_encode(coco_json_out_t *out,
    const ngx_coco_mds_page_t *page);
static ngx_int_t ngx_coco_mds_recent_params(ngx_http_request_t *r,
    ngx_coco_mds_page_t *page, const int64_t *bounds, ngx_str_t *params);
static ngx_int_t ngx_coco_mds_recent_bounds(ngx_http_request_t *r,
    ngx_coco_mds_page_t *page, int64_t *ret, ngx_int_t *ret_rc);
static ngx_int_t ngx_coco_mds_recent_key(ngx_str_t *key, ngx_str_t *params);
static void ngx_coco_mds_vehicle_item(coco_json_out_t *out,
    const ngx_coco_mds_conf_t *conf, const PGresult *result, int row);
static void ngx_coco_mds_status_item(coco_json_out_t *out,
    const ngx_coco_mds_conf_t *conf, const PGresult *result, int row);
static void ngx_coco_mds_event_item(coco_json_out_t *out,
    const ngx_coco_mds_conf_t *conf, const PGresult *result, int row);


/* What has left the streets is shown for some time more. */
#define NGX_COCO_MDS_SHOWN(interval)                                         \
    "(v.vehicle_state not in ('elsewhere', 'missing', 'removed')"            \
    " or v.event_at > now() - interval '" interval "')"

/* key, limit + 1; the rows ascend whichever way they are looked for */
#define NGX_COCO_MDS_VEHICLES(columns, interval, than, order, joins)         \
    "select coco.to_ms(p.up_to), v.serial, " columns                         \
    "  from coco.mds_progress p left join lateral ("                         \
    "    select * from coco.mds_vehicle v"                                   \
    "     where v.event_id is not null"                                      \
    "       and v.serial " than " coalesce($1::text, '')"                    \
    "       and " NGX_COCO_MDS_SHOWN(interval)                               \
    "     order by v.serial " order " limit $2::bigint) v on true " joins    \
    " order by v.serial"

#define NGX_COCO_MDS_ONE(columns, interval, joins)                           \
    "select coco.to_ms(p.up_to), v.serial, " columns                         \
    "  from coco.mds_progress p join coco.mds_vehicle v"                     \
    "    on v.device_id = $1::uuid and v.event_id is not null"               \
    "   and " NGX_COCO_MDS_SHOWN(interval) " " joins

#define NGX_COCO_MDS_STATUS                                                  \
    NGX_COCO_MDS_EVENT ", "                                                  \
    NGX_COCO_MDS_TELEMETRY("v.device_id", "s.ts", "s.id", "s.details",       \
                           "coco.mds_trips_at(v.device_id, s.ts)")
#define NGX_COCO_MDS_STATUS_JOINS(join)                                      \
    join " coco.mds_event e on e.event_id = v.event_id "                     \
    join " coco.robot_state s on s.serial = v.serial"

/* start, end (ms), key (microseconds, id), limit + 1; the key of the first
 * page is the start */
#define NGX_COCO_MDS_RECENTS(than, order)                                    \
    "select null, e.key, " NGX_COCO_MDS_EVENT                                \
    "  from (select e.*, " NGX_COCO_MDS_US("e.ts") " || '.' || e.event_id"   \
    "               as key"                                                  \
    "          from coco.mds_event e"                                        \
    "         where e.ts >= coco.from_ms($1::bigint)"                        \
    "           and e.ts < coco.from_ms($2::bigint)"                         \
    "           and (e.ts, e.event_id) " than                                \
    "               (" NGX_COCO_MDS_AT("$3") ", $4::uuid)"                   \
    "         order by e.ts " order ", e.event_id " order                    \
    "         limit $5::bigint) e"                                           \
    " order by e.ts, e.event_id"


static ngx_coco_pg_statement_t  ngx_coco_mds_vehicles = {
    ngx_string("coco_mds_vehicles"),
    NGX_COCO_MDS_VEHICLES(NGX_COCO_MDS_VEHICLE, "30 days", ">", "", ""),
    2, NGX_COCO_PG_SLOW, 0
};


static ngx_coco_pg_statement_t  ngx_coco_mds_vehicles_back = {
    ngx_string("coco_mds_vehicles_back"),
    NGX_COCO_MDS_VEHICLES(NGX_COCO_MDS_VEHICLE, "30 days", "<", "desc", ""),
    2, NGX_COCO_PG_SLOW, 0
};


static ngx_coco_pg_statement_t  ngx_coco_mds_vehicle_one = {
    ngx_string("coco_mds_vehicle"),
    NGX_COCO_MDS_ONE(NGX_COCO_MDS_VEHICLE, "30 days", ""),
    1, NGX_COCO_PG_POINT, 0
};


static ngx_coco_pg_statement_t  ngx_coco_mds_statuses = {
    ngx_string("coco_mds_statuses"),
    NGX_COCO_MDS_VEHICLES(NGX_COCO_MDS_STATUS, "90 minutes", ">", "",
                          NGX_COCO_MDS_STATUS_JOINS("left join")),
    2, NGX_COCO_PG_SLOW, 0
};


static ngx_coco_pg_statement_t  ngx_coco_mds_statuses_back = {
    ngx_string("coco_mds_statuses_back"),
    NGX_COCO_MDS_VEHICLES(NGX_COCO_MDS_STATUS, "90 minutes", "<", "desc",
                          NGX_COCO_MDS_STATUS_JOINS("left join")),
    2, NGX_COCO_PG_SLOW, 0
};


static ngx_coco_pg_statement_t  ngx_coco_mds_status_one = {
    ngx_string("coco_mds_status"),
    NGX_COCO_MDS_ONE(NGX_COCO_MDS_STATUS, "90 minutes",
                     NGX_COCO_MDS_STATUS_JOINS("join")),
    1, NGX_COCO_PG_POINT, 0
};


static ngx_coco_pg_statement_t  ngx_coco_mds_recents = {
    ngx_string("coco_mds_recent"),
    NGX_COCO_MDS_RECENTS(">", ""),
    5, NGX_COCO_PG_SLOW, 0
};


static ngx_coco_pg_statement_t  ngx_coco_mds_recents_back = {
    ngx_string("coco_mds_recent_back"),
    NGX_COCO_MDS_RECENTS("<", "desc"),
    5, NGX_COCO_PG_SLOW, 0
};


static const ngx_coco_mds_list_t  ngx_coco_mds_list_vehicles = {
    "vehicles", ngx_coco_mds_vehicle_item, &ngx_coco_mds_vehicles,
    &ngx_coco_mds_vehicles_back, 1
};

static const ngx_coco_mds_list_t  ngx_coco_mds_list_statuses = {
    "vehicles_status", ngx_coco_mds_status_item, &ngx_coco_mds_statuses,
    &ngx_coco_mds_statuses_back, 1
};

static const ngx_coco_mds_list_t  ngx_coco_mds_list_recent = {
    "events", ngx_coco_mds_event_item, &ngx_coco_mds_recents,
    &ngx_coco_mds_recents_back, 0
};


ngx_int_t
ngx_coco_mds_page_init(ngx_conf_t *cf)
{
    static ngx_coco_pg_statement_t *const  statements[] = {
        &ngx_coco_mds_vehicles, &ngx_coco_mds_vehicles_back,
        &ngx_coco_mds_vehicle_one, &ngx_coco_mds_statuses,
        &ngx_coco_mds_statuses_back, &ngx_coco_mds_status_one,
        &ngx_coco_mds_recents, &ngx_coco_mds_recents_back, NULL
    };

    return ngx_coco_pg_statements_add(cf, statements);
}


ngx_int_t
ngx_coco_mds_vehicles_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    return ngx_coco_mds_list(r, &ngx_coco_mds_list_vehicles);
}


ngx_int_t
ngx_coco_mds_statuses_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    return ngx_coco_mds_list(r, &ngx_coco_mds_list_statuses);
}


/* Those by serial. */

static ngx_int_t
ngx_coco_mds_list(ngx_http_request_t *r, const ngx_coco_mds_list_t *list)
{
    ngx_int_t             rc;
    ngx_str_t            *params;
    coco_error_t          err;
    ngx_coco_mds_page_t  *page;

    page = ngx_coco_mds_page(r, list, &rc);
    if (page == NULL) {
        return rc;
    }

    params = ngx_pcalloc(r->pool, 2 * sizeof(ngx_str_t));

    if (params == NULL
        || ngx_coco_query_param_int(r, NGX_COCO_MDS_PAGE_ROWS + 1, &params[1])
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_coco_mds_page_cursor(r, page, &err);

    if (rc == NGX_OK && !coco_serial_valid(ngx_coco_str(page->cursor))) {
        rc = coco_error_set(&err, "cursor", "must be that of a link");
    }

    if (rc == NGX_ERROR) {
        return ngx_coco_mds_bad_param(r, &err);
    }

    params[0] = page->cursor;

    return ngx_coco_query(r, page->back ? list->back : list->forward, params,
                          ngx_coco_mds_page_reply, page);
}


ngx_int_t
ngx_coco_mds_vehicle_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    return ngx_coco_mds_one(r, call, &ngx_coco_mds_list_vehicles,
                            &ngx_coco_mds_vehicle_one);
}


ngx_int_t
ngx_coco_mds_status_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    return ngx_coco_mds_one(r, call, &ngx_coco_mds_list_statuses,
                            &ngx_coco_mds_status_one);
}


static ngx_int_t
ngx_coco_mds_one(ngx_http_request_t *r, ngx_coco_call_t *call,
    const ngx_coco_mds_list_t *list, ngx_coco_pg_statement_t *statement)
{
    coco_id_t             id;
    ngx_int_t             rc;
    ngx_coco_mds_page_t  *page;

    page = ngx_coco_mds_page(r, list, &rc);
    if (page == NULL) {
        return rc;
    }

    page->one = 1;

    if (coco_id_parse(&id, ngx_coco_str(call->path[0])) != COCO_OK) {
        return ngx_coco_mds_one_reply(r, NULL, page);
    }

    return ngx_coco_query(r, statement, call->path, ngx_coco_mds_one_reply,
                          page);
}


/* Without a result there can be no such vehicle. */

static ngx_int_t
ngx_coco_mds_one_reply(ngx_http_request_t *r, PGresult *result, void *data)
{
    ngx_coco_mds_page_t  *page = data;

    if (result == NULL || PQntuples(result) == 0) {
        return ngx_coco_mds_error(r, NGX_HTTP_NOT_FOUND, "not_found",
                                  "There is no such vehicle now.",
                                  "device_id must be that of a vehicle in "
                                  "the list.");
    }

    page->result = result;
    page->end = 1;

    return ngx_coco_mds_page_send(r, page);
}


ngx_int_t
ngx_coco_mds_recent_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    int64_t               bounds[2];
    ngx_int_t             rc;
    ngx_str_t            *params;
    coco_error_t          err;
    ngx_coco_mds_page_t  *page;

    page = ngx_coco_mds_page(r, &ngx_coco_mds_list_recent, &rc);
    if (page == NULL) {
        return rc;
    }

    params = ngx_pcalloc(r->pool,
                         NGX_COCO_MDS_PAGE_PARAMS * sizeof(ngx_str_t));
    if (params == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_coco_mds_page_cursor(r, page, &err);

    if (rc == NGX_OK
        && ngx_coco_mds_recent_key(&page->cursor, &params[2]) != NGX_OK)
    {
        rc = coco_error_set(&err, "cursor", "must be that of a link");
    }

    if (rc == NGX_ERROR) {
        return ngx_coco_mds_bad_param(r, &err);
    }

    if (ngx_coco_mds_recent_bounds(r, page, bounds, &rc) != NGX_OK) {
        return rc;
    }

    if (ngx_coco_mds_recent_params(r, page, bounds, params) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_query(r, page->back ? page->list->back
                                        : page->list->forward,
                          params, ngx_coco_mds_page_reply, page);
}


/* The statement's, whose key is that of the cursor, if there is one; and the
 * links' arguments. */

static ngx_int_t
ngx_coco_mds_recent_params(ngx_http_request_t *r, ngx_coco_mds_page_t *page,
    const int64_t *bounds, ngx_str_t *params)
{
    u_char  *p;

    static const ngx_str_t  nil = ngx_string(NGX_COCO_MDS_NIL);

    p = ngx_pnalloc(r->pool, sizeof("start_time=&end_time=&") - 1
                             + 2 * NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    page->args.data = p;
    page->args.len = ngx_sprintf(p, "start_time=%L&end_time=%L&", bounds[0],
                                 bounds[1]) - p;

    if (page->cursor.len == 0) {
        params[3] = nil;

        if (ngx_coco_query_param_int(r, bounds[0] * 1000, &params[2])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return ngx_coco_query_param_int(r, bounds[0], &params[0]) == NGX_OK
           && ngx_coco_query_param_int(r, bounds[1], &params[1]) == NGX_OK
           && ngx_coco_query_param_int(r, NGX_COCO_MDS_PAGE_ROWS + 1,
                                       &params[4]) == NGX_OK
           ? NGX_OK : NGX_ERROR;
}


/* start_time and end_time, ms. NGX_DECLINED: refused, with *ret_rc. */

static ngx_int_t
ngx_coco_mds_recent_bounds(ngx_http_request_t *r, ngx_coco_mds_page_t *page,
    int64_t *ret, ngx_int_t *ret_rc)
{
    int64_t       oldest;
    ngx_int_t     rc;
    ngx_uint_t    i;
    coco_error_t  err;

    static const char  *names[] = { "start_time", "end_time" };

    ngx_memzero(&err, sizeof(coco_error_t));

    oldest = page->now - NGX_COCO_MDS_RECENT
             - (page->cursor.len ? NGX_COCO_MDS_GRACE : 0);

    for (i = 0; i < 2; i++) {
        rc = ngx_coco_arg_time(r, names[i], &ret[i], &err);

        if (rc == NGX_DECLINED) {
            *ret_rc = ngx_coco_mds_missing_param(r, names[i], "is a time in "
                                          "milliseconds since the epoch");
            return NGX_DECLINED;
        }

        if (rc == NGX_OK && ret[i] < oldest) {
            rc = coco_error_set(&err, names[i], "must not be more than two "
                                "weeks ago; ask /mds/events/historical");
        }

        if (rc == NGX_OK && i == 1 && ret[1] < ret[0]) {
            rc = coco_error_set(&err, names[i],
                                "must not be before start_time");
        }

        if (rc != NGX_OK) {
            *ret_rc = ngx_coco_mds_bad_param(r, &err);
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


/* "1700000000000000.<event_id>" into two parameters. */

static ngx_int_t
ngx_coco_mds_recent_key(ngx_str_t *key, ngx_str_t *params)
{
    off_t       us;
    u_char     *dot;
    coco_id_t   id;

    dot = ngx_strlchr(key->data, key->data + key->len, '.');
    if (dot == NULL) {
        return NGX_ERROR;
    }

    params[0].data = key->data;
    params[0].len = dot - key->data;
    params[1].data = dot + 1;
    params[1].len = key->data + key->len - params[1].data;

    us = ngx_atoof(params[0].data, params[0].len);

    return us != NGX_ERROR && us / 1000 <= NGX_COCO_TIME_MAX
           && coco_id_parse(&id, ngx_coco_str(params[1])) == COCO_OK
           ? NGX_OK : NGX_ERROR;
}


/* NULL: refused, with *ret_rc. */

static ngx_coco_mds_page_t *
ngx_coco_mds_page(ngx_http_request_t *r, const ngx_coco_mds_list_t *list,
    ngx_int_t *ret_rc)
{
    ngx_coco_mds_conf_t  *conf;
    ngx_coco_mds_page_t  *page;

    if (ngx_coco_mds_begin(r, &conf, ret_rc) != NGX_OK) {
        return NULL;
    }

    page = ngx_pcalloc(r->pool, sizeof(ngx_coco_mds_page_t));
    if (page == NULL) {
        *ret_rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return NULL;
    }

    page->list = list;
    page->conf = conf;
    page->now = ngx_coco_now_ms();

    return page;
}


/* Returns and fills err as ngx_coco_arg_cursor() does. */

static ngx_int_t
ngx_coco_mds_page_cursor(ngx_http_request_t *r, ngx_coco_mds_page_t *page,
    coco_error_t *err)
{
    int64_t    direction;
    ngx_int_t  rc;

    ngx_memzero(err, sizeof(coco_error_t));

    rc = ngx_coco_arg_cursor(r, &direction, &page->cursor, err);

    if (rc == NGX_OK) {
        page->back = direction == NGX_COCO_MDS_BACK;

        if (direction > NGX_COCO_MDS_BACK) {
            return coco_error_set(err, "cursor", "must be that of a link");
        }

    } else if (rc == NGX_ERROR && err->reason[0]) {
        (void) coco_error_set(err, "cursor", "must be that of a link");
    }

    return rc;
}


static ngx_int_t
ngx_coco_mds_page_reply(ngx_http_request_t *r, PGresult *result, void *data)
{
    ngx_coco_mds_page_t  *page = data;

    int         n;
    ngx_uint_t  more;

    /* the row without a key has the time alone */

    n = PQntuples(result);
    n = n && PQgetisnull(result, 0, NGX_COCO_MDS_KEY) ? 0 : n;
    more = n > NGX_COCO_MDS_PAGE_ROWS;

    page->result = result;
    page->first = more && page->back;
    page->end = page->first + ngx_min(n, NGX_COCO_MDS_PAGE_ROWS);

    if (ngx_coco_mds_page_links(r, page, more) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_mds_page_send(r, page);
}


/* Where the cursor came from there was something; where the page has ended
 * there is, if it was not the last. An empty page leads back by its cursor. */

static ngx_int_t
ngx_coco_mds_page_links(ngx_http_request_t *r, ngx_coco_mds_page_t *page,
    ngx_uint_t more)
{
    coco_str_t  first, last;

    static const coco_str_t  none = { NULL, 0 };

    first = last = ngx_coco_str(page->cursor);

    if (page->end > page->first) {
        first = ngx_coco_pg_field(page->result, page->first,
                                  NGX_COCO_MDS_KEY);
        last = ngx_coco_pg_field(page->result, page->end - 1,
                                 NGX_COCO_MDS_KEY);
    }

    if (ngx_coco_mds_page_link(r, page, NGX_COCO_MDS_FORWARD, none,
                               &page->links[0])
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if ((page->back ? more : page->cursor.len != 0)
        && ngx_coco_mds_page_link(r, page, NGX_COCO_MDS_BACK, first,
                                  &page->links[1])
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if ((page->back || more)
        && ngx_coco_mds_page_link(r, page, NGX_COCO_MDS_FORWARD, last,
                                  &page->links[2])
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* By coco_mds_url, or the name that the client knows us by; without both
 * (HTTP/1.0) a reference that is relative to what was asked for. key without
 * data: the first page. */

static ngx_int_t
ngx_coco_mds_page_link(ngx_http_request_t *r, ngx_coco_mds_page_t *page,
    int direction, coco_str_t key, ngx_str_t *ret)
{
    u_char     *p;
    ngx_str_t   scheme, host, path, cursor, name;

    path = r->uri;
    ngx_str_set(&scheme, "http://");
    ngx_str_set(&name, "cursor=");
    ngx_str_null(&host);
    ngx_str_null(&cursor);

#if (NGX_HTTP_SSL)
    if (r->connection->ssl) {
        ngx_str_set(&scheme, "https://");
    }
#endif

    if (page->conf->url.len) {
        scheme.len = 0;
        host = page->conf->url;
        path.data += sizeof("/mds") - 1;
        path.len -= sizeof("/mds") - 1;

    } else if (r->headers_in.host) {
        host = r->headers_in.host->value;

    } else {
        scheme.len = 0;
    }

    if (key.data) {
        if (ngx_coco_cursor_encode(r, direction, key, &cursor) != NGX_OK) {
            return NGX_ERROR;
        }

    } else {
        name.len = 0;
    }

    p = ngx_pnalloc(r->pool, scheme.len + host.len + path.len + 1
                             + page->args.len + name.len + cursor.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ret->data = p;

    p = ngx_sprintf(p, "%V%V%V?%V%V%V", &scheme, &host, &path, &page->args,
                    &name, &cursor);

    /* nothing follows what stands between */

    if (cursor.len == 0) {
        p--;
    }

    ret->len = p - ret->data;

    return NGX_OK;
}


static ngx_int_t
ngx_coco_mds_page_send(ngx_http_request_t *r, ngx_coco_mds_page_t *page)
{
    ngx_str_t  body;

    if (ngx_coco_reply_fill(r, NGX_COCO_MDS_PAGE_SIZE,
                            ngx_coco_mds_page_encode, page, &body)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_reply_typed(r, NGX_HTTP_OK, &ngx_coco_mds_type, &body);
}


static void
ngx_coco_mds_page_encode(coco_json_out_t *out, void *data)
{
    ngx_coco_mds_page_t  *page = data;

    int                         i;
    const PGresult             *result;
    const ngx_coco_mds_list_t  *list;

    list = page->list;
    result = page->result;

    coco_json_object_open(out);
    coco_json_name(out, "version");
    coco_json_string(out, coco_string(NGX_COCO_MDS_VERSION));

    if (list->latency) {

        /* while nothing was worked off yet what there is is of now */

        coco_json_name(out, "last_updated");
        coco_json_int(out, PQgetisnull(result, 0, NGX_COCO_MDS_UP_TO)
                           ? page->now
                           : ngx_coco_query_int(result, 0,
                                                NGX_COCO_MDS_UP_TO));
        coco_json_name(out, "ttl");
        coco_json_int(out, NGX_COCO_MDS_TTL);
    }

    coco_json_key(out, list->name, ngx_strlen(list->name));
    coco_json_array_open(out);

    for (i = page->first; i < page->end; i++) {
        list->item(out, page->conf, result, i);
    }

    coco_json_array_close(out);

    if (!page->one) {
        ngx_coco_mds_page_links_encode(out, page);
    }

    coco_json_object_close(out);
}


static void
ngx_coco_mds_page_links_encode(coco_json_out_t *out,
    const ngx_coco_mds_page_t *page)
{
    coco_json_name(out, "links");
    coco_json_object_open(out);
    coco_json_name(out, "first");
    coco_json_string(out, ngx_coco_str(page->links[0]));
    coco_json_name(out, "prev");
    coco_json_string(out, ngx_coco_str(page->links[1]));
    coco_json_name(out, "next");
    coco_json_string(out, ngx_coco_str(page->links[2]));
    coco_json_object_close(out);
}


static void
ngx_coco_mds_vehicle_item(coco_json_out_t *out,
    const ngx_coco_mds_conf_t *conf, const PGresult *result, int row)
{
    ngx_coco_mds_vehicle_encode(out, conf, result, row, NGX_COCO_MDS_ITEM);
}


/* A vehicle that was never heard of has no status. */

static void
ngx_coco_mds_status_item(coco_json_out_t *out,
    const ngx_coco_mds_conf_t *conf, const PGresult *result, int row)
{
    const int  telemetry = NGX_COCO_MDS_ITEM + NGX_COCO_MDS_EVENT_COLUMNS;

    if (!ngx_coco_mds_telemetry_located(result, row, telemetry)) {
        return;
    }

    coco_json_object_open(out);
    ngx_coco_mds_device_encode(out, conf,
                               ngx_coco_pg_field(result, row,
                                                 NGX_COCO_MDS_ITEM));
    coco_json_name(out, "last_event");
    ngx_coco_mds_event_encode(out, conf, result, row, NGX_COCO_MDS_ITEM);
    coco_json_name(out, "last_telemetry");
    ngx_coco_mds_telemetry_encode(out, conf, result, row, telemetry);
    coco_json_object_close(out);
}


static void
ngx_coco_mds_event_item(coco_json_out_t *out, const ngx_coco_mds_conf_t *conf,
    const PGresult *result, int row)
{
    ngx_coco_mds_event_encode(out, conf, result, row, NGX_COCO_MDS_ITEM);
}
