/*
 * The subrequest that fetches a token; for ngx_coco_oauth.c alone, which has
 * what is declared last.
 */

#ifndef NGX_COCO_OAUTH_FETCH_H
#define NGX_COCO_OAUTH_FETCH_H

#include "ngx_coco_oauth.h"
#include "ngx_coco_op.h"

struct ngx_coco_oauth_s {
    ngx_coco_ident_t        ident;      /* first: the timer's data */
    const char             *name;       /* "Uber", for problems and the log */
    ngx_str_t               uri;        /* of the internal location */
    ngx_str_t               form;       /* what is posted there: a secret */
    coco_id_t               key;        /* in the zone */
    ngx_msec_t              timeout;    /* of a fetch */
    ngx_coco_oauth_zone_t  *zone;

    /* of this process */
    ngx_queue_t             waiting;    /* requests */
    ngx_event_t             timer;      /* while there are some */
    ngx_event_t             posted;     /* wakes them */
};

/* Begins it beside the request, which does not wait for it. NGX_ERROR: memory
 * is out, and the flight was given up. */
ngx_int_t ngx_coco_oauth_fetch(ngx_http_request_t *r,
    ngx_coco_oauth_t *oauth, uint64_t flight);

/* Whether the request is such a subrequest. */
ngx_uint_t ngx_coco_oauth_fetch_is(ngx_http_request_t *r);

/* All that wait look again, within this turn of the event loop. */
void ngx_coco_oauth_wake(ngx_coco_oauth_t *oauth);

#endif /* NGX_COCO_OAUTH_FETCH_H */
