/*
 * Documents in the zone, ready to send. Readers take no lock: what they copied
 * counts if the slot's sequence was even and has not moved. Must never hand
 * out a document whose robot has changed since its parts were asked for.
 */

#include "ngx_coco_zone_shared.h"


/* the counters of a kind, in the order of ngx_coco_metrics.h */
typedef enum {
    NGX_COCO_ZONE_HIT = 0,
    NGX_COCO_ZONE_MISS,
    NGX_COCO_ZONE_IS_STALE,
    NGX_COCO_ZONE_OUTCOMES
} ngx_coco_zone_outcome_e;


static void ngx_coco_zone_count(const ngx_coco_zone_t *zone,
    ngx_coco_document_e kind, ngx_coco_zone_outcome_e outcome);
static const ngx_coco_zone_class_t *ngx_coco_zone_class(
    const ngx_coco_zone_t *zone, ngx_coco_document_e kind);
static u_char *ngx_coco_zone_set(const ngx_coco_zone_class_t *class,
    ngx_coco_document_e kind, uint32_t hash);
static ngx_int_t ngx_coco_zone_slot_read(const ngx_coco_zone_t *zone,
    const ngx_coco_zone_slot_t *slot, size_t max, ngx_pool_t *pool,
    ngx_str_t *ret, ngx_atomic_uint_t sequence);
static ngx_uint_t ngx_coco_zone_slot_of(const ngx_coco_zone_slot_t *slot,
    ngx_coco_document_e kind, uint32_t hash, const ngx_str_t *serial);
static ngx_uint_t ngx_coco_zone_slot_good(const ngx_coco_zone_t *zone,
    const ngx_coco_zone_slot_t *slot);
static ngx_coco_zone_slot_t *ngx_coco_zone_slot_choose(
    const ngx_coco_zone_t *zone, const ngx_coco_zone_class_t *class,
    ngx_coco_document_e kind, uint32_t hash, const ngx_str_t *serial);


ngx_int_t
ngx_coco_zone_document(ngx_coco_zone_t *zone, ngx_coco_document_e kind,
    const ngx_str_t *serial, ngx_pool_t *pool, ngx_str_t *ret)
{
    u_char                       *p;
    size_t                        max;
    uint32_t                      hash, now;
    ngx_uint_t                    i;
    ngx_atomic_uint_t             sequence;
    ngx_coco_zone_slot_t         *slot;
    const ngx_coco_zone_class_t  *class;

    if (!ngx_coco_zone_fresh(zone)) {
        ngx_coco_zone_count(zone, kind, NGX_COCO_ZONE_IS_STALE);
        return NGX_DECLINED;
    }

    hash = ngx_coco_zone_hash(serial->data, serial->len);
    class = ngx_coco_zone_class(zone, kind);
    max = class->size - sizeof(ngx_coco_zone_slot_t);
    p = ngx_coco_zone_set(class, kind, hash);

    for (i = 0; i < NGX_COCO_ZONE_WAYS; i++, p += class->size) {
        slot = (ngx_coco_zone_slot_t *) p;
        sequence = __atomic_load_n(&slot->sequence, __ATOMIC_ACQUIRE);

        if (sequence & 1
            || !ngx_coco_zone_slot_of(slot, kind, hash, serial)
            || ngx_coco_zone_slot_read(zone, slot, max, pool, ret, sequence)
               != NGX_OK)
        {
            continue;
        }

        /* the line is shared with other processes: written once a second */

        now = (uint32_t) ngx_time();

        if (slot->used != now) {
            slot->used = now;
        }

        ngx_coco_zone_count(zone, kind, NGX_COCO_ZONE_HIT);
        return NGX_OK;
    }

    ngx_coco_zone_count(zone, kind, NGX_COCO_ZONE_MISS);

    return NGX_DECLINED;
}


static void
ngx_coco_zone_count(const ngx_coco_zone_t *zone, ngx_coco_document_e kind,
    ngx_coco_zone_outcome_e outcome)
{
    ngx_coco_metrics_add(zone->metrics, NGX_COCO_COUNTER_ROBOT_HIT
                         + kind * NGX_COCO_ZONE_OUTCOMES + outcome, 1);
}


static const ngx_coco_zone_class_t *
ngx_coco_zone_class(const ngx_coco_zone_t *zone, ngx_coco_document_e kind)
{
    return kind == NGX_COCO_DOCUMENT_ROBOT ? &zone->large : &zone->small;
}


/* The set's first slot. Epochs are chosen by the low bits of the hash, sets
 * by the high ones. */

static u_char *
ngx_coco_zone_set(const ngx_coco_zone_class_t *class, ngx_coco_document_e kind,
    uint32_t hash)
{
    uint64_t  set;

    hash += kind * 0x9e3779b9U;
    set = (uint64_t) hash * class->sets >> 32;

    return class->slots + set * NGX_COCO_ZONE_WAYS * class->size;
}


