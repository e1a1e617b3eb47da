/*
 * What is history in MDS: the trips, the telemetry and the events of an hour,
 * whole and without pages, as a stream. Must never show an hour that is not
 * complete yet.
 */

#include "ngx_coco_ops_mds.h"
#include "ngx_coco_ops_mds_hour.h"
#include "ngx_coco_ops_mds_reply.h"
#include "ngx_coco_ops_mds_rows.h"
#include "ngx_coco_args.h"
#include "ngx_coco_query.h"
#include "ngx_coco_reply.h"
#include "ngx_coco_stream.h"


/* Rows of a page of the stream, some 350 bytes each. */
#define NGX_COCO_MDS_HOUR_ROWS    1000
#define NGX_COCO_MDS_HOUR_PARAMS  6

#define NGX_COCO_MDS_HOUR_LEN     (sizeof("2026-01-31T23") - 1)
#define NGX_COCO_MDS_HOUR_MS      (3600 * INT64_C(1000))

/* Seconds to wait for an hour that has ended to be worked off. */
#define NGX_COCO_MDS_HOUR_RETRY   10


typedef struct {
    const char               *param;        /* the hour's name */
    ngx_str_t                 head;
    ngx_coco_pg_statement_t  *statement;
    ngx_coco_query_row_pt     row;
    ngx_coco_stream_next_pt   next;
} ngx_coco_mds_feed_t;

/* An hour that is asked for. */
typedef struct {
    const ngx_coco_mds_feed_t  *feed;
    const ngx_coco_mds_conf_t  *conf;
    int64_t                     from;       /* ms */
    ngx_str_t                   params[NGX_COCO_MDS_HOUR_PARAMS];

    /* of the page to come: what the one before has ended with */
    u_char                      serial[COCO_SERIAL_MAX];
    u_char                      time[NGX_INT64_LEN];
    u_char                      id[COCO_ID_TEXT_LEN];
} ngx_coco_mds_hour_t;


static ngx_int_t ngx_coco_mds_hour_handler(ngx_http_request_t *r,
    const ngx_coco_mds_feed_t *feed);
static ngx_int_t ngx_coco_mds_hour_parse(ngx_http_request_t *r,
    const char *name, int64_t *ret_ms, ngx_int_t *ret_rc);
static ngx_int_t ngx_coco_mds_hour_decode(ngx_str_t *value, int64_t *ret_ms);
static ngx_int_t ngx_coco_mds_hour_reply(ngx_http_request_t *r,
    PGresult *result, void *data);
static ngx_int_t ngx_coco_mds_hour_none(ngx_http_request_t *r,
    const char *detail);
static ngx_int_t ngx_coco_mds_hour_wait(ngx_http_request_t *r,
    int64_t seconds);
static ngx_int_t ngx_coco_mds_hour_stream(ngx_http_request_t *r,
    ngx_coco_mds_hour_t *hour);
static ngx_int_t ngx_coco_mds_hour_next(ngx_coco_mds_hour_t *hour,
    const PGresult *result, int at, int id);
static void ngx_coco_mds_hour_keep(ngx_str_t *param, u_char *buffer,
    size_t size, coco_str_t field);
static ngx_int_t ngx_coco_mds_event_next(const PGresult *result, void *data);
static void ngx_coco_mds_event_row(coco_json_out_t *out,
    const PGresult *result, int row, void *data);
static ngx_int_t ngx_coco_mds_trip_next(const PGresult *result, void *data);
static void ngx_coco_mds_trip_row(coco_json_out_t *out,
    const PGresult *result, int row, void *data);
static ngx_int_t ngx_coco_mds_telemetry_next(const PGresult *result,
    void *data);
static void ngx_coco_mds_telemetry_row(coco_json_out_t *out,
    const PGresult *result, int row, void *data);


