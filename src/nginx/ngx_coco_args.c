/*
 * Query arguments: decoded, checked, each error naming its field. Knows
 * forms (a time, a box, a cursor), never what they select.
 */

#include "ngx_coco_args.h"


/* Longest decoded cursor: milliseconds, a colon, two names of 128 bytes. */
#define NGX_COCO_CURSOR_MAX  (NGX_INT64_LEN + 1 + 2 * 128)


static ngx_int_t ngx_coco_arg_bad(coco_error_t *err, const char *name,
    const char *reason);
static ngx_int_t ngx_coco_args_numbers(ngx_str_t *text, double *ret,
    ngx_uint_t count);


ngx_int_t
ngx_coco_arg(ngx_http_request_t *r, const char *name, ngx_str_t *ret_value)
{
    u_char     *dst, *src;
    ngx_str_t   raw;

    if (ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &raw) != NGX_OK) {
        return NGX_DECLINED;
    }

    dst = ngx_pnalloc(r->pool, raw.len + 1);
    if (dst == NULL) {
        return NGX_ERROR;
    }

    ret_value->data = dst;
    src = raw.data;
    ngx_unescape_uri(&dst, &src, raw.len, 0);
    ret_value->len = dst - ret_value->data;

    /* number parsers of libc need an end; a NUL within is no number's */
    *dst = '\0';

    return NGX_OK;
}


ngx_int_t
ngx_coco_arg_time(ngx_http_request_t *r, const char *name, int64_t *ret_ms,
    coco_error_t *err)
{
    off_t      ms;
    ngx_int_t  rc;
    ngx_str_t  value;

    rc = ngx_coco_arg(r, name, &value);
    if (rc != NGX_OK) {
        return rc;
    }

    ms = ngx_atoof(value.data, value.len);

    if (ms == NGX_ERROR || ms > NGX_COCO_TIME_MAX) {
        return ngx_coco_arg_bad(err, name,
                                "must be milliseconds since the epoch");
    }

    *ret_ms = ms;

    return NGX_OK;
}


ngx_int_t
ngx_coco_arg_bool(ngx_http_request_t *r, const char *name, ngx_flag_t *ret,
    coco_error_t *err)
{
    ngx_int_t  rc;
    ngx_str_t  value;

    rc = ngx_coco_arg(r, name, &value);
    if (rc != NGX_OK) {
        return rc;
    }

    if (coco_str_equal(ngx_coco_str(value), coco_string("true"))) {
        *ret = 1;

    } else if (coco_str_equal(ngx_coco_str(value), coco_string("false"))) {
        *ret = 0;

    } else {
        return ngx_coco_arg_bad(err, name, "must be true or false");
    }

    return NGX_OK;
}


ngx_int_t
ngx_coco_arg_limit(ngx_http_request_t *r, ngx_uint_t *ret, coco_error_t *err)
{
    ngx_int_t  rc, limit;
    ngx_str_t  value;

    rc = ngx_coco_arg(r, "limit", &value);
    if (rc != NGX_OK) {
        return rc;
    }

    limit = ngx_atoi(value.data, value.len);

    if (limit < 1 || limit > NGX_COCO_LIMIT_MAX) {
        return ngx_coco_arg_bad(err, "limit",
                                "must be an integer from 1 to 500");
    }

    *ret = limit;

    return NGX_OK;
}


ngx_int_t
ngx_coco_arg_bbox(ngx_http_request_t *r, ngx_coco_bbox_t *ret,
    coco_error_t *err)
{
    double     n[4];
    ngx_int_t  rc;
    ngx_str_t  value;

    rc = ngx_coco_arg(r, "bbox", &value);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_coco_args_numbers(&value, n, 4) != NGX_OK) {
        return ngx_coco_arg_bad(err, "bbox",
                                "must be minLon,minLat,maxLon,maxLat");
    }

    if (n[0] < -180 || n[0] > 180 || n[2] < -180 || n[2] > 180
        || n[1] < -90 || n[3] > 90 || n[1] > n[3])
    {
        return ngx_coco_arg_bad(err, "bbox", "longitudes are -180 to 180, "
                                "latitudes -90 to 90, minLat <= maxLat");
    }

    ret->min_lon = n[0];
    ret->min_lat = n[1];
    ret->max_lon = n[2];
    ret->max_lat = n[3];

    return NGX_OK;
}


