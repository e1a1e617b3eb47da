/*
 * The body of PATCH /robots/{serial}: what may be said, member by member.
 * Changes nothing itself.
 */

#include "ngx_coco_ops_patch.h"
#include "coco_heartbeat.h"


#define NGX_COCO_DEPLOYED_ID_MAX  64


static const char *ngx_coco_patch_flag(const coco_json_value_t *value);
static const char *ngx_coco_patch_state(const coco_json_value_t *value);
static const char *ngx_coco_patch_place_type(const coco_json_value_t *value);
static const char *ngx_coco_patch_place_id(const coco_json_value_t *value);


static const ngx_coco_body_member_t  ngx_coco_patch_place[] = {
    { .name = coco_string("type"), .required = 1,
      .check = ngx_coco_patch_place_type },
    { .name = coco_string("id"), .required = 1,
      .check = ngx_coco_patch_place_id },
    { .name = coco_string("latitude"), .required = 1,
      .check = ngx_coco_body_latitude },
    { .name = coco_string("longitude"), .required = 1,
      .check = ngx_coco_body_longitude },
    { .name = { NULL, 0 } }
};


/* columns of robot_operation */
const ngx_coco_body_member_t  ngx_coco_patch_members[] = {
    { .name = coco_string("operationState"), .column = "operation_state",
      .check = ngx_coco_patch_state },
    { .name = coco_string("needsMovement"), .column = "needs_movement",
      .check = ngx_coco_patch_flag },
    { .name = coco_string("undergoingMaintenance"),
      .column = "undergoing_maintenance", .check = ngx_coco_patch_flag },
    { .name = coco_string("needsMaintenance"), .column = "needs_maintenance",
      .check = ngx_coco_patch_flag },
    { .name = coco_string("needsPickup"), .column = "needs_pickup",
      .check = ngx_coco_patch_flag },
    { .name = coco_string("hasFood"), .column = "has_food",
      .check = ngx_coco_patch_flag },
    { .name = coco_string("driveable"), .check = ngx_coco_patch_flag },
    { .name = coco_string("deployed"), .nullable = 1,
      .members = ngx_coco_patch_place },
    { .name = { NULL, 0 } }
};


static const char *
ngx_coco_patch_flag(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_TRUE || value->type == COCO_JSON_FALSE
           || value->type == COCO_JSON_NULL
           ? NULL : "must be true, false, or null to clear it";
}


static const char *
ngx_coco_patch_state(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_STRING
           && coco_state_parse(value->string) != COCO_STATE_NONE
           ? NULL : "must be one of GROUNDED, ON_TRIP, PARKED, OFF_DUTY, "
                    "DEPLOYED";
}


static const char *
ngx_coco_patch_place_type(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_STRING
           && (coco_str_equal(value->string, coco_string("PARKING_LOT"))
               || coco_str_equal(value->string, coco_string("MRO"))
               || coco_str_equal(value->string, coco_string("POD")))
           ? NULL : "must be PARKING_LOT, MRO or POD";
}


static const char *
ngx_coco_patch_place_id(const coco_json_value_t *value)
{
    return ngx_coco_body_string(value, NGX_COCO_DEPLOYED_ID_MAX)
           ? NULL : "must be a string of 1 to 64 bytes";
}
