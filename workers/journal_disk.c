/*
 * Reads and writes the journal's disk format. Must never trust a length, an
 * offset or a name that it read before it has checked it.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "crc32c.h"
#include "journal_disk.h"

#define COCO_JOURNAL_MAGIC        0x4f434f43
#define COCO_JOURNAL_TOPIC_MAX    65535          /* MQTT, 1.5.4 */
#define COCO_JOURNAL_PAYLOAD_MAX  268435455      /* MQTT, 2.1.4 */
#define COCO_JOURNAL_BUFFER       (256 * 1024)
#define COCO_JOURNAL_SLOT         4096           /* one slot torn, not both */


typedef struct {
    uint32_t  magic;
    uint32_t  crc;            /* of what follows */
    uint64_t  sequence;
    uint64_t  position;
} coco_journal_slot_t;


static uint32_t coco_journal_head_crc(const coco_journal_head_t *head,
    uint64_t position);
static int coco_journal_compare(const void *one, const void *two);
static const char *coco_journal_view_get(coco_journal_view_t *view,
    uint64_t position, size_t len);
static uint32_t coco_journal_slot_crc(const coco_journal_slot_t *slot);


void
coco_journal_head_init(coco_journal_head_t *ret, uint64_t position,
    int64_t received_at, coco_str_t topic, coco_str_t payload)
{
    ret->magic = COCO_JOURNAL_MAGIC;
    ret->topic_len = (uint32_t) topic.len;
    ret->payload_len = (uint32_t) payload.len;
    ret->received_at = received_at;

    ret->crc = coco_journal_head_crc(ret, position);
    ret->crc = coco_crc32c(ret->crc, topic.data, topic.len);
    ret->crc = coco_crc32c(ret->crc, payload.data, payload.len);
}


static uint32_t
coco_journal_head_crc(const coco_journal_head_t *head, uint64_t position)
{
    uint32_t  crc;

    crc = coco_crc32c(0, &position, sizeof(position));

    return coco_crc32c(crc, &head->topic_len,
                       sizeof(*head)
                       - offsetof(coco_journal_head_t, topic_len));
}


void
coco_journal_name(char *ret, uint64_t base, const char *suffix)
{
    snprintf(ret, COCO_JOURNAL_NAME_SIZE, "%020" PRIu64 ".%s", base, suffix);
}


int
coco_journal_list(int dir, uint64_t **ret, size_t *ret_count)
{
    int             fd;
    DIR            *d;
    char            name[COCO_JOURNAL_NAME_SIZE];
    size_t          count, size;
    uint64_t        base, *bases, *grown;
    struct dirent  *entry;

    /* not dup(): the copy would share, and move, the place in the listing */
    fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    d = fd == -1 ? NULL : fdopendir(fd);

    if (d == NULL) {
        if (fd != -1) {
            close(fd);
        }
        return COCO_ERROR;
    }

    count = 0;
    size = 0;
    bases = NULL;

    while ((entry = readdir(d)) != NULL) {

        base = strtoull(entry->d_name, NULL, 10);
        coco_journal_name(name, base, "log");

        if (strcmp(name, entry->d_name) != 0) {
            continue;
        }

        if (count == size) {
            size = size == 0 ? 16 : size * 2;
            grown = realloc(bases, size * sizeof(*bases));
            if (grown == NULL) {
                free(bases);
                closedir(d);
                return COCO_ERROR;
            }
            bases = grown;
        }

        bases[count++] = base;
    }

    closedir(d);

    if (count > 0) {
        qsort(bases, count, sizeof(*bases), coco_journal_compare);
    }

    *ret = bases;
    *ret_count = count;

    return COCO_OK;
}


static int
coco_journal_compare(const void *one, const void *two)
{
    uint64_t  a, b;

    a = *(const uint64_t *) one;
    b = *(const uint64_t *) two;

    return (a > b) - (a < b);
}


int
coco_journal_view_open(coco_journal_view_t *view, int dir, uint64_t base)
{
    int   fd;
    char  name[COCO_JOURNAL_NAME_SIZE];

    coco_journal_name(name, base, "log");

    fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    if (fd == -1) {
        return COCO_ERROR;
    }

    if (view->fd != -1) {
        close(view->fd);
    }

    view->fd = fd;
    view->failed = false;
    view->base = base;
    view->limit = base;
    view->start = base;
    view->len = 0;

    return COCO_OK;
}


void
coco_journal_view_close(coco_journal_view_t *view)
{
    if (view->fd != -1) {
        close(view->fd);
    }

    free(view->buf);
    memset(view, 0, sizeof(*view));
    view->fd = -1;
}


/* len bytes from position on, which end at or before the limit; NULL when
 * they cannot be read. */