ngx_int_t
ngx_coco_arg_cursor(ngx_http_request_t *r, int64_t *ret_ms,
    ngx_str_t *ret_key, coco_error_t *err)
{
    ngx_int_t  rc;
    ngx_str_t  value;

    rc = ngx_coco_arg(r, "cursor", &value);

    return rc == NGX_OK ? ngx_coco_cursor_decode(r, &value, ret_ms, ret_key,
                                                 err)
                        : rc;
}


ngx_int_t
ngx_coco_cursor_decode(ngx_http_request_t *r, ngx_str_t *value,
    int64_t *ret_ms, ngx_str_t *ret_key, coco_error_t *err)
{
    off_t      ms;
    u_char    *colon;
    ngx_str_t  text;

    if (value->len == 0
        || value->len > ngx_base64_encoded_length(NGX_COCO_CURSOR_MAX))
    {
        goto bad;
    }

    text.data = ngx_pnalloc(r->pool, ngx_base64_decoded_length(value->len));
    if (text.data == NULL) {
        return NGX_ERROR;
    }

    if (ngx_decode_base64url(&text, value) != NGX_OK) {
        goto bad;
    }

    colon = ngx_strlchr(text.data, text.data + text.len, ':');
    if (colon == NULL) {
        goto bad;
    }

    ms = ngx_atoof(text.data, colon - text.data);
    if (ms == NGX_ERROR || ms > NGX_COCO_TIME_MAX) {
        goto bad;
    }

    *ret_ms = ms;
    ret_key->data = colon + 1;
    ret_key->len = text.data + text.len - ret_key->data;

    return NGX_OK;

bad:

    return ngx_coco_arg_bad(err, "cursor",
                            "must be the nextCursor of an earlier page");
}


ngx_int_t
ngx_coco_cursor_encode(ngx_http_request_t *r, int64_t ms, coco_str_t key,
    ngx_str_t *ret)
{
    ngx_str_t  text;

    text.data = ngx_pnalloc(r->pool, NGX_INT64_LEN + 1 + key.len);
    if (text.data == NULL) {
        return NGX_ERROR;
    }

    text.len = ngx_sprintf(text.data, "%L:%*s", ms, key.len, key.data)
               - text.data;

    ret->data = ngx_pnalloc(r->pool, ngx_base64_encoded_length(text.len));
    if (ret->data == NULL) {
        return NGX_ERROR;
    }

    ngx_encode_base64url(ret, &text);

    return NGX_OK;
}


static ngx_int_t
ngx_coco_arg_bad(coco_error_t *err, const char *name, const char *reason)
{
    (void) coco_error_set(err, name, "%s", reason);

    return NGX_ERROR;
}


/* `count` decimal numbers with commas between; strtod alone would also take
 * spaces, hexadecimal, "inf" and "nan". */

static ngx_int_t
ngx_coco_args_numbers(ngx_str_t *text, double *ret, ngx_uint_t count)
{
    char        *p, *end;
    ngx_uint_t   i;

    p = (char *) text->data;

    if (text->len == 0 || strspn(p, "0123456789+-.eE,") != text->len) {
        return NGX_ERROR;
    }

    for (i = 0; i < count; i++) {
        ret[i] = strtod(p, &end);

        if (end == p || *end != (i + 1 < count ? ',' : '\0')) {
            return NGX_ERROR;
        }

        p = end + 1;
    }

    return NGX_OK;
}


ngx_table_elt_t *
ngx_coco_header_find(ngx_http_request_t *r, const ngx_str_t *name)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len == name->len
                && ngx_strncasecmp(h[i].key.data, name->data, name->len) == 0)
            {
                return &h[i];
            }
        }
    }

    return NULL;
}