static ngx_coco_pg_statement_t  ngx_coco_mds_progress = {
    ngx_string("coco_mds_progress"),
    "select coco.to_ms(since), coco.to_ms(up_to) from coco.mds_progress",
    0, NGX_COCO_PG_POINT, 0
};


/* from, to (ms), limit, the time (microseconds) and the id that the page
 * before has ended with; so in all three */
#define NGX_COCO_MDS_PARAM_FROM   0
#define NGX_COCO_MDS_PARAM_TO     1
#define NGX_COCO_MDS_PARAM_LIMIT  2
#define NGX_COCO_MDS_PARAM_TIME   3
#define NGX_COCO_MDS_PARAM_ID     4

static ngx_coco_pg_statement_t  ngx_coco_mds_events_hour = {
    ngx_string("coco_mds_events_hour"),
    "select " NGX_COCO_MDS_EVENT
    "  from coco.mds_event e"
    " where e.ts >= coco.from_ms($1::bigint)"
    "   and e.ts < coco.from_ms($2::bigint)"
    "   and (e.ts, e.event_id) > (" NGX_COCO_MDS_AT("$4") ", $5::uuid)"
    " order by e.ts, e.event_id limit $3::bigint",
    5, NGX_COCO_PG_SLOW, 0
};


static ngx_coco_pg_statement_t  ngx_coco_mds_trips_hour = {
    ngx_string("coco_mds_trips_hour"),
    "select " NGX_COCO_MDS_TRIP
    "  from coco.mds_trip t"
    " where t.end_time >= coco.from_ms($1::bigint)"
    "   and t.end_time < coco.from_ms($2::bigint)"
    "   and (t.end_time, t.trip_id) > (" NGX_COCO_MDS_AT("$4") ", $5::uuid)"
    " order by t.end_time, t.trip_id limit $3::bigint",
    5, NGX_COCO_PG_SLOW, 0
};


/* the serial that the page before has ended with comes last; a row without an
 * id says where the search has ended, for others to go on */
#define NGX_COCO_MDS_PARAM_SERIAL  5
#define NGX_COCO_MDS_TELEMETRY_COLUMN  1

static ngx_coco_pg_statement_t  ngx_coco_mds_telemetry_hour = {
    ngx_string("coco_mds_telemetry_hour"),
    "select h.serial, " NGX_COCO_MDS_TELEMETRY("h.device_id", "h.date", "h.id",
                                               "h.details", "h.trip_ids")
    "  from coco.mds_telemetry("
    "    coco.from_ms($1::bigint), coco.from_ms($2::bigint), $6::text,"
    "    " NGX_COCO_MDS_AT("$4") ", $5::uuid, $3::integer) h",
    6, NGX_COCO_PG_SLOW, 0
};


#define NGX_COCO_MDS_HEAD(name)                                              \
    ngx_string("{\"version\":\"" NGX_COCO_MDS_VERSION "\",\"" name "\":[")

static const ngx_coco_mds_feed_t  ngx_coco_mds_feed_events = {
    "event_time", NGX_COCO_MDS_HEAD("events"), &ngx_coco_mds_events_hour,
    ngx_coco_mds_event_row, ngx_coco_mds_event_next
};

static const ngx_coco_mds_feed_t  ngx_coco_mds_feed_trips = {
    "end_time", NGX_COCO_MDS_HEAD("trips"), &ngx_coco_mds_trips_hour,
    ngx_coco_mds_trip_row, ngx_coco_mds_trip_next
};

static const ngx_coco_mds_feed_t  ngx_coco_mds_feed_telemetry = {
    "telemetry_time", NGX_COCO_MDS_HEAD("telemetry"),
    &ngx_coco_mds_telemetry_hour, ngx_coco_mds_telemetry_row,
    ngx_coco_mds_telemetry_next
};


ngx_int_t
ngx_coco_mds_hour_init(ngx_conf_t *cf)
{
    static ngx_coco_pg_statement_t *const  statements[] = {
        &ngx_coco_mds_progress, &ngx_coco_mds_events_hour,
        &ngx_coco_mds_trips_hour, &ngx_coco_mds_telemetry_hour, NULL
    };

    return ngx_coco_pg_statements_add(cf, statements);
}


