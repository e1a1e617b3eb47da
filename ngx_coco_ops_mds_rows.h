/*
 * Rows as the standard's objects. Used by ngx_coco_ops_mds*.c alone.
 */

#ifndef NGX_COCO_OPS_MDS_ROWS_H
#define NGX_COCO_OPS_MDS_ROWS_H

#include "ngx_coco_ops_mds_reply.h"
#include "ngx_coco_pg.h"

/* Times are exchanged with Postgres as microseconds, which are exact: a page
 * begins where the one before has ended. */
#define NGX_COCO_MDS_US(column)                                              \
    "(extract(epoch from " column ") * 1000000)::bigint"
#define NGX_COCO_MDS_AT(param)                                               \
    "timezone('UTC', timestamp 'epoch'"                                      \
    " + " param "::bigint * interval '1 microsecond')"

/* The id that no row has: the first row of a time comes after it. */
#define NGX_COCO_MDS_NIL  "00000000-0000-0000-0000-000000000000"

/* Columns of mds_vehicle (v). */
#define NGX_COCO_MDS_VEHICLE  "v.device_id, v.serial"

/* Columns of mds_event (e). */
#define NGX_COCO_MDS_EVENT                                                   \
    "e.device_id, e.event_id, e.vehicle_state, array_to_json(e.event_types),"\
    " " NGX_COCO_MDS_US("e.ts") ","                                          \
    " " NGX_COCO_MDS_US("e.publication_time") ","                            \
    " e.latitude, e.longitude, e.battery_percent,"                           \
    " case when e.trip_ids <> '{}' then array_to_json(e.trip_ids) end"
#define NGX_COCO_MDS_EVENT_ID       1
#define NGX_COCO_MDS_EVENT_TS       4
#define NGX_COCO_MDS_EVENT_COLUMNS  10

/* Columns of mds_trip (t). */
#define NGX_COCO_MDS_TRIP                                                    \
    "t.device_id, t.trip_id, " NGX_COCO_MDS_US("t.start_time") ","           \
    " " NGX_COCO_MDS_US("t.end_time") ","                                    \
    " t.start_latitude, t.start_longitude, t.end_latitude, t.end_longitude," \
    " t.distance, " NGX_COCO_MDS_US("t.requested_time")
#define NGX_COCO_MDS_TRIP_ID   1
#define NGX_COCO_MDS_TRIP_END  3

/* A heartbeat: whose it is, when, its id, its details, the trips. */
#define NGX_COCO_MDS_TELEMETRY(device, at, id, details, trips)               \
    device ", " id ", " NGX_COCO_MDS_US(at) ", array_to_json(" trips "),"    \
    " " details " #>> '{location,latitude}',"                                \
    " " details " #>> '{location,longitude}',"                               \
    " " details " #>> '{location,heading}',"                                 \
    " " details " #>> '{location,speed}',"                                   \
    " " details " #>> '{location,accuracy}',"                                \
    " " details " #>> '{battery,percent}'"
#define NGX_COCO_MDS_TELEMETRY_ID  1
#define NGX_COCO_MDS_TELEMETRY_AT  2

/* These write an object of the columns from `column` on. */
void ngx_coco_mds_vehicle_encode(coco_json_out_t *out,
    const ngx_coco_mds_conf_t *conf, const PGresult *result, int row,
    int column);
void ngx_coco_mds_event_encode(coco_json_out_t *out,
    const ngx_coco_mds_conf_t *conf, const PGresult *result, int row,
    int column);
void ngx_coco_mds_trip_encode(coco_json_out_t *out,
    const ngx_coco_mds_conf_t *conf, const PGresult *result, int row,
    int column);
void ngx_coco_mds_telemetry_encode(coco_json_out_t *out,
    const ngx_coco_mds_conf_t *conf, const PGresult *result, int row,
    int column);

/* A heartbeat that tells where the robot was: others are no telemetry. */
ngx_uint_t ngx_coco_mds_telemetry_located(const PGresult *result, int row,
    int column);

/* provider_id, which every object has, and device_id. */
void ngx_coco_mds_device_encode(coco_json_out_t *out,
    const ngx_coco_mds_conf_t *conf, coco_str_t device);

#endif /* NGX_COCO_OPS_MDS_ROWS_H */
