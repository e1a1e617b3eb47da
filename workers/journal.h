/*
 * The journal: what a source has acknowledged and the lane has not yet
 * committed. One appender (the paho callback), one reader, one low-water
 * offset that moves after the commit.
 *
 * A directory per client id: `lock` (flock), `client` (the id it is bound to),
 * `offset`, and segments named by the position of their first byte. Each
 * record has a CRC; a torn tail is cut before anything is appended.
 */

#ifndef COCO_JOURNAL_H
#define COCO_JOURNAL_H

#include "coco_core.h"

typedef struct coco_journal_s  coco_journal_t;

typedef enum {
    COCO_JOURNAL_SYNC_NONE = 0,     /* the kernel writes when it likes */
    COCO_JOURNAL_SYNC_INTERVAL,     /* fdatasync every interval_ms */
    COCO_JOURNAL_SYNC_ALWAYS        /* fdatasync before the acknowledgement */
} coco_journal_sync_e;

typedef struct {
    const char           *path;            /* directory, made if absent */
    const char           *client_id;
    uint64_t              segment_bytes;   /* 64 MiB */
    uint64_t              high_bytes;      /* above: full */
    uint64_t              low_bytes;       /* below: no longer full */
    coco_journal_sync_e   sync;
    unsigned              interval_ms;
} coco_journal_options_t;

typedef struct {
    uint64_t    position;      /* just after this record */
    int64_t     received_at;   /* ms */
    coco_str_t  topic;
    coco_str_t  payload;
} coco_journal_record_t;

/* COCO_ERROR with a message that says what to do (held by another process,
 * bound to another client id, directory not writable). o->path and
 * o->client_id are copied. */
int coco_journal_open(coco_journal_t **ret, const coco_journal_options_t *o,
    char *error, size_t error_size);

/* Appender. A short or failed write is cut back; when even that fails, or the
 * append failed, the process aborts rather than acknowledge. Never waits. */
void coco_journal_append(coco_journal_t *j, int64_t received_at,
    coco_str_t topic, coco_str_t payload);

/* Reader. COCO_OK and a record valid until the next call; COCO_AGAIN when
 * there is none yet, with ret->position alone: what lies before it has been
 * read, or cannot be. Starts at the low-water offset. */
int coco_journal_next(coco_journal_t *j, coco_journal_record_t *ret);
/* Waits for an append, a wake or timeout_ms. */
void coco_journal_wait(coco_journal_t *j, unsigned timeout_ms);
void coco_journal_wake(coco_journal_t *j);

/* Moves the low-water offset and removes segments wholly below it. The
 * reader's thread, or any once that has ended. COCO_ERROR with errno. */
int coco_journal_commit(coco_journal_t *j, uint64_t position);

uint64_t coco_journal_pending(coco_journal_t *j);   /* bytes above low water */
bool coco_journal_full(coco_journal_t *j);          /* with hysteresis */
/* For how long something has been pending and low water has not moved, ms. */
uint64_t coco_journal_stalled(coco_journal_t *j);

/* Places that the reader could not read. The segment stays as *.corrupt when
 * it is removed, and everything else in it is delivered. The reader only. */
uint64_t coco_journal_corrupt(const coco_journal_t *j);

void coco_journal_close(coco_journal_t *j);

#endif /* COCO_JOURNAL_H */
