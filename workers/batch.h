/*
 * A batch: messages gathered for one shard, and the writer that takes them to
 * their effects: one Postgres transaction, then one Redis pipeline.
 */

#ifndef COCO_BATCH_H
#define COCO_BATCH_H

#include "lane.h"
#include "sinks/retry.h"

typedef struct {
    coco_message_t  *messages;
    size_t           count;
    size_t           max;
    char            *data;         /* what the messages point into */
    size_t           len;
    size_t           size;         /* more than `limit` for one huge message */
    size_t           limit;
    int64_t          first_at;     /* monotonic us, of the first message */
    uint64_t         low;          /* everything before it, in the source */
    bool             tracked;      /* a message with a position is in it */
} coco_batch_t;

int coco_batch_init(coco_batch_t *b, size_t messages, size_t bytes);
void coco_batch_free(coco_batch_t *b);
void coco_batch_reset(coco_batch_t *b);
/* Copies the message. COCO_AGAIN: the batch is full. COCO_ERROR: no memory. */
int coco_batch_add(coco_batch_t *b, const coco_message_t *message);


typedef struct coco_writer_s  coco_writer_t;

/* Strings of options stay the caller's. One writer for each thread. */
coco_writer_t *coco_writer_create(const coco_lane_options_t *options,
    coco_stop_t *stop);
void coco_writer_destroy(coco_writer_t *w);

/* Returns once every message is committed or set aside, however long that
 * takes; COCO_ERROR only when the stop was set before. */
int coco_writer_commit(coco_writer_t *w, const coco_batch_t *b);

/* Removes old copies from Redis, when that is due: at the time that
 * coco_writer_due says (monotonic us; INT64_MAX: there are none). */
int64_t coco_writer_due(const coco_writer_t *w);
void coco_writer_settle(coco_writer_t *w);

#endif /* COCO_BATCH_H */
