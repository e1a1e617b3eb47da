/*
 * From journal to lane. Must never move the offset past what the lane has
 * committed.
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "feeder.h"
#include "log.h"
#include "topic.h"

#define COCO_FEEDER_COMMIT_MS  10
#define COCO_FEEDER_IDLE_MS    1000


struct coco_feeder_s {
    coco_feeder_options_t  options;
    pthread_t              thread;
    atomic_bool            stopping;

    /* the thread's, and destroy's once that is joined */
    uint64_t               pushed;         /* positions */
    uint64_t               committed;
    int64_t                committed_at;   /* ms, monotonic */
    uint64_t               corrupt;
    bool                   failing;        /* the offset cannot be written */
};


static void *coco_feeder_thread(void *data);
static int coco_feeder_push(coco_feeder_t *f,
    const coco_journal_record_t *record);
static void coco_feeder_commit(coco_feeder_t *f);
static int64_t coco_feeder_now(void);


coco_feeder_t *
coco_feeder_create(const coco_feeder_options_t *options)
{
    coco_feeder_t  *f;

    f = calloc(1, sizeof(*f));
    if (f == NULL) {
        return NULL;
    }

    f->options = *options;

    if (pthread_create(&f->thread, NULL, coco_feeder_thread, f) != 0) {
        free(f);
        return NULL;
    }

    return f;
}


static void *
coco_feeder_thread(void *data)
{
    coco_feeder_t          *f;
    coco_journal_record_t   record;

    f = data;

    while (!f->stopping) {

        if (coco_journal_next(f->options.journal, &record) == COCO_OK) {

            if (coco_feeder_push(f, &record) != COCO_OK) {
                break;
            }

            if (coco_feeder_now() - f->committed_at >= COCO_FEEDER_COMMIT_MS)
            {
                coco_feeder_commit(f);
            }

            continue;
        }

        /* damage at the end is passed, too: nothing else would pass it */
        f->pushed = record.position;
        coco_feeder_commit(f);

        /* a commit of the lane does not wake us: look again soon for one */
        coco_journal_wait(f->options.journal, f->committed < f->pushed
                                              ? COCO_FEEDER_COMMIT_MS
                                              : COCO_FEEDER_IDLE_MS);
    }

    return NULL;
}


static int
coco_feeder_push(coco_feeder_t *f, const coco_journal_record_t *record)
{
    coco_message_t  message;

    memset(&message, 0, sizeof(message));

    message.kind = f->options.kind;
    message.source = "mqtt";
    message.position = record->position;
    message.received_at = record->received_at;
    message.topic = record->topic;
    message.serial = coco_topic_serial(f->options.filter, record->topic);
    message.payload = record->payload;

    if (coco_lane_push(f->options.lane, &message) != COCO_OK) {
        return COCO_ERROR;
    }

    f->pushed = record->position;

    return COCO_OK;
}


static void
coco_feeder_commit(coco_feeder_t *f)
{
    uint64_t  position, corrupt;

    f->committed_at = coco_feeder_now();

    corrupt = coco_journal_corrupt(f->options.journal);
    if (corrupt != f->corrupt) {
        coco_metrics_add(COCO_M_JOURNAL_CORRUPT, f->options.metrics_lane,
                         corrupt - f->corrupt);
        f->corrupt = corrupt;
    }

    if (f->committed == f->pushed) {
        return;
    }

    position = coco_lane_low_water(f->options.lane, f->pushed);
    if (position <= f->committed) {
        return;
    }

    if (coco_journal_commit(f->options.journal, position) == COCO_OK) {
        f->committed = position;
        f->failing = false;
        return;
    }

    /* tried again with the next one; until then a restart repeats more */
    if (!f->failing) {
        f->failing = true;
        coco_log(COCO_LOG_ERROR, "journal_commit_failed", "error", "%s",
                 strerror(errno), NULL);
    }
}


static int64_t
coco_feeder_now(void)
{
    struct timespec  now;

    clock_gettime(CLOCK_MONOTONIC, &now);

    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}


void
coco_feeder_stop(coco_feeder_t *f)
{
    f->stopping = true;
    coco_journal_wake(f->options.journal);
}


void
coco_feeder_destroy(coco_feeder_t *f)
{
    pthread_join(f->thread, NULL);
    coco_feeder_commit(f);
    free(f);
}
