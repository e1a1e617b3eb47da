/*
 * The journal between an acknowledged message and its committed effects.
 * Must never lose a record whose append returned, show one that is not whole,
 * or let a position go backwards.
 *
 * One mutex guards what appender and reader share: the list of segments, the
 * tail, the low-water offset. No file is touched under it, except that the
 * appender makes the next segment.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "journal.h"
#include "journal_disk.h"
#include "log.h"


struct coco_journal_s {
    coco_journal_options_t   options;         /* path is a copy */
    int                      dir, lock, offset;

    pthread_mutex_t          mutex;           /* guards this part: */
    pthread_cond_t           appended;        /* or woken: the reader waits */
    pthread_cond_t           stopped;         /* the syncer waits */
    uint64_t                *segments;        /* ascending; the last is open */
    size_t                   segment_count;
    uint64_t                 tail;            /* where the next record goes */
    uint64_t                 low;             /* all before is committed */
    int64_t                  moved_at;        /* ms, monotonic: low was, or
                                                 the first tail above it */
    bool                     full;
    bool                     woken;
    bool                     stopping;
    int                      fd;              /* of the last segment */

    uint64_t                 base;            /* appender: of that segment */

    uint64_t                 sequence;        /* reader: of the offset file */
    uint64_t                 read;            /* reader: the next record */
    uint64_t                 corrupt;         /* reader */
    coco_journal_view_t      view;            /* reader */

    pthread_t                syncer;          /* COCO_JOURNAL_SYNC_INTERVAL */
    bool                     syncing;
};


static int coco_journal_files_open(coco_journal_t *j, char *error,
    size_t error_size);
static int coco_journal_directory_create(const char *path);
static int coco_journal_lock(coco_journal_t *j, char *error,
    size_t error_size);
static int coco_journal_client_check(coco_journal_t *j, const char *client_id,
    char *error, size_t error_size);
static int coco_journal_recover(coco_journal_t *j);
static int coco_journal_tail_find(coco_journal_t *j, uint64_t base,
    uint64_t *ret_tail);
static int coco_journal_segment_add(coco_journal_t *j, uint64_t base);
static int coco_journal_sync(coco_journal_t *j, int fd);
static void *coco_journal_sync_thread(void *data);
static void coco_journal_append_failed(coco_journal_t *j, ssize_t written);
static bool coco_journal_advance(coco_journal_t *j);
static void coco_journal_set_aside(coco_journal_t *j, uint64_t next);
static void coco_journal_full_update(coco_journal_t *j);
static void coco_journal_deadline(struct timespec *ret, unsigned ms);
static int64_t coco_journal_now(void);


int
coco_journal_open(coco_journal_t **ret, const coco_journal_options_t *o,
    char *error, size_t error_size)
{
    coco_journal_t      *j;
    pthread_condattr_t   attr;

    j = calloc(1, sizeof(*j));
    if (j == NULL) {
        snprintf(error, error_size, "out of memory");
        return COCO_ERROR;
    }

    j->options = *o;
    j->options.client_id = NULL;
    j->dir = j->lock = j->offset = j->fd = j->view.fd = -1;
    j->moved_at = coco_journal_now();

    pthread_mutex_init(&j->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&j->appended, &attr);
    pthread_cond_init(&j->stopped, &attr);
    pthread_condattr_destroy(&attr);

    j->options.path = strdup(o->path);
    if (j->options.path == NULL) {
        snprintf(error, error_size, "out of memory");
        goto failed;
    }

    if (coco_journal_files_open(j, error, error_size) != COCO_OK
        || coco_journal_lock(j, error, error_size) != COCO_OK
        || coco_journal_client_check(j, o->client_id, error, error_size)
           != COCO_OK)
    {
        goto failed;
    }

    if (coco_journal_recover(j) != COCO_OK) {
        snprintf(error, error_size, "journal %s cannot be opened: %s; see to "
                 "the disk or the directory's permissions",
                 o->path, strerror(errno));
        goto failed;
    }

    if (o->sync == COCO_JOURNAL_SYNC_INTERVAL) {
        if (pthread_create(&j->syncer, NULL, coco_journal_sync_thread, j)
            != 0)
        {
            snprintf(error, error_size, "journal %s: no thread to sync it",
                     o->path);
            goto failed;
        }
        j->syncing = true;
    }

    *ret = j;

    return COCO_OK;

failed:

    coco_journal_close(j);

    return COCO_ERROR;
}


