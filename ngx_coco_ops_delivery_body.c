/*
 * The bodies of requests about deliveries: what may be said, member by
 * member. No reason shows a value: one of them is a PIN.
 */

#include "ngx_coco_args.h"
#include "ngx_coco_ops_delivery_body.h"


#define NGX_COCO_DELIVERY_TEXT_MAX   128
#define NGX_COCO_DELIVERY_LONG_MAX   256


static const char *ngx_coco_delivery_text(const coco_json_value_t *value);
static const char *ngx_coco_delivery_long(const coco_json_value_t *value);
static const char *ngx_coco_delivery_flow(const coco_json_value_t *value);
static const char *ngx_coco_delivery_pin(const coco_json_value_t *value);
static const char *ngx_coco_delivery_time(const coco_json_value_t *value);
static const char *ngx_coco_delivery_at(const coco_json_value_t *value);


static const ngx_coco_body_member_t  ngx_coco_delivery_place[] = {
    { .name = coco_string("latitude"), .required = 1,
      .check = ngx_coco_body_latitude },
    { .name = coco_string("longitude"), .required = 1,
      .check = ngx_coco_body_longitude },
    { .name = coco_string("address"), .nullable = 1,
      .check = ngx_coco_delivery_long },
    { .name = { NULL, 0 } }
};


const ngx_coco_body_member_t  ngx_coco_delivery_create_members[] = {
    { .name = coco_string("provider"), .nullable = 1,
      .check = ngx_coco_delivery_text },
    { .name = coco_string("externalId"), .nullable = 1,
      .check = ngx_coco_delivery_text },
    { .name = coco_string("store"), .nullable = 1,
      .check = ngx_coco_delivery_text },
    { .name = coco_string("pickup"), .required = 1,
      .members = ngx_coco_delivery_place },
    { .name = coco_string("dropoff"), .required = 1,
      .members = ngx_coco_delivery_place },
    { .name = coco_string("loadingFlow"), .nullable = 1,
      .check = ngx_coco_delivery_flow },
    { .name = coco_string("pin"), .nullable = 1,
      .check = ngx_coco_delivery_pin },
    { .name = coco_string("readyAt"), .nullable = 1,
      .check = ngx_coco_delivery_time },
    { .name = { NULL, 0 } }
};


const ngx_coco_body_member_t  ngx_coco_delivery_assign_members[] = {
    { .name = coco_string("serial"), .required = 1,
      .check = ngx_coco_body_serial },
    { .name = { NULL, 0 } }
};


const ngx_coco_body_member_t  ngx_coco_delivery_arrive_members[] = {
    { .name = coco_string("at"), .required = 1,
      .check = ngx_coco_delivery_at },
    { .name = { NULL, 0 } }
};


const ngx_coco_body_member_t  ngx_coco_delivery_cancel_members[] = {
    { .name = coco_string("reason"), .required = 1,
      .check = ngx_coco_delivery_long },
    { .name = { NULL, 0 } }
};


const ngx_coco_body_member_t  ngx_coco_delivery_no_members[] = {
    { .name = { NULL, 0 } }
};


static const char *
ngx_coco_delivery_text(const coco_json_value_t *value)
{
    return ngx_coco_body_string(value, NGX_COCO_DELIVERY_TEXT_MAX)
           ? NULL : "must be a string of 1 to 128 bytes";
}


static const char *
ngx_coco_delivery_long(const coco_json_value_t *value)
{
    return ngx_coco_body_string(value, NGX_COCO_DELIVERY_LONG_MAX)
           ? NULL : "must be a string of 1 to 256 bytes";
}


static const char *
ngx_coco_delivery_flow(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_STRING
           && (coco_str_equal(value->string, coco_string("QR"))
               || coco_str_equal(value->string, coco_string("MAGIC_LID"))
               || coco_str_equal(value->string, coco_string("PIN"))
               || coco_str_equal(value->string, coco_string("PINLESS")))
           ? NULL : "must be one of QR, MAGIC_LID, PIN, PINLESS";
}


static const char *
ngx_coco_delivery_pin(const coco_json_value_t *value)
{
    size_t  i;

    if (value->type != COCO_JSON_STRING || value->string.len != 4) {
        goto bad;
    }

    for (i = 0; i < value->string.len; i++) {
        if (value->string.data[i] < '0' || value->string.data[i] > '9') {
            goto bad;
        }
    }

    return NULL;

bad:

    return "must be a string of four digits";
}


static const char *
ngx_coco_delivery_time(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_NUMBER && value->integer
           && value->int64 >= 0 && value->int64 <= NGX_COCO_TIME_MAX
           ? NULL : "must be milliseconds since the epoch";
}


static const char *
ngx_coco_delivery_at(const coco_json_value_t *value)
{
    return value->type == COCO_JSON_STRING
           && (coco_str_equal(value->string, coco_string("pickup"))
               || coco_str_equal(value->string, coco_string("dropoff")))
           ? NULL : "must be pickup or dropoff";
}
