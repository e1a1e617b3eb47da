/*
 * Endpoints, replies and handles of libcurl. Must never follow a redirect,
 * take another protocol than HTTP, or keep a reply beyond its limit.
 */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <openssl/crypto.h>

#include "aws_http.h"

#define COCO_AWS_CONNECT_MS   5000
#define COCO_AWS_REPLY_FIRST  4096


static void coco_aws_http_init(void);
static int coco_aws_endpoint_read(coco_aws_endpoint_t *ret, CURLU *url,
    char *error, size_t error_size);
static char *coco_aws_endpoint_host(CURLU *url);
static size_t coco_aws_reply_write(char *data, size_t size, size_t count,
    void *user);
static int coco_aws_fetch_progress(void *user, curl_off_t dltotal,
    curl_off_t dlnow, curl_off_t ultotal, curl_off_t ulnow);


static pthread_once_t  coco_aws_http_once = PTHREAD_ONCE_INIT;


static void
coco_aws_http_init(void)
{
    (void) curl_global_init(CURL_GLOBAL_DEFAULT);
}


int
coco_aws_endpoint_parse(coco_aws_endpoint_t *ret, const char *url,
    char *error, size_t error_size)
{
    int     rc = COCO_ERROR;
    CURLU  *u;

    memset(ret, 0, sizeof(*ret));

    u = curl_url();
    if (u == NULL) {
        snprintf(error, error_size, "out of memory");
        return COCO_ERROR;
    }

    if (curl_url_set(u, CURLUPART_URL, url, CURLU_DISALLOW_USER) != CURLUE_OK)
    {
        snprintf(error, error_size, "\"%s\" is no URL; write "
                 "https://host[:port]/", url);
    } else {
        rc = coco_aws_endpoint_read(ret, u, error, error_size);
    }

    curl_url_cleanup(u);

    if (rc != COCO_OK) {
        coco_aws_endpoint_free(ret);
    }

    return rc;
}


static int
coco_aws_endpoint_read(coco_aws_endpoint_t *ret, CURLU *url, char *error,
    size_t error_size)
{
    bool   http;
    char  *scheme = NULL, *query = NULL, *fragment = NULL;

    (void) curl_url_get(url, CURLUPART_SCHEME, &scheme, 0);
    (void) curl_url_get(url, CURLUPART_QUERY, &query, 0);
    (void) curl_url_get(url, CURLUPART_FRAGMENT, &fragment, 0);

    http = scheme != NULL
           && (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);

    if (!http || query != NULL || fragment != NULL) {
        snprintf(error, error_size, "an endpoint is http:// or https:// and a "
                 "host, without query or fragment");
    } else if (curl_url_get(url, CURLUPART_PATH, &ret->path, 0) != CURLUE_OK
               || curl_url_get(url, CURLUPART_URL, &ret->url, 0) != CURLUE_OK
               || (ret->host = coco_aws_endpoint_host(url)) == NULL)
    {
        snprintf(error, error_size, "out of memory");
        http = false;
    }

    http = http && query == NULL && fragment == NULL;

    curl_free(scheme);
    curl_free(query);
    curl_free(fragment);

    return http ? COCO_OK : COCO_ERROR;
}


/* As libcurl would send it itself. */
static char *
coco_aws_endpoint_host(CURLU *url)
{
    char  *host = NULL, *port = NULL, *text = NULL;

    if (curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK) {
        return NULL;
    }

    (void) curl_url_get(url, CURLUPART_PORT, &port, CURLU_NO_DEFAULT_PORT);

    if (asprintf(&text, port ? "%s:%s" : "%s", host, port) == -1) {
        text = NULL;
    }

    curl_free(host);
    curl_free(port);

    return text;
}


void
coco_aws_endpoint_free(coco_aws_endpoint_t *endpoint)
{
    curl_free(endpoint->url);
    curl_free(endpoint->path);
    free(endpoint->host);
    memset(endpoint, 0, sizeof(*endpoint));
}