ngx_int_t
ngx_coco_mds_historical_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    return ngx_coco_mds_hour_handler(r, &ngx_coco_mds_feed_events);
}


ngx_int_t
ngx_coco_mds_trips_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    return ngx_coco_mds_hour_handler(r, &ngx_coco_mds_feed_trips);
}


ngx_int_t
ngx_coco_mds_telemetry_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    return ngx_coco_mds_hour_handler(r, &ngx_coco_mds_feed_telemetry);
}


static ngx_int_t
ngx_coco_mds_hour_handler(ngx_http_request_t *r,
    const ngx_coco_mds_feed_t *feed)
{
    ngx_int_t             rc;
    ngx_coco_mds_conf_t  *conf;
    ngx_coco_mds_hour_t  *hour;

    if (ngx_coco_mds_begin(r, &conf, &rc) != NGX_OK) {
        return rc;
    }

    hour = ngx_pcalloc(r->pool, sizeof(ngx_coco_mds_hour_t));
    if (hour == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    hour->feed = feed;
    hour->conf = conf;

    if (ngx_coco_mds_hour_parse(r, feed->param, &hour->from, &rc) != NGX_OK) {
        return rc;
    }

    if (hour->from > ngx_coco_now_ms()) {
        return ngx_coco_mds_hour_none(r, "This hour has not begun.");
    }

    return ngx_coco_query(r, &ngx_coco_mds_progress, NULL,
                          ngx_coco_mds_hour_reply, hour);
}


/* NGX_DECLINED: refused, with *ret_rc. */

static ngx_int_t
ngx_coco_mds_hour_parse(ngx_http_request_t *r, const char *name,
    int64_t *ret_ms, ngx_int_t *ret_rc)
{
    ngx_int_t     rc;
    ngx_str_t     value;
    coco_error_t  err;

    rc = ngx_coco_arg(r, name, &value);

    if (rc == NGX_OK && ngx_coco_mds_hour_decode(&value, ret_ms) == NGX_OK) {
        return NGX_OK;
    }

    if (rc == NGX_OK) {
        (void) coco_error_set(&err, name, "must be an hour of UTC, "
                              "YYYY-MM-DDTHH");
        *ret_rc = ngx_coco_mds_bad_param(r, &err);

    } else if (rc == NGX_DECLINED) {
        *ret_rc = ngx_coco_mds_missing_param(r, name, "is an hour of UTC, "
                                             "YYYY-MM-DDTHH");
    } else {
        *ret_rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_DECLINED;
}


/* Since 1970; days are counted from March on, so that a leap day is a year's
 * last. */

static ngx_int_t
ngx_coco_mds_hour_decode(ngx_str_t *value, int64_t *ret_ms)
{
    int64_t    days;
    u_char    *p;
    ngx_int_t  year, month, day, hour, last;

    static const ngx_int_t  lasts[] = {
        31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31
    };

    p = value->data;

    if (value->len != NGX_COCO_MDS_HOUR_LEN || p[4] != '-' || p[7] != '-'
        || p[10] != 'T')
    {
        return NGX_ERROR;
    }

    year = ngx_atoi(p, 4);
    month = ngx_atoi(p + 5, 2);
    day = ngx_atoi(p + 8, 2);
    hour = ngx_atoi(p + 11, 2);

    if (year < 1970 || month < 1 || month > 12 || hour < 0 || hour > 23) {
        return NGX_ERROR;
    }

    last = lasts[month - 1];

    if (month == 2 && (year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)))
    {
        last++;
    }

    if (day < 1 || day > last) {
        return NGX_ERROR;
    }

    if (month < 3) {
        month += 12;
        year--;
    }

    days = 365 * year + year / 4 - year / 100 + year / 400
           + (153 * (month - 3) + 2) / 5 + day - 1 - 719468;

    *ret_ms = (days * 24 + hour) * NGX_COCO_MDS_HOUR_MS;

    return NGX_OK;
}


static ngx_int_t
ngx_coco_mds_hour_reply(ngx_http_request_t *r, PGresult *result, void *data)
{
    ngx_coco_mds_hour_t  *hour = data;

    int64_t  to, now;

    to = hour->from + NGX_COCO_MDS_HOUR_MS;
    now = ngx_coco_now_ms();

    if (PQntuples(result) == 0 || PQgetisnull(result, 0, 0)
        || to <= ngx_coco_query_int(result, 0, 0))
    {
        return ngx_coco_mds_hour_none(r, "There was no operation yet in this "
                                      "hour.");
    }

    if (to > now) {
        return ngx_coco_mds_hour_wait(r, (to - now) / 1000
                                         + NGX_COCO_MDS_HOUR_RETRY);
    }

    if (PQgetisnull(result, 0, 1) || ngx_coco_query_int(result, 0, 1) < to) {
        return ngx_coco_mds_hour_wait(r, NGX_COCO_MDS_HOUR_RETRY);
    }

    return ngx_coco_mds_hour_stream(r, hour);
}


static ngx_int_t
ngx_coco_mds_hour_none(ngx_http_request_t *r, const char *detail)
{
    return ngx_coco_mds_error(r, NGX_HTTP_NOT_FOUND, "not_found",
                              "There is nothing of this hour.", detail);
}


/* The standard gives 202 no body of its own. An empty array would be taken for
 * an hour in which nothing was. */

static ngx_int_t
ngx_coco_mds_hour_wait(ngx_http_request_t *r, int64_t seconds)
{
    ngx_str_t  retry_after;

    if (ngx_coco_query_param_int(r, seconds, &retry_after) != NGX_OK
        || ngx_coco_reply_header(r, "Retry-After", &retry_after) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_mds_error(r, NGX_HTTP_ACCEPTED, "not_ready",
                              "This hour is not complete yet.",
                              "Ask again after the seconds that Retry-After "
                              "names.");
}


static ngx_int_t
ngx_coco_mds_hour_stream(ngx_http_request_t *r, ngx_coco_mds_hour_t *hour)
{
    ngx_str_t          *params;
    ngx_coco_stream_t   stream;

    params = hour->params;

    if (ngx_coco_query_param_int(r, hour->from,
                                 &params[NGX_COCO_MDS_PARAM_FROM])
        != NGX_OK
        || ngx_coco_query_param_int(r, hour->from + NGX_COCO_MDS_HOUR_MS,
                                    &params[NGX_COCO_MDS_PARAM_TO])
           != NGX_OK
        || ngx_coco_query_param_int(r, NGX_COCO_MDS_HOUR_ROWS,
                                    &params[NGX_COCO_MDS_PARAM_LIMIT])
           != NGX_OK
        || ngx_coco_query_param_int(r, hour->from * 1000,
                                    &params[NGX_COCO_MDS_PARAM_TIME])
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_str_set(&params[NGX_COCO_MDS_PARAM_ID], NGX_COCO_MDS_NIL);
    ngx_str_set(&params[NGX_COCO_MDS_PARAM_SERIAL], "");

    ngx_memzero(&stream, sizeof(ngx_coco_stream_t));
    stream.type = ngx_coco_mds_type;
    stream.head = hour->feed->head;
    ngx_str_set(&stream.tail, "]}");
    stream.statement = hour->feed->statement;
    stream.params = params;
    stream.row = hour->feed->row;
    stream.next = hour->feed->next;
    stream.data = hour;

    return ngx_coco_stream(r, &stream);
}


/* What the next page begins behind; at and id are the columns of a row's time
 * and id. NGX_DONE: there is no more. */

static ngx_int_t
ngx_coco_mds_hour_next(ngx_coco_mds_hour_t *hour, const PGresult *result,
    int at, int id)
{
    int  last;

    last = PQntuples(result) - 1;

    if (last + 1 < NGX_COCO_MDS_HOUR_ROWS) {
        return NGX_DONE;
    }

    ngx_coco_mds_hour_keep(&hour->params[NGX_COCO_MDS_PARAM_TIME], hour->time,
                           sizeof(hour->time),
                           ngx_coco_pg_field(result, last, at));
    ngx_coco_mds_hour_keep(&hour->params[NGX_COCO_MDS_PARAM_ID], hour->id,
                           sizeof(hour->id),
                           ngx_coco_pg_field(result, last, id));

    return NGX_OK;
}


/* Columns of our own tables fit. */

static void
ngx_coco_mds_hour_keep(ngx_str_t *param, u_char *buffer, size_t size,
    coco_str_t field)
{
    param->data = buffer;
    param->len = ngx_min(field.len, size);
    ngx_memcpy(buffer, field.data, param->len);
}


static void
ngx_coco_mds_event_row(coco_json_out_t *out, const PGresult *result, int row,
    void *data)
{
    ngx_coco_mds_hour_t  *hour = data;

    ngx_coco_mds_event_encode(out, hour->conf, result, row, 0);
}


static ngx_int_t
ngx_coco_mds_event_next(const PGresult *result, void *data)
{
    return ngx_coco_mds_hour_next(data, result, NGX_COCO_MDS_EVENT_TS,
                                  NGX_COCO_MDS_EVENT_ID);
}


static void
ngx_coco_mds_trip_row(coco_json_out_t *out, const PGresult *result, int row,
    void *data)
{
    ngx_coco_mds_hour_t  *hour = data;

    ngx_coco_mds_trip_encode(out, hour->conf, result, row, 0);
}


static ngx_int_t
ngx_coco_mds_trip_next(const PGresult *result, void *data)
{
    return ngx_coco_mds_hour_next(data, result, NGX_COCO_MDS_TRIP_END,
                                  NGX_COCO_MDS_TRIP_ID);
}


static void
ngx_coco_mds_telemetry_row(coco_json_out_t *out, const PGresult *result,
    int row, void *data)
{
    ngx_coco_mds_hour_t  *hour = data;

    if (ngx_coco_mds_telemetry_located(result, row,
                                       NGX_COCO_MDS_TELEMETRY_COLUMN))
    {
        ngx_coco_mds_telemetry_encode(out, hour->conf, result, row,
                                      NGX_COCO_MDS_TELEMETRY_COLUMN);
    }
}


static ngx_int_t
ngx_coco_mds_telemetry_next(const PGresult *result, void *data)
{
    ngx_coco_mds_hour_t  *hour = data;

    int         last;
    ngx_str_t  *params;

    static const int  id = NGX_COCO_MDS_TELEMETRY_COLUMN
                           + NGX_COCO_MDS_TELEMETRY_ID;

    params = hour->params;
    last = PQntuples(result) - 1;

    if (last < 0) {
        return NGX_DONE;
    }

    ngx_coco_mds_hour_keep(&params[NGX_COCO_MDS_PARAM_SERIAL], hour->serial,
                           sizeof(hour->serial),
                           ngx_coco_pg_field(result, last, 0));

    if (PQgetisnull(result, last, id)) {

        /* on with the next vehicle: of this one there is none later */

        params[NGX_COCO_MDS_PARAM_TIME].data = hour->time;
        params[NGX_COCO_MDS_PARAM_TIME].len =
            ngx_sprintf(hour->time, "%L",
                        (hour->from + NGX_COCO_MDS_HOUR_MS) * 1000)
            - hour->time;
        return NGX_OK;
    }

    return ngx_coco_mds_hour_next(hour, result,
                                  NGX_COCO_MDS_TELEMETRY_COLUMN
                                  + NGX_COCO_MDS_TELEMETRY_AT, id);
}
