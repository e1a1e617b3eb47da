/*
 * What the journal looks like on disk: records, segments, the offset file.
 * Host byte order: a journal stays on its machine.
 */

#ifndef COCO_JOURNAL_DISK_H
#define COCO_JOURNAL_DISK_H

#include "coco_core.h"

#define COCO_JOURNAL_NAME_SIZE  32

/* Followed by the topic and the payload. */
typedef struct {
    uint32_t  magic;
    uint32_t  crc;            /* of the position and all that follows */
    uint32_t  topic_len;
    uint32_t  payload_len;
    int64_t   received_at;    /* ms */
} coco_journal_head_t;

/* A segment being read, by positions; [start, start + len) is buffered. */
typedef struct {
    int        fd;            /* -1: none */
    bool       failed;        /* the device cannot read it */
    uint64_t   base;          /* position of its first byte */
    uint64_t   limit;         /* nothing is read from here on */
    uint64_t   start;
    char      *buf;
    size_t     len;
    size_t     size;          /* of buf */
} coco_journal_view_t;

/* The position is part of the sum: a record is valid in its place only, so
 * that neither a stale block nor a payload that looks like a record is one. */
void coco_journal_head_init(coco_journal_head_t *ret, uint64_t position,
    int64_t received_at, coco_str_t topic, coco_str_t payload);

/* "00000000000000000000.log"; suffix "log" or "corrupt". */
void coco_journal_name(char *ret, uint64_t base, const char *suffix);

/* Positions of the segments of a directory, ascending; caller frees.
 * COCO_ERROR with errno. */
int coco_journal_list(int dir, uint64_t **ret, size_t *ret_count);

/* *view is zeroed at first, fd -1. Keeps the buffer of the segment before.
 * COCO_ERROR with errno. */
int coco_journal_view_open(coco_journal_view_t *view, int dir, uint64_t base);
void coco_journal_view_close(coco_journal_view_t *view);

/* COCO_OK and the record at position; its topic and payload at *ret_body are
 * valid until the next call. COCO_AGAIN when what is there would be longer
 * than the segment (a torn write); COCO_ERROR when it is no record. */
int coco_journal_view_record(coco_journal_view_t *view, uint64_t position,
    coco_journal_head_t *ret, const char **ret_body);

/* The next position from `position` on where a record is; limit if none. */
uint64_t coco_journal_view_seek(coco_journal_view_t *view, uint64_t position);

/* COCO_ERROR when neither slot is valid. */
int coco_journal_offset_read(int fd, uint64_t *ret_sequence,
    uint64_t *ret_position);
int coco_journal_offset_write(int fd, uint64_t sequence, uint64_t position);

static inline size_t
coco_journal_record_len(const coco_journal_head_t *head)
{
    return sizeof(*head) + head->topic_len + (size_t) head->payload_len;
}

#endif /* COCO_JOURNAL_DISK_H */