static const char *
coco_journal_view_get(coco_journal_view_t *view, uint64_t position, size_t len)
{
    char     *grown;
    size_t    want, size;
    ssize_t   n;

    if (position >= view->start && position + len <= view->start + view->len) {
        return view->buf + (position - view->start);
    }

    if (len > view->size || view->buf == NULL) {
        size = len > COCO_JOURNAL_BUFFER ? len : COCO_JOURNAL_BUFFER;
        grown = realloc(view->buf, size);
        if (grown == NULL) {
            abort();        /* a restart reads it again; skipping would lose */
        }
        view->buf = grown;
        view->size = size;
    }

    want = view->size;
    if (want > view->limit - position) {
        want = view->limit - position;
    }

    view->start = position;
    view->len = 0;

    while (view->len < want) {
        n = pread(view->fd, view->buf + view->len, want - view->len,
                  (off_t) (position - view->base + view->len));

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n <= 0) {
            break;
        }

        view->len += (size_t) n;
    }

    if (view->len < len) {
        view->failed = true;
        return NULL;
    }

    return view->buf;
}


int
coco_journal_view_record(coco_journal_view_t *view, uint64_t position,
    coco_journal_head_t *ret, const char **ret_body)
{
    size_t               len;
    uint32_t             crc;
    const char          *p;
    coco_journal_head_t  head;

    if (view->limit - position < sizeof(head)) {
        return COCO_AGAIN;
    }

    p = coco_journal_view_get(view, position, sizeof(head));
    if (p == NULL) {
        return COCO_ERROR;
    }

    memcpy(&head, p, sizeof(head));

    if (head.magic != COCO_JOURNAL_MAGIC
        || head.topic_len > COCO_JOURNAL_TOPIC_MAX
        || head.payload_len > COCO_JOURNAL_PAYLOAD_MAX)
    {
        return COCO_ERROR;
    }

    len = coco_journal_record_len(&head);

    if (view->limit - position < len) {
        return COCO_AGAIN;
    }

    p = coco_journal_view_get(view, position, len);
    if (p == NULL) {
        return COCO_ERROR;
    }

    crc = coco_journal_head_crc(&head, position);
    crc = coco_crc32c(crc, p + sizeof(head), len - sizeof(head));

    if (crc != head.crc) {
        return COCO_ERROR;
    }

    *ret = head;
    *ret_body = p + sizeof(head);

    return COCO_OK;
}


uint64_t
coco_journal_view_seek(coco_journal_view_t *view, uint64_t position)
{
    size_t               left;
    uint32_t             magic;
    const char          *p, *found, *body;
    coco_journal_head_t  head;

    magic = COCO_JOURNAL_MAGIC;

    while (!view->failed && view->limit - position >= sizeof(head)) {

        p = coco_journal_view_get(view, position, sizeof(head));
        if (p == NULL) {
            break;
        }

        left = view->len - (size_t) (position - view->start);
        found = memmem(p, left, &magic, sizeof(magic));

        if (found == NULL) {
            /* the magic may lie across the end of the buffer */
            position += left - (sizeof(magic) - 1);
            continue;
        }

        position += (uint64_t) (found - p);

        if (coco_journal_view_record(view, position, &head, &body)
            == COCO_OK)
        {
            return position;
        }

        position++;
    }

    return view->limit;
}


int
coco_journal_offset_read(int fd, uint64_t *ret_sequence,
    uint64_t *ret_position)
{
    int                  i, rc;
    coco_journal_slot_t  slot;

    rc = COCO_ERROR;

    for (i = 0; i < 2; i++) {

        if (pread(fd, &slot, sizeof(slot), i * COCO_JOURNAL_SLOT)
            != (ssize_t) sizeof(slot)
            || slot.magic != COCO_JOURNAL_MAGIC
            || slot.crc != coco_journal_slot_crc(&slot))
        {
            continue;
        }

        if (rc == COCO_ERROR || slot.sequence > *ret_sequence) {
            *ret_sequence = slot.sequence;
            *ret_position = slot.position;
        }

        rc = COCO_OK;
    }

    return rc;
}


int
coco_journal_offset_write(int fd, uint64_t sequence, uint64_t position)
{
    coco_journal_slot_t  slot;

    slot.magic = COCO_JOURNAL_MAGIC;
    slot.sequence = sequence;
    slot.position = position;
    slot.crc = coco_journal_slot_crc(&slot);

    if (pwrite(fd, &slot, sizeof(slot),
               (off_t) (sequence % 2) * COCO_JOURNAL_SLOT)
        != (ssize_t) sizeof(slot))
    {
        return COCO_ERROR;
    }

    return COCO_OK;
}


static uint32_t
coco_journal_slot_crc(const coco_journal_slot_t *slot)
{
    return coco_crc32c(0, &slot->sequence,
                       sizeof(*slot) - offsetof(coco_journal_slot_t,
                                                sequence));
}
