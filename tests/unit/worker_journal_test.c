/*
 * The journal against what it is for: kills at random instants, torn tails,
 * damage, a full disk, another owner.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "crc32c.h"
#include "journal.h"
#include "log.h"

#define TOPIC    "robot/R-1/status"
#define HEAD     24              /* bytes before the topic */


static char                    directory[64];
static coco_journal_options_t  options;


static int
setup(void **state)
{
    strcpy(directory, "/tmp/coco-journal-XXXXXX");
    if (mkdtemp(directory) == NULL) {
        return -1;
    }

    memset(&options, 0, sizeof(options));
    options.path = directory;
    options.client_id = "test";
    options.segment_bytes = 1 << 20;
    options.high_bytes = 1 << 30;
    options.low_bytes = 1 << 29;

    return 0;
}


static int
removed(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    return remove(path);
}


static int
teardown(void **state)
{
    return nftw(directory, removed, 8, FTW_DEPTH | FTW_PHYS);
}


static coco_journal_t *
opened(void)
{
    char             error[512];
    coco_journal_t  *j;

    error[0] = '\0';
    if (coco_journal_open(&j, &options, error, sizeof(error)) != COCO_OK) {
        fail_msg("%s", error);
    }

    return j;
}


/* The payload says its number and has a length that follows from it. */
static size_t
made(char *buf, unsigned n)
{
    size_t  len;

    len = 16 + (n * 7919u) % 700;
    memset(buf, 'a' + n % 26, len);
    snprintf(buf, 16, "%015u", n);
    buf[15] = ' ';

    return len;
}


static void
append(coco_journal_t *j, unsigned n)
{
    char        buf[1024];
    coco_str_t  payload;

    payload.data = buf;
    payload.len = made(buf, n);
    coco_journal_append(j, (int64_t) n * 10, coco_string(TOPIC), payload);
}


static unsigned
number(const coco_journal_record_t *record)
{
    char      buf[1024];
    size_t    len;
    unsigned  n;

    assert_true(coco_str_equal(record->topic, coco_string(TOPIC)));
    n = (unsigned) strtoul(record->payload.data, NULL, 10);
    len = made(buf, n);

    assert_int_equal(record->payload.len, len);
    assert_memory_equal(record->payload.data, buf, len);
    assert_int_equal(record->received_at, (int64_t) n * 10);

    return n;
}


/* Reads to the end: first, first + 1 … Returns the number after the last. */
static unsigned
read_from(coco_journal_t *j, unsigned first, uint64_t *ret_position)
{
    coco_journal_record_t  record;

    while (coco_journal_next(j, &record) == COCO_OK) {
        assert_int_equal(number(&record), first);
        first++;
        if (ret_position != NULL) {
            *ret_position = record.position;
        }
    }

    return first;
}


static unsigned
files(const char *suffix, char *ret_last)
{
    DIR            *d;
    char            last[64];
    unsigned        n;
    struct dirent  *e;

    n = 0;
    last[0] = '\0';
    d = opendir(directory);
    assert_non_null(d);

    while ((e = readdir(d)) != NULL) {
        if (strlen(e->d_name) > 20 && strcmp(e->d_name + 20, suffix) == 0) {
            n++;
            if (strcmp(e->d_name, last) > 0) {
                strcpy(last, e->d_name);
            }
        }
    }

    closedir(d);

    if (ret_last != NULL) {
        sprintf(ret_last, "%s/%s", directory, last);
    }

    return n;
}


static off_t
size_of(const char *path)
{
    struct stat  st;

    assert_int_equal(stat(path, &st), 0);

    return st.st_size;
}


static void
damage(const char *path, off_t at)
{
    int   fd;
    char  c;

    fd = open(path, O_RDWR);
    assert_int_not_equal(fd, -1);
    assert_int_equal(pread(fd, &c, 1, at), 1);
    c ^= 0x40;
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    close(fd);
}


