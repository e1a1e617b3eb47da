/*
 * The gate before a partner. Must never let more than one call through to a
 * partner that has only failed.
 */

#include "sinks/partners_gate.h"

#define COCO_GATE_OPEN_MAX_MS  60000


void
coco_partners_gate_init(coco_partners_gate_t *gate, unsigned rate,
    unsigned limit, unsigned open_ms, int64_t now)
{
    *gate = (coco_partners_gate_t) { .rate = rate, .limit = limit,
                                     .open_ms = open_ms, .tokens = rate,
                                     .filled_at = now };
}


unsigned
coco_partners_gate_room(coco_partners_gate_t *gate, unsigned concurrency,
    unsigned in_flight, int64_t now)
{
    unsigned  room;

    gate->tokens += (double) (now - gate->filled_at) / 1e6 * gate->rate;
    gate->filled_at = now;

    if (gate->tokens > gate->rate) {
        gate->tokens = gate->rate;
    }

    if (now < gate->paused_until || now < gate->open_until
        || gate->tokens < 1)
    {
        return 0;
    }

    if (gate->open_until != 0) {
        return in_flight == 0;
    }

    room = concurrency > in_flight ? concurrency - in_flight : 0;

    return room < gate->tokens ? room : (unsigned) gate->tokens;
}


void
coco_partners_gate_take(coco_partners_gate_t *gate, unsigned calls)
{
    gate->tokens -= calls;
}


void
coco_partners_gate_passed(coco_partners_gate_t *gate)
{
    gate->failures = 0;
    gate->open_until = 0;
    coco_backoff_reset(&gate->backoff);
}


bool
coco_partners_gate_failed(coco_partners_gate_t *gate, int64_t now)
{
    unsigned  max;

    /* of calls that had begun before it opened */
    if (now < gate->open_until) {
        return false;
    }

    if (gate->open_until == 0 && ++gate->failures < gate->limit) {
        return false;
    }

    max = gate->open_ms > COCO_GATE_OPEN_MAX_MS ? gate->open_ms
                                                : COCO_GATE_OPEN_MAX_MS;
    gate->open_until = now + coco_backoff_within(&gate->backoff,
                                                 gate->open_ms, max) * 1000LL;

    return true;
}


void
coco_partners_gate_pause(coco_partners_gate_t *gate, int64_t until)
{
    if (until > gate->paused_until) {
        gate->paused_until = until;
    }
}
