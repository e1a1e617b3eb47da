/*
 * Requests that are passed on to partners: the path that they asked for, byte
 * for byte, the credentials that proxy_set_header puts in, and what happens
 * when a partner refuses these or speaks no HTTP. The rest of the way there is
 * proxy_pass'. Must never log a credential, nor let a request leave without.
 *
 * A module of its own, beside that of the service: it has a place in each
 * location, a phase and a filter, and nothing to do with the service's routes.
 */

#include "ngx_coco.h"
#include "ngx_coco_base.h"
#include "ngx_coco_oauth.h"
#include "ngx_coco_reply.h"
#include "coco_dd_jwt.h"
#include "coco_uri.h"


#define NGX_COCO_OPS_JWT_MARGIN  60000  /* ms before its end it is replaced */


/* The token belongs to the process: memory made before the fork is its own
 * copy after it. */
typedef struct {
    coco_dd_jwt_key_t   key;
    char                token[COCO_DD_JWT_MAX];
    size_t              len;
    int64_t             from;           /* ms since the epoch */
    int64_t             until;
} ngx_coco_ops_doordash_t;

typedef struct {
    ngx_coco_oauth_zone_t    *zone;     /* NULL: coco_oauth_zone not given */
    ngx_array_t               oauths;   /* of ngx_coco_oauth_t * */
    ngx_uint_t                doordash; /* coco_doordash_credentials given */
    ngx_uint_t                prefix;   /* coco_partner_prefix given */
} ngx_coco_ops_partner_main_conf_t;

typedef struct {
    ngx_str_t                 prefix;   /* of paths; empty: not given */
    ngx_coco_ops_doordash_t  *doordash;
    ngx_coco_oauth_t         *uber;
} ngx_coco_ops_partner_loc_conf_t;


static ngx_int_t ngx_coco_ops_partner_handler(ngx_http_request_t *r);
static ngx_uint_t ngx_coco_ops_partner_prefixed(ngx_http_request_t *r,
    const ngx_str_t *prefix);
static ngx_int_t ngx_coco_ops_partner_refuse(ngx_http_request_t *r,
    const char *detail);
static ngx_int_t ngx_coco_ops_partner_header_filter(ngx_http_request_t *r);
static ngx_uint_t ngx_coco_ops_partner_error_page(ngx_http_request_t *r);
static ngx_int_t ngx_coco_ops_path_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_coco_ops_doordash_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_coco_ops_doordash_sign(ngx_coco_ops_doordash_t *doordash,
    int64_t now);
static ngx_int_t ngx_coco_ops_uber_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_coco_ops_partner_value(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, const void *data, size_t len);
static ngx_int_t ngx_coco_ops_partner_stop(ngx_http_request_t *r);
static ngx_int_t ngx_coco_ops_partner_variables(ngx_conf_t *cf);
static ngx_int_t ngx_coco_ops_partner_init(ngx_conf_t *cf);
static ngx_uint_t ngx_coco_ops_partner_used(ngx_conf_t *cf,
    const ngx_str_t *name);