/* A slot that is written meanwhile may look like another one's. */

static ngx_uint_t
ngx_coco_zone_slot_of(const ngx_coco_zone_slot_t *slot,
    ngx_coco_document_e kind, uint32_t hash, const ngx_str_t *serial)
{
    return slot->hash == hash && slot->kind == kind
           && slot->serial_len == serial->len
           && ngx_memcmp(slot->serial, serial->data, serial->len) == 0;
}


/* Holds a document whose robot has not changed, and whose time is not over. */

static ngx_uint_t
ngx_coco_zone_slot_good(const ngx_coco_zone_t *zone,
    const ngx_coco_zone_slot_t *slot)
{
    return slot->len
           && slot->valid_until >= ngx_coco_now_ms()
           && slot->ticket.generation == zone->shared->generation
           && slot->ticket.epoch == *ngx_coco_zone_epoch(zone, slot->hash);
}


static ngx_int_t
ngx_coco_zone_slot_read(const ngx_coco_zone_t *zone,
    const ngx_coco_zone_slot_t *slot, size_t max, ngx_pool_t *pool,
    ngx_str_t *ret, ngx_atomic_uint_t sequence)
{
    uint32_t  len;

    len = slot->len;

    if (len > max || !ngx_coco_zone_slot_good(zone, slot)) {
        return NGX_DECLINED;
    }

    ret->data = ngx_pnalloc(pool, len);
    if (ret->data == NULL) {
        return NGX_DECLINED;
    }

    ret->len = len;
    ngx_memcpy(ret->data, slot + 1, len);

    __atomic_thread_fence(__ATOMIC_ACQUIRE);

    return slot->sequence == sequence ? NGX_OK : NGX_DECLINED;
}


void
ngx_coco_zone_document_put(ngx_coco_zone_t *zone, ngx_coco_document_e kind,
    const ngx_str_t *serial, const ngx_coco_ticket_t *ticket,
    const ngx_str_t *document, int64_t valid_until)
{
    uint32_t                      hash;
    ngx_coco_counter_e            outcome;
    ngx_coco_zone_slot_t         *slot;
    const ngx_coco_zone_class_t  *class;

    hash = ngx_coco_zone_hash(serial->data, serial->len);
    class = ngx_coco_zone_class(zone, kind);

    if (document->len > class->size - sizeof(ngx_coco_zone_slot_t)) {
        outcome = NGX_COCO_COUNTER_FILLS_TOO_LARGE;

    } else if (!ngx_coco_zone_current(zone, serial, ticket)) {
        outcome = NGX_COCO_COUNTER_FILLS_OUTDATED;

    } else {
        outcome = NGX_COCO_COUNTER_FILLS_KEPT;

        ngx_coco_zone_lock(zone);

        slot = ngx_coco_zone_slot_choose(zone, class, kind, hash, serial);

        /* odd already when a process died in it */

        slot->sequence |= 1;
        __atomic_thread_fence(__ATOMIC_RELEASE);

        slot->ticket = *ticket;
        slot->valid_until = valid_until;
        slot->hash = hash;
        slot->used = (uint32_t) ngx_time();
        slot->len = document->len;
        slot->kind = kind;
        slot->serial_len = serial->len;
        ngx_memcpy(slot->serial, serial->data, serial->len);
        ngx_memcpy(slot + 1, document->data, document->len);

        __atomic_store_n(&slot->sequence, slot->sequence + 1,
                         __ATOMIC_RELEASE);

        ngx_coco_zone_unlock(zone);
    }

    ngx_coco_metrics_add(zone->metrics, outcome, 1);
}


/* That of the same document; else one that is of no use any more; else the
 * one whose use was longest ago. */

static ngx_coco_zone_slot_t *
ngx_coco_zone_slot_choose(const ngx_coco_zone_t *zone,
    const ngx_coco_zone_class_t *class, ngx_coco_document_e kind,
    uint32_t hash, const ngx_str_t *serial)
{
    u_char                *p;
    ngx_uint_t             i, good, chosen_good;
    ngx_coco_zone_slot_t  *slot, *chosen;

    chosen = NULL;
    chosen_good = 1;
    p = ngx_coco_zone_set(class, kind, hash);

    for (i = 0; i < NGX_COCO_ZONE_WAYS; i++, p += class->size) {
        slot = (ngx_coco_zone_slot_t *) p;

        if (ngx_coco_zone_slot_of(slot, kind, hash, serial)) {
            return slot;
        }

        good = !(slot->sequence & 1) && ngx_coco_zone_slot_good(zone, slot);

        if (chosen == NULL || good < chosen_good
            || (good == chosen_good && slot->used < chosen->used))
        {
            chosen = slot;
            chosen_good = good;
        }
    }

    return chosen;
}
