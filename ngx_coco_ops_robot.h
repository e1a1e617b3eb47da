/*
 * One robot as Operations shows it: its parts, where each was filled from,
 * and their JSON. Used by the ops module alone.
 */

#ifndef NGX_COCO_OPS_ROBOT_H
#define NGX_COCO_OPS_ROBOT_H

#include "ngx_coco.h"
#include "ngx_coco_base.h"
#include "ngx_coco_record.h"
#include "coco_heartbeat.h"
#include "coco_json_write.h"
#include "coco_readiness.h"

/* The flags, in the order of NGX_COCO_ROBOT_OPERATION's columns. */
typedef enum {
    NGX_COCO_NEEDS_MOVEMENT = 0,
    NGX_COCO_UNDERGOING_MAINTENANCE,
    NGX_COCO_NEEDS_MAINTENANCE,
    NGX_COCO_NEEDS_PICKUP,
    NGX_COCO_HAS_FOOD,
    NGX_COCO_DRIVEABLE,
    NGX_COCO_FLAGS
} ngx_coco_flag_e;

/* Columns of robot_operation (o) that the functions below read, in this
 * order; those of robot_state are NGX_COCO_RECORD. */
#define NGX_COCO_ROBOT_OPERATION                                             \
    "o.operation_state, o.needs_movement, o.undergoing_maintenance,"         \
    " o.needs_maintenance, o.needs_pickup, o.has_food, o.driveable,"         \
    " o.deployed::text, coco.to_ms(o.changed_at)"
#define NGX_COCO_ROBOT_OPERATION_COLUMNS  9

/* Of coco.driveu() (d). */
#define NGX_COCO_ROBOT_DRIVEU                                                \
    "d.document, d.controllable, coco.to_ms(d.received_at)"
#define NGX_COCO_ROBOT_DRIVEU_COLUMNS  3

/* Of the newest delivery (v) of a robot that is not over, and the join that
 * finds it; `serial` is SQL. */
#define NGX_COCO_ROBOT_DELIVERY                                              \
    "v.id::text, v.status, coco.to_ms(v.updated_at)"
#define NGX_COCO_ROBOT_DELIVERY_JOIN(serial)                                 \
    " left join lateral (select id, status, updated_at from coco.delivery"   \
    " where serial = " serial " and status not in ('Completed', 'Canceled')" \
    " order by created_at desc limit 1) v on true"

typedef struct {
    coco_str_t        serial;

    /* business; not has_business: Postgres could not be asked */
    bool              has_business;
    coco_state_e      operation_state;      /* the one that stands */
    coco_flag_e       flags[NGX_COCO_FLAGS];
    coco_str_t        deployed;             /* JSON; data NULL: none */
    int64_t           changed_at;           /* ms; 0: nothing was set yet */

    /* telemetry; of hb only what RobotState has is filled */
    coco_str_t        telemetry_source;     /* data NULL: nothing is known */
    coco_heartbeat_t  hb;

    /* connectivity, Postgres' before Redis' */
    coco_str_t        connectivity_source;  /* data NULL: nothing is known */
    int64_t           connectivity_at;      /* ms; 0: no status was heard */
    bool              remotely_controllable;
    coco_str_t        driveu;               /* JSON; data NULL: none */

    /* lid */
    coco_str_t        ephemeral_source;     /* data NULL: nothing is known */
    int64_t           ephemeral_at;         /* ms */
    coco_str_t        lid;                  /* JSON; data NULL: not known */

    /* delivery */
    coco_str_t        delivery_id;          /* data NULL: none */
    coco_str_t        delivery_status;
    int64_t           delivery_at;          /* ms: its last change */

    bool              partial;              /* a backend was not asked */
} ngx_coco_robot_t;

/* What reading a robot depends on besides its record. */
typedef struct {
    ngx_coco_base_conf_t  *conf;
    int64_t                now;             /* ms */
} ngx_coco_robot_view_t;

/* Nothing is known yet; serial lives as long as the robot. */
void ngx_coco_robot_init(ngx_coco_robot_t *robot, coco_str_t serial);

/* Take columns from `column` on. With a pool what is kept is copied to it,
 * without it points into the result. NGX_DECLINED: the row has no such
 * record (an outer join), or one that is no heartbeat's. */
ngx_int_t ngx_coco_robot_operation_read(ngx_coco_robot_t *robot,
    const PGresult *result, int row, int column, ngx_pool_t *pool);
ngx_int_t ngx_coco_robot_record_read(ngx_coco_robot_t *robot,
    const PGresult *result, int row, int column, ngx_pool_t *pool);
ngx_int_t ngx_coco_robot_driveu_read(ngx_coco_robot_t *robot,
    const PGresult *result, int row, int column, ngx_pool_t *pool);
ngx_int_t ngx_coco_robot_delivery_read(ngx_coco_robot_t *robot,
    const PGresult *result, int row, int column, ngx_pool_t *pool);

/* Take the values of robot.heartbeat.cache.* and robot.ephemeral.*; the
 * robot then points into `text`. NGX_DECLINED: not of that form. */
ngx_int_t ngx_coco_robot_cache_read(ngx_coco_robot_t *robot, coco_str_t text);
ngx_int_t ngx_coco_robot_ephemeral_read(ngx_coco_robot_t *robot,
    coco_str_t text);

/* The time (ms) up to and including which it would be shown alike if nothing
 * is written: then it goes offline, or a copy that it came from expires. */
int64_t ngx_coco_robot_valid_until(const ngx_coco_robot_t *robot,
    const ngx_coco_robot_view_t *view);

void ngx_coco_robot_encode(coco_json_out_t *out, const ngx_coco_robot_t *robot,
    const ngx_coco_robot_view_t *view);

#endif /* NGX_COCO_OPS_ROBOT_H */