static void *ngx_coco_ops_partner_create_main_conf(ngx_conf_t *cf);
static char *ngx_coco_ops_partner_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_coco_ops_partner_create_loc_conf(ngx_conf_t *cf);
static char *ngx_coco_ops_partner_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static char *ngx_coco_ops_partner_prefix(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_coco_ops_doordash_credentials(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_coco_ops_uber_oauth(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


extern ngx_module_t  ngx_coco_ops_partner_module;

static ngx_http_output_header_filter_pt  ngx_coco_ops_next_header_filter;

/* What follows from a credential is asked for anew each time: a request that
 * is sent again has another. */
static ngx_http_variable_t  ngx_coco_ops_partner_vars[] = {

    { ngx_string("coco_partner_path"), NULL, ngx_coco_ops_path_variable,
      0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("coco_doordash_jwt"), NULL, ngx_coco_ops_doordash_variable,
      0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("coco_uber_token"), NULL, ngx_coco_ops_uber_variable,
      0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


static ngx_command_t  ngx_coco_ops_partner_commands[] = {

    { ngx_string("coco_partner_prefix"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_coco_ops_partner_prefix,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("coco_doordash_credentials"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE3,
      ngx_coco_ops_doordash_credentials,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("coco_uber_oauth"),
      NGX_HTTP_LOC_CONF|NGX_CONF_2MORE,
      ngx_coco_ops_uber_oauth,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("coco_oauth_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_coco_oauth_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_coco_ops_partner_main_conf_t, zone),
      &ngx_coco_ops_partner_module },

      ngx_null_command
};


static ngx_http_module_t  ngx_coco_ops_partner_module_ctx = {
    ngx_coco_ops_partner_variables,        /* preconfiguration */
    ngx_coco_ops_partner_init,             /* postconfiguration */

    ngx_coco_ops_partner_create_main_conf, /* create main configuration */
    ngx_coco_ops_partner_init_main_conf,   /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_coco_ops_partner_create_loc_conf,  /* create location configuration */
    ngx_coco_ops_partner_merge_loc_conf    /* merge location configuration */
};


ngx_module_t  ngx_coco_ops_partner_module = {
    NGX_MODULE_V1,
    &ngx_coco_ops_partner_module_ctx,      /* module context */
    ngx_coco_ops_partner_commands,         /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


/* After the access phase: nothing is fetched for those who may not go on. */

static ngx_int_t
ngx_coco_ops_partner_handler(ngx_http_request_t *r)
{
    ngx_coco_ops_partner_loc_conf_t  *plcf;

    plcf = ngx_http_get_module_loc_conf(r, ngx_coco_ops_partner_module);

    if (plcf->prefix.len) {

        if (!ngx_coco_ops_partner_prefixed(r, &plcf->prefix)) {
            return ngx_coco_ops_partner_refuse(r,
                       "The path goes to a partner as it is written, and must "
                       "begin as the location does, with nothing encoded.");
        }

        if (coco_uri_dotted(ngx_coco_str(r->unparsed_uri))) {
            return ngx_coco_ops_partner_refuse(r,
                       "The path goes to a partner as it is written, and must "
                       "have no segments \".\" or \"..\", encoded or not.");
        }
    }

    return plcf->uber ? ngx_coco_oauth_handler(r, plcf->uber) : NGX_DECLINED;
}


/* nginx found the location by the normalized path. */

static ngx_uint_t
ngx_coco_ops_partner_prefixed(ngx_http_request_t *r, const ngx_str_t *prefix)
{
    return r->unparsed_uri.len > prefix->len
           && r->unparsed_uri.data[prefix->len] == '/'
           && ngx_memcmp(r->unparsed_uri.data, prefix->data, prefix->len) == 0;
}


/* The request may have a body that nobody has read, and its client wait to be
 * told to send it. */

static ngx_int_t
ngx_coco_ops_partner_refuse(ngx_http_request_t *r, const char *detail)
{
    r->expect_tested = 1;

    if (ngx_http_discard_request_body(r) != NGX_OK) {
        r->keepalive = 0;
    }

    ngx_http_finalize_request(r, ngx_coco_reply_problem(r, NGX_HTTP_BAD_REQUEST,
                                                        detail));

    return NGX_DONE;
}


/*
 * A partner's 401 is about our credentials, and must not be taken for one about
 * the caller's: where there is an error_page for it, that is what happens.  Not
 * proxy_intercept_errors, which would take the partner's own words of other
 * statuses from the caller, too.  Nothing has been sent yet: this is the first
 * of the filters.
 */

static ngx_int_t
ngx_coco_ops_partner_header_filter(ngx_http_request_t *r)
{
    ngx_http_upstream_t              *u;
    ngx_coco_ops_partner_loc_conf_t  *plcf;

    u = r->upstream;

    if (u == NULL) {
        return ngx_coco_ops_next_header_filter(r);
    }

    if (ngx_coco_oauth_filter(r) != NGX_OK) {
        return NGX_ERROR;
    }

    plcf = ngx_http_get_module_loc_conf(r, ngx_coco_ops_partner_module);

    if (plcf->uber == NULL && plcf->doordash == NULL) {
        return ngx_coco_ops_next_header_filter(r);
    }

    if (r->headers_out.status == 0) {

        /* Without a status line nginx takes all that came for a body, and the
         * caller for one of HTTP/0.9, too; but that has no headers. */

        ngx_http_clean_header(r);
        r->http_version = NGX_HTTP_VERSION_10;

        return NGX_HTTP_BAD_GATEWAY;
    }

    if (r->headers_out.status != NGX_HTTP_UNAUTHORIZED
        || u->headers_in.status_n != NGX_HTTP_UNAUTHORIZED
        || !ngx_coco_ops_partner_error_page(r))
    {
        return ngx_coco_ops_next_header_filter(r);
    }

    ngx_coco_oauth_unauthorized(r);

    ngx_http_clean_header(r);
    u->headers_in.status_n = 0;         /* once */
    r->error_page = 0;                  /* also the second time */

    return NGX_HTTP_UNAUTHORIZED;
}


static ngx_uint_t
ngx_coco_ops_partner_error_page(ngx_http_request_t *r)
{
    ngx_uint_t                 i;
    ngx_http_err_page_t       *page;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->error_pages == NULL) {
        return 0;
    }

    page = clcf->error_pages->elts;

    for (i = 0; i < clcf->error_pages->nelts; i++) {
        if (page[i].status == NGX_HTTP_UNAUTHORIZED) {
            return 1;
        }
    }

    return 0;
}


/* Behind the prefix, with the query; where none is given, all of it. */

static ngx_int_t
ngx_coco_ops_path_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_coco_ops_partner_loc_conf_t  *plcf;

    plcf = ngx_http_get_module_loc_conf(r, ngx_coco_ops_partner_module);

    if (plcf->prefix.len
        && !ngx_coco_ops_partner_prefixed(r, &plcf->prefix))
    {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = r->unparsed_uri.data + plcf->prefix.len;
    v->len = r->unparsed_uri.len - plcf->prefix.len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_coco_ops_doordash_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    int64_t                           now;
    ngx_coco_ops_doordash_t          *doordash;
    ngx_coco_ops_partner_loc_conf_t  *plcf;

    plcf = ngx_http_get_module_loc_conf(r, ngx_coco_ops_partner_module);
    doordash = plcf->doordash;

    if (doordash == NULL) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "coco: $coco_doordash_jwt is used in a location without "
                      "\"coco_doordash_credentials\"");
        return ngx_coco_ops_partner_stop(r);
    }

    now = ngx_coco_now_ms();

    /* a clock that was put back makes it one of the future */

    if ((now < doordash->from || now >= doordash->until)
        && ngx_coco_ops_doordash_sign(doordash, now) != NGX_OK)
    {
        return ngx_coco_ops_partner_stop(r);
    }

    return ngx_coco_ops_partner_value(r, v, doordash->token, doordash->len);
}


static ngx_int_t
ngx_coco_ops_doordash_sign(ngx_coco_ops_doordash_t *doordash, int64_t now)
{
    doordash->until = 0;

    if (coco_dd_jwt_sign(doordash->token, &doordash->key, now) != COCO_OK) {
        return NGX_ERROR;
    }

    doordash->len = ngx_strlen(doordash->token);
    doordash->from = now;
    doordash->until = now + COCO_DD_JWT_LIFETIME * 1000
                      - NGX_COCO_OPS_JWT_MARGIN;

    return NGX_OK;
}


static ngx_int_t
ngx_coco_ops_uber_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    const ngx_str_t  *token;

    token = ngx_coco_oauth_token(r);

    if (token == NULL) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "coco: $coco_uber_token is used in a location without "
                      "\"coco_uber_oauth\", or before its token is there");
        return ngx_coco_ops_partner_stop(r);
    }

    return ngx_coco_ops_partner_value(r, v, token->data, token->len);
}


/* A copy, which the next token does not change. */

static ngx_int_t
ngx_coco_ops_partner_value(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, const void *data, size_t len)
{
    v->data = ngx_pnalloc(r->pool, len);
    if (v->data == NULL) {
        return ngx_coco_ops_partner_stop(r);
    }

    ngx_memcpy(v->data, data, len);

    v->len = len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


/* nginx makes an empty string of a variable that fails, and sends the request.
 * It looks at the address after that: by one of nowhere it answers 500. */

static ngx_int_t
ngx_coco_ops_partner_stop(ngx_http_request_t *r)
{
    static ngx_http_upstream_resolved_t  nowhere;

    if (r->upstream) {
        r->upstream->resolved = &nowhere;
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_coco_ops_partner_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_coco_ops_partner_vars; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_coco_ops_partner_init(ngx_conf_t *cf)
{
    ngx_uint_t                         i, given[3];
    ngx_http_handler_pt               *h;
    ngx_http_core_main_conf_t         *cmcf;
    ngx_coco_ops_partner_main_conf_t  *pmcf;

    static const char *const  directives[] = {
        "coco_partner_prefix", "coco_doordash_credentials", "coco_uber_oauth"
    };

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    pmcf = ngx_http_conf_get_module_main_conf(cf, ngx_coco_ops_partner_module);

    given[0] = pmcf->prefix;
    given[1] = pmcf->doordash;
    given[2] = pmcf->oauths.nelts;

    for (i = 0; i < 3; i++) {
        if (!given[i]
            && ngx_coco_ops_partner_used(cf,
                                         &ngx_coco_ops_partner_vars[i].name))
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "$%V is used, and no \"%s\" is given",
                          &ngx_coco_ops_partner_vars[i].name, directives[i]);
            return NGX_ERROR;
        }
    }

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_coco_ops_partner_handler;

    ngx_coco_ops_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_coco_ops_partner_header_filter;

    return NGX_OK;
}


static ngx_uint_t
ngx_coco_ops_partner_used(ngx_conf_t *cf, const ngx_str_t *name)
{
    ngx_uint_t                  i;
    ngx_http_variable_t        *v;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    v = cmcf->variables.elts;

    for (i = 0; i < cmcf->variables.nelts; i++) {
        if (v[i].name.len == name->len
            && ngx_strncasecmp(v[i].name.data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static void *
ngx_coco_ops_partner_create_main_conf(ngx_conf_t *cf)
{
    ngx_coco_ops_partner_main_conf_t  *pmcf;

    pmcf = ngx_pcalloc(cf->pool, sizeof(*pmcf));
    if (pmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&pmcf->oauths, cf->pool, 2,
                       sizeof(ngx_coco_oauth_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return pmcf;
}


static char *
ngx_coco_ops_partner_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_coco_ops_partner_main_conf_t  *pmcf = conf;

    ngx_uint_t          i;
    ngx_coco_oauth_t  **oauths;

    if (pmcf->oauths.nelts == 0) {
        return NGX_CONF_OK;
    }

    if (pmcf->zone == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "no \"coco_oauth_zone\" is given, and "
                      "\"coco_uber_oauth\" needs it");
        return NGX_CONF_ERROR;
    }

    if (pmcf->oauths.nelts > ngx_coco_oauth_zone_room(pmcf->zone)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"coco_oauth_zone\" has room for %ui tokens, and %ui "
                      "are to be kept: give more",
                      ngx_coco_oauth_zone_room(pmcf->zone),
                      pmcf->oauths.nelts);
        return NGX_CONF_ERROR;
    }

    oauths = pmcf->oauths.elts;

    for (i = 0; i < pmcf->oauths.nelts; i++) {
        ngx_coco_oauth_zone_set(oauths[i], pmcf->zone);
    }

    return NGX_CONF_OK;
}


static void *
ngx_coco_ops_partner_create_loc_conf(ngx_conf_t *cf)
{
    ngx_coco_ops_partner_loc_conf_t  *plcf;

    plcf = ngx_pcalloc(cf->pool, sizeof(*plcf));
    if (plcf == NULL) {
        return NULL;
    }

    plcf->doordash = NGX_CONF_UNSET_PTR;
    plcf->uber = NGX_CONF_UNSET_PTR;

    return plcf;
}


static char *
ngx_coco_ops_partner_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_coco_ops_partner_loc_conf_t  *prev = parent;
    ngx_coco_ops_partner_loc_conf_t  *conf = child;

    ngx_conf_merge_str_value(conf->prefix, prev->prefix, "");
    ngx_conf_merge_ptr_value(conf->doordash, prev->doordash, NULL);
    ngx_conf_merge_ptr_value(conf->uber, prev->uber, NULL);

    return NGX_CONF_OK;
}


static char *
ngx_coco_ops_partner_prefix(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_ops_partner_loc_conf_t  *plcf = conf;

    ngx_str_t                         *value;
    ngx_coco_ops_partner_main_conf_t  *pmcf;

    if (plcf->prefix.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len < 2 || value[1].data[0] != '/'
        || value[1].data[value[1].len - 1] == '/')
    {
        return "must begin with a slash, and end without one";
    }

    plcf->prefix = value[1];

    pmcf = ngx_http_conf_get_module_main_conf(cf, ngx_coco_ops_partner_module);
    pmcf->prefix = 1;

    return NGX_CONF_OK;
}


/* Signs once, so that what cannot be signed is told at the start. */

static char *
ngx_coco_ops_doordash_credentials(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_coco_ops_partner_loc_conf_t  *plcf = conf;

    int                                rc;
    ngx_str_t                         *value, secret;
    coco_error_t                       err;
    ngx_coco_ops_doordash_t           *doordash;
    ngx_coco_ops_partner_main_conf_t  *pmcf;

    if (plcf->doordash != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    doordash = ngx_pcalloc(cf->pool, sizeof(*doordash));
    if (doordash == NULL
        || ngx_coco_secret_read(cf, &value[3], &secret) != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    doordash->key.developer_id = ngx_coco_str(value[1]);
    doordash->key.key_id = ngx_coco_str(value[2]);

    rc = coco_dd_jwt_secret(&doordash->key, ngx_coco_str(secret), &err);
    ngx_explicit_memzero(secret.data, secret.len);

    if (rc != COCO_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\": the first line of \"%V\": %s", &value[0],
                           &value[3], err.reason);
        return NGX_CONF_ERROR;
    }

    if (value[1].len == 0 || value[2].len == 0
        || ngx_coco_ops_doordash_sign(doordash, ngx_coco_now_ms()) != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\": the ids of the developer and of the key "
                           "must be given, and not be that long", &value[0]);
        return NGX_CONF_ERROR;
    }

    plcf->doordash = doordash;

    pmcf = ngx_http_conf_get_module_main_conf(cf, ngx_coco_ops_partner_module);
    pmcf->doordash = 1;

    return NGX_CONF_OK;
}


static char *
ngx_coco_ops_uber_oauth(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_ops_partner_loc_conf_t  *plcf = conf;

    ngx_coco_ops_partner_main_conf_t  *pmcf;

    if (plcf->uber != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    if (cf->args->nelts < 4) {
        return "must have a path, a client id and the file of its secret";
    }

    pmcf = ngx_http_conf_get_module_main_conf(cf, ngx_coco_ops_partner_module);

    plcf->uber = ngx_coco_oauth_create(cf, &pmcf->oauths, "Uber");

    return plcf->uber ? NGX_CONF_OK : NGX_CONF_ERROR;
}
