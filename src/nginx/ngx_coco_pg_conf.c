/*
 * The configuration of the Postgres client: what coco_postgres may say, and
 * what it is never let to say, since libpq would then block or read files.
 */

#include "ngx_coco_pg_conn.h"
#include "ngx_coco_base.h"

#define NGX_COCO_PG_POINTS_MAX       8
#define NGX_COCO_PG_CONNECTIONS_MAX  64

#define NGX_COCO_PG_OWN_KEYWORDS     16


static char *ngx_coco_pg_option(ngx_conf_t *cf, ngx_coco_pg_t *pg,
    ngx_str_t *value);
static ngx_int_t ngx_coco_pg_conninfo(ngx_conf_t *cf, ngx_coco_pg_t *pg,
    PQconninfoOption *options);
static ngx_int_t ngx_coco_pg_server(ngx_conf_t *cf, ngx_coco_pg_t *pg,
    PQconninfoOption *options);
static ngx_int_t ngx_coco_pg_set(ngx_conf_t *cf, ngx_coco_pg_t *pg,
    const char *keyword, const char *value);
static ngx_uint_t ngx_coco_pg_loopback(struct sockaddr *sa);
static const char *ngx_coco_pg_given(PQconninfoOption *options,
    const char *keyword);


ngx_coco_pg_t *
ngx_coco_pg_create(ngx_conf_t *cf)
{
    char              *error;
    ngx_int_t          rc;
    ngx_str_t         *value;
    ngx_uint_t         i;
    ngx_coco_pg_t     *pg;
    PQconninfoOption  *options;

    pg = ngx_pcalloc(cf->pool, sizeof(*pg));
    if (pg == NULL) {
        return NULL;
    }

    pg->points = 1;
    pg->connections = 4;

    value = cf->args->elts;

    for (i = 2; i < cf->args->nelts; i++) {
        if (ngx_coco_pg_option(cf, pg, &value[i]) != NGX_CONF_OK) {
            return NULL;
        }
    }

    /* libpq's words quote what they do not understand, maybe a password */

    if (ngx_strstr(value[1].data, "://")
        || ngx_strstr(value[1].data, "password"))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"coco_postgres\" takes name=value pairs, and "
                           "the password by \"password_file=\" only");
        return NULL;
    }

    error = NULL;
    options = PQconninfoParse((char *) value[1].data, &error);

    if (options == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"coco_postgres\": %*s",
                           error ? strcspn(error, "\n") : 0, error);
        PQfreemem(error);
        return NULL;
    }

    rc = ngx_coco_pg_conninfo(cf, pg, options);
    PQconninfoFree(options);

    return (rc == NGX_OK) ? pg : NULL;
}


static char *
ngx_coco_pg_option(ngx_conf_t *cf, ngx_coco_pg_t *pg, ngx_str_t *value)
{
    ngx_int_t  n;
    ngx_str_t  file;

    if (ngx_strncmp(value->data, "points=", 7) == 0) {
        n = ngx_atoi(value->data + 7, value->len - 7);

        if (n > 0 && n <= NGX_COCO_PG_POINTS_MAX) {
            pg->points = n;
            return NGX_CONF_OK;
        }

    } else if (ngx_strncmp(value->data, "connections=", 12) == 0) {
        n = ngx_atoi(value->data + 12, value->len - 12);

        if (n > 0 && n <= NGX_COCO_PG_CONNECTIONS_MAX) {
            pg->connections = n;
            return NGX_CONF_OK;
        }

    } else if (ngx_strncmp(value->data, "password_file=", 14) == 0) {
        file.data = value->data + 14;
        file.len = value->len - 14;

        return ngx_coco_secret_read(cf, &file, &pg->password);
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"coco_postgres\": invalid parameter \"%V\"", value);
    return NGX_CONF_ERROR;
}


/* Of a keyword given twice libpq takes the latter: first our defaults, then
 * what is configured, then what must be. */

