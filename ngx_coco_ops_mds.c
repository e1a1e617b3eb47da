/*
 * MDS over HTTP: what a location is configured with, who may be answered, and
 * how errors are told.
 */

#include "ngx_coco_ops_conf.h"
#include "ngx_coco_ops_mds.h"
#include "ngx_coco_ops_mds_hour.h"
#include "ngx_coco_ops_mds_page.h"
#include "ngx_coco_ops_mds_reply.h"
#include "ngx_coco_reply.h"


#define NGX_COCO_MDS_NOT_ACCEPTABLE  406    /* nginx has no name for it */

#define NGX_COCO_MDS_ERROR_SIZE    512
#define NGX_COCO_MDS_VEHICLE_SIZE  1024

/* What an URL may be made of. */
#define NGX_COCO_MDS_URL                                                      \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"          \
    ":/[]-._~%"


typedef struct {
    const char  *error;
    const char  *description;
    const char  *detail;
} ngx_coco_mds_error_t;


static void ngx_coco_mds_error_encode(coco_json_out_t *out, void *data);
static char *ngx_coco_mds_attribute(ngx_conf_t *cf, ngx_str_t *argument,
    coco_json_out_t *out);


const ngx_str_t  ngx_coco_mds_type = ngx_string(NGX_COCO_MDS_TYPE);


/* vehicle_attributes of the mode; what is not a number is text. */
static const struct {
    ngx_str_t   name;
    ngx_uint_t  number;
} ngx_coco_mds_attributes[] = {
    { ngx_string("year"), 1 },
    { ngx_string("make"), 0 },
    { ngx_string("model"), 0 },
    { ngx_string("color"), 0 },
    { ngx_string("inspection_date"), 0 },
    { ngx_string("equipped_cameras"), 1 },
    { ngx_string("equipped_lighting"), 1 },
    { ngx_string("wheel_count"), 1 },
    { ngx_string("width"), 1 },
    { ngx_string("length"), 1 },
    { ngx_string("height"), 1 },
    { ngx_string("weight"), 1 },
    { ngx_string("top_speed"), 1 },
    { ngx_string("storage_capacity"), 1 },
};


ngx_int_t
ngx_coco_mds_begin(ngx_http_request_t *r, ngx_coco_mds_conf_t **ret_conf,
    ngx_int_t *ret_rc)
{
    ngx_coco_ops_loc_conf_t  *olcf;

    static ngx_str_t  accept = ngx_string("Accept");

    olcf = ngx_http_get_module_loc_conf(r, ngx_coco_ops_module);

    if (ngx_coco_reply_header(r, "Vary", &accept) != NGX_OK) {
        *ret_rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return NGX_DECLINED;
    }

    if (olcf->mds.provider.len == 0) {
        *ret_rc = ngx_coco_reply_problem(r, NGX_HTTP_NOT_FOUND,
                                         "MDS is not configured here: this "
                                         "location has no coco_mds_provider.");
        return NGX_DECLINED;
    }

    if (!ngx_coco_mds_accepted(r)) {
        *ret_rc = ngx_coco_mds_error(r, NGX_COCO_MDS_NOT_ACCEPTABLE,
                                     "not_acceptable",
                                     "The Accept header must name the media "
                                     "type and the version that are served.",
                                     NGX_COCO_MDS_TYPE);
        return NGX_DECLINED;
    }

    *ret_conf = &olcf->mds;

    return NGX_OK;
}


