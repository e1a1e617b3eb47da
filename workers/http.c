/*
 * Answers health checks and scrapes on a thread of its own. Must never wait
 * for a backend: what it shows is what the worker knows already.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>

#include "http.h"

#define COCO_HTTP_CONNECTIONS  32
#define COCO_HTTP_TIMEOUT      10     /* s */


struct coco_http_s {
    coco_http_handlers_t   handlers;
    struct MHD_Daemon     *daemon;
};


static enum MHD_Result coco_http_handler(void *data,
    struct MHD_Connection *connection, const char *url, const char *method,
    const char *version, const char *body, size_t *body_len, void **state);
static enum MHD_Result coco_http_send(struct MHD_Connection *connection,
    unsigned status, const char *type, char *text, size_t len);
static enum MHD_Result coco_http_problem(struct MHD_Connection *connection,
    unsigned status, const char *title);


coco_http_t *
coco_http_start(const char *address, uint16_t port,
    const coco_http_handlers_t *handlers)
{
    unsigned             flags;
    coco_http_t         *http;
    struct sockaddr_in   in;
    struct sockaddr_in6  in6;
    struct sockaddr     *socket_address;

    memset(&in, 0, sizeof(in));
    memset(&in6, 0, sizeof(in6));
    flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_USE_ITC;

    if (inet_pton(AF_INET, address, &in.sin_addr) == 1) {
        in.sin_family = AF_INET;
        in.sin_port = htons(port);
        socket_address = (struct sockaddr *) &in;

    } else if (inet_pton(AF_INET6, address, &in6.sin6_addr) == 1) {
        in6.sin6_family = AF_INET6;
        in6.sin6_port = htons(port);
        socket_address = (struct sockaddr *) &in6;
        flags |= MHD_USE_IPv6;

    } else {
        errno = EINVAL;
        return NULL;
    }

    http = calloc(1, sizeof(*http));
    if (http == NULL) {
        return NULL;
    }

    http->handlers = *handlers;

    http->daemon = MHD_start_daemon(flags, port, NULL, NULL,
                       coco_http_handler, http,
                       MHD_OPTION_SOCK_ADDR, socket_address,
                       MHD_OPTION_CONNECTION_LIMIT,
                       (unsigned) COCO_HTTP_CONNECTIONS,
                       MHD_OPTION_CONNECTION_TIMEOUT,
                       (unsigned) COCO_HTTP_TIMEOUT,
                       MHD_OPTION_END);

    if (http->daemon == NULL) {
        free(http);
        return NULL;
    }

    return http;
}


void
coco_http_stop(coco_http_t *http)
{
    MHD_stop_daemon(http->daemon);
    free(http);
}


static enum MHD_Result
coco_http_handler(void *data, struct MHD_Connection *connection,
    const char *url, const char *method, const char *version,
    const char *body, size_t *body_len, void **state)
{
    bool          health, healthy;
    char         *text;
    size_t        len;
    coco_http_t  *http;

    http = data;
    health = (strcmp(url, "/healthz") == 0);

    if (!health && strcmp(url, "/metrics") != 0) {
        return coco_http_problem(connection, MHD_HTTP_NOT_FOUND, "Not Found");
    }

    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        return coco_http_problem(connection, MHD_HTTP_METHOD_NOT_ALLOWED,
                                 "Method Not Allowed");
    }

    if (health) {
        text = http->handlers.health(http->handlers.data, &len, &healthy);
        return coco_http_send(connection, healthy ? MHD_HTTP_OK
                              : MHD_HTTP_SERVICE_UNAVAILABLE,
                              "application/json", text, len);
    }

    text = http->handlers.metrics(http->handlers.data, &len);

    return coco_http_send(connection, MHD_HTTP_OK,
                          "text/plain; version=0.0.4; charset=utf-8", text,
                          len);
}


/* Frees the text. MHD_NO closes the connection. */
static enum MHD_Result
coco_http_send(struct MHD_Connection *connection, unsigned status,
    const char *type, char *text, size_t len)
{
    enum MHD_Result       rc;
    struct MHD_Response  *response;

    if (text == NULL) {
        return MHD_NO;
    }

    response = MHD_create_response_from_buffer(len, text,
                                               MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(text);
        return MHD_NO;
    }

    rc = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                                 type);

    if (rc == MHD_YES && status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        rc = MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW,
                                     "GET, HEAD");
    }

    if (rc == MHD_YES) {
        rc = MHD_queue_response(connection, status, response);
    }

    MHD_destroy_response(response);

    return rc;
}


static enum MHD_Result
coco_http_problem(struct MHD_Connection *connection, unsigned status,
    const char *title)
{
    int    len;
    char  *text;

    len = asprintf(&text, "{\"type\":\"about:blank\",\"title\":\"%s\","
                   "\"status\":%u}", title, status);

    return coco_http_send(connection, status, "application/problem+json",
                          len == -1 ? NULL : text, (size_t) len);
}
