/*
 * The directives of the dispatch module: numbers and places, checked, put
 * together to the planner's rules. Must never change them afterwards.
 */

#include "ngx_coco_base.h"
#include "ngx_coco_dispatch_conf.h"

#include <math.h>
#include <ngx_thread_pool.h>


static double ngx_coco_dispatch_decimal(u_char *text, u_char *last,
    ngx_int_t *ret_rc);
static ngx_int_t ngx_coco_dispatch_place(ngx_conf_t *cf, ngx_str_t *text,
    coco_place_t *ret);
static char *ngx_coco_dispatch_init_rules(ngx_conf_t *cf,
    ngx_coco_dispatch_conf_t *dcf);
static char *ngx_coco_dispatch_init_threads(ngx_conf_t *cf,
    ngx_coco_dispatch_conf_t *dcf);


ngx_coco_dispatch_conf_t *
ngx_coco_dispatch_conf(ngx_http_request_t *r)
{
    return ngx_http_get_module_main_conf(r, ngx_coco_dispatch_module);
}


void *
ngx_coco_dispatch_create_main_conf(ngx_conf_t *cf)
{
    ngx_coco_dispatch_conf_t  *dcf;

    dcf = ngx_pcalloc(cf->pool, sizeof(ngx_coco_dispatch_conf_t));
    if (dcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     dcf->rules.area = NULL;
     *     dcf->rules.chargers = NULL;
     *     dcf->rules.route = NULL;
     *     dcf->chargers = NULL;
     *     dcf->plan_threads = { 0, NULL };
     *     dcf->threads = NULL;
     *     dcf->everywhere = 0;
     *     dcf->used = 0;
     */

    dcf->rules.speed = NAN;
    dcf->rules.detour = NAN;
    dcf->rules.percent_per_km = NAN;
    dcf->rules.percent_per_hour = NAN;
    dcf->rules.reserve_percent = NAN;
    dcf->dwell = NGX_CONF_UNSET_MSEC;
    dcf->reach = NGX_CONF_UNSET_UINT;
    dcf->quote_lifetime = NGX_CONF_UNSET_MSEC;

    return dcf;
}


char *
ngx_coco_dispatch_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_coco_dispatch_conf_t  *dcf = conf;

    char  *rv;

    ngx_conf_init_msec_value(dcf->quote_lifetime, 60000);

    if (dcf->quote_lifetime == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"coco_quote_lifetime\" must not be 0");
        return NGX_CONF_ERROR;
    }

    rv = ngx_coco_dispatch_init_rules(cf, dcf);

    if (rv != NGX_CONF_OK || !dcf->used) {
        return rv;
    }

    return ngx_coco_dispatch_init_threads(cf, dcf);
}


/* The base module comes before this one: its values are complete. */

static char *
ngx_coco_dispatch_init_rules(ngx_conf_t *cf, ngx_coco_dispatch_conf_t *dcf)
{
    ngx_uint_t             i;
    coco_trip_rules_t     *rules;
    ngx_coco_base_conf_t  *bcf;

    struct {
        double  *value;
        double   initial;
    } numbers[] = {
        { &dcf->rules.speed, 1.5 },
        { &dcf->rules.detour, 1.35 },
        { &dcf->rules.percent_per_km, 2.5 },
        { &dcf->rules.percent_per_hour, 1 },
        { &dcf->rules.reserve_percent, 10 }
    };

    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (isnan(*numbers[i].value)) {
            *numbers[i].value = numbers[i].initial;
        }
    }

    ngx_conf_init_msec_value(dcf->dwell, 120000);
    ngx_conf_init_uint_value(dcf->reach, 20000);

    rules = &dcf->rules;
    rules->dwell_seconds = dcf->dwell / 1000.0;
    rules->reach_meters = dcf->reach;

    if (dcf->chargers) {
        rules->chargers = dcf->chargers->elts;
        rules->chargers_count = dcf->chargers->nelts;
    }

    bcf = ngx_coco_base_conf_get(cf);
    dcf->supply.online_ms = bcf->online_window;
    dcf->supply.low_battery_percent = bcf->low_battery;

    return NGX_CONF_OK;
}


static char *
ngx_coco_dispatch_init_threads(ngx_conf_t *cf, ngx_coco_dispatch_conf_t *dcf)
{
#if (NGX_THREADS)

    /* a pool that no thread_pool describes is refused by nginx, by name; the
     * one called "default" needs no description */

    dcf->threads = ngx_thread_pool_add(cf, dcf->plan_threads.len
                                           ? &dcf->plan_threads : NULL);

    return dcf->threads ? NGX_CONF_OK : NGX_CONF_ERROR;

#else

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"coco_dispatch\" plans in threads, and this nginx "
                       "was built without: configure it with "
                       "\"--with-threads\"");
    return NGX_CONF_ERROR;

