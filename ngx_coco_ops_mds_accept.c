/*
 * Which media types a client of MDS takes. The version is asked for by name:
 * whoever does not ask for ours may know another one, and a wildcard says
 * nothing of versions.
 */

#include "ngx_coco_ops_mds_reply.h"


/* Longer values are none that are looked for. */
#define NGX_COCO_MDS_VALUE  8

/* Of one media range, what decides. */
typedef struct {
    ngx_uint_t  type;           /* it is ours */
    ngx_uint_t  version;        /* so is its version */
    ngx_uint_t  refused;        /* q=0, or no weight at all */
} ngx_coco_mds_range_t;


static ngx_uint_t ngx_coco_mds_accept_list(u_char *p, u_char *last);
static u_char *ngx_coco_mds_accept_range(u_char *p, u_char *last,
    ngx_coco_mds_range_t *ret);
static u_char *ngx_coco_mds_accept_param(u_char *p, u_char *last,
    ngx_coco_mds_range_t *range);
static u_char *ngx_coco_mds_accept_value(u_char *p, u_char *last,
    ngx_str_t *ret);
static u_char *ngx_coco_mds_accept_token(u_char *p, u_char *last,
    ngx_str_t *ret);
static u_char *ngx_coco_mds_accept_space(u_char *p, u_char *last);
static ngx_uint_t ngx_coco_mds_accept_equal(const ngx_str_t *a,
    const char *b);
static ngx_uint_t ngx_coco_mds_accept_weight(const ngx_str_t *value);


ngx_uint_t
ngx_coco_mds_accepted(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_str_t         name;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            name = h[i].key;

            if (ngx_coco_mds_accept_equal(&name, "accept")
                && ngx_coco_mds_accept_list(h[i].value.data,
                                            h[i].value.data + h[i].value.len))
            {
                return 1;
            }
        }
    }

    return 0;
}


/* RFC 9110, section 12.5.1; what is not of that form is passed over. */

static ngx_uint_t
ngx_coco_mds_accept_list(u_char *p, u_char *last)
{
    ngx_coco_mds_range_t  range;

    while (p < last) {
        p = ngx_coco_mds_accept_range(p, last, &range);

        if (p && (p == last || *p == ',')) {

            if (range.type && range.version && !range.refused) {
                return 1;
            }

            p++;
            continue;
        }

        /* in a quoted string that does not end nothing can be found */

        if (p == NULL) {
            return 0;
        }

        p = ngx_strlchr(p, last, ',');
        p = p ? p + 1 : last;
    }

    return 0;
}


/* Returns where it ends; NULL in a quoted string without an end. */

static u_char *
ngx_coco_mds_accept_range(u_char *p, u_char *last, ngx_coco_mds_range_t *ret)
{
    ngx_str_t  type, subtype;

    ngx_memzero(ret, sizeof(ngx_coco_mds_range_t));

    p = ngx_coco_mds_accept_token(ngx_coco_mds_accept_space(p, last), last,
                                  &type);

    if (p == last || *p != '/') {
        return p;
    }

    p = ngx_coco_mds_accept_token(p + 1, last, &subtype);

    ret->type = ngx_coco_mds_accept_equal(&type, "application")
                && ngx_coco_mds_accept_equal(&subtype, "vnd.mds+json");

    p = ngx_coco_mds_accept_space(p, last);

    while (p && p < last && *p == ';') {
        p = ngx_coco_mds_accept_param(p + 1, last, ret);

        if (p) {
            p = ngx_coco_mds_accept_space(p, last);
        }
    }

    return p;
}


static u_char *
ngx_coco_mds_accept_param(u_char *p, u_char *last,
    ngx_coco_mds_range_t *range)
{
    u_char     buffer[NGX_COCO_MDS_VALUE];
    ngx_str_t  name, value;

    value.data = buffer;
    value.len = 0;

    p = ngx_coco_mds_accept_token(ngx_coco_mds_accept_space(p, last), last,
                                  &name);

    if (p < last && *p == '=') {
        p = ngx_coco_mds_accept_value(p + 1, last, &value);
    }

    if (ngx_coco_mds_accept_equal(&name, "version")) {
        range->version = ngx_coco_mds_accept_equal(&value, "2.0");

    } else if (ngx_coco_mds_accept_equal(&name, "q")) {
        range->refused = !ngx_coco_mds_accept_weight(&value);
    }

    return p;
}


/* A token, or a quoted string without its quotes, into ret->data; what does
 * not fit has a length that nothing looked for has. */

static u_char *
ngx_coco_mds_accept_value(u_char *p, u_char *last, ngx_str_t *ret)
{
    ngx_str_t  token;

    if (p == last || *p != '"') {
        p = ngx_coco_mds_accept_token(p, last, &token);
        ret->len = token.len;
        ngx_memcpy(ret->data, token.data,
                   ngx_min(token.len, NGX_COCO_MDS_VALUE));
        return p;
    }

    for (p++; p < last && *p != '"'; p++) {

        if (*p == '\\' && ++p == last) {
            return NULL;
        }

        if (ret->len < NGX_COCO_MDS_VALUE) {
            ret->data[ret->len] = *p;
        }

        ret->len++;
    }

    return p < last ? p + 1 : NULL;
}


static u_char *
ngx_coco_mds_accept_token(u_char *p, u_char *last, ngx_str_t *ret)
{
    ret->data = p;

    while (p < last && *p > ' ' && *p < 0x7f
           && ngx_strchr("()<>@,;:\\\"/[]?={}", *p) == NULL)
    {
        p++;
    }

    ret->len = p - ret->data;

    return p;
}


static u_char *
ngx_coco_mds_accept_space(u_char *p, u_char *last)
{
    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    return p;
}


static ngx_uint_t
ngx_coco_mds_accept_equal(const ngx_str_t *a, const char *b)
{
    return a->len == ngx_strlen(b)
           && ngx_strncasecmp(a->data, (u_char *) b, a->len) == 0;
}


/* RFC 9110, section 12.4.2: 0 to 1 with at most three digits behind the
 * point; 0, and what is not of that form, refuses. */

static ngx_uint_t
ngx_coco_mds_accept_weight(const ngx_str_t *value)
{
    size_t      i;
    ngx_uint_t  above;

    if (value->len == 0 || value->len > 5
        || (value->data[0] != '0' && value->data[0] != '1')
        || (value->len > 1 && value->data[1] != '.'))
    {
        return 0;
    }

    above = value->data[0] == '1';

    for (i = 2; i < value->len; i++) {

        if (value->data[i] < '0' || value->data[i] > '9'
            || (value->data[0] == '1' && value->data[i] != '0'))
        {
            return 0;
        }

        above |= value->data[i] != '0';
    }

    return above;
}