static ngx_int_t
ngx_coco_pg_conninfo(ngx_conf_t *cf, ngx_coco_pg_t *pg,
    PQconninfoOption *options)
{
    ngx_uint_t         n;
    PQconninfoOption  *o;

    for (n = NGX_COCO_PG_OWN_KEYWORDS, o = options; o->keyword; o++) {
        n++;
    }

    pg->keywords = ngx_pcalloc(cf->pool, n * sizeof(*pg->keywords));
    pg->values = ngx_pcalloc(cf->pool, n * sizeof(*pg->values));

    if (pg->keywords == NULL || pg->values == NULL) {
        return NGX_ERROR;
    }

    if (ngx_coco_pg_given(options, "service")
        || ngx_coco_pg_given(options, "passfile"))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"coco_postgres\": \"service\" and \"passfile\" "
                           "would be read while nginx runs");
        return NGX_ERROR;
    }

    if (ngx_coco_pg_given(options, "user") == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"coco_postgres\" needs \"user=\"");
        return NGX_ERROR;
    }

    if (ngx_coco_pg_set(cf, pg, "application_name", "coco-nginx") != NGX_OK
        || ngx_coco_pg_set(cf, pg, "keepalives_idle", "30") != NGX_OK
        || ngx_coco_pg_set(cf, pg, "keepalives_interval", "5") != NGX_OK
        || ngx_coco_pg_set(cf, pg, "keepalives_count", "3") != NGX_OK
        || ngx_coco_pg_server(cf, pg, options) != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (o = options; o->keyword; o++) {
        if (o->val && ngx_coco_pg_set(cf, pg, o->keyword, o->val) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    /* no Kerberos files, and none of passwords: libpq would complain about
     * /dev/null itself */

    if (ngx_coco_pg_set(cf, pg, "gssencmode", "disable") != NGX_OK
        || ngx_coco_pg_set(cf, pg, "passfile", "/dev/null/none") != NGX_OK
        || ngx_coco_pg_set(cf, pg, "client_encoding", "UTF8") != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (pg->password.len) {
        return ngx_coco_pg_set(cf, pg, "password",
                               (char *) pg->password.data);
    }

    return NGX_OK;
}


/* An address, or the directory of a unix socket. Without TLS only where
 * nobody listens: the configuration may say otherwise. */

static ngx_int_t
ngx_coco_pg_server(ngx_conf_t *cf, ngx_coco_pg_t *pg,
    PQconninfoOption *options)
{
    const char  *host, *address, *port;
    ngx_str_t    text;
    ngx_addr_t   addr;

    host = ngx_coco_pg_given(options, "host");
    address = ngx_coco_pg_given(options, "hostaddr");
    port = ngx_coco_pg_given(options, "port");

    if (address == NULL) {
        address = host;
    }

    if (address == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"coco_postgres\" needs \"host=\", an address "
                           "or the directory of a socket");
        return NGX_ERROR;
    }

    text.len = ngx_strlen(address) + ngx_strlen(port ? port : "5432") + 1;
    text.data = ngx_pnalloc(cf->pool, text.len);
    if (text.data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(text.data, "%s:%s", address, port ? port : "5432");
    pg->name = text;

    if (address == host && (host[0] == '/' || host[0] == '@')) {
        return NGX_OK;
    }

    text.len = ngx_strlen(address);

    if (ngx_parse_addr(cf->pool, &addr, text.data, text.len) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"coco_postgres\": \"%V\" is not one address, "
                           "and looking a name up would block; give "
                           "\"hostaddr=\" (\"host=\" then names the server's "
                           "certificate)", &text);
        return NGX_ERROR;
    }

    if (ngx_coco_pg_set(cf, pg, "hostaddr", address) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_coco_pg_set(cf, pg, "sslmode",
                           ngx_coco_pg_loopback(addr.sockaddr) ? "disable"
                                                               : "require");
}


static ngx_uint_t
ngx_coco_pg_loopback(struct sockaddr *sa)
{
    if (sa->sa_family == AF_INET) {
        return ntohl(((struct sockaddr_in *) sa)->sin_addr.s_addr) >> 24
               == IN_LOOPBACKNET;
    }

#if (NGX_HAVE_INET6)
    if (sa->sa_family == AF_INET6) {
        return IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *) sa)->sin6_addr);
    }
#endif

    return 0;
}


ngx_int_t
ngx_coco_pg_init(ngx_conf_t *cf, ngx_coco_pg_t *pg, ngx_msec_t timeout,
    ngx_array_t *statements)
{
    u_char      *p, *options;
    ngx_uint_t   i;
    const char  *given;

    pg->timeout = timeout;
    pg->statements = statements;

    given = "";

    for (i = 0; pg->keywords[i]; i++) {
        if (ngx_strcmp(pg->keywords[i], "options") == 0) {
            given = pg->values[i];
        }
    }

    options = ngx_pnalloc(cf->pool, ngx_strlen(given) + 128);
    if (options == NULL) {
        return NGX_ERROR;
    }

    /* the server gives up when we do */
    p = ngx_sprintf(options, "-c statement_timeout=%M -c timezone=UTC "
                    "-c datestyle=ISO %s", timeout, given);
    *p = '\0';

    return ngx_coco_pg_set(cf, pg, "options", (char *) options);
}


static ngx_int_t
ngx_coco_pg_set(ngx_conf_t *cf, ngx_coco_pg_t *pg, const char *keyword,
    const char *value)
{
    u_char      *k, *v;
    size_t       klen, vlen;
    ngx_uint_t   i;

    klen = ngx_strlen(keyword) + 1;
    vlen = ngx_strlen(value) + 1;

    k = ngx_pnalloc(cf->pool, klen);
    v = ngx_pnalloc(cf->pool, vlen);

    if (k == NULL || v == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; pg->keywords[i]; i++) { /* void */ }

    ngx_memcpy(k, keyword, klen);
    ngx_memcpy(v, value, vlen);

    pg->keywords[i] = (char *) k;
    pg->values[i] = (char *) v;

    return NGX_OK;
}


static const char *
ngx_coco_pg_given(PQconninfoOption *options, const char *keyword)
{
    PQconninfoOption  *o;

    for (o = options; o->keyword; o++) {
        if (ngx_strcmp(o->keyword, keyword) == 0) {
            return o->val;
        }
    }

    return NULL;
}


ngx_int_t
ngx_coco_pg_statement_add(ngx_conf_t *cf, ngx_coco_pg_statement_t *statement)
{
    ngx_uint_t                  i;
    ngx_coco_base_conf_t       *conf;
    ngx_coco_pg_statement_t   **st;

    if (statement->nparams > NGX_COCO_PG_PARAMS_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "statement \"%V\" has too many parameters",
                           &statement->name);
        return NGX_ERROR;
    }

    conf = ngx_coco_base_conf_get(cf);
    st = conf->statements->elts;

    for (i = 0; i < conf->statements->nelts; i++) {
        if (st[i] == statement) {
            return NGX_OK;
        }
    }

    st = ngx_array_push(conf->statements);
    if (st == NULL) {
        return NGX_ERROR;
    }

    *st = statement;

    return NGX_OK;
}


ngx_int_t
ngx_coco_pg_statements_add(ngx_conf_t *cf,
    ngx_coco_pg_statement_t *const *statements)
{
    for ( /* void */ ; *statements; statements++) {
        if (ngx_coco_pg_statement_add(cf, *statements) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
