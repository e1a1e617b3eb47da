/*
 * Pages of the supply, one after the other. Knows nothing of what becomes of
 * them, and must never have two statements under way.
 */

#include "ngx_coco_feed_pages.h"
#include "ngx_coco_query.h"


static ngx_int_t ngx_coco_pages_next(ngx_coco_pages_t *pages);
static void ngx_coco_pages_handler(void *data, ngx_coco_outcome_e outcome,
    PGresult *result);
static ngx_uint_t ngx_coco_pages_page(ngx_coco_pages_t *pages,
    const PGresult *result, ngx_uint_t *ret_more);


/* Columns of both. */
enum {
    NGX_COCO_PAGES_SNAPSHOT = 0,
    NGX_COCO_PAGES_SERVER,
    NGX_COCO_PAGES_COUNT,
    NGX_COCO_PAGES_LAST,
    NGX_COCO_PAGES_LINES
};

#define NGX_COCO_PAGES_SELECT(which)                                         \
    "select pg_current_snapshot()::text,"                                    \
    "       (extract(epoch from pg_postmaster_start_time()) * 1e6)::bigint," \
    "       count(*), max(id), coalesce(string_agg(line, ''), '')"           \
    "  from (select r.id, coco.supply_line(r) || E'\\n' as line"             \
    "          from coco.resource r"                                         \
    "         where r.id > $1::text" which                                   \
    "         order by r.id limit 1000) p"


ngx_coco_pg_statement_t  ngx_coco_feed_page_statement = {
    ngx_string("coco_feed_page"),
    NGX_COCO_PAGES_SELECT(""),
    1, NGX_COCO_PG_SLOW, 0
};


/* A transaction that had not ended by that snapshot is not visible in it,
 * however late it commits; most are found by the index, as they began after
 * the oldest that was under way then. One that is yet to begin has changed
 * nothing: rows name such when a dump of another server was restored. */

ngx_coco_pg_statement_t  ngx_coco_feed_changes_statement = {
    ngx_string("coco_feed_changes"),
    NGX_COCO_PAGES_SELECT(
        " and r.change_txid >= pg_snapshot_xmin($2::pg_snapshot)"
        " and r.change_txid < pg_snapshot_xmax(pg_current_snapshot())"
        " and not pg_visible_in_snapshot(r.change_txid, $2::pg_snapshot)"),
    2, NGX_COCO_PG_POINT, 0
};


ngx_int_t
ngx_coco_pages_start(ngx_coco_pages_t *pages, const ngx_str_t *since)
{
    if (since) {
        pages->statement = &ngx_coco_feed_changes_statement;
        pages->since = *since;

    } else {
        pages->statement = &ngx_coco_feed_page_statement;
    }

    pages->len = 0;

    return ngx_coco_pages_next(pages);
}


void
ngx_coco_pages_cancel(ngx_coco_pages_t *pages)
{
    if (pages->op) {
        ngx_coco_pg_cancel(pages->op);
        pages->op = NULL;
    }
}


static ngx_int_t
ngx_coco_pages_next(ngx_coco_pages_t *pages)
{
    ngx_str_t  params[2];

    params[0].data = pages->after;
    params[0].len = pages->len;
    params[1] = pages->since;

    pages->op = ngx_coco_pg_send(pages->pg, pages->statement, params,
                                 pages->timeout, ngx_coco_pages_handler,
                                 pages);

    return pages->op ? NGX_OK : NGX_ERROR;
}


static void
ngx_coco_pages_handler(void *data, ngx_coco_outcome_e outcome,
    PGresult *result)
{
    ngx_coco_pages_t *pages = data;

    ngx_uint_t  more, whole;

    pages->op = NULL;
    more = 0;

    whole = outcome == NGX_COCO_DONE
            && PQresultStatus(result) == PGRES_TUPLES_OK
            && ngx_coco_pages_page(pages, result, &more);

    if (whole && more) {

        if (ngx_coco_pages_next(pages) == NGX_OK) {
            return;
        }

        whole = 0;
    }

    pages->reader->done(pages->data, whole);
}


static ngx_uint_t
ngx_coco_pages_page(ngx_coco_pages_t *pages, const PGresult *result,
    ngx_uint_t *ret_more)
{
    int64_t     server;
    coco_str_t  last;

    server = ngx_coco_query_int(result, 0, NGX_COCO_PAGES_SERVER);

    if (pages->len && server != pages->server) {
        return 0;
    }

    pages->server = server;

    if (pages->reader->page(pages->data,
                            ngx_coco_pg_field(result, 0, NGX_COCO_PAGES_LINES),
                            ngx_coco_pg_field(result, 0,
                                              NGX_COCO_PAGES_SNAPSHOT))
        != NGX_OK)
    {
        return 0;
    }

    *ret_more = ngx_coco_query_int(result, 0, NGX_COCO_PAGES_COUNT)
                >= NGX_COCO_PAGE_LINES;

    if (!*ret_more) {
        return 1;
    }

    last = ngx_coco_pg_field(result, 0, NGX_COCO_PAGES_LAST);

    if (last.len > sizeof(pages->after)) {
        ngx_log_error(NGX_LOG_ERR, pages->log, 0,
                      "the id of a row of coco.resource has %uz characters, "
                      "and no robot's has: delete it", last.len);
        return 0;
    }

    ngx_memcpy(pages->after, last.data, last.len);
    pages->len = last.len;

    return 1;
}
