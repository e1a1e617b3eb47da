/*
 * Trips in bodies, and robots that are read while somebody may write them.
 * Takes no decision on either.
 */

#include "ngx_coco_args.h"
#include "ngx_coco_dispatch_trip.h"
#include "ngx_coco_reply.h"
#include "coco_message.h"


/* How often a robot is read anew at once: a change takes a microsecond. */
#define NGX_COCO_TRIP_READS  8


const ngx_coco_body_member_t  ngx_coco_trip_place[] = {
    { .name = coco_string("latitude"), .required = 1,
      .check = ngx_coco_body_latitude },
    { .name = coco_string("longitude"), .required = 1,
      .check = ngx_coco_body_longitude },
    { .name = { NULL, 0 } }
};


const char *
ngx_coco_trip_time(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_NUMBER && value->integer
           && value->int64 >= 0 && value->int64 <= NGX_COCO_TIME_MAX
           ? NULL : "must be milliseconds since the epoch";
}


void
ngx_coco_trip_place_read(const coco_json_value_t *value, coco_place_t *ret)
{
    coco_json_value_t  v[2];

    static const coco_str_t  names[] = {
        coco_string("latitude"), coco_string("longitude")
    };

    coco_message_members(value, names, 2, v);

    ret->latitude = v[0].number;
    ret->longitude = v[1].number;
}


ngx_int_t
ngx_coco_trip_arg_serial(ngx_http_request_t *r, ngx_str_t *ret,
    coco_error_t *err)
{
    ngx_int_t  rc;

    rc = ngx_coco_arg(r, "serial", ret);

    if (rc == NGX_OK && !coco_serial_valid(ngx_coco_str(*ret))) {
        (void) coco_error_set(err, "serial",
                              "must be 1 to 64 of [A-Za-z0-9._-]");
        return NGX_ERROR;
    }

    return rc == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


ngx_int_t
ngx_coco_trip_walk(ngx_coco_trip_walk_t *walk, ngx_uint_t robots)
{
    bool        wanted;
    uint64_t    begun;
    ngx_uint_t  i;

    for ( /* void */ ; walk->next < walk->last; walk->next++) {

        if (robots-- == 0) {
            return NGX_AGAIN;
        }

        for (i = 0; /* void */ ; i++) {

            if (i == NGX_COCO_TRIP_READS) {
                return NGX_AGAIN;
            }

            begun = coco_fleet_index_begin(walk->index);

            if (begun & 1) {
                ngx_cpu_pause();
                continue;
            }

            wanted = walk->read(walk->data, walk->index, walk->next,
                                walk->kept);

            if (coco_fleet_index_end(walk->index, begun)) {
                break;
            }
        }

        walk->kept += wanted;
    }

    return NGX_OK;
}


void
ngx_coco_trip_reasons_encode(coco_json_out_t *out, coco_reasons_t reasons)
{
    ngx_uint_t  reason;

    coco_json_name(out, "reasons");
    coco_json_array_open(out);

    for (reason = 0; reason < COCO_REASONS; reason++) {
        if (reasons & (1u << reason)) {
            coco_json_string(out, coco_reason_name(reason));
        }
    }

    coco_json_array_close(out);
}


ngx_int_t
ngx_coco_trip_busy(ngx_http_request_t *r, const char *detail)
{
    static ngx_str_t  retry_after = ngx_string("1");

    if (ngx_coco_reply_header(r, "Retry-After", &retry_after) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_reply_problem(r, NGX_HTTP_SERVICE_UNAVAILABLE, detail);
}
