/*
 * The messages of one queue that were received and not deleted yet: a fixed
 * table. Each is on its way through a lane, kept back until the lane has room,
 * or committed and about to be deleted.
 */

#ifndef COCO_SQS_SLOTS_H
#define COCO_SQS_SLOTS_H

#include "message.h"

typedef struct coco_sqs_slots_s  coco_sqs_slots_t;

#define COCO_SQS_NO_SLOT  UINT32_MAX

/* A tag names one stay of a message in a slot: what comes late for an earlier
 * stay hits nothing. Never 0. */

/* NULL: no memory. */
coco_sqs_slots_t *coco_sqs_slots_create(size_t count);
void coco_sqs_slots_destroy(coco_sqs_slots_t *slots);

/* Any thread: a lane has committed the message. True when no other was
 * waiting to be deleted: its owner is to be woken. */
bool coco_sqs_slots_done(coco_sqs_slots_t *slots, uint64_t tag);

/* Everything below: the owner's thread alone. */

size_t coco_sqs_slots_free(const coco_sqs_slots_t *slots);
size_t coco_sqs_slots_used(const coco_sqs_slots_t *slots);
/* Bytes of the messages that are kept back. */
size_t coco_sqs_slots_held(const coco_sqs_slots_t *slots);

/* Takes a free slot for a message of this receipt (copied), received at `now`,
 * its visibility to be extended at `due` (both monotonic ms). 0: none is free,
 * or no memory. */
uint64_t coco_sqs_slots_take(coco_sqs_slots_t *slots, coco_str_t receipt,
    int64_t now, int64_t due);
/* It is deleted, or gone: the slot is free. */
void coco_sqs_slots_drop(coco_sqs_slots_t *slots, uint64_t tag);
/* Absent when the tag's stay has ended. */
coco_str_t coco_sqs_slots_receipt(const coco_sqs_slots_t *slots,
    uint64_t tag);

/* Hands the message over: done may come from here on, even before the lane's
 * push returns; and takes that back when the lane had no room. */
void coco_sqs_slots_await(coco_sqs_slots_t *slots, uint64_t tag);
void coco_sqs_slots_unawait(coco_sqs_slots_t *slots, uint64_t tag);

/* Keeps a copy of the message back, behind the others. COCO_ERROR: no memory.
 */
int coco_sqs_slots_hold(coco_sqs_slots_t *slots, uint64_t tag,
    const coco_message_t *message);
/* Offers each message that is kept back, in their order; the slot is awaited
 * when `offer` returns COCO_OK, and kept back again otherwise. */
void coco_sqs_slots_offer(coco_sqs_slots_t *slots,
    int (*offer)(void *data, const coco_message_t *message), void *data);

/* How many are committed and not taken yet. */
size_t coco_sqs_slots_waiting(coco_sqs_slots_t *slots);
/* Takes up to max of them, the oldest first. */
size_t coco_sqs_slots_committed(coco_sqs_slots_t *slots, uint64_t *ret,
    size_t max);
/* Gives one back: its deletion failed. */
void coco_sqs_slots_recommit(coco_sqs_slots_t *slots, uint64_t tag);

/* Takes up to max messages off the list of those to be extended: due by
 * `now`, and neither committed nor gone. */
size_t coco_sqs_slots_due(coco_sqs_slots_t *slots, int64_t now, uint64_t *ret,
    size_t max);
/* Puts one on it (again). */
void coco_sqs_slots_redue(coco_sqs_slots_t *slots, uint64_t tag, int64_t due);
/* When the first is due; INT64_MAX: none. */
int64_t coco_sqs_slots_due_at(const coco_sqs_slots_t *slots);
/* When the message was received; 0 when the tag's stay has ended. */
int64_t coco_sqs_slots_received_at(const coco_sqs_slots_t *slots,
    uint64_t tag);

/* Takes up to max messages that no lane has committed, to give them back to
 * the queue: once no done can come any more, and nothing is offered again.
 * Passes over each slot once. */
size_t coco_sqs_slots_undone(coco_sqs_slots_t *slots, uint64_t *ret,
    size_t max);

#endif /* COCO_SQS_SLOTS_H */
