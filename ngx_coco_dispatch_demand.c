/*
 * Demands over HTTP. Each change is one statement; what follows from it for a
 * robot is the database's to do.
 */

#include "ngx_coco_args.h"
#include "ngx_coco_dispatch_demand.h"
#include "ngx_coco_dispatch_trip.h"
#include "ngx_coco_query.h"
#include "ngx_coco_reply.h"
#include "coco_message.h"


static ngx_int_t ngx_coco_demand_check(ngx_http_request_t *r,
    const ngx_str_t *body);
static const char *ngx_coco_demand_type(const coco_json_value_t *value);
static bool ngx_coco_demand_type_valid(coco_str_t word);
static ngx_int_t ngx_coco_demand_filter(ngx_http_request_t *r,
    ngx_str_t *params, coco_error_t *err);
static void ngx_coco_demand_row(coco_json_out_t *out, const PGresult *result,
    int row, void *data);


static ngx_coco_pg_statement_t  ngx_coco_demand_create = {
    ngx_string("coco_demand_create"),
    "select status, response, case status when 201 then"
    "           '/demands/' || (response::json ->> 'id') end,"
    "       coco.supply_changes() as supply"
    "  from coco.demand_create("
    "    $1::text, $2::text, $3::text, $4::bytea, $5::jsonb)",
    5, NGX_COCO_PG_SLOW, 0, 1
};


/* type, serial, cursor (created_at, id), limit + 1; null is no filter */
static ngx_coco_pg_statement_t  ngx_coco_demand_list = {
    ngx_string("coco_demand_list"),
    "select coco.demand_document(page.d), coco.to_ms((page.d).created_at),"
    "       (page.d).id::text from ("
    "select d from coco.demand d"
    " where ($1::text is null or d.type = $1::text)"
    "   and ($2::text is null or d.serial = $2::text)"
    "   and ($3::bigint is null"
    "        or (d.created_at, d.id) < (coco.from_ms($3::bigint), $4::uuid))"
    " order by d.created_at desc, d.id desc limit $5::bigint) page"
    " order by (page.d).created_at desc, (page.d).id desc",
    5, NGX_COCO_PG_SLOW, 0
};


static ngx_coco_pg_statement_t  ngx_coco_demand_delete = {
    ngx_string("coco_demand_delete"),
    "select status, response, coco.supply_changes() as supply"
    "  from coco.demand_delete("
    "    $1::text, $2::text, $3::text, $4::bytea, $5::uuid)",
    5, NGX_COCO_PG_SLOW, 0, 1
};


static const ngx_coco_body_member_t  ngx_coco_demand_members[] = {
    { .name = coco_string("pickup"), .required = 1,
      .members = ngx_coco_trip_place },
    { .name = coco_string("dropoff"), .required = 1,
      .members = ngx_coco_trip_place },
    { .name = coco_string("readyAt"), .nullable = 1,
      .check = ngx_coco_trip_time },
    { .name = coco_string("serial"), .nullable = 1,
      .check = ngx_coco_body_serial },
    { .name = coco_string("type"), .nullable = 1,
      .check = ngx_coco_demand_type },
    { .name = { NULL, 0 } }
};


ngx_int_t
ngx_coco_demand_init(ngx_conf_t *cf)
{
    static ngx_coco_pg_statement_t *const  statements[] = {
        &ngx_coco_demand_create, &ngx_coco_demand_list,
        &ngx_coco_demand_delete, NULL
    };

    return ngx_coco_pg_statements_add(cf, statements);
}


ngx_int_t
ngx_coco_demand_create_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    ngx_int_t   rc;
    ngx_str_t  *params;

    params = ngx_pcalloc(r->pool, (NGX_COCO_WRITE_PARAMS + 1)
                                  * sizeof(ngx_str_t));
    if (params == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_coco_body_take(r, &call->body, ngx_coco_demand_members,
                           &params[NGX_COCO_WRITE_PARAMS], &rc)
        != NGX_OK)
    {
        return rc;
    }

    rc = ngx_coco_demand_check(r, &params[NGX_COCO_WRITE_PARAMS]);

    return rc == NGX_DECLINED ? ngx_coco_query_write(r, call,
                                              &ngx_coco_demand_create, params)
                              : rc;
}


/* What one member asks of another. NGX_DECLINED: nothing to object. */

