/*
 * An answer of many pages of a statement, each written as it comes, and the
 * next one asked for once it has left: memory does not grow with the answer,
 * and a client that is slow keeps no connection of Postgres'.
 */

#ifndef NGX_COCO_STREAM_H
#define NGX_COCO_STREAM_H

#include "ngx_coco.h"
#include "ngx_coco_query.h"

/* Puts the parameters of the page after `result` into the stream's, without
 * growing r->pool. NGX_DONE: that was the last one. */
typedef ngx_int_t (*ngx_coco_stream_next_pt)(const PGresult *result,
    void *data);

/* What is written, all of it living as long as the request: the head, the
 * rows with commas between them, the tail. */
typedef struct {
    ngx_str_t                 type;        /* Content-Type */
    ngx_str_t                 head;
    ngx_str_t                 tail;
    ngx_coco_pg_statement_t  *statement;
    ngx_str_t                *params;      /* of the first page */
    ngx_coco_query_row_pt     row;         /* may write nothing */
    ngx_coco_stream_next_pt   next;
    void                     *data;
} ngx_coco_stream_t;

/* Answers with 200; a first page that fails is told as by ngx_coco_query().
 * When a later one does the connection is reset, for the status has left, and
 * what was sent must not look complete. HEAD asks for no page. Returns what
 * ngx_http_finalize_request takes. Until the request ends its context of
 * ngx_coco_base_module is the stream's. */
ngx_int_t ngx_coco_stream(ngx_http_request_t *r,
    const ngx_coco_stream_t *stream);

#endif /* NGX_COCO_STREAM_H */
