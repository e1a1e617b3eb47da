/*
 * Rows as the standard's objects: every member that it requires, also those
 * that are null, and of the others what is known. Never asks why a row is.
 */

#include "ngx_coco_ops_mds_rows.h"
#include "ngx_coco_query.h"

#include <math.h>


/* Of the version digit in a UUID's text. */
#define NGX_COCO_MDS_ID_VERSION  14


static void ngx_coco_mds_text(coco_json_out_t *out, const PGresult *result,
    int row, int column);
static void ngx_coco_mds_time(coco_json_out_t *out, const PGresult *result,
    int row, int column);
static ngx_uint_t ngx_coco_mds_is_number(coco_str_t text);
static void ngx_coco_mds_place(coco_json_out_t *out, const PGresult *result,
    int row, int column);
static void ngx_coco_mds_telemetry_id(coco_json_out_t *out, coco_str_t id);
static void ngx_coco_mds_telemetry_place(coco_json_out_t *out,
    const PGresult *result, int row, int column);


void
ngx_coco_mds_device_encode(coco_json_out_t *out,
    const ngx_coco_mds_conf_t *conf, coco_str_t device)
{
    coco_json_name(out, "provider_id");
    coco_json_string(out, ngx_coco_str(conf->provider));
    coco_json_name(out, "device_id");
    coco_json_string(out, device);
}


void
ngx_coco_mds_vehicle_encode(coco_json_out_t *out,
    const ngx_coco_mds_conf_t *conf, const PGresult *result, int row,
    int column)
{
    coco_json_object_open(out);
    ngx_coco_mds_device_encode(out, conf,
                               ngx_coco_pg_field(result, row, column));
    coco_json_name(out, "vehicle_id");
    ngx_coco_mds_text(out, result, row, column + 1);
    coco_json_name(out, "vehicle_type");
    coco_json_string(out, coco_string("delivery_robot"));
    coco_json_name(out, "propulsion_types");
    coco_json_json(out, coco_string("[\"electric\"]"));

    if (conf->vehicle.len) {
        coco_json_name(out, "vehicle_attributes");
        coco_json_json(out, ngx_coco_str(conf->vehicle));
    }

    /* the lid of every robot is opened by command */

    coco_json_name(out, "accessibility_attributes");
    coco_json_json(out, coco_string("{\"remote_open\":true}"));
    coco_json_object_close(out);
}


/* Without a place the standard wants the geographies that it lies in: of a
 * place that nobody knows there are none. */

void
ngx_coco_mds_event_encode(coco_json_out_t *out,
    const ngx_coco_mds_conf_t *conf, const PGresult *result, int row,
    int column)
{
    coco_json_object_open(out);
    ngx_coco_mds_device_encode(out, conf,
                               ngx_coco_pg_field(result, row, column));
    coco_json_name(out, "event_id");
    ngx_coco_mds_text(out, result, row, column + NGX_COCO_MDS_EVENT_ID);
    coco_json_name(out, "vehicle_state");
    ngx_coco_mds_text(out, result, row, column + 2);
    coco_json_name(out, "event_types");
    coco_json_json(out, ngx_coco_pg_field(result, row, column + 3));
    coco_json_name(out, "timestamp");
    ngx_coco_mds_time(out, result, row, column + NGX_COCO_MDS_EVENT_TS);
    coco_json_name(out, "publication_time");
    ngx_coco_mds_time(out, result, row, column + 5);

    if (PQgetisnull(result, row, column + 6)
        || PQgetisnull(result, row, column + 7))
    {
        coco_json_name(out, "event_geographies");
        coco_json_json(out, coco_string("[]"));

    } else {
        coco_json_name(out, "location");
        ngx_coco_mds_place(out, result, row, column + 6);
    }

    if (!PQgetisnull(result, row, column + 8)) {
        coco_json_name(out, "battery_percent");
        coco_json_int(out, ngx_coco_query_int(result, row, column + 8));
    }

    if (!PQgetisnull(result, row, column + 9)) {
        coco_json_name(out, "trip_ids");
        coco_json_json(out, ngx_coco_pg_field(result, row, column + 9));
    }

    coco_json_object_close(out);
}


/* Where a robot was at an end of a trip is left out while nobody knows. */

void
ngx_coco_mds_trip_encode(coco_json_out_t *out,
    const ngx_coco_mds_conf_t *conf, const PGresult *result, int row,
    int column)
{
    int64_t  start, end;

    start = ngx_coco_query_int(result, row, column + 2) / 1000;
    end = ngx_coco_query_int(result, row, column + NGX_COCO_MDS_TRIP_END)
          / 1000;

    coco_json_object_open(out);
    ngx_coco_mds_device_encode(out, conf,
                               ngx_coco_pg_field(result, row, column));
    coco_json_name(out, "trip_id");
    ngx_coco_mds_text(out, result, row, column + NGX_COCO_MDS_TRIP_ID);
    coco_json_name(out, "trip_type");
    coco_json_string(out, coco_string("delivery"));
    coco_json_name(out, "trip_attributes");
    coco_json_object_open(out);
    coco_json_name(out, "driver_type");
    coco_json_string(out, coco_string("semi_autonomous"));

    if (!PQgetisnull(result, row, column + 9)) {
        coco_json_name(out, "requested_time");
        ngx_coco_mds_time(out, result, row, column + 9);
    }

    coco_json_object_close(out);
    coco_json_name(out, "start_time");
    coco_json_int(out, start);
    coco_json_name(out, "end_time");
    coco_json_int(out, end);
    coco_json_name(out, "duration");
    coco_json_int(out, (end - start + 500) / 1000);
    coco_json_name(out, "distance");
    coco_json_int(out, PQgetisnull(result, row, column + 8) ? 0
                       : llround(strtod(PQgetvalue(result, row, column + 8),
                                        NULL)));

    if (!PQgetisnull(result, row, column + 4)) {
        coco_json_name(out, "start_location");
        ngx_coco_mds_place(out, result, row, column + 4);
    }

    if (!PQgetisnull(result, row, column + 6)) {
        coco_json_name(out, "end_location");
        ngx_coco_mds_place(out, result, row, column + 6);
    }

    coco_json_object_close(out);
}


