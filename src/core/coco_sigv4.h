/*
 * AWS Signature Version 4, for requests that we send. Pure: the time is an
 * argument. Source: AWS's "Create a signed AWS API request", and its published
 * test suite.
 */

#ifndef COCO_SIGV4_H
#define COCO_SIGV4_H

#include "coco_core.h"

typedef struct {
    coco_str_t  name;           /* any case */
    coco_str_t  value;
} coco_sigv4_header_t;

typedef struct {
    coco_str_t  access_key;
    coco_str_t  secret_key;
    coco_str_t  session_token;  /* absent: none */
} coco_sigv4_credentials_t;

typedef struct {
    coco_str_t                  method;
    coco_str_t                  path;       /* as sent, encoded once */
    coco_str_t                  query;      /* as sent, without '?' */
    const coco_sigv4_header_t  *headers;    /* all are signed; Host is there */
    size_t                      header_count;
    coco_str_t                  payload;
    coco_str_t                  region;
    coco_str_t                  service;
    int64_t                     time;       /* s since the epoch */
    bool                        normalize;  /* the path's //, . and .. */
} coco_sigv4_request_t;

#define COCO_SIGV4_DATE_LEN     16          /* 20150830T123600Z */
#define COCO_SIGV4_HEADERS_MAX  32

/*
 * Writes the values of X-Amz-Date and Authorization; the caller sends both,
 * and X-Amz-Security-Token when there is a session token (it is signed with
 * the headers: do not put either among request->headers). NUL-terminated.
 * COCO_AGAIN: authorization is too small (1024 bytes are enough for 32
 * headers of usual names). COCO_ERROR: over COCO_SIGV4_HEADERS_MAX headers,
 * a time outside of 1970 to 9999, a secret key over 256 bytes, a region and
 * service over 400, or no memory. S3's own way of encoding is not known.
 */
int coco_sigv4_sign(const coco_sigv4_request_t *request,
    const coco_sigv4_credentials_t *credentials,
    char ret_date[COCO_SIGV4_DATE_LEN + 1], char *ret_authorization,
    size_t authorization_size);

#endif /* COCO_SIGV4_H */
