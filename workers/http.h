/*
 * The worker's own HTTP: GET /healthz and GET /metrics, nothing else.
 */

#ifndef COCO_HTTP_H
#define COCO_HTTP_H

#include "coco_core.h"

typedef struct coco_http_s  coco_http_t;

/* Both are called by a thread of the server's and return malloc'ed text, or
 * NULL when there is no memory. */
typedef struct {
    char *(*health)(void *data, size_t *ret_len, bool *ret_healthy); /* JSON */
    char *(*metrics)(void *data, size_t *ret_len);
    void  *data;
} coco_http_handlers_t;

/* NULL, with errno, when the address cannot be listened on; EINVAL when it is
 * no IPv4 or IPv6 address. */
coco_http_t *coco_http_start(const char *address, uint16_t port,
    const coco_http_handlers_t *handlers);

/* Waits for the answers under way. */
void coco_http_stop(coco_http_t *http);

#endif /* COCO_HTTP_H */
