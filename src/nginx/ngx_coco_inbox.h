/*
 * The inbox: webhooks on their way to coco.webhook_inbox, gathered by process.
 *
 * At most two statements are under way; the webhooks that come meanwhile
 * share the next one, and so its commit. An answer of DONE with rows means
 * that the webhook is committed, now or by an earlier one with its id.
 */

#ifndef NGX_COCO_INBOX_H
#define NGX_COCO_INBOX_H

#include "ngx_coco.h"
#include "ngx_coco_metrics.h"
#include "ngx_coco_pg.h"

typedef struct ngx_coco_inbox_s     ngx_coco_inbox_t;
typedef struct ngx_coco_inbox_op_s  ngx_coco_inbox_op_t;

typedef struct {
    coco_id_t    id;             /* of the provider and its event's id */
    coco_str_t   provider;       /* "driveu" */
    coco_str_t   event_id;       /* the provider's */
    coco_str_t   payload;        /* JSON that the core has read */
    int64_t      received_at;    /* ms */
} ngx_coco_webhook_t;

/* What a module whose routes store webhooks registers with its own. */
extern ngx_coco_pg_statement_t  ngx_coco_inbox_statement;

ngx_coco_inbox_t *ngx_coco_inbox_create(ngx_conf_t *cf);

/* In a process that serves requests, pg being initialised; `timeout` is a
 * statement's, ms. */
ngx_int_t ngx_coco_inbox_init_process(ngx_coco_inbox_t *inbox,
    ngx_coco_pg_t *pg, ngx_coco_metrics_t *metrics, ngx_msec_t timeout,
    ngx_cycle_t *cycle);
void ngx_coco_inbox_exit_process(ngx_coco_inbox_t *inbox);

/* As ngx_coco_pg_send(): the webhook is copied, the handler is called once
 * and never from within; NGX_COCO_FULL when too many wait. An error of the
 * server in `result` is this webhook's own when its SQLSTATE is of class 22
 * or 23. NULL when memory is out. */
ngx_coco_inbox_op_t *ngx_coco_inbox_send(ngx_coco_inbox_t *inbox,
    const ngx_coco_webhook_t *webhook, ngx_msec_t timeout,
    ngx_coco_pg_handler_pt handler, void *data);

/* Orphans it; a webhook whose statement is under way may still be stored. */
void ngx_coco_inbox_cancel(ngx_coco_inbox_op_t *op);

#endif /* NGX_COCO_INBOX_H */
