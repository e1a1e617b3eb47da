/*
 * What the webhooks of all senders have in common: secrets that only their
 * digests are kept of, the refusal, and the count by how they ended.
 */

#ifndef NGX_COCO_WEBHOOK_H
#define NGX_COCO_WEBHOOK_H

#include "ngx_coco.h"
#include "ngx_coco_metrics.h"

/* The first of their counters. */
typedef enum {
    NGX_COCO_SENDER_DRIVEU = NGX_COCO_COUNTER_DRIVEU,
    NGX_COCO_SENDER_UBER = NGX_COCO_COUNTER_UBER,
    NGX_COCO_SENDER_DOORDASH = NGX_COCO_COUNTER_DOORDASH
} ngx_coco_sender_e;

/* To be called first: the request is counted when it ends, whoever answers
 * it. NGX_ERROR: memory is out. */
ngx_int_t ngx_coco_webhook_count(ngx_http_request_t *r,
    ngx_coco_sender_e sender);

/* Adds a secret of a kind, a number of the caller's, to *secrets, which is
 * made when it is NGX_CONF_UNSET_PTR. Overwrites the secret itself. The return
 * value is a directive handler's. */
char *ngx_coco_webhook_secret_add(ngx_conf_t *cf, ngx_array_t **secrets,
    ngx_uint_t kind, ngx_str_t *secret);

/* Whether one of that kind is this one. The time does not tell which, nor how
 * much of it was right. `secrets` may be NULL: there is none. */
ngx_uint_t ngx_coco_webhook_secret_known(const ngx_array_t *secrets,
    ngx_uint_t kind, const ngx_str_t *secret);

/* 401, and a line of the log that says who was refused and why. challenge is
 * the value of WWW-Authenticate and lives as long as the request. */
ngx_int_t ngx_coco_webhook_refuse(ngx_http_request_t *r, const char *sender,
    const char *why, const ngx_str_t *challenge, const char *detail);

#endif /* NGX_COCO_WEBHOOK_H */
