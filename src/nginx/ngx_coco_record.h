/*
 * A robot as it was heard last: the state service's record of it in Postgres,
 * and the copies in Redis, which are put back from the record when they are
 * gone.
 */

#ifndef NGX_COCO_RECORD_H
#define NGX_COCO_RECORD_H

#include "ngx_coco.h"
#include "ngx_coco_base.h"
#include "coco_heartbeat.h"
#include "coco_json_read.h"

/* What the names of the copies begin with, before the serial. */
#define NGX_COCO_CACHE_KEY      "robot.heartbeat.cache."
#define NGX_COCO_EPHEMERAL_KEY  "robot.ephemeral."

/* Columns of robot_state (s) that ngx_coco_record_read() reads. */
#define NGX_COCO_RECORD                                                      \
    "s.id::text, s.state, coco.to_ms(s.ts), coco.to_ms(s.received_at),"      \
    " s.details::text"
#define NGX_COCO_RECORD_COLUMNS  5

/* Takes the columns from `column` on; of *hb only what RobotState has is
 * filled, and hb->serial is `serial`. With a pool what is kept is copied to
 * it, without it points into the result; *ret_lid is JSON, data NULL when it
 * is not known. NGX_DECLINED: the row has no record (an outer join), or one
 * that is no heartbeat's; *hb is then undefined. */
ngx_int_t ngx_coco_record_read(coco_heartbeat_t *hb, coco_str_t *ret_lid,
    coco_str_t serial, const PGresult *result, int row, int column,
    ngx_pool_t *pool);

/* The part that RobotState and the record have in common; "healthy" and
 * "components" may be absent. NGX_DECLINED: not of that form. */
ngx_int_t ngx_coco_record_telemetry(coco_heartbeat_t *hb,
    coco_json_value_t *healthy, coco_json_value_t *battery,
    coco_json_value_t *location, coco_json_value_t *components);

/* RobotState in `pool`; operation_state: the one that stands. */
ngx_int_t ngx_coco_record_state(ngx_pool_t *pool, const coco_heartbeat_t *hb,
    coco_state_e operation_state, ngx_str_t *ret);

/* What remains of the time of a copy of it, ms; expired when not above 0. */
int64_t ngx_coco_record_left(const ngx_coco_base_conf_t *conf,
    const coco_heartbeat_t *hb);

/* Puts a copy back, for the time that remains: a newer one of the worker's is
 * never replaced, and the request does not wait. */
void ngx_coco_record_put(ngx_http_request_t *r, const char *prefix,
    const coco_heartbeat_t *hb, const ngx_str_t *copy);

/* The name of a copy, in `pool`. */
ngx_int_t ngx_coco_record_key(ngx_pool_t *pool, const char *prefix,
    coco_str_t serial, ngx_str_t *ret);

#endif /* NGX_COCO_RECORD_H */