void
coco_aws_endpoint_default(char *ret, size_t size, const char *service,
    const char *region)
{
    snprintf(ret, size, "https://%s.%s.amazonaws.com%s/", service, region,
             strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
}


CURL *
coco_aws_easy_create(coco_aws_reply_t *reply, char *error)
{
    CURL        *easy;
    const char  *bundle;

    pthread_once(&coco_aws_http_once, coco_aws_http_init);

    easy = curl_easy_init();
    if (easy == NULL) {
        return NULL;
    }

    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     (long) COCO_AWS_CONNECT_MS);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, coco_aws_reply_write);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, reply);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, error);

    /* as AWS's own tools */
    bundle = getenv("AWS_CA_BUNDLE");
    if (bundle != NULL && bundle[0] != '\0') {
        curl_easy_setopt(easy, CURLOPT_CAINFO, bundle);
    }

    return easy;
}


static size_t
coco_aws_reply_write(char *data, size_t size, size_t count, void *user)
{
    char              *grown;
    size_t             need, room;
    coco_aws_reply_t  *reply;

    reply = user;
    count *= size;
    need = reply->len + count + 1;

    if (need > reply->max) {
        return 0;
    }

    if (need > reply->size) {
        room = reply->size > 0 ? reply->size * 2 : COCO_AWS_REPLY_FIRST;
        room = room < need ? need : room;

        grown = realloc(reply->data, room);
        if (grown == NULL) {
            return 0;
        }

        reply->data = grown;
        reply->size = room;
    }

    memcpy(reply->data + reply->len, data, count);
    reply->len += count;
    reply->data[reply->len] = '\0';

    return count;
}


void
coco_aws_reply_free(coco_aws_reply_t *reply)
{
    if (reply->data != NULL) {
        OPENSSL_cleanse(reply->data, reply->size);
        free(reply->data);
    }

    reply->data = NULL;
    reply->len = 0;
    reply->size = 0;
}


int
coco_aws_fetch(const coco_aws_fetch_t *fetch, coco_aws_reply_t *reply,
    long *ret_status, char *error, size_t error_size)
{
    char                text[CURL_ERROR_SIZE] = "";
    CURL               *easy;
    CURLcode            code = CURLE_OUT_OF_MEMORY;
    struct curl_slist  *headers, *more;

    easy = coco_aws_easy_create(reply, text);

    /* libcurl would wait for a 100 before a longer body */
    headers = curl_slist_append(NULL, "Expect:");
    more = headers;

    for (int i = 0; more != NULL && i < 3 && fetch->headers[i] != NULL; i++) {
        more = curl_slist_append(headers, fetch->headers[i]);
    }

    if (easy != NULL && more != NULL) {
        curl_easy_setopt(easy, CURLOPT_URL, fetch->url);
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, fetch->method);
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) fetch->timeout_ms);
        curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION,
                         coco_aws_fetch_progress);
        curl_easy_setopt(easy, CURLOPT_XFERINFODATA, fetch->stop);

        if (fetch->direct) {
            curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
        }

        if (fetch->body.data != NULL) {
            curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE,
                             (long) fetch->body.len);
            curl_easy_setopt(easy, CURLOPT_POSTFIELDS, fetch->body.data);
        }

        code = curl_easy_perform(easy);
    }

    if (code == CURLE_OK) {
        curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, ret_status);
    } else {
        snprintf(error, error_size, "%s",
                 text[0] != '\0' ? text : curl_easy_strerror(code));
    }

    curl_slist_free_all(headers);
    curl_easy_cleanup(easy);

    return code == CURLE_OK ? COCO_OK : COCO_ERROR;
}


/* Called at least once a second. */
static int
coco_aws_fetch_progress(void *user, curl_off_t dltotal, curl_off_t dlnow,
    curl_off_t ultotal, curl_off_t ulnow)
{
    coco_stop_t  *stop;

    stop = user;

    return stop != NULL && atomic_load(&stop->set) ? 1 : 0;
}
