/*
 * One signed request of AWS's JSON protocol, on a libcurl multi handle. The
 * handle and its buffers serve one request after the other.
 */

#ifndef COCO_AWS_REQUEST_H
#define COCO_AWS_REQUEST_H

#include "aws_credentials.h"
#include "aws_http.h"

/* What does not change between requests; outlives them. */
typedef struct {
    const coco_aws_endpoint_t  *endpoint;
    coco_str_t                  region;
    coco_str_t                  service;       /* "sqs" */
    coco_str_t                  content_type;  /* application/x-amz-json-1.0 */
} coco_aws_service_t;

typedef struct {
    const coco_aws_service_t  *service;
    CURL                      *easy;
    struct curl_slist         *headers;
    uint64_t                   version;        /* of the keys it was signed
                                                  with */
    char                      *body;           /* the caller fills it */
    size_t                     body_len;
    size_t                     body_size;
    coco_aws_reply_t           reply;
    char                       error[CURL_ERROR_SIZE];
} coco_aws_request_t;

/* reply_max in bytes. COCO_ERROR: no memory; then there is nothing to free. */
int coco_aws_request_init(coco_aws_request_t *r,
    const coco_aws_service_t *service, size_t reply_max);
/* It is in no multi handle. */
void coco_aws_request_free(coco_aws_request_t *r);

/* Makes room for a body of len bytes; what it held may be lost. */
int coco_aws_request_reserve(coco_aws_request_t *r, size_t len);

/* Signs and sends r->body; target is the X-Amz-Target. COCO_ERROR: no memory;
 * the request was not begun. */
int coco_aws_request_start(coco_aws_request_t *r, CURLM *multi,
    const coco_aws_keys_t *keys, coco_str_t target, unsigned timeout_ms);

/* Takes it out of the multi handle, ended or not. Returns its status, 0 when
 * there was no answer: then r->error says why. r->reply stays until the next
 * start. */
long coco_aws_request_end(coco_aws_request_t *r, CURLM *multi,
    CURLcode result);

#endif /* COCO_AWS_REQUEST_H */
