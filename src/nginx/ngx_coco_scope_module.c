/*
 * Any location for callers with a scope: what it holds may be another module's
 * (proxy_pass). Answers none that may go on.
 */

#include "ngx_coco.h"
#include "ngx_coco_auth.h"


typedef struct {
    ngx_str_t  scope;
} ngx_coco_scope_loc_conf_t;


static ngx_int_t ngx_coco_scope_handler(ngx_http_request_t *r);
static void *ngx_coco_scope_create_loc_conf(ngx_conf_t *cf);
static char *ngx_coco_scope_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_coco_scope(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_coco_scope_init(ngx_conf_t *cf);


static ngx_command_t  ngx_coco_scope_commands[] = {

    { ngx_string("coco_scope"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_coco_scope,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_coco_scope_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_coco_scope_init,                   /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_coco_scope_create_loc_conf,        /* create location configuration */
    ngx_coco_scope_merge_loc_conf          /* merge location configuration */
};


ngx_module_t  ngx_coco_scope_module = {
    NGX_MODULE_V1,
    &ngx_coco_scope_module_ctx,            /* module context */
    ngx_coco_scope_commands,               /* module directives */
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


static ngx_int_t
ngx_coco_scope_handler(ngx_http_request_t *r)
{
    ngx_int_t                   rc;
    ngx_coco_caller_t           caller;
    ngx_coco_scope_loc_conf_t  *slcf;

    slcf = ngx_http_get_module_loc_conf(r, ngx_coco_scope_module);

    if (slcf->scope.len == 0) {
        return NGX_DECLINED;
    }

    if (ngx_coco_auth_check(r, &slcf->scope, &caller, &rc) == NGX_OK) {
        return NGX_OK;
    }

    /* The reply is on its way. What is left of the request must not be taken
     * for the next one, nor asked for. */

    r->expect_tested = 1;

    if (ngx_http_discard_request_body(r) != NGX_OK) {
        r->keepalive = 0;
    }

    ngx_http_finalize_request(r, rc);

    return NGX_DONE;
}


static void *
ngx_coco_scope_create_loc_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_coco_scope_loc_conf_t));
}


static char *
ngx_coco_scope_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_coco_scope_loc_conf_t  *prev = parent;
    ngx_coco_scope_loc_conf_t  *conf = child;

    ngx_conf_merge_str_value(conf->scope, prev->scope, "");

    return NGX_CONF_OK;
}


/* As RFC 6749 has it, section 3.3; several may be given with a space between
 * them. */

static char *
ngx_coco_scope(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_scope_loc_conf_t  *slcf = conf;

    size_t      i;
    u_char      c;
    ngx_str_t  *value;

    if (slcf->scope.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 0; i < value[1].len; i++) {
        c = value[1].data[i];

        if (c < ' ' || c > '~' || c == '"' || c == '\\') {
            break;
        }
    }

    if (i == 0 || i < value[1].len || i > 64
        || value[1].data[0] == ' ' || value[1].data[i - 1] == ' ')
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" must be a token's scope, or several with "
                           "a space between them, of 64 characters at most, "
                           "not \"%V\"", &value[0], &value[1]);
        return NGX_CONF_ERROR;
    }

    slcf->scope = value[1];

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_coco_scope_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_ACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_coco_scope_handler;

    return NGX_OK;
}