ngx_uint_t
ngx_coco_mds_telemetry_located(const PGresult *result, int row, int column)
{
    return ngx_coco_mds_is_number(ngx_coco_pg_field(result, row, column + 4))
           && ngx_coco_mds_is_number(ngx_coco_pg_field(result, row,
                                                       column + 5));
}


void
ngx_coco_mds_telemetry_encode(coco_json_out_t *out,
    const ngx_coco_mds_conf_t *conf, const PGresult *result, int row,
    int column)
{
    coco_str_t  percent;

    coco_json_object_open(out);
    ngx_coco_mds_device_encode(out, conf,
                               ngx_coco_pg_field(result, row, column));
    coco_json_name(out, "telemetry_id");
    ngx_coco_mds_telemetry_id(out,
                              ngx_coco_pg_field(result, row,
                                         column + NGX_COCO_MDS_TELEMETRY_ID));
    coco_json_name(out, "timestamp");
    ngx_coco_mds_time(out, result, row, column + NGX_COCO_MDS_TELEMETRY_AT);
    coco_json_name(out, "trip_ids");
    coco_json_json(out, ngx_coco_pg_field(result, row, column + 3));
    coco_json_name(out, "journey_id");
    coco_json_null(out);
    coco_json_name(out, "location");
    ngx_coco_mds_telemetry_place(out, result, row, column + 4);

    percent = ngx_coco_pg_field(result, row, column + 9);

    if (ngx_coco_mds_is_number(percent)) {
        coco_json_name(out, "battery_percent");
        coco_json_int(out, llround(strtod(percent.data, NULL)));
    }

    coco_json_object_close(out);
}


/* The history's ids are digests of the heartbeat with the version of ids that
 * are one's own affair (8); the standard knows none above 5, which is that of
 * digests. */

static void
ngx_coco_mds_telemetry_id(coco_json_out_t *out, coco_str_t id)
{
    char  text[COCO_ID_TEXT_LEN];

    if (id.len != COCO_ID_TEXT_LEN) {
        coco_json_null(out);
        return;
    }

    ngx_memcpy(text, id.data, COCO_ID_TEXT_LEN);
    text[NGX_COCO_MDS_ID_VERSION] = '5';

    coco_json_string(out, (coco_str_t) { text, COCO_ID_TEXT_LEN });
}


static void
ngx_coco_mds_telemetry_place(coco_json_out_t *out, const PGresult *result,
    int row, int column)
{
    ngx_uint_t  i;
    coco_str_t  text;

    static const coco_str_t  names[] = {
        coco_string("lat"), coco_string("lng"), coco_string("heading"),
        coco_string("speed"), coco_string("horizontal_accuracy")
    };

    coco_json_object_open(out);

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        text = ngx_coco_pg_field(result, row, column + i);

        if (ngx_coco_mds_is_number(text)) {
            coco_json_key(out, names[i].data, names[i].len);
            coco_json_json(out, text);
        }
    }

    coco_json_object_close(out);
}


static void
ngx_coco_mds_place(coco_json_out_t *out, const PGresult *result, int row,
    int column)
{
    coco_json_object_open(out);
    coco_json_name(out, "lat");
    coco_json_json(out, ngx_coco_pg_field(result, row, column));
    coco_json_name(out, "lng");
    coco_json_json(out, ngx_coco_pg_field(result, row, column + 1));
    coco_json_object_close(out);
}


/* Text that Postgres made of a number is one of JSON's; a member of a
 * heartbeat might also be something else. */

static ngx_uint_t
ngx_coco_mds_is_number(coco_str_t text)
{
    size_t  i;

    if (text.len == 0
        || !(text.data[0] == '-' || (text.data[0] >= '0'
                                     && text.data[0] <= '9')))
    {
        return 0;
    }

    for (i = 0; i < text.len; i++) {
        if (ngx_strchr("0123456789.-+eE", text.data[i]) == NULL) {
            return 0;
        }
    }

    return 1;
}


static void
ngx_coco_mds_text(coco_json_out_t *out, const PGresult *result, int row,
    int column)
{
    coco_json_string(out, ngx_coco_pg_field(result, row, column));
}


static void
ngx_coco_mds_time(coco_json_out_t *out, const PGresult *result, int row,
    int column)
{
    coco_json_int(out, ngx_coco_query_int(result, row, column) / 1000);
}
