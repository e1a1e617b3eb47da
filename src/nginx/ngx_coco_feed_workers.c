/*
 * Who was heard, and when. A small table: it is looked through.
 */

#include "ngx_coco_feed_workers.h"


static ngx_coco_feed_worker_t *ngx_coco_feed_workers_find(
    ngx_coco_feed_workers_t *workers, coco_str_t name);


ngx_int_t
ngx_coco_feed_workers_hear(ngx_coco_feed_workers_t *workers, coco_str_t name,
    int64_t at, ngx_uint_t beat)
{
    ngx_coco_feed_worker_t  *worker;

    worker = ngx_coco_feed_workers_find(workers, name);

    if (worker && !beat) {
        return NGX_OK;
    }

    if (worker == NULL) {

        if (name.len == 0 || name.len > NGX_COCO_WORKER_NAME_MAX
            || workers->count == NGX_COCO_WORKERS_MAX)
        {
            return NGX_ERROR;
        }

        worker = &workers->workers[workers->count++];
        ngx_memcpy(worker->name, name.data, name.len);
        worker->len = name.len;
    }

    worker->heard = at;

    return NGX_OK;
}


void
ngx_coco_feed_workers_bye(ngx_coco_feed_workers_t *workers, coco_str_t name)
{
    ngx_coco_feed_worker_t  *worker;

    worker = ngx_coco_feed_workers_find(workers, name);

    if (worker) {
        *worker = workers->workers[--workers->count];
    }
}


ngx_uint_t
ngx_coco_feed_workers_forget(ngx_coco_feed_workers_t *workers, int64_t at)
{
    ngx_uint_t  i, count;

    i = 0;
    count = workers->count;

    while (i < workers->count) {

        if (workers->workers[i].heard <= at) {
            workers->workers[i] = workers->workers[--workers->count];
            continue;
        }

        i++;
    }

    return count - workers->count;
}


const ngx_coco_feed_worker_t *
ngx_coco_feed_workers_silent(const ngx_coco_feed_workers_t *workers)
{
    ngx_uint_t                     i;
    const ngx_coco_feed_worker_t  *silent;

    silent = NULL;

    for (i = 0; i < workers->count; i++) {
        if (silent == NULL || workers->workers[i].heard < silent->heard) {
            silent = &workers->workers[i];
        }
    }

    return silent;
}


static ngx_coco_feed_worker_t *
ngx_coco_feed_workers_find(ngx_coco_feed_workers_t *workers, coco_str_t name)
{
    ngx_uint_t  i;

    for (i = 0; i < workers->count; i++) {
        if (workers->workers[i].len == name.len
            && ngx_memcmp(workers->workers[i].name, name.data, name.len) == 0)
        {
            return &workers->workers[i];
        }
    }

    return NULL;
}
