/*
 * Tokens in shared memory. Must never hold the lock over anything but a look
 * or a copy: all worker processes wait for it.
 */

#include "ngx_coco_oauth_zone.h"
#include "ngx_coco_zone.h"


#define NGX_COCO_OAUTH_SIZE_MIN  (8 * ngx_pagesize)

/* What the pool takes for itself is less. */
#define NGX_COCO_OAUTH_POOL_SIZE  (4 * ngx_pagesize)


typedef struct {
    coco_id_t      key;
    int64_t        used;                /* ngx_coco_clock(); 0: it is free */
    coco_oauth_t   state;
    size_t         len;
    u_char         token[COCO_OAUTH_TOKEN_MAX];
} ngx_coco_oauth_slot_t;

/* No lists: a process that is killed while it holds the mutex, which the
 * master then unlocks, leaves no more than a token that is half written. */
typedef struct {
    ngx_uint_t              nslots;
    ngx_coco_oauth_slot_t   slots[];
} ngx_coco_oauth_shared_t;

struct ngx_coco_oauth_zone_s {
    ngx_slab_pool_t  *pool;             /* its mutex guards its data */
    size_t            size;
};


static ngx_int_t ngx_coco_oauth_zone_init(ngx_shm_zone_t *shm_zone,
    void *data);
static ngx_coco_oauth_slot_t *ngx_coco_oauth_zone_find(
    ngx_coco_oauth_zone_t *zone, const coco_id_t *key);


void
ngx_coco_oauth_zone_take(ngx_coco_oauth_zone_t *zone, const coco_id_t *key,
    uint64_t refused, ngx_msec_t timeout, ngx_coco_oauth_taken_t *ret)
{
    ngx_coco_oauth_slot_t  *slot;

    ngx_shmtx_lock(&zone->pool->mutex);

    slot = ngx_coco_oauth_zone_find(zone, key);

    ret->turn = coco_oauth_take(&slot->state, refused, (int64_t) timeout,
                                ngx_coco_clock(), &ret->flight);
    ret->failure = slot->state.failure;
    ret->number = slot->state.number;
    ret->len = 0;

    if (ret->turn == COCO_OAUTH_USE || ret->turn == COCO_OAUTH_RENEW) {
        ret->len = slot->len;
        ngx_memcpy(ret->token, slot->token, slot->len);
    }

    ngx_shmtx_unlock(&zone->pool->mutex);
}


void
ngx_coco_oauth_zone_end(ngx_coco_oauth_zone_t *zone, const coco_id_t *key,
    uint64_t flight, const coco_oauth_grant_t *grant,
    ngx_coco_oauth_failure_e failure)
{
    ngx_coco_oauth_slot_t  *slot;

    ngx_shmtx_lock(&zone->pool->mutex);

    slot = ngx_coco_oauth_zone_find(zone, key);

    if (grant) {
        /* a process that dies in between leaves a token of no use */

        slot->state.expires = 0;
        slot->len = grant->len;
        ngx_memcpy(slot->token, grant->token, grant->len);

        coco_oauth_granted(&slot->state, flight, grant->lifetime,
                           ngx_coco_clock());
    } else {
        coco_oauth_failed(&slot->state, flight, failure, ngx_coco_clock());
    }

    ngx_shmtx_unlock(&zone->pool->mutex);
}


void
ngx_coco_oauth_zone_abandon(ngx_coco_oauth_zone_t *zone, const coco_id_t *key,
    uint64_t flight)
{
    ngx_shmtx_lock(&zone->pool->mutex);

    coco_oauth_abandoned(&ngx_coco_oauth_zone_find(zone, key)->state, flight);

    ngx_shmtx_unlock(&zone->pool->mutex);
}


void
ngx_coco_oauth_zone_refused(ngx_coco_oauth_zone_t *zone, const coco_id_t *key,
    uint64_t number)
{
    ngx_shmtx_lock(&zone->pool->mutex);

    coco_oauth_refused(&ngx_coco_oauth_zone_find(zone, key)->state, number,
                       NGX_COCO_OAUTH_REFUSED, ngx_coco_clock());

    ngx_shmtx_unlock(&zone->pool->mutex);
}


ngx_uint_t
ngx_coco_oauth_zone_pending(ngx_coco_oauth_zone_t *zone, const coco_id_t *key)
{
    ngx_uint_t  pending;

    ngx_shmtx_lock(&zone->pool->mutex);

    pending = coco_oauth_pending(&ngx_coco_oauth_zone_find(zone, key)->state,
                                 ngx_coco_clock());

    ngx_shmtx_unlock(&zone->pool->mutex);

    return pending;
}


/* With the lock held. What was not used for longest gives way: it is of an
 * earlier configuration, for the zone has room for all of the present one. */

static ngx_coco_oauth_slot_t *
ngx_coco_oauth_zone_find(ngx_coco_oauth_zone_t *zone, const coco_id_t *key)
{
    ngx_uint_t                i;
    ngx_coco_oauth_slot_t    *slot, *oldest;
    ngx_coco_oauth_shared_t  *shared;

    shared = zone->pool->data;
    oldest = shared->slots;

    for (i = 0; i < shared->nslots; i++) {
        slot = &shared->slots[i];

        if (slot->used
            && ngx_memcmp(&slot->key, key, sizeof(*key)) == 0)
        {
            slot->used = ngx_coco_clock();
            return slot;
        }

        if (slot->used < oldest->used) {
            oldest = slot;
        }
    }

    ngx_memzero(oldest, sizeof(*oldest));
    oldest->key = *key;
    oldest->used = ngx_coco_clock();

    return oldest;
}


char *
ngx_coco_oauth_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_coco_oauth_zone_t  **ret = (void *) ((char *) conf + cmd->offset);

    ssize_t                 size;
    ngx_str_t              *value, name;
    ngx_shm_zone_t         *shm_zone;
    ngx_coco_oauth_zone_t  *zone;

    if (*ret) {
        return "is duplicate";
    }

    value = cf->args->elts;
    size = ngx_parse_size(&value[1]);

    if (size < (ssize_t) NGX_COCO_OAUTH_SIZE_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" must be a size of at least %uzk, "
                           "not \"%V\"", &value[0],
                           NGX_COCO_OAUTH_SIZE_MIN / 1024,
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    zone = ngx_pcalloc(cf->pool, sizeof(*zone));
    if (zone == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_str_set(&name, "coco_oauth_zone");

    shm_zone = ngx_shared_memory_add(cf, &name, size, cmd->post);
    if (shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    shm_zone->init = ngx_coco_oauth_zone_init;
    shm_zone->data = zone;

    zone->size = size;
    *ret = zone;

    return NGX_CONF_OK;
}


ngx_uint_t
ngx_coco_oauth_zone_room(const ngx_coco_oauth_zone_t *zone)
{
    return (zone->size - NGX_COCO_OAUTH_POOL_SIZE)
           / sizeof(ngx_coco_oauth_slot_t);
}


static ngx_int_t
ngx_coco_oauth_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    size_t                    size;
    ngx_coco_oauth_zone_t    *zone;
    ngx_coco_oauth_shared_t  *shared;

    zone = shm_zone->data;
    zone->pool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (data || shm_zone->shm.exists) {
        return NGX_OK;
    }

    size = zone->pool->pfree * ngx_pagesize;

    shared = ngx_slab_calloc(zone->pool, size);
    if (shared == NULL) {
        return NGX_ERROR;
    }

    shared->nslots = (size - sizeof(*shared)) / sizeof(ngx_coco_oauth_slot_t);
    zone->pool->data = shared;

    return NGX_OK;
}
