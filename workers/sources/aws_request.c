/*
 * Signs a request and hands it to libcurl. Must never retry: its user knows
 * what may be sent twice.
 */

#include <stdio.h>
#include <stdlib.h>

#include "aws_request.h"

#define COCO_AWS_AUTHORIZATION  1024
#define COCO_AWS_REPLY_KEEP     (256 * 1024)    /* between requests */


static int coco_aws_request_headers(coco_aws_request_t *r,
    const coco_aws_keys_t *keys, coco_str_t target, const char *date,
    const char *authorization);
static int coco_aws_request_header(coco_aws_request_t *r, const char *name,
    coco_str_t value);


int
coco_aws_request_init(coco_aws_request_t *r,
    const coco_aws_service_t *service, size_t reply_max)
{
    memset(r, 0, sizeof(*r));

    r->service = service;
    r->reply.max = reply_max;
    r->easy = coco_aws_easy_create(&r->reply, r->error);

    if (r->easy == NULL) {
        return COCO_ERROR;
    }

    curl_easy_setopt(r->easy, CURLOPT_URL, service->endpoint->url);
    curl_easy_setopt(r->easy, CURLOPT_POST, 1L);
    curl_easy_setopt(r->easy, CURLOPT_PRIVATE, r);

    return COCO_OK;
}


void
coco_aws_request_free(coco_aws_request_t *r)
{
    curl_easy_cleanup(r->easy);
    curl_slist_free_all(r->headers);
    free(r->body);
    coco_aws_reply_free(&r->reply);
}


int
coco_aws_request_reserve(coco_aws_request_t *r, size_t len)
{
    char  *body;

    if (len <= r->body_size) {
        return COCO_OK;
    }

    body = malloc(len);
    if (body == NULL) {
        return COCO_ERROR;
    }

    free(r->body);
    r->body = body;
    r->body_size = len;

    return COCO_OK;
}


int
coco_aws_request_start(coco_aws_request_t *r, CURLM *multi,
    const coco_aws_keys_t *keys, coco_str_t target, unsigned timeout_ms)
{
    char                  date[COCO_SIGV4_DATE_LEN + 1];
    char                  authorization[COCO_AWS_AUTHORIZATION];
    coco_sigv4_header_t   headers[3];
    coco_sigv4_request_t  request = { 0 };

    const coco_aws_endpoint_t  *e = r->service->endpoint;

    headers[0].name = coco_string("Host");
    headers[0].value = (coco_str_t) { e->host, strlen(e->host) };
    headers[1].name = coco_string("Content-Type");
    headers[1].value = r->service->content_type;
    headers[2].name = coco_string("X-Amz-Target");
    headers[2].value = target;

    request.method = coco_string("POST");
    request.path = (coco_str_t) { e->path, strlen(e->path) };
    request.query = coco_string("");
    request.headers = headers;
    request.header_count = 3;
    request.payload = (coco_str_t) { r->body, r->body_len };
    request.region = r->service->region;
    request.service = r->service->service;
    request.time = coco_clock_ms() / 1000;
    request.normalize = true;

    r->version = keys->version;
    r->reply.len = 0;
    r->error[0] = '\0';

    if (r->reply.size > COCO_AWS_REPLY_KEEP) {
        coco_aws_reply_free(&r->reply);
    }

    if (coco_sigv4_sign(&request, &keys->keys, date, authorization,
                        sizeof(authorization)) != COCO_OK
        || coco_aws_request_headers(r, keys, target, date, authorization)
           != COCO_OK)
    {
        return COCO_ERROR;
    }

    curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->headers);
    curl_easy_setopt(r->easy, CURLOPT_POSTFIELDS, r->body);
    curl_easy_setopt(r->easy, CURLOPT_POSTFIELDSIZE, (long) r->body_len);
    curl_easy_setopt(r->easy, CURLOPT_TIMEOUT_MS, (long) timeout_ms);

    return curl_multi_add_handle(multi, r->easy) == CURLM_OK ? COCO_OK
                                                             : COCO_ERROR;
}


static int
coco_aws_request_headers(coco_aws_request_t *r, const coco_aws_keys_t *keys,
    coco_str_t target, const char *date, const char *authorization)
{
    const coco_aws_endpoint_t  *e = r->service->endpoint;

    curl_slist_free_all(r->headers);
    r->headers = NULL;

    if (coco_aws_request_header(r, "Host",
                                (coco_str_t) { e->host, strlen(e->host) })
        || coco_aws_request_header(r, "Content-Type",
                                   r->service->content_type)
        || coco_aws_request_header(r, "X-Amz-Target", target)
        || coco_aws_request_header(r, "X-Amz-Date",
                                   (coco_str_t) { date, strlen(date) })
        || coco_aws_request_header(r, "Authorization",
                                   (coco_str_t) { authorization,
                                                  strlen(authorization) }))
    {
        return COCO_ERROR;
    }

    /* absent: what libcurl would wait for before a longer body */
    if (coco_aws_request_header(r, "Expect", (coco_str_t) { NULL, 0 })) {
        return COCO_ERROR;
    }

    return keys->keys.session_token.data == NULL
           ? COCO_OK
           : coco_aws_request_header(r, "X-Amz-Security-Token",
                                     keys->keys.session_token);
}


/* A value that is absent takes away a header of libcurl's own. */
static int
coco_aws_request_header(coco_aws_request_t *r, const char *name,
    coco_str_t value)
{
    char               *line, small[256];
    size_t              size;
    struct curl_slist  *list;

    size = strlen(name) + value.len + sizeof(": ");
    line = size <= sizeof(small) ? small : malloc(size);

    if (line == NULL) {
        return COCO_ERROR;
    }

    snprintf(line, size, value.data != NULL ? "%s: %.*s" : "%s:", name,
             (int) value.len, value.data);
    list = curl_slist_append(r->headers, line);

    if (line != small) {
        free(line);
    }

    if (list == NULL) {
        return COCO_ERROR;
    }

    r->headers = list;

    return COCO_OK;
}


long
coco_aws_request_end(coco_aws_request_t *r, CURLM *multi, CURLcode result)
{
    long  status = 0;

    curl_multi_remove_handle(multi, r->easy);

    if (result == CURLE_OK) {
        curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);

    } else if (r->error[0] == '\0') {
        snprintf(r->error, sizeof(r->error), "%s", curl_easy_strerror(result));
    }

    return status;
}