static ngx_int_t
ngx_coco_demand_check(ngx_http_request_t *r, const ngx_str_t *body)
{
    coco_error_t       err;
    coco_json_value_t  object, v[3];

    static const coco_str_t  names[] = {
        coco_string("type"), coco_string("serial"), coco_string("readyAt")
    };

    if (coco_message_read(&object, ngx_coco_str(*body), &err) != COCO_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    coco_message_members(&object, names, 3, v);

    if (!coco_message_has(&v[0])) {
        return NGX_DECLINED;
    }

    if (coco_str_equal(v[0].string, coco_string("ACTIVE"))
        && !coco_message_has(&v[1]))
    {
        (void) coco_error_set(&err, "serial", "is missing: an ACTIVE demand "
                              "has its robot");
        return ngx_coco_reply_bad_field(r, &err);
    }

    if (coco_str_equal(v[0].string, coco_string("SCHEDULED"))
        && !coco_message_has(&v[2]))
    {
        (void) coco_error_set(&err, "readyAt", "is missing: a SCHEDULED "
                              "demand has its time");
        return ngx_coco_reply_bad_field(r, &err);
    }

    return NGX_DECLINED;
}


static const char *
ngx_coco_demand_type(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_STRING
           && ngx_coco_demand_type_valid(value->string)
           ? NULL : "must be one of PENDING, SCHEDULED, ACTIVE";
}


static bool
ngx_coco_demand_type_valid(coco_str_t word)
{
    return coco_str_equal(word, coco_string("PENDING"))
           || coco_str_equal(word, coco_string("SCHEDULED"))
           || coco_str_equal(word, coco_string("ACTIVE"));
}


ngx_int_t
ngx_coco_demand_list_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    ngx_str_t              *params;
    coco_error_t            err;
    ngx_coco_query_page_t  *page;

    ngx_memzero(&err, sizeof(coco_error_t));

    params = ngx_pcalloc(r->pool, 5 * sizeof(ngx_str_t));
    page = ngx_palloc(r->pool, sizeof(ngx_coco_query_page_t));
    if (params == NULL || page == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    page->limit = NGX_COCO_LIMIT_DEFAULT;
    page->ms_column = 1;
    page->key_column = 2;
    page->row = ngx_coco_demand_row;
    page->data = NULL;

    if (ngx_coco_demand_filter(r, params, &err) != NGX_OK
        || ngx_coco_query_cursor(r, &params[2], &err) == NGX_ERROR
        || ngx_coco_arg_limit(r, &page->limit, &err) == NGX_ERROR)
    {
        return ngx_coco_reply_bad_field(r, &err);
    }

    return ngx_coco_query_page(r, &ngx_coco_demand_list, params, page);
}


static ngx_int_t
ngx_coco_demand_filter(ngx_http_request_t *r, ngx_str_t *params,
    coco_error_t *err)
{
    ngx_int_t  rc;

    rc = ngx_coco_arg(r, "type", &params[0]);

    if (rc == NGX_OK && !ngx_coco_demand_type_valid(ngx_coco_str(params[0]))) {
        (void) coco_error_set(err, "type",
                              "must be one of PENDING, SCHEDULED, ACTIVE");
        return NGX_ERROR;
    }

    return rc == NGX_ERROR ? NGX_ERROR
                           : ngx_coco_trip_arg_serial(r, &params[1], err);
}


static void
ngx_coco_demand_row(coco_json_out_t *out, const PGresult *result, int row,
    void *data)
{
    coco_json_json(out, ngx_coco_pg_field(result, row, 0));
}


ngx_int_t
ngx_coco_demand_delete_handler(ngx_http_request_t *r, ngx_coco_call_t *call)
{
    coco_id_t   id;
    ngx_str_t  *params;

    if (coco_id_parse(&id, ngx_coco_str(call->path[0])) != COCO_OK) {
        return ngx_coco_reply_problem(r, NGX_HTTP_NOT_FOUND,
                                      "No demand has this id.");
    }

    params = ngx_pcalloc(r->pool, (NGX_COCO_WRITE_PARAMS + 1)
                                  * sizeof(ngx_str_t));
    if (params == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    params[NGX_COCO_WRITE_PARAMS] = call->path[0];

    return ngx_coco_query_write(r, call, &ngx_coco_demand_delete, params);
}
