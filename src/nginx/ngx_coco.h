/*
 * What every file of the glue and the three modules includes first.
 * Glue takes no domain decision.
 */

#ifndef NGX_COCO_H
#define NGX_COCO_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_http.h>

#include "coco_core.h"

/* How an operation on a backend ended. */
typedef enum {
    NGX_COCO_DONE = 0,      /* the backend answered; the reply may still be
                               an error of the backend's own */
    NGX_COCO_DOWN,          /* no connection, or lost before the answer */
    NGX_COCO_TIMEOUT,       /* no answer within the operation's time */
    NGX_COCO_FULL           /* too many operations wait already */
} ngx_coco_outcome_e;

#define ngx_coco_str(s)  ((coco_str_t) { (const char *) (s).data, (s).len })

/* The cached clock, ms since the epoch. */
#define ngx_coco_now_ms()                                                    \
    ((int64_t) ngx_cached_time->sec * 1000 + (int64_t) ngx_cached_time->msec)

#endif /* NGX_COCO_H */
