/*
 * Request bodies that are a JSON object: what may be said, member by member,
 * as a table; each member at fault is named.
 */

#ifndef NGX_COCO_BODY_H
#define NGX_COCO_BODY_H

#include "ngx_coco.h"
#include "coco_json_read.h"

typedef struct ngx_coco_body_member_s  ngx_coco_body_member_t;

struct ngx_coco_body_member_s {
    coco_str_t                     name;    /* data NULL: the table's end */

    /* NULL, or what the value must be ("must be true or false"). */
    const char                  *(*check)(const coco_json_value_t *value);

    /* Instead of a check: an object of these. */
    const ngx_coco_body_member_t  *members;

    unsigned                       required:1;
    unsigned                       nullable:1;   /* null passes unchecked */

    const char                    *column;  /* its name in what is made of the
                                               body; NULL: as it is called */
};

/*
 * Checks the body and makes {"column": value, …} of it, JSON in `pool`, of
 * the members that are there. An empty body is an empty object.
 * NGX_DECLINED: `errors` (of coco_error_t) has got each member that is at
 * fault. NGX_ERROR: memory ran out.
 */
ngx_int_t ngx_coco_body_read(ngx_pool_t *pool, const ngx_str_t *body,
    const ngx_coco_body_member_t *members, ngx_str_t *ret,
    ngx_array_t *errors);

/* For a handler: the same, and the refusal. NGX_OK, or NGX_DECLINED with
 * *ret_rc being what ngx_http_finalize_request takes. */
ngx_int_t ngx_coco_body_take(ngx_http_request_t *r, const ngx_str_t *body,
    const ngx_coco_body_member_t *members, ngx_str_t *ret,
    ngx_int_t *ret_rc);

/*
 * The same checks, of a value that was read already and is part of something
 * larger: `path` ("demands[3].", NUL-terminated) comes before the names of the
 * members at fault. Nothing is made of it. NGX_OK also when some are at fault;
 * NGX_ERROR: memory ran out.
 */
ngx_int_t ngx_coco_body_check(const coco_json_value_t *value,
    const ngx_coco_body_member_t *members, const char *path,
    ngx_array_t *errors);

/* A string whose bytes, its escapes undone, are 1 to max of at most 256. */
bool ngx_coco_body_string(const coco_json_value_t *value, size_t max);

/* Checks of members that several endpoints have. */
const char *ngx_coco_body_latitude(const coco_json_value_t *value);
const char *ngx_coco_body_longitude(const coco_json_value_t *value);
const char *ngx_coco_body_serial(const coco_json_value_t *value);

#endif /* NGX_COCO_BODY_H */
