/*
 * What Redis is told after a commit: copies of the newest, then who changed.
 * Must never decide anything: Redis holds copies and hints only.
 */

#include "batch_work.h"

#define COCO_COPY_SIZE  512    /* of a copy, beside what it quotes */

/* Both encoders, as one: which tells them apart. */
typedef enum { COCO_COPY_ROBOT_STATE, COCO_COPY_EPHEMERAL } coco_copy_e;

static coco_str_t coco_batch_copy_encode(coco_writer_t *w, coco_group_t *g,
    coco_copy_e which);
static void coco_batch_owe(coco_writer_t *w);
static int coco_batch_invalidate(coco_writer_t *w);


void
coco_batch_redis(coco_writer_t *w)
{
    bool           any = false, told;
    int64_t        now, ttl;
    coco_str_t     state, ephemeral;
    coco_group_t  *g;

    for (size_t i = 0; i < w->group_count; i++) {
        any |= w->groups[i].current;
    }

    if (!any) {
        coco_writer_settle(w);
        return;
    }

    if (!coco_redis_open(w->redis)) {
        coco_batch_owe(w);
        return;
    }

    now = coco_clock_ms();

    for (size_t i = 0; i < w->group_count; i++) {
        g = &w->groups[i];
        ttl = (int64_t) w->options->heartbeat_ttl_ms;

        /* it is ahead of us only when our clock was set back */
        if (now > g->state.order.order_ms) {
            ttl -= now - g->state.order.order_ms;
        }

        if (!g->current || ttl <= 0) {
            continue;
        }

        state = coco_batch_copy_encode(w, g, COCO_COPY_ROBOT_STATE);
        ephemeral = coco_batch_copy_encode(w, g, COCO_COPY_EPHEMERAL);

        if (state.data != NULL && ephemeral.data != NULL) {
            coco_redis_robot(w->redis, g->serial, &g->state.order, state,
                             ephemeral, ttl);

        } else {
            coco_redis_owe(w->redis, g->serial);
        }
    }

    told = coco_batch_invalidate(w) == COCO_OK;

    if (!coco_redis_flush(w->redis) || !told) {
        coco_batch_owe(w);
    }
}


static void
coco_batch_owe(coco_writer_t *w)
{
    for (size_t i = 0; i < w->group_count; i++) {
        if (w->groups[i].current) {
            coco_redis_owe(w->redis, w->groups[i].serial);
        }
    }
}


/* data NULL without memory: the copy is left out, and owed. */
static coco_str_t
coco_batch_copy_encode(coco_writer_t *w, coco_group_t *g, coco_copy_e which)
{
    char                    *p;
    size_t                   size;
    coco_json_out_t          out;
    const coco_heartbeat_t  *hb = &g->items[g->count - 1]->heartbeat;

    size = hb->payload.len + COCO_COPY_SIZE;

    for ( ;; ) {
        p = coco_arena_alloc(&w->arena, size);
        if (p == NULL) {
            return (coco_str_t) { NULL, 0 };
        }

        coco_json_out_init(&out, p, size);

        if (which == COCO_COPY_ROBOT_STATE) {
            coco_robot_state_encode(&out, hb, g->operation_state);

        } else {
            /* teleoperation's part is the state of its own service */
            coco_ephemeral_encode(&out, hb, false, (coco_str_t) { NULL, 0 });
        }

        if (coco_json_out_ok(&out)) {
            coco_arena_trim(&w->arena, p, out.len);
            return (coco_str_t) { p, out.len };
        }

        size = out.len;
    }
}


/* COCO_ERROR: no memory. */
static int
coco_batch_invalidate(coco_writer_t *w)
{
    char             *p;
    size_t            size = 16;
    coco_json_out_t   out;

    for (size_t i = 0; i < w->group_count; i++) {
        size += w->groups[i].serial.len + sizeof("\"\",");
    }

    p = coco_arena_alloc(&w->arena, size);
    if (p == NULL) {
        return COCO_ERROR;
    }

    coco_json_out_init(&out, p, size);
    coco_json_object_open(&out);
    coco_json_name(&out, "serials");
    coco_json_array_open(&out);

    for (size_t i = 0; i < w->group_count; i++) {
        if (w->groups[i].current) {
            coco_json_string(&out, w->groups[i].serial);
        }
    }

    coco_json_array_close(&out);
    coco_json_object_close(&out);
    coco_redis_invalidate(w->redis, (coco_str_t) { p, out.len });

    return COCO_OK;
}