/* RFC 3720, appendix B.4, and the two ways against each other. */
static void
test_crc32c(void **state)
{
    char    buf[300];
    size_t  i;

    assert_int_equal(coco_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(coco_crc32c_table(0, "123456789", 9), 0xe3069283);
    memset(buf, 0xff, 32);
    assert_int_equal(coco_crc32c(0, buf, 32), 0x62a8ab43);

    for (i = 0; i < sizeof(buf); i++) {
        buf[i] = (char) (i * 31);
    }

    for (i = 0; i < sizeof(buf) - 8; i++) {
        assert_int_equal(coco_crc32c(7, buf + i % 8, i),
                         coco_crc32c_table(7, buf + i % 8, i));
        assert_int_equal(coco_crc32c(coco_crc32c(0, buf, i), buf + i, 8),
                         coco_crc32c(0, buf, i + 8));
    }
}


static void
test_read_commit_reopen(void **state)
{
    unsigned         n;
    uint64_t         position, last;
    coco_journal_t  *j;

    position = 0;
    j = opened();

    for (n = 0; n < 100; n++) {
        append(j, n);
    }

    assert_int_equal(read_from(j, 0, &position), 100);
    last = position;
    append(j, 100);
    assert_int_equal(read_from(j, 100, &position), 101);
    assert_true(position > last);
    assert_int_equal(coco_journal_commit(j, last), COCO_OK);
    assert_int_equal(coco_journal_pending(j), position - last);
    coco_journal_close(j);

    j = opened();
    append(j, 101);
    assert_int_equal(read_from(j, 100, &last), 102);
    assert_true(last > position);
    coco_journal_close(j);
}


/* Both slots gone costs duplicates, never records; one slot costs nothing
 * that the other one has. */
static void
test_offset_damaged(void **state)
{
    char                    path[128];
    uint64_t                positions[3];
    unsigned                n;
    coco_journal_t         *j;
    coco_journal_record_t   record;

    j = opened();

    for (n = 0; n < 3; n++) {
        append(j, n);
        assert_int_equal(coco_journal_next(j, &record), COCO_OK);
        positions[n] = record.position;
    }

    for (n = 0; n < 3; n++) {
        assert_int_equal(coco_journal_commit(j, positions[n]), COCO_OK);
    }

    append(j, 3);
    coco_journal_close(j);
    sprintf(path, "%s/offset", directory);

    damage(path, 4096 + 16);            /* sequences 1 and 3 */
    j = opened();
    assert_int_equal(read_from(j, 2, NULL), 4);
    coco_journal_close(j);

    damage(path, 16);
    j = opened();
    assert_int_equal(read_from(j, 0, NULL), 4);
    coco_journal_close(j);
}


static void
test_rotation(void **state)
{
    char             last[128];
    unsigned         n;
    uint64_t         position;
    coco_journal_t  *j;

    position = 0;
    options.segment_bytes = 4096;
    j = opened();

    for (n = 0; n < 500; n++) {
        append(j, n);
    }

    assert_true(files(".log", last) > 20);
    assert_true(size_of(last) <= 4096);
    assert_int_equal(read_from(j, 0, &position), 500);
    coco_journal_close(j);

    j = opened();
    assert_int_equal(read_from(j, 0, &position), 500);
    assert_int_equal(coco_journal_commit(j, position), COCO_OK);
    assert_int_equal(files(".log", NULL), 1);
    assert_int_equal(coco_journal_pending(j), 0);
    append(j, 500);
    assert_int_equal(read_from(j, 500, NULL), 501);
    coco_journal_close(j);
}


static void
test_large_records(void **state)
{
    char                   *big;
    size_t                  len;
    coco_str_t              payload;
    coco_journal_t         *j;
    coco_journal_record_t   record;

    options.segment_bytes = 4096;
    len = 3 << 20;
    big = malloc(len);
    assert_non_null(big);
    memset(big, 'x', len);
    payload.data = big;
    payload.len = len;

    j = opened();
    append(j, 0);
    coco_journal_append(j, 1, coco_string("t"), payload);
    payload.len = 0;
    coco_journal_append(j, 2, coco_string("empty"), payload);
    append(j, 1);

    assert_int_equal(coco_journal_next(j, &record), COCO_OK);
    assert_int_equal(coco_journal_next(j, &record), COCO_OK);
    assert_int_equal(record.payload.len, len);
    assert_memory_equal(record.payload.data, big, len);
    assert_int_equal(coco_journal_next(j, &record), COCO_OK);
    assert_int_equal(record.payload.len, 0);
    assert_true(coco_str_equal(record.topic, coco_string("empty")));
    assert_int_equal(read_from(j, 1, NULL), 2);

    coco_journal_close(j);
    free(big);
}


/* Every length that a killed append can have left. */
static void
test_torn_tail(void **state)
{
    char             last[128];
    off_t            whole, torn;
    unsigned         n;
    coco_journal_t  *j;

    j = opened();
    append(j, 0);
    append(j, 1);
    coco_journal_close(j);
    files(".log", last);
    whole = size_of(last);

    j = opened();
    append(j, 2);
    coco_journal_close(j);
    torn = size_of(last);

    for (n = 2; torn-- > whole; n++) {
        assert_int_equal(truncate(last, torn), 0);
        j = opened();
        assert_int_equal(read_from(j, 0, NULL), 2);
        append(j, 2);
        assert_int_equal(read_from(j, 2, NULL), 3);
        assert_int_equal(coco_journal_corrupt(j), 0);
        coco_journal_close(j);
    }

    assert_int_equal(files(".corrupt", NULL), 0);
}


/* One byte wrong at every place: the records around it are all read, and a
 * record that is shown is whole. */
static void
test_damaged_anywhere(void **state)
{
    char                    last[128];
    off_t                   at, end;
    unsigned                n, seen;
    coco_journal_t         *j;
    coco_journal_record_t   record;

    j = opened();
    for (n = 0; n < 4; n++) {
        append(j, n);
    }
    coco_journal_close(j);

    files(".log", last);
    end = (off_t) (HEAD + sizeof(TOPIC) - 1) * 3 + 16 * 3
          + (7919 % 700) + (2 * 7919 % 700);

    for (at = 0; at < end; at++) {
        damage(last, at);
        j = opened();

        seen = 0;
        while (coco_journal_next(j, &record) == COCO_OK) {
            seen |= 1u << number(&record);
        }

        assert_int_equal(__builtin_popcount(seen), 3);
        assert_true(seen & (1u << 3));
        assert_int_equal(coco_journal_corrupt(j), 1);
        coco_journal_close(j);
        damage(last, at);
    }

    j = opened();
    assert_int_equal(read_from(j, 0, NULL), 4);
    coco_journal_close(j);
    assert_int_equal(files(".corrupt", NULL), 1);
}


/* The last record, whole but wrong, is damage: nothing is written over it,
 * and it stays when its segment goes. */
static void
test_damaged_tail(void **state)
{
    char                    last[128], aside[128];
    off_t                   size;
    coco_journal_t         *j;
    coco_journal_record_t   record;

    j = opened();
    append(j, 0);
    append(j, 1);
    coco_journal_close(j);
    files(".log", last);
    size = size_of(last);
    damage(last, size - 1);

    j = opened();
    append(j, 2);
    assert_int_equal(coco_journal_next(j, &record), COCO_OK);
    assert_int_equal(number(&record), 0);
    assert_int_equal(coco_journal_next(j, &record), COCO_OK);
    assert_int_equal(number(&record), 2);
    assert_int_equal(coco_journal_next(j, &record), COCO_AGAIN);
    assert_int_equal(coco_journal_commit(j, record.position), COCO_OK);
    coco_journal_close(j);

    assert_int_equal(files(".log", NULL), 1);
    assert_int_equal(files(".corrupt", aside), 1);
    assert_int_equal(size_of(aside), size);
}


/* Nothing follows the damage: the reader's place passes it all the same, or
 * it would be pending for ever. */
static void
test_damage_is_passed(void **state)
{
    char                    last[128];
    coco_journal_t         *j;
    coco_journal_record_t   record;

    j = opened();
    append(j, 0);
    append(j, 1);
    coco_journal_close(j);
    files(".log", last);
    damage(last, size_of(last) - 1);

    j = opened();
    assert_int_equal(coco_journal_next(j, &record), COCO_OK);
    assert_int_equal(coco_journal_next(j, &record), COCO_AGAIN);
    assert_int_equal(coco_journal_commit(j, record.position), COCO_OK);
    assert_int_equal(coco_journal_pending(j), 0);
    coco_journal_close(j);
}


static void
test_stalled(void **state)
{
    coco_journal_t         *j;
    struct timespec         pause = { 0, 60 * 1000 * 1000 };
    coco_journal_record_t   record;

    j = opened();
    nanosleep(&pause, NULL);
    assert_int_equal(coco_journal_stalled(j), 0);
    append(j, 0);
    assert_true(coco_journal_stalled(j) < 50);
    append(j, 1);
    nanosleep(&pause, NULL);
    assert_true(coco_journal_stalled(j) >= 59);

    assert_int_equal(coco_journal_next(j, &record), COCO_OK);
    assert_int_equal(coco_journal_commit(j, record.position), COCO_OK);
    assert_true(coco_journal_stalled(j) < 50);
    assert_int_equal(coco_journal_next(j, &record), COCO_OK);
    assert_int_equal(coco_journal_commit(j, record.position), COCO_OK);
    nanosleep(&pause, NULL);
    assert_int_equal(coco_journal_stalled(j), 0);
    coco_journal_close(j);
}


/* A power loss without sync: the offset reached the disk, the records before
 * it did not. They are committed; positions go on after them. */
static void
test_offset_beyond_tail(void **state)
{
    char             last[128];
    uint64_t         position, after;
    coco_journal_t  *j;

    position = 0;
    after = 0;
    j = opened();
    append(j, 0);
    append(j, 1);
    assert_int_equal(read_from(j, 0, &position), 2);
    assert_int_equal(coco_journal_commit(j, position), COCO_OK);
    coco_journal_close(j);
    files(".log", last);
    assert_int_equal(truncate(last, 10), 0);

    j = opened();
    append(j, 2);
    assert_int_equal(read_from(j, 2, &after), 3);
    assert_true(after > position);
    coco_journal_close(j);
}


/* The same in the middle: a sealed segment is shorter than its place. */
static void
test_sealed_segment_short(void **state)
{
    char                    first[128];
    unsigned                n, seen;
    coco_journal_t         *j;
    coco_journal_record_t   record;

    options.segment_bytes = 4096;
    j = opened();
    for (n = 0; n < 50; n++) {
        append(j, n);
    }
    coco_journal_close(j);

    sprintf(first, "%s/%020u.log", directory, 0);
    assert_int_equal(truncate(first, 5), 0);

    j = opened();
    seen = 0;
    while (coco_journal_next(j, &record) == COCO_OK) {
        n = number(&record);
        seen++;
    }
    assert_int_equal(n, 49);
    assert_in_range(seen, 30, 48);

    /* the five bytes, and what is missing after them */
    assert_int_equal(coco_journal_corrupt(j), 2);
    coco_journal_close(j);
}


static void
test_hysteresis(void **state)
{
    unsigned                n;
    coco_journal_t         *j;
    coco_journal_record_t   record;

    options.high_bytes = 8192;
    options.low_bytes = 4096;
    j = opened();

    for (n = 0; !coco_journal_full(j); n++) {
        assert_true(coco_journal_pending(j) < 8192);
        append(j, n);
    }

    assert_true(coco_journal_pending(j) >= 8192);

    while (coco_journal_full(j)) {
        assert_true(coco_journal_pending(j) > 4096);
        assert_int_equal(coco_journal_next(j, &record), COCO_OK);
        assert_int_equal(coco_journal_commit(j, record.position), COCO_OK);
    }

    assert_true(coco_journal_pending(j) <= 4096);
    coco_journal_close(j);

    /* it is not forgotten over a restart */
    options.high_bytes = 1024;
    j = opened();
    assert_true(coco_journal_full(j));
    coco_journal_close(j);
}


static void
test_lock_and_client(void **state)
{
    char             error[512];
    coco_journal_t  *j, *other;

    j = opened();
    assert_int_equal(coco_journal_open(&other, &options, error,
                                       sizeof(error)), COCO_ERROR);
    assert_non_null(strstr(error, "held by process"));
    coco_journal_close(j);

    options.client_id = "another";
    assert_int_equal(coco_journal_open(&other, &options, error,
                                       sizeof(error)), COCO_ERROR);
    assert_non_null(strstr(error, "belongs to client id \"test\""));

    options.client_id = "test";
    coco_journal_close(opened());

    options.path = "/proc/coco";
    assert_int_equal(coco_journal_open(&other, &options, error,
                                       sizeof(error)), COCO_ERROR);
    assert_non_null(strstr(error, "/proc/coco"));
}


/* The device takes part of an append: the process dies, and what it had
 * counted as appended is there, and nothing of the rest. */
static void
test_no_space(void **state)
{
    int              status;
    pid_t            pid;
    unsigned        *acknowledged, n;
    struct rlimit    limit;
    coco_journal_t  *j;

    acknowledged = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(acknowledged != MAP_FAILED);

    pid = fork();
    assert_int_not_equal(pid, -1);

    if (pid == 0) {
        signal(SIGXFSZ, SIG_IGN);
        signal(SIGABRT, SIG_DFL);
        limit.rlim_cur = limit.rlim_max = 0;
        setrlimit(RLIMIT_CORE, &limit);
        limit.rlim_cur = limit.rlim_max = 50000;
        coco_log_init(COCO_LOG_ERROR, COCO_LOG_TEXT);
        j = opened();
        setrlimit(RLIMIT_FSIZE, &limit);

        for (n = 0; n < 1000; n++) {
            append(j, n);
            *acknowledged = n + 1;
        }

        _exit(0);
    }

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_in_range(*acknowledged, 1, 999);

    j = opened();
    assert_int_equal(read_from(j, 0, NULL), *acknowledged);
    coco_journal_close(j);
    munmap(acknowledged, 4096);
}


static void *
appender(void *data)
{
    unsigned  n;

    for (n = 0; n < 20000; n++) {
        append(data, n);
    }

    return NULL;
}


/* As it runs in the worker: one thread appends, one reads and commits, the
 * segments come and go. Also what `make asan` and a thread sanitizer see. */
static void
test_two_threads(void **state)
{
    unsigned                n;
    pthread_t               thread;
    coco_journal_t         *j;
    coco_journal_record_t   record;

    options.segment_bytes = 100000;
    options.high_bytes = 300000;
    options.low_bytes = 200000;
    options.sync = COCO_JOURNAL_SYNC_INTERVAL;
    options.interval_ms = 1;
    j = opened();
    assert_int_equal(pthread_create(&thread, NULL, appender, j), 0);

    for (n = 0; n < 20000; /* void */ ) {

        if (coco_journal_next(j, &record) == COCO_AGAIN) {
            coco_journal_wait(j, 1000);
            continue;
        }

        assert_int_equal(number(&record), n);
        n++;

        if (n % 50 == 0) {
            assert_int_equal(coco_journal_commit(j, record.position),
                             COCO_OK);
        }
    }

    pthread_join(thread, NULL);
    assert_int_equal(coco_journal_next(j, &record), COCO_AGAIN);
    assert_int_equal(coco_journal_pending(j), 0);
    assert_false(coco_journal_full(j));
    assert_int_equal(files(".log", NULL), 1);
    coco_journal_close(j);
}


/* Returns at once for a record, a wake; else after the time. */
static void
test_wait(void **state)
{
    coco_journal_t         *j;
    struct timespec         before, after;
    coco_journal_record_t   record;

    j = opened();
    clock_gettime(CLOCK_MONOTONIC, &before);
    append(j, 0);
    coco_journal_wait(j, 60000);
    assert_int_equal(coco_journal_next(j, &record), COCO_OK);
    coco_journal_wake(j);
    coco_journal_wait(j, 60000);
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_true(after.tv_sec - before.tv_sec < 30);

    before = after;
    coco_journal_wait(j, 20);
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_true((after.tv_sec - before.tv_sec) * 1000000000L
                + after.tv_nsec - before.tv_nsec >= 20000000L);
    coco_journal_close(j);
}


/* What the child had done when it was killed. */
typedef struct {
    volatile unsigned  begun;            /* appends */
    volatile unsigned  acknowledged;
    volatile unsigned  committed;
} shared_t;


static void
child(shared_t *shared)
{
    unsigned                n;
    uint64_t                position;
    coco_journal_t         *j;
    coco_journal_record_t   record;

    j = opened();

    /* all that was acknowledged, perhaps one that was not */
    n = shared->committed;
    position = 0;
    while (coco_journal_next(j, &record) == COCO_OK) {
        n = number(&record) + 1;
    }

    for ( ;; n++) {
        shared->begun = n + 1;
        append(j, n);
        shared->acknowledged = n + 1;

        if (coco_journal_next(j, &record) != COCO_OK) {
            _exit(3);
        }

        position = record.position;

        if (n % 5 == 0) {
            /* before: commit() may have moved the offset when it is killed */
            shared->committed = n + 1;
            if (coco_journal_commit(j, position) != COCO_OK) {
                _exit(4);
            }
        }
    }
}


static void
test_random_kills(void **state)
{
    int                     status, round;
    pid_t                   pid;
    shared_t               *shared;
    unsigned                n, acknowledged;
    struct timespec         pause;
    coco_journal_t         *j;
    coco_journal_record_t   record;

    options.segment_bytes = 30000;
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    srand(1);

    for (round = 0; round < 150; round++) {

        options.sync = (coco_journal_sync_e) (round % 3);
        options.interval_ms = 1;
        acknowledged = shared->acknowledged;

        pid = fork();
        assert_int_not_equal(pid, -1);
        if (pid == 0) {
            coco_log_init(COCO_LOG_ERROR, COCO_LOG_TEXT);
            child(shared);
        }

        while (shared->acknowledged == acknowledged) {
            assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
            sched_yield();
        }

        pause.tv_sec = 0;
        pause.tv_nsec = rand() % 3000000;
        nanosleep(&pause, NULL);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

        /* from no later than the offset to no earlier than the last append
         * that returned, without a hole and in order */
        j = opened();

        if (coco_journal_next(j, &record) == COCO_OK) {
            n = number(&record);
            assert_true(n <= shared->committed);
            n = read_from(j, n + 1, NULL);
            assert_in_range(n, shared->acknowledged, shared->begun);

        } else {
            assert_in_range(shared->committed, shared->acknowledged,
                            shared->begun);
        }

        assert_int_equal(coco_journal_corrupt(j), 0);
        coco_journal_close(j);
    }

    munmap(shared, 4096);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_crc32c),
#define journal_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        journal_test(test_read_commit_reopen),
        journal_test(test_offset_damaged),
        journal_test(test_rotation),
        journal_test(test_large_records),
        journal_test(test_torn_tail),
        journal_test(test_damaged_anywhere),
        journal_test(test_damaged_tail),
        journal_test(test_damage_is_passed),
        journal_test(test_stalled),
        journal_test(test_offset_beyond_tail),
        journal_test(test_sealed_segment_short),
        journal_test(test_hysteresis),
        journal_test(test_lock_and_client),
        journal_test(test_no_space),
        journal_test(test_two_threads),
        journal_test(test_wait),
        journal_test(test_random_kills),
    };

    /* damage is on purpose here: only a failing test should be seen */
    coco_log_init(COCO_LOG_ERROR, COCO_LOG_TEXT);

    return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
