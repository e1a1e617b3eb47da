/*
 * The base module: what all of Coco's modules share, configured at the http
 * level, and the clients of each process. It answers no request.
 */

#include "ngx_coco_base.h"
#include "ngx_coco_auth.h"

#define NGX_COCO_SECRET_MAX  4096    /* bytes */


static void *ngx_coco_base_create_main_conf(ngx_conf_t *cf);
static char *ngx_coco_base_init_main_conf(ngx_conf_t *cf, void *conf);
static ngx_int_t ngx_coco_base_feed(ngx_conf_t *cf,
    ngx_coco_base_conf_t *bcf);
static char *ngx_coco_base_redis(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_coco_base_postgres(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_coco_base_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_coco_base_edge(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_coco_base_edge_default(ngx_conf_t *cf, ngx_str_t *ret);
static ngx_uint_t ngx_coco_base_edge_char(u_char c);
static ngx_int_t ngx_coco_base_init_process(ngx_cycle_t *cycle);
static ngx_int_t ngx_coco_base_init_replies(ngx_coco_base_conf_t *bcf,
    ngx_cycle_t *cycle);
static void ngx_coco_base_init_zone(ngx_coco_base_conf_t *bcf,
    ngx_cycle_t *cycle);
static void ngx_coco_base_exit_process(ngx_cycle_t *cycle);


static ngx_command_t  ngx_coco_base_commands[] = {

    { ngx_string("coco_redis"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_coco_base_redis,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("coco_postgres"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_coco_base_postgres,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("coco_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_coco_base_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("coco_redis_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_coco_base_conf_t, redis_timeout),
      NULL },

    { ngx_string("coco_postgres_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_coco_base_conf_t, postgres_timeout),
      NULL },

    { ngx_string("coco_online_window"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_coco_base_conf_t, online_window),
      NULL },

    { ngx_string("coco_heartbeat_ttl"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_coco_base_conf_t, heartbeat_ttl),
      NULL },

    { ngx_string("coco_lid_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_coco_base_conf_t, lid_timeout),
      NULL },

    { ngx_string("coco_edge"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_coco_base_edge,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("coco_low_battery"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_coco_base_conf_t, low_battery),
      NULL },

    { ngx_string("coco_require_teleoperation"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_coco_base_conf_t, teleoperation),
      NULL },

    { ngx_string("coco_auth_key"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_coco_auth_key,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_coco_base_conf_t, auth),
      NULL },

    { ngx_string("coco_auth_issuer"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_coco_auth_issuer,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_coco_base_conf_t, auth),
      NULL },

    { ngx_string("coco_auth_audience"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_coco_auth_audience,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_coco_base_conf_t, auth),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_coco_base_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    ngx_coco_base_create_main_conf,        /* create main configuration */
    ngx_coco_base_init_main_conf,          /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_coco_base_module = {
    NGX_MODULE_V1,
    &ngx_coco_base_module_ctx,             /* module context */
    ngx_coco_base_commands,                /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_coco_base_init_process,            /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_coco_base_exit_process,            /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


ngx_coco_base_conf_t *
ngx_coco_base_conf(ngx_http_request_t *r)
{
    return ngx_http_get_module_main_conf(r, ngx_coco_base_module);
}


ngx_coco_base_conf_t *
ngx_coco_base_conf_get(ngx_conf_t *cf)
{
    return ngx_http_conf_get_module_main_conf(cf, ngx_coco_base_module);
}


static void *
ngx_coco_base_create_main_conf(ngx_conf_t *cf)
{
    ngx_coco_base_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(*conf));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->redis = NULL;
     *     conf->pg = NULL;
     *     conf->zone = NULL;
     *     conf->feed = NULL;
     *     conf->edge = { 0, NULL };
     */

    conf->redis_timeout = NGX_CONF_UNSET_MSEC;
    conf->postgres_timeout = NGX_CONF_UNSET_MSEC;
    conf->online_window = NGX_CONF_UNSET_MSEC;
    conf->heartbeat_ttl = NGX_CONF_UNSET_MSEC;
    conf->lid_timeout = NGX_CONF_UNSET_MSEC;
    conf->low_battery = NGX_CONF_UNSET_UINT;
    conf->teleoperation = NGX_CONF_UNSET;

    conf->inbox = ngx_coco_inbox_create(cf);
    conf->replies = ngx_coco_replies_create(cf);
    conf->auth = ngx_coco_auth_create(cf);
    conf->metrics = ngx_coco_metrics_create(cf);
    conf->supply = ngx_coco_supply_create(cf);
    conf->flights = ngx_coco_flights_create(cf);
    conf->statements = ngx_array_create(cf->pool, 16,
                                        sizeof(ngx_coco_pg_statement_t *));

    if (conf->inbox == NULL || conf->replies == NULL || conf->auth == NULL
        || conf->metrics == NULL || conf->supply == NULL
        || conf->flights == NULL || conf->statements == NULL)
    {
        return NULL;
    }

    return conf;
}


static char *
ngx_coco_base_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_coco_base_conf_t  *bcf = conf;

    ngx_conf_init_msec_value(bcf->redis_timeout, 250);
    ngx_conf_init_msec_value(bcf->postgres_timeout, 2000);
    ngx_conf_init_msec_value(bcf->online_window, 60000);
    ngx_conf_init_msec_value(bcf->heartbeat_ttl, 120000);
    ngx_conf_init_msec_value(bcf->lid_timeout, 10000);
    ngx_conf_init_uint_value(bcf->low_battery, 15);
    ngx_conf_init_value(bcf->teleoperation, 0);

    if (bcf->redis_timeout == 0 || bcf->postgres_timeout == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"coco_redis_timeout\" and "
                           "\"coco_postgres_timeout\" must not be 0");
        return NGX_CONF_ERROR;
    }

    if (bcf->lid_timeout == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"coco_lid_timeout\" must not be 0");
        return NGX_CONF_ERROR;
    }

    if (bcf->edge.len == 0
        && ngx_coco_base_edge_default(cf, &bcf->edge) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (bcf->low_battery > 100) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"coco_low_battery\" must be 0 to 100 percent");
        return NGX_CONF_ERROR;
    }

    if (bcf->zone && bcf->pg && ngx_coco_base_feed(cf, bcf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (bcf->pg && ngx_coco_pg_init(cf, bcf->pg, bcf->postgres_timeout,
                                    bcf->statements) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (bcf->pg == NULL && bcf->statements->nelts) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no \"coco_postgres\" is given, and the locations "
                           "of Coco's modules need it");
        return NGX_CONF_ERROR;
    }

    return ngx_coco_auth_init(cf, bcf->auth);
}


static ngx_int_t
ngx_coco_base_feed(ngx_conf_t *cf, ngx_coco_base_conf_t *bcf)
{
    if (ngx_coco_pg_statement_add(cf, &ngx_coco_feed_changes_statement)
        != NGX_OK
        || ngx_coco_pg_statement_add(cf, &ngx_coco_feed_page_statement)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    bcf->feed = ngx_coco_feed_create(cf);

    return bcf->feed ? NGX_OK : NGX_ERROR;
}


static char *
ngx_coco_base_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_base_conf_t  *bcf = conf;

    if (bcf->redis) {
        return "is duplicate";
    }

    bcf->redis = ngx_coco_redis_create(cf);

    return bcf->redis ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static char *
ngx_coco_base_postgres(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_base_conf_t  *bcf = conf;

    if (bcf->pg) {
        return "is duplicate";
    }

    bcf->pg = ngx_coco_pg_create(cf);

    return bcf->pg ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static char *
ngx_coco_base_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_base_conf_t  *bcf = conf;

    if (bcf->zone) {
        return "is duplicate";
    }

    bcf->zone = ngx_coco_zone_create(cf, bcf->metrics);

    return bcf->zone ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static char *
ngx_coco_base_edge(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_base_conf_t  *bcf = conf;

    size_t      i;
    ngx_str_t  *value;

    if (bcf->edge.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 0; i < value[1].len; i++) {
        if (!ngx_coco_base_edge_char(value[1].data[i])) {
            break;
        }
    }

    if (i == 0 || i < value[1].len || i > NGX_COCO_EDGE_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"coco_edge\" must be 1 to %d characters of "
                           "A-Z a-z 0-9 . _ -, not \"%V\"",
                           NGX_COCO_EDGE_MAX, &value[1]);
        return NGX_CONF_ERROR;
    }

    bcf->edge = value[1];

    return NGX_CONF_OK;
}


/* The host's name, as far as it is of the right form. */

static ngx_int_t
ngx_coco_base_edge_default(ngx_conf_t *cf, ngx_str_t *ret)
{
    size_t      i, len;
    ngx_str_t  *host;

    static ngx_str_t  nameless = ngx_string("localhost");

    host = cf->cycle->hostname.len ? &cf->cycle->hostname : &nameless;
    len = ngx_min(host->len, NGX_COCO_EDGE_MAX);

    ret->data = ngx_pnalloc(cf->pool, len);
    if (ret->data == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < len; i++) {
        ret->data[i] = ngx_coco_base_edge_char(host->data[i]) ? host->data[i]
                                                              : '-';
    }

    ret->len = len;

    return NGX_OK;
}


static ngx_uint_t
ngx_coco_base_edge_char(u_char c)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
           || c == '.' || c == '_' || c == '-';
}


char *
ngx_coco_secret_read(ngx_conf_t *cf, ngx_str_t *file, ngx_str_t *ret_secret)
{
    u_char      buf[NGX_COCO_SECRET_MAX + 1];
    size_t      len;
    ssize_t     n;
    ngx_fd_t    fd;
    ngx_err_t   err;
    ngx_str_t   name, *directive;

    directive = cf->args->elts;
    name = *file;

    if (ngx_conf_full_name(cf->cycle, &name, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    fd = ngx_open_file(name.data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           "\"%V\": " ngx_open_file_n " \"%V\" failed",
                           directive, &name);
        return NGX_CONF_ERROR;
    }

    n = ngx_read_fd(fd, buf, sizeof(buf));
    err = ngx_errno;

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, cf->log, ngx_errno,
                      ngx_close_file_n " \"%V\" failed", &name);
    }

    if (n == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, err,
                           "\"%V\": " ngx_read_fd_n " \"%V\" failed",
                           directive, &name);
        return NGX_CONF_ERROR;
    }

    for (len = 0; len < (size_t) n; len++) {
        if (buf[len] == LF || buf[len] == CR || buf[len] == '\0') {
            break;
        }
    }

    if (len == 0 || len > NGX_COCO_SECRET_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\": the first line of \"%V\" must have 1 "
                           "to %d characters", directive, &name,
                           NGX_COCO_SECRET_MAX);
        return NGX_CONF_ERROR;
    }

    /* NUL-terminated as well, for libraries */

    ret_secret->data = ngx_pcalloc(cf->pool, len + 1);
    if (ret_secret->data == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memcpy(ret_secret->data, buf, len);
    ret_secret->len = len;
    ngx_explicit_memzero(buf, sizeof(buf));

    return NGX_CONF_OK;
}


/* Cache managers run this too, and serve no requests. */

static ngx_int_t
ngx_coco_base_init_process(ngx_cycle_t *cycle)
{
    ngx_coco_base_conf_t  *bcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    bcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_coco_base_module);

    if (bcf == NULL) {
        return NGX_OK;
    }

    ngx_coco_metrics_clear(bcf->metrics);

    if (bcf->redis && ngx_coco_redis_init_process(bcf->redis, cycle) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (bcf->pg
        && (ngx_coco_pg_init_process(bcf->pg, cycle) != NGX_OK
            || ngx_coco_inbox_init_process(bcf->inbox, bcf->pg, bcf->metrics,
                                           bcf->postgres_timeout, cycle)
               != NGX_OK
            || ngx_coco_base_init_replies(bcf, cycle) != NGX_OK))
    {
        return NGX_ERROR;
    }

    ngx_coco_base_init_zone(bcf, cycle);

    return NGX_OK;
}


static ngx_int_t
ngx_coco_base_init_replies(ngx_coco_base_conf_t *bcf, ngx_cycle_t *cycle)
{
    ngx_uint_t                     i;
    ngx_coco_pg_statement_t      **statements;
    ngx_coco_replies_backends_t    backends;

    backends.redis = NULL;
    backends.pg = bcf->pg;
    backends.metrics = bcf->metrics;
    backends.edge = bcf->edge;
    backends.timeout = bcf->postgres_timeout;

    /* hints are only listened to where somebody may wait for one */

    statements = bcf->statements->elts;

    for (i = 0; i < bcf->statements->nelts; i++) {
        if (statements[i] == &ngx_coco_replies_statement) {
            backends.redis = bcf->redis;
        }
    }

    return ngx_coco_replies_init_process(bcf->replies, &backends, cycle);
}


static void
ngx_coco_base_init_zone(ngx_coco_base_conf_t *bcf, ngx_cycle_t *cycle)
{
    coco_supply_rules_t       rules;
    ngx_coco_feed_backends_t  backends;

    rules.online_ms = bcf->online_window;
    rules.low_battery_percent = bcf->low_battery;

    backends.zone = bcf->zone;
    backends.redis = bcf->redis;
    backends.pg = bcf->pg;
    backends.metrics = bcf->metrics;
    backends.timeout = bcf->postgres_timeout;

    ngx_coco_supply_init_process(bcf->supply, &backends, &rules, cycle);

    if (bcf->zone) {
        ngx_coco_zone_init_process(bcf->zone, &rules);
    }

    if (bcf->feed) {
        ngx_coco_feed_init_process(bcf->feed, &backends, cycle);
    }
}


static void
ngx_coco_base_exit_process(ngx_cycle_t *cycle)
{
    ngx_coco_base_conf_t  *bcf;

    bcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_coco_base_module);

    if (bcf == NULL) {
        return;
    }

    ngx_coco_supply_exit_process(bcf->supply);

    if (bcf->feed) {
        ngx_coco_feed_exit_process(bcf->feed);
    }

    if (bcf->redis) {
        ngx_coco_redis_exit_process(bcf->redis);
    }

    if (bcf->pg) {
        ngx_coco_pg_exit_process(bcf->pg);
        ngx_coco_inbox_exit_process(bcf->inbox);
        ngx_coco_replies_exit_process(bcf->replies);
    }

    ngx_coco_metrics_clear(bcf->metrics);
}
