/*
 * HTTP as AWS's services want it, over libcurl: endpoints, bounded replies,
 * and a blocking exchange for what is small and rare. Signs nothing.
 */

#ifndef COCO_AWS_HTTP_H
#define COCO_AWS_HTTP_H

#include <curl/curl.h>

#include "coco_core.h"
#include "sinks/retry.h"

/* From a URL; NUL-terminated. */
typedef struct {
    char  *url;         /* as it is asked for */
    char  *host;        /* what the Host header says: a port unless usual */
    char  *path;        /* "/" at least, as it stands in the URL */
} coco_aws_endpoint_t;

/* http or https, without user, query or fragment. COCO_ERROR with a message;
 * then there is nothing to free. */
int coco_aws_endpoint_parse(coco_aws_endpoint_t *ret, const char *url,
    char *error, size_t error_size);
void coco_aws_endpoint_free(coco_aws_endpoint_t *endpoint);

/* "https://<service>.<region>.amazonaws.com/", or China's form of it. */
void coco_aws_endpoint_default(char *ret, size_t size, const char *service,
    const char *region);

/* The body of an answer, malloc'ed. */
typedef struct {
    char   *data;
    size_t  len;
    size_t  size;
    size_t  max;        /* what is longer ends the exchange */
} coco_aws_reply_t;

/* A libcurl handle with what all exchanges have in common; its replies go
 * into *reply, its errors into error[CURL_ERROR_SIZE]. NULL: no memory. */
CURL *coco_aws_easy_create(coco_aws_reply_t *reply, char *error);

typedef struct {
    const char   *method;
    const char   *url;
    const char   *headers[3];   /* "Name: value", up to the first NULL */
    coco_str_t    body;         /* absent: none */
    unsigned      timeout_ms;
    bool          direct;       /* by no proxy: link-local and loopback */
    coco_stop_t  *stop;         /* ends it early */
} coco_aws_fetch_t;

/* Waits for the answer; *ret_status is its status, whatever that is. The reply
 * is NUL-terminated and the caller's to free, also after an error. COCO_ERROR:
 * there was no answer; error says why. */
int coco_aws_fetch(const coco_aws_fetch_t *fetch, coco_aws_reply_t *reply,
    long *ret_status, char *error, size_t error_size);

/* With what it held overwritten. */
void coco_aws_reply_free(coco_aws_reply_t *reply);

#endif /* COCO_AWS_HTTP_H */