#endif
}


char *
ngx_coco_dispatch_number(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    double                     *field, number;
    ngx_int_t                   rc;
    ngx_str_t                  *value;
    ngx_coco_dispatch_range_t  *range;

    field = (double *) ((u_char *) conf + cmd->offset);
    range = cmd->post;
    value = cf->args->elts;

    if (!isnan(*field)) {
        return "is duplicate";
    }

    number = ngx_coco_dispatch_decimal(value[1].data,
                                       value[1].data + value[1].len, &rc);

    if (rc != NGX_OK || number < range->min || number > range->max) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" must be %s, not \"%V\"", &value[0],
                           range->what, &value[1]);
        return NGX_CONF_ERROR;
    }

    *field = number;

    return NGX_CONF_OK;
}


/* Corners in order, at least three; not over 180 degrees wide. */

char *
ngx_coco_dispatch_area(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_dispatch_conf_t  *dcf = conf;

    double         west, east;
    ngx_str_t     *value;
    ngx_uint_t     i, n;
    coco_place_t  *corners;

    if (dcf->rules.area || dcf->everywhere) {
        return "is duplicate";
    }

    value = cf->args->elts;
    n = cf->args->nelts - 1;

    if (n == 1 && ngx_strcmp(value[1].data, "off") == 0) {
        dcf->everywhere = 1;
        return NGX_CONF_OK;
    }

    if (n < 3) {
        return "needs at least three corners, \"latitude,longitude\" each";
    }

    corners = ngx_palloc(cf->pool, n * sizeof(coco_place_t));
    if (corners == NULL) {
        return NGX_CONF_ERROR;
    }

    west = 180;
    east = -180;

    for (i = 0; i < n; i++) {
        if (ngx_coco_dispatch_place(cf, &value[i + 1], &corners[i])
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }

        west = ngx_min(west, corners[i].longitude);
        east = ngx_max(east, corners[i].longitude);
    }

    if (east - west > 180) {
        return "must not be over 180 degrees wide, nor cross the antimeridian";
    }

    dcf->rules.area = corners;
    dcf->rules.area_count = n;

    return NGX_CONF_OK;
}


char *
ngx_coco_dispatch_charger(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_dispatch_conf_t  *dcf = conf;

    ngx_str_t     *value;
    coco_place_t  *place;

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        return NGX_CONF_OK;
    }

    if (dcf->chargers == NULL) {
        dcf->chargers = ngx_array_create(cf->pool, 4, sizeof(coco_place_t));
        if (dcf->chargers == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    place = ngx_array_push(dcf->chargers);

    return place && ngx_coco_dispatch_place(cf, &value[1], place) == NGX_OK
           ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/* latitude,longitude */

static ngx_int_t
ngx_coco_dispatch_place(ngx_conf_t *cf, ngx_str_t *text, coco_place_t *ret)
{
    u_char     *comma, *last;
    ngx_int_t   rc;
    ngx_str_t  *directive;

    directive = cf->args->elts;
    last = text->data + text->len;
    comma = ngx_strlchr(text->data, last, ',');

    if (comma == NULL) {
        goto bad;
    }

    ret->latitude = ngx_coco_dispatch_decimal(text->data, comma, &rc);

    if (rc != NGX_OK || ret->latitude < -90 || ret->latitude > 90) {
        goto bad;
    }

    ret->longitude = ngx_coco_dispatch_decimal(comma + 1, last, &rc);

    if (rc != NGX_OK || ret->longitude < -180 || ret->longitude > 180) {
        goto bad;
    }

    return NGX_OK;

bad:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"%V\": \"%V\" is no place: give "
                       "\"latitude,longitude\" in degrees", directive, text);
    return NGX_ERROR;
}


/* A plain decimal number; strtod alone would also take spaces, hexadecimal,
 * "inf" and "nan". nginx's arguments have a NUL after them. */

static double
ngx_coco_dispatch_decimal(u_char *text, u_char *last, ngx_int_t *ret_rc)
{
    char    *end;
    double   number;

    *ret_rc = NGX_ERROR;

    if (strspn((char *) text, "0123456789.-") < (size_t) (last - text)) {
        return 0;
    }

    number = strtod((char *) text, &end);

    if (last > text && (u_char *) end == last && isfinite(number)) {
        *ret_rc = NGX_OK;
    }

    return number;
}