static int
coco_journal_files_open(coco_journal_t *j, char *error, size_t error_size)
{
    if (coco_journal_directory_create(j->options.path) == COCO_OK) {

        j->dir = open(j->options.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (j->dir != -1) {
            j->lock = openat(j->dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC,
                             0600);
            j->offset = openat(j->dir, "offset", O_RDWR | O_CREAT | O_CLOEXEC,
                               0600);
        }

        if (j->dir != -1 && j->lock != -1 && j->offset != -1) {
            return COCO_OK;
        }
    }

    snprintf(error, error_size, "journal %s cannot be opened: %s; make the "
             "directory writable for this user or choose another journal.path",
             j->options.path, strerror(errno));

    return COCO_ERROR;
}


/* With its parents, as mkdir -p. */
static int
coco_journal_directory_create(const char *path)
{
    char  *copy, *p;

    copy = strdup(path);
    if (copy == NULL) {
        return COCO_ERROR;
    }

    for (p = copy + 1; *p != '\0'; p++) {
        if (*p == '/') {
            *p = '\0';
            if (mkdir(copy, 0700) == -1 && errno != EEXIST) {
                break;
            }
            *p = '/';
        }
    }

    if (*p != '\0' || (mkdir(copy, 0700) == -1 && errno != EEXIST)) {
        free(copy);
        return COCO_ERROR;
    }

    free(copy);

    return COCO_OK;
}


static int
coco_journal_lock(coco_journal_t *j, char *error, size_t error_size)
{
    int   n;
    char  pid[32];

    if (flock(j->lock, LOCK_EX | LOCK_NB) == -1) {
        n = (int) pread(j->lock, pid, sizeof(pid) - 1, 0);
        pid[n > 0 ? n : 0] = '\0';

        snprintf(error, error_size, "journal %s is held by process %s; stop "
                 "it, or give this one a journal.path and mqtt.client_id of "
                 "its own", j->options.path, n > 0 ? pid : "(unknown)");
        return COCO_ERROR;
    }

    n = snprintf(pid, sizeof(pid), "%ld", (long) getpid());

    if (ftruncate(j->lock, 0) == -1 || pwrite(j->lock, pid, (size_t) n, 0) != n)
    {
        snprintf(error, error_size, "journal %s is not writable: %s",
                 j->options.path, strerror(errno));
        return COCO_ERROR;
    }

    return COCO_OK;
}


/* What one session acknowledged must not be taken for another's. */
static int
coco_journal_client_check(coco_journal_t *j, const char *client_id,
    char *error, size_t error_size)
{
    int      fd, rc;
    char     bound[256];
    size_t   len;
    ssize_t  n;

    rc = COCO_ERROR;
    len = strlen(client_id);

    fd = openat(j->dir, "client", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    n = fd == -1 ? -1 : pread(fd, bound, sizeof(bound) - 1, 0);

    if (n == -1 || len >= sizeof(bound)) {
        snprintf(error, error_size, "journal %s: its file \"client\" cannot "
                 "be read, or the client id is longer than 255 bytes",
                 j->options.path);

    } else if (n == 0) {
        /* new, or its maker was killed before it wrote: then it is empty */
        rc = pwrite(fd, client_id, len, 0) == (ssize_t) len ? COCO_OK
                                                            : COCO_ERROR;
        if (rc != COCO_OK) {
            snprintf(error, error_size, "journal %s is not writable: %s",
                     j->options.path, strerror(errno));
        }

    } else if ((size_t) n == len && memcmp(bound, client_id, len) == 0) {
        rc = COCO_OK;

    } else {
        bound[n] = '\0';
        snprintf(error, error_size, "journal %s belongs to client id \"%s\", "
                 "not \"%s\"; give this client a journal.path of its own, or "
                 "let the other id drain it first", j->options.path, bound,
                 client_id);
    }

    if (fd != -1) {
        close(fd);
    }

    return rc;
}


/* Finds the low-water offset and the tail, and cuts what a kill left of an
 * append: that one never returned, so nothing was acknowledged. */
static int
coco_journal_recover(coco_journal_t *j)
{
    uint64_t  last;

    if (coco_journal_offset_read(j->offset, &j->sequence, &j->low)
        != COCO_OK)
    {
        j->low = 0;
    }

    if (coco_journal_list(j->dir, &j->segments, &j->segment_count)
        != COCO_OK)
    {
        return COCO_ERROR;
    }

    if (j->segment_count == 0) {
        j->tail = j->low;
        j->read = j->low;
        return coco_journal_segment_add(j, j->tail);
    }

    if (j->low < j->segments[0]) {
        j->low = j->segments[0];
    }

    j->read = j->low;
    last = j->segments[j->segment_count - 1];

    if (coco_journal_tail_find(j, last, &j->tail) != COCO_OK) {
        return COCO_ERROR;
    }

    coco_journal_full_update(j);

    /* the reader starts elsewhere, and the tail may have been cut */
    j->view.limit = 0;
    j->view.len = 0;

    return j->fd == -1 ? coco_journal_segment_add(j, j->tail) : COCO_OK;
}


/* Opens the last segment for appending, or leaves fd at -1 when nothing may
 * follow in it: it ends in damage that is no torn append, or (power lost
 * without sync) before the offset. */
static int
coco_journal_tail_find(coco_journal_t *j, uint64_t base, uint64_t *ret_tail)
{
    int                   rc;
    char                  name[COCO_JOURNAL_NAME_SIZE];
    uint64_t              end, next;
    const char           *body;
    struct stat           st;
    coco_journal_head_t   head;
    coco_journal_view_t  *view;

    view = &j->view;

    if (coco_journal_view_open(view, j->dir, base) != COCO_OK
        || fstat(view->fd, &st) == -1)
    {
        return COCO_ERROR;
    }

    view->limit = base + (uint64_t) st.st_size;
    *ret_tail = view->limit;

    if (j->low > view->limit) {
        *ret_tail = j->low;
        return COCO_OK;
    }

    rc = COCO_OK;
    end = j->low > base ? j->low : base;

    while (end < view->limit) {
        rc = coco_journal_view_record(view, end, &head, &body);

        if (rc == COCO_OK) {
            end += coco_journal_record_len(&head);
            continue;
        }

        next = coco_journal_view_seek(view, end + 1);
        if (next == view->limit) {
            break;
        }

        end = next;
    }

    if (rc == COCO_ERROR) {
        return COCO_OK;
    }

    coco_journal_name(name, base, "log");

    j->fd = openat(j->dir, name, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (j->fd == -1) {
        return COCO_ERROR;
    }

    if (end < view->limit) {
        coco_log(COCO_LOG_WARN, "journal_tail_cut", "path", "%s",
                 j->options.path, "position", "%llu",
                 (unsigned long long) end, "bytes", "%llu",
                 (unsigned long long) (view->limit - end), NULL);

        if (ftruncate(j->fd, (off_t) (end - base)) == -1) {
            return COCO_ERROR;
        }
    }

    j->base = base;
    *ret_tail = end;

    return COCO_OK;
}


/* Takes the place of the last segment. COCO_ERROR with errno. */
static int
coco_journal_segment_add(coco_journal_t *j, uint64_t base)
{
    int        fd;
    char       name[COCO_JOURNAL_NAME_SIZE];
    uint64_t  *grown;

    coco_journal_name(name, base, "log");

    fd = openat(j->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND
                              | O_CLOEXEC, 0600);
    if (fd == -1) {
        return COCO_ERROR;
    }

    grown = realloc(j->segments, (j->segment_count + 1) * sizeof(*grown));
    if (grown != NULL) {
        j->segments = grown;
    }

    if (grown == NULL
        || (j->options.sync != COCO_JOURNAL_SYNC_NONE
            && (fsync(j->dir) == -1
                || (j->fd != -1 && fdatasync(j->fd) == -1))))
    {
        close(fd);
        return COCO_ERROR;
    }

    if (j->fd != -1) {
        close(j->fd);
    }

    j->segments[j->segment_count++] = base;
    j->base = base;
    j->fd = fd;

    return COCO_OK;
}


void
coco_journal_append(coco_journal_t *j, int64_t received_at, coco_str_t topic,
    coco_str_t payload)
{
    size_t               len;
    ssize_t              n;
    struct iovec         iov[3];
    coco_journal_head_t  head;

    /* the tail is read without the mutex: only the appender moves it */
    coco_journal_head_init(&head, j->tail, received_at, topic, payload);
    len = coco_journal_record_len(&head);

    if (j->tail > j->base
        && j->tail - j->base + len > j->options.segment_bytes)
    {
        pthread_mutex_lock(&j->mutex);
        if (coco_journal_segment_add(j, j->tail) != COCO_OK) {
            coco_journal_append_failed(j, 0);
        }
        pthread_mutex_unlock(&j->mutex);
    }

    iov[0].iov_base = &head;
    iov[0].iov_len = sizeof(head);
    iov[1].iov_base = (void *) topic.data;
    iov[1].iov_len = topic.len;
    iov[2].iov_base = (void *) payload.data;
    iov[2].iov_len = payload.len;

    do {
        n = writev(j->fd, iov, 3);
    } while (n == -1 && errno == EINTR);

    if (n != (ssize_t) len
        || (j->options.sync == COCO_JOURNAL_SYNC_ALWAYS
            && coco_journal_sync(j, j->fd) != COCO_OK))
    {
        coco_journal_append_failed(j, n);
    }

    pthread_mutex_lock(&j->mutex);

    if (j->tail == j->low) {
        j->moved_at = coco_journal_now();
    }

    j->tail += len;
    coco_journal_full_update(j);
    pthread_cond_signal(&j->appended);
    pthread_mutex_unlock(&j->mutex);
}


/* Never returns: what could not be kept must not be acknowledged. */
static void
coco_journal_append_failed(coco_journal_t *j, ssize_t written)
{
    int  err;

    err = written > 0 ? ENOSPC : errno;

    if (ftruncate(j->fd, (off_t) (j->tail - j->base)) == -1) {
        coco_log(COCO_LOG_ERROR, "journal_cut_failed", "path", "%s",
                 j->options.path, "error", "%s", strerror(errno), NULL);
    }

    coco_log(COCO_LOG_ERROR, "journal_append_failed", "path", "%s",
             j->options.path, "error", "%s", strerror(err), "remedy", "%s",
             "free space on the journal's disk; nothing was acknowledged",
             NULL);
    abort();
}


static int
coco_journal_sync(coco_journal_t *j, int fd)
{
    if (fdatasync(fd) == 0) {
        return COCO_OK;
    }

    coco_log(COCO_LOG_ERROR, "journal_sync_failed", "path", "%s",
             j->options.path, "error", "%s", strerror(errno), NULL);

    return COCO_ERROR;
}


static void *
coco_journal_sync_thread(void *data)
{
    int              fd;
    uint64_t         synced;
    coco_journal_t  *j;
    struct timespec  deadline;

    j = data;
    pthread_mutex_lock(&j->mutex);

    /* what was pending at the start may never have been synced */
    synced = j->low;

    while (!j->stopping) {
        coco_journal_deadline(&deadline, j->options.interval_ms);

        while (!j->stopping
               && pthread_cond_timedwait(&j->stopped, &j->mutex, &deadline)
                  != ETIMEDOUT)
        {
            /* the interval is not over */
        }

        if (synced == j->tail) {
            continue;
        }

        /* of our own: the appender may close its one meanwhile, after it
         * has synced it */
        synced = j->tail;
        fd = fcntl(j->fd, F_DUPFD_CLOEXEC, 0);
        pthread_mutex_unlock(&j->mutex);

        /* after a failed sync the kernel may have dropped what it held */
        if (fd == -1 || coco_journal_sync(j, fd) != COCO_OK) {
            abort();
        }

        close(fd);
        pthread_mutex_lock(&j->mutex);
    }

    pthread_mutex_unlock(&j->mutex);

    return NULL;
}


int
coco_journal_next(coco_journal_t *j, coco_journal_record_t *ret)
{
    uint64_t              next;
    const char           *body;
    coco_journal_head_t   head;

    for ( ;; ) {

        if (j->read >= j->view.limit && !coco_journal_advance(j)) {
            ret->position = j->read;
            return COCO_AGAIN;
        }

        if (coco_journal_view_record(&j->view, j->read, &head, &body)
            == COCO_OK)
        {
            break;
        }

        next = coco_journal_view_seek(&j->view, j->read + 1);
        coco_journal_set_aside(j, next);
        j->read = next;
    }

    j->read += coco_journal_record_len(&head);

    ret->position = j->read;
    ret->received_at = head.received_at;
    ret->topic.data = body;
    ret->topic.len = head.topic_len;
    ret->payload.data = body + head.topic_len;
    ret->payload.len = head.payload_len;

    return COCO_OK;
}


/* Points the view at what has been appended since. False when nothing has. */
static bool
coco_journal_advance(coco_journal_t *j)
{
    bool         sealed;
    size_t       i;
    uint64_t     base, end;
    struct stat  st;

    for ( ;; ) {
        pthread_mutex_lock(&j->mutex);

        for (i = j->segment_count - 1; j->segments[i] > j->read; i--) {
            /* the first segment starts at or before the low water */
        }

        base = j->segments[i];
        sealed = (i + 1 < j->segment_count);
        end = sealed ? j->segments[i + 1] : j->tail;

        pthread_mutex_unlock(&j->mutex);

        if (j->read >= end) {
            return false;
        }

        if (j->view.fd == -1 || j->view.base != base) {
            if (coco_journal_view_open(&j->view, j->dir, base) != COCO_OK
                || fstat(j->view.fd, &st) == -1)
            {
                coco_log(COCO_LOG_ERROR, "journal_segment_lost", "path", "%s",
                         j->options.path, "segment", "%llu",
                         (unsigned long long) base, "error", "%s",
                         strerror(errno), NULL);
                abort();    /* a restart tries again; skipping would lose */
            }
        }

        j->view.limit = end;

        if (!sealed) {
            return true;
        }

        /* power lost without sync may have left it shorter */
        if (fstat(j->view.fd, &st) == 0
            && base + (uint64_t) st.st_size < end)
        {
            j->view.limit = base + (uint64_t) st.st_size;
        }

        if (j->read < j->view.limit) {
            return true;
        }

        coco_journal_set_aside(j, end);
        j->read = end;
        j->view.limit = end;
    }
}


/* Keeps a second name of the segment, which stays when the first goes. */
static void
coco_journal_set_aside(coco_journal_t *j, uint64_t next)
{
    char  name[COCO_JOURNAL_NAME_SIZE], aside[COCO_JOURNAL_NAME_SIZE];

    coco_journal_name(name, j->view.base, "log");
    coco_journal_name(aside, j->view.base, "corrupt");

    j->corrupt++;

    coco_log(COCO_LOG_ERROR, "journal_corrupt", "path", "%s", j->options.path,
             "position", "%llu", (unsigned long long) j->read, "bytes", "%llu",
             (unsigned long long) (next - j->read), "kept", "%s", aside,
             NULL);

    if (linkat(j->dir, name, j->dir, aside, 0) == -1 && errno != EEXIST) {
        coco_log(COCO_LOG_ERROR, "journal_set_aside_failed", "path", "%s",
                 j->options.path, "error", "%s", strerror(errno), NULL);
    }
}


void
coco_journal_wait(coco_journal_t *j, unsigned timeout_ms)
{
    struct timespec  deadline;

    coco_journal_deadline(&deadline, timeout_ms);
    pthread_mutex_lock(&j->mutex);

    while (j->tail == j->read && !j->woken
           && pthread_cond_timedwait(&j->appended, &j->mutex, &deadline)
              != ETIMEDOUT)
    {
        /* not for us */
    }

    j->woken = false;
    pthread_mutex_unlock(&j->mutex);
}


void
coco_journal_wake(coco_journal_t *j)
{
    pthread_mutex_lock(&j->mutex);
    j->woken = true;
    pthread_cond_signal(&j->appended);
    pthread_mutex_unlock(&j->mutex);
}


int
coco_journal_commit(coco_journal_t *j, uint64_t position)
{
    int       rc;
    char      name[COCO_JOURNAL_NAME_SIZE];
    uint64_t  base;

    if (position <= j->low) {
        return COCO_OK;
    }

    /* synced by nobody: an older offset costs duplicates only */
    if (coco_journal_offset_write(j->offset, j->sequence + 1, position)
        != COCO_OK)
    {
        return COCO_ERROR;
    }

    j->sequence++;
    rc = COCO_OK;

    pthread_mutex_lock(&j->mutex);
    j->low = position;
    j->moved_at = coco_journal_now();
    coco_journal_full_update(j);

    while (j->segment_count > 1 && j->segments[1] <= position) {
        base = j->segments[0];
        j->segment_count--;
        memmove(j->segments, j->segments + 1,
                j->segment_count * sizeof(*j->segments));
        pthread_mutex_unlock(&j->mutex);

        coco_journal_name(name, base, "log");
        if (unlinkat(j->dir, name, 0) == -1) {
            rc = COCO_ERROR;
        }

        pthread_mutex_lock(&j->mutex);
    }

    pthread_mutex_unlock(&j->mutex);

    return rc;
}


/* Under the mutex, or while nobody else has the journal. */
static void
coco_journal_full_update(coco_journal_t *j)
{
    uint64_t  pending;

    pending = j->tail - j->low;

    if (pending >= j->options.high_bytes) {
        j->full = true;

    } else if (pending <= j->options.low_bytes) {
        j->full = false;
    }
}


uint64_t
coco_journal_pending(coco_journal_t *j)
{
    uint64_t  pending;

    pthread_mutex_lock(&j->mutex);
    pending = j->tail - j->low;
    pthread_mutex_unlock(&j->mutex);

    return pending;
}


bool
coco_journal_full(coco_journal_t *j)
{
    bool  full;

    pthread_mutex_lock(&j->mutex);
    full = j->full;
    pthread_mutex_unlock(&j->mutex);

    return full;
}


uint64_t
coco_journal_stalled(coco_journal_t *j)
{
    int64_t  ms;

    pthread_mutex_lock(&j->mutex);
    ms = j->tail > j->low ? coco_journal_now() - j->moved_at : 0;
    pthread_mutex_unlock(&j->mutex);

    return (uint64_t) ms;
}


uint64_t
coco_journal_corrupt(const coco_journal_t *j)
{
    return j->corrupt;
}


static void
coco_journal_deadline(struct timespec *ret, unsigned ms)
{
    clock_gettime(CLOCK_MONOTONIC, ret);

    ret->tv_sec += ms / 1000;
    ret->tv_nsec += (long) (ms % 1000) * 1000000;

    if (ret->tv_nsec >= 1000000000) {
        ret->tv_sec++;
        ret->tv_nsec -= 1000000000;
    }
}


static int64_t
coco_journal_now(void)
{
    struct timespec  now;

    coco_journal_deadline(&now, 0);

    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}


void
coco_journal_close(coco_journal_t *j)
{
    if (j->syncing) {
        pthread_mutex_lock(&j->mutex);
        j->stopping = true;
        pthread_cond_signal(&j->stopped);
        pthread_mutex_unlock(&j->mutex);
        pthread_join(j->syncer, NULL);
    }

    if (j->fd != -1 && j->options.sync != COCO_JOURNAL_SYNC_NONE) {
        coco_journal_sync(j, j->fd);
    }

    coco_journal_view_close(&j->view);

    if (j->fd != -1) {
        close(j->fd);
    }

    if (j->offset != -1) {
        close(j->offset);
    }

    if (j->lock != -1) {
        close(j->lock);
    }

    if (j->dir != -1) {
        close(j->dir);
    }

    pthread_cond_destroy(&j->appended);
    pthread_cond_destroy(&j->stopped);
    pthread_mutex_destroy(&j->mutex);

    free(j->segments);
    free((char *) j->options.path);
    free(j);
}