ngx_int_t
ngx_coco_mds_bad_param(ngx_http_request_t *r, const coco_error_t *err)
{
    u_char  *p, detail[sizeof(err->field) + sizeof(err->reason) + 2];

    if (err->reason[0] == '\0') {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_snprintf(detail, sizeof(detail) - 1, "%s %s", err->field,
                     err->reason);
    *p = '\0';

    return ngx_coco_mds_error(r, NGX_HTTP_BAD_REQUEST, "bad_param",
                              "A parameter is not valid.", (char *) detail);
}


ngx_int_t
ngx_coco_mds_missing_param(ngx_http_request_t *r, const char *name,
    const char *expected)
{
    u_char  *p, detail[128];

    p = ngx_snprintf(detail, sizeof(detail) - 1, "%s %s", name, expected);
    *p = '\0';

    return ngx_coco_mds_error(r, NGX_HTTP_BAD_REQUEST, "missing_param",
                              "A required parameter is missing.",
                              (char *) detail);
}


ngx_int_t
ngx_coco_mds_error(ngx_http_request_t *r, ngx_uint_t status,
    const char *error, const char *description, const char *detail)
{
    ngx_str_t             body;
    ngx_coco_mds_error_t  said;

    said.error = error;
    said.description = description;
    said.detail = detail;

    if (ngx_coco_reply_fill(r, NGX_COCO_MDS_ERROR_SIZE,
                            ngx_coco_mds_error_encode, &said, &body)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_coco_reply_typed(r, status, &ngx_coco_mds_type, &body);
}


static void
ngx_coco_mds_error_encode(coco_json_out_t *out, void *data)
{
    ngx_coco_mds_error_t  *said = data;

    coco_json_object_open(out);
    coco_json_name(out, "error");
    coco_json_string(out, (coco_str_t) { said->error,
                                         ngx_strlen(said->error) });
    coco_json_name(out, "error_description");
    coco_json_string(out, (coco_str_t) { said->description,
                                         ngx_strlen(said->description) });
    coco_json_name(out, "error_details");
    coco_json_array_open(out);
    coco_json_string(out, (coco_str_t) { said->detail,
                                         ngx_strlen(said->detail) });
    coco_json_array_close(out);
    coco_json_object_close(out);
}


ngx_int_t
ngx_coco_mds_init(ngx_conf_t *cf)
{
    return ngx_coco_mds_page_init(cf) == NGX_OK
           ? ngx_coco_mds_hour_init(cf) : NGX_ERROR;
}


char *
ngx_coco_mds_provider(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_ops_loc_conf_t  *olcf = conf;

    u_char     *p;
    coco_id_t   id;
    ngx_str_t  *value;

    value = cf->args->elts;

    if (olcf->mds.provider.data) {
        return "is duplicate";
    }

    if (ngx_strcmp(value[1].data, "off") == 0) {
        ngx_str_set(&olcf->mds.provider, "");
        return NGX_CONF_OK;
    }

    if (coco_id_parse(&id, ngx_coco_str(value[1])) != COCO_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "coco_mds_provider \"%V\" is no UUID; it is the "
                           "provider_id that cities know", &value[1]);
        return NGX_CONF_ERROR;
    }

    p = ngx_pnalloc(cf->pool, COCO_ID_TEXT_LEN);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    coco_id_format((char *) p, &id);

    olcf->mds.provider.data = p;
    olcf->mds.provider.len = COCO_ID_TEXT_LEN;

    return NGX_CONF_OK;
}


char *
ngx_coco_mds_vehicle(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_ops_loc_conf_t  *olcf = conf;

    char             *rv, *text;
    ngx_str_t        *value;
    ngx_uint_t        i;
    coco_json_out_t   out;

    value = cf->args->elts;

    if (olcf->mds.vehicle.data) {
        return "is duplicate";
    }

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        ngx_str_set(&olcf->mds.vehicle, "");
        return NGX_CONF_OK;
    }

    text = ngx_pnalloc(cf->pool, NGX_COCO_MDS_VEHICLE_SIZE);
    if (text == NULL) {
        return NGX_CONF_ERROR;
    }

    coco_json_out_init(&out, text, NGX_COCO_MDS_VEHICLE_SIZE);
    coco_json_object_open(&out);

    for (i = 1; i < cf->args->nelts; i++) {
        rv = ngx_coco_mds_attribute(cf, &value[i], &out);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    coco_json_object_close(&out);

    if (!coco_json_out_ok(&out)) {
        return "is too long";
    }

    olcf->mds.vehicle.data = (u_char *) text;
    olcf->mds.vehicle.len = out.len;

    return NGX_CONF_OK;
}


/* Stands in links as it is written: variables would, too, and are refused. */
char *
ngx_coco_mds_url(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_ops_loc_conf_t  *olcf = conf;

    size_t      scheme;
    ngx_str_t  *value;

    value = cf->args->elts;

    if (olcf->mds.url.data) {
        return "is duplicate";
    }

    if (ngx_strcmp(value[1].data, "off") == 0) {
        ngx_str_set(&olcf->mds.url, "");
        return NGX_CONF_OK;
    }

    scheme = ngx_strncasecmp(value[1].data, (u_char *) "https://", 8) == 0 ? 8
             : ngx_strncasecmp(value[1].data, (u_char *) "http://", 7) == 0 ? 7
             : 0;

    if (scheme == 0 || value[1].data[scheme] == '/'
        || value[1].data[value[1].len - 1] == '/'
        || strspn((char *) value[1].data, NGX_COCO_MDS_URL) != value[1].len)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "coco_mds_url \"%V\" is not like "
                           "https://mds.example.com/mds, without variables, "
                           "arguments and a \"/\" at its end", &value[1]);
        return NGX_CONF_ERROR;
    }

    olcf->mds.url = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_coco_mds_attribute(ngx_conf_t *cf, ngx_str_t *argument,
    coco_json_out_t *out)
{
    ngx_int_t         n;
    ngx_str_t         value;
    ngx_uint_t        i;
    const ngx_str_t  *name;

    for (i = 0; i < sizeof(ngx_coco_mds_attributes)
                    / sizeof(ngx_coco_mds_attributes[0]); i++)
    {
        name = &ngx_coco_mds_attributes[i].name;

        if (argument->len <= name->len || argument->data[name->len] != '='
            || ngx_strncmp(argument->data, name->data, name->len) != 0)
        {
            continue;
        }

        value.data = argument->data + name->len + 1;
        value.len = argument->len - name->len - 1;

        coco_json_key(out, (char *) name->data, name->len);

        if (!ngx_coco_mds_attributes[i].number) {
            coco_json_string(out, ngx_coco_str(value));
            return NGX_CONF_OK;
        }

        n = ngx_atoi(value.data, value.len);

        if (n == NGX_ERROR) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "coco_mds_vehicle \"%V\" is not a whole "
                               "number", argument);
            return NGX_CONF_ERROR;
        }

        coco_json_int(out, n);
        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "coco_mds_vehicle \"%V\" is none of the standard's "
                       "vehicle_attributes", argument);

    return NGX_CONF_ERROR;
}
