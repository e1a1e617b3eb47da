/*
 * The supply read from Postgres page by page: the whole fleet, or the robots
 * that others than their heartbeats have changed since a snapshot. Each page
 * is one event of the loop.
 */

#ifndef NGX_COCO_FEED_PAGES_H
#define NGX_COCO_FEED_PAGES_H

#include "ngx_coco.h"
#include "ngx_coco_pg.h"

/* Both select a page of lines (coco_supply.h) behind the robot $1: its
 * snapshot, when the server was started, how many they are, the last robot,
 * the lines; the second those whose change the snapshot $2 does not see. */
extern ngx_coco_pg_statement_t  ngx_coco_feed_page_statement;
extern ngx_coco_pg_statement_t  ngx_coco_feed_changes_statement;

#define NGX_COCO_PAGE_LINES  1000

/* Neither is called from within ngx_coco_pages_start(), nor may end or start
 * the pages, but for `done`, which may start them anew. */
typedef struct {
    /* Each line has its newline. NGX_ERROR: read no further. Arguments live
     * until it returns. */
    ngx_int_t  (*page)(void *data, coco_str_t lines, coco_str_t snapshot);

    /* All were read; or not: Postgres did not answer, was started anew
     * between two pages, or `page` has failed. */
    void       (*done)(void *data, ngx_uint_t whole);
} ngx_coco_pages_reader_t;

typedef struct {
    ngx_coco_pg_t                  *pg;       /* set before the start, */
    const ngx_coco_pages_reader_t  *reader;
    void                           *data;
    ngx_log_t                      *log;
    ngx_msec_t                      timeout;  /* of a page; up to here */

    ngx_coco_pg_statement_t        *statement;
    ngx_str_t                       since;    /* the caller's; it stands until
                                                 the end */
    ngx_coco_pg_op_t               *op;       /* NULL: not under way */
    int64_t                         server;   /* whose page it is: its start,
                                                 us since the epoch */
    size_t                          len;
    u_char                          after[256];
} ngx_coco_pages_t;

/* `since` is NULL for the whole fleet. NGX_ERROR: memory is out. */
ngx_int_t ngx_coco_pages_start(ngx_coco_pages_t *pages,
    const ngx_str_t *since);
void ngx_coco_pages_cancel(ngx_coco_pages_t *pages);

#endif /* NGX_COCO_FEED_PAGES_H */
