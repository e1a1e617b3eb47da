/*
 * How the memory of coco_zone is laid out; for the zone's own files alone.
 *
 *     shared | epochs | the fleet (coco_fleet_index.h) | large | small slots
 *
 * It holds no pointers and is never allocated from after the start, so that
 * processes that die leave nothing behind but what one write had begun: an
 * odd slot, or a broken fleet. Both are found and repaired by the next writer.
 * Who writes the fleet or a slot holds the mutex of the zone's pool, which the
 * master unlocks when its holder has died; all else is atomic.
 */

#ifndef NGX_COCO_ZONE_SHARED_H
#define NGX_COCO_ZONE_SHARED_H

#include "ngx_coco_zone.h"

typedef struct {
    size_t        size;             /* bytes, of all that is laid out */
    ngx_atomic_t  generation;       /* up: all documents are dropped */
    ngx_atomic_t  stamps[NGX_COCO_STAMPS];    /* ngx_coco_clock(); 0: none */
    ngx_atomic_t  doubt;            /* ngx_coco_clock(); 0: none */
    ngx_atomic_t  lease;            /* see ngx_coco_zone_lease() */
    ngx_atomic_t  loading;          /* up: the fleet is to be loaded */
    ngx_atomic_t  loaded;           /* the `loading` it was loaded for */
    ngx_atomic_t  begun;            /* the fleet was initialised once */
    ngx_atomic_t  full;             /* a robot was refused since then */
} ngx_coco_zone_shared_t;

/* A document in a set of NGX_COCO_ZONE_WAYS slots; what it says follows it.
 * `sequence` is odd while the slot is written. */
typedef struct {
    ngx_atomic_t        sequence;
    ngx_coco_ticket_t   ticket;
    int64_t             valid_until;    /* ms since the epoch */
    uint32_t            hash;           /* of the serial */
    uint32_t            used;           /* seconds; ngx_time() */
    uint32_t            len;            /* of the document; 0: free */
    uint8_t             kind;           /* ngx_coco_document_e */
    uint8_t             serial_len;
    u_char              serial[COCO_SERIAL_MAX];
} ngx_coco_zone_slot_t;

#define NGX_COCO_ZONE_WAYS   8
#define NGX_COCO_ZONE_LARGE  3072    /* bytes of a slot */
#define NGX_COCO_ZONE_SMALL  1024

/* For each set of large slots, GET /robots/{serial}, there are two of small
 * ones, the labor row in JSON and in protobuf. */
#define NGX_COCO_ZONE_SETS_SMALL  2

typedef struct {
    u_char      *slots;
    ngx_uint_t   sets;
    size_t       size;                   /* of a slot */
} ngx_coco_zone_class_t;

struct ngx_coco_zone_s {
    ngx_slab_pool_t         *pool;
    ngx_coco_zone_shared_t  *shared;
    ngx_atomic_t            *epochs;
    ngx_uint_t               nepochs;    /* a power of two */
    coco_fleet_index_t      *fleet;      /* NULL: robots=0 */
    ngx_coco_zone_class_t    large, small;

    uint32_t                 robots;
    coco_supply_rules_t      rules;
    ngx_coco_metrics_t      *metrics;
};

static ngx_inline uint32_t
ngx_coco_zone_hash(const u_char *serial, size_t len)
{
    return ngx_murmur_hash2((u_char *) serial, len);
}

static ngx_inline ngx_atomic_t *
ngx_coco_zone_epoch(const ngx_coco_zone_t *zone, uint32_t hash)
{
    return &zone->epochs[hash & (zone->nepochs - 1)];
}

static ngx_inline void
ngx_coco_zone_lock(ngx_coco_zone_t *zone)
{
    ngx_shmtx_lock(&zone->pool->mutex);
}

static ngx_inline void
ngx_coco_zone_unlock(ngx_coco_zone_t *zone)
{
    ngx_shmtx_unlock(&zone->pool->mutex);
}

#endif /* NGX_COCO_ZONE_SHARED_H */
